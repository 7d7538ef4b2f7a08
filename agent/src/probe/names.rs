//! What the node knows of names before it asks: `resolv.conf` and `/etc/hosts`.
//!
//! Pure: text in, values out. Asking is [`dns`](super::dns).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Port that name servers listen on.
const DNS_PORT: u16 = 53;

/// Name servers that are asked at most, as in glibc (`MAXNS`).
const MAX_SERVERS: usize = 3;

/// Search domains that are tried at most: each costs a query, at every sample.
const MAX_SEARCH: usize = 16;

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Name servers in the order they are asked.
    pub(crate) servers: Vec<SocketAddr>,
    /// Domains that are appended to a name.
    pub(crate) search: Vec<String>,
    /// Dots from which on a name is tried as it is first.
    pub(crate) ndots: usize,
    /// Time for one server, at most.
    pub(crate) server_timeout: Duration,
    /// Names with an address of their own, lower case.
    pub(crate) hosts: Vec<(String, IpAddr)>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            server_timeout: Duration::from_secs(5),
            hosts: Vec::new(),
        }
    }
}

impl Names {
    /// Reads a `resolv.conf` and a hosts file, by the rules of resolv.conf(5):
    /// the last `search` or `domain` counts; what is not understood is skipped.
    pub(crate) fn parse(resolv_conf: &str, hosts: &str) -> Self {
        let mut names = Self { hosts: parse_hosts(hosts), ..Self::default() };
        for line in resolv_conf.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => names.add_server(words.next()),
                Some("search") => names.search = words.take(MAX_SEARCH).map(domain).collect(),
                Some("domain") => names.search = words.take(1).map(domain).collect(),
                Some("options") => words.for_each(|option| names.apply(option)),
                _ => {}
            }
        }
        names.search.retain(|domain| !domain.is_empty());
        names
    }

    fn add_server(&mut self, address: Option<&str>) {
        if let Some(Ok(address)) = address.map(str::parse::<IpAddr>)
            && self.servers.len() < MAX_SERVERS
        {
            self.servers.push(SocketAddr::new(address, DNS_PORT));
        }
    }

    /// Applies an option, cut to the limits of resolv.conf(5).
    fn apply(&mut self, option: &str) {
        let Some((name, Ok(value))) =
            option.split_once(':').map(|(name, value)| (name, value.parse::<usize>()))
        else {
            return;
        };
        match name {
            "ndots" => self.ndots = value.min(15),
            "timeout" => self.server_timeout = Duration::from_secs(value.clamp(1, 30) as u64),
            _ => {}
        }
    }

    /// Whether all name servers are stubs on this machine, which a pod with a
    /// network of its own cannot ask.
    pub(crate) fn is_stub(&self) -> bool {
        self.servers.iter().all(|server| server.ip().is_loopback())
    }

    /// Address that the hosts file gives a name; IPv4 before IPv6.
    pub(crate) fn pinned(&self, name: &str) -> Option<IpAddr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let of = |v4: bool| {
            self.hosts
                .iter()
                .find(|(known, address)| *known == name && address.is_ipv4() == v4)
                .map(|(_, address)| *address)
        };
        of(true).or_else(|| of(false))
    }

    /// Full names to ask for, in order; each ends with a dot.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let own = format!("{name}.");
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}."));
        if name.matches('.').count() >= self.ndots {
            std::iter::once(own).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(own)).collect()
        }
    }
}

/// A search domain without its dots at the end; `.` itself becomes empty.
fn domain(word: &str) -> String {
    word.trim_end_matches('.').to_owned()
}

fn parse_hosts(text: &str) -> Vec<(String, IpAddr)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_ascii_whitespace();
            let address: IpAddr = words.next()?.parse().ok()?;
            Some(words.map(move |name| (name.to_ascii_lowercase(), address)))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "\
# This is /run/systemd/resolve/resolv.conf managed by man:systemd-resolved(8).
; Do not edit.

nameserver 168.63.129.16
search zdpuyxq2u3cuzkwsehbr4cmq1h.bx.internal.cloudapp.net
";

    const POD: &str = "\
search kube-system.svc.cluster.local svc.cluster.local cluster.local.
nameserver 10.0.0.10
options ndots:5 timeout:2 edns0
";

    #[test]
    fn a_node_and_a_pod_are_read() {
        let node = Names::parse(NODE, "");
        assert_eq!(node.servers, ["168.63.129.16:53".parse().expect("an address")]);
        assert_eq!(node.search, ["zdpuyxq2u3cuzkwsehbr4cmq1h.bx.internal.cloudapp.net"]);
        assert_eq!((node.ndots, node.server_timeout), (1, Duration::from_secs(5)));
        let pod = Names::parse(POD, "");
        assert_eq!((pod.ndots, pod.server_timeout), (5, Duration::from_secs(2)));
        assert_eq!(
            pod.candidates("kubernetes.default.svc"),
            [
                "kubernetes.default.svc.kube-system.svc.cluster.local.",
                "kubernetes.default.svc.svc.cluster.local.",
                "kubernetes.default.svc.cluster.local.",
                "kubernetes.default.svc.",
            ]
        );
        assert_eq!(pod.candidates("mcr.microsoft.com."), ["mcr.microsoft.com."]);
        assert_eq!(node.candidates("mcr.microsoft.com")[0], "mcr.microsoft.com.");
        assert_eq!(node.candidates("db").len(), 2);
        assert_eq!(node.candidates("db")[1], "db.");
    }

    #[test]
    fn odd_lines_are_skipped_and_limits_hold() {
        let text = "nameserver\nnameserver nowhere\nnameserver fe80::1%eth0\nnameserver fd00::a\n\
                    nameserver 1.1.1.1 # first\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n\
                    domain old.example\nsearch .\noptions ndots:99 timeout:0 ndots:x rotate\n\
                    \u{fffd}\u{0}\n";
        let names = Names::parse(text, "");
        let servers: Vec<_> = names.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["[fd00::a]:53", "1.1.1.1:53", "2.2.2.2:53"]);
        assert_eq!(names.search, [""; 0]);
        assert_eq!((names.ndots, names.server_timeout), (15, Duration::from_secs(1)));
        assert_eq!(Names::parse("", ""), Names::default());
    }

    #[test]
    fn stubs_are_told_apart() {
        assert!(Names::parse("nameserver 127.0.0.53\n", "").is_stub());
        assert!(!Names::parse("nameserver 169.254.10.10\n", "").is_stub());
    }

    #[test]
    fn hosts_pin_names() {
        let hosts = "127.0.0.1 localhost\n::1 localhost\n\n\
                     10.224.0.4 my-dns-1.abc.privatelink.westeurope.azmk8s.io API # AKS\n\
                     #10.0.0.1 off\nnot-an-address x\nfd00::1 six\n";
        let names = Names::parse("", hosts);
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(
            names.pinned("My-dns-1.abc.privatelink.westeurope.azmk8s.io."),
            address("10.224.0.4")
        );
        assert_eq!(names.pinned("api"), address("10.224.0.4"));
        assert_eq!(names.pinned("localhost"), address("127.0.0.1"));
        assert_eq!(names.pinned("six"), address("fd00::1"));
        assert_eq!(names.pinned("off"), None);
        assert_eq!(names.pinned("x"), None);
    }
}
