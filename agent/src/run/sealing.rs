//! Seals files in a thread of its own: compressing takes seconds in which samples
//! must go on being written.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, IssueKind};
use periscope_store::positions::Abandoned;
use periscope_store::writer::Writer;

use super::notes::Notes;
use super::turns::Turns;
use super::worker::lower_priority;
use crate::host::Host;
use crate::outbox::{Name, Outbox};

/// Time after which a file that could not be sealed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// A file that is to be sealed, as it was left.
pub(super) enum Unsealed {
    /// The writer has ended it.
    Written(Writer),
    /// A process that is no more has.
    Abandoned(Abandoned),
}

/// What the threads around the outbox share.
pub(super) struct Around {
    pub(super) host: Arc<Host>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) notes: Arc<Notes>,
    /// Taken while a part of a file is compressed.
    pub(super) turns: Arc<Turns>,
    /// Files sealed by this process.
    pub(super) sealed: AtomicU64,
    /// Files exported by this process.
    pub(super) exported: AtomicU64,
    /// Exports that failed.
    pub(super) export_failures: AtomicU64,
}

/// The runner's end of the thread.
pub(super) struct Sealer {
    jobs: Sender<(Name, Unsealed)>,
    shared: Arc<Shared>,
}

struct Shared {
    around: Arc<Around>,
    /// Files that were handed over and are not sealed.
    open: AtomicU64,
    /// `CLOCK_BOOTTIME` after which compressing ends; none is the largest.
    compress_until_ns: AtomicI64,
    sealed: Box<dyn Fn(&Name) + Send + Sync>,
}

impl Sealer {
    /// Starts the thread; `sealed` is called in it after each file.
    pub(super) fn start(
        around: Arc<Around>,
        nice: i32,
        sealed: impl Fn(&Name) + Send + Sync + 'static,
    ) -> Result<Self> {
        let (jobs, inbox) = channel();
        let shared = Arc::new(Shared {
            around,
            open: AtomicU64::new(0),
            compress_until_ns: AtomicI64::new(i64::MAX),
            sealed: Box::new(sealed),
        });
        let thread_shared = shared.clone();
        std::thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || {
                lower_priority(nice);
                work(&thread_shared, &inbox);
            })
            .context("cannot start a thread to seal files")?;
        Ok(Self { jobs, shared })
    }

    /// Hands a file over.
    pub(super) fn seal(&self, name: Name, file: Unsealed) {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        if self.jobs.send((name, file)).is_err() {
            tracing::error!("the thread that seals files has ended");
        }
    }

    /// Whether everything is sealed that was handed over.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.open.load(Ordering::Relaxed) == 0
    }

    /// From a time of `CLOCK_BOOTTIME` on, files are sealed as they are.
    pub(super) fn compress_until(&self, time_ns: i64) {
        self.shared.compress_until_ns.store(time_ns, Ordering::Relaxed);
    }
}

/// Body of the thread.
fn work(shared: &Shared, inbox: &Receiver<(Name, Unsealed)>) {
    let mut again: Vec<Name> = Vec::new();
    loop {
        let wait = if again.is_empty() { Duration::from_hours(1) } else { RETRY };
        let jobs: Vec<_> = match inbox.recv_timeout(wait) {
            Ok((name, file)) => vec![(name, Some(file))],
            Err(RecvTimeoutError::Timeout) => again.drain(..).map(|name| (name, None)).collect(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for (name, file) in jobs {
            match seal(shared, &name, file) {
                Ok(is_sealed) => {
                    shared.around.sealed.fetch_add(u64::from(is_sealed), Ordering::Relaxed);
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                    (shared.sealed)(&name);
                }
                Err(error) => {
                    shared.around.notes.add(Issue {
                        source: name.file_name(),
                        kind: IssueKind::Excluded,
                        amount: None,
                        unit: None,
                        message: format!("cannot seal it yet: {}", super::one_line(&error)),
                    });
                    again.push(name);
                }
            }
        }
    }
}

/// Seals a file and moves it to the outbox. One that is not given is opened again.
/// False if there is nothing to seal.
fn seal(shared: &Shared, name: &Name, file: Option<Unsealed>) -> Result<bool> {
    let Around { host, outbox, .. } = &*shared.around;
    let mut turn = None;
    let go_on = || {
        // Gives its turn back, and takes the next one.
        turn.take();
        turn = Some(shared.around.turns.wait());
        host.boottime_ns() < shared.compress_until_ns.load(Ordering::Relaxed)
    };
    let path = outbox.live_path(name);
    if !path.exists() {
        shared.around.notes.add(Issue {
            source: name.file_name(),
            kind: IssueKind::Dropped,
            amount: Some(1),
            unit: Some("files"),
            message: "somebody removed it while it was written to".to_owned(),
        });
        return Ok(false);
    }
    match file {
        Some(Unsealed::Written(writer)) => writer.seal_while(go_on)?,
        Some(Unsealed::Abandoned(abandoned)) => abandoned.seal_while(go_on)?,
        None => {
            let Some(abandoned) = Abandoned::open(&path)? else {
                outbox.remove_live(name)?;
                return Ok(false);
            };
            abandoned.seal_while(go_on)?;
        }
    }
    outbox.publish(name).with_context(|| format!("cannot move {}", path.display()))?;
    Ok(true)
}
