//! Logs that misbehave while they are followed: each costs what it must, says so,
//! and costs no other log anything.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use periscope_store::batch::IssueKind;
use periscope_store::positions::Positions;

use super::Progress;
use super::container_names::Filter;
use super::containers::ContainerFiles;
use super::log_file::Limits;
use super::reading::{Reading, poll_rows};
use super::recorder::{Recorder, node};
use super::source::{Backfill, Follow};
use crate::host::Host;

const NAME: &str = "container-logs";
const ALL: Backfill = Backfill { window: Duration::MAX, bytes: u64::MAX };

/// A node and an agent that follows its logs.
struct Agent {
    folder: tempfile::TempDir,
    host: Host,
    limits: Limits,
    follow: Follow,
    reading: Option<Reading<ContainerFiles>>,
    positions: Positions,
}

impl Agent {
    fn new(files: &[(&str, &str)], backfill: Backfill) -> Self {
        let paths: Vec<_> =
            files.iter().map(|(name, text)| (format!("var/log/pods/{name}"), *text)).collect();
        let files: Vec<_> = paths.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (folder, host) = node(&files);
        let mut follow = Follow::new(backfill);
        follow.resume(NAME, &Positions::default());
        let (limits, positions) = (Limits::default(), Positions::default());
        Self { folder, host, limits, follow, reading: None, positions }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("var/log/pods").join(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.path(name)).expect("a file");
        file.write_all(bytes).expect("written");
    }

    /// One call of the collector.
    fn call(&mut self, got: &mut Recorder, room: usize) -> Progress {
        got.room = room;
        let (host, filter) = (&self.host, Filter::new(Vec::new()));
        let find = |rows: &mut Recorder| ContainerFiles::find(host, &filter, rows);
        let limits = self.limits;
        let progress = poll_rows(&mut self.reading, &mut self.follow, host, got, limits, find);
        for (source, value) in got.positions.drain(..) {
            self.positions.set(NAME, &source, value);
        }
        progress.expect("no failure").expect("a folder")
    }

    /// A whole poll.
    fn poll(&mut self) -> Recorder {
        let mut got = Recorder::default();
        while self.call(&mut got, 1_000_000) == Progress::More {}
        got
    }

    /// The process ends and another one begins.
    fn restart(&mut self, backfill: Backfill) {
        self.reading = None;
        self.follow = Follow::new(backfill);
        self.follow.resume(NAME, &self.positions);
    }
}

fn cri(number: u32) -> String {
    format!("2026-11-22T12:28:03.{number:09}Z stdout F line {number}\n")
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(cri).collect()
}

#[test]
fn what_is_no_file_is_said_and_the_rest_is_followed() {
    let mut agent = Agent::new(
        &[
            ("a_dir_u/c/0.log/inner", "not a log"),
            ("a_loop_u/c/0.log", "-> 1.log"),
            ("a_loop_u/c/1.log", "-> 0.log"),
            ("a_pipe_u/c/notes", ""),
            ("b_good_u/c/0.log", &cri(1)),
        ],
        ALL,
    );
    let pipe = agent.path("a_pipe_u/c/0.log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    let got = agent.poll();
    assert_eq!(got.messages(), ["line 1"]);
    let unreadable = (IssueKind::Unreadable, "/var/log/pods/a_loop_u/c/0.log");
    assert!(got.issues().contains(&unreadable), "{:?}", got.issues());
    // A file that is replaced by a folder, and comes back as another file.
    agent.append("b_good_u/c/0.log", cri(2).as_bytes());
    assert_eq!(agent.poll().messages(), ["line 2"]);
    let log = agent.path("b_good_u/c/0.log");
    fs::remove_file(&log).expect("removed");
    fs::create_dir(&log).expect("a folder");
    assert_eq!(agent.poll().messages(), [""; 0]);
    fs::remove_dir(&log).expect("removed");
    fs::write(&log, cri(3)).expect("a file");
    assert_eq!(agent.poll().messages(), ["line 3"]);
}

#[test]
fn a_line_without_an_end_costs_its_length_and_no_more() {
    let mut agent = Agent::new(&[("a_b_u/c/0.log", &cri(1))], ALL);
    agent.append("a_b_u/c/0.log", b"2026-11-22T12:28:04Z stdout F ");
    let piece = vec![b'x'; 1 << 20];
    let (mut truncated, mut kept, mut rows) = (0, 0, 0);
    for _ in 0..3 {
        (0..30).for_each(|_| agent.append("a_b_u/c/0.log", &piece));
        let got = agent.poll();
        truncated += got.issues.iter().filter_map(|issue| issue.amount).sum::<u64>();
        let long = got.lines.iter().filter(|line| line.message.starts_with('x'));
        for line in long {
            assert!(line.flags.partial);
            kept += line.message.len() as u64;
            rows += 1;
        }
    }
    assert_eq!(rows, 1, "the head once");
    let head = "2026-11-22T12:28:04Z stdout F ".len() as u64;
    assert_eq!(kept + head, 1 << 20);
    agent.append("a_b_u/c/0.log", format!("\n{}", cri(2)).as_bytes());
    let got = agent.poll();
    assert_eq!(got.messages(), ["line 2"]);
    assert_eq!(kept + truncated, 90 << 20);
}

#[test]
fn a_slow_line_is_given_in_pieces_that_say_so() {
    let mut agent = Agent::new(&[("a_b_u/c/0.log", "")], ALL);
    agent.append("a_b_u/c/0.log", b"2026-11-22T12:28:04Z stdout F half");
    let polls: Vec<Vec<String>> =
        (0..5).map(|_| agent.poll().messages().into_iter().map(str::to_owned).collect()).collect();
    assert_eq!(polls.concat(), ["half"], "once");
    assert!(polls[0].is_empty(), "it waits");
    agent.restart(ALL);
    agent.append("a_b_u/c/0.log", format!(" a line\n{}", cri(1)).as_bytes());
    let got = agent.poll();
    assert_eq!(got.messages(), [" a line", "line 1"]);
    assert!(got.lines[0].flags.partial && !got.lines[1].flags.partial);
}

#[test]
fn any_bytes_are_kept() {
    let mut agent = Agent::new(&[("a_b_u/c/0.log", "")], ALL);
    agent.append("a_b_u/c/0.log", b"2026-11-22T12:28:04Z stdout F \0\xff\0\n\0\0\0\n\xfe\xff\n");
    assert_eq!(agent.poll().messages(), ["\0\u{fffd}\0", "\0\0\0", "\u{fffd}\u{fffd}"]);
    assert!(agent.poll().lines.is_empty());
}

#[test]
fn a_fast_log_keeps_no_other_waiting_and_a_poll_ends() {
    let text = lines(0..10_000);
    let mut agent = Agent::new(&[("a_fast_u/c/0.log", &text), ("b_slow_u/c/0.log", &cri(1))], ALL);
    agent.limits.turn_bytes = 10_000;
    let mut got = Recorder::default();
    let mut calls = 0;
    while agent.call(&mut got, 1_000) == Progress::More {
        calls += 1;
        // As fast as it is read.
        agent.append("a_fast_u/c/0.log", lines(0..1_000).as_bytes());
        assert!(calls < 100, "the poll has an end");
    }
    let slow = got.lines.iter().position(|line| line.stream == "b/slow/c");
    assert!(slow.is_some_and(|at| at < 300), "after one turn of the other: {slow:?}");
    assert!(got.lines.len() < 5_000, "{}", got.lines.len());
    let next = agent.poll();
    assert!(next.lines.len() > 1_000, "the rest comes in the next polls");
}

#[test]
fn what_was_there_before_is_read_back_so_far() {
    let backfill = Backfill { window: Duration::MAX, bytes: 1_000 };
    let files =
        [("a_b_u/c/0.log.20261122-120000", lines(0..100)), ("a_b_u/c/0.log", lines(100..200))];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut agent = Agent::new(&files, backfill);
    let got = agent.poll();
    assert_eq!(got.messages().last(), Some(&"line 199"));
    let size = (0..200).map(|number| cri(number).len() as u64).sum::<u64>();
    let read = (200 - got.lines.len() as u32..200).map(|n| cri(n).len() as u64).sum::<u64>();
    assert!(read <= 1_000 && read > 900, "{read}");
    assert!(got.issues.iter().all(|issue| issue.kind == IssueKind::Excluded));
    let excluded = got.issues.iter().filter_map(|issue| issue.amount).sum::<u64>();
    assert_eq!(excluded + read, size, "what is left out is counted");
    agent.restart(backfill);
    agent.append("a_b_u/c/0.log", lines(200..300).as_bytes());
    assert_eq!(agent.poll().lines.len(), 100, "what is known is read on from where it was");
    // What appears later was not there before.
    fs::write(agent.path("a_b_u/c/1.log"), lines(0..100)).expect("a file");
    assert_eq!(agent.poll().lines.len(), 100);
}

#[test]
fn lines_before_the_window_are_counted() {
    let now_ns = Host::open(std::path::Path::new("/")).expect("a root").now_ns();
    let at = |ns: i64, text: &str| {
        format!("{} stdout F {text}\n", periscope_store::time::format_ns(now_ns - ns))
    };
    let text = at(7_200_000_000_000, "old") + &at(60_000_000_000, "young");
    let window = Backfill { window: Duration::from_hours(1), bytes: u64::MAX };
    let mut agent = Agent::new(&[("a_b_u/c/0.log", &text)], window);
    let got = agent.poll();
    assert_eq!(got.messages(), ["young"]);
    assert_eq!(got.issues(), [(IssueKind::Excluded, "a/b/c")]);
    assert_eq!((got.issues[0].amount, got.issues[0].unit), (Some(1), Some("lines")));
    // The clock is set back: what is written then is older than the window.
    agent.append("a_b_u/c/0.log", at(7_200_000_000_000, "after the step").as_bytes());
    assert_eq!(agent.poll().messages(), ["after the step"]);
}

#[test]
fn what_is_gone_is_forgotten_and_what_was_lost_is_said() {
    let mut agent =
        Agent::new(&[("a_b_u/c/0.log", &lines(0..10)), ("a_gone_u/c/0.log", &cri(1))], ALL);
    assert_eq!(agent.poll().lines.len(), 11);
    // Another file with the same inode, and longer.
    fs::write(agent.path("a_b_u/c/0.log"), lines(50..100)).expect("a file");
    fs::remove_dir_all(agent.path("a_gone_u")).expect("removed");
    let got = agent.poll();
    assert_eq!(got.lines.len(), 50);
    let mut issues = got.issues();
    issues.sort_by_key(|(_, source)| *source);
    assert_eq!(issues, [(IssueKind::Dropped, "a/b/u/c/0"), (IssueKind::Absent, "a/gone/u/c/0")]);
    assert_eq!(
        agent.positions.of(NAME).map(|(source, _)| source).collect::<Vec<_>>(),
        ["a/b/u/c/0"]
    );
    assert!(agent.poll().issues.is_empty(), "once");
}

#[test]
fn no_position_holds_text_of_a_log() {
    let mut agent = Agent::new(&[("a_b_u/c/0.log", &lines(0..10))], ALL);
    agent.poll();
    let (_, value) = agent.positions.of(NAME).next().expect("a position");
    assert!(!value.contains("line"), "{value}");
    assert!(value.len() < 500, "{value}");
    let mut follow = Follow::new(ALL);
    agent.positions.set(NAME, "a/b/u/c/0", Some("{\"of\": \"another version\"}".to_owned()));
    follow.resume(NAME, &agent.positions);
    agent.follow = follow;
    assert_eq!(agent.poll().lines.len(), 10, "read again rather than lost");
}
