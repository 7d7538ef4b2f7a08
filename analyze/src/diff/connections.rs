//! How often and how fast targets answered, side by side.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::model::{Connection, Pair, Reached};
use super::side::Side;
use crate::report::history::latency::{BINS, bin, percentile_ms};

/// Targets of nodes whose median is told.
const MAX_TARGETS: usize = 20_000;

/// A node and a target.
type Key = (String, String);

/// Compares what each pair of nodes probed.
///
/// # Errors
///
/// If samples cannot be read.
pub(super) fn compare(a: &Side, b: &Side, pairs: &[Pair]) -> Result<Vec<Connection>> {
    let sides = (read(a)?, read(b)?);
    let mut all = Vec::new();
    for pair in pairs {
        let of = |side: &BTreeMap<Key, Reached>, node: &str| -> BTreeMap<String, Reached> {
            let from = (node.to_owned(), String::new());
            side.range(from..)
                .take_while(|((name, _), _)| name == node)
                .map(|((_, target), reached)| (target.clone(), *reached))
                .collect()
        };
        let (before, after) = (of(&sides.0, &pair.a), of(&sides.1, &pair.b));
        let mut targets: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            let (a, b) = (before.get(&target).copied(), after.get(&target).copied());
            all.push(Connection { node: pair.name(), target, a, b, differs: differs(a, b) });
        }
    }
    // What differs comes first, the worst of it before all.
    all.sort_by_key(|row| !row.differs);
    Ok(all)
}

/// Whether somebody who reads a tenth of a percent sees another number.
fn differs(a: Option<Reached>, b: Option<Reached>) -> bool {
    let tenth = |reached: Option<Reached>| {
        reached
            .and_then(|reached| reached.availability)
            .map(|share| (share * 1000.0).floor() as i64)
    };
    matches!((tenth(a), tenth(b)), (Some(a), Some(b)) if a != b)
}

fn read(side: &Side) -> Result<BTreeMap<Key, Reached>> {
    let medians = medians(side).context("reading how fast targets answered")?;
    let reached = |row: &crate::report::model::Reached| {
        let key = (row.node.clone(), row.target.clone());
        let reached = Reached {
            availability: row.availability,
            coverage: row.coverage,
            outages: row.outages,
            median_ms: medians.get(&key).copied(),
        };
        (key, reached)
    };
    Ok(side.report.connections.iter().map(reached).collect())
}

fn medians(side: &Side) -> Result<BTreeMap<Key, f64>> {
    let mut statement = side
        .bundle
        .connection()
        .prepare("SELECT node, target, duration_us FROM probe WHERE outcome = 'ok'")?;
    let mut rows = statement.query([])?;
    let mut all: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
    let mut last: Option<Key> = None;
    while let Some(row) = rows.next()? {
        let (Ok(node), Ok(target)) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str()) else {
            continue;
        };
        // Samples come by chunks: the next one mostly is of the same target.
        let key = match last.take() {
            Some(key) if key.0 == node && key.1 == target => key,
            _ => (node.to_owned(), target.to_owned()),
        };
        if all.len() < MAX_TARGETS || all.contains_key(&key) {
            let us: Option<i64> = row.get(2)?;
            let counts = all.entry(key.clone()).or_insert_with(|| vec![0; BINS]);
            let count = &mut counts[bin(us.unwrap_or(0))];
            *count = count.saturating_add(1);
        }
        last = Some(key);
    }
    let median = |(key, counts): (Key, Vec<u32>)| Some((key, percentile_ms(&counts, 0.5)?));
    Ok(all.into_iter().filter_map(median).collect())
}
