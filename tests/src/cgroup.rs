//! What a process costs, as the kernel counts it for its control group.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The control groups of one process, of either version.
#[derive(Clone, Debug)]
pub struct Cgroup {
    memory: PathBuf,
    cpu: PathBuf,
    is_unified: bool,
}

impl Cgroup {
    /// The groups that a process is in.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/cgroup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let group = |controller: &str| {
            text.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let is_it = fields.next()?.split(',').any(|name| name == controller);
                let path = fields.next().filter(|_| is_it)?;
                Some(Path::new(MOUNT).join(controller).join(path.trim_start_matches('/')))
            })
        };
        let is_unified = Path::new(MOUNT).join("cgroup.controllers").exists();
        if is_unified {
            let whole = group("").with_context(|| format!("{path} names no group"))?;
            return Ok(Self { memory: whole.clone(), cpu: whole, is_unified });
        }
        let (memory, cpu) = group("memory")
            .zip(group("cpuacct"))
            .with_context(|| format!("{path} names no group for memory and CPU"))?;
        Ok(Self { memory, cpu, is_unified })
    }

    /// Bytes in memory that are no cache of files.
    ///
    /// # Errors
    ///
    /// If the group is gone, with its last process.
    pub fn resident_bytes(&self) -> Result<u64> {
        let name = if self.is_unified { "anon" } else { "rss" };
        field(&self.memory.join("memory.stat"), name)
    }

    /// Time on processors, nanoseconds.
    ///
    /// # Errors
    ///
    /// If the group is gone, with its last process.
    pub fn cpu_ns(&self) -> Result<u64> {
        if self.is_unified {
            return Ok(field(&self.cpu.join("cpu.stat"), "usage_usec")?.saturating_mul(1000));
        }
        let path = self.cpu.join("cpuacct.usage");
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{text:?} of {}", path.display()))
    }
}

/// Number after a name, in a file of such lines.
fn field(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
        .with_context(|| format!("no {name} in {}", path.display()))
}
