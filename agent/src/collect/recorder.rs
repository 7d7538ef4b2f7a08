//! For tests: a node with given files, and the rows of a reading as a list (a
//! batch shows none of its rows).

use std::io::Write;
use std::path::Path;

use periscope_store::batch::{Issue, IssueKind, LineFlags, Stream};

use super::Progress;
use super::reading::{Reading, Rows, Sources};
use super::source::{Backfill, Follow};
use crate::host::Host;

/// A node with these files; a `.gz` is packed, `-> target` makes a link.
pub(crate) fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        write(&path, text);
    }
    let host = Host::open(folder.path()).expect("a root");
    (folder, host)
}

fn write(path: &Path, text: &str) {
    if let Some(target) = text.strip_prefix("-> ") {
        std::os::unix::fs::symlink(target, path).expect("a link");
    } else if path.extension().is_some_and(|extension| extension == "gz") {
        let file = std::fs::File::create(path).expect("a file");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("written");
        encoder.finish().expect("written");
    } else {
        std::fs::write(path, text).expect("a file");
    }
}

/// One recorded line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Name of its stream.
    pub(crate) stream: String,
    /// Time, nanoseconds since 1970.
    pub(crate) ts_ns: i64,
    /// What is known of it.
    pub(crate) flags: LineFlags,
    /// Its text.
    pub(crate) message: String,
}

/// What a poll gave.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    stream: Option<Stream>,
    /// All streams, in the order of their first mention.
    pub(crate) streams: Vec<Stream>,
    /// All lines, in order.
    pub(crate) lines: Vec<Recorded>,
    /// All issues, in order.
    pub(crate) issues: Vec<Issue>,
    /// All positions, in order.
    pub(crate) positions: Vec<(String, Option<String>)>,
    /// Lines that still fit.
    pub(crate) room: usize,
}

impl Recorder {
    /// All that a reading gives, asked again and again with room for `room` lines.
    pub(crate) fn record<S: Sources>(mut reading: Reading<S>, host: &Host, room: usize) -> Self {
        let mut recorder = Self::default();
        let mut follow = Follow::new(Backfill::default());
        follow.begin(host.now_ns());
        for _ in 0..1_000_000 {
            recorder.room = room;
            // A batch knows no stream but those it was told of.
            recorder.stream = None;
            match reading.read(host, &mut follow, &mut recorder) {
                Progress::More => {}
                progress => {
                    assert_eq!(progress, Progress::Done);
                    reading.end(&mut follow, &mut recorder);
                    return recorder;
                }
            }
        }
        panic!("it never ends");
    }

    /// Messages alone.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.message.as_str()).collect()
    }

    /// Kinds and sources of the issues.
    pub(crate) fn issues(&self) -> Vec<(IssueKind, &str)> {
        self.issues.iter().map(|issue| (issue.kind, issue.source.as_str())).collect()
    }
}

impl Rows for Recorder {
    fn stream(&mut self, stream: &Stream) {
        if !self.streams.contains(stream) {
            self.streams.push(stream.clone());
        }
        self.stream = Some(stream.clone());
    }

    fn log(&mut self, ts_ns: i64, flags: LineFlags, message: &[u8]) {
        let stream = self.stream.as_ref().expect("a stream comes before its lines").name.clone();
        let message = String::from_utf8_lossy(message).into_owned();
        self.lines.push(Recorded { stream, ts_ns, flags, message });
        self.room = self.room.saturating_sub(1);
    }

    fn issue(&mut self, issue: Issue) {
        self.issues.push(issue);
    }

    fn position(&mut self, source: &str, value: Option<String>) {
        self.positions.push((source.to_owned(), value));
    }

    fn is_full(&self) -> bool {
        self.room == 0
    }
}
