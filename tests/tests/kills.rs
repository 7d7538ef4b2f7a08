//! `kill -9` at any moment while logs are written as fast as they can be rotated: what
//! the agent leaves is whole, no line is lost or doubled, and of the probes' samples only
//! the last seconds are.
//!
//! A dozen kills unless `PERISCOPE_KILLS` says otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use periscope_store::bundle::Bundle;
use periscope_store::time::format_ns;
use periscope_tests::database;
use periscope_tests::node::{Node, free_port, outcome};
use periscope_tests::programs;

/// Lines of one write, which ends within one of them more often than not.
const LINES: u64 = 100;

/// Rotated files that are kept: more than are made while the agent is away.
const KEPT: usize = 60;

/// What may be lost of samples: the agent writes them every five seconds.
const SAMPLES_NS: i64 = 5_000_000_000;

/// Time between a sample and its probe, and between two clocks that are read.
const SLACK_NS: i64 = 1_200_000_000;

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

/// A linear congruential generator: which moment it is does not matter, only that it is
/// another one each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Text of a line, all of it.
fn text(number: u64) -> String {
    let tail = if number.is_multiple_of(50) { " and a second part" } else { "" };
    format!("line {number}|{}{tail}", "x".repeat((number % 80) as usize))
}

/// The line as the runtime writes it: some in two parts, with one of the other output in
/// between.
fn written(number: u64, time: &str) -> String {
    if !number.is_multiple_of(50) {
        return format!("{time} stdout F {}\n", text(number));
    }
    let whole = text(number);
    let (first, second) = whole.split_at(whole.len() - 8);
    format!("{time} stdout P {first}\n{time} stderr F error {number}\n{time} stdout F {second}\n")
}

/// How a log is rotated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rotation {
    /// Renamed, as the kubelet does.
    Rename,
    /// Copied and cut.
    Copy,
}

/// Writes a log and rotates it until it is told to stop. Answers how many lines.
fn write_log(folder: PathBuf, rotation: Rotation, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let path = folder.join("0.log");
        let open = || OpenOptions::new().create(true).append(true).open(&path).expect("a log");
        let (mut file, mut random) = (open(), Random(u64::from(rotation == Rotation::Copy)));
        let (mut number, mut rotations, mut since) = (0, 0, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let time = format_ns(now_ns());
            let lines: String = (number..number + LINES).map(|at| written(at, &time)).collect();
            number += LINES;
            let (head, tail) = lines.split_at(random.below(lines.len() as u64) as usize);
            for part in [head, tail] {
                file.write_all(part.as_bytes()).expect("written");
                std::thread::sleep(Duration::from_millis(25));
            }
            if since.elapsed() > Duration::from_millis(1_200) {
                (rotations, since) = (rotations + 1, Instant::now());
                let rotated = folder.join(format!("0.log.20261122-{rotations:06}"));
                if rotation == Rotation::Rename {
                    fs::rename(&path, rotated).expect("renamed");
                    file = open();
                } else {
                    fs::copy(&path, rotated).expect("copied");
                    file.set_len(0).expect("cut");
                }
                tidy(&folder);
            }
        }
        number
    })
}

/// Compresses what was rotated, but for the last, and removes the oldest.
fn tidy(folder: &Path) {
    let rotated = || {
        let files = database::files(folder).into_iter();
        files.filter(|path| path.display().to_string().contains("0.log.")).collect::<Vec<_>>()
    };
    let is_packed = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
    let plain: Vec<_> = rotated().into_iter().filter(|path| !is_packed(path)).collect();
    for path in plain.iter().rev().skip(1) {
        let name = path.display();
        let (next, packed) = (format!("{name}.tmp"), format!("{name}.gz"));
        let out = File::create(&next).expect("a file");
        let mut gzip = Command::new("gzip");
        gzip.args(["-1", "-c"]).arg(path).stdin(Stdio::null()).stdout(out);
        assert!(gzip.status().expect("gzip").success());
        fs::rename(next, packed).expect("renamed");
        fs::remove_file(path).expect("removed");
    }
    let all = rotated();
    for path in all.iter().rev().skip(KEPT) {
        fs::remove_file(path).expect("removed");
    }
}

/// Checks copies of the files that a killed agent has left.
fn check_left(node: &Node) {
    let copies = tempfile::tempdir().expect("a folder");
    let left = node.live("r");
    for path in &left {
        let name = path.file_name().expect("a name");
        fs::copy(path, copies.path().join(name)).expect("copied");
    }
    let is_database = |path: &PathBuf| path.extension().is_some_and(|end| end == "partial");
    for path in database::files(copies.path()).into_iter().filter(is_database) {
        database::check_writable(&path).expect("whole");
    }
}

#[test]
fn kills_lose_no_line_and_double_none() {
    let kills: u64 =
        std::env::var("PERISCOPE_KILLS").map_or(12, |text| text.parse().expect("a number"));
    // Before anything is written: building takes longer than rotated files are kept.
    programs::path("periscope-agent").expect("built");
    let node = Node::new(&[]).expect("a node");
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [("a", Rotation::Rename), ("b", Rotation::Rename), ("c", Rotation::Copy)];
    let logs = writers.map(|(pod, rotation)| {
        let folder = node.logs(pod, "main").expect("a folder");
        (pod, write_log(folder, rotation, stop.clone()))
    });
    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let flags = ["--run-id", "r", "--only", "container-logs,probe", "--health", &health];
    let mut random = Random(kills);
    // When an agent was killed that had had the time to write samples.
    let mut long_lives = Vec::new();
    for kill in 0..kills {
        let agent = node.start(&flags).expect("started");
        let is_long = kill % 10 == 5;
        let begun_ns = now_ns();
        let life = if is_long { 8_000 } else { 50 + random.below(1_950) };
        std::thread::sleep(Duration::from_millis(life));
        agent.kill().expect("killed, and not ended before");
        long_lives.extend(is_long.then(|| (begun_ns, now_ns())));
        check_left(&node);
    }
    stop.store(true, Ordering::Relaxed);
    let written = logs.map(|(pod, thread)| (pod, thread.join().expect("written")));
    let mut agent = node.start(&flags).expect("started");
    let has_read = || outcome(port, "container-logs").is_some();
    agent.wait_until("all logs are read", has_read).expect("read");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));

    let sealed = node.sealed("r");
    sealed.iter().for_each(|path| database::check(path).expect("whole"));
    for (pod, lines) in written {
        println!("{pod}: {lines} lines, {kills} kills, {} files", sealed.len());
        assert!(lines > 10 * LINES, "{lines}");
        lines_are_there_once(&sealed, pod, lines);
    }
    let samples: Vec<i64> =
        database::column(&sealed, "SELECT ts_ns FROM probe ORDER BY ts_ns").expect("samples");
    for (begun_ns, ended_ns) in long_lives {
        let of_life = samples.iter().filter(|ts_ns| (begun_ns..ended_ns).contains(ts_ns));
        let lost_ns = ended_ns - of_life.max().copied().unwrap_or(begun_ns);
        println!("samples of the last {} ms are lost", lost_ns / 1_000_000);
        assert!(lost_ns <= SAMPLES_NS + SLACK_NS, "{} ms", lost_ns / 1_000_000);
    }
}

fn lines_are_there_once(files: &[PathBuf], pod: &str, lines: u64) {
    let bundle = Bundle::open(files).expect("a bundle");
    let mut statement = bundle
        .connection()
        .prepare("SELECT message, output FROM log WHERE source = 'container' AND pod = ?1")
        .expect("a query");
    let mut rows = statement.query([pod]).expect("rows");
    let mut met = vec![[0_u8; 2]; lines as usize];
    while let Some(row) = rows.next().expect("a row") {
        let message: String = row.get(0).expect("text");
        let output: String = row.get(1).expect("text");
        let is_error = output == "stderr";
        let start = if is_error { "error " } else { "line " };
        let number = message.strip_prefix(start).and_then(|rest| rest.split('|').next());
        let number: u64 = number.and_then(|number| number.parse().ok()).expect(&message);
        let expected = if is_error { format!("error {number}") } else { text(number) };
        assert_eq!(message, expected);
        met[number as usize][usize::from(is_error)] += 1;
    }
    let expected = |number: usize| [1, u8::from(number.is_multiple_of(50))];
    let wrong: Vec<_> =
        met.iter().enumerate().filter(|(number, met)| **met != expected(*number)).collect();
    assert!(wrong.is_empty(), "{pod}: {} wrong, {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}
