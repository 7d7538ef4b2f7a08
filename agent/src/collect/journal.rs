//! Messages of the node's services and of its kernel, from journald's files.
//!
//! The files are read as they lie, without journald's help, so that a captured
//! tree or a node whose journald is dead reads like any other. A journal may
//! have a gigabyte: one file is open at a time, a few blocks of it in memory,
//! and what was read of it is a number.

mod file;
mod position;
mod selection;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use anyhow::Context;
use periscope_store::batch::{Batch, Issue, IssueKind, Level, LineFlags, Stream, StreamRef};
use periscope_store::positions::Positions;

use self::file::{Header, JournalFile};
use self::position::{Cursor, Position};
use self::selection::{MAX_MESSAGE_BYTES, RowReader, Selection};
use super::{Collector, Progress};
use crate::host::{EntryKind, Host};

/// Units that are read unless others are asked for: what runs containers, what keeps
/// the clock (by its name on Ubuntu and on Azure Linux), and the node's own DNS server.
pub(crate) const DEFAULT_UNITS: [&str; 6] =
    ["docker", "containerd", "kubelet", "chrony", "chronyd", "localdns"];

/// How far back the first poll reads unless told otherwise.
pub(crate) const DEFAULT_WINDOW: Duration = Duration::from_hours(24);

/// Where journald keeps its files: on disk, and in memory until it may write to
/// disk or where it never does.
const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Entries that one call looks at, wanted or not, so that no call takes long.
const ENTRIES_PER_CALL: u64 = 200_000;

/// Files that are read; more are no journal of one node.
const MAX_FILES: usize = 1024;

/// Reads the entries of some units, and the kernel's.
///
/// Each unit is a stream of its full name, `kubelet.service`; the kernel's is
/// `kernel`. Which entries are whose is told by [`Selection`]. The time of a
/// row is when journald received the message; the text is `MESSAGE`, its bytes
/// as they are, empty if an entry has none.
///
/// The first poll goes back by a window, and each file is then read on from
/// where the last poll ended, by number: a clock that is set back hides no
/// entry, and a file that journald renames is the same file. What journald removed
/// before it was read is counted.
#[derive(Debug)]
pub(crate) struct ServiceLogs {
    selection: Selection,
    window: Duration,
    /// Start of the window, fixed by the first poll.
    since_us: Option<u64>,
    /// How far each file was read.
    cursor: Cursor,
    /// Files that a poll under way has yet to read.
    pending: Option<VecDeque<String>>,
    /// Whether the poll under way could list and open all files.
    saw_all: bool,
    /// Whether the poll under way reads back to where nothing was read before.
    is_first: bool,
    /// Streams that have had a row, by their number.
    has_rows: Vec<bool>,
}

impl Default for ServiceLogs {
    fn default() -> Self {
        Self::new(DEFAULT_UNITS.map(str::to_owned).to_vec())
    }
}

impl ServiceLogs {
    /// Reads these units, `.service` being implied, and the kernel, a day back.
    #[expect(clippy::needless_pass_by_value, reason = "a configuration gives its list away")]
    pub(crate) fn new(units: Vec<String>) -> Self {
        let selection = Selection::new(&units);
        let has_rows = vec![false; selection.streams().count()];
        Self {
            selection,
            window: DEFAULT_WINDOW,
            since_us: None,
            cursor: Cursor::new(),
            pending: None,
            saw_all: true,
            is_first: true,
            has_rows,
        }
    }

    /// Sets how far back the first poll reads.
    pub(crate) fn with_window(self, window: Duration) -> Self {
        Self { window, ..self }
    }
}

impl Collector for ServiceLogs {
    fn name(&self) -> &'static str {
        "service-logs"
    }

    fn interval(&self) -> Duration {
        super::FOLLOW_INTERVAL
    }

    fn resume(&mut self, positions: &Positions) {
        self.pending = None;
        self.cursor = Cursor::resume(self.name(), positions);
    }

    fn follows(&self) -> bool {
        true
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        let window_us = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        let now_us = u64::try_from(host.now_ns() / 1000).unwrap_or_default();
        let since_us = *self.since_us.get_or_insert(now_us.saturating_sub(window_us));
        if self.pending.is_none() {
            (self.saw_all, self.is_first) = (true, self.cursor.is_empty());
            let listed = list_files(host, batch, &mut self.saw_all)?;
            self.pending = listed.map(|files| self.start_poll(files, batch));
        }
        let Some(mut pending) = self.pending.take() else {
            let folders = FOLDERS.join(" or ");
            return Ok(Progress::Absent(format!("no journal file in {folders}")));
        };
        let streams: Vec<_> =
            self.selection.streams().map(|name| batch.stream(Stream::unit(name))).collect();
        let mut budget = ENTRIES_PER_CALL;
        while let Some(path) = pending.front() {
            match self.read_file(host, path, since_us, &streams, &mut budget, batch) {
                Ok(Reached::End) => {
                    pending.pop_front();
                }
                Ok(Reached::Limit) => {
                    self.pending = Some(pending);
                    return Ok(Progress::More);
                }
                Err(error) => {
                    note_file(batch, path, &error);
                    self.saw_all &= error.kind() == io::ErrorKind::NotFound;
                    pending.pop_front();
                }
            }
        }
        self.cursor.end(self.saw_all, batch);
        let absent = self.selection.streams().zip(&self.has_rows).filter(|(_, has)| !**has);
        for (name, _) in absent.filter(|_| self.is_first) {
            batch.issue(Issue {
                source: name.to_owned(),
                kind: IssueKind::Absent,
                amount: None,
                unit: None,
                message: format!("the journal has no entry of {name}"),
            });
        }
        Ok(Progress::Done)
    }
}

/// How far reading a file came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// To its end.
    End,
    /// To the end of what one batch may hold or one call may do.
    Limit,
}

impl ServiceLogs {
    /// Paths of the files to read, the one with the oldest entries first.
    fn start_poll(
        &mut self,
        mut files: Vec<(Header, String)>,
        batch: &mut Batch,
    ) -> VecDeque<String> {
        let headers: Vec<_> = files.iter().map(|(header, _)| header).collect();
        self.cursor.begin(&headers, batch);
        files.sort_by_key(|(header, _)| header.first_realtime_us);
        files.into_iter().map(|(_, path)| path).collect()
    }

    fn read_file(
        &mut self,
        host: &Host,
        path: &str,
        since_us: u64,
        streams: &[StreamRef],
        budget: &mut u64,
        batch: &mut Batch,
    ) -> io::Result<Reached> {
        let mut file = JournalFile::open(host.open_file(path)?.file)?;
        let header = file.header.clone();
        let (position, is_new) = self.cursor.of(&header, since_us, || file.first_since(since_us));
        if is_new {
            note_window(batch, path, position.next);
        }
        let mut reading = FileReading {
            reader: RowReader::new(file, &self.selection),
            position,
            losses: Losses::default(),
        };
        let reached = reading.run(streams, &mut self.has_rows, budget, batch);
        reading.losses.note(batch, path);
        self.cursor.set(&header, reading.position, batch);
        Ok(reached)
    }
}

/// A file while it is read.
struct FileReading<'a> {
    reader: RowReader<'a>,
    position: Position,
    losses: Losses,
}

impl FileReading<'_> {
    fn run(
        &mut self,
        streams: &[StreamRef],
        has_rows: &mut [bool],
        budget: &mut u64,
        batch: &mut Batch,
    ) -> Reached {
        let Position { old_count, since_us, .. } = self.position;
        let (end, reachable) =
            (self.reader.file.header.entry_count, self.reader.file.reachable_count);
        while self.position.next < reachable {
            if batch.is_full() || *budget == 0 {
                return Reached::Limit;
            }
            *budget -= 1;
            let may_be_old = self.position.next < old_count;
            match self.reader.row(self.position.next) {
                Ok(Some(row)) if !may_be_old || row.realtime_us >= since_us => {
                    let ts_ns = i64::try_from(row.realtime_us)
                        .map_or(i64::MAX, |us| us.saturating_mul(1000));
                    let level = level(row.message, row.priority);
                    let flags = LineFlags { partial: row.is_cut, level, ..LineFlags::default() };
                    for &stream in row.streams {
                        has_rows[stream] = true;
                        batch.log(streams[stream], ts_ns, flags, row.message);
                    }
                    self.losses.cut += u64::from(row.is_cut);
                }
                Ok(_) => {}
                Err(error) => self.losses.damaged(1, &error.to_string()),
            }
            self.position.next += 1;
        }
        if self.position.next < end {
            let count = end - self.position.next;
            self.losses.damaged(count, "the list of entries is broken");
            self.position.next = end;
        }
        Reached::End
    }
}

/// Level of an entry: what its text says, since what a service prints gets the
/// same priority whatever it is; else its priority.
fn level(message: &[u8], priority: Option<u8>) -> Level {
    match super::level::level(message) {
        Level::None => priority_level(priority),
        stated => stated,
    }
}

fn priority_level(priority: Option<u8>) -> Level {
    match priority {
        Some(0..=2) => Level::Fatal,
        Some(3) => Level::Error,
        Some(4) => Level::Warning,
        Some(5 | 6) => Level::Info,
        Some(7) => Level::Debug,
        _ => Level::None,
    }
}

/// What could not be kept of a file.
#[derive(Debug, Default)]
struct Losses {
    damaged: u64,
    reason: String,
    cut: u64,
}

impl Losses {
    fn damaged(&mut self, count: u64, reason: &str) {
        if self.damaged == 0 {
            reason.clone_into(&mut self.reason);
        }
        self.damaged += count;
    }

    fn note(self, batch: &mut Batch, path: &str) {
        if self.damaged > 0 {
            batch.issue(Issue {
                source: path.to_owned(),
                kind: IssueKind::Damaged,
                amount: Some(self.damaged),
                unit: Some("entries"),
                message: format!(
                    "entries that could not be read, the first because: {}",
                    self.reason
                ),
            });
        }
        if self.cut > 0 {
            batch.issue(Issue {
                source: path.to_owned(),
                kind: IssueKind::Truncated,
                amount: Some(self.cut),
                unit: Some("lines"),
                message: format!("messages longer than {MAX_MESSAGE_BYTES} bytes were cut"),
            });
        }
    }
}

/// Notes that a window leaves out the first entries of a file.
fn note_window(batch: &mut Batch, path: &str, count: u64) {
    if count > 0 {
        batch.issue(Issue {
            source: path.to_owned(),
            kind: IssueKind::Excluded,
            amount: Some(count),
            unit: Some("entries"),
            message: "entries of any unit, older than the window that is read".to_owned(),
        });
    }
}

fn note_file(batch: &mut Batch, path: &str, error: &io::Error) {
    let kind = match error.kind() {
        // journald removes its oldest files when it needs room.
        io::ErrorKind::NotFound => IssueKind::Absent,
        io::ErrorKind::InvalidData => IssueKind::Damaged,
        _ => IssueKind::Unreadable,
    };
    let message = format!("cannot read {path}: {error}");
    batch.issue(Issue { source: path.to_owned(), kind, amount: None, unit: None, message });
}

/// Journal files of the node with their heads, `None` if there is no file. What
/// cannot be listed or opened is an issue, and an error if nothing else is there.
fn list_files(
    host: &Host,
    batch: &mut Batch,
    saw_all: &mut bool,
) -> anyhow::Result<Option<Vec<(Header, String)>>> {
    let (mut paths, mut failures) = (Vec::new(), Vec::new());
    for folder in FOLDERS {
        list_folder(host, folder, true, &mut paths, &mut failures);
    }
    match failures.pop() {
        Some((path, error)) if paths.is_empty() => {
            return Err(error).with_context(|| format!("cannot list {path}"));
        }
        last => failures.extend(last),
    }
    if paths.is_empty() {
        return Ok(None);
    }
    for (path, error) in failures {
        *saw_all = false;
        note_file(batch, &path, &error);
    }
    if paths.len() > MAX_FILES {
        batch.issue(Issue {
            source: FOLDERS[0].to_owned(),
            kind: IssueKind::Truncated,
            amount: Some((paths.len() - MAX_FILES) as u64),
            unit: Some("files"),
            message: format!("only {MAX_FILES} journal files were read"),
        });
        paths.truncate(MAX_FILES);
        *saw_all = false;
    }
    let mut files = Vec::new();
    for path in paths {
        match host.open_file(&path).and_then(|found| Header::read(&found.file)) {
            Ok(header) => files.push((header, path)),
            Err(error) => {
                *saw_all &= error.kind() == io::ErrorKind::NotFound;
                note_file(batch, &path, &error);
            }
        }
    }
    Ok(Some(files))
}

/// Adds the journal files of a folder and, one level down, of the folders that
/// bear the id of a machine.
fn list_folder(
    host: &Host,
    folder: &str,
    deep: bool,
    paths: &mut Vec<String>,
    failures: &mut Vec<(String, io::Error)>,
) {
    let entries = match host.list(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return failures.push((folder.to_owned(), error)),
    };
    for entry in entries {
        let path = format!("{folder}/{}", entry.name);
        let is_machine_id =
            entry.name.len() == 32 && entry.name.bytes().all(|byte| byte.is_ascii_hexdigit());
        // journald sets files aside with a tilde when a crash left them open:
        // they hold what led to it.
        let is_journal = [".journal", ".journal~"].iter().any(|end| entry.name.ends_with(end));
        match entry.kind {
            EntryKind::Folder if deep && is_machine_id => {
                list_folder(host, &path, false, paths, failures);
            }
            EntryKind::File if is_journal => paths.push(path),
            _ => {}
        }
    }
}
