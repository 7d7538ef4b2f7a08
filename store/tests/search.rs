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

#[test]
fn conditions_hold_for_the_same_rows_as_in_a_plain_table() {
    let bundle = bundle();
    let db = bundle.connection();
    for (condition, has_rows) in [
        ("message LIKE '%timeout%'", true),
        ("message LIKE '%TimeOut%'", true),
        ("message LIKE '%deadline exceeded'", true),
        ("message LIKE 'Get%10.244.1%'", true),
        ("message LIKE '%244.1%'", true),
        ("message LIKE '%10%'", true),
        ("message LIKE '%GRÖßE%'", false),
        ("message LIKE '%größe%'", true),
        ("message LIKE '%grÖße%'", false),
        ("message LIKE '%apf_filter%'", true),
        ("message LIKE '%apfxfilter%'", true),
        ("message LIKE '100\\%%' ESCAPE '\\'", true),
        ("message LIKE '%done\\_%' ESCAPE '\\'", true),
        ("message LIKE '%absent%'", false),
        ("message LIKE '%'", true),
        ("message LIKE ''", true),
        ("message LIKE '%\u{85}%'", true),
        ("message LIKE NULL", false),
        ("message LIKE 14", false),
        ("message LIKE '15%'", true),
        ("message LIKE x'2574696d656f757425'", true),
        ("message NOT LIKE '%timeout%'", true),
        ("NOT message LIKE '%timeout%'", true),
        ("message LIKE '%timeout%' OR message LIKE '%10.244%'", true),
        ("message LIKE '%timeout%' AND message LIKE '%after%'", true),
        ("message LIKE '%timeout%' AND message LIKE '%exceeded%'", false),
        ("message GLOB '*TIMEOUT*'", true),
        ("message GLOB '*timeout*'", true),
        ("message GLOB '*[Tt]imeout*'", true),
        ("message GLOB '*[[]ok[]]*'", true),
        ("message GLOB '*Timeout after ?.5s*'", true),
        ("message GLOB NULL", false),
        ("message MATCH 'TIMEOUT'", true),
        ("message MATCH ''", true),
        ("message MATCH '%'", true),
        ("message MATCH 'größe'", true),
        ("message MATCH x'ff'", true),
        ("message MATCH x'00'", true),
        ("message MATCH 10", true),
        ("message MATCH NULL", false),
        ("message MATCH 'timeout' OR message MATCH 'exceeded'", true),
        ("NOT (message MATCH 'timeout')", true),
        ("message REGEXP 'timeout'", true),
        ("message REGEXP '(?i)timeout'", true),
        ("message REGEXP 'req-[0-9a-f]{2}$'", true),
        ("message REGEXP '^$'", true),
        ("message REGEXP '(?-u)\\xff'", true),
        ("message REGEXP 'timeout|exceeded'", true),
        ("message REGEXP '^[0-9]+$' AND message LIKE '1%'", true),
        ("message NOT REGEXP 'timeout'", true),
        ("message REGEXP NULL", false),
        ("instr(message, 'timeout') > 0", true),
        ("lower(message) LIKE '%timeout%'", true),
        ("message = '150'", true),
        ("level = 'error'", true),
        ("level = 'error' AND level = 'info'", false),
        ("level = 'ERROR'", false),
        ("level IS NULL", true),
        ("level = 'error' AND message MATCH 'timeout' AND ts < '2026-11-22T12:29'", true),
        ("node = 'A' COLLATE NOCASE AND message MATCH 'timeout'", true),
        ("unit = 'kubelet.service' AND message LIKE '%timeout%'", true),
        ("stream_id = (SELECT max(stream_id) FROM plain) AND message LIKE '%timeout%'", true),
        ("stream_id = CAST((SELECT max(stream_id) FROM plain) AS TEXT)", true),
        ("stream_id IN (SELECT stream_id FROM plain WHERE node = 'a') AND level = 'error'", true),
        ("stream_id = 1", false),
        ("node IN ('a', 'b', 'c') AND message MATCH 'timeout'", true),
        ("node IN ('a', 'b') AND level IN ('error', 'fatal') AND message LIKE '%o%'", true),
    ] {
        assert_eq!(check(db, condition, &[]) > 0, has_rows, "{condition}");
    }
    assert!(bundle.damage().is_empty());
}

#[test]
fn times_of_any_type_are_compared_as_sql_compares_them() {
    let bundle = bundle();
    for condition in [
        "ts > '2026-11-22'",
        "ts > '2026-11-22T12:29' AND message MATCH 'timeout'",
        "ts > 1795350500",
        "ts < x'00'",
        "ts_ns > '1795350500000000000'",
        "ts_ns > 1795350500000000000.0",
        "ts_ns BETWEEN 1795350500000000000 AND 1795350600000000000 AND message LIKE '%timeout%'",
        "ts > strftime('%Y-%m-%dT%H:%M', 1795350540, 'unixepoch')",
        "ts = NULL",
    ] {
        check(bundle.connection(), condition, &[]);
    }
}

#[test]
fn patterns_are_pushed_down_where_sqlite_says_so() {
    let bundle = bundle();
    let plan = |condition: &str| {
        let plan = plan(bundle.connection(), &format!("SELECT * FROM log WHERE {condition}"));
        plan.rsplit(':').next().unwrap_or_default().to_owned()
    };
    let literal = plan("message LIKE '%timeout%'");
    assert!(literal.ends_with('l'), "{literal}");
    assert!(plan("message LIKE '%time%out'").ends_with('L'));
    assert!(plan("message LIKE ?").ends_with('L'), "not known while the plan is made");
    assert!(plan("message GLOB '*timeout*'").ends_with('g'));
    assert!(plan("message MATCH 'a' AND message REGEXP 'b'").len() > "M".len() * 3);
    assert_eq!(plan("message NOT LIKE '%timeout%'"), "");
    assert_eq!(plan("message LIKE '%timeout%' ESCAPE '!'"), "");
    assert_eq!(plan("node = 'a' COLLATE NOCASE"), "");
}

#[test]
fn parameters_and_columns_can_be_patterns() {
    let bundle = bundle();
    let db = bundle.connection();
    for operator in ["LIKE", "GLOB", "MATCH", "REGEXP"] {
        for pattern in ["%timeout%", "*timeout*", "timeout", "%time_ut%", "10\\.244"] {
            if operator == "REGEXP" && pattern.starts_with('*') {
                continue;
            }
            check(db, &format!("message {operator} ?"), &[Value::Text(pattern.to_owned())]);
        }
        check(db, &format!("message {operator} ?"), &[Value::Null]);
    }
    db.execute_batch(
        "CREATE TEMP TABLE wanted (pattern);
         INSERT INTO wanted VALUES ('timeout'), ('%timeout%'), ('*exceeded*'), (NULL), (10), ('('), ('absent');",
    )
    .expect("patterns");
    for operator in ["LIKE", "GLOB", "MATCH"] {
        let ask = |table: &str| {
            let sql = format!(
                "SELECT pattern, count(*), count(message) FROM wanted
                 LEFT JOIN {table} ON message {operator} pattern GROUP BY 1 ORDER BY 1"
            );
            rows(db, &sql, &[])
        };
        assert_eq!(ask("log"), ask("plain"), "{operator}");
    }
    let wrong =
        db.query_row("SELECT count(*) FROM wanted JOIN log ON message REGEXP pattern", [], |row| {
            row.get::<_, i64>(0)
        });
    assert!(wrong.expect_err("no expression").to_string().contains("regex parse error"));
}

#[test]
fn like_cannot_be_made_to_mean_something_else() {
    let bundle = bundle();
    let db = bundle.connection();
    assert!(db.execute_batch("PRAGMA case_sensitive_like = ON").is_err());
    assert!(db.execute_batch("pragma Case_Sensitive_Like(1)").is_err());
    check(db, "message LIKE '%TIMEOUT%'", &[]);
}

#[test]
fn a_row_has_one_number_in_every_plan() {
    let bundle = bundle();
    let db = bundle.connection();
    let distinct = "SELECT count(*) = count(DISTINCT rowid) FROM log";
    assert!(one::<bool>(db, distinct));
    let joined = "SELECT count(*) FROM log AS x JOIN plain ON number = x.rowid
                  WHERE x.message MATCH 'timeout' AND plain.message IS NOT x.message";
    assert_eq!(one::<i64>(db, joined), 0);
}

#[test]
fn limits_and_offsets_leave_rows_to_the_other_conditions() {
    let bundle = bundle();
    let db = bundle.connection();
    let ask = |end: &str| {
        let condition = "message LIKE '%timeout%' AND instr(message, 'after') > 0";
        let sql = format!("SELECT rowid FROM log WHERE {condition} {end}");
        rows(db, &sql, &[])
    };
    let all = ask("");
    assert!(all.len() > 20);
    assert_eq!(ask("LIMIT 7"), all[..7]);
    assert_eq!(ask("LIMIT 7 OFFSET 5"), all[5..12]);
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let bundle = bundle();
    let expected = line(6);
    let found = rows(bundle.connection(), "SELECT message FROM log WHERE message MATCH x'ff'", &[]);
    assert!(found.contains(&vec![Value::Blob(expected)]), "{found:?}");
}

/// A chunk whose columns for a search are whole while those for text are not.
fn damage_text(declared: Declared, data: &[u8]) -> Vec<u8> {
    let needle = Needle::new(b"deadline exceeded", true);
    let rows: Vec<u32> = (0..declared.row_count as u32).collect();
    let found = LogReader::open(declared, data).and_then(|whole| whole.rows_matching(&needle));
    let found = found.expect("whole");
    let damaged = (0..data.len()).rev().find_map(|at| {
        let mut data = data.to_vec();
        data[at] ^= 0xff;
        let reader = LogReader::open(declared, &data).ok()?;
        let fits = reader.rows_matching(&needle).is_ok_and(|rows| rows == found)
            && reader.expand(&rows).is_err();
        drop(reader);
        fits.then_some(data)
    });
    damaged.expect("a column that only text needs")
}

/// A count takes no text, so it is right even where text cannot be had.
#[test]
fn a_search_that_shows_no_text_builds_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let db = Connection::open(&path).expect("a file");
    let chunks: Vec<(i64, Declared, Vec<u8>)> = db
        .prepare("SELECT id, codec, row_count, raw_bytes, data FROM raw_chunk")
        .and_then(|mut all| {
            all.query_map([], |row| {
                let declared = Declared {
                    codec: row.get(1)?,
                    row_count: row.get::<_, i64>(2)? as usize,
                    raw_bytes: row.get::<_, i64>(3)? as usize,
                };
                Ok((row.get(0)?, declared, row.get(4)?))
            })?
            .collect()
        })
        .expect("chunks");
    for (id, declared, data) in chunks {
        let data = damage_text(declared, &data);
        db.execute("UPDATE raw_chunk SET data = ? WHERE id = ?", params![data, id]).expect("done");
    }
    drop(db);
    let expected = (0..210).filter(|number| line(*number).starts_with(b"Get ")).count() * 3;
    let bundle = Bundle::open(&[path]).expect("a bundle");
    let db = bundle.connection();
    let count = "SELECT count(*) FROM log WHERE message LIKE '%deadline exceeded%'";
    assert_eq!(one::<i64>(db, count) as usize, expected);
    let pods = "SELECT count(pod) + count(unit) FROM log WHERE message GLOB '*deadline exceeded*'";
    assert_eq!(one::<i64>(db, pods) as usize, expected);
    assert!(bundle.damage().is_empty(), "{:?}", bundle.damage());
    let shown = "SELECT count(length(message)) FROM log WHERE message LIKE '%deadline exceeded%'";
    assert_eq!(one::<i64>(db, shown), 0);
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM damage"), bundle.damage().len() as i64);
    assert!(!bundle.damage().is_empty());
}

#[test]
fn more_files_than_can_be_attached_are_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..12 {
        write_node(folder.path(), &format!("n{number}"));
    }
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    assert!(bundle.problems().is_empty());
    let count = "SELECT count(*) FROM log WHERE message MATCH 'exceeded'";
    assert_eq!(one::<i64>(bundle.connection(), count), 12 * 3 * 15);
}

#[test]
fn counts_are_known_without_reading() {
    let bundle = bundle();
    let db = bundle.connection();
    let by_stream = "node, source, namespace, pod, container, restart, unit, path, stream_id";
    let ask = |columns: &str, table: &str| {
        let sql = format!(
            "SELECT {by_stream}, {columns} FROM {table} GROUP BY {by_stream} ORDER BY stream_id"
        );
        rows(db, &sql, &[])
    };
    let expected = ask("count(*), min(ts), max(ts), min(ts_ns), max(ts_ns)", "plain");
    assert_eq!(expected.len(), 6);
    let runs = "sum(row_count), min(first_ts), max(last_ts), min(first_ns), max(last_ns)";
    assert_eq!(ask(runs, "log_chunk"), expected);
    let whole = ask("row_count, first_ts, last_ts, count(*)", "log_stats");
    assert_eq!(whole, ask("count(*), min(ts), max(ts), 1", "plain"));
    let chunks = "SELECT stream_id, count(DISTINCT chunk_id) FROM log_chunk GROUP BY 1 ORDER BY 1";
    let counted = "SELECT stream_id, chunk_count FROM log_stats ORDER BY 1";
    assert_eq!(rows(db, counted, &[]), rows(db, chunks, &[]));
    for size in ["raw_bytes", "stored_bytes"] {
        let shares: i64 = one(db, &format!("SELECT sum({size}) FROM log_chunk"));
        let sizes: i64 = one(db, &format!("SELECT sum({size}) FROM raw_chunk"));
        assert_eq!(shares, sizes);
    }
    let by_batch = "SELECT batch_id, sum(row_count) FROM log_chunk GROUP BY 1 ORDER BY 1";
    let expected = "SELECT batch_id, count(*) FROM plain GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(db, by_batch, &[]), rows(db, expected, &[]));
}

/// Counting reads no chunk, so it is right even where all are damaged.
#[test]
fn a_count_of_all_lines_reads_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    Connection::open(&path)
        .and_then(|db| db.execute("UPDATE raw_chunk SET data = zeroblob(9)", []))
        .expect("damaged");
    let bundle = Bundle::open(&[path]).expect("a bundle");
    let db = bundle.connection();
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM log"), 630);
    assert_eq!(one::<i64>(db, "SELECT sum(row_count) FROM log_stats"), 630);
    assert!(bundle.damage().is_empty());
    assert_eq!(one::<i64>(db, "SELECT count(ts) FROM log"), 0);
    assert!(!bundle.damage().is_empty());
}

#[test]
fn a_chunk_that_declares_more_than_there_can_be_is_not_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    Connection::open(&path)
        .and_then(|db| {
            db.execute_batch(
                "UPDATE raw_chunk SET row_count = row_count + 4000000000;
                 UPDATE raw_chunk_run SET row_count = row_count + 4000000000 WHERE ord = 0;",
            )
        })
        .expect("changed");
    let bundle = Bundle::open(&[path]).expect("a bundle");
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM log"), 0);
    assert!(bundle.damage().iter().all(|damage| damage.reason.contains("impossible")));
    assert!(!bundle.damage().is_empty());
}

/// A sealed file's search for a text that no chunk has reads none of them.
#[test]
fn skip_filters_keep_chunks_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let change = |sql: &str| {
        Connection::open(&path).and_then(|db| db.execute(sql, [])).expect("changed");
    };
    let count = |condition: &str| {
        let bundle = Bundle::open(std::slice::from_ref(&path)).expect("a bundle");
        let sql = format!("SELECT count(*) FROM log WHERE {condition}");
        (one::<i64>(bundle.connection(), &sql), bundle.damage().len())
    };
    let timeouts = count("message MATCH 'timeout'");
    assert!(timeouts.0 > 0);
    let expired = "message MATCH 'certificate has EXPIRED'";
    for filter in ["zeroblob(0)", "x'00'", "zeroblob(30)", "randomblob(5000)"] {
        let merged = folder.path().join("whole");
        fs::copy(&path, &merged).expect("copied");
        change(&format!("UPDATE raw_chunk_filter SET data = {filter}"));
        assert_eq!(count(expired), (0, 0), "{filter}");
        assert_eq!(count("message MATCH 'timeout'"), timeouts, "{filter}");
        fs::rename(&merged, &path).expect("put back");
    }
    change("UPDATE raw_chunk SET data = zeroblob(length(data))");
    assert_eq!(count("message MATCH 'timeout'"), (0, 2), "they would have been read");
    for condition in [
        expired,
        "message LIKE '%certificate has expired%'",
        "message GLOB '*[cC]ertificate*'",
        "message REGEXP 'certificate (has )?expired'",
        "message MATCH 'timeout' AND message MATCH 'certificate'",
    ] {
        assert_eq!(count(condition), (0, 0), "{condition}");
    }
}

/// A merged file has the filters of its parts.
#[test]
fn a_merge_keeps_skip_filters() {
    let folder = tempfile::tempdir().expect("a folder");
    let merged = folder.path().join("merged.db");
    merge(&NODES.paths, &merged).expect("merged");
    let db = Connection::open(&merged).expect("a file");
    let without = "SELECT count(*) FROM raw_chunk WHERE id NOT IN (
                       SELECT chunk_id FROM raw_chunk_filter WHERE length(data) > 20)";
    assert_eq!(one::<i64>(&db, without), 0);
    assert_eq!(one::<i64>(&db, "SELECT count(*) FROM raw_chunk_filter"), 4);
}

/// What makes a file good to read and to send, see `sql/schema`.
#[test]
fn a_sealed_file_is_laid_out_for_reading() {
    let header = fs::read(&NODES.paths[0]).expect("read");
    assert_eq!(header[18..20], [1, 1], "no write-ahead log is part of it");
    let db = Connection::open(&NODES.paths[0]).expect("a file");
    let sql: String = one(&db, "SELECT sql FROM sqlite_schema WHERE name = 'raw_chunk'");
    assert!(!sql.contains("WITHOUT ROWID"), "{sql}");
    let last = "SELECT name FROM pragma_table_info('raw_chunk') ORDER BY cid DESC LIMIT 1";
    assert_eq!(one::<String>(&db, last), "data");
    let hidden =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'raw_*'";
    assert_eq!(one::<i64>(&db, hidden), 0, "a table of that name would hide a virtual one");
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0..210_usize, 0..60_usize, 1..12_usize).prop_map(|(number, from, length)| {
            let line = line(number);
            let from = from.min(line.len());
            line[from..(from + length).min(line.len())].to_vec()
        }),
        2 => prop::sample::select(vec![
            "%", "_", "*", "?", "[a-z]", "[^0]", ".", ".*", "\\d+", "(a|t)", "[Tt]", "x?", "\\", "ö",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (prop::sample::select(vec!["", "%", "*", ".*", "(?i)"]), prop::collection::vec(piece, 0..4))
        .prop_map(|(around, pieces)| {
            let after = if around == "(?i)" { "" } else { around };
            [around.as_bytes(), &pieces.concat(), after.as_bytes()].concat()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any pattern, in the statement or as a parameter.
    #[test]
    fn search_finds_what_walking_finds(pattern in pattern(), operator in 0..4_usize, literal: bool) {
        thread_local! {
            static BUNDLE: Bundle = bundle();
        }
        let operator = ["LIKE", "GLOB", "MATCH", "REGEXP"][operator];
        BUNDLE.with(|bundle| {
            let db = bundle.connection();
            let text = String::from_utf8(pattern.clone()).ok().filter(|text| !text.contains('\0'));
            let (shown, parameter) = match text {
                Some(text) if literal => (format!("'{}'", text.replace('\'', "''")), None),
                _ => ("?".to_owned(), Some(pattern)),
            };
            let ask = |sql: &str| -> rusqlite::Result<Vec<i64>> {
                let mut statement = db.prepare(sql)?;
                let parameter = parameter.as_deref().map(|bytes| {
                    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
                });
                statement
                    .query_map(rusqlite::params_from_iter(parameter), |row| row.get(0))?
                    .collect()
            };
            let condition = format!("message {operator} {shown}");
            let expected = ask(&format!("SELECT number FROM plain WHERE {condition} ORDER BY 1"));
            let found = ask(&format!("SELECT rowid FROM log WHERE {condition} ORDER BY 1"));
            let counted = ask(&format!("SELECT count(*) FROM log WHERE {condition}"));
            match (expected, found, counted) {
                (Ok(expected), Ok(found), Ok(counted)) => {
                    assert_eq!(counted, [expected.len() as i64], "{condition}");
                    assert_eq!(found, expected, "{condition}");
                }
                (Err(_), Err(_), Err(_)) => assert_eq!(operator, "REGEXP"),
                other => panic!("{condition}: {other:?}"),
            }
            assert!(bundle.damage().is_empty());
        });
    }
}
