//! Counters and gauges of the host: memory, load, CPU, pressure, connections
//! tracked, files open.
//!
//! Names carry their units, and `_total` marks what only ever grows (since
//! boot). Values are as the kernel has them, in bytes, seconds and percent.

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

/// Samples the host's counters.
#[derive(Debug, Default)]
pub(crate) struct HostSamples;

/// Values of one file, by name.
type Values = Vec<(String, f64)>;

/// Reads one file into values; `None` if it makes no sense.
type Parse = fn(&str) -> Option<Values>;

/// What is read: stream, file, and how.
const FILES: [(&str, &str, Parse); 9] = [
    ("memory", "/proc/meminfo", memory),
    ("load", "/proc/loadavg", load),
    ("cpu", "/proc/stat", cpu),
    ("pressure", "/proc/pressure/cpu", |text| pressure("cpu", text)),
    ("pressure", "/proc/pressure/memory", |text| pressure("memory", text)),
    ("pressure", "/proc/pressure/io", |text| pressure("io", text)),
    ("conntrack", "/proc/sys/net/netfilter/nf_conntrack_count", |text| {
        single("conntrack_entries", text)
    }),
    ("conntrack", "/proc/sys/net/netfilter/nf_conntrack_max", |text| {
        single("conntrack_max_entries", text)
    }),
    ("files", "/proc/sys/fs/file-nr", files),
];

impl Collector for HostSamples {
    fn name(&self) -> &'static str {
        "host-samples"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(15)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let mut issues = Vec::new();
        for (family, path, parse) in FILES {
            match read(host, path, parse) {
                Ok(values) => {
                    let stream = batch.stream(Stream::host(family));
                    let ts_ns = host.now_ns();
                    for (name, value) in values {
                        batch.sample(stream, &HostSample { ts_ns, name, value });
                    }
                }
                Err(issue) => issues.push(issue),
            }
        }
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
        Ok(Progress::Done)
    }
}

/// Values of a file, or why there are none.
fn read(host: &Host, path: &str, parse: Parse) -> Result<Values, Issue> {
    let issue =
        |kind, message| Issue { source: path.to_owned(), kind, amount: None, unit: None, message };
    match host.read_text(path, MAX_FILE_BYTES) {
        Ok(text) => parse(&text)
            .ok_or_else(|| issue(IssueKind::Damaged, "is not what the kernel writes".to_owned())),
        Err(error) => Err(match error.kind() {
            // A kernel with pressure switched off has the files, and says so.
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
                issue(IssueKind::Absent, "this kernel does not have it".to_owned())
            }
            _ => issue(IssueKind::Unreadable, format!("cannot read: {error}")),
        }),
    }
}

/// Lines of `/proc/meminfo` that are sampled, and their names here.
const MEMORY: [(&str, &str); 20] = [
    ("MemTotal", "memory_total_bytes"),
    ("MemFree", "memory_free_bytes"),
    ("MemAvailable", "memory_available_bytes"),
    ("Buffers", "memory_buffers_bytes"),
    ("Cached", "memory_cached_bytes"),
    ("SwapTotal", "memory_swap_total_bytes"),
    ("SwapFree", "memory_swap_free_bytes"),
    ("Dirty", "memory_dirty_bytes"),
    ("Writeback", "memory_writeback_bytes"),
    ("AnonPages", "memory_anonymous_bytes"),
    ("Mapped", "memory_mapped_bytes"),
    ("Shmem", "memory_shared_bytes"),
    ("Slab", "memory_slab_bytes"),
    ("SReclaimable", "memory_slab_reclaimable_bytes"),
    ("SUnreclaim", "memory_slab_unreclaimable_bytes"),
    ("KernelStack", "memory_kernel_stack_bytes"),
    ("PageTables", "memory_page_tables_bytes"),
    ("CommitLimit", "memory_commit_limit_bytes"),
    ("Committed_AS", "memory_committed_bytes"),
    ("Percpu", "memory_per_cpu_bytes"),
];

/// `MemTotal:       16370168 kB`
fn memory(text: &str) -> Option<Values> {
    let values: Values = text
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let (_, name) = MEMORY.iter().find(|(known, _)| *known == key)?;
            let kibibytes: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(((*name).to_owned(), kibibytes as f64 * 1024.0))
        })
        .collect();
    (!values.is_empty()).then_some(values)
}

/// `0.52 0.58 0.59 2/1234 56789`
fn load(text: &str) -> Option<Values> {
    let mut words = text.split_ascii_whitespace();
    let mut values = Values::new();
    for name in ["load_average_1m_tasks", "load_average_5m_tasks", "load_average_15m_tasks"] {
        values.push((name.to_owned(), number(words.next()?)?));
    }
    let (running, total) = words.next()?.split_once('/')?;
    values.push(("load_running_tasks".to_owned(), number(running)?));
    values.push(("load_existing_tasks".to_owned(), number(total)?));
    Some(values)
}

/// `cpu  10132153 290696 3084719 46828483 16683 0 25195 0 175628 0`, then a line
/// for each CPU, then counters. Time of guests is in `user` and `nice` already.
fn cpu(text: &str) -> Option<Values> {
    const TIMES: [&str; 10] = [
        "user",
        "nice",
        "system",
        "idle",
        "iowait",
        "irq",
        "softirq",
        "steal",
        "guest",
        "guest_nice",
    ];
    const COUNTERS: [(&str, &str); 4] = [
        ("ctxt", "cpu_context_switches_total"),
        ("processes", "cpu_forks_total"),
        ("procs_running", "cpu_running_tasks"),
        ("procs_blocked", "cpu_blocked_tasks"),
    ];
    let mut values = Values::new();
    let mut cpus = 0_u32;
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        if key == "cpu" {
            for (name, ticks) in TIMES.iter().zip(rest.split_ascii_whitespace()) {
                values
                    .push((format!("cpu_{name}_seconds_total"), number(ticks)? / TICKS_PER_SECOND));
            }
        } else if key.starts_with("cpu") {
            cpus += 1;
        } else if let Some((_, name)) = COUNTERS.iter().find(|(known, _)| *known == key) {
            values.push(((*name).to_owned(), number(rest.trim())?));
        }
    }
    if values.is_empty() {
        return None;
    }
    values.push(("cpu_online_cpus".to_owned(), f64::from(cpus)));
    Some(values)
}

/// `some avg10=0.12 avg60=0.05 avg300=0.01 total=123456`, and `full` likewise;
/// totals are microseconds (kernel, `accounting/psi`).
fn pressure(resource: &str, text: &str) -> Option<Values> {
    let mut values = Values::new();
    for line in text.lines() {
        let (kind, rest) =
            line.split_once(' ').filter(|(kind, _)| ["some", "full"].contains(kind))?;
        let value = |key: &str| {
            let mut words = rest.split_ascii_whitespace();
            number(words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?)
        };
        let prefix = format!("pressure_{resource}_{kind}");
        values.push((format!("{prefix}_avg10_percent"), value("avg10")?));
        values.push((format!("{prefix}_seconds_total"), value("total")? / 1e6));
    }
    (!values.is_empty()).then_some(values)
}

/// A number alone in its file.
fn single(name: &str, text: &str) -> Option<Values> {
    Some(vec![(name.to_owned(), number(text.trim())?)])
}

/// `9344 0 9223372036854775807`: handles in use, unused, and their limit.
fn files(text: &str) -> Option<Values> {
    let mut words = text.split_ascii_whitespace();
    let (used, _, limit) = (words.next()?, words.next()?, words.next()?);
    Some(vec![
        ("files_open_handles".to_owned(), number(used)?),
        ("files_max_handles".to_owned(), number(limit)?),
    ])
}

/// A number that is finite and not negative.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::recorder::node;
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
        (HostSamples.collect(&host, &mut batch), batch)
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
        assert_eq!(issues.matches("kind: Absent").count(), 5, "{issues}");
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
}
