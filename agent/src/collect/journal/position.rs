//! How far each file of the journal was read.
//!
//! An entry's number in its file is a cursor that neither a clock step nor a
//! renaming changes, and a file has an id of its own. The numbers that entries
//! have over all files tell what was removed before it could be read.

use std::collections::{HashMap, HashSet};

use data_encoding::HEXLOWER;
use periscope_store::batch::{Batch, Issue, IssueKind};
use periscope_store::positions::Positions;
use serde::{Deserialize, Serialize};

use super::file::Header;

/// Files that are remembered even if it cannot be told whether they still exist;
/// journald keeps a hundred at most.
const MAX_POSITIONS: usize = 4096;

/// How far one file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Entries that were read, or left out because they were too old.
    pub(super) next: u64,
    /// Entries that were there at the first look, and may be too old.
    pub(super) old_count: u64,
    /// Wall clock before which they are, microseconds since 1970.
    pub(super) since_us: u64,
    /// Sequence that its entries are numbered in.
    seqnum_id: String,
    /// Number of the last entry when the file was last read to its end.
    seqnum: u64,
}

/// How far all files were read, by their ids.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    files: HashMap<String, Position>,
    listed: HashSet<String>,
    /// Whether a file without a position may have been there before the agent.
    is_first: bool,
}

impl Cursor {
    /// Nothing was read yet.
    pub(super) fn new() -> Self {
        Self { is_first: true, ..Self::default() }
    }

    /// What a collector has committed.
    pub(super) fn resume(collector: &str, positions: &Positions) -> Self {
        let mut cursor = Self::new();
        for (id, value) in positions.of(collector) {
            match serde_json::from_str(value) {
                Ok(position) => {
                    cursor.files.insert(id.to_owned(), position);
                }
                Err(error) => tracing::warn!("position in journal {id}: {error}"),
            }
        }
        cursor
    }

    /// Whether no file was read yet.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Begins a poll of these files; notes what was removed since the last one.
    pub(super) fn begin(&mut self, files: &[&Header], batch: &mut Batch) {
        self.listed = files.iter().map(|header| HEXLOWER.encode(&header.file_id)).collect();
        let mut read: HashMap<&str, u64> = HashMap::new();
        for position in self.files.values() {
            let seqnum = read.entry(&position.seqnum_id).or_default();
            *seqnum = position.seqnum.max(*seqnum);
        }
        for (seqnum_id, last_read) in read {
            let is_of = |header: &&&Header| HEXLOWER.encode(&header.seqnum_id) == seqnum_id;
            let is_known =
                |header: &&Header| self.files.contains_key(&HEXLOWER.encode(&header.file_id));
            // As long as a file is there that was read, so is all that came after.
            if last_read == 0 || files.iter().filter(is_of).any(is_known) {
                continue;
            }
            let first = files.iter().filter(is_of).map(|header| header.first_seqnum).min();
            let next = last_read.saturating_add(1);
            let amount = first.unwrap_or_default().saturating_sub(next);
            if amount > 0 {
                batch.issue(Issue {
                    source: format!("journal {seqnum_id}"),
                    kind: IssueKind::Dropped,
                    amount: Some(amount),
                    unit: Some("entries"),
                    message: "entries of any unit that were removed before they were read"
                        .to_owned(),
                });
            }
        }
    }

    /// Position in a file; `since` finds the first entry of the window if the
    /// file is read for the first time and was there before the agent.
    pub(super) fn of(
        &self,
        header: &Header,
        since_us: u64,
        since: impl FnOnce() -> u64,
    ) -> (Position, bool) {
        let id = HEXLOWER.encode(&header.file_id);
        if let Some(position) = self.files.get(&id) {
            return (position.clone(), false);
        }
        let seqnum_id = HEXLOWER.encode(&header.seqnum_id);
        let goes_on = self.files.values().any(|position| {
            position.seqnum_id == seqnum_id && position.seqnum < header.first_seqnum
        });
        let mut position = Position { seqnum_id, ..Position::default() };
        if self.is_first && !goes_on {
            position.next = since();
            position.old_count = header.entry_count;
            position.since_us = since_us;
        }
        (position, true)
    }

    /// Remembers how far a file was read, with the rows that go so far.
    pub(super) fn set(&mut self, header: &Header, mut position: Position, batch: &mut Batch) {
        if position.next >= header.entry_count {
            position.seqnum = header.last_seqnum;
        }
        let id = HEXLOWER.encode(&header.file_id);
        if self.files.get(&id) != Some(&position) {
            match serde_json::to_string(&position) {
                Ok(value) => batch.set_position(&id, Some(value)),
                Err(error) => tracing::error!("position in journal {id}: {error}"),
            }
            self.files.insert(id, position);
        }
    }

    /// Ends a poll; if it saw all files, those that are gone are forgotten. The
    /// last one of a sequence is remembered for its number.
    pub(super) fn end(&mut self, saw_all: bool, batch: &mut Batch) {
        self.is_first = false;
        if !saw_all && self.files.len() < MAX_POSITIONS {
            return;
        }
        let listed = &self.listed;
        let known: HashSet<String> = self
            .files
            .iter()
            .filter(|(id, _)| listed.contains(*id))
            .map(|(_, position)| position.seqnum_id.clone())
            .collect();
        let is_full = self.files.len() >= MAX_POSITIONS;
        self.files.retain(|id, position| {
            let stays = listed.contains(id) || !is_full && !known.contains(&position.seqnum_id);
            if !stays {
                batch.set_position(id, None);
            }
            stays
        });
    }
}
