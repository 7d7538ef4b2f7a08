//! For programs that read node files themselves, as the agent does with a file
//! that it has just sealed. Nothing here prints: what could not be read is in the
//! result.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use periscope_store::bundle::Bundle;
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

use crate::cli::ReportFormat;
use crate::diagnose::library;
use crate::diagnose::run::{self, Limits};
use crate::diagnose::views;
use crate::report;

/// Rows that [`Reading::rows`] gives at most.
const MAX_ROWS: usize = 100_000;

/// A bundle that is open, with all views.
#[derive(Debug)]
pub struct Reading {
    bundle: Bundle,
}

/// What a bundle says, for people and for programs.
#[derive(Clone, Debug)]
pub struct Digest {
    /// What `periscope-analyze report` prints.
    pub text: String,
    /// What `periscope-analyze report --format json` prints.
    pub json: Value,
}

impl Reading {
    /// Opens folders with .db files, or the files.
    ///
    /// # Errors
    ///
    /// If a path does not exist, or no file of the bundle can be used.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let bundle = Bundle::open(paths)?;
        if let (true, Some(problem)) = (bundle.files().is_empty(), bundle.problems().first()) {
            anyhow::bail!("no file of the bundle can be used: {}", problem.error);
        }
        ensure!(!bundle.files().is_empty(), "no file of the bundle can be used");
        views::create(bundle.connection()).context("creating the views")?;
        Ok(Self { bundle })
    }

    /// The bundle itself, for who asks it in SQL: the connection lets them read and nothing
    /// else.
    ///
    /// # Errors
    ///
    /// If the connection is in use.
    pub fn into_bundle(mut self) -> Result<Bundle> {
        self.bundle.connection_mut().authorizer(Some(crate::query::read_only))?;
        Ok(self.bundle)
    }

    /// Asks all built-in diagnostics, each for at most `deadline`.
    ///
    /// # Errors
    ///
    /// If what was collected cannot be read. A diagnostic that fails says so in
    /// the digest.
    pub fn digest(&mut self, deadline: Duration) -> Result<Digest> {
        let limits = Limits { deadline, ..Limits::default() };
        let report = report::gather(&mut self.bundle, library::built_in()?, limits)?;
        let mut text = Vec::new();
        report::write(&report, ReportFormat::Table, &mut text)?;
        let json = report::value(&report)?;
        Ok(Digest { text: String::from_utf8_lossy(&text).into_owned(), json })
    }

    /// Asks one question in SQL, which can read and nothing else; each row by the
    /// names of its columns. A BLOB is told by its size.
    ///
    /// # Errors
    ///
    /// If the SQL is wrong or would change something, or if there are more than
    /// 100,000 rows.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Map<String, Value>>> {
        let connection = self.bundle.connection_mut();
        connection.authorizer(Some(run::read_only))?;
        let rows = rows(connection, sql);
        connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
        rows
    }
}

fn rows(connection: &rusqlite::Connection, sql: &str) -> Result<Vec<Map<String, Value>>> {
    let mut statement = connection.prepare(sql).context("preparing the SQL")?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut rows = statement.query([]).context("asking")?;
    while let Some(row) = rows.next().context("asking")? {
        ensure!(found.len() < MAX_ROWS, "more than {MAX_ROWS} rows\nhint: add a LIMIT");
        let mut cells = Map::new();
        for (at, name) in names.iter().enumerate() {
            cells.insert(name.clone(), value(row.get_ref(at)?));
        }
        found.push(cells);
    }
    Ok(found)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => format!("blob of {} bytes", bytes.len()).into(),
    }
}

#[cfg(test)]
mod tests {
    use periscope_store::writer::{Node, Session, Writer};

    use super::*;

    #[test]
    fn a_file_is_read_without_a_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.db");
        let node = Node { name: "node".to_owned(), machine_id: String::new() };
        let session = Session {
            run_id: "run".to_owned(),
            cluster: None,
            agent_version: "0".to_owned(),
            boot_id: "boot".to_owned(),
            started_ns: 0,
            process: 1,
            config: "{}".to_owned(),
        };
        Writer::create(&path, &node, &session).expect("made").seal().expect("sealed");
        let mut reading = Reading::open(&[path]).expect("opened");
        let digest = reading.digest(Duration::from_secs(10)).expect("digested");
        assert!(digest.text.contains("FINDINGS"), "{}", digest.text);
        assert_eq!(digest.json["schema"], "periscope-report/1");
        assert_eq!(digest.json["findings"], Value::Array(Vec::new()));
        let rows = reading.rows("SELECT node, 1 + 1 AS two FROM node").expect("rows");
        assert_eq!(Value::from(rows), serde_json::json!([{"node": "node", "two": 2}]));
        let refused = reading.rows("DELETE FROM raw_node").expect_err("refused");
        assert!(format!("{refused:#}").contains("not authorized"), "{refused:#}");
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        std::fs::write(&path, "no database").expect("written");
        assert!(Reading::open(&[path]).is_err());
    }
}
