//! A set of byte strings that gives each a number, in order of first sight.
//!
//! The hash is seeded by chance, because whoever writes to a log chooses what is
//! hashed; no number depends on it.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Seeds of this process; two, so that no input can cancel a multiplication.
static SEEDS: LazyLock<(u64, u64)> = LazyLock::new(|| {
    let state = RandomState::new();
    (state.hash_one(1), state.hash_one(2))
});

/// Slot of the table that is free.
const FREE: u32 = u32::MAX;

/// Distinct byte strings, numbered from 0.
#[derive(Debug)]
pub(super) struct Interner {
    seeds: (u64, u64),
    text: Vec<u8>,
    /// Hash and end in `text` of each string.
    entries: Vec<(u32, u32)>,
    /// Numbers of strings, at the place that their hash chooses or after it; at
    /// most half full, its length a power of two.
    table: Vec<u32>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { seeds: *SEEDS, text: Vec::new(), entries: Vec::new(), table: vec![FREE; 64] }
    }
}

impl Interner {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The string with this number, or an empty one if there is none.
    pub(super) fn get(&self, number: usize) -> &[u8] {
        let start = match number.checked_sub(1) {
            Some(before) => self.entries.get(before).map_or(0, |entry| entry.1),
            None => 0,
        };
        let end = self.entries.get(number).map_or(start, |entry| entry.1);
        &self.text[start as usize..end as usize]
    }

    /// Number of a string, a new one if it was never seen.
    pub(super) fn intern(&mut self, string: &[u8]) -> u32 {
        let hash = self.hash(string);
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        while self.table[slot] != FREE {
            let number = self.table[slot];
            if self.entries[number as usize].0 == hash && self.get(number as usize) == string {
                return number;
            }
            slot = (slot + 1) & mask;
        }
        let number = self.entries.len() as u32;
        self.table[slot] = number;
        self.text.extend_from_slice(string);
        self.entries.push((hash, self.text.len() as u32));
        if self.entries.len() * 2 > self.table.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 4 - 1;
        self.table.clear();
        self.table.resize(mask + 1, FREE);
        for (number, (hash, _)) in self.entries.iter().enumerate() {
            let mut slot = *hash as usize & mask;
            while self.table[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = number as u32;
        }
    }

    fn hash(&self, bytes: &[u8]) -> u32 {
        let (first, second) = self.seeds;
        let mix = |state: u64, a: u64, b: u64| {
            let product = u128::from(a ^ state) * u128::from(b ^ second);
            product as u64 ^ (product >> 64) as u64
        };
        let mut state = first ^ bytes.len() as u64;
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            state = mix(state, word(block, 0), word(block, 8));
        }
        if !rest.is_empty() {
            let (a, b) = match rest.len() {
                8.. => (word(rest, 0), word(rest, rest.len() - 8)),
                4.. => (half(rest, 0), half(rest, rest.len() - 4)),
                length => {
                    let (head, middle, tail) = (rest[0], rest[length / 2], rest[length - 1]);
                    (u64::from_le_bytes([head, middle, tail, 0, 0, 0, 0, 0]), 0)
                }
            };
            state = mix(state, a, b);
        }
        (state ^ state >> 32) as u32
    }
}

/// Eight bytes from `at` on; the caller knows that there are so many.
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Four bytes from `at` on.
fn half(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equal_strings_share_a_number(strings in prop::collection::vec("[ab]{0,40}", 0..200)) {
            let mut interner = Interner::default();
            let mut known = HashMap::new();
            for string in &strings {
                let next = known.len() as u32;
                let expected = *known.entry(string).or_insert(next);
                prop_assert_eq!(interner.intern(string.as_bytes()), expected);
                prop_assert_eq!(interner.get(expected as usize), string.as_bytes());
            }
            prop_assert_eq!(interner.len(), known.len());
        }
    }

    #[test]
    fn thousands_of_numbers_stay_apart() {
        let mut interner = Interner::default();
        for number in 0..20_000_u32 {
            assert_eq!(interner.intern(format!("request-{number}").as_bytes()), number);
        }
        assert_eq!(interner.get(19_999), b"request-19999");
        assert_eq!(interner.get(20_000), b"");
    }
}
