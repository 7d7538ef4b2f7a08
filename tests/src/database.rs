//! Files of an agent, as tests look into them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use periscope_store::bundle::Bundle;
use rusqlite::types::FromSql;
use serde_json::Value;

use crate::programs;

/// Files of a folder by name, folders left out; none if there is no such folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
}

/// Those of them that are databases.
#[must_use]
pub fn databases(folder: &Path) -> Vec<PathBuf> {
    let is_database = |path: &PathBuf| path.extension().is_some_and(|end| end == "db");
    files(folder).into_iter().filter(is_database).collect()
}

/// First column of a query over files, which may ask tables and no view.
///
/// # Errors
///
/// If one of them cannot be opened, or the query fails.
pub fn column<T: FromSql>(files: &[PathBuf], sql: &str) -> Result<Vec<T>> {
    let bundle = Bundle::open(files)?;
    let mut statement = bundle.connection().prepare(sql).with_context(|| sql.to_owned())?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect::<Result<_, _>>().with_context(|| sql.to_owned())
}

/// First column of a query that may ask views, which only the analyzer has.
///
/// # Errors
///
/// If the analyzer fails.
pub fn view(files: &[PathBuf], sql: &str) -> Result<Vec<Value>> {
    let mut query = programs::analyze()?;
    query.arg("query").args(files).args([sql, "--format", "json"]);
    let text = programs::stdout_of(&mut query)?;
    let rows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&text)?;
    let first = |row: serde_json::Map<String, Value>| row.into_iter().next();
    Ok(rows.into_iter().filter_map(first).map(|(_, value)| value).collect())
}

/// The same, of texts.
///
/// # Errors
///
/// If the analyzer fails, or there is something else than text.
pub fn texts(files: &[PathBuf], sql: &str) -> Result<Vec<String>> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        other => bail!("{other} is no text: {sql}"),
    };
    view(files, sql)?.into_iter().map(text).collect()
}

/// The same, of one number.
///
/// # Errors
///
/// If the analyzer fails, or answers none.
pub fn number(files: &[PathBuf], sql: &str) -> Result<i64> {
    let first = view(files, sql)?.into_iter().next();
    first.and_then(|value| value.as_i64()).with_context(|| format!("no number: {sql}"))
}

/// Asks SQLite to check a file as a whole.
///
/// # Errors
///
/// If it is damaged.
pub fn check(path: &Path) -> Result<()> {
    check_with(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The same of a file that was written to, with what is beside it: a copy, as SQLite
/// puts back in it what was not finished.
///
/// # Errors
///
/// If it is damaged.
pub fn check_writable(path: &Path) -> Result<()> {
    check_with(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)
}

fn check_with(path: &Path, flags: rusqlite::OpenFlags) -> Result<()> {
    let db = rusqlite::Connection::open_with_flags(path, flags)
        .with_context(|| format!("opening {}", path.display()))?;
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(verdict == "ok", "{}: {verdict}", path.display());
    Ok(())
}
