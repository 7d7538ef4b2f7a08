//! Skip filters: which three letters in a row occur in the messages of a chunk.
//!
//! A search for a rare text reads the filter of a chunk, a tenth of its size,
//! and leaves most chunks alone. What a filter denies is not there; what it does
//! not deny may be. A filter that makes no sense denies nothing.
//!
//! Kind 1 is a binary fuse filter with fingerprints of 8 bits
//! (<https://arxiv.org/abs/2201.01174>) over the distinct trigrams of all
//! messages, ASCII letters in lower case, each as the number
//! `first << 16 | second << 8 | third`:
//!
//! | bytes | what, little-endian |
//! |---|---|
//! | 8 | seed of the hash |
//! | 4 | length of a segment, a power of two |
//! | 4 | the same less 1 |
//! | 4 | length of all segments but the last two |
//! | rest | fingerprints |

use std::collections::HashSet;

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use super::LogColumns;

/// Number of the kind of filter that this module makes.
pub(crate) const TRIGRAMS: i64 = 1;

/// Size that no filter exceeds: there are 2^24 trigrams.
pub(crate) const MAX_BYTES: usize = 1 << 25;

/// Length of the shortest text that a filter can deny.
pub(crate) const MIN_TEXT: usize = 3;

/// Bytes of a filter before its fingerprints.
const HEAD: usize = BinaryFuse8::DESCRIPTOR_LEN;

/// Filter of some messages; `None` if none of them has a trigram.
pub(crate) fn encode(columns: &LogColumns) -> Option<Vec<u8>> {
    let mut builder = Builder::default();
    for row in 0..columns.len() {
        builder.add(columns.message(row));
    }
    builder.finish()
}

/// Makes a filter of messages, one at a time.
pub(crate) struct Builder {
    /// A bit for each trigram.
    seen: Vec<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { seen: vec![0; 1 << 18] }
    }
}

impl Builder {
    /// Adds a message.
    pub(crate) fn add(&mut self, message: &[u8]) {
        for key in trigrams(message) {
            self.seen[(key >> 6) as usize] |= 1 << (key & 63);
        }
    }

    /// The filter; `None` if no message has a trigram.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        from_bits(&self.seen)
    }
}

fn from_bits(seen: &[u64]) -> Option<Vec<u8>> {
    let bits = |(word, bits): (usize, &u64)| {
        let mut left = *bits;
        std::iter::from_fn(move || {
            let bit = u64::from(left.trailing_zeros());
            left = left.checked_sub(1).map(|below| left & below)?;
            Some((word as u64) << 6 | bit)
        })
    };
    let keys: Vec<u64> = seen.iter().enumerate().flat_map(bits).collect();
    if keys.is_empty() {
        return None;
    }
    // Construction fails by bad luck alone, and then a chunk has no filter.
    let filter = BinaryFuse8::try_from(keys.as_slice()).ok()?;
    let mut out = vec![0; HEAD];
    filter.dma_copy_descriptor_to(&mut out);
    out.extend_from_slice(filter.dma_fingerprints());
    Some(out)
}

/// Whether a chunk with this filter may have a message that contains the text.
pub(crate) fn may_contain(filter: &[u8], text: &[u8]) -> bool {
    let Some((head, fingerprints)) = filter.split_at_checked(HEAD) else { return true };
    if !is_sound(head, fingerprints) {
        return true;
    }
    let filter = BinaryFuse8Ref::from_dma(head, fingerprints);
    let distinct: HashSet<u64> = trigrams(text).collect();
    distinct.iter().all(|key| filter.contains(key))
}

/// Whether all places that the filter can look at are there.
fn is_sound(head: &[u8], fingerprints: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        u32::from_le_bytes(bytes)
    };
    let (segment, mask, but_two) = (number(8), number(12), number(16));
    let length = segment.checked_mul(2).and_then(|two| but_two.checked_add(two));
    segment.is_power_of_two()
        && mask == segment - 1
        && but_two > 0
        && but_two % segment == 0
        && length.is_some_and(|length| length as usize == fingerprints.len())
}

fn trigrams(text: &[u8]) -> impl Iterator<Item = u64> {
    text.windows(3).map(|three| {
        three.iter().fold(0, |key, byte| key << 8 | u64::from(byte.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(messages: &[&[u8]]) -> Option<Vec<u8>> {
        let mut columns = LogColumns::default();
        messages.iter().for_each(|message| columns.push(0, 0, message));
        encode(&columns)
    }

    #[test]
    fn what_is_there_is_not_denied() {
        let filter = filter(&[b"Dial tcp 10.0.0.1: i/o TIMEOUT", b"\xff\0\xfe"]).expect("trigrams");
        for text in ["timeout", "Timeout", "10.0.0.1", "", "z", "zz", "\0"] {
            assert!(may_contain(&filter, text.as_bytes()), "{text}");
        }
        assert!(may_contain(&filter, b"\xff\0\xfe"));
        let absent = (0..1000).filter(|n| may_contain(&filter, format!("q{n}z").as_bytes()));
        assert!(absent.count() < 50);
        assert!(!may_contain(&filter, b"certificate has expired"));
    }

    #[test]
    fn short_messages_have_no_filter() {
        assert_eq!(filter(&[b"", b"ab"]), None);
        assert!(may_contain(&filter(&[b"abc"]).expect("one trigram"), b"ABC"));
    }

    #[test]
    fn a_damaged_filter_denies_nothing_or_something_but_does_no_harm() {
        let whole = filter(&[b"some text to look for"]).expect("trigrams");
        for length in 0..whole.len() {
            assert!(may_contain(&whole[..length], b"absent"), "{length}");
        }
        for at in 8..HEAD {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x81;
            assert!(may_contain(&damaged, b"absent"), "{at}");
        }
    }

    proptest! {
        #[test]
        fn every_part_of_a_message_may_be_there(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..40),
            from in 0..40_usize,
            length in 0..40_usize,
        ) {
            let filter = filter(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
            for message in &messages {
                let from = from.min(message.len());
                let part = &message[from..(from + length).min(message.len())];
                prop_assert!(filter.as_deref().is_none_or(|filter| may_contain(filter, part)));
                let upper = part.to_ascii_uppercase();
                prop_assert!(filter.as_deref().is_none_or(|filter| may_contain(filter, &upper)));
            }
        }

        #[test]
        fn any_bytes_are_harmless(
            seed: u64,
            segment_bits in 0..31_u32,
            head: [u32; 2],
            segments in 0..4_u32,
            sound: bool,
            length in 0..5_000_usize,
        ) {
            let segment = 1_u32 << segment_bits;
            let [mask, but_two] =
                if sound { [segment - 1, segments.wrapping_mul(segment)] } else { head };
            let mut bytes = seed.to_le_bytes().to_vec();
            for field in [segment, mask, but_two] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            bytes.resize(HEAD + length, seed as u8);
            may_contain(&bytes, b"some text that is longer than three");
            if sound && segment_bits < 10 {
                bytes.resize(HEAD + ((segments + 2) * segment) as usize, seed as u8);
                may_contain(&bytes, b"some text that is longer than three");
            }
        }
    }
}
