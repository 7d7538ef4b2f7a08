//! The report as JSON, one object a line: what `type` says it is, a `report` first,
//! then each `finding`, then each `diagnostic`; `docs/report.md` describes them.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::json::{Asked, FoundRow, Head, asked, found, head};
use super::model::Report;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Report(Head<'a>),
    Finding(FoundRow<'a>),
    Diagnostic(Asked<'a>),
}

/// Writes all lines.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    let mut line = |line: &Line<'_>| -> Result<()> {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
        Ok(())
    };
    line(&Line::Report(head(report)))?;
    for one in report.findings() {
        line(&Line::Finding(found(one)))?;
    }
    report.diagnostics.iter().try_for_each(|one| line(&Line::Diagnostic(asked(one))))
}
