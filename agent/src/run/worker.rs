//! A collector's thread: it polls when it is told to, once, and hands over what
//! it read.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use periscope_store::batch::{Batch, Mask};
use periscope_store::positions::Positions;

use super::turns::Turns;
use crate::collect::{Collector, Progress};
use crate::host::Host;

/// Asks a collector for one batch.
#[derive(Debug)]
pub(super) struct Order {
    /// Where to go on from; `None` where it was.
    pub(super) resume: Option<Positions>,
}

/// A batch that a collector's thread hands over.
pub(super) struct Event {
    /// Place of the collector in the list.
    pub(super) collector: usize,
    pub(super) batch: Batch,
    pub(super) started_ns: i64,
    pub(super) ended_ns: i64,
    pub(super) result: Result<Progress, String>,
}

/// What all collectors' threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) host: Arc<Host>,
    pub(super) mask: Arc<dyn Mask>,
    pub(super) events: SyncSender<Event>,
    /// Taken while logs are read.
    pub(super) turns: Arc<Turns>,
    /// Niceness of the threads; 0 leaves it.
    pub(super) nice: i32,
}

/// Tells whether a thread has ended; it may be asked after all else is gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Life(Weak<()>);

impl Life {
    /// Whether the thread is still there.
    pub(super) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The runner's end of a thread.
#[derive(Debug)]
pub(super) struct Worker {
    orders: SyncSender<Order>,
    life: Life,
}

impl Worker {
    /// Starts the thread of the collector with place `at`. It is never joined: one
    /// that hangs must not hold up the end of the process.
    pub(super) fn start(
        at: usize,
        collector: Box<dyn Collector>,
        shared: Shared,
    ) -> io::Result<Self> {
        // Room for one: an order is only given to a thread that has none.
        let (orders, inbox) = sync_channel(1);
        let alive = Arc::new(());
        let life = Life(Arc::downgrade(&alive));
        std::thread::Builder::new().name(collector.name().to_owned()).spawn(move || {
            lower_priority(shared.nice);
            work(at, collector, &shared, &inbox);
            drop(alive);
        })?;
        Ok(Self { orders, life })
    }

    /// Asks for a batch; false if the thread has ended.
    pub(super) fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    pub(super) fn life(&self) -> Life {
        self.life.clone()
    }
}

/// Body of the thread.
fn work(at: usize, mut collector: Box<dyn Collector>, shared: &Shared, inbox: &Receiver<Order>) {
    while let Ok(order) = inbox.recv() {
        let turn = collector.follows().then(|| shared.turns.wait());
        let started_ns = shared.host.now_ns();
        let mut batch = Batch::masked(collector.name(), shared.mask.clone());
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let Some(positions) = &order.resume {
                collector.resume(positions);
            }
            let progress = collector.collect(&shared.host, &mut batch);
            batch.finish();
            progress
        }));
        let result = match result {
            Ok(Ok(progress)) => Ok(progress),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(panic) => Err(format!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        drop(turn);
        let ended_ns = shared.host.now_ns();
        let event = Event { collector: at, batch, started_ns, ended_ns, result };
        if shared.events.send(event).is_err() {
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

/// Makes this thread give way to others, for processor and disk alike: the kernel
/// takes the priority of reads and writes from the niceness (man 2 `ioprio_set`).
pub(super) fn lower_priority(nice: i32) {
    if nice != 0
        && let Err(error) = rustix::process::nice(nice)
    {
        tracing::warn!("cannot lower the priority of a thread: {error}");
    }
}
