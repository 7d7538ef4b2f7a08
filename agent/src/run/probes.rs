//! The probes' thread, and the batch that its samples go to.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{
    Batch, Issue, IssueKind, Mask, Outcome, ProbeSample, ProbeTarget, Stream,
};
use periscope_store::writer::Poll;

use super::Report;
use crate::host::Host;
use crate::probe::{Dropped, Prober, Shows, Stop};

/// Samples are on disk at most this long after they were taken.
const FLUSH_EVERY_NS: i64 = 5_000_000_000;

/// Samples of one probe batch; then a new batch begins.
const BATCH_SAMPLES: usize = 8_192;

/// Samples that are kept while the file cannot be written: at eight targets and
/// five seconds more than two hours. Then the oldest go, this many at once.
const KEPT_SAMPLES: usize = 2 * BATCH_SAMPLES;
const DROPPED_SAMPLES: usize = 256;

/// The probes' thread and the batch that its samples go to.
pub(super) struct Probes {
    samples: Receiver<(usize, ProbeSample)>,
    targets: Vec<ProbeTarget>,
    /// What the probes could not read when they started.
    issues: Vec<Issue>,
    stop: Arc<Stop>,
    dropped: Arc<Dropped>,
    /// Certificates that the targets show.
    shows: Arc<Shows>,
    /// Samples that the open batch lacks.
    lost: u64,
    started_ns: i64,
    until_ns: i64,
    open: Vec<(usize, ProbeSample)>,
    written: usize,
    flushed_ns: i64,
    seq: u64,
    rows: u64,
    /// Whether the thread has ended.
    ended: bool,
    /// Whether its last samples are in the file too.
    all_written: bool,
}

impl Probes {
    /// Starts the thread. It ends after `probe_for`, or never if that is `None`.
    pub(super) fn start(
        prober: Prober,
        issues: Vec<Issue>,
        host: &Host,
        probe_for: Option<Duration>,
    ) -> Result<Self> {
        let (sender, samples) = sync_channel(1024);
        let stop = Arc::new(Stop::new());
        let (dropped, shows) = (prober.dropped(), prober.shows());
        let targets = prober.targets().iter().map(|target| target.probe.clone()).collect();
        let until = probe_for.and_then(|time| i64::try_from(time.as_nanos()).ok());
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
            shows,
            lost: 0,
            started_ns: host.now_ns(),
            until_ns: now_ns.saturating_add(until.unwrap_or(i64::MAX)),
            open: Vec::new(),
            written: 0,
            flushed_ns: now_ns,
            seq: 0,
            rows: 0,
            ended: false,
            all_written: false,
        })
    }

    /// Takes the samples that have come. False when the thread has ended and all
    /// of them were written.
    pub(super) fn receive(&mut self, host: &Host, stopping: bool) -> bool {
        if stopping || host.boottime_ns() >= self.until_ns {
            self.stop();
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
        if self.open.len() > KEPT_SAMPLES {
            // What is in the file stays there under its own number.
            self.begin_batch(host);
        }
        if self.open.len() > KEPT_SAMPLES {
            let oldest = self.open.len() - KEPT_SAMPLES + DROPPED_SAMPLES;
            self.lost += self.open.drain(..oldest).count() as u64;
        }
        !self.all_written
    }

    /// Whether it is time to write the open batch.
    pub(super) fn is_due(&self, host: &Host) -> bool {
        let waits = self.open.len() > self.written;
        let due = waits && host.boottime_ns() - self.flushed_ns >= FLUSH_EVERY_NS;
        due || self.unwritten() >= BATCH_SAMPLES as u64 || (self.ended && !self.all_written)
    }

    /// Samples of the open batch that are in no file.
    pub(super) fn unwritten(&self) -> u64 {
        (self.open.len() - self.written) as u64
    }

    /// The open batch with all its samples, to be written over what is there of
    /// it: the last few seconds are on disk, and an hour still is one chunk.
    pub(super) fn batch(&mut self, host: &Host, mask: &Arc<dyn Mask>) -> (Batch, Poll) {
        let mut batch = Batch::masked(crate::probe::NAME, mask.clone());
        for (target, sample) in &self.open {
            let stream = batch.stream(Stream::probe(&self.targets[*target]));
            batch.probe(stream, sample);
        }
        for certificate in self.shows.certificates() {
            batch.certificate(certificate);
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
                message: "the disk was too slow or too full to take all samples".to_owned(),
            });
        }
        let (outcome, message) = self.outcome();
        let poll = Poll {
            seq: self.seq,
            round: self.seq,
            started_ns: self.started_ns,
            ended_ns: host.now_ns(),
            outcome,
            message,
        };
        (batch, poll)
    }

    /// Takes note that the open batch is in the file.
    pub(super) fn written(&mut self, host: &Host) {
        self.rows += self.unwritten();
        self.written = self.open.len();
        self.all_written = self.ended;
        self.flushed_ns = host.boottime_ns();
        if self.open.len() >= BATCH_SAMPLES {
            self.begin_batch(host);
        }
    }

    /// Asks the thread to end; what it has sampled is still to be received.
    pub(super) fn stop(&self) {
        self.stop.stop();
    }

    /// The next samples go to a new batch: the file of this one ends.
    pub(super) fn begin_batch(&mut self, host: &Host) {
        if self.written == 0 {
            return;
        }
        self.open.drain(..self.written);
        self.issues.clear();
        self.written = 0;
        self.lost = 0;
        self.seq += 1;
        self.started_ns = host.now_ns();
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
