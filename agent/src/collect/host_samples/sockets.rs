//! Connections of the host and where they lead: TCP sockets by state, and the
//! remote ends that most of them go to.
//!
//! `/proc/1/net/tcp` has the sockets of the node and of pods on its network,
//! `nf_conntrack` those of all pods. Both can be long, so they are read line by
//! line and counted, and only the ends with the most connections are kept.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use periscope_store::batch::{Issue, IssueKind};

use super::{Values, issue, labelled, unread};
use crate::host::Host;

/// Remote ends that are kept of each source.
const MAX_ENDS: usize = 24;

/// Remote ends that are told apart while counting.
const MAX_COUNTED_ENDS: usize = 8_192;

/// Bytes that are read of one table: some 200,000 connections.
const MAX_BYTES: u64 = 32 << 20;

/// States of a socket by their number in `/proc/net/tcp` (kernel,
/// `include/net/tcp_states.h`), from 1.
const STATES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listening",
    "closing",
    "new_syn_received",
];

/// Counts connections by state and by remote end.
#[derive(Debug, Default)]
struct Count {
    states: [u64; STATES.len()],
    ends: HashMap<SocketAddr, Connections>,
    /// Connections to ends that are not told apart.
    others: Connections,
}

/// Connections to one remote end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Connections {
    established: u64,
    syn_sent: u64,
}

impl Count {
    fn end(&mut self, end: SocketAddr, state: &str) {
        if end.ip().is_loopback() || !["established", "syn_sent"].contains(&state) {
            return;
        }
        let is_full = self.ends.len() >= MAX_COUNTED_ENDS && !self.ends.contains_key(&end);
        let count = if is_full { &mut self.others } else { self.ends.entry(end).or_default() };
        match state {
            "established" => count.established += 1,
            _ => count.syn_sent += 1,
        }
    }

    /// The ends with the most connections, and the rest as `other`.
    fn into_values(self, name: &str) -> Values {
        let mut ends: Vec<_> = self.ends.into_iter().collect();
        ends.sort_by_key(|(end, count)| {
            (std::cmp::Reverse(count.established + count.syn_sent), *end)
        });
        let mut others = self.others;
        for (_, count) in ends.iter().skip(MAX_ENDS) {
            others.established += count.established;
            others.syn_sent += count.syn_sent;
        }
        let ends = ends.into_iter().take(MAX_ENDS).map(|(end, count)| (end.to_string(), count));
        let mut values = Values::new();
        for (end, count) in ends.chain([("other".to_owned(), others)]) {
            for (state, count) in [("established", count.established), ("syn_sent", count.syn_sent)]
            {
                if count > 0 {
                    let labels = [("remote", end.as_str()), ("state", state)];
                    values.push((labelled(name, &labels), count as f64));
                }
            }
        }
        values
    }
}

/// Connections of all sources.
pub(super) fn sample(host: &Host) -> (Values, Vec<Issue>) {
    let mut issues = Vec::new();
    let mut count = Count::default();
    let mut is_read = false;
    for path in ["/proc/1/net/tcp", "/proc/1/net/tcp6"] {
        let mut listening = HashSet::new();
        let mut line = |line: &str| count_socket(line, &mut listening, &mut count);
        is_read |= read_lines(host, path, 1, &mut line, &mut issues);
    }
    let mut values = Values::new();
    if is_read {
        for (state, count) in STATES.iter().zip(count.states) {
            values.push((labelled("tcp_sockets", &[("state", state)]), count as f64));
        }
    }
    values.extend(count.into_values("socket_connections"));
    let mut tracked = Count::default();
    let mut line = |line: &str| count_tracked(line, &mut tracked);
    read_lines(host, "/proc/1/net/nf_conntrack", 0, &mut line, &mut issues);
    values.extend(tracked.into_values("conntrack_connections"));
    (values, issues)
}

/// Gives each line of a table to `count`, but for headings; whether there was
/// such a table.
fn read_lines(
    host: &Host,
    path: &str,
    headings: usize,
    count: &mut dyn FnMut(&str) -> Option<()>,
    issues: &mut Vec<Issue>,
) -> bool {
    let file = match host.open_file(path) {
        Ok(file) => file.file,
        Err(error) => {
            issues.push(unread(path, &error));
            return false;
        }
    };
    let mut reader = BufReader::with_capacity(64 << 10, file.take(MAX_BYTES));
    let mut line = Vec::new();
    let mut senseless = 0_u64;
    for at in 0.. {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if at < headings => {}
            Ok(_) => {
                let text = std::str::from_utf8(&line).ok();
                senseless += u64::from(text.and_then(&mut *count).is_none());
            }
            Err(error) => {
                issues.push(unread(path, &error));
                break;
            }
        }
    }
    if reader.into_inner().limit() == 0 {
        let text = format!("only its first {MAX_BYTES} bytes were counted");
        issues.push(issue(path, IssueKind::Truncated, text));
    } else if senseless > 0 {
        issues.push(Issue {
            amount: Some(senseless),
            unit: Some("lines"),
            ..issue(path, IssueKind::Damaged, "lines are not what the kernel writes".to_owned())
        });
    }
    true
}

/// `  0: 0100007F:0CEA 00000000:0000 0A …`: local end, remote end, state. The
/// kernel lists listening sockets first, so that connections to the node's own
/// servers, each from a port of its own, are known by their local port.
fn count_socket(line: &str, listening: &mut HashSet<u16>, count: &mut Count) -> Option<()> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (end(words.next()?)?, end(words.next()?)?);
    let state = usize::from_str_radix(words.next()?, 16).ok()?.checked_sub(1)?;
    *count.states.get_mut(state)? += 1;
    match STATES[state] {
        "listening" => _ = listening.insert(local.port()),
        state if !listening.contains(&local.port()) => count.end(remote, state),
        _ => {}
    }
    Some(())
}

/// `0100007F:0CEA`, or an IPv6 address of four such words: each word has the order
/// of bytes of the machine.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… …`: the
/// second source is the end that answers, behind whatever the node translated.
fn count_tracked(line: &str, count: &mut Count) -> Option<()> {
    let mut words = line.split_ascii_whitespace();
    let protocol = words.nth(2)?;
    if protocol != "tcp" {
        return Some(());
    }
    let state = match words.nth(2)? {
        "ESTABLISHED" => "established",
        "SYN_SENT" => "syn_sent",
        _ => return Some(()),
    };
    let mut addresses = words.clone().filter_map(|word| word.strip_prefix("src="));
    let mut ports = words.filter_map(|word| word.strip_prefix("sport="));
    let (address, port) = (addresses.nth(1)?, ports.nth(1)?);
    count.end(SocketAddr::new(address.parse().ok()?, port.parse().ok()?), state);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::testing::node;
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

    #[test]
    fn ends_are_read_as_the_kernel_writes_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(end(text).map(|end| end.to_string()).as_deref(), Some(expected));
        };
        if cfg!(target_endian = "little") {
            check("0100007F:0CEA", "127.0.0.1:3306");
            check("0000000000000000FFFF00000401A8C0:01BB", "192.168.1.4:443");
            check("B80D0120000000000000000001000000:0050", "[2001:db8::1]:80");
        }
        assert_eq!(end("0100007F"), None);
        assert_eq!(end("01007F:0CEA"), None);
        assert_eq!(end("é100007:0CEA"), None);
    }

    #[test]
    fn connections_to_the_outside_are_counted_by_their_end() {
        let mut tcp = HEAD.to_owned();
        let mut line = |local: &str, remote: &str, state: &str| {
            let line = ["   0:", local, remote, state, "00000000:00000000 00:0 0\n"].join(" ");
            tcp.push_str(&line);
        };
        // The kubelet's port, and a client of it.
        line("00000000:280A", "00000000:0000", "0A");
        line("0400A8C0:280A", "0500A8C0:9999", "01");
        for port in 0x9000..0x9003 {
            line(&format!("0400A8C0:{port:04X}"), "04030201:01BB", "01");
        }
        line("0400A8C0:A000", "08030201:01BB", "02");
        line("0100007F:A001", "0100007F:01BB", "01");
        line("0400A8C0:A002", "04030201:01BB", "06");
        let tracked = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.244.0.5 dst=10.0.0.1 \
            sport=5000 dport=443 src=20.1.2.3 dst=10.244.0.5 sport=443 dport=5000 [ASSURED] use=1\n\
            ipv4     2 udp      17 20 src=10.244.0.5 dst=10.0.0.10 sport=5 dport=53 src=10.0.0.10 \
            dst=10.244.0.5 sport=53 dport=5 use=1\n\
            ipv4     2 tcp      6 9 TIME_WAIT src=1.2.3.4 dst=1.2.3.5 sport=5 dport=53\nrubbish\n";
        let (_folder, host) =
            node(&[("/proc/1/net/tcp", &tcp), ("/proc/1/net/nf_conntrack", tracked)]);
        let (values, issues) = sample(&host);
        let named: Vec<_> = values
            .iter()
            .filter(|(name, value)| *value > 0.0 || name.contains("remote"))
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if cfg!(target_endian = "little") {
            assert_eq!(
                named,
                [
                    "tcp_sockets{state=\"established\"} 5",
                    "tcp_sockets{state=\"syn_sent\"} 1",
                    "tcp_sockets{state=\"time_wait\"} 1",
                    "tcp_sockets{state=\"listening\"} 1",
                    "socket_connections{remote=\"1.2.3.4:443\",state=\"established\"} 3",
                    "socket_connections{remote=\"1.2.3.8:443\",state=\"syn_sent\"} 1",
                    "conntrack_connections{remote=\"20.1.2.3:443\",state=\"established\"} 1",
                ]
            );
        }
        let issues: Vec<_> = issues.iter().map(|i| (i.kind, i.source.as_str(), i.amount)).collect();
        assert_eq!(
            issues,
            [
                (IssueKind::Absent, "/proc/1/net/tcp6", None),
                (IssueKind::Damaged, "/proc/1/net/nf_conntrack", Some(1)),
            ]
        );
    }

    #[test]
    fn many_ends_are_cut_and_none_is_forgotten() {
        let mut count = Count::default();
        for end in 0..MAX_COUNTED_ENDS as u32 + 100 {
            count
                .end(SocketAddr::new(Ipv4Addr::from(0x1401_0000 + end).into(), 443), "established");
        }
        count.end("20.1.0.7:443".parse().expect("an end"), "established");
        let values = count.into_values("x");
        assert_eq!(values.len(), MAX_ENDS + 1);
        assert_eq!(values[0], ("x{remote=\"20.1.0.7:443\",state=\"established\"}".to_owned(), 2.0));
        assert_eq!(values.last().expect("others").0, "x{remote=\"other\",state=\"established\"}");
        let total: f64 = values.iter().map(|(_, value)| value).sum();
        assert!((total - (MAX_COUNTED_ENDS as f64 + 101.0)).abs() < 0.5, "{total}");
    }
}
