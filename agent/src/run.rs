//! Runs collectors and probes, and writes what they saw: once
//! ([`Run::collect_once`]), or without end ([`service`]).
//!
//! The only place with threads. Each collector has one ([`worker`]), the probes
//! share one, and the one that calls owns the file ([`recorder`]): batches and
//! samples come to it over bounded channels, so a slow disk slows the readers and
//! memory stays bounded. A collector that fails, hangs past its deadline or panics
//! costs no other anything; what became of it is a row of `collection`.

mod turns;
mod worker;
mod said;
mod slot;
mod probes;
mod notes;
mod recorder;
mod ceilings;
mod sealing;
mod exporting;
mod publishing;
mod files;
pub(crate) mod service;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, Mask, Outcome};
use periscope_store::positions::Positions;
use periscope_store::time::format_ns;
use periscope_store::writer::{Node, Session, Writer};

use crate::collect::Collector;
use crate::host::Host;
use crate::probe::Prober;

use notes::Notes;
use probes::Probes;
use recorder::Recorder;
pub(crate) use recorder::Totals;
use slot::{Polls, Slot};
use worker::Shared;

/// Everything a run needs, made by `main` from the configuration.
pub(crate) struct Run {
    /// Door to the node.
    pub(crate) host: Arc<Host>,
    /// The node.
    pub(crate) node: Node,
    /// This life of the process.
    pub(crate) session: Session,
    /// Collectors to run.
    pub(crate) collectors: Vec<Box<dyn Collector>>,
    /// Probes to sample and what they lack, `None` if they are left out.
    pub(crate) prober: Option<(Prober, Vec<Issue>)>,
    /// How long to sample them.
    pub(crate) probe_for: Duration,
    /// Masks secrets.
    pub(crate) mask: Arc<dyn Mask>,
    /// Folder for the database: `output/run id/node/`.
    pub(crate) folder: PathBuf,
    /// Set when the process shall end; what was collected is sealed first.
    pub(crate) stop: Arc<AtomicBool>,
}

/// How one collector's poll went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Name of the collector.
    pub(crate) collector: String,
    /// Worst outcome of its batches.
    pub(crate) outcome: Outcome,
    /// Rows that were written.
    pub(crate) rows: u64,
    /// Why it is absent or failed, or what is missing.
    pub(crate) message: Option<String>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Summary {
    /// The sealed database.
    pub(crate) path: PathBuf,
    /// One report a collector, in order of the list.
    pub(crate) reports: Vec<Report>,
}

impl Summary {
    /// Whether any collector failed or lost something.
    pub(crate) fn has_failures(&self) -> bool {
        self.reports
            .iter()
            .any(|report| matches!(report.outcome, Outcome::Failed | Outcome::Partial))
    }

    /// One line a collector, for people.
    pub(crate) fn to_text(&self) -> String {
        let width = self.reports.iter().map(|report| report.collector.len()).max().unwrap_or(0);
        let mut text = String::new();
        for report in &self.reports {
            let _ = write!(
                text,
                "  {:width$}  {:8}  {:>9} rows",
                report.collector,
                report.outcome.as_str(),
                report.rows
            );
            if let Some(message) = &report.message {
                let _ = write!(text, "  {message}");
            }
            text.push('\n');
        }
        text
    }
}

impl Run {
    /// Runs every collector once, samples the probes for the time given, and
    /// seals one database.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub(crate) fn collect_once(self) -> Result<Summary> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        let path = self.folder.join(format!("{}.db", self.node.name));
        anyhow::ensure!(
            !path.exists(),
            "{} exists already\nhint: choose another --run-id or --output",
            path.display()
        );
        // Under another name until it is whole: who sees a .db can send it.
        let partial = self.folder.join(format!("{}.db.partial", self.node.name));
        let writer = Writer::create(&partial, &self.node, &self.session)?;
        let (sender, events) = sync_channel(1);
        let shared = Shared {
            host: self.host.clone(),
            mask: self.mask.clone(),
            events: sender,
            turns: Arc::default(),
            nice: 0,
        };
        let mut recorder = Recorder::new(
            self.host.clone(),
            self.mask.clone(),
            events,
            Arc::new(Notes::default()),
            Positions::default(),
            true,
        );
        recorder.change_file(writer);
        let due_ns = self.host.boottime_ns();
        for (at, collector) in self.collectors.into_iter().enumerate() {
            let shared = shared.clone();
            let slot = Slot::new(at, collector, shared, Polls::Once, None, None, due_ns);
            recorder.slots.push(slot);
        }
        drop(shared);
        let mut probes = self
            .prober
            .map(|(prober, issues)| Probes::start(prober, issues, &self.host, Some(self.probe_for)))
            .transpose()?;
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            recorder.step()?;
            let probing = match &mut probes {
                Some(probes) => recorder.step_probes(probes, stopping)?,
                None => false,
            };
            let waiting = recorder.slots.iter().any(|slot| !slot.has_ended_once()) && !stopping;
            if !waiting && !probing {
                break;
            }
        }
        recorder.stop("the agent was stopped before it ended")?;
        let mut reports: Vec<_> = recorder.slots.iter().map(|slot| slot.report().clone()).collect();
        reports.extend(probes.map(Probes::into_report));
        if let Some(writer) = recorder.writer {
            writer.seal()?;
        }
        std::fs::rename(&partial, &path)
            .with_context(|| format!("cannot rename {}", partial.display()))?;
        Ok(Summary { path, reports })
    }
}

/// Name of a run that begins at a time: `2026-11-22T12-28-03Z`, as `az aks
/// kollect` names its runs.
pub(crate) fn run_id_at(ns: i64) -> String {
    format!("{}Z", format_ns(ns)[..19].replace(':', "-"))
}

/// An error and its causes in one line, as logs want it.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    periscope_store::tell(causes.iter().map(String::as_str)).replace('\n', "; ")
}
