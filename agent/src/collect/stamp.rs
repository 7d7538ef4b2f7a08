//! Times as log files write them at the start of a line.
//!
//! Pure and exact: a text that is no time gives `None`, and nothing is guessed
//! but what syslog leaves out, the year.

use periscope_store::time::parse_rfc3339;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Nanoseconds of an RFC 3339 time that is the whole text, `None` if it is none.
///
/// Gives what [`parse_rfc3339`] gives, at a tenth of its cost for the forms that
/// container runtimes write; it runs once per log line.
pub(crate) fn rfc3339(text: &[u8]) -> Option<i64> {
    fast_rfc3339(text).or_else(|| {
        text.first()?.is_ascii_digit().then_some(())?;
        parse_rfc3339(std::str::from_utf8(text).ok()?)
    })
}

/// [`rfc3339`] for its usual forms; `None` says nothing about the others.
fn fast_rfc3339(text: &[u8]) -> Option<i64> {
    let (seconds, rest) = date_and_time(text, b"-", b"T")?;
    let (nanos, rest) = fraction(rest, b".")?;
    let offset = match rest {
        b"Z" => 0,
        _ => numeric_offset(rest, true).filter(|(_, rest)| rest.is_empty())?.0,
    };
    join(seconds - offset, nanos)
}

/// Time that a line begins with, `None` if it begins with none.
///
/// `modified_ns` is when the file was last written to: it tells the year of
/// `Nov 22 12:28:03`. A time that names no zone is taken as UTC, which is what
/// AKS nodes run in. Known forms, as the logs of a node's provisioning have them:
///
/// - `2026-11-22T12:28:03.123456Z INFO …`, `2026-11-22 12:28:03,123 - …`,
///   `2026/11/22 12:28:03.123456 …`, with any offset, after `[` or `time=`
/// - `Sun Nov 22 12:28:03 UTC 2026`, as `date` prints it
/// - `Nov 22 12:28:03 host …`, as syslog writes it
/// - `{"level":"info","ts":"2026-11-22T12:28:03.123Z",…`, as Azure's network
///   plugins write it
pub(crate) fn leading(line: &[u8], modified_ns: i64) -> Option<i64> {
    let line =
        ["time=", "ts="].iter().find_map(|key| line.strip_prefix(key.as_bytes())).unwrap_or(line);
    let line = line.strip_prefix(b"\"").or(line.strip_prefix(b"[")).unwrap_or(line);
    match line.first()? {
        b'0'..=b'9' => leading_iso(line),
        b'A'..=b'Z' => leading_date(line).or_else(|| leading_syslog(line, modified_ns)),
        b'{' => leading_json(line),
        _ => None,
    }
}

/// Time of a line in JSON, if it stands in front of the text.
fn leading_json(line: &[u8]) -> Option<i64> {
    const HEAD_BYTES: usize = 96;
    let head = &line[..line.len().min(HEAD_BYTES)];
    ["\"ts\":\"", "\"time\":\"", "\"timestamp\":\""].iter().find_map(|key| {
        let at = memchr::memmem::find(head, key.as_bytes())? + key.len();
        line[at..].first().filter(|byte| byte.is_ascii_digit())?;
        leading_iso(&line[at..])
    })
}

fn leading_iso(line: &[u8]) -> Option<i64> {
    let (seconds, rest) = date_and_time(line, b"-/", b"T ")?;
    let (nanos, rest) = fraction(rest, b".,")?;
    let offset = match rest.first() {
        Some(b'+' | b'-') => numeric_offset(rest, false).map_or(0, |(offset, _)| offset),
        _ => 0,
    };
    join(seconds - offset, nanos)
}

/// `Sun Nov 22 12:28:03 UTC 2026`; other zones have no fixed meaning.
fn leading_date(line: &[u8]) -> Option<i64> {
    let day_name = line.get(..4)?;
    if !DAYS.contains(&day_name) {
        return None;
    }
    let (month, day, seconds, rest) = month_day_time(&line[4..])?;
    let rest = rest.strip_prefix(b" UTC ").or_else(|| rest.strip_prefix(b" GMT "))?;
    join(days(number(rest.get(..4)?)?, month, day)? * DAY_SECONDS + seconds, 0)
}

/// `Nov 22 12:28:03 host`: of the last year in which that was not long after
/// the file was last written to.
fn leading_syslog(line: &[u8], modified_ns: i64) -> Option<i64> {
    let (month, day, seconds, rest) = month_day_time(line)?;
    if rest.first() != Some(&b' ') {
        return None;
    }
    let year = i64::from(chrono::Datelike::year(
        &chrono::DateTime::from_timestamp_nanos(modified_ns).naive_utc(),
    ));
    [year, year - 1].into_iter().find_map(|year| {
        let ns = join(days(year, month, day)? * DAY_SECONDS + seconds, 0)?;
        (ns <= modified_ns.saturating_add(DAY_SECONDS * SECOND_NS)).then_some(ns)
    })
}

const DAYS: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
const MONTHS: [&[u8]; 12] = [
    b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
    b"Nov ", b"Dec ",
];

/// Month, day and second of the day of `Nov 22 12:28:03` or `Nov  2 12:28:03`.
fn month_day_time(text: &[u8]) -> Option<(i64, i64, i64, &[u8])> {
    let month = MONTHS.iter().position(|month| text.starts_with(month))? as i64 + 1;
    let day = match text.get(4..7)? {
        [b' ', ones, b' '] => number(&[*ones])?,
        [tens, ones, b' '] => number(&[*tens, *ones])?,
        _ => return None,
    };
    Some((month, day, time_of_day(text.get(7..15)?)?, &text[15..]))
}

/// Seconds since 1970 of `2026-11-22T12:28:03` with these separators, and what
/// follows.
fn date_and_time<'a>(text: &'a [u8], date: &[u8], time: &[u8]) -> Option<(i64, &'a [u8])> {
    let (head, rest) = text.split_at_checked(19)?;
    if !date.contains(&head[4]) || head[7] != head[4] || !time.contains(&head[10]) {
        return None;
    }
    let days = days(number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?)?;
    Some((days * DAY_SECONDS + time_of_day(&head[11..])?, rest))
}

/// Seconds of `12:28:03`; a leap second is left to slower hands.
fn time_of_day(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 60 + minute) * 60 + second)
}

/// Nanoseconds of `.123456789`, cut after nine digits; 0 if there is no mark.
fn fraction<'a>(text: &'a [u8], marks: &[u8]) -> Option<(i64, &'a [u8])> {
    let Some((_, digits)) = text.split_first().filter(|(mark, _)| marks.contains(mark)) else {
        return Some((0, text));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kept = length.min(9);
    let nanos = number(&digits[..kept])? * 10_i64.pow(9 - kept as u32);
    (length > 0).then_some((nanos, &digits[length..]))
}

/// Seconds of `+01:00`, or of `+0100` unless `strict`, and what follows.
fn numeric_offset(text: &[u8], strict: bool) -> Option<(i64, &[u8])> {
    let (hours, minutes, rest) = match text {
        [_, h1, h2, b':', m1, m2, rest @ ..] => ([*h1, *h2], [*m1, *m2], rest),
        [_, h1, h2, m1, m2, rest @ ..] if !strict => ([*h1, *h2], [*m1, *m2], rest),
        _ => return None,
    };
    let (hours, minutes) = (number(&hours)?, number(&minutes)?);
    let seconds = (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
    match text.first()? {
        b'+' => Some((seconds, rest)),
        b'-' => Some((-seconds, rest)),
        _ => None,
    }
}

/// Number of decimal digits alone.
fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Days since 1970 of a date that exists (Howard Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn join(seconds: i64, nanos: i64) -> Option<i64> {
    seconds.checked_mul(SECOND_NS)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use periscope_store::time::format_ns;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn container_times_take_the_fast_way() {
        for (text, expected) in [
            ("2026-11-22T12:28:03.000000042Z", "2026-11-22T12:28:03.000000042Z"),
            ("2026-11-22T12:28:03.5Z", "2026-11-22T12:28:03.500000000Z"),
            ("2026-11-22T12:28:03Z", "2026-11-22T12:28:03.000000000Z"),
            ("2026-11-22T13:28:03.1+01:00", "2026-11-22T12:28:03.100000000Z"),
            ("2026-11-22T07:28:03-05:00", "2026-11-22T12:28:03.000000000Z"),
            ("2024-02-29T23:59:59.999999999Z", "2024-02-29T23:59:59.999999999Z"),
        ] {
            assert_eq!(fast_rfc3339(text.as_bytes()).map(format_ns).as_deref(), Some(expected));
        }
        assert_eq!(fast_rfc3339(b"2026-12-31T23:59:60Z"), None, "a leap second is not for it");
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_the_store_reads_it(
            ns: i64, digits in 0_usize..12, offset in -1_439_i32..1_440, zulu: bool,
        ) {
            let zone = match (zulu, offset.abs() / 60, offset.abs() % 60) {
                (true, ..) => "Z".to_owned(),
                (_, h, m) if offset < 0 => format!("-{h:02}:{m:02}"),
                (_, h, m) => format!("+{h:02}:{m:02}"),
            };
            let text = format_ns(ns);
            let fraction = format!("{}123", &text[20..29]);
            let dot = if digits == 0 { "" } else { "." };
            let text = format!("{}{dot}{}{zone}", &text[..19], &fraction[..digits]);
            prop_assert_eq!(rfc3339(text.as_bytes()), parse_rfc3339(&text), "{}", text);
        }

        #[test]
        fn what_only_looks_like_a_time_is_read_as_the_store_reads_it(
            text in "[0-9+]{0,2}[0-9]{2}[-/][0-3][0-9]-[0-3][0-9][Tt _][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,11})?(Z|z|[+-][0-2][0-9]:?[0-6][0-9]|)x?",
        ) {
            prop_assert_eq!(rfc3339(text.as_bytes()), parse_rfc3339(&text), "{}", text);
        }

        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, ns: i64) {
            rfc3339(&bytes);
            leading(&bytes, ns);
        }
    }

    #[test]
    fn lines_begin_with_times_of_many_forms() {
        let modified_ns = parse_rfc3339("2026-11-23T00:00:00Z").expect("a time");
        let check = |line: &str, expected: Option<&str>| {
            let text = leading(line.as_bytes(), modified_ns).map(format_ns);
            assert_eq!(text.as_deref().map(|text| &text[..23]), expected, "{line}");
        };
        let usual = Some("2026-11-22T12:28:03.123");
        let whole = Some("2026-11-22T12:28:03.000");
        check("2026-11-22 12:28:03,123 - util.py[DEBUG]: Cloud-init v. 25.1", usual);
        check("2026-11-22T12:28:03.123456Z INFO Daemon Azure Linux Agent", usual);
        check("2026/11/22 12:28:03.123456 INFO Azure Linux Agent Version:2.2.46", usual);
        check("2026-11-22T13:28:03.123+01:00 offset", usual);
        check("2026-11-22T13:28:03.123+0100 offset", usual);
        check("2026-11-22 12:28:03.123 UTC [1] LOG: ready", usual);
        check("[2026-11-22 12:28:03.123] [info] bracket", usual);
        check("time=\"2026-11-22T12:28:03.123Z\" level=info", usual);
        check("time=2026-11-22T12:28:03Z version=v2.1.10 event=start", whole);
        check("2026-11-22T12:28:03-05 odd offset", whole);
        check("Sun Nov 22 12:28:03 UTC 2026", whole);
        check("Sun Nov 22 12:28:03 UTC 2026,aks-nodepool1-123-vmss000000, started", whole);
        check("Sun Nov  1 12:28:03 UTC 2026", Some("2026-11-01T12:28:03.000"));
        check("Nov 22 12:28:03 aks-nodepool1-123-vmss000000 systemd[1]: Started", whole);
        check(
            r#"{"level":"info","ts":"2026-11-22T12:28:03.123Z","caller":"network/x.go:1"}"#,
            usual,
        );
        check(r#"{"time":"2026-11-22T13:28:03.123+0100","msg":"x"}"#, usual);
        check("Nov  2 12:28:03 host x", Some("2026-11-02T12:28:03.000"));
        check("Dec 24 12:28:03 host of the year before", Some("2025-12-24T12:28:03.000"));

        for none in [
            "",
            "+ retrycmd_if_failure 120 5 25 apt-get update",
            "Cloud-init v. 25.1 running 'init' at Sun, 22 Nov 2026 12:28:03 +0000.",
            "2026-11-22",
            "2026-13-22 12:28:03 no such month",
            "2026-02-29 12:28:03 no such day",
            "2026-11-22 24:00:00 no such hour",
            "2026-11/22 12:28:03 mixed",
            "Sun Nov 22 12:28:03 CET 2026",
            "Nov 22 12:28:03",
            "Nov 31 12:28:03 host",
            "November",
            "20261122 12:28:03",
            r#"{"level":"info","ts":1795350483.123}"#,
            r#"{"ts":"#,
        ] {
            check(none, None);
        }
    }
}
