//! The schema of a file: steps that only ever grow, applied in order.
//!
//! The steps are SQL files in `sql/schema`; `user_version` counts how many a
//! file has had. An agent never changes a file that is there already.

use rusqlite::Connection;

use crate::{Error, Result};

/// Application id in the header of every file: the bytes `PSCP`.
pub const APPLICATION_ID: i32 = 0x5053_4350;

/// Every step, first to last.
pub const STEPS: &[&str] = &[include_str!("../../sql/schema/0001_initial.sql")];

/// Version of a file that has had all steps.
pub const VERSION: i32 = STEPS.len() as i32;

/// Tables whose rows belong to a batch and are copied with it, in every file.
pub(crate) const BATCH_TABLES: &[&str] = &[
    "raw_issue",
    "raw_setting",
    "raw_iptables_chain",
    "raw_iptables_rule",
    "raw_object",
    "raw_certificate",
    "raw_redaction",
];

/// Makes all tables in an empty database and marks it as ours.
///
/// # Errors
///
/// If SQLite refuses a statement, as on a full disk.
pub fn create(connection: &Connection) -> Result<()> {
    let doing = || Error::sqlite("creating the schema");
    for step in STEPS {
        connection.execute_batch(step).map_err(doing())?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(doing())?;
    connection.pragma_update(None, "user_version", VERSION).map_err(doing())?;
    Ok(())
}
