//! The column of row times: differences, in the coarsest unit that is exact.
//!
//! Rows of one stream mostly go forward; where the next run begins, time jumps
//! back. So a step forward is its length and one, and 0 announces a step back.
//! Where steps back are common, signed differences are shorter.

use super::bits::{NumberReader, NumberWriter, bit_cost};
use crate::Result;
use crate::codec::columns::zigzag;
use crate::codec::damaged;

/// Units of 1 ns, 1 µs, 1 ms and 1 s.
const UNITS: [i64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// Differences with their sign.
const SIGNED: u8 = 0;
/// Steps forward, with an announced step back now and then.
const FORWARD: u8 = 1;

/// How a time column is written, in the head of its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeCoding {
    /// Which of [`UNITS`].
    pub(super) unit: u8,
    /// How steps are coded.
    pub(super) steps: u8,
}

/// Code column and bit column of times, and how they are written.
pub(super) fn encode(times: &[i64]) -> (TimeCoding, Vec<u8>, Vec<u8>) {
    let mut unit = UNITS.len() - 1;
    for time in times {
        while time % UNITS[unit] != 0 {
            unit -= 1;
        }
    }
    let mut last = 0;
    let steps: Vec<i64> = times
        .iter()
        .map(|time| {
            let value = time / UNITS[unit];
            let step = value.wrapping_sub(last);
            last = value;
            step
        })
        .collect();
    let signed: u64 = steps.iter().map(|step| bit_cost(zigzag(*step))).sum();
    let forward: u64 =
        steps
            .iter()
            .map(|step| {
                if *step < 0 {
                    8 + bit_cost(step.unsigned_abs())
                } else {
                    bit_cost(*step as u64 + 1)
                }
            })
            .sum();
    let coding = if signed < forward { SIGNED } else { FORWARD };
    let mut out = NumberWriter::default();
    for step in steps {
        if coding == SIGNED {
            out.put_signed(step);
        } else if step < 0 {
            out.put(0);
            out.put(step.unsigned_abs());
        } else {
            out.put(step as u64 + 1);
        }
    }
    let (codes, bits) = out.finish();
    (TimeCoding { unit: unit as u8, steps: coding }, codes, bits)
}

/// Times of `row_count` rows. The caller has checked that many codes are there.
pub(super) fn decode(
    coding: TimeCoding,
    codes: &[u8],
    bits: &[u8],
    row_count: usize,
) -> Result<Vec<i64>> {
    let unit = UNITS
        .get(usize::from(coding.unit))
        .ok_or_else(|| damaged("times are in an unknown unit"))?;
    let mut numbers = NumberReader::new(codes, bits);
    let mut last = 0_i64;
    let times = (0..row_count)
        .map(|_| {
            let step = match coding.steps {
                SIGNED => numbers.next_signed()?,
                FORWARD => match numbers.next()? {
                    0 => (numbers.next()? as i64).wrapping_neg(),
                    step => (step - 1) as i64,
                },
                _ => return Err(damaged("times are coded in an unknown way")),
            };
            last = last.wrapping_add(step);
            Ok(last.wrapping_mul(*unit))
        })
        .collect::<Result<_>>()?;
    numbers.end()?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(times: &[i64]) -> (TimeCoding, usize) {
        let (coding, codes, bits) = encode(times);
        assert_eq!(decode(coding, &codes, &bits, times.len()).expect("ours"), times);
        (coding, codes.len() + bits.len())
    }

    #[test]
    fn runs_that_jump_back_cost_a_few_bytes_each() {
        let second = UNITS[3];
        let runs = [7, 0, 3].map(|start| (0..50).map(move |row| start + row * 120));
        let times: Vec<i64> =
            runs.into_iter().flatten().map(|at| (1_795_350_480 + at) * second).collect();
        let (coding, length) = check(&times);
        assert_eq!(coding, TimeCoding { unit: 3, steps: FORWARD });
        assert!(length <= times.len() + 4 + 2 * 4, "{length}");
        assert_eq!(check(&[0, 9, 3, 8, 2, 7, 1]).0.steps, SIGNED);
        assert_eq!(check(&[1_000_000, 2_001_000]).0.unit, 1);
    }

    #[test]
    fn extremes_come_back() {
        check(&[]);
        check(&[i64::MIN, i64::MAX, 0, i64::MIN, -1, i64::MAX]);
        check(&[0, i64::MIN, i64::MIN]);
        check(&[-1_000_000_000, -2_000_000_000, 0]);
    }

    proptest! {
        #[test]
        fn times_come_back(times: Vec<i64>, unit in prop::sample::select(&UNITS[..])) {
            check(&times.iter().map(|time| time / unit * unit).collect::<Vec<_>>());
        }
    }
}
