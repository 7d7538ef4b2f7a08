//! Tells whether a stamp shows some digits, without printing it.
//!
//! A needle of digits lies in the time of day of a stamp in a few ways. In each of
//! them it fixes some digits in a row, which is to say that the time, modulo what the
//! digit before them counts, is in a range.

use super::needle::Needle;
use super::stamp::{self, Spelling};
use super::template::Slot;
use super::{ISO, KLOG};

/// Seconds that each digit of `HH:MM:SS` counts, with its place.
const DIGITS: [(usize, i64); 6] = [(0, 36_000), (1, 3_600), (3, 600), (4, 60), (6, 10), (7, 1)];

const DAY_SECONDS: i64 = 86_400;

/// What a needle asks of the stamps of a slot.
pub(super) struct Dial {
    placeholder: u8,
    spelling: Spelling,
    /// A day, in the unit of the last decimal.
    day: i64,
    ranges: Vec<Range>,
}

/// A range that the time is in, modulo something.
struct Range {
    modulus: i64,
    first: i64,
    end: i64,
}

impl Dial {
    /// What a needle asks of a slot between two texts. `None` if the date or the text
    /// alone can decide, or the slot has no stamp: then one has to print it.
    pub(super) fn new(needle: &Needle, slot: &Slot, before: &[u8], after: &[u8]) -> Option<Self> {
        let (date, spelling): (&[u8], _) = match slot.placeholder {
            KLOG => (b"0000 ", Spelling { decimals: 6, blank: false, comma: false }),
            ISO if slot.spelling.blank => (b"0000-00-00 ", slot.spelling),
            ISO => (b"0000-00-00T", slot.spelling),
            super::CLOCK => (b"", slot.spelling),
            _ => return None,
        };
        let mut digits: Vec<(usize, i64)> = DIGITS
            .map(|(place, seconds)| (date.len() + place, seconds * spelling.per_second()))
            .to_vec();
        let mut pattern = [date, b"00:00:00"].concat();
        if spelling.decimals > 0 {
            pattern.push(spelling.separator());
            for decimal in 0..usize::from(spelling.decimals) {
                digits.push((
                    pattern.len(),
                    stamp::POWERS[usize::from(spelling.decimals) - decimal - 1],
                ));
                pattern.push(b'0');
            }
        }
        let all = [before, &pattern, after].concat();
        let stamp = before.len()..before.len() + pattern.len();
        let mut dial = Self {
            placeholder: slot.placeholder,
            spelling,
            day: DAY_SECONDS * spelling.per_second(),
            ranges: Vec::new(),
        };
        for start in 0..all.len() {
            let Some(covered) = all.get(start..start + needle.bytes().len()) else { break };
            let fits = |(at, (shown, wanted)): (usize, (&u8, &u8))| {
                let is_digit = *shown == b'0' && stamp.contains(&(start + at));
                is_digit && wanted.is_ascii_digit()
                    || shown == wanted
                    || needle.folds_case() && shown.eq_ignore_ascii_case(wanted)
            };
            if covered.iter().zip(needle.bytes()).enumerate().all(fits) {
                dial.ranges.push(dial.range(
                    needle.bytes(),
                    start as i64 - stamp.start as i64,
                    date.len(),
                    &digits,
                )?);
            }
        }
        Some(dial)
    }

    /// The range that a needle means which begins at a place of the stamp. `None` if it
    /// has digits of the date, or no digit at all.
    fn range(
        &self,
        needle: &[u8],
        place: i64,
        date: usize,
        digits: &[(usize, i64)],
    ) -> Option<Range> {
        let end = place + needle.len() as i64;
        if place < date as i64 && date > 0 && end > 0 {
            return None;
        }
        let covered = |(at, _): &&(usize, i64)| (place..end).contains(&(*at as i64));
        let mut first = 0;
        for (at, unit) in digits.iter().filter(covered) {
            first += i64::from(needle[(*at as i64 - place) as usize] - b'0') * unit;
        }
        let (_, last_unit) = digits.iter().rfind(covered)?;
        let before = digits.iter().position(|digit| covered(&digit))?.checked_sub(1);
        let modulus = before.map_or(self.day, |before| digits[before].1);
        Some(Range { modulus, first, end: first + last_unit })
    }

    /// Whether the stamp with a value shows what the needle asks for.
    pub(super) fn shows(&self, value: i64, ts_ns: i64) -> bool {
        let row = if self.placeholder == KLOG {
            ts_ns.div_euclid(1_000)
        } else {
            self.spelling.of_row(ts_ns)
        };
        let of_day = if matches!(self.placeholder, KLOG | ISO) {
            row.wrapping_add(value).rem_euclid(self.day)
        } else {
            row.rem_euclid(self.day).wrapping_add(value).rem_euclid(self.day)
        };
        self.ranges.iter().any(|range| (range.first..range.end).contains(&(of_day % range.modulus)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{CLOCK, expand};
    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_is_what_would_be_printed(
            placeholder in prop::sample::select(&[KLOG, ISO, CLOCK][..]),
            decimals in 0..10_u8,
            blank: bool,
            comma: bool,
            value in -100_000_000_i64..100_000_000,
            ts_ns in 0..5_000_000_000_000_000_000_i64,
            from in 0..40_usize,
            length in 1..12_usize,
        ) {
            let spelling = Spelling { decimals, blank, comma };
            let slot = Slot { text_start: 0, text_end: 0, placeholder, spelling, column: 0 };
            let (before, after) = (b"at 1:0".as_slice(), b"00. 1Z".as_slice());
            let mut printed = before.to_vec();
            expand::put_value(&mut printed, &slot, value, ts_ns).expect("in range");
            let stamp_end = printed.len();
            printed.extend_from_slice(after);
            let from = from.min(printed.len() - 1);
            let end = (from + length).min(printed.len());
            // What does not touch the stamp is no business of a dial.
            prop_assume!(from < stamp_end && end > before.len());
            let needle = Needle::new(&printed[from..end], true);
            if let Some(dial) = Dial::new(&needle, &slot, before, after) {
                prop_assert!(dial.shows(value, ts_ns));
                for other in [value + 1, value - 7, value + 1_000_000, value * 3] {
                    let mut text = before.to_vec();
                    expand::put_value(&mut text, &slot, other, ts_ns).expect("in range");
                    text.extend_from_slice(after);
                    prop_assert_eq!(dial.shows(other, ts_ns), needle.is_in(&text));
                }
            }
        }
    }

    #[test]
    fn digits_of_the_time_are_not_printed() {
        let spelling = Spelling { decimals: 0, blank: false, comma: false };
        let slot = Slot { text_start: 0, text_end: 0, placeholder: KLOG, spelling, column: 0 };
        let is_dial = |needle: &str| {
            Dial::new(&Needle::new(needle.as_bytes(), true), &slot, b"I", b" 1 a.go").is_some()
        };
        assert!(is_dial("10.244") && is_dial("12:2") && is_dial("56 1 a"));
        assert!(!is_dial("1122 1") && !is_dial("i11") && !is_dial(" 1"));
    }
}
