//! The bundle in the library's own SQLite, and statements over it.
#![expect(
    unsafe_code,
    reason = "a cursor holds a statement of a connection that it holds too, which rusqlite's \
              lifetimes cannot say"
)]

use std::ffi::{CStr, c_int};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::rc::Rc;

use periscope_analyze::embed::Reading;
use periscope_store::bundle::Bundle;
use periscope_store::tell;
use rusqlite::ffi;

use crate::api::{Api, Value};

/// Steps of SQLite's machine between two looks whether somebody wants to stop.
const STEPS: c_int = 10_000;

/// An open bundle.
pub(crate) struct Inner {
    bundle: Bundle,
}

/// A table or view of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its declared type, empty if it has none.
    pub(crate) kind: String,
}

/// What SQLite says, without the words of its binding.
fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

impl Inner {
    /// Opens folders with .db files, or the files. What is asked ends when the host is
    /// told to stop.
    pub(crate) fn open(api: Api, db: *mut ffi::sqlite3, paths: &[PathBuf]) -> Result<Self, String> {
        let told = |error: anyhow::Error| {
            tell(
                error
                    .chain()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            )
        };
        let mut bundle = Reading::open(paths).and_then(Reading::into_bundle).map_err(told)?;
        let host = Host { api, db };
        bundle
            .connection_mut()
            .progress_handler(STEPS, Some(move || host.is_over()))
            .map_err(|error| words(&error))?;
        Ok(Self { bundle })
    }

    /// How many files there are, and which are left out.
    pub(crate) fn summary(&self) -> String {
        let count = self.bundle.files().len();
        let mut text = format!("{count} {}", if count == 1 { "file" } else { "files" });
        for problem in self.bundle.problems() {
            text.push_str("\nleft out: ");
            text.push_str(&problem.error.to_string());
        }
        text
    }

    /// Names of all tables and views.
    pub(crate) fn names(&self) -> Result<Vec<String>, String> {
        let sql = "SELECT name FROM sqlite_schema
                   WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'
                   UNION SELECT name FROM virtual_table";
        let connection = self.bundle.connection();
        let names = connection.prepare(sql).and_then(|mut statement| {
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        });
        names.map_err(|error| words(&error))
    }

    /// Columns of one; none if there is no such.
    pub(crate) fn columns(&self, name: &str) -> Result<Vec<Column>, String> {
        let connection = self.bundle.connection();
        let columns = connection.prepare("SELECT name, type FROM pragma_table_info(?)").and_then(
            |mut statement| {
                let column =
                    |row: &rusqlite::Row<'_>| Ok(Column { name: row.get(0)?, kind: row.get(1)? });
                statement.query_map([name], column)?.collect::<rusqlite::Result<_>>()
            },
        );
        columns.map_err(|error| words(&error))
    }

    /// About how many rows one has: of those that may have many it is known.
    pub(crate) fn rows(&self, name: &str) -> f64 {
        const FEW: f64 = 1_000.0;
        if !["log", "probe", "sample"].contains(&name) {
            return FEW;
        }
        let sql = format!("SELECT count(*) FROM {name}");
        let count = self.bundle.connection().query_row(&sql, [], |row| row.get::<_, i64>(0));
        count.map_or(FEW, |count| count as f64)
    }

    fn handle(&self) -> *mut ffi::sqlite3 {
        // SAFETY: it is used while the bundle is held, and never closed.
        unsafe { self.bundle.connection().handle() }
    }

    fn error(&self, code: c_int) -> Failure {
        // SAFETY: the text is copied before the connection is used again.
        let text = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.handle())) };
        Failure {
            is_over: code & 0xff == ffi::SQLITE_INTERRUPT,
            text: text.to_string_lossy().into_owned(),
        }
    }
}

/// Why a statement could not be answered.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whether somebody wanted to stop.
    pub(crate) is_over: bool,
    /// What SQLite says.
    pub(crate) text: String,
}

/// The host's connection, which asks, as its handler sees it.
struct Host {
    api: Api,
    db: *mut ffi::sqlite3,
}

// SAFETY: the handler runs while the host's connection steps a statement, in its thread.
unsafe impl Send for Host {}

impl Host {
    fn is_over(&self) -> bool {
        // SAFETY: the connection is open, as it asks.
        unsafe { self.api.is_over(self.db) }
    }
}

/// A statement over a bundle, which stays open as long as there is one.
pub(crate) struct Statement {
    raw: *mut ffi::sqlite3_stmt,
    /// What was prepared.
    pub(crate) sql: String,
    inner: Rc<Inner>,
}

impl Statement {
    /// Prepares it.
    pub(crate) fn new(inner: &Rc<Inner>, sql: &str) -> Result<Self, Failure> {
        let mut raw = null_mut();
        let length = c_int::try_from(sql.len()).unwrap_or(0);
        // SAFETY: the text has that length.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                inner.handle(),
                sql.as_ptr().cast(),
                length,
                &raw mut raw,
                null_mut(),
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(inner.error(code));
        }
        Ok(Self { raw, sql: sql.to_owned(), inner: Rc::clone(inner) })
    }

    /// Begins again, with values for its parameters.
    pub(crate) fn begin(&mut self, values: &[Value]) -> Result<(), Failure> {
        // SAFETY: the statement is ours, and SQLite copies what is bound.
        unsafe {
            // What went wrong before was told.
            ffi::sqlite3_reset(self.raw);
            for (at, value) in values.iter().enumerate() {
                let at = at as c_int + 1;
                let copy = ffi::SQLITE_TRANSIENT();
                let code = match value {
                    Value::Null => ffi::sqlite3_bind_null(self.raw, at),
                    Value::Integer(number) => ffi::sqlite3_bind_int64(self.raw, at, *number),
                    Value::Real(number) => ffi::sqlite3_bind_double(self.raw, at, *number),
                    Value::Text(bytes) => ffi::sqlite3_bind_text(
                        self.raw,
                        at,
                        bytes.as_ptr().cast(),
                        length(bytes),
                        copy,
                    ),
                    Value::Blob(bytes) => ffi::sqlite3_bind_blob(
                        self.raw,
                        at,
                        bytes.as_ptr().cast(),
                        length(bytes),
                        copy,
                    ),
                };
                if code != ffi::SQLITE_OK {
                    return Err(self.inner.error(code));
                }
            }
        }
        Ok(())
    }

    /// Goes to the next row, if there is one.
    pub(crate) fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: the statement is ours.
        match unsafe { ffi::sqlite3_step(self.raw) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(self.inner.error(code)),
        }
    }

    /// Gives a value of the row to the host.
    ///
    /// # Safety
    ///
    /// `context` must be one that the host waits for.
    pub(crate) unsafe fn give(&self, api: Api, context: *mut ffi::sqlite3_context, at: c_int) {
        // SAFETY: bytes of a value are there until the next step; the host copies them.
        unsafe {
            let bytes = |from: *const u8| {
                let length = usize::try_from(ffi::sqlite3_column_bytes(self.raw, at)).unwrap_or(0);
                if from.is_null() { &[][..] } else { std::slice::from_raw_parts(from, length) }
            };
            match ffi::sqlite3_column_type(self.raw, at) {
                ffi::SQLITE_INTEGER => {
                    api.result_int64(context, ffi::sqlite3_column_int64(self.raw, at));
                }
                ffi::SQLITE_FLOAT => {
                    api.result_double(context, ffi::sqlite3_column_double(self.raw, at));
                }
                ffi::SQLITE_TEXT => {
                    let from = ffi::sqlite3_column_text(self.raw, at);
                    api.give_bytes(context, bytes(from), true);
                }
                ffi::SQLITE_BLOB => {
                    let from = ffi::sqlite3_column_blob(self.raw, at).cast();
                    api.give_bytes(context, bytes(from), false);
                }
                _ => api.result_null(context),
            }
        }
    }
}

fn length(bytes: &[u8]) -> c_int {
    // The host's values are no longer.
    c_int::try_from(bytes.len()).unwrap_or(0)
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement is ours, and nobody uses it after this.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}
