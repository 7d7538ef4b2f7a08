//! `diagnostics list|show`: what can be found, and what it means.

use std::io::{self, Write};

use anyhow::{Context, Result};

use super::library;
use crate::cli::{DiagnosticsAction, DiagnosticsArguments};
use crate::output::{Outcome, table};

/// Lists the diagnostics or explains one.
///
/// # Errors
///
/// If there is none of that name.
pub(crate) fn run(arguments: &DiagnosticsArguments) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    match &arguments.action {
        DiagnosticsAction::List => {
            let mut rows = table(["id", "severity", "needs", "title"]);
            for diagnostic in library::built_in()? {
                let severity = diagnostic.severity.to_string();
                let needs = diagnostic.needs.join(", ");
                rows.add_row([diagnostic.id, severity, needs, diagnostic.title]);
            }
            writeln!(out, "{rows}")?;
        }
        DiagnosticsAction::Show { id } => {
            let (_, text) =
                library::FILES.iter().find(|(known, _)| known == id).with_context(|| {
                    format!(
                        "there is no diagnostic {id}\n\
                         hint: periscope-analyze diagnostics list shows all"
                    )
                })?;
            write!(out, "{text}")?;
        }
    }
    Ok(Outcome::NothingFound)
}
