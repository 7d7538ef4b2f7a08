//! Rows of views that diagnostics read, worked out once.
//!
//! SQLite works out a view again for each place that names it, and one diagnostic may
//! have many. What the diagnostics of a report reach is kept as a table behind the
//! view's name. It changes how long answers take and nothing else: a view that cannot be
//! kept, in time or in bounds, stays a view, and whoever reads it meets the same trouble
//! there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::parse::Diagnostic;
use super::run::{STEPS_BETWEEN_CHECKS, read_only};
use super::views::VIEWS;

/// Views that cost more to work out than to keep. Others give up with being kept that
/// constraints reach down into them.
pub(super) const KEPT: &[&str] = &[
    "pod_status",
    "container",
    "node",
    "node_condition",
    "event",
    "event_series",
    "probe_edge",
    "probe_incident",
];

/// Rows of a view that are kept; one with more stays a view.
const MAX_ROWS: i64 = 200_000;

/// Keeps what some diagnostics reach, taking at most `deadline` for each
/// view, and tells which and how long it took.
///
/// # Errors
///
/// If SQLite cannot be told what to heed while it works.
pub(crate) fn keep(
    connection: &mut Connection,
    diagnostics: &[Diagnostic],
    deadline: Duration,
) -> rusqlite::Result<Vec<(&'static str, Duration)>> {
    let mut kept = Vec::new();
    let mut wanted = BTreeSet::new();
    for diagnostic in diagnostics {
        wanted.extend(reached(connection, &diagnostic.sql)?);
    }
    // In the order of their list each view finds kept what it reads.
    let names = VIEWS.iter().map(|(name, _)| *name);
    for name in names.filter(|name| wanted.contains(name)) {
        let began = Instant::now();
        let end = began + deadline;
        connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(move || Instant::now() >= end))?;
        let done = keep_one(connection, name);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        kept.extend(matches!(done, Ok(true)).then(|| (name, began.elapsed())));
    }
    Ok(kept)
}

/// Which of the views that can be kept a statement reaches, through other views too: the
/// authorizer hears of each. Of a statement that SQLite refuses it is none.
fn reached(connection: &mut Connection, sql: &str) -> rusqlite::Result<Vec<&'static str>> {
    let seen = Arc::new(Mutex::new(vec![false; KEPT.len()]));
    let noted = Arc::clone(&seen);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        let table = match context.action {
            AuthAction::Read { table_name, .. } => Some(table_name),
            _ => None,
        };
        for name in [table, context.accessor].into_iter().flatten() {
            if let Some(at) = KEPT.iter().position(|kept| *kept == name) {
                noted.lock().unwrap_or_else(PoisonError::into_inner)[at] = true;
            }
        }
        read_only(context)
    }))?;
    let is_sound = connection.prepare(sql).is_ok();
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(KEPT
        .iter()
        .zip(&*seen)
        .filter(|(_, seen)| is_sound && **seen)
        .map(|(name, _)| *name)
        .collect())
}

/// Puts a table behind a view's name, if it has no more rows than may be.
fn keep_one(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    // What is not committed is taken back, also after the time is over.
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&format!(
        "CREATE TABLE kept_{name} AS SELECT * FROM {name} LIMIT {MAX_ROWS} + 1"
    ))?;
    let sql = format!("SELECT count(*) FROM kept_{name}");
    let count: i64 = transaction.query_row(&sql, [], |row| row.get(0))?;
    if count > MAX_ROWS {
        return Ok(false);
    }
    transaction.execute_batch(&format!(
        "DROP VIEW {name};
         CREATE VIEW {name} AS SELECT * FROM kept_{name}"
    ))?;
    transaction.commit()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{fixture, library, notation};

    fn names(kept: rusqlite::Result<Vec<(&'static str, Duration)>>) -> Vec<&'static str> {
        kept.unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_view_that_takes_too_long_stays_a_view() {
        let mut connection = fixture::open(&notation::Bundle::default());
        connection.progress_handler(1, Some(|| true)).unwrap();
        keep_one(&connection, "pod_status").unwrap_err();
        connection.progress_handler(0, None::<fn() -> bool>).unwrap();
        for (name, _) in VIEWS {
            connection.prepare(&format!("SELECT * FROM {name}")).expect(name);
        }
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'kept%'";
        assert_eq!(connection.query_row(sql, [], |row| row.get(0)), Ok(0));
        assert_eq!(keep_one(&connection, "pod_status"), Ok(true));
    }

    #[test]
    fn what_diagnostics_reach_is_kept_and_nothing_else() {
        let mut connection = fixture::open(&notation::Bundle::default());
        let all = library::built_in().unwrap();
        let of = |id: &str| all.iter().find(|one| one.id == id).unwrap().clone();
        let deadline = Duration::from_secs(10);
        let kept = keep(&mut connection, &[of("custom-dns")], deadline);
        assert_eq!(names(kept), Vec::<&str>::new());
        let kept = keep(&mut connection, &[of("crash-loop"), of("custom-dns")], deadline);
        assert_eq!(names(kept), ["pod_status", "container", "event", "event_series"]);
    }
}
