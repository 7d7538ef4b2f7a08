//! Times as people write them.

use anyhow::{Context, Result};
use periscope_store::time::{parse_rfc3339, prefix_range};
use rusqlite::Connection;

use crate::manners;
use crate::zone::Zone;

/// When the newest session of a bundle last wrote.
pub(crate) fn end(connection: &Connection) -> Result<i64> {
    let end: Option<i64> = connection
        .query_row("SELECT max(ended_ns) FROM raw_session", [], |row| row.get(0))
        .context("reading when the bundle ends")?;
    Ok(end.unwrap_or_default())
}

/// First and last nanosecond that a text may mean: a time with any offset, the
/// beginning of one in the zone that was chosen, or how long before `end`.
///
/// # Errors
///
/// If it is none of these.
pub(crate) fn parse(text: &str, end: i64) -> Result<(i64, i64)> {
    let exact = parse_rfc3339(text).map(|ns| (ns, ns));
    exact
        .or_else(|| shown(&text.replacen(' ', "T", 1)))
        .or_else(|| before(text, end).map(|ns| (ns, ns)))
        .with_context(|| {
            format!("{text:?} is no time\nhint: 2026-11-22T12:28, or 5m before the end")
        })
}

/// The beginning of a time, as clocks of the zone that was chosen show it.
fn shown(text: &str) -> Option<(i64, i64)> {
    let (from, until) = prefix_range(text)?;
    let zone = if text.ends_with('Z') { Zone::Utc } else { manners::zone() };
    Some((zone.to_utc(from), zone.to_utc(until)))
}

fn before(text: &str, end: i64) -> Option<i64> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    end.checked_sub(number.checked_mul(seconds)?.checked_mul(1_000_000_000)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_or_cover_what_they_name() {
        let end = parse_rfc3339("2026-11-22T12:30:00Z").expect("a time");
        let check = |text: &str, from: &str, seconds: i64| {
            let from = parse_rfc3339(from).expect("a time");
            let length = if seconds == 0 { 0 } else { seconds * 1_000_000_000 - 1 };
            assert_eq!(parse(text, end).expect(text), (from, from + length), "{text}");
        };
        check("2026-11-22T12:28:03Z", "2026-11-22T12:28:03Z", 0);
        check("2026-11-22T14:28:03+02:00", "2026-11-22T12:28:03Z", 0);
        check("2026-11-22T12:28", "2026-11-22T12:28:00Z", 60);
        check("2026-11-22 12:28", "2026-11-22T12:28:00Z", 60);
        check("2026-11-22", "2026-11-22T00:00:00Z", 86_400);
        check("5m", "2026-11-22T12:25:00Z", 0);
        check("0s", "2026-11-22T12:30:00Z", 0);
        for wrong in ["", "m", "-5m", "5w", "yesterday", "99999999999999999d"] {
            assert!(parse(wrong, end).is_err(), "{wrong}");
        }
    }
}
