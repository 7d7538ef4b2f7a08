//! Findings as comma-separated values (RFC 4180), for spreadsheets.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value};

use super::model::Report;
use crate::output;

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA_SIGNS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Writes a row for each finding. What is hidden has no place in it, so it is told on
/// standard error.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let header = ["id", "severity", "diagnostic", "title", "node", "ts", "message"];
    csv.write_record(header.into_iter().chain(["evidence", "fingerprint"]))?;
    for found in report.findings() {
        let evidence: Map<String, Value> = found.finding.evidence.iter().cloned().collect();
        csv.write_record([
            found.id(),
            found.finding.severity.to_string(),
            found.finding.diagnostic.clone(),
            found.diagnostic.title.clone(),
            found.finding.node.as_deref().map(text).unwrap_or_default(),
            found.finding.ts.as_deref().map(text).unwrap_or_default(),
            text(&found.finding.message),
            Value::Object(evidence).to_string(),
            found.fingerprint(),
        ])?;
    }
    csv.flush()?;
    report.hidden().iter().for_each(|text| output::note(text));
    Ok(())
}

/// A text that no spreadsheet computes: one that looks like a formula has a quotation
/// mark before it, as OWASP advises.
fn text(text: &str) -> String {
    let text = output::printable(text);
    if text.starts_with(FORMULA_SIGNS) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        assert_eq!(text("=HYPERLINK(\"x\")"), "'=HYPERLINK(\"x\")");
        assert_eq!(text("mcr = 1"), "mcr = 1");
    }
}
