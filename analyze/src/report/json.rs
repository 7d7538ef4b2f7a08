//! The report as one JSON document for programs; `docs/report.md` describes it.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::filter::Narrowed;
use super::model::{Collected, Found, Gap, Reached, Report, RunOfBundle};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{Answer, Finding, NodeState};
use crate::expected::NeverReported;

/// Name and version of the document's form. The number changes when a reader of
/// the old one would be misled; more keys do not change it.
const SCHEMA: &str = "periscope-report/1";

/// What the report says of the bundle as a whole.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    schema: &'static str,
    periscope: &'static str,
    runs: &'a [RunOfBundle],
    nodes: &'a [String],
    never_reported: &'a [NeverReported],
    collectors: Vec<Collected>,
    gaps: Vec<Gap>,
    connections: &'a [Reached],
    #[serde(skip_serializing_if = "Option::is_none")]
    narrowed: Option<&'a Narrowed>,
    left_out: &'a [String],
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    findings: Vec<FoundRow<'a>>,
    diagnostics: Vec<Asked<'a>>,
}

/// A finding.
#[derive(Serialize)]
pub(super) struct FoundRow<'a> {
    id: String,
    #[serde(flatten)]
    finding: &'a Finding,
    fingerprint: String,
}

/// A diagnostic and what it says of each node.
#[derive(Serialize)]
pub(super) struct Asked<'a> {
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
    Document {
        head: head(report),
        findings: report.findings().into_iter().map(found).collect(),
        diagnostics: report.diagnostics.iter().map(asked).collect(),
    }
}

pub(super) fn head(report: &Report) -> Head<'_> {
    Head {
        schema: SCHEMA,
        periscope: env!("CARGO_PKG_VERSION"),
        runs: &report.runs,
        nodes: &report.nodes,
        never_reported: &report.never_reported,
        collectors: report.collectors(),
        gaps: report.gaps(),
        connections: &report.connections,
        narrowed: report.narrowed.as_ref(),
        left_out: &report.left_out,
    }
}

pub(super) fn found(found: Found<'_>) -> FoundRow<'_> {
    FoundRow { id: found.id(), finding: found.finding, fingerprint: found.fingerprint() }
}

pub(super) fn asked((diagnostic, answer): &(Diagnostic, Answer)) -> Asked<'_> {
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
