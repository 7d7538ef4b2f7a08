//! The page reader and SQLite read the same rows.

use std::fs::OpenOptions;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::*;
use crate::schema;

/// A value that two readers can be compared by.
fn value(value: ValueRef<'_>) -> Value {
    Value::try_from(value).expect("texts are UTF-8")
}

/// Rows of many sizes, in tables with keys of all sorts, on pages of some size; some
/// rows are removed again, so that chains of pages go back and forth.
fn write(path: &Path, page_size: u32) -> Connection {
    let db = Connection::open(path).expect("a new file");
    db.pragma_update(None, "page_size", page_size).expect("set");
    schema::create(&db).expect("created");
    let bytes =
        |length: usize| -> Vec<u8> { (0..length).map(|at| (at * 7 + at / 251) as u8).collect() };
    for number in 0..200_i64 {
        let length = (number * number * 7 % 90_000) as usize;
        db.execute(
            "INSERT INTO raw_chunk VALUES (?, 'file', 1, ?, ?, ?)",
            params![
                number * 0x1234_5678_9abc - (1 << 40),
                number,
                i64::MIN + number,
                bytes(length)
            ],
        )
        .expect("inserted");
        db.execute(
            "INSERT INTO raw_chunk_filter VALUES (?, ?)",
            params![number, bytes(length / 10)],
        )
        .expect("inserted");
        db.execute(
            "INSERT INTO raw_issue VALUES (?, ?, ?, 'dropped', ?, NULL, ?)",
            params![
                number % 7,
                number,
                "ä".repeat(length / 30),
                number - 100,
                "x".repeat(length % 3000)
            ],
        )
        .expect("inserted");
        db.execute(
            "INSERT INTO raw_object VALUES (?, ?, 'v1', 'Pod', NULL, 'name', NULL, ?)",
            params![number, -number, "{}".repeat(length / 2)],
        )
        .expect("inserted");
        if number % 5 == 4 {
            db.execute("DELETE FROM raw_chunk WHERE row_count = ?", [number - 3]).expect("removed");
        }
    }
    db
}

fn open(path: &Path) -> Pages {
    let (file, header) = super::super::check_header(path).expect("a file of ours");
    Pages::open(file, &header).expect("sound").expect("of a known kind")
}

#[test]
fn rows_are_those_that_sqlite_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    for page_size in [512, 4_096, 16_384, 65_536] {
        let path = folder.path().join(format!("{page_size}.db"));
        let db = write(&path, page_size);
        let pages = open(&path);
        for table in ["raw_chunk", "raw_chunk_filter", "raw_issue", "raw_object", "raw_node"] {
            let mut expected = Vec::new();
            super::super::for_each(&db, &format!("SELECT * FROM {table}"), &mut |row| {
                expected.push(row.iter().map(|column| value(*column)).collect::<Vec<_>>());
                Ok(())
            })
            .expect("read by SQLite");
            let mut found = Vec::new();
            pages
                .for_each(table, None, &mut |row| {
                    found.push(row.iter().map(|column| value(*column)).collect::<Vec<_>>());
                    Ok(())
                })
                .expect("read by page");
            assert!(found == expected, "{table} on pages of {page_size}");
            let is_long = ["raw_chunk", "raw_chunk_filter"].contains(&table);
            for row in expected.iter().filter(|_| is_long) {
                let [Value::Integer(key), .., Value::Blob(data)] = &row[..] else {
                    panic!("a key first and bytes last")
                };
                let bytes = pages.bytes(table, *key, row.len() - 1).expect("read by key");
                assert!(bytes.as_ref() == Some(data), "{key} of {table} on pages of {page_size}");
                assert_eq!(pages.bytes(table, i64::MAX, row.len() - 1), Ok(None));
            }
        }
    }
}

#[test]
fn a_broken_chain_of_pages_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.db");
    let db = write(&path, 4_096);
    let (id, length): (i64, i64) = db
        .query_row("SELECT id, length(data) FROM raw_chunk ORDER BY length(data) DESC", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("a long one");
    let pages = open(&path);
    assert_eq!(
        pages.bytes("raw_chunk", id, 5).expect("sound").map(|data| data.len() as i64),
        Some(length)
    );
    assert!(pages.bytes("raw_chunk", id, 4).is_err(), "no bytes, and not the last column");
    assert!(pages.bytes("raw_issue", id, 5).is_err(), "a table without such a key");
    // Every page says that it goes on in one that is not there.
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    for page in 0..u64::from(pages.page_count) {
        let head = pages.read(page as u32 + 1).map_err(|_| ()).expect("read")[0];
        if page > 0 && ![2, 5, 10, 13].contains(&head) {
            file.write_all_at(&[0xff; 4], page * 4_096).expect("damaged");
        }
    }
    let told = pages.bytes("raw_chunk", id, 5).expect_err("no such page");
    assert_eq!(told, "the pages of its table raw_chunk are wrong");
}
