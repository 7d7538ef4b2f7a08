//! Counters and gauges of the host: memory, load, CPU, pressure, disks, file
//! systems, network, connections and where they lead, services, and the clock.
//!
//! Names carry their units, and `_total` marks what only ever grows (since
//! boot). What there are several of has a label, as Prometheus writes it:
//! `filesystem_available_bytes{mount="/"}`. Values are as the kernel has them, in
//! bytes, seconds and percent.

mod kernel;
mod network;
mod sockets;
mod disk;
mod service;
mod clock;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, HostSample, Issue, IssueKind, Stream};

use super::{Collector, Progress};
use crate::host::Host;

/// The largest of the files is /proc/stat, with a line of interrupts.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Ticks of /proc/stat in a second: `USER_HZ`, 100 on every Linux of today
/// (man 5 proc).
const TICKS_PER_SECOND: f64 = 100.0;

/// Time between the two samples of a first poll. A counter alone says nothing;
/// two of them are a rate, also in a collection that polls once.
const PAIR: Duration = Duration::from_secs(5);

/// Samples the host's counters.
#[derive(Debug, Default)]
pub(crate) struct HostSamples {
    /// Whether counters were read before, so that this poll's make rates.
    has_sampled: bool,
}

/// Values of one source, by name.
type Values = Vec<(String, f64)>;

/// Reads one file into values; `None` if it makes no sense.
type Parse = fn(&str) -> Option<Values>;

/// Samples a source that is more than one file: values, and what is missing
/// among them.
type Sample = fn(&Host) -> (Values, Vec<Issue>);

/// Files that are parsed whole: stream, file, and how. `/proc/1/net` is the
/// network of the node, whatever network the agent is in.
const FILES: [(&str, &str, Parse); 18] = [
    ("memory", "/proc/meminfo", kernel::memory),
    ("memory", "/proc/vmstat", kernel::events),
    ("load", "/proc/loadavg", kernel::load),
    ("load", "/proc/sys/kernel/pid_max", |text| kernel::single("load_max_pids", text)),
    ("cpu", "/proc/stat", kernel::cpu),
    ("pressure", "/proc/pressure/cpu", |text| kernel::pressure("cpu", text)),
    ("pressure", "/proc/pressure/memory", |text| kernel::pressure("memory", text)),
    ("pressure", "/proc/pressure/io", |text| kernel::pressure("io", text)),
    ("conntrack", "/proc/sys/net/netfilter/nf_conntrack_count", |text| {
        kernel::single("conntrack_entries", text)
    }),
    ("conntrack", "/proc/sys/net/netfilter/nf_conntrack_max", |text| {
        kernel::single("conntrack_max_entries", text)
    }),
    ("conntrack", "/proc/1/net/stat/nf_conntrack", network::conntrack),
    ("files", "/proc/sys/fs/file-nr", kernel::files),
    ("disk", "/proc/diskstats", disk::devices),
    ("network", "/proc/1/net/dev", network::devices),
    ("tcp", "/proc/1/net/snmp", network::protocols),
    ("tcp", "/proc/1/net/netstat", network::extensions),
    ("tcp", "/proc/1/net/sockstat", network::sockets),
    ("tcp", "/proc/1/net/sockstat6", network::sockets_v6),
];

/// Sources that are more than one file: stream, and how it is sampled.
const SOURCES: [(&str, Sample); 4] = [
    ("connection", sockets::sample),
    ("filesystem", disk::sample),
    ("service", service::sample),
    ("clock", clock::sample),
];

impl Collector for HostSamples {
    fn name(&self) -> &'static str {
        "host-samples"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let issues = sample(host, batch);
        if batch.row_count() == 0 {
            if issues.iter().all(|issue| issue.kind == IssueKind::Absent) {
                return Ok(Progress::Absent("none of the counters below /proc exists".to_owned()));
            }
            let texts = issues.iter().filter(|issue| issue.kind != IssueKind::Absent);
            let texts: Vec<_> =
                texts.map(|issue| format!("{}: {}", issue.source, issue.message)).collect();
            bail!("no counter of the host can be read: {}", texts.join(", "));
        }
        for issue in issues {
            batch.issue(issue);
        }
        // The counters of a tree that was captured stand still.
        if !std::mem::replace(&mut self.has_sampled, true) && host.is_live() {
            std::thread::sleep(PAIR);
            sample(host, batch);
        }
        Ok(Progress::Done)
    }
}

/// Samples every source once; answers with what is missing.
fn sample(host: &Host, batch: &mut Batch) -> Vec<Issue> {
    let mut issues = Vec::new();
    for (family, path, parse) in FILES {
        match read(host, path, parse) {
            Ok(values) => push(host, batch, family, values),
            Err(issue) => issues.push(issue),
        }
    }
    for (family, source) in SOURCES {
        let (values, missing) = source(host);
        push(host, batch, family, values);
        issues.extend(missing);
    }
    issues
}

fn push(host: &Host, batch: &mut Batch, family: &str, values: Values) {
    if values.is_empty() {
        return;
    }
    let stream = batch.stream(Stream::host(family));
    let ts_ns = host.now_ns();
    for (name, value) in values {
        batch.sample(stream, &HostSample { ts_ns, name, value });
    }
}

/// Values of a file, or why there are none.
fn read(host: &Host, path: &str, parse: Parse) -> Result<Values, Issue> {
    match host.read_text(path, MAX_FILE_BYTES) {
        Ok(text) => parse(&text).ok_or_else(|| damaged(path)),
        Err(error) => Err(unread(path, &error)),
    }
}

/// Issue of a file whose text the kernel would not write.
fn damaged(path: &str) -> Issue {
    issue(path, IssueKind::Damaged, "is not what the kernel writes".to_owned())
}

/// Issue of a file that could not be read.
fn unread(path: &str, error: &io::Error) -> Issue {
    match error.kind() {
        // A kernel with pressure switched off has the files, and says so.
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
            issue(path, IssueKind::Absent, "this kernel does not have it".to_owned())
        }
        _ => issue(path, IssueKind::Unreadable, format!("cannot read: {error}")),
    }
}

/// An issue whose amount nobody can know.
fn issue(source: &str, kind: IssueKind, message: String) -> Issue {
    Issue { source: source.to_owned(), kind, amount: None, unit: None, message }
}

/// Name of a value that there are several of: `name{key="value"}`.
fn labelled(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(key, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{key}=\"{value}\"")
        })
        .collect();
    format!("{name}{{{}}}", labels.join(","))
}
