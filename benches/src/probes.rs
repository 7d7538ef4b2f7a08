//! Probe samples: what one takes in a sealed file, and how fast outages are found.
//!
//! The samples are made, because nobody's network fails on time: six targets
//! every five seconds, latencies log-normal around a base of each target, some
//! milliseconds of jitter, bursts of failures (one sample in two hundred), and
//! times when the agent was away. Two sorts: `plain` has what the target was set
//! for, one latency and times in microseconds; `https` has all that the agent
//! writes of an HTTPS target: five latencies, an address, times in nanoseconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use periscope_store::batch::{Batch, ProbeOutcome, ProbeSample, ProbeTarget, Stream};
use periscope_store::bundle::Bundle;
use serde_json::{Value, json};

use crate::node::{create, poll, size};
use crate::process::{Program, answer, median, own_peak_kib, say};
use crate::report::{Report, Target};
use crate::views;
use crate::work::Work;

const TARGETS: usize = 6;
const INTERVAL_NS: i64 = 5_000_000_000;
const TIMEOUT_NS: i64 = 3_000_000_000;
const SAMPLES_OF_HOUR: usize = 720;
const SAMPLES_OF_DAY: usize = 17_280;
/// Samples after which an agent begins a new batch.
const BATCH_SAMPLES: usize = 8_192;
/// Nodes of the bundle that is asked for outages.
const NODES: usize = 20;
/// 2026-11-22T00:00:00Z.
const START_NS: i64 = 1_795_305_600_000_000_000;

/// Questions for outages: as an analyst asks, and as plainly as SQL can.
const QUESTIONS: [(&str, &str); 3] = [
    ("view `probe_outage`", "SELECT count(*) FROM probe_outage"),
    (
        "`probe`, failing runs",
        "SELECT count(*) FROM (
             SELECT node, target, grp FROM (
                 SELECT node, target,
                     seq - row_number() OVER (PARTITION BY node, target ORDER BY seq) AS grp
                 FROM probe WHERE outcome = 'fail')
             GROUP BY node, target, grp HAVING count(*) >= 3)",
    ),
    ("`probe`, every row", "SELECT max(duration_us) FROM probe"),
];

/// Measures all, and puts the tables into the report.
///
/// # Errors
///
/// If a file cannot be written or a question fails.
pub(crate) fn run(work: &Work, report: &mut Report) -> Result<()> {
    say("making probe samples");
    let mut table = String::from(
        "Bytes of a sealed file with these samples and nothing else, less those of a sealed \
         file with none.\n\n\
         | samples | of each target | bytes of the file | less an empty one | bytes a sample |\n\
         |---|---|---|---|---|\n",
    );
    let folder = work.path("probe-nodes");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("removing the samples of an earlier run")?;
    }
    fs::create_dir_all(&folder).context("making a folder for samples")?;
    let empty = work.path("no-probes.db");
    write(&empty, Detail::Plain, 0, 0)?;
    let empty_bytes = size(&empty)?;
    for (detail, name) in [(Detail::Plain, "plain"), (Detail::Https, "https")] {
        for (count, span) in [(SAMPLES_OF_DAY, "a day"), (SAMPLES_OF_HOUR, "an hour")] {
            let path = work.path("probes.db");
            let samples = write(&path, detail, 0, count)?;
            let bytes = size(&path)?;
            let each = (bytes - empty_bytes.min(bytes)) as f64 / samples as f64;
            table.extend([format!(
                "| {name}, {TARGETS} targets | {span}, {} | {bytes} | {} | {each:.2} |\n",
                samples / TARGETS,
                bytes.saturating_sub(empty_bytes)
            )]);
            if count == SAMPLES_OF_DAY {
                report.target(Target {
                    name: format!("probe samples, bytes each in the file: a day of {name}"),
                    limit: 3.5,
                    measured: Some(each),
                    unit: "",
                });
            }
        }
    }
    let mut samples = 0;
    for node in 0..NODES {
        let path = folder.join(format!("node-{node:03}.db"));
        samples += write(&path, Detail::Https, node as u64, SAMPLES_OF_DAY)?;
    }
    table += &outages(work, &folder, samples, report)?;
    report.section("Probe samples", &table);
    Ok(())
}

fn outages(work: &Work, folder: &Path, samples: usize, report: &mut Report) -> Result<String> {
    let millions = samples as f64 / 1e6;
    let mut table = format!(
        "\nQuestions to {NODES} files with a day each, {millions:.2} million samples of the sort \
         `https`, in one process that has opened them; the last column is a process of its own, \
         with its start and opening.\n\n\
         | question | answer | wall, s a million | CPU, s a million | memory | whole process |\n\
         |---|---|---|---|---|---|\n"
    );
    for (name, sql) in QUESTIONS {
        say(&format!("asking for outages: {name}"));
        let runs = (0..work.rounds)
            .map(|_| {
                let run = Program::this("ask-probes")?.arg(folder).arg(sql).run()?;
                serde_json::from_str(&run.stdout).context("reading an answer")
            })
            .collect::<Result<Vec<Value>>>()?;
        let of = |field: &str| {
            median(runs.iter().map(|run| run[field].as_f64().unwrap_or(f64::NAN))) / millions
        };
        let peak_kib =
            runs.iter().filter_map(|run| run["peak_kib"].as_u64()).max().unwrap_or_default();
        let process = work.query(folder, sql).run()?;
        table.extend([format!(
            "| {name} | {} | {:.4} | {:.4} | {:.0} MiB | {:.0} ms |\n",
            runs.first().map(|run| run["answer"].to_string()).unwrap_or_default(),
            of("wall_s"),
            of("cpu_s"),
            peak_kib as f64 / 1024.0,
            process.wall_s * 1e3
        )]);
        report.memory("outages", peak_kib.max(process.peak_kib));
        if name != QUESTIONS[2].0 {
            report.target(Target {
                name: format!("outage query, seconds a million samples: {name}"),
                limit: 0.005,
                measured: Some(of("wall_s")),
                unit: "",
            });
        }
    }
    Ok(table)
}

/// Asks a bundle twice in this process, and answers what the second time took.
///
/// # Errors
///
/// If the bundle or the SQL is wrong.
pub(crate) fn ask_here(folder: &Path, sql: &str) -> Result<()> {
    let bundle = Bundle::open(&[PathBuf::from(folder)])?;
    ensure!(bundle.problems().is_empty(), "{:?}", bundle.problems());
    views::create(bundle.connection()).context("creating the views")?;
    let ask = || bundle.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
    ask().context("asking")?;
    let cpu = || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("reading the clock");
    let seconds =
        |time: nix::sys::time::TimeSpec| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9;
    let (start, before) = (Instant::now(), cpu()?);
    let found = ask().context("asking")?;
    let (wall_s, after) = (start.elapsed().as_secs_f64(), cpu()?);
    answer(&json!({
        "answer": found, "wall_s": wall_s, "cpu_s": seconds(after) - seconds(before),
        "peak_kib": own_peak_kib(),
    }));
    Ok(())
}

/// How much a sample holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Plain,
    Https,
}

/// Writes and seals a node's file with samples of each target. How many.
fn write(path: &Path, detail: Detail, node: u64, count: usize) -> Result<usize> {
    if path.exists() {
        fs::remove_file(path).context("removing the samples of an earlier run")?;
    }
    let mut writer = create(path, &format!("node-{node:03}"))?;
    let mut targets: Vec<Made> = (0..TARGETS).map(|at| Made::new(detail, node, at)).collect();
    let (mut batch, mut seq, mut samples) = (Batch::new("probe"), 0, 0);
    for slot in 0..count {
        for target in &mut targets {
            let Some(sample) = target.sample(slot) else { continue };
            let stream = batch.stream(target.stream.clone());
            batch.probe(stream, &sample);
            samples += 1;
            if batch.row_count() >= BATCH_SAMPLES as u64 {
                writer.commit(std::mem::replace(&mut batch, Batch::new("probe")), &poll(seq))?;
                seq += 1;
            }
        }
    }
    writer.commit(batch, &poll(seq))?;
    writer.seal()?;
    Ok(samples)
}

/// A target whose samples are made.
struct Made {
    detail: Detail,
    stream: Stream,
    random: Random,
    /// Median of one latency, in microseconds.
    base_us: f64,
    phase_ns: i64,
    address: String,
    /// Samples that are still to fail.
    failing: u32,
    /// Slots in which the agent is still away.
    away: u32,
    next: u64,
}

impl Made {
    fn new(detail: Detail, node: u64, at: usize) -> Self {
        let mut random = Random::new(node * 7_919 + at as u64 + 1);
        let name = format!("target-{at}");
        let url = match detail {
            Detail::Plain => format!("tcp://10.0.{at}.1:443"),
            Detail::Https => format!("https://{name}.example/healthz"),
        };
        let kind = "custom".to_owned();
        let (interval_ns, timeout_ns) = (INTERVAL_NS, TIMEOUT_NS);
        Self {
            detail,
            stream: Stream::probe(&ProbeTarget { name, kind, url, interval_ns, timeout_ns }),
            base_us: 300.0 * (1.0 + at as f64),
            phase_ns: random.below(5_000_000) as i64 * 1_000,
            address: format!("10.0.{at}.1:443"),
            failing: 0,
            away: 0,
            next: 0,
            random,
        }
    }

    /// The sample of a slot, `None` if the agent is away.
    fn sample(&mut self, slot: usize) -> Option<ProbeSample> {
        if self.away == 0 && self.random.below(40_000) == 0 {
            self.away = 3 + self.random.below(40) as u32;
        }
        if self.away > 0 {
            self.away -= 1;
            return None;
        }
        if self.failing == 0 && self.random.below(6_000) == 0 {
            self.failing = 1 + (self.random.unit() * self.random.unit() * 120.0) as u32;
        }
        let fails = self.failing > 0;
        self.failing = self.failing.saturating_sub(1);
        let late_us = self.random.unit().powi(4) * 3_000.0;
        let since_start = self.phase_ns + slot as i64 * INTERVAL_NS;
        let mut sample = ProbeSample {
            seq: self.next,
            ts_ns: START_NS + since_start + late_us as i64 * 1_000,
            address: self.address.clone(),
            ..ProbeSample::default()
        };
        self.next += 1;
        sample.mono_ns = sample.ts_ns - START_NS + 77_000_000_000;
        if self.detail == Detail::Https {
            sample.ts_ns += self.random.below(1_000) as i64;
            // The clocks are read one after the other.
            sample.mono_ns = sample.ts_ns - START_NS + 77_000_000_000 + 40;
            sample.mono_ns += self.random.below(60) as i64;
        }
        if fails {
            self.fail(&mut sample);
        } else {
            self.succeed(&mut sample);
        }
        Some(sample)
    }

    fn fail(&mut self, sample: &mut ProbeSample) {
        sample.outcome = ProbeOutcome::Fail;
        "tcp".clone_into(&mut sample.phase);
        "timeout".clone_into(&mut sample.error_class);
        sample.error = format!("no answer from {} within 3 s", self.address);
        sample.duration_us = 3_000_000 + self.random.below(3_000);
        if self.detail == Detail::Https {
            sample.dns_us = Some(self.latency(0.5));
        }
    }

    fn succeed(&mut self, sample: &mut ProbeSample) {
        if self.detail == Detail::Plain {
            sample.duration_us = self.latency(1.0);
            return;
        }
        let parts = [0.5, 1.0, 3.0, 2.0].map(|factor| self.latency(factor));
        let [dns, tcp, tls, http] = parts;
        (sample.dns_us, sample.tcp_us) = (Some(dns), Some(tcp));
        (sample.tls_us, sample.http_us) = (Some(tls), Some(http));
        sample.status = Some(200);
        sample.duration_us = parts.iter().sum::<u64>() + 20 + self.random.below(60);
    }

    /// Microseconds around a multiple of the base, log-normal.
    fn latency(&mut self, factor: f64) -> u64 {
        let normal = (0..3).map(|_| self.random.unit()).sum::<f64>() - 1.5;
        (self.base_us * factor * (normal * 0.8).exp()) as u64
    }
}

/// Xorshift: numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_same_in_every_run_and_some_fail() {
        let day = |node| {
            let mut target = Made::new(Detail::Https, node, 0);
            (0..SAMPLES_OF_DAY).filter_map(|slot| target.sample(slot)).collect::<Vec<_>>()
        };
        assert_eq!(day(1), day(1));
        assert_ne!(day(1), day(2));
        let failed: usize =
            (0..20).flat_map(day).filter(|sample| sample.outcome == ProbeOutcome::Fail).count();
        assert!((500..10_000).contains(&failed), "{failed}");
    }
}
