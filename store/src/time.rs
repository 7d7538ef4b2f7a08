//! Times as analysts write them: RFC 3339 in UTC with nine digits.
//!
//! `2026-11-22T12:28:03.000000042Z` sorts as text, compares with a prefix such
//! as `2026-11-22T12:28`, and holds the nanosecond that chunks store.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

/// Length of every text that [`format_ns`] makes for the years 0 to 9999.
pub const TEXT_LENGTH: usize = 30;

/// Text of a time in nanoseconds since 1970: `2026-11-22T12:28:03.000000042Z`.
#[must_use]
pub fn format_ns(ns: i64) -> String {
    let time = DateTime::from_timestamp_nanos(ns).naive_utc();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.nanosecond(),
    )
}

/// Nanoseconds of an RFC 3339 time with any offset, `None` if it is none or
/// lies outside the years 1677 to 2262 that nanoseconds reach.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}

/// The instants whose text starts with `prefix`, as first and last nanosecond.
///
/// `2026-11-22T12:28` covers that minute. Anything that is no prefix of a time
/// in UTC gives `None`. A blank instead of the `T` is not accepted, because as
/// text it sorts elsewhere.
#[must_use]
pub fn prefix_range(prefix: &str) -> Option<(i64, i64)> {
    const LOW: &str = "0000-01-01T00:00:00.000000000Z";
    if prefix.len() > TEXT_LENGTH || !prefix.is_ascii() {
        return None;
    }
    let separators = [4, 7, 10, 13, 16, 19, 29];
    for (i, byte) in prefix.bytes().enumerate() {
        let ok =
            if separators.contains(&i) { byte == LOW.as_bytes()[i] } else { byte.is_ascii_digit() };
        if !ok {
            return None;
        }
    }
    // Only whole fields: a cut one ("2026-1") covers ranges that are not one.
    let (year, month, day) = (field(prefix, 0..4)?, field(prefix, 5..7), field(prefix, 8..10));
    let first = |y: i64, m: i64, d: i64| {
        NaiveDate::from_ymd_opt(y as i32, m as u32, d as u32)?
            .and_hms_opt(0, 0, 0)?
            .and_utc()
            .timestamp_nanos_opt()
    };
    let second = 1_000_000_000_i64;
    let (start, span) = match (month, day) {
        (None, _) => {
            let start = first(year, 1, 1)?;
            (start, first(year + 1, 1, 1)? - start)
        }
        (Some(month), None) => {
            let start = first(year, month, 1)?;
            let next =
                if month == 12 { first(year + 1, 1, 1)? } else { first(year, month + 1, 1)? };
            (start, next - start)
        }
        (Some(month), Some(day)) => {
            let day = first(year, month, day)?;
            match (field(prefix, 11..13), field(prefix, 14..16), field(prefix, 17..19)) {
                (None, _, _) => (day, 86_400 * second),
                (Some(h), None, _) => (day + h * 3_600 * second, 3_600 * second),
                (Some(h), Some(m), None) => (day + (h * 3_600 + m * 60) * second, 60 * second),
                (Some(h), Some(m), Some(s)) => {
                    let whole = day + (h * 3_600 + m * 60 + s) * second;
                    let digits = prefix.get(20..).unwrap_or("").trim_end_matches('Z');
                    if digits.is_empty() {
                        (whole, second)
                    } else {
                        let scale = 10_i64.pow(9 - digits.len() as u32);
                        (whole + digits.parse::<i64>().ok()? * scale, scale)
                    }
                }
            }
        }
    };
    Some((start, start + span - 1))
}

fn field(prefix: &str, at: std::ops::Range<usize>) -> Option<i64> {
    prefix.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_are_one_time() {
        let ns = 1_795_350_483_000_000_042;
        let text = format_ns(ns);
        assert_eq!(text, "2026-11-22T12:28:03.000000042Z");
        assert_eq!(text.len(), TEXT_LENGTH);
        assert_eq!(parse_rfc3339(&text), Some(ns));
        assert_eq!(parse_rfc3339("2026-11-22T13:28:03.000000042+01:00"), Some(ns));
        assert_eq!(prefix_range(&text), Some((ns, ns)));
    }

    #[test]
    fn a_prefix_covers_its_unit() {
        let check = |prefix: &str, first: &str, last: &str| {
            let (a, b) = prefix_range(prefix).expect(prefix);
            assert_eq!((format_ns(a).as_str(), format_ns(b).as_str()), (first, last), "{prefix}");
        };
        check("2026", "2026-01-01T00:00:00.000000000Z", "2026-12-31T23:59:59.999999999Z");
        check("2024-02", "2024-02-01T00:00:00.000000000Z", "2024-02-29T23:59:59.999999999Z");
        check("2026-11-22", "2026-11-22T00:00:00.000000000Z", "2026-11-22T23:59:59.999999999Z");
        check("2026-11-22T12", "2026-11-22T12:00:00.000000000Z", "2026-11-22T12:59:59.999999999Z");
        check(
            "2026-11-22T12:28",
            "2026-11-22T12:28:00.000000000Z",
            "2026-11-22T12:28:59.999999999Z",
        );
        check(
            "2026-11-22T12:28:03.5",
            "2026-11-22T12:28:03.500000000Z",
            "2026-11-22T12:28:03.599999999Z",
        );
    }

    #[test]
    fn what_is_no_time_has_no_range() {
        for bad in
            ["", "x", "2026-13", "2026-11-22 12:28", "2026-02-30", "2026-11-22T12:28:03+01:00"]
        {
            assert_eq!(prefix_range(bad), None, "{bad}");
        }
    }
}
