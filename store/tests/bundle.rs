//! Files as they come back from nodes: opened as one, merged, damaged, hostile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use periscope_store::Error;
use periscope_store::batch::{
    Batch, HostSample, Issue, IssueKind, LineFlags, Object, Outcome, ProbeOutcome, ProbeSample,
    ProbeTarget, Setting, Stream,
};
use periscope_store::bundle::Bundle;
use periscope_store::merge::merge;
use periscope_store::writer::{Node, Poll, Session, Writer};
use proptest::prelude::*;
use rusqlite::Connection;

const START: i64 = 1_795_350_480_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), machine_id: format!("machine-{name}") }
}

fn session(process: u32) -> Session {
    Session {
        run_id: "run-1".to_owned(),
        cluster: Some("c.hcp.eastus.azmk8s.io".to_owned()),
        agent_version: "0.1.0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: START,
        process,
        config: "{}".to_owned(),
    }
}

fn poll(seq: u64) -> Poll {
    Poll {
        seq,
        round: seq,
        started_ns: START,
        ended_ns: START + (seq as i64 + 1) * SECOND,
        outcome: Outcome::Complete,
        message: None,
    }
}

fn logs(lines: usize) -> Batch {
    let mut batch = Batch::new("container-logs");
    for pod in ["coredns-1", "konnectivity-2"] {
        let stream = batch.stream(Stream::container("kube-system", pod, "uid", "main", 1));
        for line in 0..lines {
            let text = format!("line {line} of {pod}");
            let flags = LineFlags { stderr: line % 2 == 1, ..LineFlags::default() };
            batch.log(stream, START + line as i64 * SECOND, flags, text.as_bytes());
        }
    }
    batch
}

fn probes(outcomes: &str) -> Batch {
    probes_from(0, outcomes)
}

/// Samples from number `first` on, as the signs say: `f` failed, `s` was skipped,
/// at `_` the agent slept.
fn probes_from(first: u64, outcomes: &str) -> Batch {
    let mut batch = Batch::new("probe");
    let stream = batch.stream(Stream::probe(&ProbeTarget {
        name: "mcr".to_owned(),
        kind: "mcr".to_owned(),
        url: "https://127.0.0.1/v2/".to_owned(),
        interval_ns: 5 * SECOND,
        timeout_ns: 4 * SECOND,
    }));
    for (seq, outcome) in (first..).zip(outcomes.chars()).filter(|(_, sign)| *sign != '_') {
        let failed = outcome == 'f';
        batch.probe(
            stream,
            &ProbeSample {
                seq,
                ts_ns: START + seq as i64 * 5 * SECOND,
                mono_ns: seq as i64 * 5 * SECOND,
                outcome: match outcome {
                    'f' => ProbeOutcome::Fail,
                    's' => ProbeOutcome::Skipped,
                    _ => ProbeOutcome::Ok,
                },
                phase: if failed { "tcp".to_owned() } else { String::new() },
                error_class: if failed { "timeout".to_owned() } else { String::new() },
                tcp_us: (!failed).then_some(300),
                duration_us: 300,
                ..ProbeSample::default()
            },
        );
    }
    batch
}

/// A file with something in every kind of table.
fn write_node(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.db"));
    let mut writer = Writer::create(&path, &node(name), &session(1)).expect("a new file");
    writer.commit(logs(100), &poll(0)).expect("committed");
    writer.commit(probes("ooffo"), &poll(0)).expect("committed");
    let mut batch = Batch::new("dns-node");
    batch.setting(Setting {
        scope: "dns.node".to_owned(),
        name: "nameserver".to_owned(),
        value: Some("168.63.129.16".to_owned()),
        source: "/etc/resolv.conf".to_owned(),
    });
    batch.issue(Issue {
        source: "/etc/localdns/upstream-dns".to_owned(),
        kind: IssueKind::Absent,
        amount: None,
        unit: None,
        message: "no such file".to_owned(),
    });
    batch.object(Object {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: Some("kube-system".to_owned()),
        name: "coredns-1".to_owned(),
        uid: Some("uid".to_owned()),
        json: "{}".to_owned(),
    });
    writer.commit(batch, &poll(0)).expect("committed");
    let mut batch = Batch::new("host-samples");
    let stream = batch.stream(Stream::host("load"));
    batch.sample(stream, &HostSample { ts_ns: START, name: "load1".to_owned(), value: 0.5 });
    writer.commit(batch, &poll(0)).expect("committed");
    writer.seal().expect("sealed");
    path
}

/// A file that was written in many steps, and a copy of it from when half of
/// them were done: chunks of the file hold batches that the copy has apart.
fn write_growing(folder: &Path) -> [PathBuf; 2] {
    let path = folder.join("c.db");
    let copy = folder.join("copy-of-c.db");
    let mut writer = Writer::create(&path, &node("c"), &session(1)).expect("a new file");
    let mut probed = String::new();
    for seq in 0..10 {
        writer.commit(logs(10 + seq as usize), &poll(seq)).expect("committed");
        probed.push_str("of");
        // The same batch again, with more in it.
        let again = |number: u64, ended_s: i64| Poll {
            seq: number,
            ended_ns: START + ended_s * SECOND,
            ..poll(0)
        };
        writer.commit(probes(&probed), &again(0, seq as i64)).expect("committed");
        if seq == 4 {
            writer.commit(logs(3), &again(99, 5)).expect("committed");
            merge(std::slice::from_ref(&path), &copy).expect("copied");
            writer.commit(logs(4), &again(99, 100)).expect("committed");
        }
    }
    writer.seal().expect("sealed");
    [path, copy]
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect(sql);
    let columns = statement.column_count();
    statement
        .query_map([], |row| {
            let values: rusqlite::Result<Vec<String>> =
                (0..columns).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect();
            Ok(values?.join(" "))
        })
        .expect(sql)
        .collect::<rusqlite::Result<_>>()
        .expect(sql)
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// Everything that a bundle says, whatever order its files came in.
fn everything(bundle: &Bundle) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["raw_node", "raw_session", "raw_batch", "raw_issue", "raw_setting"] {
        all.extend(rows(bundle.connection(), &format!("SELECT * FROM {table} ORDER BY 1, 2, 3")));
    }
    for table in ["log", "probe", "sample"] {
        let sql = format!("SELECT * FROM {table} ORDER BY stream_id, ts_ns, batch_id");
        all.extend(rows(bundle.connection(), &sql));
    }
    all.extend(rows(bundle.connection(), "SELECT * FROM probe_stretch ORDER BY stream_id, ts_ns"));
    all
}

#[test]
fn tables_show_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    write_node(folder.path(), "a");
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    let db = bundle.connection();
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM log"), 200);
    assert_eq!(
        rows(
            db,
            "SELECT node, ts, source, namespace, pod, container, restart, output, message
             FROM log WHERE pod = 'coredns-1' AND ts >= '2026-11-22T12:28:03'
                        AND ts < '2026-11-22T12:28:04'"
        ),
        rows(
            db,
            "SELECT 'a', '2026-11-22T12:28:03.000000000Z', 'container', 'kube-system',
                    'coredns-1', 'main', 1, 'stderr', 'line 3 of coredns-1'"
        )
    );
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM probe WHERE ok = 0"), 2);
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM probe WHERE outcome = 'fail'"), 2);
    assert_eq!(one::<i64>(db, "SELECT value = 0.5 FROM sample WHERE name = 'load1'"), 1);
    assert_eq!(one::<String>(db, "SELECT ts(0)"), "1970-01-01T00:00:00.000000000Z");
    assert!(bundle.damage().is_empty());
}

#[test]
fn pushed_constraints_change_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    write_node(folder.path(), "a");
    write_node(folder.path(), "b");
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    let db = bundle.connection();
    db.execute_batch(
        "CREATE TEMP TABLE plain_log AS SELECT * FROM log;
         CREATE TEMP TABLE plain_probe AS SELECT * FROM probe;",
    )
    .expect("copies");
    for (table, condition) in [
        ("log", "node = 'b'"),
        ("log", "node = 'nobody'"),
        ("log", "node = 7"),
        ("log", "node = NULL"),
        ("log", "source = 'container' AND pod = 'coredns-1'"),
        ("log", "source = 'unit'"),
        ("log", "source = 'container' AND source = 'unit'"),
        ("log", "ts > '2026-11-22T12:29'"),
        ("log", "ts <= '2026-11-22T12:28:10'"),
        ("log", "ts < '2026-11-22T12:28:10.000000000Z'"),
        ("log", "ts = '2026-11-22T12:28:10.000000000Z'"),
        ("log", "ts BETWEEN '2026-11-22T12:28:10' AND '2026-11-22T12:28:20'"),
        ("log", "ts > '2026-11-22 12:28'"),
        ("log", "ts < 'zebra'"),
        ("log", "ts_ns >= 1795350490000000000 AND ts_ns < 1795350495000000000"),
        ("log", "ts_ns > 1795350490.5e9"),
        ("log", "ts_ns > '1795350490000000000'"),
        ("log", "node IN ('a', 'b') AND pod LIKE 'core%' AND output = 'stderr'"),
        ("log", "pod = 'coredns-1' OR pod = 'konnectivity-2'"),
        ("probe", "ok = 0"),
        ("probe", "ok = 1"),
        ("probe", "ok IS NULL"),
        ("probe", "outcome = 'fail' AND target = 'mcr' AND kind = 'mcr'"),
        ("probe", "outcome <> 'fail'"),
    ] {
        let ask = |table: &str| {
            rows(db, &format!("SELECT * FROM {table} WHERE {condition} ORDER BY stream_id, ts_ns"))
        };
        assert_eq!(ask(table), ask(&format!("plain_{table}")), "{table}: {condition}");
    }
}

/// What `probe_stretch` says, and what it should say by all samples.
fn stretches(db: &Connection, condition: &str) -> [Vec<String>; 2] {
    let found = format!(
        "SELECT node, outcome, phase, samples, position, seq, last_seq, ts_ns, last_ns, mono_ns,
                last_mono_ns, last_duration_us, total_duration_us, max_duration_us,
                before_outcome, before_seq, before_mono_ns, before_duration_us, after_mono_ns,
                session_id
         FROM probe_stretch WHERE {condition} ORDER BY node, seq"
    );
    let expected = format!(
        "WITH
             stepped AS (
                 SELECT *, outcome IS NOT lag(outcome) OVER later
                        OR seq - lag(seq) OVER later > 1 AS is_first
                 FROM probe WINDOW later AS (PARTITION BY node ORDER BY seq)),
             part AS (
                 SELECT *, sum(is_first) OVER later AS part,
                        sum(outcome <> 'skipped') OVER later AS tried
                 FROM stepped WINDOW later AS (PARTITION BY node ORDER BY seq)),
             stretch AS (
                 SELECT node, outcome, phase, count(*) AS samples,
                        min(tried) + iif(outcome = 'skipped', 1, 0) AS position,
                        min(seq) AS seq, max(seq) AS last_seq, min(ts_ns) AS ts_ns,
                        max(ts_ns) AS last_ns, min(mono_ns) AS mono_ns,
                        max(mono_ns) AS last_mono_ns, 300 AS last_duration_us,
                        sum(duration_us) AS total_duration_us,
                        max(duration_us) AS max_duration_us, session_id
                 FROM part GROUP BY node, part)
         SELECT this.node, this.outcome, this.phase, this.samples, this.position, this.seq,
                this.last_seq, this.ts_ns, this.last_ns, this.mono_ns, this.last_mono_ns,
                this.last_duration_us, this.total_duration_us, this.max_duration_us,
                before.outcome, before.last_seq, before.last_mono_ns, before.last_duration_us,
                (SELECT min(mono_ns) FROM stretch AS after
                 WHERE after.node = this.node AND after.outcome <> 'skipped'
                       AND after.seq > this.seq),
                this.session_id
         FROM (SELECT *, (SELECT max(seq) FROM stretch AS earlier
                          WHERE earlier.node = stretch.node AND earlier.outcome <> 'skipped'
                                AND earlier.seq < stretch.seq) AS before_first
               FROM stretch) AS this
         LEFT JOIN stretch AS before ON before.node = this.node AND before.seq = this.before_first
         WHERE {} ORDER BY this.node, this.seq",
        condition.replace("node", "this.node").replace("outcome", "this.outcome")
    );
    [&found, &expected].map(|sql| rows(db, sql))
}

#[test]
fn stretches_hold_every_sample_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a", "b"] {
        let path = folder.path().join(format!("{name}.db"));
        let mut writer = Writer::create(&path, &node(name), &session(1)).expect("a new file");
        writer.commit(probes("ooffossof"), &poll(0)).expect("committed");
        writer.commit(probes_from(9, "ffo"), &poll(1)).expect("committed");
        if name == "a" {
            writer.seal().expect("sealed");
        }
    }
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    let db = bundle.connection();
    for (condition, count) in [
        ("true", 14),
        ("node = 'b'", 7),
        ("outcome = 'fail'", 4),
        ("node = 'nobody'", 0),
        ("node = 'a' AND node = 'b'", 0),
    ] {
        let [found, expected] = stretches(db, condition);
        assert_eq!(found, expected, "{condition}");
        assert_eq!(found.len(), count, "{condition}");
    }
    let count = |condition: &str| {
        one::<i64>(db, &format!("SELECT count(*) FROM probe_stretch WHERE {condition}"))
    };
    assert_eq!(count("target = 'mcr' AND kind = 'mcr'"), 14);
    assert_eq!(count("kind = 'acr'"), 0);
    assert_eq!(count("ts >= '2026-11-22T12:28:12' AND outcome = 'fail'"), 2);
    assert_eq!(count("stream_id = (SELECT min(id) FROM raw_stream)"), 7);
}

#[test]
fn a_batch_committed_again_replaces_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
    writer.commit(probes("oo"), &poll(0)).expect("committed");
    writer.commit(probes("oofo"), &poll(0)).expect("committed");
    // Read while the agent still writes.
    let bundle = Bundle::open(std::slice::from_ref(&path)).expect("a live file");
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM probe"), 4);
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM raw_batch"), 1);
    writer.seal().expect("sealed");
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["a.db"], "one file and no journal");
}

#[test]
fn sealing_makes_full_chunks_of_small_ones_and_changes_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
    for seq in 0..50 {
        writer.commit(logs(20), &poll(seq)).expect("committed");
    }
    let answers = || {
        let bundle = Bundle::open(std::slice::from_ref(&path)).expect("a bundle");
        assert!(bundle.damage().is_empty());
        let db = bundle.connection();
        let sizes = "SELECT count(*), sum(stored_bytes) FROM raw_chunk";
        let sizes: (i64, i64) =
            db.query_row(sizes, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("sizes");
        (everything(&bundle), sizes)
    };
    let (before, (chunks, bytes)) = answers();
    assert_eq!(chunks, 50);
    writer.seal().expect("sealed");
    let (after, (full_chunks, full_bytes)) = answers();
    assert_eq!(after, before);
    assert_eq!(full_chunks, 1);
    assert!(full_bytes * 5 < bytes, "{full_bytes} of {bytes}");
    let db = Connection::open(&path).expect("a file");
    assert_eq!(one::<i64>(&db, "PRAGMA freelist_count"), 0, "no room is wasted");
    assert_eq!(one::<String>(&db, "PRAGMA integrity_check"), "ok");
    assert_eq!(one::<i64>(&db, "SELECT count(*) FROM raw_chunk_filter"), 1);
    let runs_by_stream = "SELECT group_concat(stream_id) = (
            SELECT group_concat(stream_id)
            FROM (SELECT run.stream_id FROM raw_chunk_run AS run
                  JOIN raw_stream AS stream ON stream.id = run.stream_id ORDER BY name)
        ) FROM (SELECT stream_id FROM raw_chunk_run ORDER BY ord)";
    assert!(one::<bool>(&db, runs_by_stream), "rows of a stream lie together");
}

#[test]
fn a_chunk_of_several_batches_counts_for_those_that_are_not_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let [whole, copy] = write_growing(folder.path());
    let expected = everything(&Bundle::open(std::slice::from_ref(&whole)).expect("a bundle"));
    let merged = folder.path().join("merged.db");
    merge(&[copy, whole.clone()], &merged).expect("merged");
    let db = Connection::open(&merged).expect("a file");
    let runs = |condition: &str| {
        one::<i64>(&db, &format!("SELECT count(*) FROM raw_chunk_run WHERE {condition}"))
    };
    assert!(runs("batch_id IS NULL") > 0, "the copy had their batches");
    assert!(runs("batch_id IS NOT NULL") > 0);
    let unknown = "batch_id NOT IN (SELECT id FROM raw_batch)";
    assert_eq!(runs(unknown), 0);
    assert_eq!(everything(&Bundle::open(&[merged]).expect("a bundle")), expected);
}

/// Seals until so many groups of chunks are done, and panics as a crash would.
fn crash_while_sealing(path: &Path, groups: usize) {
    let mut writer = Writer::create(path, &node("a"), &session(1)).expect("a new file");
    for seq in 0..12 {
        let mut batch = Batch::new("container-logs");
        let stream = batch.stream(Stream::container("default", "big", "uid", "main", 0));
        for line in 0..5_000 {
            let text = format!("{seq} {line} {}", "some text ".repeat(80));
            batch.log(stream, START + seq * SECOND, LineFlags::default(), text.as_bytes());
        }
        writer.commit(batch, &poll(seq as u64)).expect("committed");
    }
    let mut left = groups;
    let crashed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.seal_while(|| {
            assert_ne!(left, 0, "crash");
            left -= 1;
            true
        })
    }));
    assert!(crashed.is_err(), "there were more groups");
}

#[test]
fn a_crash_while_sealing_leaves_a_whole_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for groups in 0..3 {
        let path = folder.path().join(format!("{groups}.db"));
        crash_while_sealing(&path, groups);
        let bundle = Bundle::open(&[path]).expect("a bundle");
        let db = bundle.connection();
        assert_eq!(one::<i64>(db, "SELECT count(DISTINCT message) FROM log"), 60_000);
        assert_eq!(one::<i64>(db, "SELECT count(DISTINCT batch_id) FROM log"), 12);
        assert!(bundle.damage().is_empty());
    }
}

#[test]
fn sealing_in_a_hurry_leaves_chunks_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
    for seq in 0..5 {
        writer.commit(logs(20), &poll(seq)).expect("committed");
    }
    writer.seal_while(|| false).expect("sealed");
    let bundle = Bundle::open(&[path]).expect("a bundle");
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM raw_chunk"), 5);
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(message) FROM log"), 200);
}

#[test]
fn sealing_compresses_a_chunk_with_a_very_long_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
    let mut batch = logs(20);
    let stream = batch.stream(Stream::container("default", "big", "uid", "main", 0));
    let long: String = (0..1_800_000_u64)
        .map(|n| ["one ", "three ", "seven "][(n.wrapping_mul(n) >> 7) as usize % 3])
        .collect();
    batch.log(stream, START, LineFlags::default(), format!("{long}{long} haystack").as_bytes());
    batch.log(stream, START, LineFlags::default(), b"a next line");
    writer.commit(batch, &poll(0)).expect("committed");
    writer.commit(logs(20), &poll(1)).expect("committed");
    let sizes = |path: &Path| -> Vec<(i64, i64)> {
        let db = Connection::open(path).expect("a file");
        db.prepare("SELECT raw_bytes, length(data) FROM raw_chunk ORDER BY raw_bytes DESC")
            .and_then(|mut sql| sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .expect("chunks")
    };
    let before = sizes(&path);
    assert!(before[0].0 > 16 << 20, "{before:?}");
    let whole = everything(&Bundle::open(std::slice::from_ref(&path)).expect("a bundle"));
    writer.seal().expect("sealed");
    let after = sizes(&path);
    assert_eq!(after[0].0, before[0].0);
    assert!(after[0].1 * 10 < before[0].1 * 9, "{after:?} was {before:?}");
    let db = Connection::open(&path).expect("a file");
    let filters = "SELECT count(*) FROM raw_chunk_filter WHERE length(data) > 0";
    assert_eq!(one::<i64>(&db, filters), after.len() as i64);
    let bundle = Bundle::open(&[path]).expect("a bundle");
    assert_eq!(everything(&bundle), whole);
    let found = "SELECT count(*) FROM log WHERE message MATCH 'haystack'";
    assert_eq!(one::<i64>(bundle.connection(), found), 1);
}

#[test]
fn a_damaged_chunk_is_left_out_when_others_are_made_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
    for seq in 0..5 {
        writer.commit(logs(20), &poll(seq)).expect("committed");
    }
    Connection::open(&path)
        .and_then(|db| {
            db.execute(
                "UPDATE raw_chunk SET data = x'00' WHERE id = (SELECT max(id) FROM raw_chunk)",
                [],
            )
        })
        .expect("damaged");
    writer.seal().expect("sealed");
    let bundle = Bundle::open(&[path]).expect("a bundle");
    let db = bundle.connection();
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM raw_chunk"), 2);
    assert_eq!(one::<i64>(db, "SELECT count(message) FROM log"), 160);
    assert_eq!(bundle.damage().len(), 1);
    assert_eq!(bundle.damage()[0].row_count, 40);
}

#[test]
fn sqlite3_opens_the_file_and_reads_its_documentation() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let sqlite3 = |command: &str| {
        let output = Command::new("sqlite3").arg(&path).arg(command).output().expect("sqlite3");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(sqlite3("PRAGMA integrity_check"), "ok\n");
    assert_eq!(sqlite3("SELECT value FROM raw_setting"), "168.63.129.16\n");
    let schema = sqlite3(".schema");
    for line in schema.lines().filter(|line| line.starts_with("    ") && !line.contains("CHECK")) {
        let is_column =
            line.contains(" INTEGER") || line.contains(" TEXT") || line.contains(" BLOB");
        assert!(!is_column || line.contains("-- "), "no comment: {line}");
    }
}

#[test]
fn what_is_no_bundle_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let text = |error: Error| error.to_string();
    assert!(text(Bundle::open(&[at("nothing")]).expect_err("no path")).contains("nothing"));
    assert!(text(Bundle::open(&[at("")]).expect_err("empty")).contains("hint: a bundle is"));

    fs::write(at("text.db"), "this is no database, but long enough to have a header".repeat(9))
        .expect("written");
    fs::write(at("empty.db"), "").expect("written");
    Connection::open(at("other.db"))
        .and_then(|db| db.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 7"))
        .expect("another application's");
    let newer = write_node(folder.path(), "newer");
    Connection::open(&newer)
        .and_then(|db| db.pragma_update(None, "user_version", 99))
        .expect("a later schema");
    let cut = write_node(folder.path(), "cut");
    let bytes = fs::read(&cut).expect("read");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("cut");
    let crafted = write_node(folder.path(), "crafted");
    Connection::open(&crafted)
        .and_then(|db| {
            db.execute_batch(
                "DROP TABLE raw_setting;
                 CREATE VIEW raw_setting AS WITH RECURSIVE n(i) AS
                     (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;",
            )
        })
        .expect("crafted");
    for table in ["raw_batch", "raw_stream"] {
        let column = if table == "raw_batch" { "message" } else { "attributes" };
        Connection::open(write_node(folder.path(), table))
            .and_then(|db| {
                db.execute(&format!("UPDATE {table} SET {column} = CAST(x'6fff' AS TEXT)"), [])
            })
            .expect("no text");
    }
    write_node(folder.path(), "good");

    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("one is good");
    assert_eq!(rows(bundle.connection(), "SELECT name FROM raw_node").len(), 1);
    let problems: Vec<String> = bundle
        .problems()
        .iter()
        .map(|problem| {
            let name = problem.path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = problem.error.to_string().replace(&folder.path().display().to_string(), "");
            format!("{name}: {text}")
        })
        .collect();
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn a_damaged_chunk_costs_its_own_rows_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    write_node(folder.path(), "b");
    Connection::open(&path)
        .and_then(|db| {
            db.execute(
                "UPDATE raw_chunk SET data = zeroblob(length(data)) WHERE kind = 'container'",
                [],
            )
        })
        .expect("damaged");
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    let db = bundle.connection();
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM log"), 400, "what was written");
    assert_eq!(one::<i64>(db, "SELECT count(ts) FROM log"), 200, "those of b");
    assert_eq!(one::<i64>(db, "SELECT count(*) FROM probe"), 10, "those of both");
    let damage = bundle.damage();
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].node.as_str(), damage[0].row_count), ("a", 200));
    assert_eq!(damage[0].path, path);
    assert_eq!(one::<String>(db, "SELECT collector FROM damage"), "container-logs");
}

#[test]
fn an_unknown_codec_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    Connection::open(&path)
        .and_then(|db| db.execute("UPDATE raw_chunk SET codec = 77 WHERE kind = 'probe'", []))
        .expect("changed");
    let bundle = Bundle::open(&[path]).expect("a bundle");
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM probe"), 0);
    assert!(bundle.damage()[0].reason.contains("codec 77"), "{:?}", bundle.damage());
}

#[test]
fn a_question_can_be_given_up_and_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = Bundle::open(&[write_node(folder.path(), "a")]).expect("a bundle");
    let (watch, sql) = (bundle.watch(), "SELECT count(message || ts) FROM log");
    let ask = || bundle.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
    let expected = ask().expect("an answer");
    let read = watch.read_bytes();
    assert!(expected > 0 && read > 0);
    watch.give_up();
    for sql in [sql, "SELECT count(message) FROM (SELECT * FROM log ORDER BY ts LIMIT 5)"] {
        let error = bundle.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        let code = error.expect_err("given up").sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::OperationInterrupted), "{sql}");
    }
    watch.go_on();
    assert_eq!(ask(), Ok(expected));
    assert!(watch.read_bytes() > read);
}

#[test]
fn opening_makes_no_file_and_no_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let before = fs::read(&path).expect("read");
    let bundle = Bundle::open(std::slice::from_ref(&path)).expect("a bundle");
    assert_eq!(one::<i64>(bundle.connection(), "SELECT count(*) FROM log"), 200);
    drop(bundle);
    assert_eq!(fs::read(&path).expect("read"), before);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

/// What is wrong with the bytes of a chunk comes out when all else is merged.
#[test]
fn a_merge_leaves_out_a_file_whose_chunks_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = write_node(folder.path(), "whole");
    let broken = write_node(folder.path(), "broken");
    // A chunk goes on in many pages; the first of them leads nowhere.
    let db = Connection::open(&broken).expect("a file");
    db.execute_batch("UPDATE raw_chunk SET data = zeroblob(60000)").expect("made long");
    let sql = "SELECT min(pageno) FROM dbstat WHERE name = 'raw_chunk' AND pagetype = 'overflow'";
    let page: u64 = one::<i64>(&db, sql).unsigned_abs();
    drop(db);
    let mut bytes = fs::read(&broken).expect("read");
    let at = (page as usize - 1) * 4096;
    bytes[at..at + 4].fill(0xff);
    fs::write(&broken, bytes).expect("damaged");
    let output = folder.path().join("merged");
    let merged = merge(&[broken.clone(), whole.clone()], &output).expect("merged");
    assert_eq!(merged.files, std::slice::from_ref(&whole));
    assert_eq!(merged.problems.len(), 1);
    let told = merged.problems[0].error.to_string();
    assert!(told.contains("broken.db is damaged: the pages of its table raw_chunk"), "{told}");
    let [expected, found] =
        [whole, output].map(|path| everything(&Bundle::open(&[path]).expect("a bundle")));
    assert_eq!(found, expected);
}

#[test]
fn a_merge_does_not_overwrite() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let error = merge(std::slice::from_ref(&path), &path).expect_err("exists");
    assert!(error.to_string().contains("exists already"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// However samples are parted into batches, and sealed or not, stretches are
    /// what one finds by looking at all samples.
    #[test]
    fn stretches_are_what_all_samples_say(
        patterns in proptest::collection::vec("[oooofs]{1,20}_{0,4}", 1..6),
        again in any::<bool>(),
        sealed in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let mut writer = Writer::create(&path, &node("a"), &session(1)).expect("a new file");
        let mut first = 0;
        for (seq, pattern) in (0..).zip(&patterns) {
            if again {
                writer.commit(probes_from(first, "fso"), &poll(seq)).expect("committed");
            }
            writer.commit(probes_from(first, pattern), &poll(seq)).expect("committed");
            first += pattern.len() as u64;
        }
        if sealed {
            writer.seal().expect("sealed");
        }
        let bundle = Bundle::open(&[path]).expect("a bundle");
        for condition in ["true", "outcome <> 'skipped'", "node = 'a' AND outcome = 'fail'"] {
            let [found, expected] = stretches(bundle.connection(), condition);
            prop_assert_eq!(found, expected);
        }
        let samples: i64 = one(bundle.connection(), "SELECT count(*) FROM probe");
        prop_assert!(samples >= patterns.len() as i64);
    }

    /// Any order, any grouping, any file twice: the same answers.
    #[test]
    fn merging_is_a_union(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        twice in 0_usize..4,
        first in 1_usize..5,
    ) {
        static NODES: LazyLock<(tempfile::TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let mut nodes = ["a", "b"].map(|name| write_node(folder.path(), name)).to_vec();
            nodes.extend(write_growing(folder.path()));
            (folder, nodes)
        });
        let (_, nodes) = &*NODES;
        let folder = tempfile::tempdir().expect("a folder");
        // The last is a copy of the one before from when it was half written.
        let expected = everything(&Bundle::open(&nodes[..3]).expect("a bundle"));
        prop_assert!(expected.len() > 600);

        let mut files: Vec<PathBuf> = order.iter().map(|at| nodes[*at].clone()).collect();
        files.push(nodes[twice].clone());
        let (left, right) = files.split_at(first);
        let part = folder.path().join("part.merged");
        let whole = folder.path().join("whole.merged");
        merge(left, &part).expect("merged");
        let mut rest = right.to_vec();
        rest.push(part.clone());
        let merged = merge(&rest, &whole).expect("merged");
        prop_assert!(merged.problems.is_empty());
        let mut answers = everything(&Bundle::open(std::slice::from_ref(&whole)).expect("a bundle"));
        prop_assert_eq!(&answers, &expected);
        answers = everything(&Bundle::open(&[part, nodes[0].clone(), whole, nodes[2].clone()])
            .expect("a bundle"));
        prop_assert_eq!(&answers, &expected);
    }
}
