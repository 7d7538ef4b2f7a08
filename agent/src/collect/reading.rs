//! Reads log files into rows: any number of them, of any size, a batch at a time.
//!
//! Owns the one loop that does it, and going on where the last batch ended. It
//! knows neither where files lie (that is [`Sources`]) nor what a line means
//! (that is [`Decoder`]), nor how a file is known again ([`super::plan`]). At any
//! time one file is read and one line in memory.
//!
//! **What is followed** is read in turns: some megabytes of each stream, so that
//! one which is written fast does not keep others waiting, and so often at most
//! that a poll ends although it grows as fast as it is read. Between polls nothing
//! is kept but positions. A line without its end waits for it: the position is
//! where it begins, and it is read again, until it ends, or does not for a while,
//! or is longer than a line may be.

use std::collections::VecDeque;

use anyhow::Result;
use periscope_store::batch::{Batch, Issue, IssueKind, LineFlags, Stream, StreamRef};
use serde::{Deserialize, Serialize};

use super::Progress;
use super::level::level;
use super::lines::Line;
use super::log_file::{Limits, LogFile};
use super::plan::Met;
use super::source::Follow;
use super::turn::Turn;
use crate::host::Host;

/// Issues of one poll that are noted one by one; more are only counted.
const MAX_ISSUES: u64 = 1000;

/// Bytes that one call reads of streams that are followed, before it tells the
/// runner that it is alive: most of them may be of no row.
const CALL_BYTES: u64 = 256 << 20;

/// Turns that each stream has in a poll at most.
const MAX_TURNS: u32 = 16;

/// Where the rows of a reading go.
pub(crate) trait Rows {
    /// Rows that follow belong to this stream.
    fn stream(&mut self, stream: &Stream);

    /// Adds a line to the stream.
    fn log(&mut self, ts_ns: i64, flags: LineFlags, message: &[u8]);

    /// Notes what the rows do not hold.
    fn issue(&mut self, issue: Issue);

    /// Whether issues that follow were noted before in the same poll.
    fn repeat(&mut self, _: bool) {}

    /// Says how far a source was read, `None` to forget it.
    fn position(&mut self, source: &str, value: Option<String>);

    /// Whether to stop here and go on with other rows.
    fn is_full(&self) -> bool;
}

/// Rows of a batch.
#[derive(Debug)]
pub(crate) struct BatchRows<'a> {
    batch: &'a mut Batch,
    stream: Option<StreamRef>,
    /// Whether issues are known already.
    is_repeated: bool,
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
        if !self.is_repeated {
            self.batch.issue(issue);
        }
    }

    fn repeat(&mut self, is_repeated: bool) {
        self.is_repeated = is_repeated;
    }

    fn position(&mut self, source: &str, value: Option<String>) {
        self.batch.set_position(source, value);
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

/// What a decoder takes from one poll to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carry {
    /// Time for lines that have none.
    pub(crate) last_ns: Option<i64>,
    /// Outputs whose next line goes on with one that was given up.
    pub(crate) headless: [bool; 2],
}

/// Understands the lines of one group of files.
///
/// A line as it was written may be several lines of a file. Those of standard
/// output and of standard error may be mixed, so each is open or not.
pub(crate) trait Decoder {
    /// The next file of the group begins; it was last written to then.
    fn begin(&mut self, modified_ns: i64);

    /// Takes a line and gives the rows that it completes.
    fn line(&mut self, line: &Line<'_>, give: &mut dyn FnMut(Row<'_>));

    /// Which outputs have a line open.
    fn open(&self) -> [bool; 2] {
        [false; 2]
    }

    /// Takes a line that another decoder had taken before, if it is of one of
    /// these outputs: it opens a line or goes on with one, and ends none.
    fn replay(&mut self, _: &Line<'_>, _: [bool; 2]) {}

    /// Gives the open line of an output, as far as it came.
    fn give_up(&mut self, _: usize, _: &mut dyn FnMut(Row<'_>)) {}

    /// What the next decoder of these lines has to know.
    fn carry(&self) -> Carry;

    /// Takes over what the last decoder knew.
    fn restore(&mut self, carry: Carry);

    /// The group ends: gives what is still open.
    fn end(&mut self, give: &mut dyn FnMut(Row<'_>));
}

/// Files that make up one stream, oldest first: a line may begin in one and end
/// in the next.
#[derive(Debug)]
pub(crate) struct Group<D> {
    /// Name under which its position is kept.
    pub(crate) source: String,
    /// Stream of their rows.
    pub(crate) stream: Stream,
    /// The files.
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

    /// Whether all that there is could be listed: what was not found is gone.
    fn is_complete(&self) -> bool;
}

/// One call of a collector: begins a poll, or goes on with the one in `slot`.
///
/// `find` begins a poll, and each round of turns; it gives `None`, and so does
/// this, if the node has no such files. What is in `slot` afterwards is a poll
/// that is not done: after its end, and after an error, the next call begins
/// another.
///
/// # Errors
///
/// What `find` says.
pub(crate) fn poll<S: Sources>(
    slot: &mut Option<Reading<S>>,
    follow: &mut Follow,
    host: &Host,
    batch: &mut Batch,
    find: impl FnOnce(&mut BatchRows<'_>) -> Result<Option<S>>,
) -> Result<Option<Progress>> {
    let mut rows = BatchRows { batch, stream: None, is_repeated: false };
    poll_rows(slot, follow, host, &mut rows, Limits::default(), find)
}

/// The same into any rows, with any limits.
pub(super) fn poll_rows<S: Sources, R: Rows>(
    slot: &mut Option<Reading<S>>,
    follow: &mut Follow,
    host: &Host,
    rows: &mut R,
    limits: Limits,
    find: impl FnOnce(&mut R) -> Result<Option<S>>,
) -> Result<Option<Progress>> {
    let mut reading = match slot.take() {
        Some(reading) if !reading.is_over => reading,
        last => {
            match &last {
                Some(_) => rows.repeat(true),
                None => follow.begin(host.now_ns()),
            }
            let sources = find(rows)?;
            rows.repeat(false);
            let Some(sources) = sources else { return Ok(None) };
            Reading::next(sources, limits, last.as_ref())
        }
    };
    let mut progress = reading.read(host, follow, rows);
    if progress == Progress::Done && reading.begins_another() {
        progress = Progress::More;
    }
    if progress == Progress::More {
        *slot = Some(reading);
    } else {
        reading.end(follow, rows);
    }
    Ok(Some(progress))
}

/// A poll of log files under way. Dropping it forgets where it was.
#[derive(Debug)]
pub(crate) struct Reading<S: Sources> {
    sources: S,
    limits: Limits,
    turn: Option<Turn<S::Decoder>>,
    /// Files met already: a file with two names is read once.
    met: Met,
    issue_count: u64,
    /// Rounds of turns so far, before this one.
    rounds: u32,
    /// Whether a turn of this round ended before its files did.
    is_cut_short: bool,
    /// Whether all files could be looked at.
    is_complete: bool,
    /// Whether this round is over and another begins.
    is_over: bool,
}

impl<S: Sources> Reading<S> {
    /// A reading of all files of `sources`.
    #[cfg(test)]
    pub(crate) fn new(sources: S, limits: Limits) -> Self {
        Self::next(sources, limits, None)
    }

    /// The round after another one, of the same poll.
    fn next(sources: S, limits: Limits, last: Option<&Self>) -> Self {
        Self {
            sources,
            limits,
            turn: None,
            met: Met::new(),
            issue_count: last.map_or(0, |last| last.issue_count),
            rounds: last.map_or(0, |last| last.rounds + 1),
            is_cut_short: false,
            is_complete: last.is_none_or(|last| last.is_complete),
            is_over: false,
        }
    }

    /// Reads on until every stream had its turn ([`Progress::Done`]) or `rows` are
    /// full ([`Progress::More`]); the next call goes on with the next line.
    pub(crate) fn read(
        &mut self,
        host: &Host,
        follow: &mut Follow,
        rows: &mut impl Rows,
    ) -> Progress {
        if let Some(turn) = &self.turn {
            rows.stream(turn.stream());
        }
        let mut room = CALL_BYTES;
        loop {
            if room == 0 {
                return Progress::More;
            }
            if self.turn.is_none() && !self.next_turn(host, follow, rows) {
                self.is_complete &= self.sources.is_complete();
                return Progress::Done;
            }
            let Some(turn) = &mut self.turn else { return Progress::Done };
            let count = &mut self.issue_count;
            let is_full = !turn.read(rows, &mut |rows, issue| note(count, rows, issue));
            turn.save(follow, rows);
            if is_full {
                return Progress::More;
            }
            room = room.saturating_sub(turn.read_bytes());
            self.is_cut_short |= turn.is_cut_short();
            self.turn = None;
        }
    }

    /// Begins the turn of the next group, `false` if there is none.
    fn next_turn(&mut self, host: &Host, follow: &Follow, rows: &mut impl Rows) -> bool {
        let count = &mut self.issue_count;
        let group = self.sources.next_group(host, &mut |issue| note(count, rows, issue));
        let Some(group) = group else { return false };
        rows.stream(&group.stream);
        let mut note = |issue| note(count, rows, issue);
        self.turn = Some(Turn::begin(host, group, follow, self.limits, &mut self.met, &mut note));
        true
    }

    /// Whether another round of turns is due.
    fn begins_another(&mut self) -> bool {
        self.is_over = self.is_cut_short && self.rounds + 1 < MAX_TURNS;
        self.is_over
    }

    /// Ends the poll: forgets what is gone, and says how many issues were not
    /// noted one by one.
    pub(crate) fn end(mut self, follow: &mut Follow, rows: &mut impl Rows) {
        let mut issues = Vec::new();
        follow.end(self.is_complete, rows, &mut |issue| issues.push(issue));
        for issue in issues {
            note(&mut self.issue_count, rows, issue);
        }
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

/// Adds a row, with the level that its text states.
pub(super) fn push(rows: &mut impl Rows, row: Row<'_>) {
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

        fn is_complete(&self) -> bool {
            true
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

        fn carry(&self) -> Carry {
            Carry::default()
        }

        fn restore(&mut self, _: Carry) {}

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
        let file =
            |name: &&str| LogFile { path: format!("/{name}"), is_link: false, is_rotated: false };
        let groups = groups.iter().map(|(stream, files)| Group {
            source: (*stream).to_owned(),
            stream: Stream::file(stream),
            files: files.iter().map(file).collect(),
            decoder: Plain(0),
        });
        let limits = Limits { line_bytes: 4, file_bytes: 20, unpacked_bytes: 20, turn_bytes: 20 };
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
                ("/gone", IssueKind::Unreadable, None),
                ("/a", IssueKind::Truncated, Some(2 + 3 + 3)),
                ("/b", IssueKind::Truncated, Some(10)),
                ("/b", IssueKind::Truncated, Some(5)),
                ("s", IssueKind::Truncated, Some(10)),
            ]
        );
    }

    #[test]
    fn issues_are_bounded() {
        let groups: Vec<(&str, &[&str])> = vec![("s", &["gone"]); 600];
        let got = read(&[], &groups, 100);
        assert_eq!(got.issues.len() as u64, MAX_ISSUES + 1);
        let last = got.issues.last().expect("one");
        // Each group lacks its file, and is cut at its end.
        assert_eq!(last.amount, Some(1_200 - MAX_ISSUES), "{last:?}");
    }
}
