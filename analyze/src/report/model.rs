//! What a report says, before anything decides how it looks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::filter::Narrowed;
use super::fingerprint;
use super::history::History;
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{Answer, Finding, State};
use crate::expected::NeverReported;

/// Everything that a report shows.
#[derive(Debug)]
pub(crate) struct Report {
    /// Runs that the bundle holds, oldest first.
    pub(crate) runs: Vec<RunOfBundle>,
    /// When its newest session last wrote, nanoseconds since 1970.
    pub(crate) ended_ns: i64,
    /// Names of nodes.
    pub(crate) nodes: Vec<String>,
    /// Nodes of the cluster of which the bundle has no file.
    pub(crate) never_reported: Vec<NeverReported>,
    /// How each collector went on each node.
    pub(crate) coverage: Vec<Coverage>,
    /// How often each target answered, the worst first.
    pub(crate) connections: Vec<Reached>,
    /// What was asked and answered; what has the worst findings first.
    pub(crate) diagnostics: Vec<(Diagnostic, Answer)>,
    /// Views that several diagnostics read, and how long each took.
    pub(crate) shared: Vec<(&'static str, Duration)>,
    /// Files and chunks that could not be read: one sentence each.
    pub(crate) left_out: Vec<String>,
    /// What somebody narrowed it to; `None` if it is all that the bundle says.
    pub(crate) narrowed: Option<Narrowed>,
    /// What happened when; only formats that draw have it.
    pub(crate) history: Option<History>,
    /// Findings that are as bad as this, or worse, are failures.
    pub(crate) fail_on: Severity,
    /// Whether text may be in colours.
    pub(crate) colored: bool,
}

/// A finding with the diagnostic that made it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    /// Who found it.
    pub(crate) diagnostic: &'a Diagnostic,
    /// What was found.
    pub(crate) finding: &'a Finding,
}

impl Found<'_> {
    /// See [`fingerprint`].
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint::fingerprint(self.finding)
    }

    /// See [`fingerprint::id`].
    pub(crate) fn id(&self) -> String {
        fingerprint::id(self.finding)
    }

    /// Node that it is about, or words for all.
    pub(crate) fn node(&self) -> &str {
        self.finding.node.as_deref().unwrap_or("all nodes")
    }
}

impl Report {
    /// All findings, the worst first.
    pub(crate) fn findings(&self) -> Vec<Found<'_>> {
        let mut all: Vec<_> = self
            .diagnostics
            .iter()
            .flat_map(|(diagnostic, answer)| {
                answer.findings.iter().map(move |finding| Found { diagnostic, finding })
            })
            .collect();
        all.sort_by_key(|found| Reverse(found.finding.severity));
        all
    }

    /// How many findings are of a severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .flat_map(|(_, answer)| &answer.findings)
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// `2 errors, 1 warning, 0 info`.
    pub(crate) fn counts(&self) -> String {
        let count = |severity| self.count(severity) as i64;
        format!(
            "{}, {}, {} info",
            plural(count(Severity::Error), "error"),
            plural(count(Severity::Warning), "warning"),
            count(Severity::Info)
        )
    }

    /// What is not shown because of options: a sentence each.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.narrowed.as_ref().map_or_else(Vec::new, Narrowed::sentences)
    }

    /// On how many nodes each collector came to what, by its name.
    pub(crate) fn collectors(&self) -> Vec<Collected> {
        let mut all: BTreeMap<&str, Collected> = BTreeMap::new();
        for row in &self.coverage {
            let of = all.entry(&row.collector).or_default();
            of.collector.clone_from(&row.collector);
            of.rows = of.rows.saturating_add(row.rows);
            match row.outcome.as_str() {
                "complete" => of.complete += 1,
                "partial" => of.partial += 1,
                "absent" => of.absent += 1,
                "failed" => of.failed += 1,
                _ => of.missing += 1,
            }
        }
        all.into_values().collect()
    }

    /// What was not collected, and why: what is alike on some nodes is one.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let mut all: BTreeMap<(bool, &str, &str, &str), Gap> = BTreeMap::new();
        for row in &self.coverage {
            let Some(reason) = row.reason.as_deref() else { continue };
            let (collector, outcome) = (row.collector.as_str(), row.outcome.as_str());
            // What a node does not have is the least of a reader's worries.
            let key = (outcome == "absent", collector, outcome, reason);
            let gap = all.entry(key).or_insert_with(|| Gap {
                collector: row.collector.clone(),
                outcome: row.outcome.clone(),
                reason: reason.to_owned(),
                nodes: 0,
                node: row.node.clone(),
            });
            gap.nodes += 1;
            if row.node < gap.node {
                gap.node.clone_from(&row.node);
            }
        }
        all.into_values().collect()
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn plural(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Nodes of which a diagnostic knows nothing, by the reason.
pub(crate) fn blind(answer: &Answer) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for node in &answer.nodes {
        if let State::Blind { reason } = &node.state {
            match all.iter_mut().find(|(known, _)| known == reason) {
                Some((_, nodes)) => nodes.push(&node.node),
                None => all.push((reason, vec![&node.node])),
            }
        }
    }
    all
}

/// On how many nodes there is nothing to be found.
pub(crate) fn healthy(answer: &Answer) -> usize {
    answer.nodes.iter().filter(|node| node.state == State::Healthy).count()
}

/// A run that the bundle holds.
#[derive(Debug, Serialize)]
pub(crate) struct RunOfBundle {
    /// Its name.
    pub(crate) run_id: String,
    /// The API server's name, or several; `None` if no agent knew it.
    pub(crate) clusters: Option<String>,
    /// Nodes that it was on.
    pub(crate) nodes: i64,
    /// When its first agent began, RFC 3339.
    pub(crate) from: String,
    /// When its last agent ended, RFC 3339.
    pub(crate) until: String,
}

/// How one collector went on one node.
#[derive(Debug)]
pub(crate) struct Coverage {
    /// The node.
    pub(crate) node: String,
    /// Name of the collector.
    pub(crate) collector: String,
    /// What it came to: complete, partial, absent, failed or missing.
    pub(crate) outcome: String,
    /// Why it is not complete, `None` if it is.
    pub(crate) reason: Option<String>,
    /// Rows that there are.
    pub(crate) rows: i64,
}

/// How one collector went: on how many nodes it came to what.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Collected {
    /// Its name.
    pub(crate) collector: String,
    /// Nodes where everything was read.
    pub(crate) complete: i64,
    /// Nodes where something was not.
    pub(crate) partial: i64,
    /// Nodes that have no such thing.
    pub(crate) absent: i64,
    /// Nodes where nothing could be read.
    pub(crate) failed: i64,
    /// Nodes where nobody tried.
    pub(crate) missing: i64,
    /// Rows of all nodes.
    pub(crate) rows: i64,
}

/// Data that is not there, with the reason; alike on some nodes.
#[derive(Debug, Serialize)]
pub(crate) struct Gap {
    /// Who should have collected it.
    pub(crate) collector: String,
    /// What it came to.
    pub(crate) outcome: String,
    /// Why.
    pub(crate) reason: String,
    /// On how many nodes.
    pub(crate) nodes: i64,
    /// The first of them by name.
    pub(crate) node: String,
}

/// How often a target answered.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    /// Node that asked.
    pub(crate) node: String,
    /// What was asked.
    pub(crate) target: String,
    /// Kind of the target.
    pub(crate) kind: String,
    /// Share of known time in which it answered, 0 to 1.
    pub(crate) availability: Option<f64>,
    /// Share of all time that is known, 0 to 1.
    pub(crate) coverage: Option<f64>,
    /// Samples taken.
    pub(crate) samples: i64,
    /// Outages.
    pub(crate) outages: i64,
    /// Failures too short for an outage.
    pub(crate) blips: i64,
    /// Seconds of which nothing is known.
    pub(crate) unknown_s: f64,
    /// Average time of an answer, in milliseconds.
    pub(crate) avg_ms: Option<f64>,
}
