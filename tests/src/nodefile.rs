//! A node's file that the store writes itself, for tests of what reads bundles.

use std::path::{Path, PathBuf};

use anyhow::Result;
use periscope_store::batch::{
    Batch, LineFlags, Outcome, ProbeOutcome, ProbeSample, ProbeTarget, Stream,
};
use periscope_store::writer::{Node, Poll, Session, Writer};

/// 2026-11-22T12:28:00Z, when the first line was written.
pub const START_NS: i64 = 1_795_350_480_000_000_000;

const SECOND: i64 = 1_000_000_000;

/// Writes `NODE.db`: `lines` log lines of each of two pods, one a second, of which every
/// hundredth says `timeout`; and ten probe samples, of which the fourth to the sixth
/// failed.
///
/// # Errors
///
/// If it cannot be written.
pub fn write(folder: &Path, node: &str, lines: usize) -> Result<PathBuf> {
    let path = folder.join(format!("{node}.db"));
    let session = Session {
        run_id: "run-1".to_owned(),
        cluster: None,
        agent_version: "0.1.0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: START_NS,
        process: 1,
        config: "{}".to_owned(),
    };
    let machine = Node { name: node.to_owned(), machine_id: format!("machine of {node}") };
    let mut writer = Writer::create(&path, &machine, &session)?;
    writer.commit(logs(lines), &poll(lines))?;
    writer.commit(probes(), &poll(lines))?;
    writer.seal()?;
    Ok(path)
}

fn poll(lines: usize) -> Poll {
    Poll {
        seq: 0,
        round: 0,
        started_ns: START_NS,
        ended_ns: START_NS + lines.max(60) as i64 * SECOND,
        outcome: Outcome::Complete,
        message: None,
    }
}

fn logs(lines: usize) -> Batch {
    let mut batch = Batch::new("container-logs");
    for pod in ["coredns-1", "coredns-2"] {
        let stream = batch.stream(Stream::container("kube-system", pod, "uid", "coredns", 0));
        for line in 0..lines {
            let word = if line % 100 == 7 { "[ERROR] i/o timeout" } else { "fine" };
            let text = format!("{word} {line} of {pod}");
            let ts_ns = START_NS + line as i64 * SECOND;
            batch.log(stream, ts_ns, LineFlags::default(), text.as_bytes());
        }
    }
    batch
}

fn probes() -> Batch {
    let mut batch = Batch::new("probe");
    let stream = batch.stream(Stream::probe(&ProbeTarget {
        name: "mcr".to_owned(),
        kind: "mcr".to_owned(),
        url: "https://127.0.0.1/v2/".to_owned(),
        interval_ns: 5 * SECOND,
        timeout_ns: 4 * SECOND,
    }));
    for seq in 0..10 {
        let failed = (3..6).contains(&seq);
        let at = seq * 5 * SECOND;
        batch.probe(
            stream,
            &ProbeSample {
                seq: seq as u64,
                ts_ns: START_NS + at,
                mono_ns: at,
                outcome: if failed { ProbeOutcome::Fail } else { ProbeOutcome::Ok },
                phase: if failed { "tcp".to_owned() } else { String::new() },
                error_class: if failed { "timeout".to_owned() } else { String::new() },
                tcp_us: (!failed).then_some(300),
                duration_us: 300,
                ..ProbeSample::default()
            },
        );
    }
    batch
}
