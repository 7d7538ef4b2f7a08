//! Measures the log codec on log files: how small, how fast.
//!
//! ```text
//! cargo run --release -p periscope-store --example codec -- [--level N]
//!     [--chunk MIB] [--together] [--columns] [--memory]
//!     [--seal FILE.db] [--needle TEXT] KIND FILE… [KIND FILE…]
//! ```
//!
//! `KIND` is `klog` (whole lines, times from their stamps), `cri` (times and
//! flags of a container runtime in front) or `journal` (`journalctl -o
//! short-iso-precise`). `--together` puts small files into one chunk, as the
//! agent does. Every chunk is decoded and compared. For each kind it prints the
//! ratio, the speeds in MB of file a CPU second, and what zstd alone makes of the
//! same lines in chunks of the same size at level 3. `--columns` adds where the bytes
//! are: for each frame of `FORMAT.md` its raw and its stored size. `--memory` adds the
//! most memory that encoding a chunk took (set `MALLOC_MMAP_THRESHOLD_=65536` and
//! `MALLOC_TRIM_THRESHOLD_=0`, or what earlier chunks have freed hides it).
//! `--seal` also writes all lines to a node's file as an agent does, seals it, and
//! prints what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use periscope_store::batch::{Batch, LineFlags, Outcome, Stream};
use periscope_store::codec::{
    Declared, Encoded, LogColumns, LogReader, Needle, decode_logs, encode_logs,
};
use periscope_store::time::parse_rfc3339;
use periscope_store::writer::{Node, Poll, Session, Writer};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(report) => {
            print(&report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print(&error);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report of a program that people run by hand")]
fn print(text: &str) {
    println!("{text}");
}

/// What is asked for.
struct Options {
    level: i32,
    chunk_bytes: usize,
    together: bool,
    columns: bool,
    memory: bool,
    seal: Option<PathBuf>,
    needles: Vec<Needle>,
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
    let mut options = Options {
        level: 3,
        chunk_bytes: 4 << 20,
        together: false,
        columns: false,
        memory: false,
        seal: None,
        needles: Vec::new(),
    };
    let mut groups: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--level" => options.level = value()?.parse().map_err(|_| "no number")?,
            "--chunk" => {
                options.chunk_bytes = value()?.parse::<usize>().map_err(|_| "no number")? << 20;
            }
            "--together" => options.together = true,
            "--columns" => options.columns = true,
            "--memory" => options.memory = true,
            "--seal" => options.seal = Some(value()?.into()),
            "--needle" => options.needles.push(Needle::new(value()?.as_bytes(), true)),
            "klog" | "cri" | "journal" => groups.push((argument, Vec::new())),
            path => {
                let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
                groups.last_mut().ok_or("a kind comes first")?.1.push(bytes);
            }
        }
    }
    let mut report = format!("{:8}  {}\n", "kind", Tally::HEAD);
    if let Some(path) = &options.seal {
        return seal(path, &groups);
    }
    let mut total = Tally::default();
    for (kind, files) in &groups {
        let mut tally = Tally::default();
        for chunk in chunks(kind, files, &options) {
            tally.measure(&chunk, &options)?;
        }
        report.extend([&format!("{kind:8}  "), tally.line().as_str(), "\n"]);
        if options.columns {
            report += &tally.columns();
        }
        total.add(&tally);
    }
    report.extend([&format!("{:8}  ", "all"), total.line().as_str(), "\n"]);
    if options.columns {
        report += &total.columns();
    }
    if options.memory {
        report.extend(["encoding took ", &total.encode_kib.to_string(), " KiB at most\n"]);
    }
    Ok(report)
}

/// Writes all lines to a node's file and seals it. What the file then has.
fn seal(path: &Path, groups: &[(String, Vec<Vec<u8>>)]) -> Result<String, String> {
    let failed = |error: periscope_store::Error| error.to_string();
    let node = Node { name: "node".to_owned(), machine_id: String::new() };
    let session = Session {
        run_id: "run".to_owned(),
        cluster: None,
        agent_version: String::new(),
        boot_id: String::new(),
        started_ns: 0,
        process: 0,
        config: String::new(),
    };
    let mut writer = Writer::create(path, &node, &session).map_err(failed)?;
    let mut poll = Poll {
        seq: 0,
        round: 0,
        started_ns: 0,
        ended_ns: 0,
        outcome: Outcome::Complete,
        message: None,
    };
    let mut batch = Batch::new("logs");
    let start = Instant::now();
    for (kind, files) in groups {
        for (number, file) in files.iter().enumerate() {
            let name = format!("{kind}-{number}");
            let stream = match kind.as_str() {
                "cri" => Stream::container("default", &name, "uid", "main", 0),
                "journal" => Stream::unit(&name),
                _ => Stream::file(&name),
            };
            let mut last_ns = 0;
            for line in file.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let (ts_ns, flags, message) = parse(kind, line, last_ns);
                last_ns = ts_ns;
                let flags = LineFlags {
                    stderr: flags & 1 != 0,
                    partial: flags & 2 != 0,
                    ..Default::default()
                };
                let handle = batch.stream(stream.clone());
                batch.log(handle, ts_ns, flags, message);
                if batch.is_full() {
                    let full = std::mem::replace(&mut batch, Batch::new("logs"));
                    writer.commit(full, &poll).map_err(failed)?;
                    poll.seq += 1;
                }
            }
        }
    }
    writer.commit(batch, &poll).map_err(failed)?;
    let written = start.elapsed();
    let before_kib = memory_kib("VmHWM:");
    let start = Instant::now();
    writer.seal().map_err(failed)?;
    let sealed = start.elapsed();
    let file_bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    let sum = |sql: &str| {
        rusqlite::Connection::open(path)
            .and_then(|file| file.query_row(sql, [], |row| row.get::<_, i64>(0)))
            .map_err(|error| error.to_string())
    };
    Ok(format!(
        "{file_bytes} bytes in the file: {} in {} chunks, {} in filters\n\
         written in {written:.2?}, sealed in {sealed:.2?}, peak of {before_kib} and {} KiB",
        sum("SELECT sum(length(data)) FROM raw_chunk")?,
        sum("SELECT count(*) FROM raw_chunk")?,
        sum("SELECT sum(length(data)) FROM raw_chunk_filter")?,
        memory_kib("VmHWM:"),
    ))
}

/// A number of this process's memory; 0 where the system has none.
fn memory_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Memory that a function took at most beyond what was in use before.
fn peak_kib<T>(work: impl FnOnce() -> T) -> u64 {
    // Sets the peak back to what is in use.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = memory_kib("VmRSS:");
    drop(work());
    memory_kib("VmHWM:").saturating_sub(before)
}

/// Rows of a chunk, and the lines that they were.
#[derive(Default)]
struct Chunk {
    raw: Vec<u8>,
    columns: LogColumns,
}

fn chunks(kind: &str, files: &[Vec<u8>], options: &Options) -> Vec<Chunk> {
    let mut chunks = vec![Chunk::default()];
    for file in files {
        let mut last_ns = 0;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            if chunks.last().is_some_and(|chunk| chunk.raw.len() >= options.chunk_bytes) {
                chunks.push(Chunk::default());
            }
            let Some(chunk) = chunks.last_mut() else { continue };
            chunk.raw.extend_from_slice(line);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let (ts_ns, flags, message) = parse(kind, line, last_ns);
            last_ns = ts_ns;
            chunk.columns.push(ts_ns, flags, message);
        }
        if !options.together {
            chunks.push(Chunk::default());
        }
    }
    chunks.retain(|chunk| !chunk.columns.is_empty());
    chunks
}

/// Time, flags and message of a line; a line without a time has that of the one
/// before, and a flag that says so.
fn parse<'a>(kind: &str, line: &'a [u8], last_ns: i64) -> (i64, u8, &'a [u8]) {
    let text = |from: usize, to: usize| {
        line.get(from..to).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let inferred = (last_ns, 4, line);
    match kind {
        "cri" => {
            let end = line.iter().take(36).position(|byte| *byte == b' ').unwrap_or_default();
            let Some(ts_ns) = parse_rfc3339(text(0, end)) else { return inferred };
            let stderr = u8::from(text(end, end + 8) == " stderr ");
            let partial = u8::from(text(end + 8, end + 10) == "P ") << 1;
            (ts_ns, stderr | partial, line.get(end + 10..).unwrap_or_default())
        }
        "journal" => {
            let time = format!("{}:{}", text(0, 29), text(29, 31));
            let Some(ts_ns) = parse_rfc3339(&time) else { return inferred };
            (ts_ns, 0, line.get(32..).unwrap_or_default())
        }
        _ => {
            let klog = format!("2026-{}-{}T{}Z", text(1, 3), text(3, 5), text(6, 21));
            match parse_rfc3339(&klog).or_else(|| parse_rfc3339(text(0, 24))) {
                Some(ts_ns) => (ts_ns, 0, line),
                None => inferred,
            }
        }
    }
}

#[derive(Default)]
struct Tally {
    raw: usize,
    stored: usize,
    zstd: usize,
    encode: Duration,
    decode: Duration,
    zstd_encode: Duration,
    search: Duration,
    hits: usize,
    encode_kib: u64,
    /// Raw and stored size of each frame.
    frames: [(usize, usize); FRAMES.len()],
}

/// What the frames of a chunk are called in `FORMAT.md`.
const FRAMES: [&str; 17] = [
    "head",
    "templates",
    "dictionary",
    "packed ids",
    "whole lengths",
    "whole text",
    "template codes",
    "template numbers",
    "time codes",
    "time bits",
    "flags",
    "string codes",
    "string numbers",
    "ways",
    "number codes",
    "number bits",
    "hexdump bytes",
];

/// Raw and stored size of each frame of a chunk.
fn frames(mut data: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    std::iter::from_fn(move || {
        let before = data.len();
        let raw = varint(&mut data)?;
        let stored = varint(&mut data)?;
        data = data.get(1 + stored..)?;
        Some((raw, before - data.len()))
    })
}

fn varint(data: &mut &[u8]) -> Option<usize> {
    let length = data.iter().position(|byte| *byte < 0x80)? + 1;
    let (number, rest) = data.split_at(length);
    *data = rest;
    Some(number.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)))
}

impl Tally {
    const HEAD: &'static str =
        "   raw MB   stored  ratio  encode  decode  zstd-3: ratio encode  cpu of it  search";

    fn measure(&mut self, chunk: &Chunk, options: &Options) -> Result<(), String> {
        self.raw += chunk.raw.len();
        if options.memory {
            let peak = peak_kib(|| encode_logs(&chunk.columns, options.level));
            self.encode_kib = self.encode_kib.max(peak);
        }
        let (time, encoded) = timed(|| encode_logs(&chunk.columns, options.level));
        let encoded: Encoded = encoded.map_err(|error| error.to_string())?;
        self.encode += time;
        // The row of a chunk and its run take about 24 bytes more.
        self.stored += encoded.data.len() + 24;
        for (sum, (raw, stored)) in self.frames.iter_mut().zip(frames(&encoded.data)) {
            sum.0 += raw;
            sum.1 += stored;
        }
        let declared = Declared {
            codec: encoded.codec,
            row_count: chunk.columns.len(),
            raw_bytes: encoded.raw_bytes,
        };
        let (time, decoded) = timed(|| decode_logs(declared, &encoded.data));
        self.decode += time;
        if decoded.map_err(|error| error.to_string())? != chunk.columns {
            return Err("a chunk did not come back".to_owned());
        }
        let (time, packed) = timed(|| zstd::bulk::compress(&chunk.raw, 3));
        self.zstd_encode += time;
        self.zstd += packed.map_err(|error| error.to_string())?.len() + 24;
        for needle in &options.needles {
            let (time, hits) =
                timed(|| LogReader::open(declared, &encoded.data)?.rows_matching(needle));
            self.search += time;
            self.hits += hits.map_err(|error| error.to_string())?.len();
        }
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        self.raw += other.raw;
        self.stored += other.stored;
        self.zstd += other.zstd;
        self.encode += other.encode;
        self.decode += other.decode;
        self.zstd_encode += other.zstd_encode;
        self.search += other.search;
        self.hits += other.hits;
        self.encode_kib = self.encode_kib.max(other.encode_kib);
        for (sum, (raw, stored)) in self.frames.iter_mut().zip(other.frames) {
            sum.0 += raw;
            sum.1 += stored;
        }
    }

    /// A line for each frame: raw size, stored size, and its share of all.
    fn columns(&self) -> String {
        let line = |(name, (raw, stored)): (&&str, &(usize, usize))| {
            let share = 100.0 * *stored as f64 / self.stored as f64;
            format!("          {name:16} {raw:10} {stored:9} {share:5.1} %\n")
        };
        FRAMES.iter().zip(&self.frames).map(line).collect()
    }

    fn line(&self) -> String {
        let speed = |time: Duration| self.raw as f64 / 1e6 / time.as_secs_f64();
        let ratio = |stored: usize| self.raw as f64 / stored as f64;
        format!(
            "{:9.1} {:8} {:6.1} {:7.0} {:7.0} {:13.1} {:6.0} {:10.2}  {:.1} ms, {} hits",
            self.raw as f64 / 1e6,
            self.stored,
            ratio(self.stored),
            speed(self.encode),
            speed(self.decode),
            ratio(self.zstd),
            speed(self.zstd_encode),
            self.encode.as_secs_f64() / self.zstd_encode.as_secs_f64(),
            self.search.as_secs_f64() * 1e3,
            self.hits,
        )
    }
}

/// Result of a function, and the shorter of the times of two calls: the first
/// one pays for memory that the system has yet to give.
fn timed<T>(work: impl Fn() -> T) -> (Duration, T) {
    let start = Instant::now();
    let _ = work();
    let first = start.elapsed();
    let start = Instant::now();
    let result = work();
    (start.elapsed().min(first), result)
}
