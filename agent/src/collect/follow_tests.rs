//! Logs that are written, rotated, compressed, copied, truncated and removed while
//! an agent follows them and dies: each line comes once, whatever the order.
//!
//! What may be missing is what nobody can have: lines that were not committed when
//! the only file with them was removed, or truncated without a copy. What may be
//! in pieces is a line whose end did not come for some polls, and all its pieces
//! together are the line.
#![expect(clippy::disallowed_methods, reason = "tests read the files that they made")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use periscope_store::batch::{Issue, LineFlags, Stream};
use periscope_store::positions::Positions;
use proptest::prelude::*;

use super::Progress;
use super::container_names::Filter;
use super::containers::ContainerFiles;
use super::log_file::Limits;
use super::reading::{Reading, Rows, poll_rows};
use super::source::{Backfill, Follow};
use crate::host::Host;

const FOLDER: &str = "var/log/pods/ns_pod_uid/c";

/// Small, so that a few lines are more than a turn and a long one is cut.
const LIMITS: Limits =
    Limits { line_bytes: 2_000, file_bytes: 1 << 30, unpacked_bytes: 1 << 30, turn_bytes: 2_500 };

#[derive(Clone, Debug)]
enum Step {
    /// Lines of this many parts each.
    Append(Vec<u8>),
    /// A part of a line of standard error, which others do not end.
    AppendPart,
    /// A line up to the middle of its text; the next write ends it.
    Tear,
    Rotate,
    Compress,
    /// Copy, then truncate.
    Copy,
    /// The same, and so many hundredths of the copy are there when a poll looks.
    SlowCopy(u8),
    Truncate,
    RemoveOldest,
    Restart,
    RemoveAll,
    /// The agent's process ends: what is not committed is gone.
    Crash,
    /// So many batches of so many lines are read, and committed.
    Poll {
        batches: u8,
        room: u8,
    },
    /// The last batch of a poll is read and not committed.
    Fail {
        room: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(1_u8..4, 1..12).prop_map(Step::Append),
        2 => Just(Step::AppendPart),
        2 => Just(Step::Tear),
        3 => Just(Step::Rotate),
        2 => Just(Step::Compress),
        2 => Just(Step::Copy),
        2 => (0_u8..101).prop_map(Step::SlowCopy),
        2 => Just(Step::Truncate),
        1 => Just(Step::RemoveOldest),
        1 => Just(Step::Restart),
        1 => Just(Step::RemoveAll),
        3 => Just(Step::Crash),
        8 => (1_u8..4, 1_u8..20).prop_map(|(batches, room)| Step::Poll { batches, room }),
        4 => Just(Step::Poll { batches: u8::MAX, room: 100 }),
        2 => (1_u8..20).prop_map(|room| Step::Fail { room }),
    ]
}

/// What a batch holds.
#[derive(Default)]
struct Lot {
    rows: Vec<(LineFlags, String)>,
    positions: Vec<(String, Option<String>)>,
    room: usize,
}

impl Rows for Lot {
    fn stream(&mut self, _: &Stream) {}

    fn log(&mut self, _: i64, flags: LineFlags, message: &[u8]) {
        self.rows.push((flags, String::from_utf8_lossy(message).into_owned()));
        self.room = self.room.saturating_sub(1);
    }

    fn issue(&mut self, _: Issue) {}

    fn position(&mut self, source: &str, value: Option<String>) {
        self.positions.push((source.to_owned(), value));
    }

    fn is_full(&self) -> bool {
        self.room == 0
    }
}

/// A node, an agent, and what the one wrote and the other committed.
struct World {
    folder: tempfile::TempDir,
    host: Host,
    restart: u32,
    rotations: u32,
    /// Lines by number, as they were written.
    written: BTreeMap<u32, String>,
    /// Nanoseconds of the last entry: no two are alike.
    clock: u32,
    /// Lines whose only file was destroyed before they were committed.
    may_be_lost: BTreeSet<u32>,
    /// A line of standard output without its newline, and what is left of it.
    torn: Option<String>,
    /// Line of standard error that is open.
    open: Option<u32>,
    follow: Follow,
    reading: Option<Reading<ContainerFiles>>,
    committed: Vec<(LineFlags, String)>,
    positions: Positions,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join(FOLDER)).expect("a folder");
        let host = Host::open(folder.path()).expect("a root");
        let mut world = Self {
            folder,
            host,
            restart: 0,
            rotations: 0,
            written: BTreeMap::new(),
            clock: 0,
            may_be_lost: BTreeSet::new(),
            torn: None,
            open: None,
            follow: Follow::default(),
            reading: None,
            committed: Vec::new(),
            positions: Positions::default(),
        };
        world.crash();
        world.write("");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(FOLDER).join(name)
    }

    fn current(&self) -> PathBuf {
        self.path(&format!("{}.log", self.restart))
    }

    fn write(&mut self, text: &str) {
        let text = self.torn.take().unwrap_or_default() + text;
        let mut file =
            OpenOptions::new().create(true).append(true).open(self.current()).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn time(&mut self) -> String {
        self.clock += 1;
        format!("2026-11-22T12:28:03.{:09}Z", self.clock)
    }

    /// A line's text: its number again and again, so that each piece names it.
    fn text(&mut self) -> (u32, String) {
        let number = self.written.len() as u32;
        let text = format!("{number:06}|").repeat(3 + number as usize % 40);
        self.written.insert(number, text.clone());
        (number, text)
    }

    fn append(&mut self, parts: u8) {
        let (_, text) = self.text();
        let tokens = text.len() / 7;
        let mut entries = String::new();
        for part in 0..usize::from(parts) {
            let cut = |part: usize| tokens * part / usize::from(parts) * 7;
            let tag = if part + 1 == usize::from(parts) { 'F' } else { 'P' };
            let piece = &text[cut(part)..cut(part + 1)];
            entries.extend([&*self.time(), &format!(" stdout {tag} {piece}\n")]);
        }
        self.write(&entries);
    }

    fn append_part(&mut self) {
        let new = self.written.len() as u32;
        let number = self.open.unwrap_or(new);
        self.written.entry(number).or_default();
        self.open = Some(number);
        let piece = format!("{number:06}|").repeat(20);
        self.written.get_mut(&number).expect("written").push_str(&piece);
        let time = self.time();
        self.write(&format!("{time} stderr P {piece}\n"));
    }

    fn tear(&mut self) {
        let (_, text) = self.text();
        let time = self.time();
        self.write(&format!("{time} stdout F {}", &text[..14]));
        self.torn = Some(format!("{}\n", &text[14..]));
    }

    /// Ends what a program would have ended.
    fn finish(&mut self) {
        self.write("");
        if let Some(number) = self.open.take() {
            let piece = format!("{number:06}|");
            self.written.get_mut(&number).expect("written").push_str(&piece);
            let time = self.time();
            self.write(&format!("{time} stderr F {piece}\n"));
        }
    }

    /// Files of the log, oldest first, and whether each is rotated.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join(FOLDER)).expect("a list");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    fn rotated(&self) -> impl Iterator<Item = PathBuf> {
        self.files().into_iter().filter(|path| !path.to_string_lossy().ends_with(".log"))
    }

    fn rotated_name(&mut self) -> PathBuf {
        self.rotations += 1;
        self.path(&format!("{}.log.20261122-{:06}", self.restart, self.rotations))
    }

    /// A file is destroyed: lines in it that no other file has may be lost, unless
    /// they are committed in full.
    fn lose(&mut self, path: &Path) {
        let whole: BTreeSet<u32> = self
            .pieces()
            .into_iter()
            .filter_map(|(number, text)| {
                (self.written.get(&number) == Some(&text)).then_some(number)
            })
            .collect();
        let text = read(path);
        for number in self.written.keys() {
            if text.contains(&format!("{number:06}|")) && !whole.contains(number) {
                self.may_be_lost.insert(*number);
            }
        }
        // What goes on with a line whose beginning is lost is lost with it.
        self.may_be_lost.extend(self.open.filter(|number| text.contains(&format!("{number:06}|"))));
    }

    /// What was committed of each line.
    fn pieces(&self) -> BTreeMap<u32, String> {
        let mut pieces = BTreeMap::new();
        for (_, message) in &self.committed {
            let number: u32 = message[..6].parse().expect("a number");
            pieces.entry(number).or_insert_with(String::new).push_str(message);
        }
        pieces
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(lines) => lines.iter().for_each(|parts| self.append(*parts)),
            Step::AppendPart => self.append_part(),
            Step::Tear => {
                self.write("");
                self.tear();
            }
            Step::Rotate => {
                let (from, to) = (self.current(), self.rotated_name());
                // A runtime ends its write before it opens the next file.
                self.write("");
                fs::rename(from, to).expect("renamed");
                self.write("");
            }
            Step::Compress => {
                let plain = self.rotated().find(|path| path.extension().is_none_or(|e| e != "gz"));
                if let Some(path) = plain {
                    let packed = PathBuf::from(format!("{}.gz", path.display()));
                    let file = fs::File::create(&packed).expect("a file");
                    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                    gz.write_all(&fs::read(&path).expect("a file")).expect("written");
                    gz.finish().expect("written");
                    fs::remove_file(path).expect("removed");
                }
            }
            Step::Copy => {
                let to = self.rotated_name();
                self.write("");
                fs::copy(self.current(), to).expect("copied");
                self.truncate();
            }
            Step::SlowCopy(percent) => {
                let to = self.rotated_name();
                self.write("");
                let text = fs::read(self.current()).expect("a file");
                fs::write(&to, &text[..text.len() * usize::from(*percent) / 100]).expect("copied");
                self.take(&Step::Poll { batches: u8::MAX, room: 100 });
                fs::write(&to, text).expect("copied");
                self.truncate();
            }
            Step::Truncate => {
                self.write("");
                self.lose(&self.current());
                self.truncate();
            }
            Step::RemoveOldest => {
                let oldest = self.rotated().next();
                if let Some(path) = oldest {
                    self.lose(&path);
                    fs::remove_file(path).expect("removed");
                }
            }
            Step::Restart => {
                self.finish();
                self.restart += 1;
                self.write("");
            }
            Step::RemoveAll => {
                self.write("");
                for path in self.files() {
                    self.lose(&path);
                    fs::remove_file(path).expect("removed");
                }
                self.write("");
            }
            Step::Crash => self.crash(),
            Step::Poll { batches, room } => {
                for _ in 0..*batches {
                    let (lot, progress) = self.read(usize::from(*room));
                    self.commit(lot);
                    if progress != Progress::More {
                        break;
                    }
                }
            }
            Step::Fail { room } => {
                self.read(usize::from(*room));
                // As the runner does with a batch that it could not commit.
                self.reading = None;
                self.follow.resume("container-logs", &self.positions);
            }
        }
    }

    fn truncate(&self) {
        OpenOptions::new().write(true).truncate(true).open(self.current()).expect("truncated");
    }

    fn crash(&mut self) {
        self.reading = None;
        self.follow = Follow::new(Backfill { window: Duration::MAX, bytes: u64::MAX });
        self.follow.resume("container-logs", &self.positions);
    }

    fn read(&mut self, room: usize) -> (Lot, Progress) {
        let mut lot = Lot { room, ..Lot::default() };
        let (host, filter) = (&self.host, Filter::new(Vec::new()));
        let find = |rows: &mut Lot| ContainerFiles::find(host, &filter, rows);
        let progress = poll_rows(&mut self.reading, &mut self.follow, host, &mut lot, LIMITS, find);
        (lot, progress.expect("no failure").expect("a folder"))
    }

    fn commit(&mut self, lot: Lot) {
        self.committed.extend(lot.rows);
        for (source, value) in lot.positions {
            self.positions.set("container-logs", &source, value);
        }
    }

    /// Everything is ended and polled until nothing more comes.
    fn check(&mut self) {
        self.finish();
        for _ in 0..6 {
            self.take(&Step::Poll { batches: u8::MAX, room: 100 });
        }
        let pieces = self.pieces();
        for (number, text) in &self.written {
            let got = pieces.get(number).map(String::as_str).unwrap_or_default();
            if self.may_be_lost.contains(number) {
                assert!(got.len() <= text.len(), "line {number} came twice: {got}");
            } else {
                assert_eq!(got, text, "line {number}");
            }
        }
        for (number, text) in pieces {
            let rows: Vec<_> =
                self.committed.iter().filter(|row| row.1.starts_with(&text[..7])).collect();
            assert!(
                rows.len() == 1 || rows.iter().all(|(flags, _)| flags.partial),
                "pieces of {number} are marked: {rows:?}"
            );
        }
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).expect("a file");
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&*bytes);
        std::io::Read::read_to_string(&mut decoder, &mut text).expect("unpacked");
        return text;
    }
    String::from_utf8(bytes).expect("text")
}

proptest! {
    #[test]
    fn each_line_comes_once(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.check();
    }
}
