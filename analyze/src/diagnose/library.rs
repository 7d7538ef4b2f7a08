//! The diagnostics that come with the program, one line each.

use super::parse::{Diagnostic, ParseError, parse};

/// Every file of `sql/diagnostics` by its name without `.sql`.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("custom-dns", include_str!("../../../sql/diagnostics/custom-dns.sql")),
    ("outage-windows", include_str!("../../../sql/diagnostics/outage-windows.sql")),
    ("probe-gaps", include_str!("../../../sql/diagnostics/probe-gaps.sql")),
];

/// All built-in diagnostics, in the order of [`FILES`].
///
/// # Errors
///
/// If one breaks the grammar, which a test rules out for a released program.
pub(crate) fn built_in() -> Result<Vec<Diagnostic>, ParseError> {
    FILES.iter().map(|(id, text)| parse(id, &format!("sql/diagnostics/{id}.sql"), text)).collect()
}
