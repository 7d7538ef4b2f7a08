//! Puts what collectors and probes saw into the file, and keeps a bounded part of
//! it in memory while the file cannot be written.
//!
//! Log lines never wait in memory: what did not get into the file is read again
//! from the node, from the positions that are in the file. Snapshots and samples
//! wait in a queue whose oldest go first; probe samples wait in their open batch.
//! The first thing that is written when there is room again is what that cost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Result;
use periscope_store::batch::{Batch, Issue, IssueKind, Mask};
use periscope_store::positions::Positions;
use periscope_store::writer::{Poll, Writer};

use super::notes::{self, Notes};
use super::probes::Probes;
use super::slot::{Silence, Slot, Written};
use super::worker::Event;
use crate::host::Host;

/// How long it waits for a batch before it looks around.
const TICK: Duration = Duration::from_millis(100);

/// Time between two tries to write to a file that could not be written.
const RETRY_NS: i64 = 2_000_000_000;

/// Batches that wait while the file cannot be written; then the oldest go. A
/// batch is full at 2 MiB, and those of samples are a thousandth of that.
const WAITING: usize = 48;

/// Batches that are taken in one go, before clocks are looked at again.
const AT_ONCE: usize = 64;

/// What a run has come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Rows in files.
    pub(crate) rows: u64,
    /// Batches in files.
    pub(crate) batches: u64,
    /// Things that are missing, as issues count them.
    pub(crate) losses: u64,
    /// Secrets that were masked.
    pub(crate) masked: u64,
    /// Rows of snapshots and samples that were dropped for want of room.
    pub(crate) dropped_rows: u64,
}

/// A batch that waits for room.
struct Waiting {
    collector: &'static str,
    batch: Batch,
    poll: Poll,
}

/// Since when the file cannot be written, and when that is tried again.
#[expect(clippy::struct_field_names, reason = "units are in names")]
struct Stuck {
    since_ns: i64,
    /// Up to when that has been noted.
    noted_ns: i64,
    retry_ns: i64,
}

/// Owns the file and writes to it.
pub(super) struct Recorder {
    /// The file; `None` while there is no room to make one.
    pub(super) writer: Option<Writer>,
    pub(super) slots: Vec<Slot>,
    pub(super) totals: Totals,
    /// Whether collectors that can read later what they do not read now shall wait.
    pub(super) logs_paused: bool,
    host: Arc<Host>,
    mask: Arc<dyn Mask>,
    events: Receiver<Event>,
    notes: Arc<Notes>,
    note_batches: u64,
    waiting: VecDeque<Waiting>,
    stuck: Option<Stuck>,
    /// Whether a failure would be no news.
    is_retrying: bool,
    /// Whether a file that cannot be written ends the run.
    strict: bool,
    /// Where the files before this one ended, while there is no file.
    positions: Positions,
}

impl Recorder {
    /// A recorder without a file. `strict` makes an error of what else waits.
    pub(super) fn new(
        host: Arc<Host>,
        mask: Arc<dyn Mask>,
        events: Receiver<Event>,
        notes: Arc<Notes>,
        positions: Positions,
        strict: bool,
    ) -> Self {
        Self {
            writer: None,
            slots: Vec::new(),
            totals: Totals::default(),
            logs_paused: false,
            host,
            mask,
            events,
            notes,
            note_batches: 0,
            waiting: VecDeque::new(),
            stuck: None,
            is_retrying: false,
            strict,
            positions,
        }
    }

    /// How far everything was read that is in files.
    pub(super) fn positions(&self) -> &Positions {
        self.writer.as_ref().map_or(&self.positions, Writer::positions)
    }

    /// Puts a new file in place of the one before, which it answers.
    pub(super) fn change_file(&mut self, next: Writer) -> Option<Writer> {
        self.positions = next.positions().clone();
        self.slots.iter_mut().for_each(Slot::forget_said);
        self.writer.replace(next)
    }

    /// Whether the file cannot be written.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some() || self.writer.is_none()
    }

    /// Waits a little for batches, writes what came, and lets collectors begin
    /// what is due.
    ///
    /// # Errors
    ///
    /// If it is strict and the file cannot be written.
    pub(super) fn step(&mut self) -> Result<()> {
        match self.events.recv_timeout(TICK) {
            Ok(event) => self.take(event)?,
            Err(RecvTimeoutError::Timeout) => {}
            // No collector is selected, or all their threads have ended.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        for _ in 0..AT_ONCE {
            let Ok(event) = self.events.try_recv() else { break };
            self.take(event)?;
        }
        self.mend()?;
        for at in 0..self.slots.len() {
            let now_ns = self.host.boottime_ns();
            let paused = self.slots[at].follows && (self.logs_paused || self.is_stuck());
            let silence = self.slots[at].tick(now_ns, self.host.now_ns(), paused);
            if let Some(silence) = silence {
                self.write_silence(at, silence)?;
            }
        }
        self.write_notes()
    }

    /// Writes the samples that have come and are due. False when the probes have
    /// ended and nothing of theirs is left.
    pub(super) fn step_probes(&mut self, probes: &mut Probes, stopping: bool) -> Result<bool> {
        let probing = probes.receive(&self.host, stopping);
        if !probes.is_due(&self.host) {
            return Ok(probing);
        }
        self.write_probes(probes)?;
        Ok(probing)
    }

    /// Writes the open batch of samples, unless the file cannot be written.
    pub(super) fn write_probes(&mut self, probes: &mut Probes) -> Result<()> {
        if self.is_stuck() {
            return Ok(());
        }
        let (batch, poll) = probes.batch(&self.host, &self.mask);
        let fresh = probes.unwritten();
        if self.commit(batch, &poll)? {
            self.totals.rows += fresh;
            probes.written(&self.host);
        }
        Ok(())
    }

    /// Writes off the polls that have not ended.
    pub(super) fn stop(&mut self, why: &str) -> Result<()> {
        for at in 0..self.slots.len() {
            if self.slots[at].is_awaited() {
                let silence = Silence { started_ns: self.host.now_ns(), message: why.to_owned() };
                self.write_silence(at, silence)?;
            }
            self.slots[at].stop();
        }
        self.mend()?;
        self.write_notes()
    }

    fn take(&mut self, mut event: Event) -> Result<()> {
        let now_ns = self.host.boottime_ns();
        let at = event.collector;
        let Some(written) = self.slots[at].answered(&event, now_ns) else { return Ok(()) };
        self.slots[at].leave_out_said(&mut event.batch);
        let lost_its_way = event.result.is_err();
        let poll = Poll {
            seq: written.seq,
            round: written.round,
            started_ns: event.started_ns,
            ended_ns: event.ended_ns,
            outcome: written.outcome,
            message: written.message,
        };
        let slot = &self.slots[at];
        if self.is_stuck() && !slot.follows {
            let collector = slot.name;
            self.wait(Waiting { collector, batch: event.batch, poll });
        } else if self.is_stuck() || !self.commit_counted(event.batch, &poll)? {
            let positions = self.positions().clone();
            self.slots[at].read_again(now_ns, positions);
            return Ok(());
        }
        if lost_its_way {
            let positions = self.positions().clone();
            self.slots[at].restart_from(positions);
        }
        if written.more {
            self.slots[at].go_on(now_ns);
        } else {
            self.slots[at].end(now_ns);
        }
        Ok(())
    }

    fn write_silence(&mut self, at: usize, silence: Silence) -> Result<()> {
        let slot = &mut self.slots[at];
        let collector = slot.name;
        let Written { seq, round, outcome, message, .. } = slot.silent(silence.message);
        let batch = Batch::masked(collector, self.mask.clone());
        let ended_ns = self.host.now_ns();
        let poll = Poll { seq, round, started_ns: silence.started_ns, ended_ns, outcome, message };
        if self.is_stuck() {
            self.wait(Waiting { collector, batch, poll });
            return Ok(());
        }
        self.commit_counted(batch, &poll).map(drop)
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() >= WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.dropped(oldest.collector, oldest.batch.row_count());
        }
        self.waiting.push_back(waiting);
    }

    fn dropped(&mut self, collector: &str, rows: u64) {
        self.totals.dropped_rows += rows;
        self.notes.add(Issue {
            source: collector.to_owned(),
            kind: IssueKind::Dropped,
            amount: Some(rows),
            unit: Some("rows"),
            message: "the oldest were dropped while the file could not be written".to_owned(),
        });
    }

    /// Tries again to write to a file that could not be written.
    fn mend(&mut self) -> Result<()> {
        let now_ns = self.host.boottime_ns();
        if self.writer.is_none() {
            self.get_stuck(now_ns);
        }
        if let Some(stuck) = &mut self.stuck {
            if self.writer.is_none() || now_ns < stuck.retry_ns {
                return Ok(());
            }
            // A batch that fails is gone. So the first is one that can be made again.
            let seconds = (now_ns - stuck.noted_ns) / 1_000_000_000;
            stuck.noted_ns += seconds * 1_000_000_000;
            let (since_ns, noted_ns) = (stuck.since_ns, stuck.noted_ns);
            self.notes.add_quietly(Issue {
                source: "file".to_owned(),
                kind: IssueKind::Truncated,
                amount: Some(seconds.unsigned_abs()),
                unit: Some("seconds"),
                message: "the file could not be written; samples waited in memory".to_owned(),
            });
            self.stuck = None;
            self.is_retrying = true;
            let written = self.write_notes();
            self.is_retrying = false;
            written?;
            if let Some(stuck) = &mut self.stuck {
                (stuck.since_ns, stuck.noted_ns) = (since_ns, noted_ns);
                return Ok(());
            }
            let seconds = (now_ns - since_ns) / 1_000_000_000;
            tracing::warn!(seconds, "the file can be written again; samples waited in memory");
        }
        while self.stuck.is_none()
            && let Some(Waiting { collector, batch, poll }) = self.waiting.pop_front()
        {
            let rows = batch.row_count();
            if !self.commit_counted(batch, &poll)? {
                self.dropped(collector, rows);
            }
        }
        Ok(())
    }

    fn get_stuck(&mut self, now_ns: i64) {
        if self.stuck.is_none() {
            self.stuck =
                Some(Stuck { since_ns: now_ns, noted_ns: now_ns, retry_ns: now_ns + RETRY_NS });
        }
    }

    fn write_notes(&mut self) -> Result<()> {
        if self.notes.is_empty() || self.is_stuck() {
            return Ok(());
        }
        let issues = self.notes.take();
        let now_ns = self.host.now_ns();
        let (batch, poll) = notes::batch(&issues, &self.mask, self.note_batches, now_ns);
        if self.commit(batch, &poll)? {
            self.note_batches += 1;
        } else {
            self.notes.put_back(issues);
        }
        Ok(())
    }

    fn commit_counted(&mut self, batch: Batch, poll: &Poll) -> Result<bool> {
        let rows = batch.row_count();
        let losses = batch.loss_count();
        let masked = batch.redaction_count();
        let written = self.commit(batch, poll)?;
        if written {
            self.totals.rows += rows;
            self.totals.losses += losses;
            self.totals.masked += masked;
        }
        Ok(written)
    }

    /// Whether a batch is in the file. One that is not is gone.
    fn commit(&mut self, batch: Batch, poll: &Poll) -> Result<bool> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        match writer.commit(batch, poll) {
            Ok(()) => {
                self.totals.batches += 1;
                Ok(true)
            }
            Err(error) if self.strict => Err(error.into()),
            Err(error) => {
                if self.stuck.is_none() && !self.is_retrying {
                    tracing::warn!("{}", super::one_line(&error.into()));
                }
                self.get_stuck(self.host.boottime_ns());
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
