//! When each target is tried: on its own timer, at a fixed rate, whatever the
//! others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use periscope_store::batch::{ProbeOutcome, ProbeSample};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Prober;
use super::check::check;
use super::failure::Class;
use super::witness::watch;

/// How much later than its timeout a try may end before the agent, and not the
/// target, is taken to have been away.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// Asks the prober to end.
#[derive(Debug)]
pub(crate) struct Stop {
    sender: watch::Sender<bool>,
}

impl Stop {
    /// One that has not been asked.
    pub(crate) fn new() -> Self {
        Self { sender: watch::Sender::new(false) }
    }

    /// Asks, from any thread. Tries under way are given up.
    pub(crate) fn stop(&self) {
        self.sender.send_replace(true);
    }

    /// Waits until somebody asks.
    async fn asked(&self) {
        // Fails only if the sender is gone, and this is the sender.
        self.sender.subscribe().wait_for(|asked| *asked).await.ok();
    }
}

/// Samples that there was no room for, of all targets together.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    count: AtomicU64,
}

impl Dropped {
    /// How many since the last call.
    pub(crate) fn take(&self) -> u64 {
        self.count.swap(0, Ordering::Relaxed)
    }
}

/// Tries all targets until asked to stop or until nobody receives any more.
pub(crate) async fn run(
    prober: Arc<Prober>,
    out: SyncSender<(usize, ProbeSample)>,
    stop: Arc<Stop>,
) {
    let start = Instant::now();
    let mut timers = JoinSet::new();
    for index in 0..prober.targets.len() {
        timers.spawn(watch_target(Arc::clone(&prober), index, start, out.clone()));
    }
    tokio::select! {
        () = stop.asked() => {}
        () = all(&mut timers) => {}
    }
    timers.shutdown().await;
}

/// Waits until all timers have ended. A panic in one goes on in the caller, who
/// has a guard for it.
async fn all(timers: &mut JoinSet<()>) {
    while let Some(ended) = timers.join_next().await {
        if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Tries one target again and again. A tick that comes late is not made up for:
/// the next is where it would have been, and the times of the samples show the gap.
async fn watch_target(
    prober: Arc<Prober>,
    index: usize,
    start: Instant,
    out: SyncSender<(usize, ProbeSample)>,
) {
    let target = &prober.targets[index];
    let offset = phase_offset(&prober.node_name, &target.probe.name, target.interval());
    let mut ticks = interval_at(start + offset, target.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seq = 0;
    loop {
        ticks.tick().await;
        let around = prober.keeper.current();
        let (ts_ns, mono_ns) = (prober.host.now_ns(), prober.host.boottime_ns());
        let (sample, shown) = Box::pin(watch(check(target, &around, &prober.proxies))).await;
        prober.shows.remember(target, shown);
        let took_ns = prober.host.boottime_ns() - mono_ns;
        let sample = ProbeSample { seq, ts_ns, mono_ns, ..sample };
        match out.try_send((index, overslept(sample, took_ns, target.probe.timeout_ns))) {
            Ok(()) => seq += 1,
            Err(TrySendError::Full(_)) => {
                prober.dropped.count.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// Takes back a failure that came while the agent itself did not run, as when
/// the machine was frozen: it says nothing about the target.
fn overslept(sample: ProbeSample, took_ns: i64, timeout_ns: i64) -> ProbeSample {
    let late_ns = took_ns.saturating_sub(timeout_ns);
    if sample.outcome != ProbeOutcome::Fail || late_ns <= OVERSLEPT.as_nanos() as i64 {
        return sample;
    }
    let late = Duration::from_nanos(late_ns.unsigned_abs());
    ProbeSample {
        outcome: ProbeOutcome::Skipped,
        error: format!("the agent was away for {late:.1?}; before: {}", sample.error_class),
        error_class: Class::Local.as_str().to_owned(),
        ..sample
    }
}

/// Where in its interval a target of a node is tried: by a hash of both names, so
/// that neither nodes nor targets try in step, and a restart changes nothing.
fn phase_offset(node: &str, target: &str, interval: Duration) -> Duration {
    let digest = Sha256::new().chain_update(node).chain_update([0]).chain_update(target).finalize();
    let random = digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let nanos = (u128::from(random) * interval.as_nanos()) >> 64;
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
