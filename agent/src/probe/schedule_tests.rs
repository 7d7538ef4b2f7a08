//! Timers against real servers on 127.0.0.1, with intervals of some milliseconds.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};

use super::super::proxy::Proxies;
use super::super::target::{Target, TargetConfig};
use super::super::testing::{Act, Server};
use super::super::{Prober, blocking_run};
use super::*;
use crate::host::Host;

const INTERVAL: Duration = Duration::from_millis(20);

/// A target that is tried far more often than configuration allows.
fn target(name: &str, url: String) -> Target {
    let config = TargetConfig { name: name.into(), url, ..TargetConfig::default() };
    let mut target = Target::new(&config).expect("a target");
    target.probe.interval_ns = INTERVAL.as_nanos() as i64;
    target.probe.timeout_ns = target.probe.interval_ns - 1_000_000;
    target
}

fn prober(targets: Vec<Target>) -> Prober {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Arc::new(Host::open(folder.path()).expect("a root"));
    Prober::new(targets, host, None, Proxies::none(), "node-1").expect("a prober").0
}

/// Lets a prober run until `count` samples of target `index` are there.
async fn run_until(prober: Prober, index: usize, count: usize) -> Vec<(usize, ProbeSample)> {
    let (out, samples) = sync_channel(1_000);
    let stop = Arc::new(Stop::new());
    let running = tokio::spawn(run(Arc::new(prober), out, Arc::clone(&stop)));
    let mut seen = Vec::new();
    while seen.iter().filter(|(of, _)| *of == index).count() < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen.extend(samples.try_iter());
    }
    stop.stop();
    running.await.expect("no panic");
    seen
}

#[tokio::test]
async fn samples_come_at_a_fixed_rate_without_holes() {
    let server = Server::start(Act::Silence).await;
    let seen =
        run_until(prober(vec![target("a", format!("tcp://{}", server.address))]), 0, 6).await;
    let samples: Vec<_> = seen.into_iter().map(|(_, sample)| sample).collect();
    for (place, sample) in samples.iter().enumerate() {
        assert_eq!(sample.seq, place as u64);
        assert_ne!(sample.outcome, ProbeOutcome::Skipped, "{sample:?}");
        assert!(sample.ts_ns > 1_700_000_000_000_000_000, "{sample:?}");
    }
    // A busy machine makes ticks late or leaves some out; none comes early.
    let first = samples[0].mono_ns;
    let interval = INTERVAL.as_nanos() as i64;
    for (place, sample) in samples.iter().enumerate() {
        let since = sample.mono_ns - first;
        assert!(since >= (place as i64 - 1) * interval, "sample {place} after {since} ns");
    }
    let wall = samples[5].ts_ns - samples[0].ts_ns;
    let mono = samples[5].mono_ns - samples[0].mono_ns;
    assert!((wall - mono).abs() < 1_000_000_000, "{wall} {mono}");
}

#[tokio::test]
async fn what_a_frozen_agent_missed_is_not_made_up_for() {
    let server = Server::start(Act::Silence).await;
    let prober = prober(vec![target("a", format!("tcp://{}", server.address))]);
    let (out, samples) = sync_channel(1_000);
    let stop = Arc::new(Stop::new());
    let running = tokio::spawn(run(Arc::new(prober), out, Arc::clone(&stop)));
    let mut seen: Vec<ProbeSample> = Vec::new();
    while seen.len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen.extend(samples.try_iter().map(|(_, sample)| sample));
    }
    // The runtime has this one thread: nothing of it runs meanwhile.
    std::thread::sleep(6 * INTERVAL);
    let before = seen.len();
    while seen.len() < before + 6 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen.extend(samples.try_iter().map(|(_, sample)| sample));
    }
    stop.stop();
    running.await.expect("no panic");
    let interval = INTERVAL.as_nanos() as i64;
    let gap = (1..seen.len())
        .find(|place| seen[*place].mono_ns - seen[place - 1].mono_ns >= 5 * interval)
        .expect("a gap in time");
    for (place, sample) in seen.iter().enumerate() {
        assert_eq!(sample.seq, place as u64);
        let since = sample.mono_ns - seen[gap].mono_ns;
        let least = (place as i64 - gap as i64 - 1) * interval;
        assert!(place <= gap || since >= least, "sample {place} came {since} ns after the gap");
    }
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other() {
    let good = Server::start(Act::Silence).await;
    let hanging = Server::start(Act::Silence).await;
    let mut slow = target("slow", format!("http://{}/", hanging.address));
    slow.probe.interval_ns = 60_000_000_000;
    slow.probe.timeout_ns = 59_000_000_000;
    let mut prober = prober(vec![slow, target("good", format!("tcp://{}", good.address))]);
    // A node's name with which the slow one begins early.
    prober.node_name = (0..1_000_000)
        .map(|number| format!("node-{number}"))
        .find(|name| phase_offset(name, "slow", Duration::from_mins(1)) < Duration::from_millis(50))
        .expect("a name");
    let seen = run_until(prober, 1, 8).await;
    assert!(seen.iter().all(|(index, _)| *index == 1), "{seen:?}");
    assert_eq!(hanging.accepted(), 1);
}

#[tokio::test]
async fn a_timeout_ends_before_the_next_sample() {
    let server = Server::start(Act::Silence).await;
    let seen =
        run_until(prober(vec![target("a", format!("http://{}/", server.address))]), 0, 3).await;
    for (place, (_, sample)) in seen.iter().enumerate() {
        assert_eq!(sample.seq, place as u64);
        assert_eq!(sample.error_class, "timeout", "{sample:?}");
    }
}

#[tokio::test]
async fn what_has_no_room_is_counted_and_leaves_no_hole() {
    let server = Server::start(Act::Silence).await;
    let prober = Arc::new(prober(vec![target("a", format!("tcp://{}", server.address))]));
    let dropped = prober.dropped();
    let (out, samples) = sync_channel(2);
    let stop = Arc::new(Stop::new());
    let running = tokio::spawn(run(prober, out, Arc::clone(&stop)));
    let mut lost = 0;
    while lost < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        lost += dropped.take();
    }
    let mut seen: Vec<_> = samples.try_iter().map(|(_, sample)| sample.seq).collect();
    while seen.len() < 4 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        seen.extend(samples.try_iter().map(|(_, sample)| sample.seq));
    }
    assert_eq!(seen[..4], [0, 1, 2, 3]);
    drop(samples);
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("ends").expect("no panic");
}

#[test]
fn a_thread_runs_it_until_it_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    let prober = prober(vec![target("a", format!("tcp://{address}"))]);
    let (out, samples): (_, Receiver<(usize, ProbeSample)>) = sync_channel(100);
    let stop = Arc::new(Stop::new());
    std::thread::scope(|scope| {
        let asked = Arc::clone(&stop);
        let running = scope.spawn(move || blocking_run(prober, out, asked));
        let (index, sample) = samples.recv_timeout(Duration::from_secs(20)).expect("a sample");
        assert_eq!((index, sample.seq), (0, 0));
        assert_eq!(sample.address, address.to_string());
        stop.stop();
        running.join().expect("no panic").expect("a runtime");
    });
}

#[test]
fn offsets_spread_and_stay() {
    let interval = Duration::from_secs(10);
    let offset = |node: usize| phase_offset(&format!("aks-{node}"), "mcr", interval);
    assert_eq!(offset(1), offset(1));
    let mut tenths = [0; 10];
    for node in 0..1_000 {
        assert!(offset(node) < interval);
        tenths[offset(node).as_secs() as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    assert_ne!(offset(1), phase_offset("aks-1", "internet", interval));
}

#[test]
fn a_failure_of_a_frozen_agent_is_taken_back() {
    let failed = ProbeSample {
        outcome: ProbeOutcome::Fail,
        phase: "tcp".into(),
        error_class: "timeout".into(),
        ..ProbeSample::default()
    };
    let second = 1_000_000_000;
    assert_eq!(overslept(failed.clone(), 6 * second, 5 * second), failed);
    let frozen = overslept(failed, 66 * second, 5 * second);
    assert_eq!(frozen.outcome, ProbeOutcome::Skipped);
    assert_eq!((frozen.phase.as_str(), frozen.error_class.as_str()), ("tcp", "local"));
    assert_eq!(frozen.error, "the agent was away for 61.0s; before: timeout");
    let good = ProbeSample::default();
    assert_eq!(overslept(good.clone(), 66 * second, 5 * second), good);
}
