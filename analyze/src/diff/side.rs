//! One of the two bundles that are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use periscope_store::bundle::Bundle;

use super::model::Named;
use crate::diagnose::parse::Diagnostic;
use crate::diagnose::run::Limits;
use crate::open::open;
use crate::output;
use crate::report::{self, model::Report};

/// A diagnostic is given up after this time.
const DEADLINE: Duration = Duration::from_mins(1);

/// A bundle that was read, and how collecting went in it.
pub(super) struct Side {
    pub(super) bundle: Bundle,
    pub(super) report: Report,
    path: String,
    /// Why something is not known, `None` if it is; by collector and node.
    collected: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

impl Side {
    /// Opens a bundle and asks its diagnostics.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or what was collected cannot be read.
    pub(super) fn read(path: &Path, diagnostics: Vec<Diagnostic>) -> Result<Self> {
        Self::new(open(&[PathBuf::from(path)])?, path, diagnostics)
    }

    /// The same of an open bundle that has its views.
    ///
    /// # Errors
    ///
    /// If what was collected cannot be read.
    pub(super) fn new(
        mut bundle: Bundle,
        path: &Path,
        diagnostics: Vec<Diagnostic>,
    ) -> Result<Self> {
        let limits = Limits { deadline: DEADLINE, ..Limits::default() };
        let report = report::gather(&mut bundle, diagnostics, limits)?;
        let mut collected: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
        for row in &report.coverage {
            let known = (row.outcome == "complete").then_some(());
            let reason = match (known, row.outcome.as_str(), &row.reason) {
                (Some(()), ..) => None,
                (None, "missing", _) => Some(format!("{} was not collected", row.collector)),
                (None, outcome, None) => Some(format!("{} is {outcome}", row.collector)),
                (None, outcome, Some(reason)) => {
                    Some(format!("{} is {outcome}: {reason}", row.collector))
                }
            };
            collected.entry(row.collector.clone()).or_default().insert(row.node.clone(), reason);
        }
        Ok(Self { bundle, report, path: path.display().to_string(), collected })
    }

    /// Its nodes by name.
    pub(super) fn nodes(&self) -> &[String] {
        &self.report.nodes
    }

    /// That a node was recorded.
    ///
    /// # Errors
    ///
    /// If it was not.
    pub(super) fn check_node(&self, node: &str) -> Result<()> {
        ensure!(
            self.nodes().iter().any(|known| known == node),
            "{} has no node {node}\nhint: it has {}",
            self.path,
            output::some(self.nodes())
        );
        Ok(())
    }

    /// What heads it.
    pub(super) fn named(&self) -> Named {
        let times =
            |of: fn(&report::model::RunOfBundle) -> &String| self.report.runs.iter().map(of);
        Named {
            bundle: self.path.clone(),
            nodes: self.nodes().len(),
            runs: times(|run| &run.run_id).cloned().collect(),
            from: times(|run| &run.from).min().cloned(),
            until: times(|run| &run.until).max().cloned(),
            left_out: self.report.left_out.clone(),
        }
    }

    /// Why something that is not there may be there all the same: its collector did not
    /// read everything of this node, or of some node of the cluster. `None` if it did.
    pub(super) fn unknown_because(
        &self,
        collector: Option<&str>,
        node: Option<&str>,
    ) -> Option<String> {
        let collector = collector?;
        let not_collected = || format!("{collector} was not collected");
        let Some(nodes) = self.collected.get(collector) else { return Some(not_collected()) };
        match node {
            Some(node) => nodes.get(node).map_or_else(|| Some(not_collected()), Clone::clone),
            None => nodes.iter().find_map(|(node, reason)| {
                reason.as_ref().map(|reason| format!("{reason} (on {node})"))
            }),
        }
    }
}
