//! What a process takes of memory and processors, as `/proc` says.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of a second in `/proc/PID/stat`, on every Linux.
const TICKS: u64 = 100;

/// Peak of resident memory so far, in KiB, pages of the program itself included.
///
/// # Errors
///
/// If the process has ended.
pub fn peak_kib(pid: u32) -> Result<u64> {
    field(pid, "VmHWM:")
}

/// Memory that is no page of a file, in KiB, now.
///
/// # Errors
///
/// If the process has ended.
pub fn anonymous_kib(pid: u32) -> Result<u64> {
    field(pid, "RssAnon:")
}

/// Time on processors so far, of all threads.
///
/// # Errors
///
/// If the process has ended.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The name before may hold blanks and brackets.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

fn field(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    value.and_then(|kib| kib.parse().ok()).with_context(|| format!("no {name} in {path}"))
}
