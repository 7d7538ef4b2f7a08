//! The probes' thread, and the batch that its samples go to.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{
    Batch, Issue, IssueKind, Mask, Outcome, ProbeSample, ProbeTarget, Stream,
};
use periscope_store::writer::{Poll, Writer};

use super::Report;
use crate::host::Host;
use crate::probe::{Dropped, Prober, Stop};

/// Samples are on disk at most this long after they were taken.
const FLUSH_EVERY_NS: i64 = 5_000_000_000;

/// Samples of one probe batch; then a new batch begins.
const BATCH_SAMPLES: usize = 8_192;

/// The probes' thread and the batch that its samples go to.
pub(super) struct Probes {
    samples: Receiver<(usize, ProbeSample)>,
    targets: Vec<ProbeTarget>,
    /// What the probes could not read when they started.
    issues: Vec<Issue>,
    stop: Arc<Stop>,
    dropped: Arc<Dropped>,
    /// Samples that the open batch lacks.
    lost: u64,
    started_ns: i64,
    until_ns: i64,
    open: Vec<(usize, ProbeSample)>,
    written: usize,
    flushed_ns: i64,
    seq: u64,
    rows: u64,
    ended: bool,
}

impl Probes {
    pub(super) fn start(
        prober: Prober,
        issues: Vec<Issue>,
        host: &Host,
        probe_for: Duration,
    ) -> Result<Self> {
        let (sender, samples) = sync_channel(1024);
        let stop = Arc::new(Stop::new());
        let dropped = prober.dropped();
        let targets = prober.targets().iter().map(|target| target.probe.clone()).collect();
        let until = i64::try_from(probe_for.as_nanos()).unwrap_or(i64::MAX);
        let now_ns = host.boottime_ns();
        let thread_stop = stop.clone();
        std::thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                if let Err(error) = crate::probe::blocking_run(prober, sender, thread_stop) {
                    tracing::error!("the probes ended: {error:#}");
                }
            })
            .context("cannot start a thread for the probes")?;
        Ok(Self {
            samples,
            targets,
            issues,
            stop,
            dropped,
            lost: 0,
            started_ns: host.now_ns(),
            until_ns: now_ns.saturating_add(until),
            open: Vec::new(),
            written: 0,
            flushed_ns: now_ns,
            seq: 0,
            rows: 0,
            ended: false,
        })
    }

    /// Takes what has come and writes it if it is time. False when all is over.
    pub(super) fn record(
        &mut self,
        writer: &mut Writer,
        host: &Host,
        mask: &Arc<dyn Mask>,
        stopping: bool,
    ) -> Result<bool> {
        let now_ns = host.boottime_ns();
        if stopping || now_ns >= self.until_ns {
            self.stop.stop();
        }
        loop {
            match self.samples.try_recv() {
                Ok(sample) => self.open.push(sample),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.ended = true;
                    break;
                }
            }
        }
        let due = now_ns - self.flushed_ns >= FLUSH_EVERY_NS && self.open.len() > self.written;
        if due || self.ended || self.open.len() >= BATCH_SAMPLES {
            self.flush(writer, host, mask)?;
            self.flushed_ns = now_ns;
        }
        Ok(!self.ended)
    }

    /// Writes the open batch again, now with all its samples: the last few
    /// seconds are on disk, and an hour still is one chunk.
    fn flush(&mut self, writer: &mut Writer, host: &Host, mask: &Arc<dyn Mask>) -> Result<()> {
        let mut batch = Batch::masked(crate::probe::NAME, mask.clone());
        for (target, sample) in &self.open {
            let stream = batch.stream(Stream::probe(&self.targets[*target]));
            batch.probe(stream, sample);
        }
        for issue in &self.issues {
            batch.issue(issue.clone());
        }
        self.lost += self.dropped.take();
        if self.lost > 0 {
            batch.issue(Issue {
                source: "probe".to_owned(),
                kind: IssueKind::Dropped,
                amount: Some(self.lost),
                unit: Some("samples"),
                message: "the disk was too slow to take all samples".to_owned(),
            });
        }
        let (outcome, message) = self.outcome();
        let poll = Poll {
            seq: self.seq,
            round: 0,
            started_ns: self.started_ns,
            ended_ns: host.now_ns(),
            outcome,
            message,
        };
        writer.commit(batch, &poll)?;
        self.rows += (self.open.len() - self.written) as u64;
        self.written = self.open.len();
        if self.open.len() >= BATCH_SAMPLES {
            self.open.clear();
            self.issues.clear();
            self.written = 0;
            self.lost = 0;
            self.seq += 1;
            self.started_ns = host.now_ns();
        }
        Ok(())
    }

    fn outcome(&self) -> (Outcome, Option<String>) {
        if self.targets.is_empty() {
            let why = "no targets are configured and none were discovered on this node";
            (Outcome::Absent, Some(why.to_owned()))
        } else if self.lost > 0 || self.issues.iter().any(|i| i.kind.is_loss()) {
            (Outcome::Partial, None)
        } else {
            (Outcome::Complete, None)
        }
    }

    pub(super) fn into_report(self) -> Report {
        let (outcome, message) = self.outcome();
        Report { collector: crate::probe::NAME.to_owned(), outcome, rows: self.rows, message }
    }
}
