//! The report as SARIF 2.1.0 (OASIS standard of March 2020), for code scanning.
//!
//! A diagnostic is a rule. A finding is a result of the kind `fail`; nodes of which
//! nothing is known are one of the kind `open`, by section 3.27.9: not enough
//! information to decide. Places are logical: a node is no file.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::model::{Found, Report, blind};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::Answer;
use crate::output::printable;

/// Writes the document, indented, with a line feed at its end.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    writeln!(out)?;
    Ok(())
}

fn document(report: &Report) -> Value {
    let rules: Vec<Value> =
        report.diagnostics.iter().map(|(diagnostic, _)| rule(diagnostic)).collect();
    let results: Vec<Value> = report
        .diagnostics
        .iter()
        .enumerate()
        .flat_map(|(index, (diagnostic, answer))| results(index, diagnostic, answer))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "periscope-analyze",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "invocations": [invocation(report)],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "runs": report.runs,
                "nodes": report.nodes,
                "narrowed": report.narrowed,
            },
        }],
    })
}

fn rule(diagnostic: &Diagnostic) -> Value {
    let mut rule = json!({
        "id": diagnostic.id,
        "shortDescription": { "text": words(&diagnostic.title, &diagnostic.id) },
        "fullDescription": { "text": words(&diagnostic.prose, &diagnostic.title) },
        "help": {
            "text": words(&diagnostic.prose, &diagnostic.title),
            "markdown": words(&diagnostic.prose, &diagnostic.title),
        },
        "defaultConfiguration": { "level": level(diagnostic.severity) },
        "properties": { "tags": diagnostic.category.iter().collect::<Vec<_>>() },
    });
    if let Some(docs) = &diagnostic.docs {
        rule["helpUri"] = json!(docs);
    }
    rule
}

fn results(index: usize, diagnostic: &Diagnostic, answer: &Answer) -> Vec<Value> {
    let failed = answer.findings.iter().map(|finding| {
        let found = Found { diagnostic, finding };
        let evidence: Map<String, Value> = finding.evidence.iter().cloned().collect();
        json!({
            "ruleId": diagnostic.id,
            "ruleIndex": index,
            "kind": "fail",
            "level": level(finding.severity),
            "message": { "text": words(&finding.message, &diagnostic.title) },
            "locations": [place(found.node())],
            "partialFingerprints": { "periscopeFinding/v1": found.fingerprint() },
            "properties": { "id": found.id(), "ts": finding.ts, "evidence": evidence },
        })
    });
    let open = blind(answer).into_iter().map(|(reason, nodes)| {
        json!({
            "ruleId": diagnostic.id,
            "ruleIndex": index,
            "kind": "open",
            "level": "none",
            "message": { "text": words(reason, "not known") },
            "locations": nodes.into_iter().map(place).collect::<Vec<_>>(),
        })
    });
    failed.chain(open).collect()
}

fn place(node: &str) -> Value {
    let name = printable(node);
    json!({ "logicalLocations": [{ "name": name, "fullyQualifiedName": name, "kind": "resource" }] })
}

/// How the asking went, and what the document does not show.
fn invocation(report: &Report) -> Value {
    let failed = report.diagnostics.iter().filter_map(|(diagnostic, answer)| {
        let error = answer.error.as_deref()?;
        Some(json!({
            "level": "error",
            "message": { "text": printable(error) },
            "associatedRule": { "id": diagnostic.id },
        }))
    });
    let cut = report.diagnostics.iter().filter(|(_, answer)| answer.truncated).map(|(one, all)| {
        let text = format!("only the first {} findings were read", all.findings.len());
        json!({
            "level": "warning",
            "message": { "text": text },
            "associatedRule": { "id": one.id },
        })
    });
    let lost = report
        .left_out
        .iter()
        .map(|text| json!({ "level": "error", "message": { "text": printable(text) } }));
    let hidden = report
        .hidden()
        .into_iter()
        .map(|text| json!({ "level": "note", "message": { "text": text } }));
    let is_whole =
        report.left_out.is_empty() && report.diagnostics.iter().all(|(_, one)| one.error.is_none());
    json!({
        "executionSuccessful": is_whole,
        "toolExecutionNotifications": failed.chain(cut).chain(lost).chain(hidden).collect::<Vec<_>>(),
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A text, which SARIF wants not to be empty.
fn words(text: &str, otherwise: &str) -> String {
    printable(if text.trim().is_empty() { otherwise } else { text })
}
