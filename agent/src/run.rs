//! Runs collectors and probes, and writes what they saw.
//!
//! The only place with threads. Each collector has one, the probes share one,
//! and this one owns the [`Writer`]: batches and samples come to it over bounded
//! channels, so a slow disk slows the readers and memory stays bounded. A
//! collector that fails, hangs past its deadline or panics costs no other
//! anything; what became of it is a row of `collection`.
#![expect(clippy::disallowed_methods, reason = "this module starts the threads")]

mod probes;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Batch, Issue, Mask, Outcome};
use periscope_store::time::format_ns;
use periscope_store::writer::{Node, Poll, Session, Writer};

use crate::collect::{Collector, Progress};
use crate::host::Host;
use crate::probe::Prober;

use probes::Probes;

/// How often the writer looks whether time is up.
const TICK: Duration = Duration::from_millis(100);

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
        let mut recorder = Recorder {
            writer,
            host: self.host.clone(),
            mask: self.mask.clone(),
            polls: self.collectors.iter().map(|c| Running::new(c.as_ref(), &self.host)).collect(),
            reports: self
                .collectors
                .iter()
                .map(|collector| Report {
                    collector: collector.name().to_owned(),
                    outcome: Outcome::Absent,
                    rows: 0,
                    message: None,
                })
                .collect(),
        };
        let events = start_collectors(self.collectors, &self.host, &self.mask);
        let probes = self
            .prober
            .map(|(prober, issues)| Probes::start(prober, issues, &self.host, self.probe_for))
            .transpose()?;
        let probe_report = recorder.record(&events, probes, &self.stop)?;
        let Recorder { writer, mut reports, .. } = recorder;
        reports.extend(probe_report);
        writer.seal()?;
        std::fs::rename(&partial, &path)
            .with_context(|| format!("cannot rename {}", partial.display()))?;
        Ok(Summary { path, reports })
    }
}

/// A batch that a collector's thread hands over.
struct Event {
    collector: usize,
    batch: Batch,
    started_ns: i64,
    ended_ns: i64,
    result: Result<Progress, String>,
}

/// A collector that the writer waits for.
struct Running {
    deadline_ns: i64,
    /// `CLOCK_BOOTTIME` when it last began to read.
    since_ns: i64,
    started_ns: i64,
    batches: u64,
    rows: u64,
    lossy: bool,
    done: bool,
}

impl Running {
    fn new(collector: &dyn Collector, host: &Host) -> Self {
        Self {
            deadline_ns: i64::try_from(collector.deadline().as_nanos()).unwrap_or(i64::MAX),
            since_ns: host.boottime_ns(),
            started_ns: host.now_ns(),
            batches: 0,
            rows: 0,
            lossy: false,
            done: false,
        }
    }
}

/// Gives every collector a thread of its own. The threads are never joined: one
/// that hangs must not hold up the end of the process.
fn start_collectors(
    collectors: Vec<Box<dyn Collector>>,
    host: &Arc<Host>,
    mask: &Arc<dyn Mask>,
) -> Receiver<Event> {
    let (sender, receiver) = sync_channel(1);
    for (at, collector) in collectors.into_iter().enumerate() {
        let (host, mask, sender) = (host.clone(), mask.clone(), sender.clone());
        let name = collector.name();
        let started = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || poll(at, collector, &host, &mask, &sender));
        if let Err(error) = started {
            tracing::error!("cannot start a thread for {name}: {error}");
        }
    }
    receiver
}

/// Body of a collector's thread: one poll, which may be many batches.
fn poll(
    at: usize,
    mut collector: Box<dyn Collector>,
    host: &Host,
    mask: &Arc<dyn Mask>,
    sender: &SyncSender<Event>,
) {
    loop {
        let started_ns = host.now_ns();
        let mut batch = Batch::masked(collector.name(), mask.clone());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let progress = collector.collect(host, &mut batch);
            batch.finish();
            progress
        }));
        let result = match result {
            Ok(Ok(progress)) => Ok(progress),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(panic) => Err(format!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        let more = matches!(result, Ok(Progress::More));
        let event = Event { collector: at, batch, started_ns, ended_ns: host.now_ns(), result };
        if sender.send(event).is_err() || !more {
            return;
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Owns the file and writes to it.
struct Recorder {
    writer: Writer,
    host: Arc<Host>,
    mask: Arc<dyn Mask>,
    polls: Vec<Running>,
    reports: Vec<Report>,
}

impl Recorder {
    /// Writes until every collector has ended and the probes' time is over.
    fn record(
        &mut self,
        events: &Receiver<Event>,
        mut probes: Option<Probes>,
        stop: &AtomicBool,
    ) -> Result<Option<Report>> {
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            let waiting = self.polls.iter().any(|poll| !poll.done) && !stopping;
            let mut probing = false;
            if let Some(probes) = &mut probes {
                probing = probes.record(&mut self.writer, &self.host, &self.mask, stopping)?;
            }
            if !waiting && !probing {
                break;
            }
            match events.recv_timeout(TICK) {
                Ok(event) => self.write(event)?,
                Err(RecvTimeoutError::Timeout) => self.give_up_late()?,
                // All threads have ended; the probes may still run.
                Err(RecvTimeoutError::Disconnected) => {
                    self.give_up_late()?;
                    std::thread::sleep(TICK);
                }
            }
        }
        for at in 0..self.polls.len() {
            if !self.polls[at].done {
                self.give_up(at, "the agent was stopped before it ended".to_owned())?;
            }
        }
        Ok(probes.map(Probes::into_report))
    }

    fn write(&mut self, event: Event) -> Result<()> {
        let Event { collector, batch, started_ns, ended_ns, result } = event;
        let poll = &mut self.polls[collector];
        if poll.done {
            return Ok(());
        }
        poll.since_ns = self.host.boottime_ns();
        poll.rows += batch.row_count();
        poll.lossy |= batch.has_losses();
        let whole = if poll.lossy { Outcome::Partial } else { Outcome::Complete };
        let (outcome, message, done) = match result {
            Ok(Progress::More) => (whole, None, false),
            Ok(Progress::Done) => (whole, None, true),
            Ok(Progress::Absent(why)) => (Outcome::Absent, Some(why), true),
            Err(why) if poll.rows > 0 => (Outcome::Partial, Some(why), true),
            Err(why) => (Outcome::Failed, Some(why), true),
        };
        poll.done = done;
        let seq = poll.batches;
        poll.batches += 1;
        let report = &mut self.reports[collector];
        report.outcome = outcome;
        report.rows = poll.rows;
        report.message.clone_from(&message);
        let poll = Poll { seq, round: 0, started_ns, ended_ns, outcome, message };
        self.writer.commit(batch, &poll)?;
        Ok(())
    }

    fn give_up_late(&mut self) -> Result<()> {
        let now_ns = self.host.boottime_ns();
        for at in 0..self.polls.len() {
            let poll = &self.polls[at];
            if !poll.done && now_ns - poll.since_ns > poll.deadline_ns {
                let seconds = poll.deadline_ns / 1_000_000_000;
                self.give_up(at, format!("it gave no answer within {seconds} s"))?;
            }
        }
        Ok(())
    }

    /// Ends a poll whose thread has not. What it may still send is ignored.
    fn give_up(&mut self, at: usize, why: String) -> Result<()> {
        let started_ns = self.polls[at].started_ns;
        let batch = Batch::masked(&self.reports[at].collector, self.mask.clone());
        let ended_ns = self.host.now_ns();
        self.write(Event { collector: at, batch, started_ns, ended_ns, result: Err(why) })
    }
}

/// Name of a run that begins at a time: `2026-11-22T12-28-03Z`, as `az aks
/// kollect` names its runs.
pub(crate) fn run_id_at(ns: i64) -> String {
    format!("{}Z", format_ns(ns)[..19].replace(':', "-"))
}
