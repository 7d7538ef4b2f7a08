//! What a bundle says of its files.

use super::*;

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
fn two_searches_for_stretches_find_each_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // So many chunks that two searches seem cheaper to SQLite than one scan.
    for name in ["a", "b"] {
        let path = folder.path().join(format!("{name}.db"));
        let mut writer = Writer::create(&path, &node(name), &session(1)).expect("a new file");
        for seq in 0..150 {
            writer.commit(probes_from(seq * 3, "ofo"), &poll(seq)).expect("committed");
        }
    }
    let bundle = Bundle::open(&[folder.path().to_owned()]).expect("a bundle");
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) FROM probe_stretch WHERE {condition}");
        one::<i64>(bundle.connection(), &sql)
    };
    let plan = "EXPLAIN QUERY PLAN SELECT count(*) FROM probe_stretch
                WHERE node = 'a' OR (node = 'b' AND target = 'mcr')";
    let plan: String =
        bundle.connection().query_row(plan, [], |row| row.get("detail")).expect("a plan");
    assert_eq!(plan, "MULTI-INDEX OR");
    let all = count("true");
    assert!(all > 500, "{all}");
    assert_eq!(count("node = 'a' OR (node = 'b' AND target = 'mcr')"), all);
    assert_eq!(count("(node = 'a' AND kind = 'mcr') OR (node = 'a' AND target = 'mcr')"), all / 2);
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
}

#[test]
fn who_asks_for_lines_alone_is_told_that_there_is_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let whole = Bundle::open(std::slice::from_ref(&path)).expect("a bundle");
    let bundle = Bundle::open_for(&[path], |table| table == "raw_issue").expect("a bundle");
    for table in ["log", "probe", "sample", "raw_chunk_run", "raw_issue"] {
        let sql = format!("SELECT * FROM {table} ORDER BY 1, 2, 3");
        assert_eq!(rows(bundle.connection(), &sql), rows(whole.connection(), &sql), "{table}");
    }
    for table in ["raw_batch", "raw_setting", "raw_object"] {
        let asked = bundle.connection().prepare(&format!("SELECT * FROM {table}"));
        let told = asked.map(drop).expect_err(table).to_string();
        assert!(told.contains(&format!("no such table: {table}")), "{told}");
    }
}
