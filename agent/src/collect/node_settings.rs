//! What a node is set up with beside the kubelet: kernel parameters, the container
//! runtime and its registry mirrors, the services that run, and the last boot.
//!
//! Everything is chosen by allow-lists: a kernel has a thousand parameters, and
//! the runtime's configuration may hold credentials of registries, which stay
//! where they are.

use std::io;
use std::time::Duration;

use periscope_store::batch::{Batch, IssueKind};
use serde_json::Value;

use super::facts::Facts;
use super::flatten::flatten;
use super::{Collector, Progress};
use crate::host::{EntryKind, Host};

/// Kernel parameters that decide what a node can carry, by their names.
const SYSCTLS: [&str; 46] = [
    "fs.aio-max-nr",
    "fs.file-max",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.nr_open",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.bridge.bridge-nf-call-iptables",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.all.forwarding",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_udp_timeout",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
];

const CONTAINERD_FILE: &str = "/etc/containerd/config.toml";

/// A folder for each registry, with a `hosts.toml` that says where to ask instead.
const REGISTRY_FOLDER: &str = "/etc/containerd/certs.d";

/// Last words of the settings of containerd and of registries that are kept.
const RUNTIME_KEYS: [&str; 26] = [
    "BinaryName",
    "SystemdCgroup",
    "address",
    "bin_dir",
    "ca",
    "capabilities",
    "conf_dir",
    "config_path",
    "default_runtime_name",
    "disabled_plugins",
    "discard_unpacked_layers",
    "endpoint",
    "image_pull_progress_timeout",
    "imports",
    "max_concurrent_downloads",
    "max_container_log_line_size",
    "oom_score",
    "override_path",
    "root",
    "runtime_type",
    "sandbox",
    "sandbox_image",
    "server",
    "skip_verify",
    "snapshotter",
    "version",
];

/// Most registries whose mirrors are read.
const MAX_REGISTRIES: usize = 64;

/// Where systemd keeps the control groups of services.
const SERVICES_FOLDER: &str = "/sys/fs/cgroup/system.slice";

/// Services whose absence or presence explains something.
const SERVICES: [&str; 9] = [
    "kubelet.service",
    "containerd.service",
    "docker.service",
    "localdns.service",
    "systemd-resolved.service",
    "chrony.service",
    "chronyd.service",
    "systemd-timesyncd.service",
    "node-problem-detector.service",
];

/// Where AKS writes the labels that the kubelet gives its node.
const LABELS_FILE: &str = "/etc/default/kubelet";

/// Labels that tell what the node is made of, and their names here.
const LABELS: [(&str, &str); 4] = [
    ("kubernetes.azure.com/node-image-version", "node-image-version"),
    ("kubernetes.azure.com/os-sku", "os-sku"),
    ("kubernetes.azure.com/mode", "mode"),
    ("agentpool", "agentpool"),
];

/// Largest file that is read.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Reads kernel parameters, the runtime's configuration, registry mirrors,
/// services, labels and the last boot.
///
/// Scopes: `sysctl`; `containerd`, names dotted as in its file;
/// `containerd.registry`, names `registry.setting`; `service`, each `running` or
/// `stopped`; `aks`, of the node's labels; and `boot`.
#[derive(Debug, Default)]
pub(crate) struct NodeSettings;

impl Collector for NodeSettings {
    fn name(&self) -> &'static str {
        "node-settings"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        let facts = facts(host);
        if facts.settings.is_empty() && facts.issues.iter().all(|i| i.kind == IssueKind::Absent) {
            let text = "no kernel parameters, container runtime or services on this node";
            return Ok(Progress::Absent(text.to_owned()));
        }
        facts.push(batch);
        Ok(Progress::Done)
    }
}

fn facts(host: &Host) -> Facts {
    let mut facts = Facts::default();
    add_sysctls(&mut facts, host);
    add_boot(&mut facts, host);
    add_containerd(&mut facts, host);
    add_registries(&mut facts, host);
    add_services(&mut facts, host);
    add_labels(&mut facts, host);
    facts
}

/// Kernels differ in what they have; one issue names all that this one lacks.
fn add_sysctls(facts: &mut Facts, host: &Host) {
    let mut absent = Vec::new();
    for name in SYSCTLS {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        match host.read_text(&path, MAX_FILE_BYTES) {
            Ok(text) => {
                let words: Vec<_> = text.split_ascii_whitespace().collect();
                facts.set("sysctl", name, &words.join(" "), &path);
            }
            Err(error) if is_absent(&error) => absent.push(name),
            Err(error) => {
                facts.note(&path, IssueKind::Unreadable, format!("cannot read {path}: {error}"));
            }
        }
    }
    if !absent.is_empty() {
        let text = format!("this kernel does not have {}", absent.join(", "));
        facts.note("/proc/sys", IssueKind::Absent, text);
    }
}

fn add_boot(facts: &mut Facts, host: &Host) {
    let word = |text: &[u8], at: usize| {
        let text = String::from_utf8_lossy(text);
        text.split_ascii_whitespace().nth(at).map(str::to_owned)
    };
    if let Some(bytes) = facts.read(host, "/proc/uptime", MAX_FILE_BYTES)
        && let Some(seconds) = word(&bytes, 0)
    {
        facts.set("boot", "uptime_seconds", &seconds, "/proc/uptime");
    }
    if let Some(bytes) = facts.read(host, "/proc/cmdline", MAX_FILE_BYTES) {
        facts.set("boot", "cmdline", String::from_utf8_lossy(&bytes).trim(), "/proc/cmdline");
    }
}

fn add_containerd(facts: &mut Facts, host: &Host) {
    let Some(tree) = read_toml(facts, host, CONTAINERD_FILE) else { return };
    for (name, value) in kept(&tree) {
        facts.set("containerd", &name, &value, CONTAINERD_FILE);
    }
}

fn add_registries(facts: &mut Facts, host: &Host) {
    let entries = match host.list(REGISTRY_FOLDER) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return,
        Err(error) => {
            let text = format!("cannot list {REGISTRY_FOLDER}: {error}");
            return facts.note(REGISTRY_FOLDER, IssueKind::Unreadable, text);
        }
    };
    let is_folder = |kind| matches!(kind, EntryKind::Folder | EntryKind::Link);
    let registries: Vec<_> = entries.into_iter().filter(|entry| is_folder(entry.kind)).collect();
    if registries.len() > MAX_REGISTRIES {
        let text = format!("only the first {MAX_REGISTRIES} registries were read");
        facts.note(REGISTRY_FOLDER, IssueKind::Truncated, text);
    }
    for registry in registries.into_iter().take(MAX_REGISTRIES) {
        let path = format!("{REGISTRY_FOLDER}/{}/hosts.toml", registry.name);
        // A folder of certificates alone changes no mirror.
        if host.open_file(&path).is_err_and(|error| is_absent(&error)) {
            continue;
        }
        let Some(tree) = read_toml(facts, host, &path) else { continue };
        for (name, value) in kept(&tree) {
            let name = format!("{}.{name}", registry.name);
            facts.set("containerd.registry", &name, &value, &path);
        }
    }
}

/// Leaves of a tree that the allow-list has; never any below credentials.
fn kept(tree: &Value) -> Vec<(String, String)> {
    let is_kept = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        RUNTIME_KEYS.contains(&last)
            && !name.split('.').any(|word| ["auth", "header"].contains(&word))
    };
    let leaves = flatten(tree).into_iter().filter(|(name, _)| is_kept(name));
    leaves.map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

fn read_toml(facts: &mut Facts, host: &Host, path: &str) -> Option<Value> {
    let bytes = facts.read(host, path, MAX_FILE_BYTES)?;
    // The parser's own error would quote the file, credentials and all.
    let tree = toml::from_str(&String::from_utf8_lossy(&bytes)).ok();
    if tree.is_none() {
        facts.note(path, IssueKind::Damaged, format!("{path} is no TOML"));
    }
    tree
}

/// A service runs if its control group has processes. `systemctl` would have to
/// be started, and asks a daemon that may hang with the rest.
fn add_services(facts: &mut Facts, host: &Host) {
    if let Err(error) = host.list(SERVICES_FOLDER) {
        let kind = if is_absent(&error) { IssueKind::Absent } else { IssueKind::Unreadable };
        let text = format!("cannot tell which services run: {error}");
        return facts.note(SERVICES_FOLDER, kind, text);
    }
    for service in SERVICES {
        let path = format!("{SERVICES_FOLDER}/{service}/cgroup.events");
        let state = match host.read_text(&path, MAX_FILE_BYTES) {
            Ok(text) if text.lines().any(|line| line == "populated 1") => "running",
            Ok(_) => "stopped",
            Err(error) if is_absent(&error) => "stopped",
            Err(error) => {
                facts.note(&path, IssueKind::Unreadable, format!("cannot read {path}: {error}"));
                continue;
            }
        };
        facts.set("service", service, state, &path);
    }
}

/// `KUBELET_NODE_LABELS=agentpool=system,kubernetes.azure.com/mode=system`
fn add_labels(facts: &mut Facts, host: &Host) {
    let Ok(text) = host.read_text(LABELS_FILE, MAX_FILE_BYTES) else { return };
    let labels = text.lines().find_map(|line| line.strip_prefix("KUBELET_NODE_LABELS="));
    let labels = labels.unwrap_or_default().trim().trim_matches('"');
    for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
        if let Some((_, name)) = LABELS.iter().find(|(known, _)| *known == label) {
            facts.set("aks", name, value, LABELS_FILE);
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::super::facts::testing::{issues, lines, node};
    use super::*;

    #[test]
    fn kernel_parameters_are_read_by_name() {
        let (_folder, host) = node(&[
            ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("/proc/sys/vm/max_map_count", "65530\n"),
            ("/proc/sys/kernel/random/boot_id", "x\n"),
            ("/proc/uptime", "1234.56 99.00\n"),
        ]);
        let facts = facts(&host);
        assert_eq!(
            lines(&facts),
            [
                "sysctl net.ipv4.ip_local_port_range=32768 60999 (/proc/sys/net/ipv4/ip_local_port_range)",
                "sysctl vm.max_map_count=65530 (/proc/sys/vm/max_map_count)",
                "boot uptime_seconds=1234.56 (/proc/uptime)",
            ]
        );
        assert_eq!(
            issues(&facts),
            [
                "absent /proc/sys",
                "absent /proc/cmdline",
                "absent /etc/containerd/config.toml",
                "absent /sys/fs/cgroup/system.slice",
            ]
        );
    }

    #[test]
    fn the_runtime_is_read_without_credentials() {
        let config = r#"
            version = 2
            oom_score = -999
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "mcr.microsoft.com/oss/kubernetes/pause:3.6"
              [plugins."io.containerd.grpc.v1.cri".registry]
                config_path = "/etc/containerd/certs.d"
              [plugins."io.containerd.grpc.v1.cri".registry.configs."x.azurecr.io".auth]
                username = "u"
                password = "hunter22"
                auth = "aHVudGVyMjI="
                endpoint = "hunter22"
            [plugins."io.containerd.grpc.v1.cri".registry.headers]
                X-Token = ["hunter22"]
            "#;
        let hosts = r#"
            server = "https://mcr.microsoft.com"
            [host."https://x.azurecr.io/v2/"]
              capabilities = ["pull", "resolve"]
              [host."https://x.azurecr.io/v2/".header]
                Authorization = "Basic hunter22"
                ca = "hunter22"
            "#;
        let (_folder, host) = node(&[
            (CONTAINERD_FILE, config),
            ("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml", hosts),
            ("/etc/containerd/certs.d/plain/ca.crt", "x"),
            ("/etc/containerd/certs.d/bad/hosts.toml", "server = hunter22"),
        ]);
        let facts = facts(&host);
        let path = "/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml";
        assert_eq!(
            lines(&facts),
            [
                format!("containerd oom_score=-999 ({CONTAINERD_FILE})"),
                format!(
                    "containerd plugins.io.containerd.grpc.v1.cri.registry.config_path=\
                     /etc/containerd/certs.d ({CONTAINERD_FILE})"
                ),
                format!(
                    "containerd plugins.io.containerd.grpc.v1.cri.sandbox_image=\
                     mcr.microsoft.com/oss/kubernetes/pause:3.6 ({CONTAINERD_FILE})"
                ),
                format!("containerd version=2 ({CONTAINERD_FILE})"),
                format!(
                    "containerd.registry mcr.microsoft.com.host.https://x.azurecr.io/v2/.capabilities=\
                     [\"pull\",\"resolve\"] ({path})"
                ),
                format!(
                    "containerd.registry mcr.microsoft.com.server=https://mcr.microsoft.com ({path})"
                ),
            ]
        );
        let all = format!("{facts:?}");
        assert!(!all.contains("hunter22"), "{all}");
        assert!(
            issues(&facts).contains(&"damaged /etc/containerd/certs.d/bad/hosts.toml".to_owned())
        );
    }

    #[test]
    fn services_and_labels_are_told() {
        let (_folder, host) = node(&[
            (
                "/sys/fs/cgroup/system.slice/kubelet.service/cgroup.events",
                "populated 1\nfrozen 0\n",
            ),
            ("/sys/fs/cgroup/system.slice/chrony.service/cgroup.events", "populated 0\nfrozen 0\n"),
            (
                LABELS_FILE,
                "KUBELET_FLAGS=--x\nKUBELET_NODE_LABELS=agentpool=system,a=b,\
                 kubernetes.azure.com/node-image-version=AKSUbuntu-2204gen2containerd-202509.23.0\n",
            ),
        ]);
        let lines = lines(&facts(&host));
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        assert!(has("service kubelet.service=running "), "{lines:?}");
        assert!(has("service chrony.service=stopped ") && has("service docker.service=stopped "));
        assert!(
            has("aks node-image-version=AKSUbuntu-2204gen2containerd-202509.23.0 "),
            "{lines:?}"
        );
        assert!(has("aks agentpool=system ") && !has("aks a="));
    }

    #[test]
    fn a_tree_without_any_of_it_is_absent() {
        let (_folder, host) = node(&[("/etc/hostname", "x")]);
        let mut batch = Batch::new("node-settings");
        let progress = NodeSettings.collect(&host, &mut batch).expect("no failure");
        assert!(matches!(progress, Progress::Absent(_)), "{progress:?}");
    }
}
