//! Files that are written to, sealed, and crashed while they are.

use super::*;

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
