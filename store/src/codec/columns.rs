//! Columns of numbers, and the numbers that all codecs are made of.

use super::damaged;
use super::frames::Frames;
use super::log::bits::{NumberReader, NumberWriter};
use crate::Result;

/// Appends `value`, seven bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Folds the sign into the lowest bit, so that small negatives stay short.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads what the `put_*` functions wrote, checking every step.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        match *self.bytes {
            [byte @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(byte))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number has more than ten bytes"))
    }

    /// A number that may be `most` at most.
    pub(super) fn count(&mut self, most: usize) -> Result<usize> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| damaged("a count is larger than its chunk allows"))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| damaged("a column ends before its last row"))?;
        self.bytes = rest;
        Ok(head)
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(damaged("bytes are left over")) }
    }
}

/// Column of numbers that mostly grow by about the same step: differences.
pub(super) fn encode_steps(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 4);
    let mut last = 0;
    for &value in values {
        put_varint(&mut out, zigzag(value.wrapping_sub(last)));
        last = value;
    }
    out
}

pub(super) fn decode_steps(bytes: &[u8], row_count: usize) -> Result<Vec<i64>> {
    let mut reader = Reader::new(bytes);
    let mut last = 0_i64;
    let values = (0..row_count)
        .map(|_| {
            last = last.wrapping_add(unzigzag(reader.varint()?));
            Ok(last)
        })
        .collect::<Result<_>>()?;
    reader.end()?;
    Ok(values)
}

/// Appends a number column, which is two frames: codes and bits.
pub(super) fn put_numbers(frames: &mut Vec<Vec<u8>>, values: impl Iterator<Item = u64>) {
    let mut writer = NumberWriter::default();
    values.for_each(|value| writer.put(value));
    let (codes, bits) = writer.finish();
    frames.extend([codes, bits]);
}

/// Reads a number column of so many numbers.
pub(super) fn take_numbers(frames: &mut Frames<'_>, count: usize) -> Result<Vec<u64>> {
    let (codes, bits) = (frames.next()?, frames.next()?);
    if codes.len() != count {
        return Err(damaged("a column has another number of rows"));
    }
    let mut reader = NumberReader::new(&codes, &bits);
    let values = (0..count).map(|_| reader.next()).collect::<Result<_>>()?;
    reader.end()?;
    Ok(values)
}

/// An optional number as one: 0 for none, else the number and one.
pub(super) fn from_option(value: Option<u64>) -> u64 {
    value.map_or(0, |value| value.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::frames::FrameWriter;

    proptest! {
        #[test]
        fn steps_come_back(values: Vec<i64>) {
            prop_assert_eq!(decode_steps(&encode_steps(&values), values.len()).expect("ours"), values);
        }

        #[test]
        fn numbers_come_back(values: Vec<u64>) {
            let mut columns = Vec::new();
            put_numbers(&mut columns, values.iter().copied());
            let mut writer = FrameWriter::new(3);
            columns.iter().for_each(|column| writer.put(column));
            let bytes = writer.finish();
            let mut frames = Frames::new(&bytes, usize::MAX);
            prop_assert_eq!(take_numbers(&mut frames, values.len()).expect("ours"), values);
            prop_assert!(frames.end().is_ok());
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(bytes: Vec<u8>, rows in 0..100_usize) {
            let _ = decode_steps(&bytes, rows);
            let _ = take_numbers(&mut Frames::new(&bytes, 1000), rows);
        }
    }
}
