//! Findings of the page: a group for each diagnostic that has any.

use serde_json::Value;

use super::super::filter::{end_ns, start_ns};
use super::super::model::{Found, Report};
use super::super::text::to_second;
use super::prose;
use crate::diagnose::parse::Severity;
use crate::output::printable;

use periscope_store::time::format_ns;

/// Findings of one diagnostic that are shown; the rest is counted.
const SHOWN_FINDINGS: usize = 600;

/// Bytes of text that all findings may take; the rest is counted.
const SHOWN_BYTES: usize = 4 << 20;

/// Longest value of evidence, in bytes.
const MAX_VALUE_BYTES: usize = 600;

/// A group with more findings is folded.
const OPEN_FINDINGS: usize = 12;

/// What a query for other log lines of the time looks at before and after it.
const AROUND_NS: i64 = 60 * 1_000_000_000;

/// A finding with names of columns and the like takes so many bytes more.
const OVERHEAD_BYTES: usize = 400;

pub(super) struct Group {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) category: String,
    pub(super) severity: &'static str,
    pub(super) is_open: bool,
    pub(super) total: usize,
    pub(super) findings: Vec<Shown>,
    pub(super) more: String,
    /// HTML, escaped where it was made.
    pub(super) prose: String,
    pub(super) docs: Option<String>,
}

pub(super) struct Shown {
    pub(super) id: String,
    pub(super) severity: &'static str,
    /// Empty if it is about no single node.
    pub(super) node: String,
    pub(super) ts: String,
    pub(super) message: String,
    pub(super) evidence: Vec<(String, String)>,
    /// SQL for what else happened.
    pub(super) query: Option<String>,
}

/// A group for each diagnostic with findings, the worst first, and how many findings
/// there was no room for.
pub(super) fn groups(report: &Report) -> (Vec<Group>, usize) {
    let mut room = SHOWN_BYTES;
    let mut hidden = 0;
    let mut groups = Vec::new();
    for (diagnostic, answer) in &report.diagnostics {
        let total = answer.findings.len();
        let Some(worst) = answer.findings.iter().map(|finding| finding.severity).max() else {
            continue;
        };
        let mut sorted: Vec<_> = answer.findings.iter().collect();
        sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut findings = Vec::new();
        for finding in sorted.into_iter().take(SHOWN_FINDINGS) {
            let shown = shown(&Found { diagnostic, finding });
            let bytes = shown.bytes();
            if bytes > room {
                break;
            }
            room -= bytes;
            findings.push(shown);
        }
        let left_out = total - findings.len();
        hidden += left_out;
        let more = match (left_out, answer.truncated) {
            (0, false) => String::new(),
            (count, false) => format!("and {count} more"),
            (count, true) => format!("and at least {count} more"),
        };
        groups.push(Group {
            id: diagnostic.id.clone(),
            title: printable(&diagnostic.title),
            category: diagnostic.category.clone().unwrap_or_default(),
            severity: word(worst),
            is_open: worst == Severity::Error && total <= OPEN_FINDINGS,
            total,
            findings,
            more,
            prose: prose::html(&diagnostic.prose),
            docs: diagnostic.docs.clone().filter(|docs| prose::is_web(docs)),
        });
    }
    (groups, hidden)
}

impl Shown {
    fn bytes(&self) -> usize {
        let evidence: usize =
            self.evidence.iter().map(|(name, value)| name.len() + value.len() + 30).sum();
        let query = self.query.as_ref().map_or(0, String::len);
        OVERHEAD_BYTES + self.message.len() + 2 * self.node.len() + evidence + query
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn shown(found: &Found<'_>) -> Shown {
    let finding = found.finding;
    let value = |(name, value): &(String, Value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((printable(name), printable(&cut(text))))
    };
    Shown {
        id: found.id(),
        severity: word(finding.severity),
        node: finding.node.as_deref().map(printable).unwrap_or_default(),
        ts: finding.ts.as_deref().map(to_second).unwrap_or_default(),
        message: printable(&finding.message),
        evidence: finding.evidence.iter().filter_map(value).collect(),
        query: query(found),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_VALUE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_VALUE_BYTES));
        text.push('…');
    }
    text
}

/// SQL for the log of a finding's node around its time.
fn query(found: &Found<'_>) -> Option<String> {
    let node = found.finding.node.as_deref()?.replace('\'', "''");
    let from = start_ns(found.finding)?.saturating_sub(AROUND_NS);
    let until = end_ns(found.finding)?.saturating_add(AROUND_NS);
    let (from, until) = (format_ns(from), format_ns(until));
    Some(printable(&format!(
        "SELECT ts, source, message FROM log WHERE node = '{node}' AND ts BETWEEN '{}' AND '{}' \
         ORDER BY ts LIMIT 200",
        to_second(&from),
        to_second(&until)
    )))
}
