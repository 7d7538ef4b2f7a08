//! Table `probe_stretch`: probe samples in a row that ended alike, as one row.
//!
//! Most of a day is one success after another. What asks when something changed
//! reads a thousandth of the rows here, and decides the same: a stretch ends
//! wherever anybody could see a change, a gap or a step of the clock, and ends
//! once too often rather than not. It never reaches beyond its chunk.

use std::ffi::{CStr, c_int};
use std::ops::Range;

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::plan::Push;
use super::scan::{Opened, Task};
use super::table::{ChunkTable, Row};
use crate::batch::{ProbeOutcome, StreamKind};
use crate::codec::{self, ProbeColumns};
use crate::time;

/// Longest time between two samples of a stretch, in intervals of its target.
const MAX_STEP_INTERVALS: i64 = 2;

/// Most that the wall clock gains or loses between two samples of a stretch.
const MAX_CLOCK_STEP_NS: u64 = 1_000_000_000;

pub(super) struct ProbeStretch;

/// Samples of a chunk, and where the stretches that are shown end.
pub(super) struct Stretches {
    columns: ProbeColumns,
    /// First row after each stretch.
    ends: Vec<usize>,
}

impl ChunkTable for ProbeStretch {
    const NAME: &'static CStr = c"probe_stretch";
    const SCHEMA: &'static CStr = c"CREATE TABLE probe_stretch (
        node TEXT, -- node that tried
        ts TEXT, -- when the first sample began, RFC 3339 in UTC
        ts_ns INTEGER, -- ts in nanoseconds since 1970
        target TEXT, -- name of the target
        kind TEXT, -- kind of the target, as in probe
        url TEXT, -- what is connected to
        outcome TEXT, -- how all of the samples ended: 'ok', 'fail' or 'skipped'
        phase TEXT, -- phase in which all of them failed
        error_class TEXT, -- stable class of all their failures
        error TEXT, -- what the system said to the first
        address TEXT, -- address that the first connected to
        samples INTEGER, -- how many they are
        seq INTEGER, -- number of the first in its session and target
        mono_ns INTEGER, -- CLOCK_BOOTTIME at the start of the first
        last_ns INTEGER, -- when the last sample began, in nanoseconds since 1970
        last_mono_ns INTEGER, -- CLOCK_BOOTTIME at the start of the last
        last_seq INTEGER, -- number of the last
        last_duration_us INTEGER, -- microseconds of the last
        total_duration_us INTEGER, -- microseconds of all of them
        max_duration_us INTEGER, -- microseconds of the longest
        interval_ns INTEGER, -- time from one sample to the next
        timeout_ns INTEGER, -- time after which a sample has failed
        session_id INTEGER, -- life of the agent's process; seq is of one session
        batch_id INTEGER, -- batch that holds the samples, see collection
        stream_id INTEGER -- stream: node, target, URL, interval and timeout
    )";
    const KINDS: &'static [StreamKind] = &[StreamKind::Probe];
    const PUSHES: &'static [(c_int, Push)] = &[
        (0, Push::Node),
        (1, Push::Ts),
        (2, Push::TsNs),
        (3, Push::Name),
        (4, Push::Attribute("kind")),
        (5, Push::Attribute("url")),
        (6, Push::Outcome),
    ];
    type Chunk = Stretches;

    fn open(task: &mut Task<'_>) -> crate::Result<Opened<Stretches>> {
        let filter = &task.request.filter;
        let columns = codec::decode_probes(task.meta().declared, &task.data()?)?;
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        for run in &task.job.runs {
            let interval_ns = task.catalogue.streams[run.stream].integer("interval_ns");
            let past = run.first_row + run.row_count;
            let mut at = run.first_row;
            while at < past {
                let next = end(&columns, at..past, interval_ns.unwrap_or(0));
                let has_failed = columns.outcome(at) == ProbeOutcome::Fail;
                if filter.has_time(columns.ts_ns(at)) && (!filter.failed_only || has_failed) {
                    rows.push(at as u32);
                    ends.push(next);
                }
                at = next;
            }
        }
        Ok(Opened { rows, chunk: Stretches { columns, ends } })
    }

    fn column(row: &Row<'_, Self>, column: c_int, context: &mut Context) -> Result<()> {
        let (columns, at, stream) = (&row.chunk.columns, row.at(), row.stream);
        let next = row.chunk.ends[row.nth];
        let last = next - 1;
        let durations = || (at..next).map(|sample| columns.duration_us(sample).unwrap_or(0));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match column {
            0 => context.set_result(&*stream.node),
            1 => context.set_result(time::format_ns(columns.ts_ns(at))),
            2 => context.set_result(columns.ts_ns(at)),
            3 => context.set_result(stream.name.as_str()),
            4 => context.set_result(stream.text("kind")),
            5 => context.set_result(stream.text("url")),
            6 => context.set_result(columns.outcome(at).as_str()),
            7 => context.set_result(text(columns.phase(at))),
            8 => context.set_result(text(columns.error_class(at))),
            9 => context.set_result(text(columns.error(at))),
            10 => context.set_result(text(columns.address(at))),
            11 => context.set_result((next - at) as i64),
            12 => context.set_result(columns.seq(at)),
            13 => context.set_result(columns.mono_ns(at)),
            14 => context.set_result(columns.ts_ns(last)),
            15 => context.set_result(columns.mono_ns(last)),
            16 => context.set_result(columns.seq(last)),
            17 => context.set_result(columns.duration_us(last).map(number)),
            18 => context.set_result(number(durations().fold(0, u64::saturating_add))),
            19 => context.set_result(durations().max().map(number)),
            20 => context.set_result(stream.integer("interval_ns")),
            21 => context.set_result(stream.integer("timeout_ns")),
            22 => context
                .set_result(row.catalogue.batches.get(&row.batch_id).map(|batch| batch.session_id)),
            23 => context.set_result(row.batch_id),
            _ => context.set_result(stream.id),
        }
    }
}

/// Where the stretch ends that begins with the first of some samples.
fn end(columns: &ProbeColumns, rows: Range<usize>, interval_ns: i64) -> usize {
    let ends = |row: &usize| !goes_on(columns, *row, interval_ns);
    (rows.start + 1..rows.end).find(ends).unwrap_or(rows.end)
}

/// Whether a sample belongs to the stretch of the one before it.
fn goes_on(columns: &ProbeColumns, row: usize, interval_ns: i64) -> bool {
    let before = row - 1;
    let wall = columns.ts_ns(row).saturating_sub(columns.ts_ns(before));
    let mono = columns.mono_ns(row).saturating_sub(columns.mono_ns(before));
    columns.ended_alike(row, before)
        && columns.seq(row).checked_sub(1) == Some(columns.seq(before))
        && wall > 0
        && mono > 0
        && mono <= interval_ns.saturating_mul(MAX_STEP_INTERVALS)
        && wall.abs_diff(mono) <= MAX_CLOCK_STEP_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::ProbeSample;

    const SECOND: i64 = 1_000_000_000;

    /// Lengths of the stretches of six samples, the fourth and later of which
    /// `change` has changed.
    fn lengths(change: impl Fn(&mut ProbeSample)) -> Vec<usize> {
        let mut columns = ProbeColumns::default();
        for seq in 0..6 {
            let offset = seq as i64 * 5 * SECOND;
            let (ts_ns, mono_ns) = (1_795_350_483 * SECOND + offset, offset);
            let mut sample = ProbeSample { seq, ts_ns, mono_ns, ..ProbeSample::default() };
            if seq >= 3 {
                change(&mut sample);
            }
            columns.push(&sample);
        }
        let (mut lengths, mut at) = (Vec::new(), 0);
        while at < 6 {
            let next = end(&columns, at..6, 5 * SECOND);
            lengths.push(next - at);
            at = next;
        }
        lengths
    }

    fn late(sample: &mut ProbeSample, ns: i64) {
        sample.ts_ns += ns;
        sample.mono_ns += ns;
    }

    #[test]
    fn a_stretch_ends_where_something_changes() {
        let whole: &[usize] = &[6];
        let parted: &[usize] = &[3, 3];
        let check = |expected: &[usize], change: fn(&mut ProbeSample)| {
            assert_eq!(lengths(change), expected);
        };
        check(whole, |_| {});
        check(whole, |sample| sample.duration_us = 7);
        check(whole, |sample| sample.error = "no answer from 192.0.2.7".to_owned());
        check(parted, |sample| sample.outcome = ProbeOutcome::Fail);
        check(parted, |sample| sample.phase = "tcp".to_owned());
        check(parted, |sample| sample.error_class = "timeout".to_owned());
        check(parted, |sample| sample.seq += 1);
        // A sample up to an interval late, and the wall clock up to a second.
        check(whole, |sample| late(sample, 5 * SECOND));
        check(parted, |sample| late(sample, 5 * SECOND + 1));
        check(parted, |sample| late(sample, -5 * SECOND));
        check(whole, |sample| sample.ts_ns -= SECOND);
        check(parted, |sample| sample.ts_ns -= SECOND + 1);
        check(parted, |sample| sample.ts_ns += SECOND + 1);
        check(&[3, 1, 1, 1], |sample| (sample.ts_ns, sample.mono_ns) = (i64::MIN, i64::MAX));
    }

    #[test]
    fn without_an_interval_every_sample_is_a_stretch() {
        let mut columns = ProbeColumns::default();
        for seq in 0..3 {
            let ns = seq as i64 + 1;
            let sample = ProbeSample { seq, ts_ns: ns, mono_ns: ns, ..ProbeSample::default() };
            columns.push(&sample);
        }
        assert_eq!([0, 1, 2].map(|at| end(&columns, at..3, 0)), [1, 2, 3]);
        assert_eq!(end(&columns, 0..3, i64::MAX), 3);
    }
}
