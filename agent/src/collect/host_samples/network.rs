//! Network of the host: interfaces, TCP and UDP, and connection tracking.
//!
//! Pure functions: text in, values out, `None` for what makes no sense.

use super::kernel::number;
use super::{Values, labelled};

/// Interfaces that are sampled at most; those of pods are left out anyway.
const MAX_INTERFACES: usize = 16;

/// Starts of the names of interfaces that each belong to a pod.
const POD_INTERFACES: [&str; 6] = ["veth", "azv", "cali", "lxc", "tap", "gke"];

/// Columns of `/proc/net/dev` behind the colon that are sampled.
const INTERFACE: [(usize, &str); 8] = [
    (0, "network_received_bytes_total"),
    (1, "network_received_packets_total"),
    (2, "network_receive_errors_total"),
    (3, "network_receive_drops_total"),
    (8, "network_sent_bytes_total"),
    (9, "network_sent_packets_total"),
    (10, "network_send_errors_total"),
    (11, "network_send_drops_total"),
];

/// `  eth0: 1234 5 0 0 0 0 0 0 678 9 0 0 0 0 0 0`, below two lines of headings.
pub(super) fn devices(text: &str) -> Option<Values> {
    let mut values = Values::new();
    let lines = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let is_own =
        |name: &str| name != "lo" && !POD_INTERFACES.iter().any(|start| name.starts_with(start));
    let mut count = 0;
    for (name, rest) in lines.map(|(name, rest)| (name.trim(), rest)) {
        if !is_own(name) || count == MAX_INTERFACES {
            continue;
        }
        count += 1;
        let columns: Vec<_> = rest.split_ascii_whitespace().collect();
        for (at, value) in INTERFACE {
            values.push((labelled(value, &[("interface", name)]), number(columns.get(at)?)?));
        }
    }
    text.starts_with("Inter-").then_some(values)
}

/// Counters of `/proc/net/snmp` that are sampled, and their names here.
const PROTOCOLS: [(&str, &str, &str); 15] = [
    ("Tcp", "ActiveOpens", "tcp_connects_total"),
    ("Tcp", "PassiveOpens", "tcp_accepts_total"),
    ("Tcp", "AttemptFails", "tcp_failed_connects_total"),
    ("Tcp", "EstabResets", "tcp_reset_connections_total"),
    ("Tcp", "CurrEstab", "tcp_established_connections"),
    ("Tcp", "InSegs", "tcp_received_segments_total"),
    ("Tcp", "OutSegs", "tcp_sent_segments_total"),
    ("Tcp", "RetransSegs", "tcp_retransmitted_segments_total"),
    ("Tcp", "InErrs", "tcp_bad_segments_total"),
    ("Tcp", "OutRsts", "tcp_sent_resets_total"),
    ("Udp", "InDatagrams", "udp_received_datagrams_total"),
    ("Udp", "OutDatagrams", "udp_sent_datagrams_total"),
    ("Udp", "NoPorts", "udp_unwanted_datagrams_total"),
    ("Udp", "InErrors", "udp_receive_errors_total"),
    ("Udp", "RcvbufErrors", "udp_receive_buffer_errors_total"),
];

/// TCP and UDP of `/proc/net/snmp`.
pub(super) fn protocols(text: &str) -> Option<Values> {
    tables(text, &PROTOCOLS)
}

/// Counters of `/proc/net/netstat` that are sampled, and their names here.
const EXTENSIONS: [(&str, &str, &str); 10] = [
    ("TcpExt", "ListenOverflows", "tcp_listen_overflows_total"),
    ("TcpExt", "ListenDrops", "tcp_listen_drops_total"),
    ("TcpExt", "TCPTimeouts", "tcp_retransmit_timeouts_total"),
    ("TcpExt", "TCPSynRetrans", "tcp_retransmitted_syns_total"),
    ("TcpExt", "TCPLostRetransmit", "tcp_lost_retransmits_total"),
    ("TcpExt", "TCPAbortOnTimeout", "tcp_aborts_on_timeout_total"),
    ("TcpExt", "TCPAbortOnMemory", "tcp_aborts_on_memory_total"),
    ("TcpExt", "TCPReqQFullDrop", "tcp_request_queue_drops_total"),
    ("TcpExt", "SyncookiesSent", "tcp_syn_cookies_sent_total"),
    ("TcpExt", "PruneCalled", "tcp_receive_queue_prunes_total"),
];

/// TCP beyond its standard, of `/proc/net/netstat`.
pub(super) fn extensions(text: &str) -> Option<Values> {
    tables(text, &EXTENSIONS)
}

/// Tables of two lines: `Tcp: names` and `Tcp: numbers`. Kernels differ in the
/// columns that they have.
fn tables(text: &str, wanted: &[(&str, &str, &str)]) -> Option<Values> {
    let mut values = Values::new();
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (table, names) = names.split_once(": ")?;
        let (same, numbers) = numbers.split_once(": ")?;
        if same != table {
            return None;
        }
        for (name, value) in names.split(' ').zip(numbers.split(' ')) {
            let found = wanted.iter().find(|(known, key, _)| *known == table && *key == name);
            if let Some((_, _, name)) = found {
                values.push(((*name).to_owned(), number(value.trim())?));
            }
        }
    }
    (!values.is_empty()).then_some(values)
}

/// `TCP: inuse 27 orphan 0 tw 8 alloc 31 mem 3` of `/proc/net/sockstat`; memory
/// is in pages.
pub(super) fn sockets(text: &str) -> Option<Values> {
    const WANTED: [(&str, &str, &str); 7] = [
        ("sockets", "used", "sockets_used"),
        ("TCP", "inuse", "tcp_sockets_in_use"),
        ("TCP", "orphan", "tcp_sockets_orphaned"),
        ("TCP", "tw", "tcp_sockets_time_wait"),
        ("TCP", "alloc", "tcp_sockets_allocated"),
        ("TCP", "mem", "tcp_memory_pages"),
        ("UDP", "inuse", "udp_sockets_in_use"),
    ];
    socket_lines(text, &WANTED)
}

/// The same of `/proc/net/sockstat6`, which counts less.
pub(super) fn sockets_v6(text: &str) -> Option<Values> {
    const WANTED: [(&str, &str, &str); 2] = [
        ("TCP6", "inuse", "tcp_sockets_in_use_ipv6"),
        ("UDP6", "inuse", "udp_sockets_in_use_ipv6"),
    ];
    socket_lines(text, &WANTED)
}

fn socket_lines(text: &str, wanted: &[(&str, &str, &str)]) -> Option<Values> {
    let mut values = Values::new();
    for line in text.lines() {
        let (protocol, rest) = line.split_once(": ")?;
        let words: Vec<_> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let found = wanted.iter().find(|(known, key, _)| *known == protocol && *key == pair[0]);
            if let Some((_, _, name)) = found {
                values.push(((*name).to_owned(), number(pair[1])?));
            }
        }
    }
    (!values.is_empty()).then_some(values)
}

/// Columns of `/proc/net/stat/nf_conntrack` that are sampled.
const CONNTRACK: [(&str, &str); 6] = [
    ("insert_failed", "conntrack_insert_failures_total"),
    ("drop", "conntrack_drops_total"),
    ("early_drop", "conntrack_early_drops_total"),
    ("invalid", "conntrack_invalid_packets_total"),
    ("icmp_error", "conntrack_icmp_errors_total"),
    ("search_restart", "conntrack_search_restarts_total"),
];

/// Names, then a line of hexadecimal numbers for each CPU, which are added up.
pub(super) fn conntrack(text: &str) -> Option<Values> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next()?.split_ascii_whitespace().collect();
    let columns: Vec<(usize, &str)> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| {
            let (_, known) = CONNTRACK.iter().find(|(column, _)| column == name)?;
            Some((at, *known))
        })
        .collect();
    let mut sums = vec![0_u64; columns.len()];
    for line in lines {
        let numbers: Vec<_> = line.split_ascii_whitespace().collect();
        for (sum, (at, _)) in sums.iter_mut().zip(&columns) {
            *sum += u64::from_str_radix(numbers.get(*at)?, 16).ok()?;
        }
    }
    let values = columns.iter().zip(sums).map(|((_, name), sum)| ((*name).to_owned(), sum as f64));
    (!columns.is_empty()).then(|| values.collect())
}
