//! Exports sealed files in a thread of its own, oldest first, until none waits.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, IssueKind};

use super::sealing::Around;
use super::worker::lower_priority;
use crate::export::{self, ExportError, Exporter};
use crate::outbox::{Name, Sealed};

/// First wait after an export that may succeed later, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Wait while the process ends.
const HURRIED_WAIT: Duration = Duration::from_millis(500);

/// Time for which a file is put aside that was given up.
const ASIDE_NS: i64 = 3_600_000_000_000;

/// Time after which the outbox is looked at without being told.
const LOOK: Duration = Duration::from_mins(1);

/// Time for the diagnostics of a file that was sealed, and while the process ends.
const DIGEST: Duration = Duration::from_mins(1);
const HURRIED_DIGEST: Duration = Duration::from_secs(5);

/// What the thread is told.
enum Order {
    /// There may be something to export.
    Look,
    /// The configuration was read again.
    Use(Option<Box<dyn Exporter>>),
    /// The process ends: what can be exported is exported now.
    Hurry,
}

/// The runner's end of the thread.
#[derive(Clone)]
pub(super) struct Exporting {
    orders: Sender<Order>,
    /// Set when nothing is left that could be exported, after a hurry.
    done: Arc<AtomicBool>,
}

impl Exporting {
    /// Starts the thread.
    pub(super) fn start(around: Arc<Around>, nice: i32) -> Result<Self> {
        let (orders, inbox) = channel();
        let done = Arc::new(AtomicBool::new(false));
        let mut queue = Queue {
            around,
            exporter: None,
            aside: BTreeMap::new(),
            failures: 0,
            summarised: None,
            blocked: None,
            hurry: false,
            done: done.clone(),
        };
        std::thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || {
                lower_priority(nice);
                queue.work(&inbox);
            })
            .context("cannot start a thread to export files")?;
        Ok(Self { orders, done })
    }

    /// Says that something was sealed.
    pub(super) fn look(&self) {
        self.orders.send(Order::Look).ok();
    }

    /// Exports with another exporter from now on; files that were given up are
    /// tried again.
    pub(super) fn use_exporter(&self, exporter: Option<Box<dyn Exporter>>) {
        self.orders.send(Order::Use(exporter)).ok();
    }

    /// Asks for everything to be exported now.
    pub(super) fn hurry(&self) {
        self.orders.send(Order::Hurry).ok();
    }

    /// Whether that is done, as far as it can be.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

/// What became of a file that was to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// It is dealt with; the next may be tried.
    Done,
    /// The other end is away, for others too.
    Away,
    /// Nothing arrives until somebody changes something.
    Blocked,
}

/// What waits for export, and what became of it.
struct Queue {
    around: Arc<Around>,
    exporter: Option<Box<dyn Exporter>>,
    /// Files that were given up, and until when.
    aside: BTreeMap<Name, i64>,
    /// Failures since the last success.
    failures: u32,
    /// Run whose archive was put.
    summarised: Option<String>,
    /// Why no file can be exported, as it was told.
    blocked: Option<String>,
    hurry: bool,
    done: Arc<AtomicBool>,
}

impl Queue {
    fn work(&mut self, inbox: &Receiver<Order>) {
        let mut wait = Duration::ZERO;
        loop {
            match inbox.recv_timeout(wait) {
                // While the other end is away, a new file changes nothing.
                Ok(Order::Look) if self.failures > 0 && !self.hurry => {}
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => wait = self.export_all(),
                Ok(Order::Use(exporter)) => wait = self.use_exporter(exporter),
                Ok(Order::Hurry) => {
                    self.hurry = true;
                    wait = self.export_all();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Begins with another exporter. How long to wait before the next try.
    fn use_exporter(&mut self, exporter: Option<Box<dyn Exporter>>) -> Duration {
        self.exporter = exporter;
        self.aside.clear();
        self.failures = 0;
        (self.summarised, self.blocked) = (None, None);
        if let Some(Err(error)) = self.exporter.as_mut().map(|exporter| exporter.begin()) {
            self.tell_blocked(&error);
        }
        self.export_all()
    }

    /// Notes why nothing arrives, once for each reason.
    fn tell_blocked(&mut self, error: &ExportError) {
        let message = format!("no file can be exported, all are kept: {error}");
        if self.blocked.as_ref() == Some(&message) {
            tracing::warn!("{message}");
            return;
        }
        self.around.notes.add(Issue {
            source: self.exporter.as_ref().map_or_else(String::new, |exporter| exporter.place()),
            kind: IssueKind::Excluded,
            amount: None,
            unit: None,
            message: message.clone(),
        });
        self.blocked = Some(message);
    }

    /// Exports what waits. How long to wait before the next try.
    fn export_all(&mut self) -> Duration {
        if self.exporter.is_none() {
            self.done.store(self.hurry, Ordering::Relaxed);
            return LOOK;
        }
        let sealed = match self.around.outbox.sealed() {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!("cannot list what waits for export: {error}");
                return self.wait_after_failure();
            }
        };
        self.aside.retain(|name, _| sealed.iter().any(|sealed| sealed.name == *name));
        for sealed in sealed {
            if self.is_aside(&sealed.name) {
                continue;
            }
            match self.export(&sealed) {
                Tried::Done => {}
                // Nobody changes anything in the time that an end may take.
                Tried::Blocked if self.hurry => break,
                Tried::Away | Tried::Blocked => return self.wait_after_failure(),
            }
        }
        self.failures = 0;
        self.done.store(self.hurry, Ordering::Relaxed);
        LOOK
    }

    fn is_aside(&self, name: &Name) -> bool {
        let now_ns = self.around.host.boottime_ns();
        self.aside.get(name).is_some_and(|until_ns| now_ns < *until_ns)
    }

    /// Puts what belongs beside a run's files, once for each run of this process; who
    /// waits for the archive then finds the database too.
    fn put_beside(&mut self, name: &Name, path: &std::path::Path) -> Result<(), ExportError> {
        let Some(exporter) = &mut self.exporter else { return Ok(()) };
        if self.summarised.as_ref() == Some(&name.run_id) {
            return Ok(());
        }
        let deadline = if self.hurry { HURRIED_DIGEST } else { DIGEST };
        let all = export::beside(&self.around.host, name, path, deadline);
        for beside in all.map_err(ExportError::GiveUp)? {
            let export::Beside { path, content, media_type } = &beside;
            exporter.put_beside(&name.run_id, path, content, media_type)?;
        }
        self.summarised = Some(name.run_id.clone());
        Ok(())
    }

    /// Exports one file.
    fn export(&mut self, sealed: &Sealed) -> Tried {
        let path = self.around.outbox.sealed_path(&sealed.name);
        if !path.exists() {
            // It was the oldest, and its room was needed.
            return Tried::Done;
        }
        let Some(exporter) = &mut self.exporter else { return Tried::Blocked };
        let put = exporter.put(&sealed.name, &path);
        let to = exporter.place();
        let failure = match put.and_then(|()| self.put_beside(&sealed.name, &path)) {
            Ok(()) => {
                self.blocked = None;
                let file = sealed.name.file_name();
                tracing::info!(file, bytes = sealed.bytes, to, "exported");
                self.around.exported.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = self.around.outbox.remove(&sealed.name) {
                    tracing::warn!("cannot remove {}, which is exported: {error}", path.display());
                    let again_ns = self.around.host.boottime_ns() + ASIDE_NS;
                    self.aside.insert(sealed.name.clone(), again_ns);
                }
                return Tried::Done;
            }
            Err(error) => error,
        };
        self.around.export_failures.fetch_add(1, Ordering::Relaxed);
        match &failure {
            ExportError::Retry(_) => {
                tracing::warn!("{failure}");
                Tried::Away
            }
            ExportError::Blocked(_) => {
                self.tell_blocked(&failure);
                Tried::Blocked
            }
            ExportError::GiveUp(_) => {
                self.around.notes.add(Issue {
                    source: sealed.name.file_name(),
                    kind: IssueKind::Excluded,
                    amount: Some(sealed.bytes),
                    unit: Some("bytes"),
                    message: format!("not exported, kept for an hour and tried again: {failure}"),
                });
                let again_ns = self.around.host.boottime_ns() + ASIDE_NS;
                self.aside.insert(sealed.name.clone(), again_ns);
                Tried::Done
            }
        }
    }

    fn wait_after_failure(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.hurry { HURRIED_WAIT } else { back_off(self.failures, random()) }
    }
}

/// Wait after a number of failures in a row: doubled each time, and somewhere
/// between half of that and all of it, so that many agents do not come at once.
fn back_off(failures: u32, random: u64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1));
    let longest = doubled.min(LONGEST_WAIT).as_nanos() as u64;
    Duration::from_nanos(longest / 2 + random % (longest / 2))
}

/// A random number; where the kernel has none, agents may come at once.
fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK).ok();
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
#[path = "exporting_tests.rs"]
mod tests;
