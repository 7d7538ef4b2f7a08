//! Columns of values: each number column in the way that makes it shortest,
//! string columns as codes that prefer what came lately.

use super::bits::{NumberReader, NumberWriter, bit_cost};
use super::stamp::POWERS;
use crate::Result;
use crate::codec::columns::{Reader, put_varint, unzigzag, zigzag};
use crate::codec::damaged;

/// Values as they are, none negative.
const PLAIN: u8 = 0;
/// Values as they are, with their sign.
const SIGNED: u8 = 1;
/// Differences to the value before, with their sign.
const DELTA: u8 = 2;

/// Floats whose mantissas have the same number of decimals.
const SAME_DECIMALS: u8 = 0 << 4;
/// Floats scaled to the most decimals of the column; their own number follows.
const SCALED: u8 = 1 << 4;
/// Floats too far apart for that: mantissa and number of decimals in one number.
const PACKED: u8 = 2 << 4;

/// Code of a string that no row had before: the next of the dictionary.
const NEW: u8 = 0;
/// Codes 1 to 8 are the strings that the column had lately, the last one first.
const RECENT: usize = 8;
/// Code of any other string; its number is in the column of numbers.
const OTHER: u8 = RECENT as u8 + 1;

/// Appends a column of integers, its way to `ways`.
pub(super) fn encode_integers(values: &[i64], ways: &mut Vec<u8>, out: &mut NumberWriter) {
    let way = best_way(values);
    ways.push(way);
    put_integers(values, way, out);
}

fn best_way(values: &[i64]) -> u8 {
    let signed = values.iter().any(|value| *value < 0);
    let as_they_are: u64 = values
        .iter()
        .map(|value| bit_cost(if signed { zigzag(*value) } else { *value as u64 }))
        .sum();
    let mut last = 0;
    let mut as_delta = 0;
    for &value in values {
        as_delta += bit_cost(zigzag(value.wrapping_sub(last)));
        last = value;
    }
    // Values compress a little better after this than differences do.
    if as_delta + as_delta / 8 < as_they_are {
        DELTA
    } else if signed {
        SIGNED
    } else {
        PLAIN
    }
}

fn put_integers(values: &[i64], way: u8, out: &mut NumberWriter) {
    match way {
        PLAIN => values.iter().for_each(|value| out.put(*value as u64)),
        SIGNED => values.iter().for_each(|value| out.put_signed(*value)),
        _ => {
            let mut last = 0;
            for &value in values {
                out.put_signed(value.wrapping_sub(last));
                last = value;
            }
        }
    }
}

/// Reads a column of integers into `values`.
pub(super) fn decode_integers(
    values: &mut [i64],
    way: u8,
    numbers: &mut NumberReader<'_>,
) -> Result<()> {
    match way {
        PLAIN => {
            for value in values {
                *value = numbers.next()? as i64;
            }
        }
        SIGNED => {
            for value in values {
                *value = numbers.next_signed()?;
            }
        }
        DELTA => {
            let mut last = 0_i64;
            for value in values {
                last = last.wrapping_add(unzigzag(numbers.next()?));
                *value = last;
            }
        }
        _ => return Err(damaged("a column is coded in an unknown way")),
    }
    Ok(())
}

/// Appends a column of floats, each its mantissa and its number of decimals in
/// the lowest four bits.
pub(super) fn encode_floats(values: &[i64], ways: &mut Vec<u8>, out: &mut NumberWriter) {
    let decimals = |value: &i64| (value & 15) as usize;
    let most = values.iter().map(decimals).max().unwrap_or_default();
    let scale = |value: &i64| {
        (value >> 4).checked_mul(POWERS[most - decimals(value)]).filter(|scaled| *scaled < 1 << 60)
    };
    let scaled: Option<Vec<i64>> = values.iter().map(scale).collect();
    let (form, numbers) = match scaled {
        Some(scaled) if values.iter().all(|value| decimals(value) == most) => {
            (SAME_DECIMALS, scaled)
        }
        Some(scaled) => (SCALED, scaled),
        None => (PACKED, values.to_vec()),
    };
    let way = best_way(&numbers);
    ways.push(form | way);
    ways.push(most as u8);
    put_integers(&numbers, way, out);
    if form == SCALED {
        values.iter().for_each(|value| out.put(decimals(value) as u64));
    }
}

/// Reads a column of floats into `values`.
pub(super) fn decode_floats(
    values: &mut [i64],
    (way, most): (u8, u8),
    numbers: &mut NumberReader<'_>,
) -> Result<()> {
    let wrong = || damaged("a float has an impossible number of decimals");
    if usize::from(most) >= POWERS.len() {
        return Err(wrong());
    }
    decode_integers(values, way & 15, numbers)?;
    match way & 0xf0 {
        SAME_DECIMALS => values.iter_mut().for_each(|value| *value = *value << 4 | i64::from(most)),
        SCALED => {
            for value in values {
                let decimals = numbers.next()?;
                let excess = u64::from(most).checked_sub(decimals).ok_or_else(wrong)?;
                *value = (*value / POWERS[excess as usize]) << 4 | decimals as i64;
            }
        }
        PACKED => {
            if values.iter().any(|value| (value & 15) as usize >= POWERS.len()) {
                return Err(wrong());
            }
        }
        _ => return Err(damaged("a column is coded in an unknown way")),
    }
    Ok(())
}

/// Strings that a column had lately, the last one first.
#[derive(Debug)]
struct Recent([u32; RECENT]);

impl Recent {
    fn new() -> Self {
        Self([u32::MAX; RECENT])
    }

    /// Puts a string first: one that is at `place`, or a new one.
    fn raise(&mut self, number: u32, place: usize) {
        // Nearly all are the one that came last, or none of these.
        if place == RECENT - 1 {
            let before = self.0;
            self.0[1..].copy_from_slice(&before[..RECENT - 1]);
        } else {
            for at in (0..place).rev() {
                self.0[at + 1] = self.0[at];
            }
        }
        self.0[0] = number;
    }
}

/// Writes string columns.
#[derive(Debug, Default)]
pub(super) struct StringWriter {
    pub(super) codes: Vec<u8>,
    pub(super) numbers: Vec<u8>,
    seen: u32,
}

impl StringWriter {
    /// Appends a column. `known` gives the number that a string has got, or
    /// `u32::MAX`; `first` is called with each that gets the next one.
    pub(super) fn put(&mut self, values: &[i64], known: &mut [u32], mut first: impl FnMut(usize)) {
        let mut recent = Recent::new();
        for &value in values {
            let number = &mut known[value as usize];
            if *number == u32::MAX {
                *number = self.seen;
                self.seen += 1;
                first(value as usize);
                self.codes.push(NEW);
                recent.raise(*number, RECENT - 1);
            } else if let Some(place) = recent.0.iter().position(|recent| recent == number) {
                self.codes.push(place as u8 + 1);
                recent.raise(*number, place);
            } else {
                self.codes.push(OTHER);
                put_varint(&mut self.numbers, u64::from(*number));
                recent.raise(*number, RECENT - 1);
            }
        }
    }

    /// How many strings the dictionary has.
    pub(super) fn count(&self) -> u32 {
        self.seen
    }
}

/// Reads string columns.
pub(super) struct StringReader<'a> {
    codes: &'a [u8],
    numbers: Reader<'a>,
    count: u32,
    seen: u32,
}

impl<'a> StringReader<'a> {
    /// `count` is how many strings the dictionary has.
    pub(super) fn new(codes: &'a [u8], numbers: &'a [u8], count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self { codes, numbers: Reader::new(numbers), count, seen: 0 }
    }

    /// Reads a column; every value is a number of the dictionary.
    pub(super) fn take(&mut self, values: &mut [u32]) -> Result<()> {
        let (codes, rest) = self
            .codes
            .split_at_checked(values.len())
            .ok_or_else(|| damaged("a string column ends too early"))?;
        self.codes = rest;
        let mut recent = Recent::new();
        for (value, &code) in values.iter_mut().zip(codes) {
            let (number, place) = match code {
                NEW => {
                    self.seen += 1;
                    (self.seen - 1, RECENT - 1)
                }
                OTHER => {
                    let number = self.numbers.varint()?;
                    (u32::try_from(number).unwrap_or(u32::MAX), RECENT - 1)
                }
                1..OTHER => (recent.0[usize::from(code) - 1], usize::from(code) - 1),
                _ => return Err(damaged("a string has an unknown code")),
            };
            if number >= self.count {
                return Err(damaged("a row names a string that its dictionary lacks"));
            }
            recent.raise(number, place);
            *value = number;
        }
        Ok(())
    }

    /// Checks that everything was used.
    pub(super) fn end(&self) -> Result<()> {
        self.numbers.end()?;
        if self.codes.is_empty() && self.seen == self.count {
            Ok(())
        } else {
            Err(damaged("a dictionary has strings that no row names"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integers(values: &[i64]) -> u8 {
        let (mut ways, mut out) = (Vec::new(), NumberWriter::default());
        encode_integers(values, &mut ways, &mut out);
        let (codes, bits) = out.finish();
        let mut numbers = NumberReader::new(&codes, &bits);
        let mut decoded = vec![0; values.len()];
        decode_integers(&mut decoded, ways[0], &mut numbers).expect("ours");
        numbers.end().expect("ours");
        assert_eq!(decoded, values);
        ways[0]
    }

    fn floats(values: &[i64]) -> u8 {
        let (mut ways, mut out) = (Vec::new(), NumberWriter::default());
        encode_floats(values, &mut ways, &mut out);
        let (codes, bits) = out.finish();
        let mut numbers = NumberReader::new(&codes, &bits);
        let mut decoded = vec![0; values.len()];
        decode_floats(&mut decoded, (ways[0], ways[1]), &mut numbers).expect("ours");
        numbers.end().expect("ours");
        assert_eq!(decoded, values);
        ways[0]
    }

    #[test]
    fn a_column_takes_the_shortest_way() {
        assert_eq!(integers(&[7, 900, 7, 31]), PLAIN);
        assert_eq!(integers(&[-7, 900, -7, 31]), SIGNED);
        assert_eq!(integers(&[1_000_000, 1_000_001, 1_000_003, 1_000_003]), DELTA);
        assert_eq!(floats(&[150 << 4 | 2, 7 << 4 | 2]), SAME_DECIMALS | PLAIN);
        assert_eq!(floats(&[150 << 4 | 2, 7 << 4 | 1]), SCALED | PLAIN);
        assert_eq!(floats(&[(1 << 57) << 4 | 1, 7 << 4 | 9]), PACKED | PLAIN);
    }

    proptest! {
        #[test]
        fn integers_come_back(values: Vec<i64>, shift in 0..64_u32) {
            integers(&values.iter().map(|value| value >> shift).collect::<Vec<_>>());
        }

        #[test]
        fn floats_come_back(values: Vec<(u64, u8)>, shift in 6..64_u32) {
            let value = |(mantissa, decimals): &(u64, u8)| {
                ((mantissa >> shift) as i64) << 4 | i64::from(decimals % 10)
            };
            floats(&values.iter().map(value).collect::<Vec<_>>());
        }

        #[test]
        fn strings_come_back(columns in prop::collection::vec(prop::collection::vec(0..30_i64, 0..100), 0..5)) {
            let mut known = vec![u32::MAX; 30];
            let mut dictionary = Vec::new();
            let mut writer = StringWriter::default();
            for column in &columns {
                writer.put(column, &mut known, |value| dictionary.push(value as i64));
            }
            let mut reader = StringReader::new(&writer.codes, &writer.numbers, dictionary.len());
            for column in &columns {
                let mut values = vec![0; column.len()];
                reader.take(&mut values).expect("ours");
                let values: Vec<i64> = values.iter().map(|v| dictionary[*v as usize]).collect();
                prop_assert_eq!(&values, column);
            }
            reader.end().expect("ours");
        }

        #[test]
        fn any_bytes_are_refused_or_read(codes: Vec<u8>, numbers: Vec<u8>, way: u8, most: u8) {
            let mut values = vec![0; codes.len()];
            let _ = decode_floats(&mut values, (way, most), &mut NumberReader::new(&codes, &numbers));
            let mut values = vec![0; codes.len()];
            if StringReader::new(&codes, &numbers, 9).take(&mut values).is_ok() {
                prop_assert!(values.iter().all(|value| *value < 9));
            }
        }
    }
}
