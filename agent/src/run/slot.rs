//! One collector as the runner sees it: when it is due, what it is at, and what
//! became of its polls.

use periscope_store::batch::{Batch, Outcome};
use periscope_store::positions::Positions;

use super::Report;
use super::said::Said;
use super::worker::{Event, Life, Order, Shared, Worker};
use crate::collect::{Collector, Progress};
use crate::duration;

/// Time after which what could not be written is read again.
const AGAIN_NS: i64 = 5_000_000_000;

/// How often a collector is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polls {
    /// One poll, and what it is late with is not waited for.
    Once,
    /// One an interval, without end.
    Forever,
}

/// Where the thread is.
enum Thread {
    /// It works.
    Works(Worker),
    /// It is not started while a thread of the same name, of the run before, has
    /// not ended: two of them would read the same.
    Held { collector: Box<dyn Collector>, by: Life, shared: Shared },
    /// It could not be started, or has ended.
    Gone(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits until it is due.
    Idle,
    /// Reads, since this time of `CLOCK_BOOTTIME`; or will, when it may start.
    Reads(i64),
    /// Reads still, although its deadline is over and that was written down.
    IsLate(i64),
}

/// What is to be written about a poll that gave no answer.
pub(super) struct Silence {
    pub(super) started_ns: i64,
    pub(super) message: String,
}

/// A collector, its thread, and its polls.
pub(super) struct Slot {
    pub(super) name: &'static str,
    /// Whether what is not read now can be read later.
    pub(super) follows: bool,
    place: usize,
    polls: Polls,
    interval_ns: i64,
    deadline_ns: i64,
    thread: Thread,
    state: State,
    /// Where the next poll goes on from, if not where the last one ended.
    resume: Option<Positions>,
    due_ns: i64,
    /// Wall clock when the poll began.
    started_ns: i64,
    round: u64,
    batches: u64,
    rows: u64,
    lossy: bool,
    ended_once: bool,
    report: Report,
    /// What its rounds have said already, if it follows.
    said: Said,
}

/// What a batch of a poll is called and came to.
pub(super) struct Written {
    pub(super) seq: u64,
    pub(super) round: u64,
    pub(super) outcome: Outcome,
    pub(super) message: Option<String>,
    /// Whether the poll goes on.
    pub(super) more: bool,
}

impl Slot {
    /// A slot whose first poll is due `wait` after `now_ns`. `by` is the thread of
    /// the same name that may still be there.
    pub(super) fn new(
        place: usize,
        collector: Box<dyn Collector>,
        shared: Shared,
        polls: Polls,
        resume: Option<Positions>,
        by: Option<Life>,
        due_ns: i64,
    ) -> Self {
        let name = collector.name();
        let mut slot = Self {
            name,
            follows: collector.follows(),
            place,
            polls,
            interval_ns: duration::nanos(collector.interval()).max(1_000_000_000),
            deadline_ns: duration::nanos(collector.deadline()),
            thread: Thread::Held { collector, by: by.unwrap_or_default(), shared },
            state: State::Idle,
            resume,
            due_ns,
            started_ns: 0,
            round: 0,
            batches: 0,
            rows: 0,
            lossy: false,
            ended_once: false,
            report: Report {
                collector: name.to_owned(),
                outcome: Outcome::Absent,
                rows: 0,
                message: None,
            },
            said: Said::default(),
        };
        slot.start_if_free();
        slot
    }

    /// Whether its first poll has ended, however.
    pub(super) fn has_ended_once(&self) -> bool {
        self.ended_once
    }

    /// Whether an answer is waited for that is not late.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Reads(_))
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// The thread, to ask later whether it has ended.
    pub(super) fn life(&self) -> Option<Life> {
        match &self.thread {
            Thread::Works(worker) => Some(worker.life()),
            Thread::Held { by, .. } => Some(by.clone()),
            Thread::Gone(_) => None,
        }
    }

    /// Does what time asks for: begins a poll that is due, and says so of one that
    /// is late. `paused` collectors begin none.
    pub(super) fn tick(&mut self, now_ns: i64, wall_ns: i64, paused: bool) -> Option<Silence> {
        if let Thread::Held { .. } = self.thread {
            self.start_if_free();
            if self.state != State::Idle && matches!(self.thread, Thread::Works(_)) {
                self.order();
            }
        }
        match self.state {
            State::Idle if now_ns >= self.due_ns && !paused => {
                self.begin(now_ns, wall_ns);
                if let Thread::Gone(why) = &self.thread {
                    let message = why.clone();
                    self.end(now_ns);
                    return Some(Silence { started_ns: wall_ns, message });
                }
                None
            }
            State::Reads(since_ns) if now_ns - since_ns > self.deadline_ns => {
                let seconds = self.deadline_ns / 1_000_000_000;
                self.state = State::IsLate(since_ns);
                self.ended_once = true;
                self.due_ns = now_ns.saturating_add(self.interval_ns);
                let message = format!("it gave no answer within {seconds} s");
                Some(Silence { started_ns: self.started_ns, message })
            }
            State::IsLate(since_ns) if now_ns >= self.due_ns && self.polls == Polls::Forever => {
                // Not started on top of itself; the round is one it had no part in.
                self.round += 1;
                self.due_ns = now_ns.saturating_add(self.interval_ns);
                let seconds = (now_ns - since_ns) / 1_000_000_000;
                let message = format!("it has given no answer for {seconds} s");
                Some(Silence { started_ns: wall_ns, message })
            }
            _ => None,
        }
    }

    /// Takes note of a batch, which is then written as told. `None` if nobody
    /// waits for it any more.
    pub(super) fn answered(&mut self, event: &Event, now_ns: i64) -> Option<Written> {
        let late = matches!(self.state, State::IsLate(_));
        if self.state == State::Idle || (late && self.polls == Polls::Once) {
            return None;
        }
        self.rows += event.batch.row_count();
        self.lossy |= event.batch.has_losses();
        let whole = if self.lossy { Outcome::Partial } else { Outcome::Complete };
        let (outcome, message, more) = match &event.result {
            Ok(Progress::More) => (whole, None, true),
            Ok(Progress::Done) => (whole, None, false),
            Ok(Progress::Absent(why)) => (Outcome::Absent, Some(why.clone()), false),
            Err(why) if self.rows > 0 => (Outcome::Partial, Some(why.clone()), false),
            Err(why) => (Outcome::Failed, Some(why.clone()), false),
        };
        self.state = State::Reads(now_ns);
        Some(self.written(outcome, message, more))
    }

    /// What is written of a poll that gave no answer.
    pub(super) fn silent(&mut self, message: String) -> Written {
        let outcome = if self.rows > 0 { Outcome::Partial } else { Outcome::Failed };
        self.written(outcome, Some(message), false)
    }

    fn written(&mut self, outcome: Outcome, message: Option<String>, more: bool) -> Written {
        self.report.outcome = outcome;
        self.report.rows = self.rows;
        self.report.message.clone_from(&message);
        let seq = self.batches;
        self.batches += 1;
        Written { seq, round: self.round, outcome, message, more }
    }

    /// Asks for the next batch of the same poll.
    pub(super) fn go_on(&mut self, now_ns: i64) {
        self.state = State::Reads(now_ns);
        self.order();
    }

    /// The poll is over; the next begins when it is due.
    pub(super) fn end(&mut self, now_ns: i64) {
        self.state = State::Idle;
        self.ended_once = true;
        // What was missed while a long poll went on is not made up for.
        self.due_ns = match self.polls {
            Polls::Once => i64::MAX,
            Polls::Forever => self.due_ns.saturating_add(self.interval_ns).max(now_ns),
        };
    }

    /// What the poll read did not get into the file: the next one comes soon and
    /// reads again what can be, from `resume` on.
    pub(super) fn read_again(&mut self, now_ns: i64, resume: Positions) {
        self.state = State::Idle;
        self.resume = Some(resume);
        self.said.forget();
        self.due_ns = now_ns.saturating_add(AGAIN_NS.min(self.interval_ns));
    }

    /// Takes out of a batch what is as the round has said already.
    pub(super) fn leave_out_said(&mut self, batch: &mut Batch) {
        if self.follows {
            self.said.filter(batch);
        }
    }

    /// What it has said is in a file that is written to no more.
    pub(super) fn forget_said(&mut self) {
        self.said.forget();
    }

    /// The next poll begins from `resume`, because this one lost its way.
    pub(super) fn restart_from(&mut self, resume: Positions) {
        self.resume = Some(resume);
    }

    /// The poll that has not ended is written off, at the end of all.
    pub(super) fn stop(&mut self) {
        self.state = State::Idle;
        self.due_ns = i64::MAX;
    }

    fn begin(&mut self, now_ns: i64, wall_ns: i64) {
        // The first poll is round 0.
        let begins_round = !self.follows || self.said.begins_round(now_ns);
        self.round += u64::from(self.batches > 0 && begins_round);
        (self.rows, self.lossy) = (0, false);
        // What was missed while it was paused is not made up for.
        if now_ns.saturating_sub(self.due_ns) >= self.interval_ns {
            self.due_ns = now_ns;
        }
        self.started_ns = wall_ns;
        self.state = State::Reads(now_ns);
        self.order();
    }

    fn order(&mut self) {
        if let Thread::Works(worker) = &self.thread
            && !worker.order(Order { resume: self.resume.take() })
        {
            self.thread = Thread::Gone("its thread has ended".to_owned());
        }
    }

    fn start_if_free(&mut self) {
        if !matches!(&self.thread, Thread::Held { by, .. } if !by.is_alive()) {
            return;
        }
        let gone = Thread::Gone("it was never started".to_owned());
        let held = std::mem::replace(&mut self.thread, gone);
        if let Thread::Held { collector, shared, .. } = held {
            self.thread = match Worker::start(self.place, collector, shared) {
                Ok(worker) => Thread::Works(worker),
                Err(error) => Thread::Gone(format!("its thread cannot be started: {error}")),
            };
        }
    }
}

#[cfg(test)]
#[path = "slot_tests.rs"]
mod tests;
