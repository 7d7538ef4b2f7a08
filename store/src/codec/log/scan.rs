//! Where in a message variables can start and end, as maps of one bit a byte.
//!
//! The maps are made 64 bytes at a time, so that the splitter can leap from one
//! place of interest to the next instead of walking over every byte.

use super::{SPECIAL, simd};

/// Bits of 64 bytes of a message, the first byte in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Digits, quotes and equals signs: what a variable starts at or has.
    pub(super) interesting: u64,
    /// Bytes that no token has in it.
    pub(super) no_token: u64,
    /// Bytes that end a quoted run: quotes, blanks and backslashes.
    pub(super) no_quoted: u64,
}

/// The maps of one message.
#[derive(Debug, Default)]
pub(super) struct Maps {
    blocks: Vec<Block>,
    length: usize,
}

impl Maps {
    /// Makes the maps of a message. Tells whether it holds a special byte.
    pub(super) fn build(&mut self, message: &[u8]) -> bool {
        let needed = message.len() / 64 + 1;
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::default());
        }
        self.length = message.len();
        let blocks = &mut self.blocks[..needed];
        let special = simd::classify(message, blocks).unwrap_or_else(|| classify(message, blocks));
        // The end of the message ends all that is open, and nothing starts there.
        let last = &mut blocks[needed - 1];
        let end = 1 << (message.len() % 64);
        let inside = end - 1;
        last.interesting &= inside;
        last.no_token = last.no_token & inside | end;
        last.no_quoted = last.no_quoted & inside | end;
        special
    }

    /// First place of interest at or after `at`.
    pub(super) fn next_interesting(&self, at: usize) -> Option<usize> {
        self.next(at, |block| block.interesting)
    }

    /// End of the token that the byte at `at` is of.
    pub(super) fn token_end(&self, at: usize) -> usize {
        self.next(at, |block| block.no_token).unwrap_or(self.length)
    }

    /// End of the quoted run from `at` on.
    pub(super) fn quoted_end(&self, at: usize) -> usize {
        self.next(at, |block| block.no_quoted).unwrap_or(self.length)
    }

    /// Start of the token that the byte at `at` is of.
    pub(super) fn token_start(&self, at: usize) -> usize {
        let mut index = at / 64;
        let mut bits = self.blocks[index].no_token & ((1 << (at % 64)) - 1);
        loop {
            if bits != 0 {
                return index * 64 + 64 - bits.leading_zeros() as usize;
            }
            if index == 0 {
                return 0;
            }
            index -= 1;
            bits = self.blocks[index].no_token;
        }
    }

    #[inline]
    fn next(&self, at: usize, map: impl Fn(&Block) -> u64) -> Option<usize> {
        let last = self.length / 64;
        let mut index = at / 64;
        let mut bits = map(self.blocks.get(index)?) & (u64::MAX << (at % 64));
        while bits == 0 {
            index += 1;
            if index > last {
                return None;
            }
            bits = map(&self.blocks[index]);
        }
        Some(index * 64 + bits.trailing_zeros() as usize)
    }
}

const INTERESTING: u8 = 1;
const NO_TOKEN: u8 = 2;
const NO_QUOTED: u8 = 4;

/// Classes of every byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let is_token =
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'+' | b'\\');
        if !is_token {
            classes[byte] |= NO_TOKEN;
        }
        if b.is_ascii_digit() || matches!(b, b'"' | b'=') {
            classes[byte] |= INTERESTING;
        }
        if matches!(b, b'"' | b' ' | b'\\') {
            classes[byte] |= NO_QUOTED;
        }
        byte += 1;
    }
    classes
};

/// Whether a byte can be part of a token.
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & NO_TOKEN == 0
}

/// The portable twin of [`simd::classify`].
fn classify(message: &[u8], blocks: &mut [Block]) -> bool {
    let mut special = false;
    for (bytes, block) in message.chunks(64).zip(blocks) {
        *block = Block::default();
        for (bit, &byte) in bytes.iter().enumerate() {
            let class = CLASSES[usize::from(byte)];
            block.interesting |= u64::from(class & INTERESTING != 0) << bit;
            block.no_token |= u64::from(class & NO_TOKEN != 0) << bit;
            block.no_quoted |= u64::from(class & NO_QUOTED != 0) << bit;
            special |= byte >= SPECIAL;
        }
    }
    special
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_and_quotes_have_edges() {
        let text = br#"GET "/api/v1" took 1.5ms at node-7."#;
        let mut maps = Maps::default();
        assert!(!maps.build(text));
        assert_eq!(maps.next_interesting(0), Some(4));
        assert_eq!(maps.quoted_end(5), 12);
        assert_eq!(maps.next_interesting(13), Some(19));
        assert_eq!((maps.token_start(19), maps.token_end(19)), (19, 24));
        assert_eq!(maps.next_interesting(24), Some(33));
        assert_eq!((maps.token_start(33), maps.token_end(33)), (28, 35));
        assert_eq!(maps.next_interesting(34), None);
        assert_eq!(maps.token_start(2), 0);
    }

    proptest! {
        #[test]
        fn both_ways_make_the_same_maps(message in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut maps = Maps::default();
            // What an earlier, longer message left must not show.
            maps.build(&[b'"'; 400]);
            let special = maps.build(&message);
            prop_assert_eq!(special, message.iter().any(|byte| *byte >= SPECIAL));
            let mut expected = vec![Block::default(); message.len() / 64 + 1];
            classify(&message, &mut expected);
            for at in 0..message.len() {
                let bits = |block: &Block| {
                    [block.interesting, block.no_token, block.no_quoted].map(|b| b >> (at % 64) & 1)
                };
                prop_assert_eq!(bits(&maps.blocks[at / 64]), bits(&expected[at / 64]), "at {}", at);
            }
            prop_assert_eq!(maps.next_interesting(message.len()), None);
            prop_assert_eq!(maps.token_end(message.len()), message.len());
        }
    }
}
