//! Database files whose chunk and run tables say anything, and files with bytes that
//! are anything: a bundle opens them or names the problem, and every table answers.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use periscope_store::batch::{Batch, HostSample, LineFlags, Outcome, Stream};
use periscope_store::bundle::Bundle;
use periscope_store::writer::{Node, Poll, Session, Writer};
use rusqlite::{Connection, params};

const START: i64 = 1_795_350_480_000_000_000;

/// Most runs that an input makes.
const MAX_RUNS: usize = 12;

/// Questions that go through everything that reads runs.
const QUESTIONS: [&str; 9] = [
    "SELECT count(*) FROM log",
    "SELECT * FROM log",
    "SELECT ts, message FROM log ORDER BY ts LIMIT 3",
    "SELECT ts, message FROM log ORDER BY ts_ns DESC LIMIT 3",
    "SELECT count(*) FROM log WHERE message LIKE '%time%' AND ts > '2026'",
    "SELECT * FROM log_chunk",
    "SELECT * FROM log_stats",
    "SELECT * FROM sample",
    "SELECT * FROM damage",
];

struct Base {
    folder: tempfile::TempDir,
    path: PathBuf,
}

/// A sound file, which every input changes a copy of.
static BASE: LazyLock<Base> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("base");
    let node = Node { name: "node".to_owned(), machine_id: String::new() };
    let session = Session {
        run_id: "run".to_owned(),
        cluster: None,
        agent_version: "0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: START,
        process: 1,
        config: "{}".to_owned(),
    };
    let mut writer = Writer::create(&path, &node, &session).expect("a new file");
    let mut batch = Batch::new("all");
    for stream in [Stream::unit("kubelet.service"), Stream::unit("kernel"), Stream::file("/x")] {
        let stream = batch.stream(stream);
        batch.log(stream, START, LineFlags::default(), b"i/o timeout 1");
        batch.log(stream, START + 1, LineFlags::default(), b"i/o timeout 2");
    }
    let stream = batch.stream(Stream::host("load"));
    batch.sample(stream, &HostSample { ts_ns: START, name: "load1".to_owned(), value: 0.5 });
    let poll = Poll {
        seq: 0,
        round: 0,
        started_ns: START,
        ended_ns: START,
        outcome: Outcome::Complete,
        message: None,
    };
    writer.commit(batch, &poll).expect("committed");
    writer.seal().expect("sealed");
    Base { folder, path }
});

/// A number that is small, near a limit, or any.
fn number(input: &mut Unstructured<'_>) -> Result<i64> {
    Ok(match input.arbitrary::<u8>()? {
        200 => i64::MAX,
        201 => i64::MIN,
        202 => START + i64::from(input.arbitrary::<i8>()?),
        203 => input.arbitrary()?,
        204 => i64::from(u32::MAX),
        205 => -1,
        small => i64::from(small),
    })
}

/// Writes over the tables what the input says.
fn change(connection: &Connection, input: &mut Unstructured<'_>) -> Result<()> {
    let ids = |sql| -> rusqlite::Result<Vec<i64>> {
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let chunks = ids("SELECT id FROM raw_chunk ORDER BY kind").expect("chunks");
    let streams = ids("SELECT id FROM raw_stream ORDER BY kind, name").expect("streams");
    let batches = ids("SELECT id FROM raw_batch").expect("batches");
    let of = |ids: &[i64], place: u8| ids.get(usize::from(place)).copied();
    let changed = of(&chunks, input.arbitrary::<u8>()? % 4);
    let (rows, raw_bytes, codec) = (number(input)?, number(input)?, number(input)?);
    if rows != 0 {
        connection
            .execute(
                "UPDATE raw_chunk SET row_count = ?, raw_bytes = iif(?2, ?2, raw_bytes),
                                      codec = iif(?3, ?3, codec) WHERE id = ?4",
                params![rows, raw_bytes, codec, changed],
            )
            .expect("changed");
    }
    connection
        .execute("DELETE FROM raw_chunk_run WHERE chunk_id = ?", [changed])
        .expect("no runs");
    for ord in 0..MAX_RUNS {
        if input.is_empty() {
            break;
        }
        let batch = of(&batches, input.arbitrary::<u8>()? % 2);
        let stream = of(&streams, input.arbitrary::<u8>()? % 6).unwrap_or(7);
        let numbers = [number(input)?, number(input)?, number(input)?, number(input)?];
        let [rows, first_ns, last_ns, failed] = numbers;
        connection
            .execute(
                "INSERT INTO raw_chunk_run VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
                params![changed.unwrap_or(7), ord as i64, batch, stream, rows, first_ns, last_ns, failed],
            )
            .expect("a run");
    }
    Ok(())
}

/// Writes bytes over the file where the input says.
fn patch(path: &Path, input: &mut Unstructured<'_>) {
    let mut bytes = std::fs::read(path).expect("a file");
    while let (Ok(place), Ok(byte)) = (input.arbitrary::<u32>(), input.arbitrary::<u8>()) {
        let place = place as usize % bytes.len();
        bytes[place] = byte;
        if input.is_empty() {
            break;
        }
    }
    std::fs::write(path, bytes).expect("a file");
}

fn ask(bundle: &Bundle, question: &str) -> rusqlite::Result<()> {
    let mut statement = bundle.connection().prepare(question).expect("sound SQL");
    let mut rows = statement.query([])?;
    let mut left = 1_000_000;
    while rows.next()?.is_some() && left > 0 {
        left -= 1;
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    let path = BASE.folder.path().join("changed.db");
    std::fs::copy(&BASE.path, &path).expect("a copy");
    let mut input = Unstructured::new(input);
    if input.arbitrary().unwrap_or(false) {
        patch(&path, &mut input);
        if let Ok(bundle) = Bundle::open(&[path]) {
            for question in QUESTIONS {
                // A row that SQLite itself cannot read ends a question.
                let _ = ask(&bundle, question);
            }
        }
        return;
    }
    let connection = Connection::open(&path).expect("a database");
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").expect("set");
    // An input that ends too early has changed what it could.
    let _ = change(&connection, &mut input);
    drop(connection);
    let bundle = Bundle::open(&[path]).expect("it is there");
    for question in QUESTIONS {
        ask(&bundle, question).expect("an answer");
    }
});
