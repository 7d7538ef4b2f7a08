//! Narrows a report to what somebody asked to see, and says what that hid.

use anyhow::{Context, Result, bail};
use globset::{Glob, GlobSet, GlobSetBuilder};
use periscope_store::time::{format_ns, parse_rfc3339};
use serde::Serialize;

use super::model::{Report, plural};
use super::when::When;
use crate::cli::ReportArguments;
use crate::diagnose::parse::Severity;
use crate::diagnose::run::Finding;

/// Evidence that says until when a finding lasted, the best first.
const ENDS: [&str; 3] = ["ended_by", "until", "ended_after"];

/// Nodes that an error names.
const NAMED_NODES: usize = 10;

/// What a report is narrowed to.
#[derive(Debug)]
pub(super) struct Filter {
    severity: Option<Severity>,
    patterns: Vec<String>,
    nodes: GlobSet,
    since: Option<When>,
    until: Option<When>,
}

/// What a report was narrowed to, and what that hid.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Narrowed {
    /// Least severity that is shown.
    pub(crate) severity: Option<Severity>,
    /// Patterns of names of nodes; none: all nodes are shown.
    pub(crate) nodes: Vec<String>,
    /// Time that findings lasted beyond, RFC 3339.
    pub(crate) since: Option<String>,
    /// Time that findings began by, RFC 3339.
    pub(crate) until: Option<String>,
    /// Nodes that are not shown.
    pub(crate) hidden_nodes: usize,
    /// What each option hid.
    pub(crate) hidden: Vec<Hidden>,
    /// The same times for charts.
    #[serde(skip)]
    pub(crate) window_ns: (Option<i64>, Option<i64>),
}

/// Findings that one option hid; one that two would hide counts for the first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hidden {
    /// The option.
    pub(crate) option: &'static str,
    /// How many.
    pub(crate) findings: usize,
}

impl Narrowed {
    /// What is not shown: a sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .hidden
            .iter()
            .filter(|hidden| hidden.findings > 0)
            .map(|hidden| {
                let value = match hidden.option {
                    "--severity" => self.severity.map(|severity| severity.to_string()),
                    "--since" => self.since.clone(),
                    "--until" => self.until.clone(),
                    _ => Some(self.nodes.join(",")),
                };
                let findings = plural(hidden.findings as i64, "finding");
                format!("{findings} hidden by {} {}", hidden.option, value.unwrap_or_default())
            })
            .collect();
        if self.hidden_nodes > 0 {
            let nodes = plural(self.hidden_nodes as i64, "node");
            all.push(format!("{nodes} hidden by --node {}", self.nodes.join(",")));
        }
        all
    }
}

impl Filter {
    /// What the command line asks for; `None` if that is all there is.
    ///
    /// # Errors
    ///
    /// If a pattern of names of nodes is none.
    pub(super) fn new(arguments: &ReportArguments) -> Result<Option<Self>> {
        let ReportArguments { severity, node, since, until, .. } = arguments;
        if severity.is_none() && node.is_empty() && since.is_none() && until.is_none() {
            return Ok(None);
        }
        let mut nodes = GlobSetBuilder::new();
        for pattern in node {
            let glob = Glob::new(pattern);
            nodes.add(glob.with_context(|| format!("{pattern:?} is no pattern of nodes"))?);
        }
        Ok(Some(Self {
            severity: *severity,
            patterns: node.clone(),
            nodes: nodes.build().context("reading --node")?,
            since: since.clone(),
            until: until.clone(),
        }))
    }

    /// Takes away what is not asked for. Findings about no single node, and those
    /// without a time, stay.
    ///
    /// # Errors
    ///
    /// If no node of the bundle has such a name.
    pub(super) fn apply(&self, report: &mut Report) -> Result<()> {
        let all_nodes = report.nodes.len();
        if !self.patterns.is_empty() {
            self.keep_nodes(report)?;
        }
        let ended_ns = report.ended_ns;
        let since_ns = self.since.as_ref().map(|when| when.first_ns(ended_ns));
        let until_ns = self.until.as_ref().map(|when| when.last_ns(ended_ns));
        if let (Some(since), Some(until)) = (since_ns, until_ns)
            && since > until
        {
            bail!("--since {} is after --until {}", format_ns(since), format_ns(until));
        }
        let node = |finding: &Finding| {
            self.patterns.is_empty()
                || finding.node.as_deref().is_none_or(|node| self.nodes.is_match(node))
        };
        let since = |finding: &Finding| {
            since_ns.is_none_or(|since| end_ns(finding).is_none_or(|end| end >= since))
        };
        let until = |finding: &Finding| {
            until_ns.is_none_or(|until| start_ns(finding).is_none_or(|start| start <= until))
        };
        let severity =
            |finding: &Finding| self.severity.is_none_or(|least| finding.severity >= least);
        let hidden = vec![
            hide(report, "--node", node),
            hide(report, "--since", since),
            hide(report, "--until", until),
            hide(report, "--severity", severity),
        ];
        report.narrowed = Some(Narrowed {
            severity: self.severity,
            nodes: self.patterns.clone(),
            since: since_ns.map(format_ns),
            until: until_ns.map(format_ns),
            hidden_nodes: all_nodes - report.nodes.len(),
            hidden,
            window_ns: (since_ns, until_ns),
        });
        Ok(())
    }

    fn keep_nodes(&self, report: &mut Report) -> Result<()> {
        let is_shown = |node: &str| self.nodes.is_match(node);
        if !report.nodes.iter().any(|node| is_shown(node)) {
            let known = report.nodes.iter().take(NAMED_NODES).cloned().collect::<Vec<_>>();
            let more = if report.nodes.len() > NAMED_NODES { ", …" } else { "" };
            bail!(
                "no node of the bundle is named {}\nhint: it has {}{more}",
                self.patterns.join(" or "),
                known.join(", ")
            );
        }
        report.nodes.retain(|node| is_shown(node));
        report.coverage.retain(|row| is_shown(&row.node));
        report.connections.retain(|row| is_shown(&row.node));
        for (_, answer) in &mut report.diagnostics {
            answer.nodes.retain(|state| is_shown(&state.node));
        }
        Ok(())
    }
}

/// Takes findings away that are not to be shown, and counts them.
fn hide(report: &mut Report, option: &'static str, shown: impl Fn(&Finding) -> bool) -> Hidden {
    let mut findings = 0;
    for (_, answer) in &mut report.diagnostics {
        let before = answer.findings.len();
        answer.findings.retain(&shown);
        findings += before - answer.findings.len();
    }
    Hidden { option, findings }
}

/// When a finding began, `None` if it has no time.
pub(super) fn start_ns(finding: &Finding) -> Option<i64> {
    parse_rfc3339(finding.ts.as_deref()?)
}

/// When a finding ended as far as its evidence says so, else when it began.
pub(super) fn end_ns(finding: &Finding) -> Option<i64> {
    let named = |name: &str| {
        let (_, value) = finding.evidence.iter().find(|(column, _)| column == name)?;
        parse_rfc3339(value.as_str()?)
    };
    let start = start_ns(finding)?;
    Some(ENDS.iter().find_map(|name| named(name)).map_or(start, |end| end.max(start)))
}
