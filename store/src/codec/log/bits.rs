//! Numbers of any size, most of them small: a code byte each, and bits apart.
//!
//! A number below [`SMALL`] is its own code. Any other one, whose highest set
//! bit is bit `n`, has the code `192 + n`, and its `n` lower bits follow in the
//! bit stream, lowest first. Codes repeat and compress; the bits of large
//! numbers are mostly chance and cost exactly what they are.

use crate::Result;
use crate::codec::columns::{unzigzag, zigzag};
use crate::codec::damaged;

/// Numbers from here on need bits: 199 has its highest bit at 7, and 192 + 7 is
/// the first code that is no number.
const SMALL: u64 = 199;

/// Code of a number whose highest bit is bit 0, if there were one.
const LARGE: u8 = 192;

/// Writes numbers.
#[derive(Debug, Default)]
pub(in crate::codec) struct NumberWriter {
    codes: Vec<u8>,
    bits: Vec<u8>,
    pending: u64,
    pending_count: u32,
}

impl NumberWriter {
    pub(in crate::codec) fn put(&mut self, value: u64) {
        if value < SMALL {
            self.codes.push(value as u8);
            return;
        }
        let top = value.ilog2();
        self.codes.push(LARGE + top as u8);
        let low = value & !(1 << top);
        if top <= 32 {
            self.put_bits(low, top);
        } else {
            self.put_bits(low & 0xffff_ffff, 32);
            self.put_bits(low >> 32, top - 32);
        }
    }

    pub(in crate::codec) fn put_signed(&mut self, value: i64) {
        self.put(zigzag(value));
    }

    /// Appends up to 32 bits.
    fn put_bits(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.pending_count;
        self.pending_count += count;
        if self.pending_count >= 32 {
            self.bits.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.pending_count -= 32;
        }
    }

    /// The code column and the bit column; unused bits of the last byte are 0.
    pub(in crate::codec) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        let bytes = self.pending_count.div_ceil(8) as usize;
        self.bits.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
        (self.codes, self.bits)
    }
}

/// Bits that [`NumberWriter`] spends on a number, for choosing between ways.
pub(in crate::codec) fn bit_cost(value: u64) -> u64 {
    u64::from(u64::BITS - value.leading_zeros())
}

/// Reads numbers, checking that there are some.
#[derive(Debug)]
pub(in crate::codec) struct NumberReader<'a> {
    codes: &'a [u8],
    bits: &'a [u8],
    bit: usize,
}

impl<'a> NumberReader<'a> {
    pub(in crate::codec) fn new(codes: &'a [u8], bits: &'a [u8]) -> Self {
        Self { codes, bits, bit: 0 }
    }

    pub(in crate::codec) fn next(&mut self) -> Result<u64> {
        let (code, rest) =
            self.codes.split_first().ok_or_else(|| damaged("a number column ends too early"))?;
        self.codes = rest;
        if u64::from(*code) < SMALL {
            return Ok(u64::from(*code));
        }
        let top = u32::from(code - LARGE);
        let low = if top <= 32 {
            self.take_bits(top)?
        } else {
            self.take_bits(32)? | self.take_bits(top - 32)? << 32
        };
        Ok(1 << top | low)
    }

    pub(in crate::codec) fn next_signed(&mut self) -> Result<i64> {
        self.next().map(unzigzag)
    }

    /// Takes up to 32 bits.
    fn take_bits(&mut self, count: u32) -> Result<u64> {
        let bytes = self.bits.get(self.bit / 8..).unwrap_or_default();
        let word = if let Some(word) = bytes.first_chunk() {
            u64::from_le_bytes(*word)
        } else {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let start = self.bit;
        self.bit += count as usize;
        if self.bit > self.bits.len() * 8 {
            return Err(damaged("a bit column ends too early"));
        }
        Ok((word >> (start % 8)) & ((1 << count) - 1))
    }

    /// Checks that all numbers were read.
    pub(in crate::codec) fn end(&self) -> Result<()> {
        if self.codes.is_empty() && self.bit.div_ceil(8) == self.bits.len() {
            Ok(())
        } else {
            Err(damaged("a number column is too long"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[u64]) {
        let mut writer = NumberWriter::default();
        values.iter().for_each(|value| writer.put(*value));
        let (codes, bits) = writer.finish();
        assert_eq!(codes.len(), values.len());
        let mut reader = NumberReader::new(&codes, &bits);
        for value in values {
            assert_eq!(reader.next().expect("ours"), *value);
        }
        reader.end().expect("ours");
        assert!(reader.next().is_err());
    }

    #[test]
    fn edges_come_back() {
        check(&[0, 198, 199, 200, 255, 256, u64::from(u32::MAX), 1 << 32, 1 << 33, u64::MAX]);
    }

    #[test]
    fn small_numbers_take_one_byte_and_no_bits() {
        let mut writer = NumberWriter::default();
        writer.put(198);
        writer.put(199);
        assert_eq!(writer.finish(), (vec![198, 199], vec![199 - 128]));
    }

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<(u64, u8)>) {
            check(&values.iter().map(|(value, shift)| value >> (shift % 64)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_refused_or_read(codes: Vec<u8>, bits: Vec<u8>) {
            let mut reader = NumberReader::new(&codes, &bits);
            let amount = std::iter::repeat_with(|| reader.next()).take_while(Result::is_ok).count();
            prop_assert!(amount <= codes.len());
        }
    }
}
