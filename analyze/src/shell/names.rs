//! What can be asked: tables, views, their columns, and functions.

use anyhow::{Context, Result, ensure};
use globset::GlobBuilder;
use rusqlite::Connection;

use crate::diagnose::views;

/// A table or a view.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// Its name.
    pub(super) name: String,
    /// The statement that makes it, with its comments.
    pub(super) sql: String,
    /// Names of its columns, if they were asked for.
    pub(super) columns: Vec<String>,
}

/// All names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Tables and views by name; those that are as files have them come last.
    pub(super) objects: Vec<Object>,
    /// Functions.
    pub(super) functions: Vec<String>,
}

impl Names {
    /// Reads them; columns only if they are wanted, as SQLite has to work out every view
    /// for them.
    ///
    /// # Errors
    ///
    /// If SQLite cannot tell.
    pub(super) fn read(connection: &Connection, with_columns: bool) -> rusqlite::Result<Self> {
        let view = |name: &str| views::VIEWS.iter().find(|(view, _)| *view == name);
        let mut objects = connection
            .prepare(
                "SELECT name, sql FROM (
                     SELECT name, sql FROM sqlite_schema
                     WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'
                     UNION ALL
                     SELECT name, sql FROM virtual_table
                 )
                 ORDER BY name GLOB 'raw_*', name",
            )?
            .query_map([], |row| {
                let (name, sql): (String, String) = (row.get(0)?, row.get(1)?);
                let sql = view(&name).map_or(sql, |(_, text)| (*text).to_owned());
                Ok(Object { name, sql, columns: Vec::new() })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if with_columns {
            let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
            for object in &mut objects {
                let names = statement.query_map([&object.name], |row| row.get(0))?;
                object.columns = names.collect::<rusqlite::Result<_>>()?;
            }
        }
        let functions = connection
            .prepare("SELECT DISTINCT name FROM pragma_function_list WHERE name GLOB '[a-z]*'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { objects, functions })
    }

    /// Tables and views that a pattern names; `*` and `%` stand for any letters.
    ///
    /// # Errors
    ///
    /// If it is no pattern, or names none.
    pub(super) fn like(&self, pattern: &str) -> Result<Vec<&Object>> {
        let glob = GlobBuilder::new(&pattern.replace('%', "*"))
            .case_insensitive(true)
            .build()
            .with_context(|| format!("{pattern:?} is no pattern"))?
            .compile_matcher();
        let found: Vec<_> =
            self.objects.iter().filter(|object| glob.is_match(&object.name)).collect();
        ensure!(!found.is_empty(), "there is no table {pattern}\nhint: .tables lists all");
        Ok(found)
    }
}
