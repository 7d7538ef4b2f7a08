//! Times inside messages, kept as differences to the time of their row.
//!
//! Three spellings are known: klog's `MMDD HH:MM:SS.uuuuuu` (after its level
//! letter), ISO 8601's `YYYY-MM-DDTHH:MM:SS` and a bare `HH:MM:SS`, the last two
//! with any number of decimals up to nine. What is parsed is printed again byte
//! for byte; anything that could not be is no stamp.

use crate::Result;
use crate::codec::damaged;

/// Length of klog's stamp.
pub(super) const KLOG_LENGTH: usize = 20;

/// Length of an ISO stamp without decimals.
const ISO_LENGTH: usize = 19;

/// Length of a time of day without decimals.
const CLOCK_LENGTH: usize = 8;

const DAY_SECONDS: i64 = 86_400;

/// Powers of ten.
pub(super) const POWERS: [i64; 10] = {
    let mut powers = [1; 10];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// How an ISO stamp or a time of day is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    /// Number of decimals of the seconds.
    pub(super) decimals: u8,
    /// A blank instead of the `T`; ISO only.
    pub(super) blank: bool,
    /// A comma instead of the point before the decimals.
    pub(super) comma: bool,
}

impl Spelling {
    /// The byte that stands for it in a template, after the placeholder. It is
    /// one that no UTF-8 text has after another placeholder or at its start.
    pub(super) fn to_byte(self) -> u8 {
        0x80 | self.decimals | u8::from(self.blank) << 4 | u8::from(self.comma) << 5
    }

    /// `None` if no spelling has this byte.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let spelling =
            Self { decimals: byte & 15, blank: byte & 0x10 != 0, comma: byte & 0x20 != 0 };
        (spelling.decimals <= 9 && spelling.to_byte() == byte).then_some(spelling)
    }

    /// Units in a second: the stamp counts in its last decimal.
    pub(super) fn per_second(self) -> i64 {
        POWERS[usize::from(self.decimals)]
    }

    /// A row's time in those units, rounded down.
    pub(super) fn of_row(self, ts_ns: i64) -> i64 {
        ts_ns.div_euclid(POWERS[9 - usize::from(self.decimals)])
    }

    pub(super) fn separator(self) -> u8 {
        if self.comma { b',' } else { b'.' }
    }
}

/// A stamp that was found: its difference, its spelling and its length.
pub(super) type Found = (i64, Spelling, usize);

/// Parses stamps. Most carry the same date, so the last one is remembered.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Day of a row, and its year.
    row_year: Option<(i64, i64)>,
    /// Year, month and day as klog spells them, and the day since 1970.
    klog_day: Option<(i64, [u8; 4], i64)>,
    /// Date as ISO spells it, and the day since 1970.
    iso_day: Option<([u8; 10], i64)>,
}

impl Calendar {
    /// klog's stamp at the start of `text`, in microseconds against the row. Its
    /// year is that of the row.
    pub(super) fn klog(&mut self, text: &[u8], ts_ns: i64) -> Option<i64> {
        let text: &[u8; KLOG_LENGTH] = text.first_chunk()?;
        if text[4] != b' ' || text[13] != b'.' {
            return None;
        }
        let seconds = clock_seconds(*text[5..].first_chunk()?)?;
        let micros = digits(&text[14..])?;
        let day = self.klog_day(*text.first_chunk()?, ts_ns)?;
        let stamp = (day * DAY_SECONDS + seconds) * 1_000_000 + micros;
        Some(stamp - ts_ns.div_euclid(1_000))
    }

    fn klog_day(&mut self, date: [u8; 4], ts_ns: i64) -> Option<i64> {
        let row_day = ts_ns.div_euclid(DAY_SECONDS * 1_000_000_000);
        let year = match self.row_year {
            Some((day, year)) if day == row_day => year,
            _ => {
                let (year, _, _) = civil(row_day);
                self.row_year = Some((row_day, year));
                year
            }
        };
        if let Some((known_year, known, day)) = self.klog_day
            && (known_year, known) == (year, date)
        {
            return Some(day);
        }
        let day = day_of(year, digits(&date[..2])?, digits(&date[2..])?)?;
        self.klog_day = Some((year, date, day));
        Some(day)
    }

    /// ISO stamp at the start of `text`, in its last decimal against the row.
    pub(super) fn iso(&mut self, text: &[u8], ts_ns: i64) -> Option<Found> {
        let head: &[u8; ISO_LENGTH] = text.first_chunk()?;
        let blank = match head[10] {
            b'T' => false,
            b' ' => true,
            _ => return None,
        };
        let seconds = clock_seconds(*head[11..].first_chunk()?)?;
        let day = self.iso_day(*head.first_chunk()?)?;
        let (fraction, decimals, comma) = fraction(text, ISO_LENGTH)?;
        let spelling = Spelling { decimals, blank, comma };
        let stamp = (day * DAY_SECONDS + seconds) * spelling.per_second() + fraction;
        let difference = stamp.wrapping_sub(spelling.of_row(ts_ns));
        Some((difference, spelling, length(ISO_LENGTH, decimals)))
    }

    fn iso_day(&mut self, date: [u8; 10]) -> Option<i64> {
        if let Some((known, day)) = self.iso_day
            && known == date
        {
            return Some(day);
        }
        if date[4] != b'-' || date[7] != b'-' {
            return None;
        }
        // Nanoseconds of later years do not fit, and earlier ones are no times of logs.
        let year = digits(&date[..4]).filter(|year| (1970..=2200).contains(year))?;
        let day = day_of(year, digits(&date[5..7])?, digits(&date[8..])?)?;
        self.iso_day = Some((date, day));
        Some(day)
    }
}

/// Time of day at the start of `text`, in its last decimal against the row's,
/// the nearer way round the clock.
pub(super) fn clock(text: &[u8], ts_ns: i64) -> Option<Found> {
    let seconds = clock_seconds(*text.first_chunk()?)?;
    let (fraction, decimals, comma) = fraction(text, CLOCK_LENGTH)?;
    let spelling = Spelling { decimals, blank: false, comma };
    let day = DAY_SECONDS * spelling.per_second();
    let stamp = seconds * spelling.per_second() + fraction;
    let difference = stamp - spelling.of_row(ts_ns).rem_euclid(day);
    let nearest = if difference > day / 2 {
        difference - day
    } else if difference < -day / 2 {
        difference + day
    } else {
        difference
    };
    Some((nearest, spelling, length(CLOCK_LENGTH, decimals)))
}

/// Prints the stamp that [`Calendar::klog`] parsed.
pub(super) fn put_klog(out: &mut Vec<u8>, difference: i64, ts_ns: i64) {
    let micros = ts_ns.div_euclid(1_000).wrapping_add(difference);
    let seconds = micros.div_euclid(1_000_000);
    let (_, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
    put_digits(out, month, 2);
    put_digits(out, day, 2);
    out.push(b' ');
    put_clock_seconds(out, seconds.rem_euclid(DAY_SECONDS));
    out.push(b'.');
    put_digits(out, micros.rem_euclid(1_000_000), 6);
}

/// Prints the stamp that [`Calendar::iso`] parsed.
pub(super) fn put_iso(
    out: &mut Vec<u8>,
    difference: i64,
    spelling: Spelling,
    ts_ns: i64,
) -> Result<()> {
    let stamp = spelling.of_row(ts_ns).wrapping_add(difference);
    let seconds = stamp.div_euclid(spelling.per_second());
    let (year, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
    if !(1970..=2200).contains(&year) {
        return Err(damaged("a time in a message is out of range"));
    }
    put_digits(out, year, 4);
    out.push(b'-');
    put_digits(out, month, 2);
    out.push(b'-');
    put_digits(out, day, 2);
    out.push(if spelling.blank { b' ' } else { b'T' });
    put_clock_seconds(out, seconds.rem_euclid(DAY_SECONDS));
    put_fraction(out, stamp.rem_euclid(spelling.per_second()), spelling);
    Ok(())
}

/// Prints the time of day that [`clock`] parsed.
pub(super) fn put_clock(out: &mut Vec<u8>, difference: i64, spelling: Spelling, ts_ns: i64) {
    let day = DAY_SECONDS * spelling.per_second();
    let stamp = spelling.of_row(ts_ns).rem_euclid(day).wrapping_add(difference).rem_euclid(day);
    put_clock_seconds(out, stamp / spelling.per_second());
    put_fraction(out, stamp % spelling.per_second(), spelling);
}

/// Appends a number that is not negative with leading zeros.
pub(super) fn put_digits(out: &mut Vec<u8>, mut value: i64, count: usize) {
    let mut text = [b'0'; 10];
    let text = &mut text[..count.min(10)];
    for place in text.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(text);
}

fn put_clock_seconds(out: &mut Vec<u8>, seconds: i64) {
    put_digits(out, seconds / 3_600, 2);
    out.push(b':');
    put_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    put_digits(out, seconds % 60, 2);
}

fn put_fraction(out: &mut Vec<u8>, fraction: i64, spelling: Spelling) {
    if spelling.decimals > 0 {
        out.push(spelling.separator());
        put_digits(out, fraction, usize::from(spelling.decimals));
    }
}

/// Length of a stamp with decimals.
fn length(whole: usize, decimals: u8) -> usize {
    if decimals == 0 { whole } else { whole + 1 + usize::from(decimals) }
}

/// Value of digits, `None` if one is none.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// Seconds of `HH:MM:SS`.
fn clock_seconds(text: [u8; 8]) -> Option<i64> {
    if text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hours, minutes, seconds) =
        (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..])?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some(hours * 3_600 + minutes * 60 + seconds)
}

/// Decimals from `at` on: their value, their number, and whether a comma leads
/// them. `None` if there are more than nine, or if digits follow without any.
fn fraction(text: &[u8], at: usize) -> Option<(i64, u8, bool)> {
    let rest = text.get(at..).unwrap_or_default();
    let (comma, after) = match rest {
        [b'.', after @ ..] => (false, after),
        [b',', after @ ..] => (true, after),
        [digit, ..] if digit.is_ascii_digit() => return None,
        _ => return Some((0, 0, false)),
    };
    let count = after.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    match count {
        0 => Some((0, 0, false)),
        1..=9 => Some((digits(&after[..count])?, count as u8, comma)),
        _ => None,
    }
}

/// Day since 1970 of a date, `None` if there is no such date.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let since_1970 = era * 146_097 + day_of_era - 719_468;
    (civil(since_1970) == (year, month, day)).then_some(since_1970)
}

/// Year, month and day of a day since 1970 in the Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22T12:28:03.000000042Z
    const ROW: i64 = 1_795_350_483_000_000_042;

    fn klog(text: &str, row: i64) -> Option<(i64, String)> {
        let difference = Calendar::default().klog(text.as_bytes(), row)?;
        let mut out = Vec::new();
        put_klog(&mut out, difference, row);
        Some((difference, String::from_utf8(out).expect("digits")))
    }

    fn iso(text: &str, row: i64) -> Option<(i64, String)> {
        let (difference, spelling, length) = Calendar::default().iso(text.as_bytes(), row)?;
        let mut out = Vec::new();
        put_iso(&mut out, difference, spelling, row).expect("parsed");
        assert_eq!(out, text.as_bytes()[..length]);
        Some((difference, String::from_utf8(out).expect("digits")))
    }

    fn time_of_day(text: &str, row: i64) -> Option<(i64, String)> {
        let (difference, spelling, length) = clock(text.as_bytes(), row)?;
        let mut out = Vec::new();
        put_clock(&mut out, difference, spelling, row);
        assert_eq!(out, text.as_bytes()[..length]);
        Some((difference, String::from_utf8(out).expect("digits")))
    }

    #[test]
    fn klog_counts_microseconds() {
        assert_eq!(
            klog("1122 12:28:02.999998 1 x.go:1]", ROW),
            Some((-2, "1122 12:28:02.999998".into()))
        );
        assert_eq!(klog("0230 12:28:02.999998", ROW), None);
        assert_eq!(klog("1122 24:28:02.999998", ROW), None);
        assert_eq!(klog("1122 12:28:02.99999x", ROW), None);
        assert!(klog("0101 00:00:00.000000", i64::MIN).is_some());
        assert!(klog("1231 23:59:59.999999", i64::MAX).is_some());
    }

    #[test]
    fn iso_counts_its_last_decimal() {
        let check = |text: &str, difference| {
            let found = iso(text, ROW).map(|(difference, _)| difference);
            assert_eq!(found, difference, "{text}");
        };
        check("2026-11-22T12:28:03Z", Some(0));
        check("2026-11-22 12:28:04", Some(1));
        check("2026-11-22T12:28:03.5Z", Some(5));
        check("2026-11-22 12:28:03,001 INFO", Some(1));
        check("2026-11-22T12:28:03.000000041Z", Some(-1));
        check("2026-11-22T12:28:03. next", Some(0));
        check("2026-11-22T12:28:03.0000000411Z", None);
        check("2026-11-22T12:28:033", None);
        check("2026-13-22T12:28:03Z", None);
        check("1969-12-31T12:28:03Z", None);
        check("2026-11-22t12:28:03Z", None);
    }

    #[test]
    fn a_time_of_day_goes_the_nearer_way_round() {
        let midnight = 1_795_392_000_000_000_000 - 1_000_000_000;
        assert_eq!(time_of_day("00:00:01", midnight), Some((2, "00:00:01".into())));
        assert_eq!(time_of_day("23:59:58.5", midnight), Some((-5, "23:59:58.5".into())));
        assert_eq!(time_of_day("23:59:60", midnight), None);
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_printed_again(
            row: i64,
            (year, month, day) in (1960..2210_u32, 1..14_u32, 0..33_u32),
            (hour, minute, second) in (0..26_u32, 0..62_u32, 0..62_u32),
            fraction in "([.,][0-9]{0,11})?",
            separator in "[T ]",
        ) {
            let time = format!("{hour:02}:{minute:02}:{second:02}");
            iso(&format!("{year}-{month:02}-{day:02}{separator}{time}{fraction}"), row);
            time_of_day(&format!("{time}{fraction}"), row);
            let text = format!("{month:02}{day:02} {time}.{:06}", second * 16_003);
            if let Some((_, again)) = klog(&text, row) {
                prop_assert_eq!(again, text);
            }
        }

        #[test]
        fn any_difference_prints_or_is_refused(row: i64, difference: i64, byte: u8) {
            let mut out = Vec::new();
            put_klog(&mut out, difference, row);
            if let Some(spelling) = Spelling::from_byte(byte) {
                let _ = put_iso(&mut out, difference, spelling, row);
                put_clock(&mut out, difference, spelling, row);
            }
            prop_assert!(out.len() <= 80);
        }
    }
}
