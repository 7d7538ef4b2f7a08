//! What the continuous agent takes of a busy node: memory and processor stay below their
//! ceilings, and no line is missing.
//!
//! Takes gigabytes of disk, minutes, and a release build or one like it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use periscope_store::time::format_ns;
use periscope_tests::agent::Agent;
use periscope_tests::database;
use periscope_tests::node::Node;
use periscope_tests::process;

/// What the agent may have in memory that is no page of its program: what control groups
/// count as `rss` or `anon`.
const MEMORY_KIB: u64 = 64 << 10;

/// What it may take of a processor on a quiet node, in percent.
const CPU_PERCENT: f64 = 3.0;

/// Containers of a busy node.
const CONTAINERS: usize = 100;

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

/// Lines of a container, no two alike.
struct Lines {
    file: BufWriter<File>,
    seed: u64,
    line: String,
}

impl Lines {
    fn to(path: &Path, seed: u64) -> Self {
        let file = File::options().create(true).append(true).open(path).expect("a file");
        Self { file: BufWriter::new(file), seed: seed + 1, line: String::new() }
    }

    /// Writes one line. Answers its length.
    fn write(&mut self, time: &str) -> usize {
        // A linear congruential generator: random enough not to compress away.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (seed, line) = (self.seed, &mut self.line);
        line.clear();
        let _ = writeln!(
            line,
            "{time} stdout F request {seed:016x} from 10.244.{}.{} took {} ms",
            seed >> 40 & 255,
            seed >> 48 & 255,
            seed >> 56
        );
        self.file.write_all(line.as_bytes()).expect("written");
        line.len()
    }
}

fn log(node: &Node, pod: &str) -> PathBuf {
    node.logs(pod, "main").expect("a folder").join("0.log")
}

/// Writes so many bytes a second to all containers together until it is told to stop.
/// Answers how many lines there are.
fn write_all(node: &Node, bytes_per_second: usize, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let paths: Vec<_> = (0..CONTAINERS).map(|at| log(node, &format!("busy-{at}"))).collect();
    let stop = stop.clone();
    std::thread::spawn(move || {
        let mut logs: Vec<_> =
            paths.iter().enumerate().map(|(at, path)| Lines::to(path, at as u64)).collect();
        let (begun, mut bytes, mut lines) = (Instant::now(), 0, 0);
        while !stop.load(Ordering::Relaxed) {
            let time = format_ns(now_ns());
            let due = (begun.elapsed().as_secs_f64() * bytes_per_second as f64) as usize;
            while bytes < due {
                for log in &mut logs {
                    bytes += log.write(&time);
                    lines += 1;
                }
            }
            logs.iter_mut().for_each(|log| log.file.flush().expect("written"));
            sleep(Duration::from_millis(100));
        }
        lines
    })
}

/// What a process took: the peak of all its memory, and of what is no page of a file.
struct Peaks {
    all_kib: u64,
    anonymous_kib: u64,
}

/// Watches an agent until something is so.
fn watch(agent: &Agent, peaks: &mut Peaks, patience: Duration, is_so: impl Fn() -> bool) {
    let until = Instant::now() + patience;
    while !is_so() {
        let peak = process::peak_kib(agent.id()).expect("alive");
        peaks.all_kib = peaks.all_kib.max(peak);
        let now = process::anonymous_kib(agent.id()).expect("alive");
        peaks.anonymous_kib = peaks.anonymous_kib.max(now);
        assert!(Instant::now() < until, "not within {patience:?}:\n{}", agent.said());
        sleep(Duration::from_millis(20));
    }
}

fn count(files: &[PathBuf], pods: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM log WHERE pod LIKE '{pods}'");
    u64::try_from(database::number(files, &sql).expect("counted")).expect("a count")
}

/// Waits until the agent has looked at logs twice: what was written before the call is
/// read by then.
fn two_looks(agent: &Agent, peaks: &mut Peaks) {
    let until = Instant::now() + Duration::from_secs(22);
    watch(agent, peaks, Duration::from_mins(1), || Instant::now() > until);
}

#[test]
fn a_gigabyte_behind_and_five_megabytes_a_second_fit_into_memory() {
    let node = Node::new(&[]).expect("a node");
    let mut behind = 0;
    for at in 0..20 {
        let mut lines = Lines::to(&log(&node, &format!("behind-{at}")), at);
        let (time, mut bytes) = (format_ns(now_ns()), 0);
        while bytes < 53_700_000 {
            bytes += lines.write(&time);
            behind += 1;
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_all(&node, 5_000_000, &stop);
    let agent = node.start(&["--run-id", "r", "--only", "container-logs,probe"]).expect("started");
    let (begun, mut peaks) = (Instant::now(), Peaks { all_kib: 0, anonymous_kib: 0 });
    let is_complete = || agent.said().contains("run is complete");
    watch(&agent, &mut peaks, Duration::from_mins(8), is_complete);
    let caught_up = begun.elapsed();
    let (cpu, since) = (process::cpu(agent.id()).expect("alive"), Instant::now());
    two_looks(&agent, &mut peaks);
    two_looks(&agent, &mut peaks);
    let steady = process::cpu(agent.id()).expect("alive").saturating_sub(cpu);
    let percent = steady.as_secs_f64() / since.elapsed().as_secs_f64() * 100.0;
    stop.store(true, Ordering::Relaxed);
    let busy = writer.join().expect("written");
    two_looks(&agent, &mut peaks);
    println!(
        "a backlog of {behind} lines after {caught_up:.0?}, {cpu:.1?} of a processor; peak of \
         {:.1} MiB, {:.1} MiB without pages of files; {percent:.1} % of a processor at 5 MB/s",
        peaks.all_kib as f64 / 1024.0,
        peaks.anonymous_kib as f64 / 1024.0,
    );
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    let sealed = node.sealed("r");
    assert_eq!(count(&sealed, "behind-%"), behind);
    assert_eq!(count(&sealed, "busy-%"), busy);
    assert!(peaks.anonymous_kib <= MEMORY_KIB, "{} KiB", peaks.anonymous_kib);
}

#[test]
fn a_quiet_node_takes_three_percent_of_a_processor() {
    let node = Node::new(&[]).expect("a node");
    let mut probes = String::new();
    for at in 0..8 {
        let _ = writeln!(
            probes,
            "[[probe]]\nname = \"t{at}\"\nkind = \"custom\"\nurl = \"{}\"\ninterval = \"5s\"\n\
             timeout = \"2s\"",
            node.target.url()
        );
    }
    node.write("agent.toml", &probes).expect("written");
    // Five lines a second of each container.
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_all(&node, 100 * CONTAINERS * 5, &stop);
    let agent = node.start(&["--run-id", "r"]).expect("started");
    let mut peaks = Peaks { all_kib: 0, anonymous_kib: 0 };
    let is_complete = || agent.said().contains("run is complete");
    watch(&agent, &mut peaks, Duration::from_mins(2), is_complete);
    let (cpu, since) = (process::cpu(agent.id()).expect("alive"), Instant::now());
    sleep(Duration::from_mins(2));
    let taken = process::cpu(agent.id()).expect("alive").saturating_sub(cpu);
    let percent = taken.as_secs_f64() / since.elapsed().as_secs_f64() * 100.0;
    watch(&agent, &mut peaks, Duration::from_mins(1), || true);
    stop.store(true, Ordering::Relaxed);
    let lines = writer.join().expect("written");
    two_looks(&agent, &mut peaks);
    println!("{percent:.2} % of a processor, peak of {} KiB, {lines} lines", peaks.all_kib);
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    assert_eq!(count(&node.sealed("r"), "busy-%"), lines);
    assert!(percent <= CPU_PERCENT, "{percent} %");
}

#[test]
fn a_log_that_grows_too_fast_is_bounded_and_keeps_no_other_waiting() {
    let node = Node::new(&[]).expect("a node");
    let (fast, quiet) = (log(&node, "fast"), log(&node, "quiet"));
    let agent = node.start(&["--run-id", "r", "--only", "container-logs,probe"]).expect("started");
    let written = Arc::new(AtomicU64::new(0));
    let in_thread = written.clone();
    let writer = std::thread::spawn(move || {
        let mut block = Vec::new();
        while block.len() < 4_000_000 {
            let (time, at) = (format_ns(now_ns()), block.len());
            writeln!(block, "{time} stdout F request {at} of the fast one").expect("memory");
        }
        let mut file = File::options().create(true).append(true).open(fast).expect("a file");
        let begun = Instant::now();
        // 200 MB a second, as far as the disk lets it.
        while begun.elapsed() < Duration::from_secs(10) {
            let due = (begun.elapsed().as_secs_f64() * 200e6) as u64;
            if in_thread.load(Ordering::Relaxed) < due {
                file.write_all(&block).expect("written");
                in_thread.fetch_add(block.len() as u64, Ordering::Relaxed);
            } else {
                sleep(Duration::from_millis(5));
            }
        }
    });
    let (begun, mut peaks) = (Instant::now(), Peaks { all_kib: 0, anonymous_kib: 0 });
    let mut lines = 0;
    let mut log = Lines::to(&quiet, 1);
    while begun.elapsed() < Duration::from_secs(12) {
        log.write(&format_ns(now_ns()));
        log.file.flush().expect("written");
        lines += 1;
        let until = Instant::now() + Duration::from_millis(200);
        watch(&agent, &mut peaks, Duration::from_mins(1), || Instant::now() > until);
    }
    writer.join().expect("written");
    // Two looks are over by then, each of which read 256 MiB of the fast one at most.
    let until = Instant::now() + Duration::from_mins(1);
    watch(&agent, &mut peaks, Duration::from_mins(3), || Instant::now() > until);
    println!(
        "{} MB were written within ten seconds; peak of {} KiB, {} KiB without pages of files",
        written.load(Ordering::Relaxed) / 1_000_000,
        peaks.all_kib,
        peaks.anonymous_kib
    );
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    let sealed = node.sealed("r");
    assert_eq!(count(&sealed, "quiet"), lines);
    assert!(count(&sealed, "fast") > 1_000_000, "it is read as well");
    assert!(peaks.anonymous_kib <= MEMORY_KIB, "{} KiB", peaks.anonymous_kib);
}
