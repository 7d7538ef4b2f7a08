//! Reads log files into rows: any number of them, of any size, a batch at a time.
//!
//! Owns the one loop that does it, and going on where the last batch ended. It
//! knows neither where files lie (that is [`Sources`]) nor what a line means
//! (that is [`Decoder`]). At any time one file is open and one line in memory.

use std::collections::{HashSet, VecDeque};
use std::io;

use anyhow::Result;
use periscope_store::batch::{Batch, Issue, IssueKind, LineFlags, Stream, StreamRef};

use super::Progress;
use super::level::level;
use super::lines::Line;
use super::log_file::{Limits, LogFile, OpenFile};
use crate::host::Host;

/// Issues of one poll that are noted one by one; more are only counted.
const MAX_ISSUES: u64 = 100;

/// Where the rows of a reading go.
pub(crate) trait Rows {
    /// Rows that follow belong to this stream.
    fn stream(&mut self, stream: &Stream);

    /// Adds a line to the stream.
    fn log(&mut self, ts_ns: i64, flags: LineFlags, message: &[u8]);

    /// Notes what the rows do not hold.
    fn issue(&mut self, issue: Issue);

    /// Whether to stop here and go on with other rows.
    fn is_full(&self) -> bool;
}

/// Rows of a batch.
#[derive(Debug)]
pub(crate) struct BatchRows<'a> {
    batch: &'a mut Batch,
    stream: Option<StreamRef>,
}

impl<'a> BatchRows<'a> {
    /// Rows that go into `batch`.
    pub(crate) fn new(batch: &'a mut Batch) -> Self {
        Self { batch, stream: None }
    }
}

impl Rows for BatchRows<'_> {
    fn stream(&mut self, stream: &Stream) {
        self.stream = Some(self.batch.stream(stream.clone()));
    }

    fn log(&mut self, ts_ns: i64, flags: LineFlags, message: &[u8]) {
        if let Some(stream) = self.stream {
            self.batch.log(stream, ts_ns, flags, message);
        }
    }

    fn issue(&mut self, issue: Issue) {
        self.batch.issue(issue);
    }

    fn is_full(&self) -> bool {
        self.batch.is_full()
    }
}

/// A line as a decoder understood it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Time of the line, nanoseconds since 1970.
    pub(crate) ts_ns: i64,
    /// What is known of it but the level, which is read from the message.
    pub(crate) flags: LineFlags,
    /// Its text.
    pub(crate) message: &'a [u8],
    /// Bytes of the message that the decoder had no room for.
    pub(crate) truncated_bytes: u64,
}

/// Understands the lines of one group of files.
pub(crate) trait Decoder {
    /// The next file of the group begins; it was last written to then.
    fn begin(&mut self, modified_ns: i64);

    /// Takes a line and gives the rows that it completes.
    fn line(&mut self, line: &Line<'_>, give: &mut dyn FnMut(Row<'_>));

    /// The group ends: gives what is still open.
    fn end(&mut self, give: &mut dyn FnMut(Row<'_>));
}

/// Files that make up one stream, oldest first: a line may begin in one and end
/// in the next.
#[derive(Debug)]
pub(crate) struct Group<D> {
    /// Stream of their rows.
    pub(crate) stream: Stream,
    /// The files that are still to be read.
    pub(crate) files: VecDeque<LogFile>,
    /// What reads their lines.
    pub(crate) decoder: D,
}

/// Finds files, one group at a time, when their turn comes: what is listed long
/// before it is read has been rotated away meanwhile.
pub(crate) trait Sources {
    /// What understands the lines.
    type Decoder: Decoder;

    /// The next group, `None` after the last. What cannot be listed is an issue.
    fn next_group(
        &mut self,
        host: &Host,
        note: &mut dyn FnMut(Issue),
    ) -> Option<Group<Self::Decoder>>;
}

/// One call of a collector: begins a poll, or goes on with the one in `slot`.
///
/// `find` begins a poll; it gives `None`, and so does this, if the node has no
/// such files. What is in `slot` afterwards is a poll that is not done: after
/// its end, and after an error, the next call begins another.
///
/// # Errors
///
/// What `find` says.
pub(crate) fn poll<S: Sources>(
    slot: &mut Option<Reading<S>>,
    host: &Host,
    batch: &mut Batch,
    find: impl FnOnce(&mut BatchRows<'_>) -> Result<Option<S>>,
) -> Result<Option<Progress>> {
    let mut rows = BatchRows::new(batch);
    let mut reading = if let Some(reading) = slot.take() {
        reading
    } else {
        let Some(sources) = find(&mut rows)? else { return Ok(None) };
        Reading::new(sources, Limits::default())
    };
    let progress = reading.read(host, &mut rows);
    if progress == Progress::More {
        *slot = Some(reading);
    }
    Ok(Some(progress))
}

/// A poll of log files under way. Dropping it forgets where it was.
#[derive(Debug)]
pub(crate) struct Reading<S: Sources> {
    sources: S,
    limits: Limits,
    group: Option<Group<S::Decoder>>,
    open: Option<OpenFile>,
    /// Files read already: a file with two names is read once.
    seen: HashSet<(u64, u64)>,
    issue_count: u64,
}

impl<S: Sources> Reading<S> {
    /// A reading of all files of `sources`.
    pub(crate) fn new(sources: S, limits: Limits) -> Self {
        Self { sources, limits, group: None, open: None, seen: HashSet::new(), issue_count: 0 }
    }

    /// Reads on until all is read ([`Progress::Done`]) or `rows` are full
    /// ([`Progress::More`]); the next call goes on with the next line.
    pub(crate) fn read(&mut self, host: &Host, rows: &mut impl Rows) -> Progress {
        if let Some(group) = &self.group {
            rows.stream(&group.stream);
        }
        loop {
            if rows.is_full() {
                return Progress::More;
            }
            if self.open.is_some() {
                self.read_open(rows);
            } else if self.group.is_some() {
                self.open_next(host, rows);
            } else if !self.next_group(host, rows) {
                self.end(rows);
                return Progress::Done;
            }
        }
    }

    /// Takes the next group, `false` if there is none.
    fn next_group(&mut self, host: &Host, rows: &mut impl Rows) -> bool {
        let count = &mut self.issue_count;
        self.group = self.sources.next_group(host, &mut |issue| note(count, rows, issue));
        if let Some(group) = &self.group {
            rows.stream(&group.stream);
        }
        self.group.is_some()
    }

    /// Opens the next file of the group, or ends the group.
    fn open_next(&mut self, host: &Host, rows: &mut impl Rows) {
        let Some(group) = &mut self.group else { return };
        let Some(file) = group.files.pop_front() else {
            let mut truncated = 0;
            group.decoder.end(&mut |row| push(rows, row, &mut truncated));
            let source = group.stream.name.clone();
            self.group = None;
            self.note_truncated(rows, &source, truncated);
            return;
        };
        match OpenFile::open(host, &file, self.limits, &mut self.seen) {
            Ok(None) => {}
            Ok(Some(open)) => {
                group.decoder.begin(open.modified_ns);
                if open.skipped_bytes > 0 {
                    let message =
                        format!("only the last {} bytes were read", self.limits.file_bytes);
                    let issue = truncated(&open.path, open.skipped_bytes, message);
                    note(&mut self.issue_count, rows, issue);
                }
                self.open = Some(open);
            }
            Err(error) => {
                let issue = Issue {
                    kind: match error.kind() {
                        io::ErrorKind::NotFound if file.is_link => IssueKind::Absent,
                        _ => IssueKind::Unreadable,
                    },
                    message: match error.kind() {
                        io::ErrorKind::NotFound if file.is_link => "a link to nothing".to_owned(),
                        io::ErrorKind::NotFound => "gone before it could be read".to_owned(),
                        _ => format!("cannot open: {error}"),
                    },
                    source: file.path,
                    amount: None,
                    unit: None,
                };
                note(&mut self.issue_count, rows, issue);
            }
        }
    }

    /// Reads lines of the open file until its end or until `rows` are full.
    fn read_open(&mut self, rows: &mut impl Rows) {
        let (Some(group), Some(open)) = (&mut self.group, &mut self.open) else { return };
        let error = loop {
            if rows.is_full() {
                return;
            }
            match open.lines.next() {
                Ok(Some(line)) => {
                    open.truncated_bytes += line.truncated_bytes;
                    let truncated = &mut open.truncated_bytes;
                    group.decoder.line(&line, &mut |row| push(rows, row, truncated));
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(open) = self.open.take() {
            self.close(&open, error, rows);
        }
    }

    /// Notes what a file did not give.
    fn close(&mut self, open: &OpenFile, error: Option<io::Error>, rows: &mut impl Rows) {
        if let Some(error) = error {
            let (kind, message) = if open.is_packed() {
                (IssueKind::Damaged, format!("lines up to the damage were kept: {error}"))
            } else {
                (IssueKind::Unreadable, format!("lines up to the error were kept: {error}"))
            };
            let source = open.path.clone();
            let issue = Issue { source, kind, amount: None, unit: None, message };
            note(&mut self.issue_count, rows, issue);
        }
        if open.is_cut() {
            let issue = Issue {
                source: open.path.clone(),
                kind: IssueKind::Truncated,
                amount: None,
                unit: None,
                message: format!(
                    "only the first {} unpacked bytes were read",
                    self.limits.unpacked_bytes
                ),
            };
            note(&mut self.issue_count, rows, issue);
        }
        self.note_truncated(rows, &open.path, open.truncated_bytes);
    }

    fn note_truncated(&mut self, rows: &mut impl Rows, source: &str, bytes: u64) {
        if bytes > 0 {
            let message = format!("lines longer than {} bytes were cut", self.limits.line_bytes);
            note(&mut self.issue_count, rows, truncated(source, bytes, message));
        }
    }

    /// Says how many issues were not noted one by one.
    fn end(&mut self, rows: &mut impl Rows) {
        let more = self.issue_count.saturating_sub(MAX_ISSUES);
        if more > 0 {
            rows.issue(Issue {
                source: "all files".to_owned(),
                kind: IssueKind::Unreadable,
                amount: Some(more),
                unit: Some("issues"),
                message: format!("{more} more issues like the first {MAX_ISSUES}"),
            });
        }
    }
}

fn note(count: &mut u64, rows: &mut impl Rows, issue: Issue) {
    *count += 1;
    if *count <= MAX_ISSUES {
        rows.issue(issue);
    }
}

fn truncated(source: &str, bytes: u64, message: String) -> Issue {
    Issue {
        source: source.to_owned(),
        kind: IssueKind::Truncated,
        amount: Some(bytes),
        unit: Some("bytes"),
        message,
    }
}

fn push(rows: &mut impl Rows, row: Row<'_>, truncated_bytes: &mut u64) {
    *truncated_bytes += row.truncated_bytes;
    rows.log(row.ts_ns, LineFlags { level: level(row.message), ..row.flags }, row.message);
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Recorder;
    use super::*;

    /// Groups given beforehand.
    struct Given(VecDeque<Group<Plain>>);

    impl Sources for Given {
        type Decoder = Plain;

        fn next_group(&mut self, _: &Host, _: &mut dyn FnMut(Issue)) -> Option<Group<Plain>> {
            self.0.pop_front()
        }
    }

    /// Each line is a row, and the end of a group is one more.
    struct Plain(i64);

    impl Decoder for Plain {
        fn begin(&mut self, modified_ns: i64) {
            self.0 = modified_ns;
        }

        fn line(&mut self, line: &Line<'_>, give: &mut dyn FnMut(Row<'_>)) {
            let truncated_bytes = u64::from(line.bytes == b"long"); // as if it had no room
            let flags = LineFlags::default();
            give(Row { ts_ns: self.0, flags, message: line.bytes, truncated_bytes });
        }

        fn end(&mut self, give: &mut dyn FnMut(Row<'_>)) {
            let flags = LineFlags { partial: true, ..LineFlags::default() };
            give(Row { ts_ns: self.0, flags, message: b"end", truncated_bytes: 10 });
        }
    }

    fn read(files: &[(&str, &[u8])], groups: &[(&str, &[&str])], room: usize) -> Recorder {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let host = Host::open(folder.path()).expect("a root");
        let file = |name: &&str| LogFile { path: format!("/{name}"), is_link: false };
        let groups = groups.iter().map(|(stream, files)| Group {
            stream: Stream::file(stream),
            files: files.iter().map(file).collect(),
            decoder: Plain(0),
        });
        let limits = Limits { line_bytes: 4, file_bytes: 20, unpacked_bytes: 20 };
        Recorder::record(Reading::new(Given(groups.collect()), limits), &host, room)
    }

    #[test]
    fn groups_are_read_file_after_file() {
        for room in [1, 2, 3, 100] {
            let got = read(
                &[("a", b"1\n2\n"), ("b", b"3\n"), ("c", b"4"), ("empty", b"")],
                &[("one", &["a", "b"]), ("none", &[]), ("two", &["empty", "a", "c"])],
                room,
            );
            let lines: Vec<_> = got
                .lines
                .iter()
                .map(|line| (line.stream.as_str(), line.message.as_str()))
                .collect();
            let expected = [
                ("one", "1"),
                ("one", "2"),
                ("one", "3"),
                ("one", "end"),
                ("none", "end"),
                ("two", "4"),
                ("two", "end"),
            ];
            assert_eq!(lines, expected, "room for {room}: file a is read once");
        }
    }

    #[test]
    fn what_is_lost_is_noted_once_a_file() {
        let got = read(
            &[("a", b"long\nlonger\nlongest\n"), ("b", b"123456789\n123456789\n1\n")],
            &[("s", &["a", "gone", "b"])],
            2,
        );
        let issues: Vec<_> = got
            .issues
            .iter()
            .map(|issue| (issue.source.as_str(), issue.kind, issue.amount))
            .collect();
        assert_eq!(
            issues,
            [
                ("/a", IssueKind::Truncated, Some(2 + 3 + 3)),
                ("/gone", IssueKind::Unreadable, None),
                ("/b", IssueKind::Truncated, Some(10)),
                ("/b", IssueKind::Truncated, Some(5)),
                ("s", IssueKind::Truncated, Some(10)),
            ]
        );
    }

    #[test]
    fn issues_are_bounded() {
        let names: Vec<String> = (0..250).map(|i| format!("gone-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let got = read(&[], &[("s", &names)], 100);
        assert_eq!(got.issues.len() as u64, MAX_ISSUES + 1);
        let last = got.issues.last().expect("one");
        // The cut at the group's end is one more than the files.
        assert_eq!(last.amount, Some(151), "{last:?}");
    }
}
