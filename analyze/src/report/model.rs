//! What a report says, before anything decides how it looks.

use serde::Serialize;

use crate::diagnose::parse::Diagnostic;
use crate::diagnose::run::Answer;

/// Everything that a report shows.
#[derive(Debug)]
pub(crate) struct Report {
    /// Runs that the bundle holds, oldest first.
    pub(crate) runs: Vec<RunOfBundle>,
    /// Names of nodes.
    pub(crate) nodes: Vec<String>,
    /// How each collector went.
    pub(crate) collectors: Vec<Collected>,
    /// What was not collected, and why.
    pub(crate) gaps: Vec<Gap>,
    /// How often each target answered, the worst first.
    pub(crate) connections: Vec<Reached>,
    /// What was asked and answered; what has the worst findings first.
    pub(crate) diagnostics: Vec<(Diagnostic, Answer)>,
    /// Files and chunks that could not be read: one sentence each.
    pub(crate) left_out: Vec<String>,
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

/// How one collector went: on how many nodes it came to what.
#[derive(Debug, Serialize)]
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
