//! Services that a node lives by: memory, tasks and CPU time of the kubelet and of
//! the container runtime, as their control groups count them.

use periscope_store::batch::{Issue, IssueKind};

use super::kernel::number;
use super::{Values, damaged, issue, labelled, unread};
use crate::host::Host;

/// Units that are sampled.
const UNITS: [&str; 3] = ["kubelet.service", "containerd.service", "docker.service"];

/// Where systemd keeps the control groups of services.
const SLICE: &str = "/sys/fs/cgroup/system.slice";

/// A file of a control group is a few lines.
const MAX_BYTES: usize = 16 << 10;

/// A unit without a control group does not run, and is none of these values.
pub(super) fn sample(host: &Host) -> (Values, Vec<Issue>) {
    let mut values = Values::new();
    let mut issues = Vec::new();
    for unit in UNITS {
        for (file, name) in [
            ("memory.current", "service_memory_bytes"),
            ("pids.current", "service_tasks"),
            ("cpu.stat", "service_cpu_seconds_total"),
        ] {
            let path = format!("{SLICE}/{unit}/{file}");
            let text = match host.read_text(&path, MAX_BYTES) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    issues.push(unread(&path, &error));
                    continue;
                }
            };
            let value = match file {
                "cpu.stat" => cpu_seconds(&text),
                _ => number(text.trim()),
            };
            match value {
                Some(value) => values.push((labelled(name, &[("unit", unit)]), value)),
                None => issues.push(damaged(&path)),
            }
        }
    }
    if values.is_empty() && issues.is_empty() {
        let text = "none of the services has a control group there".to_owned();
        issues.push(issue(SLICE, IssueKind::Absent, text));
    }
    (values, issues)
}

/// `usage_usec 1234567`, the first line of `cpu.stat`.
fn cpu_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    number(line.trim()).map(|microseconds| microseconds / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::testing::node;
    use super::*;

    #[test]
    fn what_runs_is_sampled() {
        let (_folder, host) = node(&[
            ("/sys/fs/cgroup/system.slice/kubelet.service/memory.current", "104857600\n"),
            ("/sys/fs/cgroup/system.slice/kubelet.service/pids.current", "27\n"),
            ("/sys/fs/cgroup/system.slice/kubelet.service/cpu.stat", "usage_usec 2500000\nx 1\n"),
            ("/sys/fs/cgroup/system.slice/containerd.service/pids.current", "many\n"),
        ]);
        let (values, issues) = sample(&host);
        let expected = [
            ("service_memory_bytes{unit=\"kubelet.service\"}".to_owned(), 104_857_600.0),
            ("service_tasks{unit=\"kubelet.service\"}".to_owned(), 27.0),
            ("service_cpu_seconds_total{unit=\"kubelet.service\"}".to_owned(), 2.5),
        ];
        assert_eq!(values, expected);
        assert_eq!(issues.len(), 1, "{issues:?}");
        let (values, issues) = sample(&node(&[("/etc/hostname", "x")]).1);
        assert!(values.is_empty() && issues[0].kind == IssueKind::Absent, "{issues:?}");
    }
}
