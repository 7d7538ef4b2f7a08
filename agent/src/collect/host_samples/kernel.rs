//! Files of the kernel with a fixed set of values: memory, load, CPU, pressure,
//! files, and events of memory management.
//!
//! Pure functions: text in, values out, `None` for what makes no sense.

use super::{TICKS_PER_SECOND, Values};

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
pub(super) fn memory(text: &str) -> Option<Values> {
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
pub(super) fn load(text: &str) -> Option<Values> {
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
pub(super) fn cpu(text: &str) -> Option<Values> {
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
pub(super) fn pressure(resource: &str, text: &str) -> Option<Values> {
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
pub(super) fn single(name: &str, text: &str) -> Option<Values> {
    Some(vec![(name.to_owned(), number(text.trim())?)])
}

/// `9344 0 9223372036854775807`: handles in use, unused, and their limit.
pub(super) fn files(text: &str) -> Option<Values> {
    let mut words = text.split_ascii_whitespace();
    let (used, _, limit) = (words.next()?, words.next()?, words.next()?);
    Some(vec![
        ("files_open_handles".to_owned(), number(used)?),
        ("files_max_handles".to_owned(), number(limit)?),
    ])
}

/// Events of memory management that are sampled, and their names here.
const EVENTS: [(&str, &str); 6] = [
    ("oom_kill", "memory_oom_kills_total"),
    ("pgmajfault", "memory_major_faults_total"),
    ("pswpin", "memory_swapped_in_pages_total"),
    ("pswpout", "memory_swapped_out_pages_total"),
    ("pgscan_direct", "memory_direct_scanned_pages_total"),
    ("compact_stall", "memory_compaction_stalls_total"),
];

/// `oom_kill 3`, one counter a line, of `/proc/vmstat`.
pub(super) fn events(text: &str) -> Option<Values> {
    let values: Values = text
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            let (_, name) = EVENTS.iter().find(|(known, _)| *known == key)?;
            Some(((*name).to_owned(), number(value.trim())?))
        })
        .collect();
    (!values.is_empty()).then_some(values)
}

/// A number that is finite and not negative.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}
