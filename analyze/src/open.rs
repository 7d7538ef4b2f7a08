//! Opens a bundle with the views that analysts ask, and says what is left out.

use std::path::PathBuf;

use anyhow::{Context, Result};
use periscope_store::bundle::Bundle;
use rusqlite::Connection;

use crate::diagnose::views;
use crate::output;
use crate::waiting::Waiting;

/// Opens a bundle; files that cannot be used are named on standard error.
///
/// # Errors
///
/// If a path does not exist, or no file of the bundle can be used.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Bundle> {
    let bundle = open_with(paths, |_| true)?;
    views::create(bundle.connection()).context("creating the views")?;
    Ok(bundle)
}

/// The same with no more views than a question in SQL needs.
///
/// # Errors
///
/// As [`open`].
pub(crate) fn open_for(paths: &[PathBuf], sql: &str) -> Result<Bundle> {
    let named = Named::by(sql);
    let bundle = open_with(paths, |table| named.asks(table))?;
    named.create_views(bundle.connection()).context("creating the views")?;
    Ok(bundle)
}

/// The same with no views and with no rows but those of chunks, for who asks these only.
///
/// # Errors
///
/// As [`open`].
pub(crate) fn open_bare(paths: &[PathBuf]) -> Result<Bundle> {
    open_with(paths, |_| false)
}

fn open_with(paths: &[PathBuf], asks: impl Fn(&str) -> bool) -> Result<Bundle> {
    let waiting = Waiting::start("opening the bundle");
    let bundle = Bundle::open_for(paths, asks)?;
    drop(waiting);
    for problem in bundle.problems() {
        output::warning(&format!("left out: {}", problem.error));
    }
    anyhow::ensure!(!bundle.files().is_empty(), "no file of the bundle can be used");
    Ok(bundle)
}

/// What a question in SQL reaches: the views that it names and those that they read, as
/// making all of them takes longer than many an answer.
struct Named {
    /// The question, and the text of each view.
    texts: Vec<String>,
    views: Vec<(&'static str, &'static str)>,
    /// Whether it asks about the schema, and so reaches everything.
    is_about_schema: bool,
}

impl Named {
    /// Looks for names in a question.
    fn by(sql: &str) -> Self {
        let sql = sql.to_ascii_lowercase();
        let is_about_schema = ["sqlite_", "pragma"].iter().any(|word| sql.contains(word));
        let mut named = Self { texts: vec![sql], views: Vec::new(), is_about_schema };
        // Each view reads only what stands before it.
        for (name, sql) in views::VIEWS.iter().rev() {
            if named.asks(name) {
                named.texts.push(sql.to_ascii_lowercase());
                named.views.push((name, sql));
            }
        }
        named
    }

    fn asks(&self, name: &str) -> bool {
        self.is_about_schema || self.texts.iter().any(|text| text.contains(name))
    }

    fn create_views(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut views = self.views.iter().rev();
        views.try_for_each(|(name, sql)| views::create_one(connection, name, sql))
    }
}

/// Which rows are missing because their chunks are damaged: a sentence each.
pub(crate) fn damage(bundle: &Bundle) -> Vec<String> {
    bundle
        .damage()
        .iter()
        .map(|chunk| {
            format!(
                "{} rows of {} on node {} are missing: chunk {} in {}: {}",
                chunk.row_count,
                chunk.collector,
                chunk.node,
                chunk.chunk_id,
                chunk.path.display(),
                chunk.reason
            )
        })
        .collect()
}

/// Says so on standard error. True if any.
pub(crate) fn warn_of_damage(bundle: &Bundle) -> bool {
    let damage = damage(bundle);
    damage.iter().for_each(|text| output::warning(text));
    !damage.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in which nothing was collected.
    fn file(folder: &std::path::Path) -> PathBuf {
        let path = folder.join("node.db");
        let node =
            periscope_store::writer::Node { name: "node".to_owned(), machine_id: String::new() };
        let session = periscope_store::writer::Session {
            run_id: "run".to_owned(),
            cluster: None,
            agent_version: "0".to_owned(),
            boot_id: "boot".to_owned(),
            started_ns: 0,
            process: 1,
            config: "{}".to_owned(),
        };
        let writer = periscope_store::writer::Writer::create(&path, &node, &session);
        writer.and_then(periscope_store::writer::Writer::seal).expect("a file");
        path
    }

    /// Views of a bundle that was opened for a question.
    fn views_for(sql: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = open_for(&[file(folder.path())], sql).expect("a bundle");
        let mut statement = bundle
            .connection()
            .prepare("SELECT name FROM sqlite_schema ORDER BY rowid")
            .expect("sound SQL");
        let names = statement.query_map([], |row| row.get(0)).expect("asked");
        let names: Vec<String> = names.collect::<rusqlite::Result<_>>().expect("names");
        let is_view = |name: &String| views::VIEWS.iter().any(|(view, _)| view == name);
        names.into_iter().filter(is_view).collect()
    }

    #[test]
    fn a_question_gets_the_views_that_it_reaches() {
        assert!(views_for("SELECT count(*) FROM log").is_empty());
        assert_eq!(
            views_for("SELECT * FROM \"Latest_BATCH\""),
            ["session_collector", "latest_batch"]
        );
        for (name, _) in views::VIEWS {
            let made = views_for(&format!("SELECT * FROM {name}"));
            assert!(made.iter().any(|made| made == name), "{name}");
        }
        assert_eq!(views_for("SELECT name FROM sqlite_schema").len(), views::VIEWS.len());
    }

    #[test]
    fn every_view_can_be_asked_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = file(folder.path());
        for (name, _) in views::VIEWS {
            let sql = format!("SELECT * FROM {name}");
            let bundle = open_for(std::slice::from_ref(&path), &sql).expect("a bundle");
            bundle.connection().prepare(&sql).expect(name);
        }
    }
}
