//! What a search does not read: texts, chunks, and how that is told.

use super::*;

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
