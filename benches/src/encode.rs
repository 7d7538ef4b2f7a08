//! Encoding: CPU time of writing live chunks, against zstd -3 on the same lines
//! in chunks of 4 MiB.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use periscope_store::batch::{Batch, LOG_CHUNK_BYTES};
use periscope_store::codec::{LIVE_LEVEL, LogColumns, encode_logs};

use crate::corpus::{Kind, Lines, Row};
use crate::process::{median, say};
use crate::report::{Report, Target};
use crate::work::Work;

/// CPU seconds of one round.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Rows into a batch, which makes chunks of them.
    batch: f64,
    /// Making chunks of rows that are in columns already.
    codec: f64,
    /// zstd -3 on the raw lines.
    zstd: f64,
}

/// Measures all, and puts the table into the report.
///
/// # Errors
///
/// If a file cannot be read or does not compress.
pub(crate) fn run(work: &Work, report: &mut Report) -> Result<()> {
    let mut table = format!(
        "CPU time of one thread, medians of {} rounds, each of which does all three on 4 MiB of \
         raw lines after the other. *Batch* is what an agent does with a line once it is parsed: \
         copying it to its stream, and making chunks at level {LIVE_LEVEL}. *Codec* is the \
         making of chunks alone.\n\n\
         | corpus | raw | batch | codec | zstd -3 | batch / zstd | codec / zstd |\n\
         |---|---|---|---|---|---|---|\n",
        work.rounds
    );
    let mut all = vec![Taken::default(); work.rounds];
    for kind in Kind::ALL {
        say(&format!("encoding {}", kind.name()));
        let (mut rounds, mut raw) = (Vec::new(), 0);
        for sum in &mut all {
            let (taken, bytes) = round(work, kind)?;
            sum.batch += taken.batch;
            sum.codec += taken.codec;
            sum.zstd += taken.zstd;
            raw = bytes;
            rounds.push(taken);
        }
        table += &line(kind.name(), raw, &rounds);
    }
    table += &line("all", work.raw_bytes as usize, &all);
    report.target(Target {
        name: "live encoding, CPU against `zstd -3` on the same raw chunks".to_owned(),
        limit: 1.2,
        measured: Some(median(all.iter().map(|taken| taken.batch / taken.zstd))),
        unit: "",
    });
    let made = &work.node;
    table.extend([format!(
        "\nA process that reads all lines, one after the other, and writes a node's file: {:.0} \
         MiB resident at most before sealing ({:.1} MiB of that on Rust's heap at most), {:.0} \
         MiB with sealing; {:.2} s of CPU in all.\n",
        made.live_peak_kib as f64 / 1024.0,
        made.live_heap as f64 / f64::from(1 << 20),
        made.peak_kib as f64 / 1024.0,
        made.run.cpu_s,
    )]);
    report.target(Target {
        name: "resident memory of the encoder".to_owned(),
        limit: 32.0,
        measured: Some(made.live_peak_kib as f64 / 1024.0),
        unit: " MiB",
    });
    report.memory("sealing", made.peak_kib);
    report.section("Live encoding", &table);
    Ok(())
}

fn line(name: &str, raw: usize, rounds: &[Taken]) -> String {
    let speed = |of: fn(&Taken) -> f64| raw as f64 / 1e6 / median(rounds.iter().map(of));
    let ratio = |of: fn(&Taken) -> f64| median(rounds.iter().map(|taken| of(taken) / taken.zstd));
    format!(
        "| {name} | {:.1} MB | {:.0} MB/s | {:.0} MB/s | {:.0} MB/s | {:.2} | {:.2} |\n",
        raw as f64 / 1e6,
        speed(|taken| taken.batch),
        speed(|taken| taken.codec),
        speed(|taken| taken.zstd),
        ratio(|taken| taken.batch),
        ratio(|taken| taken.codec),
    )
}

/// All three on all lines of a kind, in turn; and how many bytes they have.
fn round(work: &Work, kind: Kind) -> Result<(Taken, usize)> {
    let (mut taken, mut raw) = (Taken::default(), 0);
    let mut batch = Batch::new(kind.collector());
    let mut zstd = zstd::bulk::Compressor::new(3).context("preparing zstd")?;
    let mut packed = vec![0; zstd::zstd_safe::compress_bound(2 * LOG_CHUNK_BYTES)];
    for source in work.sources.iter().filter(|source| source.kind == kind) {
        let bytes = source.read()?;
        raw += bytes.len();
        let mut lines = Lines::new(kind);
        let mut rest = &*bytes;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(whole_lines(rest));
            rest = after;
            let rows: Vec<Row<'_>> =
                chunk.split_inclusive(|byte| *byte == b'\n').map(|line| lines.row(line)).collect();
            let stream = batch.stream(source.stream());
            taken.batch += timed(|| {
                rows.iter().for_each(|row| batch.log(stream, row.ts_ns, row.flags, row.message));
                Ok(())
            })?;
            if batch.is_full() {
                taken.batch += timed(|| {
                    batch.finish();
                    Ok(())
                })?;
                batch = Batch::new(kind.collector());
            }
            let mut columns = LogColumns::default();
            rows.iter().for_each(|row| columns.push(row.ts_ns, row.flags.to_byte(), row.message));
            taken.codec += timed(|| {
                encode_logs(&columns, LIVE_LEVEL)?;
                Ok(())
            })?;
            if packed.len() < zstd::zstd_safe::compress_bound(chunk.len()) {
                packed.resize(zstd::zstd_safe::compress_bound(chunk.len()), 0);
            }
            taken.zstd += timed(|| {
                zstd.compress_to_buffer(chunk, &mut packed).context("compressing")?;
                Ok(())
            })?;
        }
    }
    taken.batch += timed(|| {
        batch.finish();
        Ok(())
    })?;
    Ok((taken, raw))
}

/// Length of the whole lines that make up a chunk, at least one of them.
fn whole_lines(bytes: &[u8]) -> usize {
    let Some(head) = bytes.get(..LOG_CHUNK_BYTES) else { return bytes.len() };
    if let Some(at) = memchr::memrchr(b'\n', head) {
        return at + 1;
    }
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Seconds of this thread's CPU time that some work takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("reading the clock");
    let before = now()?;
    work()?;
    let after = now()?;
    let seconds =
        |time: nix::sys::time::TimeSpec| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9;
    Ok(seconds(after) - seconds(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_lines() {
        assert_eq!(whole_lines(b"a\nb"), 3);
        let mut long = vec![b'x'; LOG_CHUNK_BYTES];
        long[10] = b'\n';
        assert_eq!(whole_lines(&long), 11);
        long[10] = b'x';
        long.extend_from_slice(b"x\ny");
        assert_eq!(whole_lines(&long), LOG_CHUNK_BYTES + 2);
    }
}
