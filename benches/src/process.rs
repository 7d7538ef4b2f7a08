//! Runs programs and says what they took.
//!
//! Each runs below a small process of this program, which alone waits for it: so
//! its CPU time and peak memory are its own, with those of the programs that it
//! starts, and not those of whatever ran before.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

/// What one run of a program took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Seconds from its start to its end.
    pub(crate) wall_s: f64,
    /// Seconds of CPU, user and system, of it and all that it started.
    pub(crate) cpu_s: f64,
    /// Those of them in user mode.
    pub(crate) user_s: f64,
    /// Largest resident memory of any of its processes.
    pub(crate) peak_kib: u64,
    /// What it printed.
    pub(crate) stdout: String,
}

/// Runs of the same thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn wall_s(&self) -> f64 {
        median(self.0.iter().map(|run| run.wall_s))
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        median(self.0.iter().map(|run| run.cpu_s))
    }

    pub(crate) fn peak_kib(&self) -> u64 {
        self.0.iter().map(|run| run.peak_kib).max().unwrap_or_default()
    }
}

/// The middle one, the mean of the two in the middle, or NaN of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[length / 2 - 1], values[length / 2]),
        length => values[length / 2],
    }
}

/// Says where the command is, to the person who waits.
#[expect(clippy::print_stderr, reason = "a program that people run by hand")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Hands a value to the process that started this one.
#[expect(clippy::print_stdout, reason = "its standard output is read by this very program")]
pub(crate) fn answer(value: &Value) {
    println!("{value}");
}

/// A program to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<OsString>,
    /// Statuses that are no failure.
    fine: &'static [i64],
}

impl Program {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self { arguments: vec![program.as_ref().to_owned()], fine: &[0] }
    }

    /// This program, for what it does in a process of its own.
    pub(crate) fn this(command: &str) -> Result<Self> {
        let path = std::env::current_exe().context("finding this program")?;
        Ok(Self::new(path).arg(command))
    }

    /// A line of shell, in which `"$1"` is the first of the arguments to come.
    pub(crate) fn shell(script: &str) -> Self {
        Self::new("sh").arg("-c").arg(script).arg("sh")
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A search, which ends with status 1 if it finds nothing.
    pub(crate) fn may_find_nothing(mut self) -> Self {
        self.fine = &[0, 1];
        self
    }

    /// Runs it once.
    ///
    /// # Errors
    ///
    /// If it cannot be started or fails.
    pub(crate) fn run(&self) -> Result<Run> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = self.arguments[0].to_string_lossy().into_owned();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let report =
            std::env::temp_dir().join(format!("bench-store-{}-{count}", std::process::id()));
        let this = std::env::current_exe().context("finding this program")?;
        let output = Command::new(this)
            .arg("measure")
            .arg(&report)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .env_remove("RIPGREP_CONFIG_PATH")
            .env_remove("PERISCOPE_CORPUS")
            .env("LC_ALL", "C")
            .output()
            .with_context(|| format!("starting {name}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = fs::read_to_string(&report);
        // There is none if the program could not be started.
        let _ = fs::remove_file(&report);
        let text = text.with_context(|| format!("{name} did not run: {said}"))?;
        let taken: Value = serde_json::from_str(&text).context("reading what a program took")?;
        let number = |field: &str| taken[field].as_f64().unwrap_or(f64::NAN);
        let status = taken["status"].as_i64().unwrap_or(-1);
        ensure!(self.fine.contains(&status), "{name} ended with status {status}: {said}");
        Ok(Run {
            wall_s: number("wall_s"),
            cpu_s: number("cpu_s"),
            user_s: number("user_s"),
            peak_kib: taken["peak_kib"].as_u64().unwrap_or_default(),
            stdout: String::from_utf8(output.stdout)
                .with_context(|| format!("output of {name}"))?,
        })
    }
}

/// Runs a program below this process and writes what it took.
///
/// # Errors
///
/// If it cannot be started.
pub(crate) fn measure_here(output: &Path, program: &[OsString]) -> Result<()> {
    let [name, arguments @ ..] = program else { bail!("no program was given") };
    let start = Instant::now();
    let status = Command::new(name)
        .args(arguments)
        .status()
        .with_context(|| format!("starting {}", name.to_string_lossy()))?;
    let wall_s = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what it took")?;
    let user_s = usage.user_time().num_microseconds() as f64 / 1e6;
    let system_s = usage.system_time().num_microseconds() as f64 / 1e6;
    let taken = json!({
        "status": status.code(), "wall_s": wall_s, "user_s": user_s, "cpu_s": user_s + system_s,
        "peak_kib": usage.max_rss(),
    });
    fs::write(output, taken.to_string()).context("writing what it took")
}

/// Path of the analyst's program, built first from the same sources.
///
/// # Errors
///
/// If it does not build.
pub(crate) fn build_analyze() -> Result<PathBuf> {
    let this = std::env::current_exe().context("finding this program")?;
    let folder = this.parent().context("finding the folder of programs")?;
    let release = folder.file_name().is_some_and(|name| name == "release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "periscope-analyze"])
        .args(release.then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "cargo build failed");
    Ok(folder.join("periscope-analyze"))
}

/// Peak of this process's resident memory so far.
pub(crate) fn own_peak_kib() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/status") else { return 0 };
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0].into_iter()) - 2.5).abs() < f64::EPSILON);
        assert!(median(std::iter::empty()).is_nan());
    }
}
