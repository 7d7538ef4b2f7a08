//! Search in `log` through SQL: every answer is that of a plain table with the
//! same rows, and the traps of virtual tables that searches meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use periscope_store::batch::{Batch, Level, LineFlags, Outcome, Stream};
use periscope_store::bundle::Bundle;
use periscope_store::codec::{Declared, LogReader, Needle};
use periscope_store::merge::merge;
use periscope_store::writer::{Node, Poll, Session, Writer};
use proptest::prelude::*;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params};

mod answers;
mod cost;

const START: i64 = 1_795_350_480_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Lines with everything that search treats in a way of its own.
fn line(number: usize) -> Vec<u8> {
    let text = match number % 14 {
        0 => format!("E1122 12:28:{:02}.000000 1 dial.go:{number}] i/o TIMEOUT", number % 60),
        1 => format!("Get \"https://10.244.{}.7/healthz\": context deadline exceeded", number % 7),
        2 => format!("level=error msg=\"Timeout after {}.5s\" id=req-{number:x}", number % 9),
        3 => format!("100% done_{number} [ok] *really* {}", number % 3),
        4 => "größe überschritten".to_owned(),
        5 => format!("apf_filter{number} apfXfilter"),
        6 => return [b"raw \xff\xf7 timeout ".as_slice(), &number.to_be_bytes()].concat(),
        7 => return [b"before\0timeout ", number.to_string().as_bytes()].concat(),
        8 => return [b"timeout before\0 ", number.to_string().as_bytes()].concat(),
        9 => String::new(),
        10 => format!("{number}"),
        11 => "I0000 timeout\nand a second line".to_owned(),
        12 => return b"character \x85 and \xc2\x85 too".to_vec(),
        _ => format!("2026-11-22T12:28:{:02}.123456789Z kubelet[{number}]: ok", number % 60),
    };
    text.into_bytes()
}

fn write_node(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.db"));
    let node = Node { name: name.to_owned(), machine_id: name.to_owned() };
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
    for seq in 0..3 {
        let mut batch = Batch::new("logs");
        for stream in [
            Stream::container("kube-system", "coredns-1", "uid", "main", 0),
            Stream::container("default", "web-2", "uid", "main", 3),
            Stream::unit("kubelet.service"),
        ] {
            let stream = batch.stream(stream);
            for at in 0..70 {
                let number = seq * 70 + at;
                let level = if at % 5 == 0 { Level::Error } else { Level::None };
                let flags = LineFlags { level, stderr: at % 2 == 0, ..LineFlags::default() };
                batch.log(stream, START + number as i64 * SECOND, flags, &line(number));
            }
        }
        let poll = Poll {
            seq: seq as u64,
            round: seq as u64,
            started_ns: START,
            ended_ns: START + seq as i64,
            outcome: Outcome::Complete,
            message: None,
        };
        writer.commit(batch, &poll).expect("committed");
    }
    writer.seal().expect("sealed");
    path
}

struct Fixture {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

static NODES: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["a", "b"].map(|name| write_node(folder.path(), name)).to_vec();
    Fixture { _folder: folder, paths }
});

/// A bundle, with a plain copy of `log` in `plain`.
fn bundle() -> Bundle {
    let bundle = Bundle::open(&NODES.paths).expect("a bundle");
    bundle
        .connection()
        .execute_batch("CREATE TEMP TABLE plain AS SELECT rowid AS number, * FROM log")
        .expect("a copy");
    bundle
}

fn rows(connection: &Connection, sql: &str, parameters: &[Value]) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = statement.column_count();
    statement
        .query_map(rusqlite::params_from_iter(parameters), |row| {
            // Text that is no UTF-8 is compared as bytes.
            let value = |at| match row.get_ref(at)? {
                ValueRef::Text(text) => Ok(Value::Blob(text.to_vec())),
                _ => row.get(at),
            };
            (0..columns).map(value).collect()
        })
        .expect(sql)
        .collect::<rusqlite::Result<_>>()
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn plan(connection: &Connection, sql: &str) -> String {
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let parameters = vec![Value::Null; statement.parameter_count()];
    let lines = statement
        .query_map(rusqlite::params_from_iter(parameters), text)
        .expect(sql)
        .collect::<rusqlite::Result<Vec<_>>>();
    lines.expect(sql).join("; ")
}

/// Checks that a condition holds for the same rows as in a plain table, whether
/// they are shown, counted, or asked for with a limit.
fn check(connection: &Connection, condition: &str, parameters: &[Value]) -> usize {
    let ask = |columns: &str, table: &str, end: &str| {
        rows(
            connection,
            &format!("SELECT {columns} FROM {table} WHERE {condition} {end}"),
            parameters,
        )
    };
    let all = "node, ts, level, output, message, stream_id, batch_id";
    let expected = ask(&format!("number, {all}"), "plain", "ORDER BY 1");
    assert_eq!(ask(&format!("rowid, {all}"), "log", "ORDER BY 1"), expected, "{condition}");
    assert_eq!(
        ask("rowid, message", "log", "ORDER BY 1"),
        ask("number, message", "plain", "ORDER BY 1")
    );
    assert_eq!(ask("count(*)", "log", ""), ask("count(*)", "plain", ""), "{condition}");
    assert_eq!(ask("count(level), max(ts)", "log", ""), ask("count(level), max(ts)", "plain", ""));
    let limited = ask("message", "log", "LIMIT 3").len();
    assert_eq!(limited, expected.len().min(3), "{condition}");
    expected.len()
}
