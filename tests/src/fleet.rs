//! A bundle of a fleet with troubles, small enough for hundreds of nodes: an hour of
//! probes, some outages, a crash, kills, conditions, maintenance, gaps, and name servers.

use std::path::Path;

use anyhow::{Context, Result};
use periscope_store::batch::{
    Batch, Issue, IssueKind, LineFlags, Object, Outcome, ProbeOutcome, ProbeSample, ProbeTarget,
    Redaction, Setting, Stream,
};
use periscope_store::writer::{Node, Poll, Session, Writer};
use serde_json::json;

const SECOND_NS: i64 = 1_000_000_000;

/// 2026-11-22T12:00:00Z, when the fleet's hour begins.
const START_NS: i64 = 1_795_348_800 * SECOND_NS;

/// Time between two samples of a target.
const PROBE_NS: i64 = 10 * SECOND_NS;

/// Samples of each target.
const SAMPLES: i64 = 360;

/// Names and kinds of targets.
const TARGETS: [(&str, &str); 6] = [
    ("api-server", "api-server"),
    ("mcr", "mcr"),
    ("acr", "acr"),
    ("entra-id", "internet"),
    ("resource-manager", "internet"),
    ("packages", "internet"),
];

/// Writes a file for each node.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write(folder: &Path, nodes: usize) -> Result<()> {
    (0..nodes).try_for_each(|number| {
        write_node(folder, number).with_context(|| format!("writing node {number}"))
    })
}

/// Writes one node whose texts try to break out of any format.
///
/// # Errors
///
/// If its file cannot be written.
pub fn write_hostile(folder: &Path) -> Result<()> {
    let name = "</title><script>alert('node')</script>";
    let mut making = Making::begin(folder, "hostile", name, 0)?;
    let target = ProbeTarget {
        name: "\"><img src=https://evil.example/x onerror=alert('target')>".to_owned(),
        kind: "internet".to_owned(),
        url: "https://x.example/</script><script>alert('url')</script>".to_owned(),
        interval_ns: PROBE_NS,
        timeout_ns: 3 * SECOND_NS,
    };
    let mut batch = Batch::new("probe");
    let stream = batch.stream(Stream::probe(&target));
    for seq in 0..60 {
        let error = "<svg onload=alert('error')>\u{202e}";
        batch.probe(stream, &sample(seq, 0, (20..30).contains(&seq).then_some(("tcp", error))));
    }
    making.commit(batch, Outcome::Complete, None)?;
    let mut batch = Batch::new("dns-node");
    batch.setting(Setting {
        scope: "dns.node".to_owned(),
        name: "nameserver".to_owned(),
        value: Some("10.1.0.4<b onmouseover=alert('dns')>".to_owned()),
        source: "/run/systemd/resolve/resolv.conf' onclick='alert(1)".to_owned(),
    });
    batch.redaction(Redaction {
        rule: "<script>alert('rule')</script>".to_owned(),
        source: "javascript:alert('source')".to_owned(),
        amount: 1,
    });
    making.commit(batch, Outcome::Complete, None)?;
    let why = "<iframe src=https://evil.example/></iframe>".to_owned();
    making.commit(Batch::new("iptables"), Outcome::Failed, Some(why))?;
    making.writer.seal()?;
    Ok(())
}

/// One node while it is written.
struct Making {
    writer: Writer,
    seq: u64,
}

impl Making {
    fn begin(folder: &Path, file: &str, name: &str, number: usize) -> Result<Self> {
        let node = Node { name: name.to_owned(), machine_id: format!("{number:032x}") };
        let session = Session {
            run_id: "incident-4711".to_owned(),
            cluster: Some("fleet-dns-1a2b3c4d.hcp.westeurope.azmk8s.io".to_owned()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: format!("{number:08x}-0000-4000-8000-000000000000"),
            started_ns: START_NS,
            process: 1,
            config: "{}".to_owned(),
        };
        let writer = Writer::create(&folder.join(format!("{file}.db")), &node, &session)?;
        Ok(Self { writer, seq: 0 })
    }

    fn commit(&mut self, batch: Batch, outcome: Outcome, message: Option<String>) -> Result<()> {
        self.seq += 1;
        let poll = Poll {
            seq: self.seq,
            round: self.seq,
            started_ns: START_NS,
            ended_ns: START_NS + SAMPLES * PROBE_NS,
            outcome,
            message,
        };
        Ok(self.writer.commit(batch, &poll)?)
    }
}

fn write_node(folder: &Path, number: usize) -> Result<()> {
    let name = format!("aks-nodepool{}-{:08}-vmss{number:06}", number % 3 + 1, 31_415_926);
    let mut making = Making::begin(folder, &name, &name, number)?;
    making.commit(probes(number), Outcome::Complete, None)?;
    making.commit(logs(number), Outcome::Complete, None)?;
    making.commit(dns(number), Outcome::Complete, None)?;
    making.commit(objects(&name, number), Outcome::Complete, None)?;
    let (outcome, why) = match number % 40 {
        7 => (Outcome::Failed, Some("iptables-save: permission denied".to_owned())),
        _ => (Outcome::Complete, None),
    };
    making.commit(Batch::new("iptables"), outcome, why)?;
    let mut batch = Batch::new("container-logs");
    if number % 25 == 3 {
        batch.issue(Issue {
            source: "kube-system/coredns".to_owned(),
            kind: IssueKind::Dropped,
            amount: Some(1_024),
            unit: Some("bytes"),
            message: "the log was rotated away before it was read".to_owned(),
        });
        making.commit(batch, Outcome::Partial, None)?;
    } else {
        making.commit(batch, Outcome::Complete, None)?;
    }
    let none = Some("the node has no provisioning log".to_owned());
    making.commit(Batch::new("provision-logs"), Outcome::Absent, none)?;
    making.writer.seal()?;
    Ok(())
}

fn probes(number: usize) -> Batch {
    let mut batch = Batch::new("probe");
    for (place, (target, kind)) in TARGETS.iter().enumerate() {
        let target = ProbeTarget {
            name: (*target).to_owned(),
            kind: (*kind).to_owned(),
            url: format!("https://{target}.example/"),
            interval_ns: PROBE_NS,
            timeout_ns: 3 * SECOND_NS,
        };
        let stream = batch.stream(Stream::probe(&target));
        for seq in 0..SAMPLES {
            // The agent of some nodes was stopped for a while.
            let is_gap = number % 20 == 2 && (250..290).contains(&seq);
            if !is_gap {
                batch.probe(stream, &sample(seq, number + place, failure(number, place, seq)));
            }
        }
    }
    batch
}

fn sample(seq: i64, jitter: usize, failure: Option<(&str, &str)>) -> ProbeSample {
    let noise = (seq.unsigned_abs() * 7_919 + jitter as u64 * 104_729) % 9_000;
    let mut sample = ProbeSample {
        seq: seq.unsigned_abs(),
        ts_ns: START_NS + seq * PROBE_NS,
        mono_ns: 1_000 * SECOND_NS + seq * PROBE_NS,
        address: "203.0.113.7:443".to_owned(),
        status: Some(200),
        duration_us: 14_000 + noise + if (120..150).contains(&seq) { 40_000 } else { 0 },
        ..ProbeSample::default()
    };
    if let Some((phase, class)) = failure {
        sample.outcome = ProbeOutcome::Fail;
        phase.clone_into(&mut sample.phase);
        class.clone_into(&mut sample.error_class);
        sample.error = format!("{phase}: {class}");
        sample.status = None;
        sample.duration_us = 2_999_000;
    }
    sample
}

/// The registry fails everywhere, all targets of some nodes, and one here and there.
fn failure(number: usize, place: usize, seq: i64) -> Option<(&'static str, &'static str)> {
    let (start, length) = ((number as i64 * 37) % 300, 6 + (number as i64) % 20);
    match (number % 10, place) {
        (_, 1) if (180..195 + number as i64 % 3).contains(&seq) => Some(("tcp", "timeout")),
        (4, _) if (start..start + length).contains(&seq) => Some(("tcp", "unreachable")),
        (5, 3) if (start..start + length).contains(&seq) => Some(("dns", "timeout")),
        (6, 5) if seq % 90 == number as i64 % 90 => Some(("tls", "tls_handshake")),
        _ => None,
    }
}

fn logs(number: usize) -> Batch {
    let mut batch = Batch::new("service-logs");
    let kubelet = batch.stream(Stream::unit("kubelet.service"));
    let kernel = batch.stream(Stream::unit("kernel"));
    let mut log = |stream, at_s: i64, message: &str| {
        batch.log(stream, START_NS + at_s * SECOND_NS, LineFlags::default(), message.as_bytes());
    };
    log(kubelet, -1_200, "Started kubelet.service - Kubernetes Kubelet.");
    let at = 300 + (number as i64 * 53) % 2_800;
    if number % 8 == 1 {
        let ended = "kubelet.service: Main process exited, code=exited, status=255/EXCEPTION";
        log(kubelet, at, ended);
        log(kubelet, at + 1, "kubelet.service: Failed with result 'exit-code'.");
        log(kubelet, at + 40, "Started kubelet.service - Kubernetes Kubelet.");
    }
    if number % 12 == 2 {
        log(kubelet, at, "Stopping kubelet.service - Kubernetes Kubelet...");
        log(kubelet, at + 9, "Started kubelet.service - Kubernetes Kubelet.");
    }
    if number.is_multiple_of(9) {
        for kill in 0..3 {
            let text = format!(
                "Out of memory: Killed process {} (java) total-vm:9262312kB, \
                 anon-rss:4194304kB, file-rss:268kB, shmem-rss:0kB, UID:0 pgtables:332kB \
                 oom_score_adj:1000",
                4_242 + kill
            );
            log(kernel, at + kill * 200, &text);
        }
    }
    batch
}

fn dns(number: usize) -> Batch {
    let mut batch = Batch::new("dns-node");
    let servers: &[&str] = match number % 50 {
        13 => &["8.8.8.8"],
        14..=18 => &["10.1.0.4", "10.1.0.5"],
        _ => &["168.63.129.16"],
    };
    for server in servers {
        batch.setting(Setting {
            scope: "dns.node".to_owned(),
            name: "nameserver".to_owned(),
            value: Some((*server).to_owned()),
            source: "/run/systemd/resolve/resolv.conf".to_owned(),
        });
    }
    batch.redaction(Redaction {
        rule: "bearer".to_owned(),
        source: "/etc/kubernetes/azure.json".to_owned(),
        amount: 2 + number as u64 % 3,
    });
    batch
}

fn objects(name: &str, number: usize) -> Batch {
    let mut batch = Batch::new("kubernetes-objects");
    let ready = number % 15 != 4;
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "status": { "conditions": [
            {
                "type": "Ready",
                "status": if ready { "True" } else { "False" },
                "reason": if ready { "KubeletReady" } else { "KubeletNotReady" },
                "message": if ready { "ready" } else { "container runtime is down" },
                "lastTransitionTime":
                    if ready { "2026-11-20T08:00:00Z" } else { "2026-11-22T12:35:00Z" },
            },
            {
                "type": "DiskPressure",
                "status": if number % 22 == 5 { "True" } else { "False" },
                "reason": "KubeletHasDiskPressure",
                "message": "image file system is full",
                "lastTransitionTime": "2026-11-22T12:10:00Z",
            },
        ] },
    });
    batch.object(Object {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: None,
        name: name.to_owned(),
        uid: None,
        json: object.to_string(),
    });
    if number % 30 == 1 {
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "namespace": "default", "name": format!("{name}.1"), "uid": name },
            "involvedObject": { "kind": "Node", "name": name },
            "reason": "RebootScheduled",
            "message": "Scheduled Reboot: not before 12:50",
            "type": "Warning",
            "count": 4,
            "firstTimestamp": "2026-11-22T12:20:00Z",
            "lastTimestamp": "2026-11-22T12:45:00Z",
        });
        batch.object(Object {
            api_version: "v1".to_owned(),
            kind: "Event".to_owned(),
            namespace: Some("default".to_owned()),
            name: format!("{name}.1"),
            uid: Some(name.to_owned()),
            json: event.to_string(),
        });
    }
    batch
}
