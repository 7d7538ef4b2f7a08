//! How long targets took to answer, over time and over all nodes.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::spans::Span;

/// Points of a line at most.
const MOST_POINTS: usize = 200;

/// Time that a point stands for at least: some samples of each target.
const POINT_NS: i64 = 30 * 1_000_000_000;

/// Targets that are told; the rest is counted.
pub(crate) const MAX_TARGETS: usize = 64;

/// Steps of a histogram in each doubling of the time: one is a tenth.
const STEPS: f64 = 8.0;

/// Steps of a histogram: up to 2^32 microseconds.
pub(crate) const BINS: usize = 256;

/// How long one target took to answer.
#[derive(Debug)]
pub(crate) struct Latency {
    /// Name of the target.
    pub(crate) target: String,
    /// Median and 95th percentile of each stretch of time in milliseconds, `None`
    /// where nothing answered.
    pub(crate) points: Vec<Option<Point>>,
    /// Answers in all.
    pub(crate) answers: u64,
}

/// How long answers of a stretch of time took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Half of them took no longer, in milliseconds.
    pub(crate) median_ms: f64,
    /// All but one in twenty took no longer, in milliseconds.
    pub(crate) high_ms: f64,
}

struct Histogram {
    counts: Vec<u32>,
    answers: u64,
}

/// Reads all answers of a time; `nodes` is a JSON list of names, `None` for all.
/// Gives the targets by name, and how many there are that it does not tell of.
pub(super) fn read(
    connection: &Connection,
    time: Span,
    nodes: Option<&str>,
) -> rusqlite::Result<(Vec<Latency>, usize)> {
    let mut statement = connection.prepare(
        "SELECT target, ts_ns, duration_us FROM probe
         WHERE outcome = 'ok' AND ts_ns >= ?1 AND ts_ns <= ?2
             AND (?3 IS NULL OR node IN (SELECT value FROM json_each(?3)))",
    )?;
    let mut rows = statement.query((time.from_ns, time.until_ns, nodes))?;
    let mut all: BTreeMap<Vec<u8>, Histogram> = BTreeMap::new();
    let mut left_out = std::collections::BTreeSet::new();
    let length = time.length_ns().max(1) as f64;
    let points = usize::try_from(time.length_ns() / POINT_NS).unwrap_or(0).clamp(1, MOST_POINTS);
    while let Some(row) = rows.next()? {
        let ValueRef::Text(target) = row.get_ref(0)? else { continue };
        let (ts_ns, duration_us): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
        if !all.contains_key(target) {
            if all.len() == MAX_TARGETS {
                if left_out.len() < 10_000 {
                    left_out.insert(target.to_owned());
                }
                continue;
            }
            let empty = Histogram { counts: vec![0; points * BINS], answers: 0 };
            all.insert(target.to_owned(), empty);
        }
        let Some(histogram) = all.get_mut(target) else { continue };
        let place = ts_ns.saturating_sub(time.from_ns) as f64 / length * points as f64;
        let place = (place as usize).min(points - 1);
        let count = &mut histogram.counts[place * BINS + bin(duration_us.unwrap_or(0))];
        *count = count.saturating_add(1);
        histogram.answers += 1;
    }
    let latency = |(target, histogram): (Vec<u8>, Histogram)| Latency {
        target: String::from_utf8_lossy(&target).into_owned(),
        points: histogram.counts.chunks(BINS).map(point).collect(),
        answers: histogram.answers,
    };
    Ok((all.into_iter().map(latency).collect(), left_out.len()))
}

/// Step of a histogram that a duration in microseconds falls into.
pub(crate) fn bin(us: i64) -> usize {
    (((us.max(1) as f64).log2() * STEPS) as usize).min(BINS - 1)
}

fn point(counts: &[u32]) -> Option<Point> {
    let (median_ms, high_ms) = (percentile_ms(counts, 0.5)?, percentile_ms(counts, 0.95)?);
    Some(Point { median_ms, high_ms })
}

/// What a share of all durations of a histogram does not exceed, in milliseconds; `None`
/// if it has none.
pub(crate) fn percentile_ms(counts: &[u32], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let wanted = (total as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    let bin = counts.iter().position(|&count| {
        seen += u64::from(count);
        seen >= wanted
    })?;
    // The middle of the step.
    Some(((bin as f64 + 0.5) / STEPS).exp2() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_told_to_a_tenth() {
        let mut counts = vec![0_u32; BINS];
        counts[bin(20_000)] = 90;
        counts[bin(500_000)] = 10;
        let found = point(&counts).unwrap();
        assert!((found.median_ms / 20.0 - 1.0).abs() < 0.1, "{found:?}");
        assert!((found.high_ms / 500.0 - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(point(&[0; BINS]), None);
    }
}
