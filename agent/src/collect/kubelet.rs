//! How the kubelet was started: its command line, and the files it names.
//!
//! Much of what a kubelet runs with is on its command line on one node and in a
//! configuration file on the next, so both are read. Of other processes nothing
//! but the program's name is looked at, and bootstrap credentials are never
//! opened.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use periscope_store::batch::{Batch, Issue, IssueKind};
use serde_json::Value;

use super::facts::Facts;
use super::{Collector, Progress};
use crate::host::{Entry, EntryKind, Host};

/// Where AKS puts the configuration file, whether it is in force or not.
const AKS_CONFIG_FILE: &str = "/etc/default/kubeletconfig.json";

const SCOPE: &str = "kubelet";

/// Bytes of a command line that tell whether it is the kubelet's.
const HEAD_BYTES: u64 = 512;

/// Longest command line and largest configuration file that are read.
const MAX_BYTES: usize = 1 << 20;

/// Most files of a configuration folder that are read.
const MAX_CONFIG_FILES: usize = 64;

/// Flags and settings with these in their names are masked, however they look.
const SECRET_WORDS: [&str; 5] = ["token", "password", "secret", "url-header", "urlheader"];

/// Reads the kubelet's flags and configuration files.
///
/// Scope `kubelet`. A flag's name is spelled as on the command line
/// (`--max-pods`, a switch alone being `true`), its source is
/// `command line of pid N`; a setting of a file has a dotted name
/// (`authentication.webhook.enabled`, lists as JSON), its source is the file.
/// A flag wins over the file, as the kubelet has it.
#[derive(Debug, Default)]
pub(crate) struct KubeletArguments;

impl Collector for KubeletArguments {
    fn name(&self) -> &'static str {
        "kubelet-arguments"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        let kubelets = match find_kubelets(host) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Progress::Absent("there is no /proc, as in a captured tree".to_owned()));
            }
            found => found.context("looking for the kubelet in /proc")?,
        };
        let Some((kubelet, others)) = kubelets.split_first() else {
            return Ok(Progress::Absent("no process in /proc is a kubelet".to_owned()));
        };
        facts(host, kubelet, others).push(batch);
        Ok(Progress::Done)
    }
}

/// Value of a flag of the running kubelet, such as `--kubeconfig`; `None` if no
/// kubelet is running or it was started without the flag.
pub(crate) fn kubelet_flag(host: &Host, flag: &str) -> Option<String> {
    let kubelets = find_kubelets(host).ok()?;
    kubelets.first()?.flag(flag).map(str::to_owned)
}

/// A running kubelet.
#[derive(Debug, PartialEq, Eq)]
struct Kubelet {
    pid: u32,
    /// Flags in their order: name with its dashes, value.
    flags: Vec<(String, String)>,
}

impl Kubelet {
    /// Value of a flag; of a repeated one the last, which is in force.
    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }
}

fn facts(host: &Host, kubelet: &Kubelet, others: &[Kubelet]) -> Facts {
    let mut facts = Facts::default();
    let source = format!("command line of pid {}", kubelet.pid);
    for (name, value) in &kubelet.flags {
        add(&mut facts, name, value, &source);
    }
    if !others.is_empty() {
        let pids: Vec<_> = others.iter().map(|other| other.pid.to_string()).collect();
        facts.issues.push(Issue {
            source: "/proc".to_owned(),
            kind: IssueKind::Truncated,
            amount: Some(others.len() as u64),
            unit: Some("processes"),
            message: format!("only the first kubelet was read, not pid {}", pids.join(", ")),
        });
    }
    match kubelet.flag("--config") {
        Some(path) => add_file(&mut facts, host, path),
        None if host.open_file(AKS_CONFIG_FILE).is_ok() => facts.note(
            AKS_CONFIG_FILE,
            IssueKind::Absent,
            format!("{AKS_CONFIG_FILE} exists, but the kubelet was started without --config"),
        ),
        None => {}
    }
    if let Some(folder) = kubelet.flag("--config-dir") {
        add_folder(&mut facts, host, folder);
    }
    facts
}

/// Adds the files of `--config-dir`, which the kubelet merges in order of name.
fn add_folder(facts: &mut Facts, host: &Host, folder: &str) {
    let entries = match host.list(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot list {folder}: {error}");
            return facts.note(folder, IssueKind::Unreadable, message);
        }
    };
    let is_config = |entry: &&Entry| {
        let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Link);
        is_file && Path::new(&entry.name).extension().is_some_and(|extension| extension == "conf")
    };
    let names: Vec<_> = entries.iter().filter(is_config).map(|entry| &entry.name).collect();
    for name in names.iter().take(MAX_CONFIG_FILES) {
        add_file(facts, host, &format!("{}/{name}", folder.trim_end_matches('/')));
    }
    if names.len() > MAX_CONFIG_FILES {
        let message = format!("only the first {MAX_CONFIG_FILES} files of {folder} were read");
        facts.note(folder, IssueKind::Truncated, message);
    }
}

fn add_file(facts: &mut Facts, host: &Host, path: &str) {
    let Some(bytes) = facts.read(host, path, MAX_BYTES) else { return };
    match parse_config(&bytes) {
        Ok(tree) => facts.set_tree(&tree, path, |facts, name, value| add(facts, name, value, path)),
        Err(error) => {
            facts.note(
                path,
                IssueKind::Damaged,
                format!("{path} is neither YAML nor JSON: {error}"),
            );
        }
    }
}

fn add(facts: &mut Facts, name: &str, value: &str, source: &str) {
    if is_secret(name) && !value.is_empty() {
        facts.set_masked(SCOPE, name, source);
    } else {
        facts.set(SCOPE, name, value, source);
    }
}

/// Whether the value of a name must not be kept. `…ChangeDetectionStrategy` is
/// about how Secrets are watched, and holds none.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("strategy")
}

/// Kubelets in `/proc`, lowest pid first.
fn find_kubelets(host: &Host) -> io::Result<Vec<Kubelet>> {
    let mut pids: Vec<u32> =
        host.list("/proc")?.iter().filter_map(|entry| entry.name.parse().ok()).collect();
    pids.sort_unstable();
    // A process that ends while it is looked at is none of the node's kubelets.
    Ok(pids
        .into_iter()
        .filter_map(|pid| Some(Kubelet { pid, flags: read_flags(host, pid).ok()?? }))
        .collect())
}

/// Flags of a process, `None` if it is no kubelet. Only the head of a command
/// line is read to find that out.
fn read_flags(host: &Host, pid: u32) -> io::Result<Option<Vec<(String, String)>>> {
    let path = format!("/proc/{pid}/cmdline");
    let mut head = Vec::new();
    host.open_file(&path)?.file.take(HEAD_BYTES).read_to_end(&mut head)?;
    if kubelet_arguments(&head).is_none() {
        return Ok(None);
    }
    Ok(kubelet_arguments(&host.read(&path, MAX_BYTES)?).map(|words| parse_flags(&words)))
}

/// Arguments of a NUL-separated command line behind the program's name, `None`
/// if the program is no kubelet.
fn kubelet_arguments(command_line: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(command_line);
    let mut words = text.strip_suffix('\0').unwrap_or(&text).split('\0');
    let program = words.next()?;
    match program.rsplit('/').next()? {
        "kubelet" => {}
        "hyperkube" if words.next() == Some("kubelet") => {}
        _ => return None,
    }
    Some(words.map(str::to_owned).collect())
}

/// Flags and values of a command line, in the forms that pflag takes:
/// `--name=value`, `--name value`, and `--name` alone for a switch.
///
/// Whether a word behind a flag is its value cannot be known without the list
/// of switches; it is taken to be, unless it looks like a flag. The kubelet
/// takes no other arguments, so nothing is misread.
fn parse_flags(words: &[String]) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if !is_flag(word) {
            continue;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => match words.next_if(|next| !is_flag(next)) {
                Some(value) => (word.as_str(), value.clone()),
                None => (word.as_str(), "true".to_owned()),
            },
        };
        flags.push((name.to_owned(), value));
    }
    flags
}

/// Whether a word is a flag, and no negative number.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_digit()))
}

/// Reads a configuration file, which is YAML of which JSON is a part.
fn parse_config(bytes: &[u8]) -> anyhow::Result<Value> {
    let tree: Value = match serde_json::from_slice(bytes) {
        Ok(tree) => tree,
        Err(_) => serde_saphyr::from_slice(bytes).map_err(|error| {
            // The error's own text quotes the file, of which a line may be secret.
            anyhow::anyhow!("{}", error.to_string().lines().next().unwrap_or_default())
        })?,
    };
    anyhow::ensure!(tree.is_object(), "no mapping at its root");
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::super::facts::testing::{issues, lines, node};
    use super::*;

    const COMMAND_LINE: &str = "/opt/bin/kubelet\0--enable-server\0--node-labels=agentpool=nodepool1,kubernetes.azure.com/role=agent\0--v=2\0--max-pods\x00110\0--kubeconfig\0/var/lib/kubelet/kubeconfig\0--bootstrap-kubeconfig\0/var/lib/kubelet/bootstrap-kubeconfig\0--oom-score-adj\0-999\0--hostname-override=\0--rotate-certificates=true\0--azure-container-registry-config=/etc/kubernetes/azure.json\0";

    fn check(command_line: &str, expected: &[(&str, &str)]) {
        let words = kubelet_arguments(command_line.as_bytes()).expect("a kubelet");
        let flags = parse_flags(&words);
        let flags: Vec<_> = flags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(flags, expected);
    }

    #[test]
    fn flags_in_all_their_forms() {
        check(
            COMMAND_LINE,
            &[
                ("--enable-server", "true"),
                ("--node-labels", "agentpool=nodepool1,kubernetes.azure.com/role=agent"),
                ("--v", "2"),
                ("--max-pods", "110"),
                ("--kubeconfig", "/var/lib/kubelet/kubeconfig"),
                ("--bootstrap-kubeconfig", "/var/lib/kubelet/bootstrap-kubeconfig"),
                ("--oom-score-adj", "-999"),
                ("--hostname-override", ""),
                ("--rotate-certificates", "true"),
                ("--azure-container-registry-config", "/etc/kubernetes/azure.json"),
            ],
        );
        check("kubelet\0-v\x002\0--last\0", &[("-v", "2"), ("--last", "true")]);
        check("/hyperkube\0kubelet\0--a=b", &[("--a", "b")]);
        check("kubelet", &[]);
        check("kubelet\0--empty\0\0--a=b=c\0", &[("--empty", ""), ("--a", "b=c")]);
    }

    #[test]
    fn only_a_kubelet_is_one() {
        for other in ["", "\0", "kubelets\0--a", "/usr/bin/hyperkube\0proxy\0", "vi\0kubelet\0"] {
            assert_eq!(kubelet_arguments(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_kubelet_with_a_json_file() {
        let (_folder, host) = node(&[
            ("/proc/1/cmdline", "/sbin/init\0"),
            (
                "/proc/812/cmdline",
                "/opt/bin/kubelet\0--config\0/etc/default/kubeletconfig.json\0--bootstrap-token=abcdef.0123456789abcdef\0",
            ),
            ("/proc/812/task/812/cmdline", "kubelet\0--never=read\0"),
            ("/proc/self/cmdline", "kubelet\0--never=read\0"),
            (
                AKS_CONFIG_FILE,
                r#"{"kind":"KubeletConfiguration","staticPodURLHeader":{"Authorization":["Basic eA=="]},"clusterDNS":["10.0.0.10"],"configMapAndSecretChangeDetectionStrategy":"Watch","evictionHard":{"memory.available":"750Mi"}}"#,
            ),
        ]);
        let kubelets = find_kubelets(&host).expect("a list");
        let facts = facts(&host, &kubelets[0], &kubelets[1..]);
        assert_eq!(
            lines(&facts),
            [
                "kubelet --config=/etc/default/kubeletconfig.json (command line of pid 812)",
                "kubelet --bootstrap-token=‹masked› (command line of pid 812)",
                "kubelet kind=KubeletConfiguration (/etc/default/kubeletconfig.json)",
                "kubelet staticPodURLHeader.Authorization=‹masked› (/etc/default/kubeletconfig.json)",
                "kubelet clusterDNS=[\"10.0.0.10\"] (/etc/default/kubeletconfig.json)",
                "kubelet configMapAndSecretChangeDetectionStrategy=Watch (/etc/default/kubeletconfig.json)",
                "kubelet evictionHard.memory.available=750Mi (/etc/default/kubeletconfig.json)",
            ]
        );
        assert_eq!(facts.masked.len(), 2);
        assert_eq!(issues(&facts), [""; 0]);
    }

    #[test]
    fn a_kubelet_with_yaml_files() {
        let (_folder, host) = node(&[
            (
                "/proc/9/cmdline",
                "kubelet\0--config=/etc/kubernetes/kubelet.yaml\0--config-dir=/etc/kubelet.d/\0",
            ),
            (
                "/etc/kubernetes/kubelet.yaml",
                "apiVersion: kubelet.config.k8s.io/v1beta1\n# comment\nauthentication:\n  webhook:\n    enabled: true\nclusterDNS: [10.96.0.10]\nmaxPods: 30\nnodeStatusUpdateFrequency: 10s\npodCIDR:\n",
            ),
            ("/etc/kubelet.d/10-a.conf", "maxPods: 40\n"),
            ("/etc/kubelet.d/20-b.conf", "maxPods: [\n"),
            ("/etc/kubelet.d/README", "maxPods: 50\n"),
        ]);
        let kubelets = find_kubelets(&host).expect("a list");
        let facts = facts(&host, &kubelets[0], &[]);
        assert_eq!(
            lines(&facts)[2..],
            [
                "kubelet apiVersion=kubelet.config.k8s.io/v1beta1 (/etc/kubernetes/kubelet.yaml)",
                "kubelet authentication.webhook.enabled=true (/etc/kubernetes/kubelet.yaml)",
                "kubelet clusterDNS=[\"10.96.0.10\"] (/etc/kubernetes/kubelet.yaml)",
                "kubelet maxPods=30 (/etc/kubernetes/kubelet.yaml)",
                "kubelet nodeStatusUpdateFrequency=10s (/etc/kubernetes/kubelet.yaml)",
                "kubelet podCIDR=- (/etc/kubernetes/kubelet.yaml)",
                "kubelet maxPods=40 (/etc/kubelet.d/10-a.conf)",
            ]
        );
        assert_eq!(issues(&facts), ["damaged /etc/kubelet.d/20-b.conf"]);
    }

    #[test]
    fn what_is_not_in_force_or_not_read_is_said() {
        let (_folder, host) = node(&[
            ("/proc/20/cmdline", "kubelet\0--v=4\0--v=5\0"),
            ("/proc/100/cmdline", "kubelet\0--v=6\0"),
            (AKS_CONFIG_FILE, "{}"),
        ]);
        let kubelets = find_kubelets(&host).expect("a list");
        let facts = facts(&host, &kubelets[0], &kubelets[1..]);
        assert_eq!(issues(&facts), ["truncated /proc", "absent /etc/default/kubeletconfig.json"]);
        assert!(facts.issues[0].message.ends_with("not pid 100"));
        assert_eq!(kubelet_flag(&host, "--v").as_deref(), Some("5"));
        assert_eq!(kubelet_flag(&host, "--kubeconfig"), None);
    }

    #[test]
    fn a_missing_file_costs_no_flag() {
        let (_folder, host) = node(&[("/proc/2/cmdline", "kubelet\0--config=/none.yaml\0")]);
        let mut batch = Batch::new("t");
        let progress = KubeletArguments.collect(&host, &mut batch).expect("a poll");
        assert_eq!((progress, batch.row_count()), (Progress::Done, 1));
    }

    #[test]
    fn no_kubelet_is_absent_and_so_is_no_proc() {
        let (_folder, host) = node(&[("/proc/1/cmdline", "/sbin/init\0")]);
        let progress = KubeletArguments.collect(&host, &mut Batch::new("t")).expect("a poll");
        assert!(matches!(progress, Progress::Absent(_)));
        let (_folder, host) = node(&[]);
        let progress = KubeletArguments.collect(&host, &mut Batch::new("t")).expect("a poll");
        assert!(matches!(progress, Progress::Absent(why) if why.contains("/proc")));
    }
}
