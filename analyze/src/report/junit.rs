//! The report as `JUnit` XML, for the test pages of CI.
//!
//! A diagnostic is a suite, a node is a case of it, and the cluster one more if there
//! are findings about no single node. A finding below `--fail-on` is output of a case
//! that passed; a node of which nothing is known is skipped, with the reason.

use std::io::Write;

use anyhow::Result;
use askama::Template;

use super::model::{Found, Report};
use super::text::evidence;
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{Answer, Finding, State};
use crate::output::printable;

#[derive(Template)]
#[template(path = "junit.xml")]
struct Page {
    notes: Vec<String>,
    suites: Vec<Suite>,
}

struct Suite {
    name: String,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    end: End,
}

/// How a case ended.
enum End {
    Passed,
    Told { text: String },
    Failed { kind: String, message: String, text: String },
    Skipped { message: String },
    Error { message: String },
}

impl Suite {
    fn count(&self, is: fn(&End) -> bool) -> usize {
        self.cases.iter().filter(|case| is(&case.end)).count()
    }

    fn tests(&self) -> usize {
        self.cases.len()
    }

    fn failures(&self) -> usize {
        self.count(|end| matches!(end, End::Failed { .. }))
    }

    fn skipped(&self) -> usize {
        self.count(|end| matches!(end, End::Skipped { .. }))
    }

    fn errors(&self) -> usize {
        self.count(|end| matches!(end, End::Error { .. }))
    }
}

impl Page {
    fn sum(&self, count: fn(&Suite) -> usize) -> usize {
        self.suites.iter().map(count).sum()
    }
}

/// Writes the document.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    let suite =
        |(diagnostic, answer): &(Diagnostic, Answer)| suite(diagnostic, answer, report.fail_on);
    let notes = report.left_out.iter().cloned().chain(report.hidden());
    let page = Page {
        notes: notes.map(|text| xml(&text)).collect(),
        suites: report.diagnostics.iter().map(suite).collect(),
    };
    page.write_into(out)?;
    Ok(())
}

fn suite(diagnostic: &Diagnostic, answer: &Answer, fail_on: Severity) -> Suite {
    let of = |node: Option<&str>| -> Vec<&Finding> {
        answer.findings.iter().filter(|finding| finding.node.as_deref() == node).collect()
    };
    let mut cases: Vec<Case> = answer
        .nodes
        .iter()
        .map(|node| Case {
            name: xml(&node.node),
            end: match &node.state {
                State::Blind { reason } => End::Skipped { message: xml(reason) },
                State::Error { message } => End::Error { message: xml(message) },
                State::Healthy | State::Finding { .. } => {
                    end(diagnostic, &of(Some(&node.node)), fail_on)
                }
            },
        })
        .collect();
    // Findings about the cluster, or about a node that no agent ran on.
    let is_known = |name: &str| answer.nodes.iter().any(|node| node.node == name);
    let others: Vec<&Finding> = answer
        .findings
        .iter()
        .filter(|finding| !finding.node.as_deref().is_some_and(is_known))
        .collect();
    if !others.is_empty() {
        cases.push(Case { name: "cluster".to_owned(), end: end(diagnostic, &others, fail_on) });
    }
    Suite { name: xml(&diagnostic.id), cases }
}

fn end(diagnostic: &Diagnostic, findings: &[&Finding], fail_on: Severity) -> End {
    let lines: Vec<String> = findings.iter().map(|finding| told(diagnostic, finding)).collect();
    let text = lines.join("\n");
    let worst = findings.iter().max_by_key(|finding| finding.severity);
    match worst {
        None => End::Passed,
        Some(worst) if worst.severity < fail_on => End::Told { text },
        Some(worst) => {
            let more = match findings.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            End::Failed {
                kind: worst.severity.to_string(),
                message: xml(&format!("{}{more}", worst.message)),
                text,
            }
        }
    }
}

fn told(diagnostic: &Diagnostic, finding: &Finding) -> String {
    let found = Found { diagnostic, finding };
    let head = format!("{} on {}: {}", finding.severity, found.node(), finding.message);
    xml(&format!("{head}\n    {}  id={}", evidence(finding).join("  "), found.id()))
}

/// A text of characters that XML 1.0 can hold.
fn xml(text: &str) -> String {
    printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
