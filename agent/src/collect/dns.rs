//! Name resolution as the node and the agent's own pod have it set up.
//!
//! Reads what is configured and judges nothing: whether a resolver is custom is
//! for a diagnostic to say, which sees the layers of all nodes together.

use std::sync::Arc;
use std::time::Duration;

use periscope_store::batch::{Batch, Issue, IssueKind};

use super::facts::Facts;
use super::resolv_conf::parse_resolv_conf;
use super::{Collector, Progress};
use crate::host::Host;

/// Resolver files of the node. `/etc/resolv.conf` is mostly a link to the first.
const NODE_FILES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// Where LocalDNS keeps the servers of the virtual network, which it hides from `resolv.conf`.
const UPSTREAM_FILE: &str = "/etc/localdns/upstream-dns";

/// Configuration that LocalDNS runs with.
const COREFILE: &str = "/opt/azure/containers/localdns/updated.localdns.corefile";

/// Address on which LocalDNS answers the node itself and `dnsPolicy: Default`.
const NODE_LISTENER: &str = "169.254.10.10";

/// Resolver file of the pod that the agent runs in.
const POD_FILE: &str = "/etc/resolv.conf";

const HOSTS_FILE: &str = "/etc/hosts";

/// Largest file that is read.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Most names of `/etc/hosts` that become settings.
const MAX_HOSTS: usize = 2000;

const INTERVAL: Duration = Duration::from_mins(5);

/// Reads the node's resolver files, LocalDNS and `/etc/hosts`.
///
/// Scopes: `dns.node` with `nameserver`, `search` and `options`; `dns.localdns`
/// with `upstream` and `forward` (servers that the node's queries go on to,
/// from either file), `forward.cluster` (those of pods), `server-block` and
/// `corefile` (`present`, or no row and an issue); `dns.hosts` with one name each.
#[derive(Debug, Default)]
pub(crate) struct NodeDns;

impl Collector for NodeDns {
    fn name(&self) -> &'static str {
        "dns-node"
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        let facts = node_facts(host);
        let is_empty = facts.settings.is_empty();
        let is_absent = facts.issues.iter().all(|issue| issue.kind == IssueKind::Absent);
        facts.push(batch);
        if is_empty && is_absent {
            let tried = NODE_FILES.join(", ");
            return Ok(Progress::Absent(format!(
                "no setting in {tried}, {HOSTS_FILE} or LocalDNS"
            )));
        }
        Ok(Progress::Done)
    }
}

/// Reads the agent's own `/etc/resolv.conf`, which is that of a pod if the agent
/// runs in one. Scope `dns.pod`, names as in `dns.node`.
#[derive(Debug)]
pub(crate) struct PodDns {
    own: Option<Arc<Host>>,
}

impl PodDns {
    /// Takes a door opened at the agent's own `/`, or `None` where the agent
    /// runs on the node itself and has no view of a pod.
    pub(crate) fn new(own: Option<Arc<Host>>) -> Self {
        Self { own }
    }
}

impl Collector for PodDns {
    fn name(&self) -> &'static str {
        "dns-pod"
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn collect(&mut self, _host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        let Some(own) = &self.own else {
            return Ok(Progress::Absent("not running in a pod".to_owned()));
        };
        let facts = pod_facts(own);
        let is_absent = facts.issues.iter().any(|issue| issue.kind == IssueKind::Absent);
        facts.push(batch);
        if is_absent {
            return Ok(Progress::Absent(format!("the pod has no {POD_FILE}")));
        }
        Ok(Progress::Done)
    }
}

fn node_facts(host: &Host) -> Facts {
    let mut facts = Facts::default();
    for path in NODE_FILES {
        add_resolv_conf(&mut facts, host, "dns.node", path);
    }
    if let Some(bytes) = facts.read(host, UPSTREAM_FILE, MAX_FILE_BYTES) {
        for server in String::from_utf8_lossy(&bytes).split_ascii_whitespace() {
            facts.set("dns.localdns", "upstream", server, UPSTREAM_FILE);
        }
    }
    if let Some(bytes) = facts.read(host, COREFILE, MAX_FILE_BYTES) {
        add_corefile(&mut facts, &String::from_utf8_lossy(&bytes));
    }
    if let Some(bytes) = facts.read(host, HOSTS_FILE, MAX_FILE_BYTES) {
        add_hosts(&mut facts, &String::from_utf8_lossy(&bytes));
    }
    facts
}

fn pod_facts(own: &Host) -> Facts {
    let mut facts = Facts::default();
    add_resolv_conf(&mut facts, own, "dns.pod", POD_FILE);
    facts
}

fn add_resolv_conf(facts: &mut Facts, host: &Host, scope: &str, source: &str) {
    let Some(bytes) = facts.read(host, source, MAX_FILE_BYTES) else { return };
    let conf = parse_resolv_conf(&bytes);
    for server in &conf.nameservers {
        facts.set(scope, "nameserver", server, source);
    }
    for domain in &conf.search {
        facts.set(scope, "search", domain, source);
    }
    if !conf.options.is_empty() {
        facts.set(scope, "options", &conf.options.join(" "), source);
    }
}

fn add_corefile(facts: &mut Facts, text: &str) {
    facts.set("dns.localdns", "corefile", "present", COREFILE);
    for block in parse_corefile(text) {
        facts.set("dns.localdns", "server-block", &block.names.join(" "), COREFILE);
        let name = if block.serves_node() { "forward" } else { "forward.cluster" };
        for server in block.root_forward() {
            facts.set("dns.localdns", name, server, COREFILE);
        }
    }
}

fn add_hosts(facts: &mut Facts, text: &str) {
    let hosts = parse_hosts(text);
    for (name, address) in hosts.iter().take(MAX_HOSTS) {
        facts.set("dns.hosts", name, address, HOSTS_FILE);
    }
    if hosts.len() > MAX_HOSTS {
        facts.issues.push(Issue {
            source: HOSTS_FILE.to_owned(),
            kind: IssueKind::Truncated,
            amount: Some((hosts.len() - MAX_HOSTS) as u64),
            unit: Some("names"),
            message: format!("only the first {MAX_HOSTS} names were kept"),
        });
    }
}

/// Names and addresses of a hosts file, in its order; see hosts(5).
fn parse_hosts(text: &str) -> Vec<(String, String)> {
    let mut hosts = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        hosts.extend(words.map(|name| (name.to_owned(), address.to_owned())));
    }
    hosts
}

/// A server block of a Corefile.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServerBlock {
    /// Zones with ports, such as `.:53`.
    names: Vec<String>,
    /// Addresses of its `bind` lines; none means all.
    bind: Vec<String>,
    /// Words of each `forward` line after the keyword: zone, then servers.
    forwards: Vec<Vec<String>>,
}

impl ServerBlock {
    /// Whether queries of the node itself come here, not those of pods.
    fn serves_node(&self) -> bool {
        self.bind.is_empty() || self.bind.iter().any(|address| address == NODE_LISTENER)
    }

    /// Servers that a block for the root zone forwards all names to.
    fn root_forward(&self) -> impl Iterator<Item = &String> {
        let is_root = self.names.iter().any(|name| {
            let zone = name.split_once("://").map_or(name.as_str(), |(_, zone)| zone);
            zone == "." || zone.starts_with(".:")
        });
        self.forwards
            .iter()
            .filter(move |words| is_root && words.first().is_some_and(|zone| zone == "."))
            .flat_map(|words| &words[1..])
    }
}

/// Server blocks of a Corefile. Snippets (`(name) { … }`) are left out; what is
/// not understood is skipped.
fn parse_corefile(text: &str) -> Vec<ServerBlock> {
    let mut blocks = Vec::new();
    let mut open = ServerBlock::default();
    let mut depth = 0_usize;
    for line in text.lines() {
        let mut words: Vec<String> = line
            .split_ascii_whitespace()
            .take_while(|word| !word.starts_with('#'))
            .map(|word| word.trim_matches('"').trim_end_matches(',').to_owned())
            .collect();
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        let closes = words.first().is_some_and(|word| word == "}");
        match depth {
            _ if closes => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    blocks.push(std::mem::take(&mut open));
                }
            }
            0 => open.names.append(&mut words),
            1 => match words.first().map(String::as_str) {
                Some("bind") => open.bind.extend(words.drain(1..)),
                Some("forward") => open.forwards.push(words.split_off(1)),
                _ => {}
            },
            _ => {}
        }
        depth += usize::from(opens);
    }
    blocks.retain(|block| {
        !block.names.is_empty() && !block.names.iter().any(|name| name.starts_with('('))
    });
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::facts::testing::{issues, lines, node};
    use super::*;

    const LOCALDNS: &str = "\
# WARNING: Changes to this file will be overwritten and not persisted.
# whoami (used for health check of DNS)
health-check.localdns.local:53 {
    bind 169.254.10.10 169.254.10.11
    whoami
}
# VnetDNS overrides apply to DNS traffic from pods with dnsPolicy:default or kubelet
.:53 {
    errors
    bind 169.254.10.10
    forward . 10.1.0.4 10.1.0.5 {
        policy sequential
        max_concurrent 1000
    }
    ready 169.254.10.10:8181
    cache 3600 {
        serve_stale 3600s immediate
    }
    template ANY ANY reddog.microsoft.com {
        rcode NXDOMAIN
    }
}
cluster.local:53 {
    bind 169.254.10.10
    forward . 10.0.0.10 {
        force_tcp
    }
}
# KubeDNS overrides apply to DNS traffic from pods with dnsPolicy:ClusterFirst
.:53 {
    bind 169.254.10.11
    forward . 10.0.0.10
}
";

    #[test]
    fn blocks_of_a_corefile() {
        let blocks = parse_corefile(LOCALDNS);
        let names: Vec<_> = blocks.iter().map(|b| b.names.join(" ")).collect();
        assert_eq!(names, ["health-check.localdns.local:53", ".:53", "cluster.local:53", ".:53"]);
        let forward: Vec<Vec<_>> =
            blocks.iter().map(|block| block.root_forward().collect()).collect();
        assert_eq!(forward, [vec![], vec!["10.1.0.4", "10.1.0.5"], vec![], vec!["10.0.0.10"]]);
        assert!(blocks[1].serves_node());
        assert!(!blocks[3].serves_node());
    }

    #[test]
    fn odd_corefiles_are_read_as_far_as_they_go() {
        assert_eq!(parse_corefile("}\n}\n{\n"), []);
        assert_eq!(parse_corefile("(snippet) {\n  errors\n}\n"), []);
        let blocks =
            parse_corefile("dns://.:53,\nexample.org {\n forward . /etc/resolv.conf # x\n}");
        assert_eq!(blocks[0].names, ["dns://.:53", "example.org"]);
        assert_eq!(blocks[0].root_forward().collect::<Vec<_>>(), ["/etc/resolv.conf"]);
    }

    #[test]
    fn hosts_have_one_row_a_name() {
        let hosts = parse_hosts(
            "127.0.0.1\tlocalhost\n# none\n\n10.224.0.4 a.hcp.eastus.azmk8s.io a # pinned\n::1 ip6-localhost ip6-loopback\n10.0.0.1\n",
        );
        let hosts: Vec<_> = hosts.iter().map(|(n, a)| (n.as_str(), a.as_str())).collect();
        assert_eq!(
            hosts,
            [
                ("localhost", "127.0.0.1"),
                ("a.hcp.eastus.azmk8s.io", "10.224.0.4"),
                ("a", "10.224.0.4"),
                ("ip6-localhost", "::1"),
                ("ip6-loopback", "::1"),
            ]
        );
    }

    #[test]
    fn a_node_with_localdns() {
        let (folder, host) = node(&[
            ("/run/systemd/resolve/resolv.conf", "nameserver 169.254.10.10\nsearch x.y z\n"),
            (UPSTREAM_FILE, "10.1.0.4 10.1.0.5\n"),
            (COREFILE, LOCALDNS),
            (HOSTS_FILE, "127.0.0.1 localhost\n"),
        ]);
        std::os::unix::fs::symlink(NODE_FILES[0], folder.path().join("etc/resolv.conf"))
            .expect("a link");
        let facts = node_facts(&host);
        assert_eq!(issues(&facts), [""; 0]);
        assert_eq!(
            lines(&facts),
            [
                "dns.node nameserver=169.254.10.10 (/run/systemd/resolve/resolv.conf)",
                "dns.node search=x.y (/run/systemd/resolve/resolv.conf)",
                "dns.node search=z (/run/systemd/resolve/resolv.conf)",
                "dns.node nameserver=169.254.10.10 (/etc/resolv.conf)",
                "dns.node search=x.y (/etc/resolv.conf)",
                "dns.node search=z (/etc/resolv.conf)",
                "dns.localdns upstream=10.1.0.4 (/etc/localdns/upstream-dns)",
                "dns.localdns upstream=10.1.0.5 (/etc/localdns/upstream-dns)",
            ]
            .into_iter()
            .map(str::to_owned)
            .chain(
                [
                    "corefile=present",
                    "server-block=health-check.localdns.local:53",
                    "server-block=.:53",
                    "forward=10.1.0.4",
                    "forward=10.1.0.5",
                    "server-block=cluster.local:53",
                    "server-block=.:53",
                    "forward.cluster=10.0.0.10",
                ]
                .map(|setting| format!("dns.localdns {setting} ({COREFILE})"))
            )
            .chain(["dns.hosts localhost=127.0.0.1 (/etc/hosts)".to_owned()])
            .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_node_with_less_says_what_is_missing() {
        let (_folder, host) = node(&[("/etc/resolv.conf", "nameserver 168.63.129.16\n")]);
        let facts = node_facts(&host);
        assert_eq!(lines(&facts), ["dns.node nameserver=168.63.129.16 (/etc/resolv.conf)"]);
        assert_eq!(
            issues(&facts),
            [
                "absent /run/systemd/resolve/resolv.conf",
                "absent /etc/localdns/upstream-dns",
                "absent /opt/azure/containers/localdns/updated.localdns.corefile",
                "absent /etc/hosts",
            ]
        );
        assert_eq!(NodeDns.collect(&host, &mut Batch::new("t")).expect("a poll"), Progress::Done);
    }

    #[test]
    fn a_node_with_nothing_is_absent() {
        let (_folder, host) = node(&[("/etc/hosts", "# nothing\n")]);
        let progress = NodeDns.collect(&host, &mut Batch::new("t")).expect("a poll");
        assert!(matches!(progress, Progress::Absent(why) if why.contains("/etc/resolv.conf")));
    }

    #[test]
    fn hosts_are_bounded() {
        use std::fmt::Write;
        let mut text = String::new();
        for n in 0..MAX_HOSTS + 3 {
            writeln!(text, "10.0.0.1 host-{n}").expect("text");
        }
        let mut facts = Facts::default();
        add_hosts(&mut facts, &text);
        assert_eq!(facts.settings.len(), MAX_HOSTS);
        assert_eq!(facts.issues[0].amount, Some(3));
    }

    #[test]
    fn a_pod_is_seen_through_its_own_door_only() {
        let (_node, host) = node(&[("/etc/resolv.conf", "nameserver 168.63.129.16\n")]);
        let (_pod, own) = node(&[("/etc/resolv.conf", "nameserver 10.0.0.10\noptions ndots:5\n")]);
        let mut batch = Batch::new("t");
        let progress = PodDns::new(None).collect(&host, &mut batch).expect("a poll");
        assert_eq!(progress, Progress::Absent("not running in a pod".to_owned()));
        assert_eq!(batch.row_count(), 0);
        assert_eq!(
            lines(&pod_facts(&own)),
            [
                "dns.pod nameserver=10.0.0.10 (/etc/resolv.conf)",
                "dns.pod options=ndots:5 (/etc/resolv.conf)"
            ]
        );
        let progress = PodDns::new(Some(Arc::new(own))).collect(&host, &mut batch).expect("a poll");
        assert_eq!((progress, batch.row_count()), (Progress::Done, 2));
    }
}
