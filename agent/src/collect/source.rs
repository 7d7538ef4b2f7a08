//! What is remembered of the logs that are followed, from poll to poll and from
//! process to process.
//!
//! A *source* is the files of one stream: what one program writes, over all
//! rotations. Its memory is a [`Mark`] for each file; what the store keeps of it
//! is JSON, written in the transaction that writes the lines.

use std::collections::HashMap;
use std::time::Duration;

use periscope_store::batch::{Issue, IssueKind};
use periscope_store::positions::Positions;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::reading::{Carry, Rows};

/// How much of what was there before the agent is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backfill {
    /// How far back.
    pub(crate) window: Duration,
    /// Bytes of each stream, the last ones.
    pub(crate) bytes: u64,
}

impl Default for Backfill {
    fn default() -> Self {
        Self { window: Duration::from_hours(24), bytes: 64 << 20 }
    }
}

/// Sources that are remembered even if it cannot be told whether they still exist.
const MAX_SOURCES: usize = 20_000;

/// What is known of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Its files, oldest first.
    pub(crate) marks: Vec<Mark>,
    /// What its decoder goes on with.
    pub(crate) carry: Carry,
    /// Lines before this time are left out, as long as it is read for the first
    /// time.
    pub(crate) since_ns: Option<i64>,
    /// Poll since which a line has not ended.
    #[serde(skip)]
    pub(crate) waits_since: Option<u64>,
    /// Poll that last found files of it.
    #[serde(skip)]
    pub(crate) listed: u64,
}

impl Source {
    /// Whether the store would keep the same of both.
    fn is_same(&self, other: &Self) -> bool {
        self.carry == other.carry
            && self.since_ns == other.since_ns
            && self.marks.len() == other.marks.len()
            && self.marks.iter().zip(&other.marks).all(|(a, b)| a.is_same(b))
    }
}

/// All sources of a collector. By default none is remembered.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    is_following: bool,
    sources: HashMap<String, Source>,
    /// Number of the poll, from 1.
    pub(crate) poll: u64,
    backfill: Backfill,
    /// Whether a source without a mark may have been there before the agent.
    is_first: bool,
    /// Start of the window.
    since_ns: i64,
}

impl Follow {
    /// Remembers nothing yet; if it is to, then reads back as far as told.
    pub(crate) fn new(backfill: Backfill) -> Self {
        Self { backfill, ..Self::default() }
    }

    /// Goes on from what a collector has committed.
    pub(crate) fn resume(&mut self, collector: &str, positions: &Positions) {
        let mut sources = HashMap::new();
        for (source, value) in positions.of(collector) {
            match serde_json::from_str(value) {
                Ok(known) => {
                    sources.insert(source.to_owned(), known);
                }
                // Of another version: what it has is read again rather than lost.
                Err(error) => tracing::warn!("position of {source} is not understood: {error}"),
            }
        }
        *self = Self {
            is_following: true,
            is_first: !self.is_following || self.is_first,
            sources,
            poll: self.poll,
            backfill: self.backfill,
            since_ns: 0,
        };
    }

    /// Whether anything is remembered.
    pub(crate) fn is_following(&self) -> bool {
        self.is_following
    }

    /// Begins a poll.
    pub(crate) fn begin(&mut self, now_ns: i64) {
        self.poll += 1;
        let window_ns = crate::duration::nanos(self.backfill.window);
        self.since_ns = now_ns.saturating_sub(window_ns);
    }

    /// What is known of a source, and how much of it is read if that is nothing.
    pub(crate) fn source(&self, name: &str) -> (Source, Option<Backfill>) {
        match self.sources.get(name) {
            Some(source) => (source.clone(), None),
            None if self.is_following && self.is_first => {
                let since_ns = Some(self.since_ns);
                (Source { since_ns, ..Source::default() }, Some(self.backfill))
            }
            None => (Source::default(), None),
        }
    }

    /// Remembers a source, and tells the rows if that is news.
    pub(crate) fn set(&mut self, name: &str, source: &Source, rows: &mut impl Rows) {
        if !self.is_following {
            return;
        }
        if !self.sources.get(name).is_some_and(|known| known.is_same(source)) {
            write(name, source, rows);
        }
        self.sources.insert(name.to_owned(), source.clone());
    }

    /// Ends a poll. If it saw all files there are, those that are gone are
    /// forgotten, and what was lost with them is noted.
    pub(crate) fn end(&mut self, saw_all: bool, rows: &mut impl Rows, note: &mut dyn FnMut(Issue)) {
        self.is_first = false;
        if !saw_all && self.sources.len() < MAX_SOURCES {
            return;
        }
        let poll = self.poll;
        self.sources.retain(|name, source| {
            let before = source.marks.len();
            let is_listed = source.listed == poll;
            source.marks.retain(|mark| {
                if mark.seen != poll {
                    loss(name, mark, is_listed).map(&mut *note);
                }
                mark.seen == poll
            });
            if !is_listed {
                rows.position(name, None);
            } else if source.marks.len() < before {
                write(name, source, rows);
            }
            is_listed
        });
    }
}

fn write(name: &str, source: &Source, rows: &mut impl Rows) {
    match serde_json::to_string(source) {
        Ok(value) => rows.position(name, Some(value)),
        Err(error) => tracing::error!("position of {name}: {error}"),
    }
}

/// What was lost with a file that is gone, if anything can have been.
fn loss(source: &str, mark: &Mark, is_listed: bool) -> Option<Issue> {
    let unread = mark.unread_bytes();
    let amount = (unread > 0).then_some(unread);
    let (kind, message) = match (mark.is_settled, unread, is_listed) {
        (true, 0, _) => return None,
        (_, 0, false) => (
            IssueKind::Absent,
            "its files are gone; what was written after the last look is not here",
        ),
        (_, _, false) => (IssueKind::Dropped, "its files are gone and were not read to their end"),
        (_, _, true) => (
            IssueKind::Dropped,
            "a file was removed, truncated or written anew before it was read to its end",
        ),
    };
    let unit = amount.map(|_| "bytes");
    Some(Issue { source: source.to_owned(), kind, amount, unit, message: message.to_owned() })
}
