//! The report as one JSON document for programs; `docs/report.md` describes it.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::model::{Collected, Gap, Reached, Report, RunOfBundle};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{Answer, Finding, NodeState};

/// Name and version of the document's form. The number changes when a reader of
/// the old one would be misled; more keys do not change it.
const SCHEMA: &str = "periscope-report/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    periscope: &'static str,
    runs: &'a [RunOfBundle],
    nodes: &'a [String],
    collectors: &'a [Collected],
    gaps: &'a [Gap],
    connections: &'a [Reached],
    findings: Vec<Found<'a>>,
    diagnostics: Vec<Asked<'a>>,
    left_out: &'a [String],
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    fingerprint: String,
}

#[derive(Serialize)]
struct Asked<'a> {
    id: &'a str,
    title: &'a str,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    needs: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<&'a str>,
    explanation: &'a str,
    findings: usize,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    nodes: &'a [NodeState],
}

/// Writes the document, indented, with a line feed at its end.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    writeln!(out)?;
    Ok(())
}

/// The document as a value.
pub(crate) fn value(report: &Report) -> Result<Value> {
    Ok(serde_json::to_value(document(report))?)
}

fn document(report: &Report) -> Document<'_> {
    let mut findings: Vec<_> = report
        .diagnostics
        .iter()
        .flat_map(|(_, answer)| &answer.findings)
        .map(|finding| Found { finding, fingerprint: fingerprint(finding) })
        .collect();
    findings.sort_by_key(|found| std::cmp::Reverse(found.finding.severity));
    Document {
        schema: SCHEMA,
        periscope: env!("CARGO_PKG_VERSION"),
        runs: &report.runs,
        nodes: &report.nodes,
        collectors: &report.collectors,
        gaps: &report.gaps,
        connections: &report.connections,
        findings,
        diagnostics: report.diagnostics.iter().map(asked).collect(),
        left_out: &report.left_out,
    }
}

fn asked((diagnostic, answer): &(Diagnostic, Answer)) -> Asked<'_> {
    Asked {
        id: &diagnostic.id,
        title: &diagnostic.title,
        severity: diagnostic.severity,
        category: diagnostic.category.as_deref(),
        needs: &diagnostic.needs,
        docs: diagnostic.docs.as_deref(),
        explanation: &diagnostic.prose,
        findings: answer.findings.len(),
        truncated: answer.truncated,
        error: answer.error.as_deref(),
        nodes: &answer.nodes,
    }
}

/// Tells a finding from all others: the same for the same data, whatever else the
/// bundle holds and however its sentence is worded. Half of a SHA-256, in
/// hexadecimal.
fn fingerprint(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(&finding.diagnostic);
    add(finding.node.as_deref().unwrap_or_default());
    add(finding.ts.as_deref().unwrap_or_default());
    for (name, value) in &finding.evidence {
        add(name);
        add(&value.to_string());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    format!("{:032x}", u128::from_be_bytes(std::array::from_fn(|at| bytes[at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(target: &str, message: &str) -> Finding {
        Finding {
            diagnostic: "outage-windows".to_owned(),
            severity: Severity::Error,
            node: Some("node".to_owned()),
            ts: None,
            message: message.to_owned(),
            evidence: vec![("target".to_owned(), Value::from(target))],
        }
    }

    #[test]
    fn a_fingerprint_tells_findings_apart_but_not_their_wording() {
        let one = fingerprint(&finding("a", "it was down"));
        assert_eq!(one, fingerprint(&finding("a", "was down")));
        assert_ne!(one, fingerprint(&finding("b", "it was down")));
        assert_eq!(one.len(), 32);
    }
}
