//! The functions behind the operators MATCH and REGEXP, for where a table does
//! not answer them itself: other tables, and conditions joined by OR.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Result};

use super::pattern::{self, text_of};
use crate::codec::Needle;

/// Makes the functions known to a connection.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function(c"match", 2, flags, |context| {
        compare(context, |pattern| Ok(Needle::new(pattern, true)), Needle::is_in)
    })?;
    connection.create_scalar_function(c"regexp", 2, flags, |context| {
        compare(context, pattern::compile, regex::bytes::Regex::is_match)
    })
}

/// Answer of `function(pattern, text)`: NULL if either is. SQLite keeps what is
/// made of a pattern as long as the pattern stays the same.
fn compare<P: Send + Sync + 'static>(
    context: &Context<'_>,
    make: impl FnOnce(&[u8]) -> std::result::Result<P, String>,
    is_in: impl FnOnce(&P, &[u8]) -> bool,
) -> Result<Option<bool>> {
    let Some(text) = text_of(context.get_raw(1)) else { return Ok(None) };
    if text_of(context.get_raw(0)).is_none() {
        return Ok(None);
    }
    let pattern =
        context.get_or_create_aux(0, |value| make(&text_of(value).unwrap_or_default()))?;
    Ok(Some(is_in(&pattern, &text)))
}
