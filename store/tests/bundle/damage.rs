//! What is damaged, unknown or no bundle at all.

use super::*;

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
