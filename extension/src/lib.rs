//! `libperiscope_sqlite`: bundles in the `sqlite3` program, in Python's module `sqlite3`,
//! and in any other program that loads extensions of SQLite.
//!
//! `SELECT periscope_open('BUNDLE')` makes a table in the schema `temp` for each table and
//! view that the analyzer knows; nothing is written to the database that is open.
//!
//! The library has an SQLite of its own, in which the bundle is open, so that answers do
//! not depend on that of the host, which may be older than what the views need. A table
//! of the host is a window: it hands conditions, order and the columns that are wanted to
//! a statement inside (`plan`), and gives its rows (`table`).

mod api;
mod inner;
mod plan;
mod table;
mod desk;

use std::ffi::{c_char, c_int, c_void};

use rusqlite::ffi;

use api::Api;

/// What SQLite calls when it loads the library.
///
/// # Safety
///
/// Only SQLite may call it, as its manual says of entry points.
#[expect(unsafe_code, reason = "an entry point of a library is no Rust")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_extension_init(
    db: *mut ffi::sqlite3,
    message: *mut *mut c_char,
    functions: *const *const c_void,
) -> c_int {
    // SAFETY: SQLite gives its own table of functions.
    let api = unsafe { Api::new(functions) };
    api::guard(ffi::SQLITE_ERROR, || match desk::install(api, db) {
        // The threads of a search may outlive the connection, and so must their code.
        Ok(()) => ffi::SQLITE_OK_LOAD_PERMANENTLY,
        Err(text) => {
            if !message.is_null() {
                // SAFETY: SQLite says where the text belongs, and frees it.
                unsafe { *message = api.text(&text) };
            }
            ffi::SQLITE_ERROR
        }
    })
}
