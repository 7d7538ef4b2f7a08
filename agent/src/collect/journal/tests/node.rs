//! A node with a journal that systemd wrote, and what `journalctl` makes of it.
#![expect(clippy::disallowed_methods, reason = "tests run the programs that they compare with")]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use periscope_store::batch::{Mask, Outcome};
use periscope_store::writer::{Poll, Session, Writer};
use serde_json::Value;

use super::super::*;

pub(super) const MACHINE: &str = "fedcba9876543210fedcba9876543210";
const BOOT: &str = "0123456789abcdef0123456789abcdef";
pub(super) const START_US: u64 = 1_795_350_483_000_000;

/// Writer of journals, as systemd installs it.
const WRITER: &str = "/lib/systemd/systemd-journal-remote";

/// A node whose journal is written by systemd, `None` with a loud word if this
/// machine has no systemd to write it.
pub(super) struct Node {
    pub(super) folder: tempfile::TempDir,
    pub(super) host: Host,
}

impl Node {
    pub(super) fn new() -> Option<Self> {
        let has_journalctl = Command::new("journalctl").arg("--version").output().is_ok();
        if !Path::new(WRITER).exists() || !has_journalctl {
            // Past the capture of output, which would keep this to itself.
            writeln!(
                std::io::stderr(),
                "SKIPPED: needs journalctl and {WRITER} (package systemd-journal-remote)"
            )
            .expect("written");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::open(folder.path()).expect("a root");
        let node = Self { folder, host };
        std::fs::create_dir_all(node.machine()).expect("a folder");
        Some(node)
    }

    pub(super) fn machine(&self) -> PathBuf {
        self.folder.path().join("var/log/journal").join(MACHINE)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.machine().join(name)
    }

    /// Appends entries to a file of the journal.
    pub(super) fn write(&self, name: &str, entries: &Entries) {
        self.write_as(name, entries, "1", "yes");
    }

    /// Appends entries to a file, which is compact and compressed or not.
    pub(super) fn write_as(&self, name: &str, entries: &Entries, compact: &str, compress: &str) {
        let mut writer = Command::new(WRITER)
            .env("SYSTEMD_JOURNAL_COMPACT", compact)
            .arg(format!("--compress={compress}"))
            .arg("-o")
            .arg(self.file(name))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the writer");
        writer.stdin.take().expect("a pipe").write_all(&entries.export).expect("written");
        let output = writer.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `journalctl` shows for some matches, in its order: time and message.
    pub(super) fn journalctl(&self, matches: &[&str]) -> Vec<(u64, Vec<u8>)> {
        self.entries(matches).iter().map(|entry| (time_of(entry), message_of(entry))).collect()
    }

    pub(super) fn entries(&self, matches: &[&str]) -> Vec<Value> {
        let output = Command::new("journalctl")
            .args(["--quiet", "--all", "--output=json", "--directory"])
            .arg(self.folder.path().join("var/log/journal"))
            .args(matches)
            .output()
            .expect("journalctl");
        let text = String::from_utf8(output.stdout).expect("JSON");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Rows of a stream, by all files in order of time.
    pub(super) fn rows(&self, unit: &str) -> Vec<(u64, Vec<u8>)> {
        let selection = Selection::new(&[unit.to_owned()]);
        let wanted = usize::from(unit == "kernel");
        let mut batch = Batch::new("t");
        let mut rows = Vec::new();
        let listed = list_files(&self.host, &mut batch, &mut true).expect("a list");
        for path in ServiceLogs::default().start_poll(listed.expect("files"), &mut batch) {
            let file = JournalFile::open(self.host.open_file(&path).expect("a file").file);
            let mut reader = RowReader::new(file.expect("a journal"), &selection);
            for index in 0..reader.file.header.entry_count {
                if let Some(row) = reader.row(index).expect("an entry")
                    && row.streams.contains(&wanted)
                {
                    assert!(!row.is_cut);
                    rows.push((row.realtime_us, row.message.to_vec()));
                }
            }
        }
        rows
    }

    /// Polls until there is no more: messages, the batches' debug text, calls.
    pub(super) fn poll(&self, collector: &mut ServiceLogs) -> (Vec<Vec<u8>>, String, usize) {
        let recorder = Arc::new(Recorder::default());
        let (mut debug, mut calls) = (String::new(), 0);
        loop {
            let mut batch = Batch::masked("service-logs", recorder.clone());
            let progress = collector.collect(&self.host, &mut batch).expect("a poll");
            writeln!(debug, "{batch:?}").expect("text");
            calls += 1;
            if progress != Progress::More {
                assert_eq!(progress, Progress::Done);
                let texts = std::mem::take(&mut *recorder.0.lock().expect("the texts"));
                return (texts, debug, calls);
            }
        }
    }
}

impl Node {
    /// Polls until there is no more, and commits each batch to a file: messages,
    /// the batches' debug text.
    pub(super) fn poll_and_commit(
        &self,
        collector: &mut ServiceLogs,
        positions: &mut Positions,
    ) -> (Vec<Vec<u8>>, String) {
        let recorder = Arc::new(Recorder::default());
        let folder = tempfile::tempdir().expect("a folder");
        let node =
            periscope_store::writer::Node { name: "node-a".to_owned(), machine_id: String::new() };
        let session = Session {
            run_id: "run".to_owned(),
            cluster: None,
            agent_version: "test".to_owned(),
            boot_id: String::new(),
            started_ns: 0,
            process: 1,
            config: "{}".to_owned(),
        };
        let path = folder.path().join("live");
        let mut writer = Writer::create_at(&path, &node, &session, positions).expect("a file");
        let mut debug = String::new();
        for seq in 0.. {
            let mut batch = Batch::masked("service-logs", recorder.clone());
            let progress = collector.collect(&self.host, &mut batch).expect("a poll");
            writeln!(debug, "{batch:?}").expect("text");
            let poll = Poll {
                seq,
                round: 0,
                started_ns: 0,
                ended_ns: 0,
                outcome: Outcome::Complete,
                message: None,
            };
            writer.commit(batch, &poll).expect("written");
            if progress != Progress::More {
                break;
            }
        }
        *positions = writer.positions().clone();
        let texts = std::mem::take(&mut *recorder.0.lock().expect("the texts"));
        (texts, debug)
    }
}

/// Keeps each message that goes into a batch. Issues pass through too, and are
/// told by their texts.
#[derive(Default)]
struct Recorder(Mutex<Vec<Vec<u8>>>);

impl Mask for Recorder {
    fn mask<'a>(&self, text: &'a [u8], _: &mut dyn FnMut(&'static str)) -> Cow<'a, [u8]> {
        let issues: [&[u8]; 4] =
            [b"the journal has no", b"entries ", b"cannot read", b"messages longer"];
        if !issues.iter().any(|issue| text.starts_with(issue)) {
            self.0.lock().expect("the texts").push(text.to_vec());
        }
        Cow::Borrowed(text)
    }
}

pub(super) fn time_of(entry: &Value) -> u64 {
    entry["__REALTIME_TIMESTAMP"].as_str().and_then(|text| text.parse().ok()).expect("a time")
}

/// `MESSAGE` of an entry: text, a list of bytes, several of either, or nothing.
pub(super) fn message_of(entry: &Value) -> Vec<u8> {
    match &entry["MESSAGE"] {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) if bytes.iter().all(Value::is_number) => {
            bytes.iter().map(|byte| byte.as_u64().expect("a byte") as u8).collect()
        }
        Value::Array(several) => message_of(&serde_json::json!({ "MESSAGE": several[0] })),
        _ => Vec::new(),
    }
}

/// Entries in systemd's export format.
#[derive(Default)]
pub(super) struct Entries {
    export: Vec<u8>,
    count: u64,
}

impl Entries {
    pub(super) fn add(&mut self, fields: &[(&str, &[u8])]) {
        self.add_at(START_US + self.count * 1000, fields);
    }

    pub(super) fn add_at(&mut self, realtime_us: u64, fields: &[(&str, &[u8])]) {
        self.count += 1;
        let monotonic = self.count * 1000;
        write!(
            &mut self.export,
            "__REALTIME_TIMESTAMP={realtime_us}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={BOOT}\n_MACHINE_ID={MACHINE}\n"
        )
        .expect("written");
        for (name, value) in fields {
            self.export.extend_from_slice(name.as_bytes());
            if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte > 126) {
                self.export.push(b'\n');
                self.export.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                self.export.push(b'=');
            }
            self.export.extend_from_slice(value);
            self.export.push(b'\n');
        }
        self.export.push(b'\n');
    }

    pub(super) fn unit(&mut self, unit: &str, message: &str) {
        let exe = format!("/usr/bin/{unit}");
        self.add(&[
            ("_SYSTEMD_UNIT", unit.as_bytes()),
            ("_EXE", exe.as_bytes()),
            ("PRIORITY", b"6"),
            ("_UID", b"0"),
            ("_PID", b"812"),
            ("MESSAGE", message.as_bytes()),
        ]);
    }
}
