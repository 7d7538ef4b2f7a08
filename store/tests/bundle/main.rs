//! Files as they come back from nodes: opened as one, merged, damaged, hostile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use periscope_store::Error;
use periscope_store::batch::{
    Batch, HostSample, Issue, IssueKind, LineFlags, Object, Outcome, ProbeOutcome, ProbeSample,
    ProbeTarget, Setting, Stream,
};
use periscope_store::bundle::Bundle;
use periscope_store::merge::merge;
use periscope_store::writer::{Node, Poll, Session, Writer};
use proptest::prelude::*;
use rusqlite::Connection;

mod damage;
mod merging;
mod reading;
mod sealing;

const START: i64 = 1_795_350_480_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), machine_id: format!("machine-{name}") }
}

fn session(process: u32) -> Session {
    Session {
        run_id: "run-1".to_owned(),
        cluster: Some("c.hcp.eastus.azmk8s.io".to_owned()),
        agent_version: "0.1.0".to_owned(),
        boot_id: "boot".to_owned(),
        started_ns: START,
        process,
        config: "{}".to_owned(),
    }
}

fn poll(seq: u64) -> Poll {
    Poll {
        seq,
        round: seq,
        started_ns: START,
        ended_ns: START + (seq as i64 + 1) * SECOND,
        outcome: Outcome::Complete,
        message: None,
    }
}

fn logs(lines: usize) -> Batch {
    let mut batch = Batch::new("container-logs");
    for pod in ["coredns-1", "konnectivity-2"] {
        let stream = batch.stream(Stream::container("kube-system", pod, "uid", "main", 1));
        for line in 0..lines {
            let text = format!("line {line} of {pod}");
            let flags = LineFlags { stderr: line % 2 == 1, ..LineFlags::default() };
            batch.log(stream, START + line as i64 * SECOND, flags, text.as_bytes());
        }
    }
    batch
}

fn probes(outcomes: &str) -> Batch {
    probes_from(0, outcomes)
}

/// Samples from number `first` on, as the signs say: `f` failed, `s` was skipped,
/// at `_` the agent slept.
fn probes_from(first: u64, outcomes: &str) -> Batch {
    let mut batch = Batch::new("probe");
    let stream = batch.stream(Stream::probe(&ProbeTarget {
        name: "mcr".to_owned(),
        kind: "mcr".to_owned(),
        url: "https://127.0.0.1/v2/".to_owned(),
        interval_ns: 5 * SECOND,
        timeout_ns: 4 * SECOND,
    }));
    for (seq, outcome) in (first..).zip(outcomes.chars()).filter(|(_, sign)| *sign != '_') {
        let failed = outcome == 'f';
        batch.probe(
            stream,
            &ProbeSample {
                seq,
                ts_ns: START + seq as i64 * 5 * SECOND,
                mono_ns: seq as i64 * 5 * SECOND,
                outcome: match outcome {
                    'f' => ProbeOutcome::Fail,
                    's' => ProbeOutcome::Skipped,
                    _ => ProbeOutcome::Ok,
                },
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

/// A file with something in every kind of table.
fn write_node(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.db"));
    let mut writer = Writer::create(&path, &node(name), &session(1)).expect("a new file");
    writer.commit(logs(100), &poll(0)).expect("committed");
    writer.commit(probes("ooffo"), &poll(0)).expect("committed");
    let mut batch = Batch::new("dns-node");
    batch.setting(Setting {
        scope: "dns.node".to_owned(),
        name: "nameserver".to_owned(),
        value: Some("168.63.129.16".to_owned()),
        source: "/etc/resolv.conf".to_owned(),
    });
    batch.issue(Issue {
        source: "/etc/localdns/upstream-dns".to_owned(),
        kind: IssueKind::Absent,
        amount: None,
        unit: None,
        message: "no such file".to_owned(),
    });
    batch.object(Object {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: Some("kube-system".to_owned()),
        name: "coredns-1".to_owned(),
        uid: Some("uid".to_owned()),
        json: "{}".to_owned(),
    });
    writer.commit(batch, &poll(0)).expect("committed");
    let mut batch = Batch::new("host-samples");
    let stream = batch.stream(Stream::host("load"));
    batch.sample(stream, &HostSample { ts_ns: START, name: "load1".to_owned(), value: 0.5 });
    writer.commit(batch, &poll(0)).expect("committed");
    writer.seal().expect("sealed");
    path
}

/// A file that was written in many steps, and a copy of it from when half of
/// them were done: chunks of the file hold batches that the copy has apart.
fn write_growing(folder: &Path) -> [PathBuf; 2] {
    let path = folder.join("c.db");
    let copy = folder.join("copy-of-c.db");
    let mut writer = Writer::create(&path, &node("c"), &session(1)).expect("a new file");
    let mut probed = String::new();
    for seq in 0..10 {
        writer.commit(logs(10 + seq as usize), &poll(seq)).expect("committed");
        probed.push_str("of");
        // The same batch again, with more in it.
        let again = |number: u64, ended_s: i64| Poll {
            seq: number,
            ended_ns: START + ended_s * SECOND,
            ..poll(0)
        };
        writer.commit(probes(&probed), &again(0, seq as i64)).expect("committed");
        if seq == 4 {
            writer.commit(logs(3), &again(99, 5)).expect("committed");
            merge(std::slice::from_ref(&path), &copy).expect("copied");
            writer.commit(logs(4), &again(99, 100)).expect("committed");
        }
    }
    writer.seal().expect("sealed");
    [path, copy]
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect(sql);
    let columns = statement.column_count();
    statement
        .query_map([], |row| {
            let values: rusqlite::Result<Vec<String>> =
                (0..columns).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect();
            Ok(values?.join(" "))
        })
        .expect(sql)
        .collect::<rusqlite::Result<_>>()
        .expect(sql)
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// Everything that a bundle says, whatever order its files came in.
fn everything(bundle: &Bundle) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["raw_node", "raw_session", "raw_batch", "raw_issue", "raw_setting"] {
        all.extend(rows(bundle.connection(), &format!("SELECT * FROM {table} ORDER BY 1, 2, 3")));
    }
    for table in ["log", "probe", "sample"] {
        let sql = format!("SELECT * FROM {table} ORDER BY stream_id, ts_ns, batch_id");
        all.extend(rows(bundle.connection(), &sql));
    }
    all.extend(rows(bundle.connection(), "SELECT * FROM probe_stretch ORDER BY stream_id, ts_ns"));
    all
}
