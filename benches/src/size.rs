//! Size: a sealed node file against archives of the same log files.
//!
//! The slow compressors take minutes on a large corpus; two run at a time. Their
//! outputs are named after the bytes that went in, so that `--reuse` can take
//! those of an earlier run.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::corpus::{Kind, digest, pack};
use crate::node::size;
use crate::process::{Program, say};
use crate::report::{Report, Target};
use crate::rivals::Rivals;
use crate::work::Work;

/// A compressor and how it is called.
struct Compressor {
    name: &'static str,
    extension: &'static str,
    arguments: &'static [&'static str],
}

const COMPRESSORS: [Compressor; 4] = [
    Compressor {
        name: "tar, zstd -19 --long=27",
        extension: "z19",
        arguments: &["zstd", "-19", "--long=27", "--single-thread", "-q", "-c"],
    },
    Compressor { name: "tar, xz -9", extension: "xz", arguments: &["xz", "-9", "-T1", "-c"] },
    Compressor {
        name: "tar, zstd -3",
        extension: "z3",
        arguments: &["zstd", "-3", "--single-thread", "-q", "-c"],
    },
    Compressor { name: "tar, gzip -6", extension: "gz", arguments: &["gzip", "-6", "-n", "-c"] },
];

/// What a compressor made of the files of a kind.
#[derive(Clone, Copy, Debug)]
struct Packed {
    bytes: u64,
    /// Seconds in user mode, `None` if it is from an earlier run.
    user_s: Option<f64>,
}

/// Measures all, and puts the table into the report.
///
/// # Errors
///
/// If an archive cannot be written, or a compressor fails.
pub(crate) fn run(work: &Work, rivals: &Rivals, report: &mut Report) -> Result<()> {
    let mut archives = Vec::new();
    for kind in Kind::ALL {
        let archive = work.path(&format!("{}.tar", kind.name()));
        pack(kind, &work.sources, &archive)?;
        let digest = digest(&archive)?;
        archives.push((archive, digest));
    }
    let mut jobs = VecDeque::new();
    for (at, compressor) in COMPRESSORS.iter().enumerate() {
        let rival = match compressor.arguments[0] {
            "zstd" => &rivals.zstd,
            "xz" => &rivals.xz,
            _ => &rivals.gzip,
        };
        if rival.is_ok() {
            jobs.extend((0..Kind::ALL.len()).map(|kind| (at, kind)));
        }
    }
    let results = compress_all(work, &archives, jobs)?;
    let raw: Vec<u64> = Kind::ALL
        .iter()
        .map(|kind| {
            let of_kind = work.sources.iter().filter(|source| source.kind == *kind);
            of_kind.map(|source| size(&source.path)).sum::<Result<u64>>()
        })
        .collect::<Result<_>>()?;
    let mut table = Table::new(&raw);
    let of_kinds: Vec<u64> = work.by_kind.iter().map(|(_, made)| made.bytes).collect();
    let smallest = &results[0];
    let best: Option<Vec<u64>> =
        smallest.iter().map(|packed| packed.map(|packed| packed.bytes)).collect();
    let reference = best.as_ref().map(|sizes| sizes.iter().sum::<u64>());
    table.line("**periscope, a sealed file a kind**", Some(&of_kinds), None, reference, None);
    let ours = work.node.bytes;
    table.line("**periscope, one sealed file**", None, Some(ours), reference, None);
    for (compressor, packed) in COMPRESSORS.iter().zip(&results) {
        let Some(packed) = packed.iter().copied().collect::<Option<Vec<Packed>>>() else {
            continue;
        };
        let sizes: Vec<u64> = packed.iter().map(|packed| packed.bytes).collect();
        let user_s = packed.iter().map(|packed| packed.user_s).sum::<Option<f64>>();
        let cost = user_s.map_or_else(|| "earlier run".to_owned(), |user| format!("{user:.1} s"));
        table.line(compressor.name, Some(&sizes), None, reference, Some(&cost));
    }
    table.line("SQLite, a row a line, whole .db", None, Some(size(&rivals.rows)?), reference, None);
    if let Ok(duckdb) = &rivals.duckdb {
        let bytes = size(&duckdb.parquet)?;
        table.line("Parquet (zstd) by DuckDB", None, Some(bytes), reference, None);
    }
    report.target(Target {
        name: "stored size against `tar, zstd -19 --long=27`".to_owned(),
        limit: 0.50,
        measured: reference.map(|reference| ours as f64 / reference as f64),
        unit: "",
    });
    report.section("Size", &table.text);
    Ok(())
}

/// Runs all jobs, two at a time. Results by compressor and kind.
fn compress_all(
    work: &Work,
    archives: &[(PathBuf, String)],
    jobs: VecDeque<(usize, usize)>,
) -> Result<Vec<Vec<Option<Packed>>>> {
    let results = vec![vec![None; archives.len()]; COMPRESSORS.len()];
    let (jobs, results) = (Mutex::new(jobs), Mutex::new(results));
    let worker = || -> Result<()> {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((compressor, kind)) = next else { return Ok(()) };
            let packed = compress(work, &COMPRESSORS[compressor], &archives[kind])?;
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[compressor][kind] = Some(packed);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mine = worker();
        let theirs = other.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")));
        mine.and(theirs)
    })?;
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn compress(
    work: &Work,
    compressor: &Compressor,
    (archive, digest): &(PathBuf, String),
) -> Result<Packed> {
    let to = work.path(&format!("{digest}.{}", compressor.extension));
    if work.reuse && to.exists() {
        return Ok(Packed { bytes: size(&to)?, user_s: None });
    }
    say(&format!("{} on {}", compressor.name, archive.file_name().unwrap_or_default().display()));
    // Under another name until it is whole.
    let partial = to.with_extension(format!("{}.partial", compressor.extension));
    let script = "from=$1 to=$2; shift 2; exec \"$@\" <\"$from\" >\"$to\"";
    let program = Program::shell(script).arg(archive).arg(&partial).args(compressor.arguments);
    let run = program.run()?;
    fs::rename(&partial, &to).context("naming what a compressor made")?;
    Ok(Packed { bytes: size(&to)?, user_s: Some(run.user_s) })
}

/// Lines of sizes, by kind and together.
struct Table {
    text: String,
    raw: Vec<u64>,
}

impl Table {
    fn new(raw: &[u64]) -> Self {
        let sizes: Vec<String> =
            raw.iter().map(|bytes| format!("{:.1} MB", *bytes as f64 / 1e6)).collect();
        let text = format!(
            "Bytes, and how many times smaller than the raw log files. Sealed files count whole, \
             with schema, index and skip filters.\n\n\
             | | {} | all | of zstd -19 | user CPU |\n|---|---|---|---|---|---|---|\n\
             | raw | {} | {:.1} MB | | |\n",
            Kind::ALL.map(Kind::name).join(" | "),
            sizes.join(" | "),
            raw.iter().sum::<u64>() as f64 / 1e6,
        );
        Self { text, raw: raw.to_vec() }
    }

    fn line(
        &mut self,
        name: &str,
        by_kind: Option<&[u64]>,
        all: Option<u64>,
        reference: Option<u64>,
        cost: Option<&str>,
    ) {
        let cell = |raw: u64, bytes: u64| format!("{bytes} ({:.1})", raw as f64 / bytes as f64);
        let cells: Vec<String> = match by_kind {
            Some(sizes) => {
                self.raw.iter().zip(sizes).map(|(raw, size)| cell(*raw, *size)).collect()
            }
            None => vec!["–".to_owned(); self.raw.len()],
        };
        let all = all.or_else(|| Some(by_kind?.iter().sum())).unwrap_or_default();
        let of_reference = reference
            .map_or_else(|| "–".to_owned(), |bytes| format!("{:.3}", all as f64 / bytes as f64));
        self.text.extend([format!(
            "| {name} | {} | {} | {of_reference} | {} |\n",
            cells.join(" | "),
            cell(self.raw.iter().sum(), all),
            cost.unwrap_or("–"),
        )]);
    }
}
