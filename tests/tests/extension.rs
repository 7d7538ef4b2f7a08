//! The loadable extension, in the real `sqlite3` and in Python's module: the same answers
//! as the analyzer's, and errors in words.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use periscope_tests::nodefile;
use periscope_tests::programs::{self, Finished};
use serde_json::Value;

/// Two nodes in a folder, and a file that is no database.
fn bundle() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for (node, lines) in [("node-a", 700), ("node-b", 300)] {
        nodefile::write(folder.path(), node, lines).expect("a file");
    }
    std::fs::write(folder.path().join("broken.db"), "no database").expect("written");
    let path = folder.path().display().to_string();
    (folder, path)
}

fn library() -> PathBuf {
    programs::extension().expect("built")
}

/// What `sqlite3` prints for some lines, the library loaded.
fn sqlite3(options: &[&str], lines: &str) -> Finished {
    let mut command = Command::new("sqlite3");
    command.args(options).arg(":memory:").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sqlite3");
    let input = format!(".load {}\n{lines}\n", library().display());
    let mut keys = child.stdin.take().expect("an input");
    std::io::Write::write_all(&mut keys, input.as_bytes()).expect("written");
    drop(keys);
    let output = child.wait_with_output().expect("finished");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Finished {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Rows of a question, in the analyzer and in `sqlite3`.
fn both(path: &str, sql: &str) -> [Vec<Value>; 2] {
    let mut query = programs::analyze().expect("built");
    let answer =
        programs::finish(query.args(["query", path, sql, "--format", "json"])).expect("ran");
    let open = format!(
        ".mode list\n.output /dev/null\nSELECT periscope_open('{path}');\n.output\n.mode json\n{sql};"
    );
    let found = sqlite3(&[], &open);
    assert_eq!((found.status, found.stderr.as_str()), (Some(0), ""), "{sql}");
    [answer.stdout, found.stdout].map(|text| {
        if text.is_empty() { Vec::new() } else { serde_json::from_str(&text).expect(&text) }
    })
}

#[test]
fn every_table_and_view_is_there() {
    let (_folder, path) = bundle();
    let names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')
                 UNION SELECT name FROM virtual_table";
    let mut query = programs::analyze().expect("built");
    let names =
        programs::finish(query.args(["query", &path, names, "--format", "csv"])).expect("ran");
    let names: Vec<&str> = names.stdout.lines().skip(1).collect();
    assert!(names.len() > 50, "{names:?}");
    let mut filled = 0;
    for name in names {
        let [expected, found] = both(&path, &format!("SELECT * FROM {name}"));
        filled += usize::from(!expected.is_empty());
        // SQLite promises no order.
        let sorted = |rows: Vec<Value>| {
            let mut texts: Vec<_> = rows.iter().map(ToString::to_string).collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(found), sorted(expected), "{name}");
    }
    assert!(filled > 15, "{filled}");
}

#[test]
fn answers_are_those_of_the_analyzer() {
    let (_folder, path) = bundle();
    for sql in [
        "SELECT node, pod, count(*) AS n FROM log GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT ts, message FROM log WHERE node = 'node-b' ORDER BY ts DESC, pod LIMIT 3",
        "SELECT ts, node FROM log WHERE pod = 'coredns-2' ORDER BY ts LIMIT 2 OFFSET 4",
        "SELECT count(*) AS n FROM log WHERE ts >= '2026-11-22T12:30' AND ts < '2026-11-22T12:31'",
        "SELECT count(*) AS n FROM log WHERE ts_ns BETWEEN 1795350481000000000 AND 1795350490000000000",
        "SELECT count(*) AS n FROM log WHERE message MATCH 'TIMEOUT'",
        "SELECT count(*) AS n FROM log WHERE message REGEXP '(?i)TIME.ut [0-9]0'",
        "SELECT count(*) AS n FROM log WHERE message LIKE '%i/o%' OR message MATCH '99'",
        "SELECT count(*) AS n FROM log WHERE message GLOB '*of coredns-1' AND NOT message REGEXP '1'",
        "SELECT count(*) AS n FROM log WHERE node = 'node-a' OR pod = 'coredns-1'",
        "SELECT count(*) AS n FROM log WHERE node IN ('node-a', 'node-c') COLLATE NOCASE",
        "SELECT count(*) AS n FROM log WHERE pod = 'COREDNS-1' COLLATE NOCASE",
        "SELECT count(*) AS n FROM log WHERE unit IS NULL AND pod IS NOT NULL",
        "SELECT count(*) AS n FROM probe WHERE seq = '3' OR outcome = 'fail'",
        "SELECT p.node, count(*) AS n FROM probe AS p JOIN log AS l ON l.node = p.node AND l.ts = p.ts
         WHERE p.outcome = 'fail' GROUP BY 1 ORDER BY 1",
        "SELECT * FROM probe_outage ORDER BY node",
        "SELECT DISTINCT level FROM log ORDER BY level",
        "SELECT max(ts) AS last, min(ts) AS first FROM log",
        "SELECT ts(1795350480000000000) AS t, ts(NULL) AS n, 'a' || 'b' MATCH 'B' AS m, NULL REGEXP 'a' AS r",
        "WITH n AS (SELECT node FROM probe_target) SELECT count(*) AS n FROM log WHERE node IN (SELECT node FROM n)",
    ] {
        let [expected, found] = both(&path, sql);
        assert!(!expected.is_empty(), "{sql}");
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn conditions_reach_the_chunks() {
    let (_folder, path) = bundle();
    let open = format!("SELECT periscope_open('{path}');\nEXPLAIN QUERY PLAN ");
    let plan = |sql: &str| sqlite3(&[], &format!("{open}{sql};")).stdout;
    let found = plan("SELECT ts FROM log WHERE node = 'a' AND message MATCH 'b'");
    assert!(found.contains("WHERE \"node\" = ? AND \"message\" MATCH ?"), "{found}");
    let found = plan("SELECT ts FROM log WHERE node = 'a' ORDER BY ts LIMIT 1");
    assert!(found.contains("ORDER BY \"ts\" LIMIT") && !found.contains("TEMP B-TREE"), "{found}");
}

#[test]
fn what_goes_wrong_is_an_error_in_words() {
    let (_folder, path) = bundle();
    let broken = format!("{path}/broken.db");
    let script = format!(
        "SELECT periscope_open('/nowhere');
         SELECT periscope_open('{broken}');
         SELECT periscope_open();
         SELECT periscope_open(NULL);
         CREATE VIRTUAL TABLE temp.x USING periscope('log');
         SELECT periscope_close();
         SELECT periscope_open('{path}');
         SELECT count(*) FROM log WHERE message REGEXP '(';
         SELECT 'a' REGEXP '(';
         SELECT ts('a');
         DELETE FROM log;
         INSERT INTO raw_node (id) VALUES (1);
         CREATE VIRTUAL TABLE temp.y USING periscope('nothing');
         CREATE VIRTUAL TABLE temp.z USING periscope;
         SELECT nothing FROM log;
         SELECT json(message) FROM log;
         CREATE TABLE mine (a);
         INSERT INTO mine SELECT count(*) FROM log;
         SELECT a FROM mine;
         SELECT periscope_close();
         SELECT count(*) FROM log;
         CREATE TEMP TABLE probe (mine);
         SELECT periscope_open('{path}');
         SELECT count(*) FROM log;
         SELECT count(*) FROM probe;
         DROP TABLE temp.probe;
         SELECT periscope_open('{path}/node-a.db', '{path}/node-b.db') AS opened;
         SELECT count(*) FROM log;"
    );
    let mut told = String::new();
    for line in script.split_inclusive(';') {
        told.push_str(line.trim());
        told.push('\n');
    }
    let done = sqlite3(&[], &told);
    let text = format!("{}\n{}", done.stdout, done.stderr).replace(&path, "DIR");
    // Versions of sqlite3 begin their errors in different ways.
    let plain: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('^') && !line.contains("^--- error here"))
        .map(|line| {
            line.split_once(": ")
                .map_or(line, |(head, rest)| if head.contains("near line") { rest } else { line })
        })
        .collect();
    insta::assert_snapshot!(plain.join("\n"));
}

#[test]
fn python_reads_with_its_own_module() {
    let (folder, path) = bundle();
    let script = r#"
import sqlite3, sys, threading
library, path, own = sys.argv[1:]
def connect(file=":memory:"):
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.enable_load_extension(True)
    connection.load_extension(library)
    return connection
connection = connect(own)
print(connection.execute("SELECT periscope_open(?)", (path + "/node-a.db",)).fetchone()[0])
print(connection.execute("SELECT count(*) FROM log WHERE pod = ?", ("coredns-1",)).fetchone()[0])
# Two cursors of one connection, and one that is left where it is.
one, two = (connection.execute("SELECT message FROM log ORDER BY ts, pod LIMIT 5") for _ in range(2))
print(one.fetchone() == two.fetchone(), len(one.fetchall()), two.fetchone()[0])
one.close(), two.close()
try:
    connection.execute("SELECT periscope_open('/nowhere')").fetchall()
except sqlite3.OperationalError as error:
    print(error)
print(connection.execute("SELECT count(*) FROM log").fetchone()[0])
# Another bundle while a cursor reads the one before.
reading = connection.execute("SELECT * FROM log")
reading.fetchone()
try:
    connection.execute("SELECT periscope_open(?)", (path + "/node-b.db",)).fetchall()
except sqlite3.OperationalError as error:
    print(error)
reading.close()
print(connection.execute("SELECT periscope_open(?)", (path + "/node-b.db",)).fetchone()[0])
print(connection.execute("SELECT DISTINCT node FROM log").fetchall())
# Loaded again, in the same connection and in others, in threads.
connection.load_extension(library)
print(connection.execute("SELECT count(*) FROM log").fetchone()[0])
def work():
    mine = connect()
    mine.execute("SELECT periscope_open(?)", (path,)).fetchall()
    counts.append(mine.execute("SELECT count(message) FROM log").fetchone()[0])
    mine.execute("SELECT * FROM log").fetchone()
    mine.close()
counts = []
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(counts)
connection.close()
# Nothing of the bundle is in the user's file.
print(sqlite3.connect(own).execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
"#;
    let is_able = "import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)";
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        Command::new(python)
            .args(["-c", is_able])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    });
    let python = python.expect("a Python whose module sqlite3 loads extensions");
    let own = folder.path().join("own.sqlite");
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(library()).arg(&path).arg(&own);
    let done = programs::finish(&mut command).expect("ran");
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    insta::assert_snapshot!(done.stdout);
}

#[test]
fn an_endless_question_can_be_stopped() {
    let (_folder, path) = bundle();
    let script = format!(
        "SELECT periscope_open('{path}');
         SELECT count(*) FROM log AS a JOIN log AS b JOIN log AS c WHERE a.ts > b.ts AND b.ts > c.ts;"
    );
    let library = library();
    let mut command = Command::new("timeout");
    command.args(["-s", "INT", "-k", "20", "2", "sqlite3", ":memory:", "-cmd"]);
    command.arg(format!(".load {}", library.display())).arg(script);
    let done = programs::finish(&mut command).expect("ran");
    assert_eq!(done.status, Some(124), "interrupted, not killed: {done:?}");
    assert!(done.stderr.to_lowercase().contains("interrupt"), "{done:?}");
}

#[test]
fn one_symbol_is_all_that_others_see() {
    let bytes = std::fs::read(library()).expect("the library");
    assert!(bytes.starts_with(b"\x7fELF"));
    let mut nm = Command::new("nm");
    let done = programs::stdout_of(nm.args(["-D", "--defined-only"]).arg(library())).expect("ran");
    let names: Vec<_> = done.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(names, ["sqlite3_extension_init"], "an SQLite of its own must stay its own");
}
