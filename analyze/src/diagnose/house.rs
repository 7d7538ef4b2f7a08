//! Rules of the house for the files of `sql/views` and `sql/diagnostics`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::limits::Limit;

use super::library::{FILES, built_in};
use super::notation::Bundle;
use super::views::VIEWS;
use super::{fixture, parse};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql").join(name)
}

/// Names of the files in a folder of `sql/`, without their extension.
fn names(name: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder(name)).unwrap();
    files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

fn listed(list: &[(&str, &str)]) -> BTreeSet<String> {
    list.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn lists_and_folders_hold_the_same() {
    assert_eq!(listed(FILES), names("diagnostics"));
    assert_eq!(listed(VIEWS), names("views"));
    assert_eq!(names("cases"), names("diagnostics"));
}

#[test]
fn sql_fits_80_columns() {
    for (name, sql) in VIEWS.iter().chain(FILES) {
        for (index, line) in sql.lines().enumerate() {
            assert!(line.chars().count() <= 80, "{name}.sql:{}: {line}", index + 1);
            assert_eq!(line, line.trim_end(), "{name}.sql:{}", index + 1);
        }
    }
}

/// SQLite counts each view and subquery within another, once for each place that names
/// it, and refuses 1,000: a view more in a few places can multiply them.
#[test]
fn nothing_comes_near_the_depth_that_sqlite_refuses() {
    let connection = fixture::open(&Bundle::default());
    connection.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, 500).unwrap();
    for diagnostic in built_in().unwrap() {
        connection.prepare(&diagnostic.sql).expect(&diagnostic.id);
    }
    for (name, _) in VIEWS {
        connection.prepare(&format!("SELECT * FROM {name}")).expect(name);
    }
}

#[test]
fn every_view_says_what_it_is_and_what_its_columns_are() {
    let connection = fixture::open(&Bundle::default());
    for (name, sql) in VIEWS {
        assert!(sql.starts_with("-- "), "{name} does not say what it is");
        let statement = &sql[sql.find("\nCREATE VIEW ").expect(name) + 1..];
        let head = statement.split_once(") AS\n").expect(name).0;
        let documented: Vec<_> = head
            .lines()
            .skip(1)
            .map(|line| {
                let (column, comment) = line.trim().split_once(" -- ").expect(line);
                assert!(!comment.is_empty(), "{name}: {line}");
                column.trim_end_matches(',').to_owned()
            })
            .collect();
        let statement = connection.prepare(&format!("SELECT * FROM {name}")).expect(name);
        let columns: Vec<&str> = statement.column_names().collect();
        assert_eq!(documented, columns, "{name}");
        let has_none = ["probe_edge", "session_collector"].contains(name);
        for required in ["node", "ts"].iter().filter(|_| !has_none) {
            assert!(documented.iter().any(|column| column == required), "{name} has no {required}");
        }
    }
}

#[test]
fn views_do_not_ask_the_clock() {
    for (name, sql) in VIEWS {
        let body = sql.split_once(") AS\n").unwrap().1;
        let text = format!("-- title: T\n-- severity: info\n{body}");
        parse::parse(name, name, &text).expect(name);
    }
}

#[test]
fn built_in_diagnostics_explain_themselves() {
    for diagnostic in built_in().unwrap() {
        let id = &diagnostic.id;
        assert!(!diagnostic.prose.is_empty(), "{id} has no text");
        assert!(diagnostic.docs.is_some(), "{id} has no docs");
        assert!(diagnostic.category.is_some(), "{id} has no category");
        assert!(!diagnostic.needs.is_empty(), "{id} needs nothing");
        for need in &diagnostic.needs {
            assert!(
                fixture::COLLECTORS.contains(&need.as_str()),
                "{id} needs {need}, which nobody collects"
            );
        }
    }
}
