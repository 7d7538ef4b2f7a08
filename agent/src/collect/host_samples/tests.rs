//! Parsers on literal text, and the collector on trees.

use std::io;

use super::super::recorder::node;
use super::kernel::{cpu, events, files, load, memory, pressure, single};
use super::network::{conntrack, devices, extensions, protocols, sockets};
use super::*;

fn check(values: Option<Values>, expected: &[(&str, f64)]) {
    let values = values.unwrap_or_default();
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(values, expected);
}

const MEMINFO: &str = "MemTotal:       16370168 kB\nMemFree:          523412 kB\n\
    MemAvailable:   12034560 kB\nHugePages_Total:       0\nCommitted_AS:   4194304 kB\n";
const LOADAVG: &str = "0.52 0.58 0.59 2/1234 56789\n";
const STAT: &str = "cpu  1013 29 308 4682 16 0 25 1 17 0\ncpu0 500 1 1 1 1 0 0 0 0 0\n\
    cpu1 513 1 1 1 1 0 0 0 0 0\nintr 123 0 0\nctxt 2024\nbtime 1795350483\n\
    processes 777\nprocs_running 3\nprocs_blocked 1\nsoftirq 1 2 3\n";
const PRESSURE: &str = "some avg10=0.12 avg60=0.05 avg300=0.01 total=1500000\n\
    full avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n";

#[test]
fn memory_is_in_bytes() {
    check(
        memory(MEMINFO),
        &[
            ("memory_total_bytes", 16_370_168.0 * 1024.0),
            ("memory_free_bytes", 523_412.0 * 1024.0),
            ("memory_available_bytes", 12_034_560.0 * 1024.0),
            ("memory_committed_bytes", 4_194_304.0 * 1024.0),
        ],
    );
    assert_eq!(memory("no such thing"), None);
}

#[test]
fn load_is_in_tasks() {
    check(
        load(LOADAVG),
        &[
            ("load_average_1m_tasks", 0.52),
            ("load_average_5m_tasks", 0.58),
            ("load_average_15m_tasks", 0.59),
            ("load_running_tasks", 2.0),
            ("load_existing_tasks", 1234.0),
        ],
    );
    assert_eq!(load("0.52 0.58"), None);
    assert_eq!(load("0.52 inf 0.59 2/1234 5"), None);
}

#[test]
fn cpu_time_is_in_seconds() {
    check(
        cpu(STAT),
        &[
            ("cpu_user_seconds_total", 10.13),
            ("cpu_nice_seconds_total", 0.29),
            ("cpu_system_seconds_total", 3.08),
            ("cpu_idle_seconds_total", 46.82),
            ("cpu_iowait_seconds_total", 0.16),
            ("cpu_irq_seconds_total", 0.0),
            ("cpu_softirq_seconds_total", 0.25),
            ("cpu_steal_seconds_total", 0.01),
            ("cpu_guest_seconds_total", 0.17),
            ("cpu_guest_nice_seconds_total", 0.0),
            ("cpu_context_switches_total", 2024.0),
            ("cpu_forks_total", 777.0),
            ("cpu_running_tasks", 3.0),
            ("cpu_blocked_tasks", 1.0),
            ("cpu_online_cpus", 2.0),
        ],
    );
    assert_eq!(cpu("cpu  1 x"), None);
    assert_eq!(cpu(""), None);
}

#[test]
fn pressure_is_in_percent_and_seconds() {
    check(
        pressure("memory", PRESSURE),
        &[
            ("pressure_memory_some_avg10_percent", 0.12),
            ("pressure_memory_some_seconds_total", 1.5),
            ("pressure_memory_full_avg10_percent", 0.0),
            ("pressure_memory_full_seconds_total", 0.25),
        ],
    );
    assert_eq!(pressure("cpu", "most avg10=0 total=0"), None);
    assert_eq!(pressure("cpu", "some avg10=0.1"), None);
}

#[test]
fn connections_and_files_are_counted() {
    check(single("conntrack_entries", "1234\n"), &[("conntrack_entries", 1234.0)]);
    assert_eq!(single("conntrack_entries", "-1"), None);
    check(
        files("9344\t0\t9223372036854775807\n"),
        &[("files_open_handles", 9344.0), ("files_max_handles", 9_223_372_036_854_775_807.0)],
    );
    assert_eq!(files("1 2"), None);
}

fn collect(files: &[(&str, &str)]) -> (Result<Progress>, Batch) {
    let (_folder, host) = node(files);
    let mut batch = Batch::new("host-samples");
    (HostSamples::default().collect(&host, &mut batch), batch)
}

#[test]
fn what_a_kernel_lacks_is_an_issue_and_no_loss() {
    let (progress, batch) = collect(&[
        ("proc/meminfo", MEMINFO),
        ("proc/loadavg", LOADAVG),
        ("proc/stat", STAT),
        ("proc/sys/fs/file-nr", "9344 0 9223372036854775807\n"),
    ]);
    assert_eq!(progress.expect("no failure"), Progress::Done);
    assert_eq!(batch.row_count(), 4 + 5 + 15 + 2);
    assert!(!batch.has_losses(), "{batch:?}");
    let issues = format!("{batch:?}");
    assert_eq!(issues.matches("kind: Absent").count(), 20, "{issues}");
    assert!(issues.contains("/proc/pressure/io"), "{issues}");
    assert!(issues.contains("/proc/sys/net/netfilter/nf_conntrack_count"), "{issues}");
}

#[test]
fn what_makes_no_sense_is_damaged_and_the_rest_is_kept() {
    let (progress, batch) = collect(&[
        ("proc/loadavg", "?"),
        ("proc/pressure/io", PRESSURE),
        ("proc/sys/net/netfilter/nf_conntrack_count", "12\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "131072\n"),
    ]);
    assert_eq!(progress.expect("no failure"), Progress::Done);
    assert_eq!(batch.row_count(), 4 + 2);
    let issues = format!("{batch:?}");
    assert!(batch.has_losses() && issues.contains("kind: Damaged"), "{issues}");
}

#[test]
fn no_counter_at_all_is_absent_or_a_failure() {
    let (progress, _) = collect(&[("etc/hostname", "x")]);
    let text = "none of the counters below /proc exists";
    assert_eq!(progress.expect("no failure"), Progress::Absent(text.to_owned()));
    let (progress, _) = collect(&[("proc/stat", "?")]);
    let error = progress.expect_err("a failure").to_string();
    assert!(error.contains("/proc/stat: is not what the kernel writes"), "{error}");
}

#[test]
fn a_kernel_that_has_pressure_switched_off_does_not_have_it() {
    let switched_off = io::Error::from(rustix::io::Errno::OPNOTSUPP);
    assert_eq!(switched_off.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn this_very_machine_has_memory_load_and_cpus() {
    let host = Host::open(std::path::Path::new("/")).expect("a root");
    for (path, parse) in
        [("/proc/meminfo", memory as Parse), ("/proc/loadavg", load), ("/proc/stat", cpu)]
    {
        let values = read(&host, path, parse).expect("a Linux");
        assert!(values.len() >= 5, "{path}: {values:?}");
    }
}

#[test]
fn killings_and_faults_are_counted() {
    check(
        events("nr_free_pages 5\npgmajfault 12\noom_kill 3\npswpin 0\n"),
        &[
            ("memory_major_faults_total", 12.0),
            ("memory_oom_kills_total", 3.0),
            ("memory_swapped_in_pages_total", 0.0),
        ],
    );
    assert_eq!(events("oom_kill many\n"), None);
}

#[test]
fn connection_tracking_is_added_up_over_the_cpus() {
    let text = "entries clashres found new invalid ignore delete chainlength insert insert_failed \
        drop early_drop icmp_error  expect_new\n\
        0000000a 0 0 0 00000002 0 0 0 0 00000010 00000001 0 0 0\n\
        0000000a 0 0 0 00000001 0 0 0 0 0000000f 00000000 0 0 0\n";
    check(
        conntrack(text),
        &[
            ("conntrack_invalid_packets_total", 3.0),
            ("conntrack_insert_failures_total", 31.0),
            ("conntrack_drops_total", 1.0),
            ("conntrack_early_drops_total", 0.0),
            ("conntrack_icmp_errors_total", 0.0),
        ],
    );
    assert_eq!(conntrack("entries drop\n0 zz\n"), None);
    assert_eq!(conntrack(""), None);
}

#[test]
fn tables_of_protocols_are_read_by_their_headings() {
    let snmp = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm ActiveOpens RetransSegs \
        CurrEstab\nTcp: 1 100 7 12\nUdp: InDatagrams NoPorts\nUdp: 9 1\n";
    check(
        protocols(snmp),
        &[
            ("tcp_connects_total", 100.0),
            ("tcp_retransmitted_segments_total", 7.0),
            ("tcp_established_connections", 12.0),
            ("udp_received_datagrams_total", 9.0),
            ("udp_unwanted_datagrams_total", 1.0),
        ],
    );
    assert_eq!(protocols("Tcp: A\nUdp: 1\n"), None);
    check(
        extensions("TcpExt: SyncookiesSent ListenDrops\nTcpExt: 0 4\n"),
        &[("tcp_syn_cookies_sent_total", 0.0), ("tcp_listen_drops_total", 4.0)],
    );
    check(
        sockets("sockets: used 100\nTCP: inuse 27 orphan 0 tw 8 alloc 31 mem 3\nFRAG: inuse 0\n"),
        &[
            ("sockets_used", 100.0),
            ("tcp_sockets_in_use", 27.0),
            ("tcp_sockets_orphaned", 0.0),
            ("tcp_sockets_time_wait", 8.0),
            ("tcp_sockets_allocated", 31.0),
            ("tcp_memory_pages", 3.0),
        ],
    );
}

#[test]
fn interfaces_of_pods_are_left_out() {
    let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
        eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n azv1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
    let values = devices(text).expect("a table");
    assert_eq!(values.len(), 8);
    assert_eq!(values[3], ("network_receive_drops_total{interface=\"eth0\"}".to_owned(), 2.0));
    assert_eq!(values[4], ("network_sent_bytes_total{interface=\"eth0\"}".to_owned(), 2000.0));
    assert_eq!(devices("eth0: 1 2"), None);
}

#[test]
fn labels_are_written_as_prometheus_does() {
    assert_eq!(labelled("a", &[("m", "/x\"\\\n"), ("n", "y")]), r#"a{m="/x\"\\\n",n="y"}"#);
}

#[test]
fn a_running_node_is_sampled_twice_at_first_so_that_counters_make_rates() {
    let host = Host::open(std::path::Path::new("/")).expect("a root");
    let mut collector = HostSamples::default();
    let mut first = Batch::new("host-samples");
    collector.collect(&host, &mut first).expect("samples");
    let mut second = Batch::new("host-samples");
    collector.collect(&host, &mut second).expect("samples");
    assert!(first.row_count() > second.row_count() * 3 / 2, "{first:?} {second:?}");
}
