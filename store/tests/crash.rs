//! A writer that is killed at any moment leaves files that are whole, and the next
//! one goes on so that every line is there once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use periscope_store::batch::{Batch, LineFlags, Outcome, Stream};
use periscope_store::bundle::Bundle;
use periscope_store::positions::{Abandoned, Positions};
use periscope_store::writer::{Node, Poll, Session, Writer};

const KILLS: u64 = 200;

/// Environment variable by which the child knows its folder.
const FOLDER: &str = "PERISCOPE_CRASH_FOLDER";

fn node() -> Node {
    Node { name: "node-a".to_owned(), machine_id: String::new() }
}

fn session(started_ns: i64) -> Session {
    Session {
        run_id: "run".to_owned(),
        cluster: None,
        agent_version: "test".to_owned(),
        boot_id: String::new(),
        started_ns,
        process: std::process::id(),
        config: "{}".to_owned(),
    }
}

/// Live files of a folder, in order of their numbers.
fn live_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a list").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "live"))
        .collect();
    files.sort();
    files
}

/// What an agent does at its start, up to a writer that goes on.
fn start(folder: &Path, number: &mut u64) -> Writer {
    let mut abandoned = Vec::new();
    for path in live_files(folder) {
        match Abandoned::open(&path).expect("whole") {
            Some(file) => abandoned.push(file),
            None => fs::remove_file(path).expect("removed"),
        }
    }
    let positions =
        Positions::newest(abandoned.iter().filter_map(|file| file.positions().cloned()));
    let writer = Writer::create_at(&next_path(folder, number), &node(), &session(1), &positions);
    for file in abandoned {
        let (path, is_empty) = (file.path().to_owned(), file.batch_count() == 0);
        if is_empty {
            drop(file);
            fs::remove_file(path).expect("removed");
        } else {
            file.seal_while(|| true).expect("sealed");
            fs::rename(&path, path.with_extension("db")).expect("renamed");
        }
    }
    writer.expect("a new file")
}

fn next_path(folder: &Path, number: &mut u64) -> PathBuf {
    *number += 1;
    folder.join(format!("{}-{number:06}.live", std::process::id()))
}

/// A line that the "log" has at a place.
fn line(number: u64) -> String {
    format!("line {number} {}", "x".repeat((number % 90) as usize))
}

/// Body of the child: follows a log that has no end, and changes files often. Does
/// nothing in the process that runs the tests.
#[test]
fn write_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut number = 0;
    let mut writer = start(&folder, &mut number);
    for seq in 0.. {
        let next: u64 = writer
            .positions()
            .of("logs")
            .find(|(source, _)| *source == "log")
            .map_or(0, |(_, value)| value.parse().expect("a number"));
        let mut batch = Batch::new("logs");
        let stream = batch.stream(Stream::file("/log"));
        let count = 1 + next % 97;
        for number in next..next + count {
            let text = line(number);
            batch.log(stream, number as i64, LineFlags::default(), text.as_bytes());
        }
        batch.set_position("log", Some((next + count).to_string()));
        batch.set_position(&format!("gone {}", seq % 3), (seq % 2 == 0).then(String::new));
        let poll = Poll {
            seq,
            round: seq,
            started_ns: seq as i64,
            ended_ns: seq as i64,
            outcome: Outcome::Complete,
            message: None,
        };
        writer.commit(batch, &poll).expect("written");
        if seq % 20 == 19 {
            let path = next_path(&folder, &mut number);
            let next = writer.begin_next(&path, &node(), &session(seq as i64)).expect("a new file");
            let last = folder.join(format!("{}-{:06}.live", std::process::id(), number - 1));
            std::mem::replace(&mut writer, next).seal().expect("sealed");
            fs::rename(&last, last.with_extension("db")).expect("renamed");
        }
    }
}

#[test]
fn no_line_is_lost_or_doubled_by_200_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("this program");
    let mut random = 42_u64;
    for _ in 0..KILLS {
        let mut child = Command::new(&this)
            .args(["--exact", "write_until_killed"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 33 & 0x1_ffff));
        child.kill().expect("killed");
        let status = child.wait().expect("an end");
        assert!(status.code().is_none(), "it failed by itself: {status}");
    }
    let mut number = 0;
    let last = start(folder.path(), &mut number);
    let end: u64 = last
        .positions()
        .of("logs")
        .find(|(source, _)| *source == "log")
        .map_or(0, |(_, value)| value.parse().expect("a number"));
    drop(last);
    check(folder.path(), end);
}

/// Every file is whole and without positions, and their lines are all lines once.
fn check(folder: &Path, end: u64) {
    for entry in fs::read_dir(folder).expect("a list") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "db") {
            continue;
        }
        let connection = rusqlite::Connection::open(&path).expect("opened");
        let ask = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect(sql);
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        let tables = "SELECT count(*) || '' FROM sqlite_schema
                      WHERE name IN ('raw_live', 'raw_position')";
        assert_eq!(ask(tables), "0", "{}", path.display());
    }
    let bundle = Bundle::open(&[folder.to_owned()]).expect("a bundle");
    assert!(bundle.problems().is_empty(), "{:?}", bundle.problems());
    let mut statement = bundle
        .connection()
        .prepare("SELECT ts_ns, message FROM log ORDER BY ts_ns")
        .expect("a statement");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>().expect("rows");
    assert!(end > 1_000, "only {end} lines were written");
    assert_eq!(rows.len() as u64, end);
    for (at, (ts_ns, message)) in rows.iter().enumerate() {
        assert_eq!((*ts_ns, message), (at as i64, &line(at as u64)));
    }
}
