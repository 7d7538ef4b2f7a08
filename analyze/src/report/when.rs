//! Times as users write them: an instant, or an age before the bundle's end.

use std::fmt;
use std::str::FromStr;

use periscope_store::time::{parse_rfc3339, prefix_range};

use crate::manners;

const SECOND_NS: i64 = 1_000_000_000;

/// A time that a report is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// As the user wrote it.
    text: String,
    time: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// What was written with an offset.
    Instant(i64),
    /// First and last nanosecond of an hour, a minute, a second, on clocks of the zone
    /// that was chosen.
    Shown(i64, i64),
    /// Nanoseconds before the end.
    Age(i64),
}

impl When {
    /// First nanosecond of it in a bundle that ends at `ended_ns`.
    pub(super) fn first_ns(&self, ended_ns: i64) -> i64 {
        match self.time {
            Time::Instant(ns) => ns,
            Time::Shown(first, _) => manners::zone().to_utc(first),
            Time::Age(age) => ended_ns.saturating_sub(age),
        }
    }

    /// Last nanosecond of it.
    pub(super) fn last_ns(&self, ended_ns: i64) -> i64 {
        match self.time {
            Time::Instant(ns) => ns,
            Time::Shown(_, last) => manners::zone().to_utc(last),
            Time::Age(age) => ended_ns.saturating_sub(age),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = parse_rfc3339(text)
            .map(Time::Instant)
            .or_else(|| prefix_range(text).map(|(first, last)| Time::Shown(first, last)))
            .or_else(|| age_ns(text).map(Time::Age));
        match time {
            Some(time) => Ok(Self { text: text.to_owned(), time }),
            None => Err("no time\nhint: 2026-11-22T12:28:00Z, 2026-11-22T12:28, or an age \
                         before the end of the bundle: 90s, 30m, 2h, 1h30m, 7d"
                .to_owned()),
        }
    }
}

/// Nanoseconds of an age such as `1h30m`.
fn age_ns(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let seconds = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(seconds)?.checked_mul(SECOND_NS)?)?;
        rest = &rest[digits + 1..];
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_an_age() {
        let check = |text: &str, first: i64, last: i64| {
            let when: When = text.parse().expect(text);
            let end = 100_000 * SECOND_NS;
            assert_eq!((when.first_ns(end), when.last_ns(end)), (first, last), "{text}");
        };
        let second = |s: i64| s * SECOND_NS;
        check("1970-01-01T00:00:07Z", second(7), second(7));
        check("1970-01-01T02:00:07+02:00", second(7), second(7));
        check("1970-01-01T00:01", second(60), second(120) - 1);
        check("2h", second(100_000 - 7_200), second(100_000 - 7_200));
        check("1h30m", second(100_000 - 5_400), second(100_000 - 5_400));
        for text in ["", "h", "2", "2 h", "2y", "0s", "-2h", "yesterday", "99999999999999d", "2é"]
        {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}
