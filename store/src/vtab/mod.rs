//! The virtual tables `log`, `probe` and `sample`, and those about them.
//!
//! The three read chunks: constraints choose the chunks that can match
//! ([`plan`]), worker threads read those in parallel ([`scan`]), and no column
//! is opened that the query does not name. Pushed down are
//!
//! - in all three, `node =` and `ts` or `ts_ns` compared with a constant;
//! - in `log`, `source`, `namespace`, `pod`, `container`, `unit`, `path`, `level`
//!   and `stream_id =`, and LIKE, GLOB, MATCH and REGEXP on `message`;
//! - in `probe`, `target`, `kind` and `url =`, `outcome = 'fail'` and `ok = 0`;
//! - in `sample`, `family =`.
//!
//! `probe_stretch` is `probe` with samples in a row that ended alike as one row. It
//! reads the heads of chunks only, and knows `node`, `target`, `kind`, `url` and
//! `stream_id =`.
//!
//! NOT LIKE, LIKE with ESCAPE, conditions joined by OR, functions and other
//! collations are not: their answers are right and take a scan.
//!
//! **MATCH is the fast way to search**: it holds for messages that contain a
//! text, ASCII letters of either case. `LIKE '%text%'` and `GLOB '*text*'` are as
//! fast where the text stands in the statement and has no wildcard. Of any other
//! pattern ([`pattern`]) the longest literal is searched, and SQLite checks the
//! rows that hold it; an expression without one takes a scan.
//!
//! Counting needs no line at all: `SELECT count(*) FROM log`, alone or by node
//! and stream, reads no column, and `log_chunk` and `log_stats` ([`summary`])
//! know how many lines there are, of what and when. Such counts are of what was
//! written, damaged or not; `damage` lists what could not be read.
//!
//! SQLite checks every row again but for those four cases, in which the table
//! answers for itself (`omit`). So a plan may be generous in what it lets
//! through, but must not be wrong in what it leaves out.

mod damage;
mod function;
mod list;
mod log;
mod pattern;
mod plan;
mod probe;
mod probe_stretch;
mod raw;
mod stretches;
mod sample;
mod scan;
mod order;
mod summary;
mod table;

use std::ffi::CStr;
use std::sync::Arc;

use rusqlite::Connection;

pub use pattern::compile;

use crate::bundle::Catalogue;

/// Makes the virtual tables known to a connection.
pub(crate) fn register(
    connection: &Connection,
    catalogue: &Arc<Catalogue>,
) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE virtual_table (
             name TEXT NOT NULL, -- name of a table that SQLite's schema does not list
             sql TEXT NOT NULL -- its columns, each with a comment
         ) STRICT",
    )?;
    table::register::<log::Log>(connection, catalogue)?;
    table::register::<probe::Probe>(connection, catalogue)?;
    list::register::<probe_stretch::ProbeStretch>(connection, catalogue)?;
    table::register::<sample::Sample>(connection, catalogue)?;
    list::register::<summary::LogChunk>(connection, catalogue)?;
    list::register::<summary::LogStats>(connection, catalogue)?;
    list::register::<raw::RawChunk>(connection, catalogue)?;
    list::register::<raw::RawChunkRun>(connection, catalogue)?;
    list::register::<damage::Damages>(connection, catalogue)?;
    function::register(connection)
}

/// Puts a table into `virtual_table`, where `sqlite_schema` has no row for it.
fn document(connection: &Connection, name: &CStr, schema: &CStr) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO virtual_table VALUES (?, ?)",
        (name.to_string_lossy(), schema.to_string_lossy()),
    )?;
    Ok(())
}
