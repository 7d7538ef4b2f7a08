//! What the agents take of memory and processors, from the files of their control groups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use periscope_tests::cgroup::Cgroup;
use periscope_tests::lab::Lab;

use super::AGENT;

/// What the agent may have in memory.
const MEMORY_BYTES: u64 = 64 << 20;

/// What it may take of a processor when it has caught up, in percent.
const CPU_PERCENT: f64 = 3.0;

/// Time that a new process has to catch up before that is measured.
const SETTLING: Duration = Duration::from_secs(20);

/// What one process of the agent took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cost {
    node: String,
    peak_bytes: u64,
    /// Times after it was first seen, and what it had taken of a processor by then.
    cpu: Vec<(Duration, u64)>,
}

impl Cost {
    /// Percent of a processor between two times after its start; `None` if it was not
    /// there for so long.
    fn percent(&self, from: Duration) -> Option<f64> {
        let first = self.cpu.iter().find(|(at, _)| *at >= from)?;
        let last = self.cpu.last()?;
        let time = last.0.checked_sub(first.0).filter(|time| *time >= SETTLING / 2)?;
        Some((last.1 - first.1) as f64 / time.as_nanos() as f64 * 100.0)
    }
}

/// Measures all agents until it is told to stop.
pub(crate) struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<u32, Cost>>,
}

impl Meter {
    /// Begins to measure the agents of these nodes.
    pub(crate) fn start(lab: &Arc<Lab>, nodes: &[String]) -> Self {
        let (lab, nodes, stop) = (lab.clone(), nodes.to_vec(), Arc::new(AtomicBool::new(false)));
        let is_over = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut costs = BTreeMap::<u32, (Instant, Cgroup, Cost)>::new();
            while !is_over.load(Ordering::Relaxed) {
                for node in &nodes {
                    for pid in lab.processes(node, AGENT) {
                        let Ok(group) = Cgroup::of(pid) else { continue };
                        let first = || (Instant::now(), group, Cost::default());
                        let (since, group, cost) = costs.entry(pid).or_insert_with(first);
                        cost.node.clone_from(node);
                        // It may end between two lines.
                        if let (Ok(bytes), Ok(ns)) = (group.resident_bytes(), group.cpu_ns()) {
                            cost.peak_bytes = cost.peak_bytes.max(bytes);
                            cost.cpu.push((since.elapsed(), ns));
                        }
                    }
                }
                sleep(Duration::from_millis(500));
            }
            costs.into_iter().map(|(pid, (_, _, cost))| (pid, cost)).collect()
        });
        Self { stop, thread }
    }

    /// What each process took, by its id.
    pub(crate) fn stop(self) -> BTreeMap<u32, Cost> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("measured")
    }
}

/// Prints what each agent took, and compares it with the ceilings.
#[expect(clippy::print_stdout, reason = "figures that somebody may want to note")]
pub(crate) fn ceilings_hold(costs: &BTreeMap<u32, Cost>) {
    for (pid, cost) in costs {
        let steady = cost.percent(SETTLING);
        let whole = cost.percent(Duration::ZERO);
        println!(
            "{} pid {pid}: peak of {:.1} MiB, {} % of a processor, {} % once it has caught up",
            cost.node,
            cost.peak_bytes as f64 / 1_048_576.0,
            whole.map_or("?".to_owned(), |percent| format!("{percent:.2}")),
            steady.map_or("?".to_owned(), |percent| format!("{percent:.2}")),
        );
    }
    assert!(costs.values().any(|cost| cost.percent(SETTLING).is_some()), "measured too little");
    for cost in costs.values() {
        assert!(cost.peak_bytes > 1 << 20 && cost.peak_bytes <= MEMORY_BYTES, "{cost:?}");
        let percent = cost.percent(SETTLING).unwrap_or_default();
        assert!(percent <= CPU_PERCENT, "{percent} % on {}", cost.node);
    }
}
