//! Skip filters: which three bytes in a row occur in the messages of a chunk.
//!
//! A search for a rare text reads the filter of a chunk, a fortieth of its size,
//! and leaves most chunks alone. What a filter denies is not there; of what it does
//! not deny, all trigrams are. A filter that makes no sense denies nothing.
//!
//! `store/FORMAT.md` has the layout: the distinct trigrams as sorted numbers, their
//! gaps compressed. That is half of what fingerprints of them take, and exact.

use super::columns::{Reader, put_varint};
use super::frames::{FrameWriter, Frames};
use super::{COMPACT_LEVEL, LogColumns};

/// Size that no filter exceeds, and neither of its frames: what has more trigrams
/// has most of them, and a filter would deny nothing.
pub(crate) const MAX_BYTES: usize = 1 << 22;

/// Length of the shortest text that a filter can deny.
pub(crate) const MIN_TEXT: usize = 3;

/// Place of a byte that is no symbol.
const NO_SYMBOL: u32 = u32::MAX;

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

    /// The filter; `None` if no message has a trigram, or too many have one.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let trigrams = self.trigrams();
        let mut occurs = [false; 256];
        for byte in trigrams.iter().copied().flat_map(bytes_of) {
            occurs[usize::from(byte)] = true;
        }
        let symbols: Vec<u8> = (0..=255).filter(|byte| occurs[usize::from(*byte)]).collect();
        let numbers = Numbers::new(&symbols)?;
        let (mut gaps, mut next) = (Vec::with_capacity(trigrams.len()), 0);
        for trigram in trigrams {
            let number = numbers.of(trigram)?;
            put_varint(&mut gaps, u64::from(number - next));
            next = number + 1;
        }
        let mut writer = FrameWriter::new(COMPACT_LEVEL);
        writer.put(&symbols);
        writer.put(&gaps);
        let filter = writer.finish();
        (gaps.len().max(filter.len()) <= MAX_BYTES).then_some(filter)
    }

    /// Every trigram that was seen, ascending.
    fn trigrams(&self) -> Vec<u32> {
        let mut trigrams = Vec::new();
        for (word, bits) in (0_u32..).zip(&self.seen) {
            let mut left = *bits;
            while left != 0 {
                trigrams.push(word << 6 | left.trailing_zeros());
                left &= left - 1;
            }
        }
        trigrams
    }
}

/// How trigrams are numbered by the symbols that they are made of.
struct Numbers {
    places: [u32; 256],
    count: u32,
}

impl Numbers {
    /// `None` if the symbols do not ascend, or there is none.
    fn new(symbols: &[u8]) -> Option<Self> {
        if symbols.is_empty() || !symbols.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let mut places = [NO_SYMBOL; 256];
        for (place, symbol) in (0..).zip(symbols) {
            places[usize::from(*symbol)] = place;
        }
        Some(Self { places, count: symbols.len() as u32 })
    }

    /// Number of a trigram, `None` if one of its bytes is no symbol.
    fn of(&self, trigram: u32) -> Option<u32> {
        bytes_of(trigram).into_iter().try_fold(0, |number, byte| {
            let place = self.places[usize::from(byte)];
            (place != NO_SYMBOL).then(|| number * self.count + place)
        })
    }
}

/// Whether a chunk with this filter may have a message that contains the text.
pub(crate) fn may_contain(filter: &[u8], text: &[u8]) -> bool {
    let mut frames = Frames::new(filter, MAX_BYTES);
    let (Ok(symbols), Ok(gaps)) = (frames.next(), frames.next()) else { return true };
    let Some(numbers) = Numbers::new(&symbols).filter(|_| frames.end().is_ok()) else {
        return true;
    };
    let wanted: Option<Vec<u32>> = trigrams(text).map(|trigram| numbers.of(trigram)).collect();
    let Some(mut wanted) = wanted else { return false };
    wanted.sort_unstable();
    wanted.dedup();
    let mut wanted = wanted.into_iter().map(u64::from).peekable();
    let (mut gaps, mut next) = (Reader::new(&gaps), 0_u64);
    while let Some(number) = wanted.peek() {
        // Behind the last gap there are no more trigrams.
        let Ok(gap) = gaps.varint() else { return false };
        let found = next.saturating_add(gap);
        if found > *number {
            return false;
        }
        if found == *number {
            wanted.next();
        }
        next = found.saturating_add(1);
    }
    true
}

/// The bytes of a trigram.
fn bytes_of(trigram: u32) -> [u8; 3] {
    let [_, first, second, third] = trigram.to_be_bytes();
    [first, second, third]
}

fn trigrams(text: &[u8]) -> impl Iterator<Item = u32> {
    text.windows(3).map(|three| {
        three.iter().fold(0, |key, byte| key << 8 | u32::from(byte.to_ascii_lowercase()))
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
        assert!((0..1000).all(|n| !may_contain(&filter, format!("q{n}z").as_bytes())));
        assert!(!may_contain(&filter, b"certificate has expired"));
        assert!(!may_contain(&filter, b"tcp dial"), "all of these bytes occur");
        assert!(!may_contain(&filter, b"zzz") && !may_contain(&filter, b"\xff\xff\xff"));
    }

    #[test]
    fn the_format_is_as_documented() {
        let expected = b"\x03\x03\0abc\x02\x02\0\x05\x09";
        assert_eq!(filter(&[b"abca", b"AB"]).as_deref(), Some(&expected[..]));
    }

    #[test]
    fn short_messages_have_no_filter() {
        assert_eq!(filter(&[b"", b"ab"]), None);
        assert!(may_contain(&filter(&[b"abc"]).expect("one trigram"), b"ABC"));
    }

    #[test]
    fn a_filter_that_makes_no_sense_denies_nothing() {
        let whole = filter(&[b"some text to look for"]).expect("trigrams");
        assert!(!may_contain(&whole, b"absent"));
        for length in 0..whole.len() {
            assert!(may_contain(&whole[..length], b"absent"), "{length}");
        }
        assert!(may_contain(&[&whole[..], b"\0"].concat(), b"absent"));
        for symbols in [&b""[..], b"ba", b"aa"] {
            let mut writer = FrameWriter::new(3);
            writer.put(symbols);
            writer.put(&[0]);
            assert!(may_contain(&writer.finish(), b"absent"), "{symbols:?}");
        }
    }

    #[test]
    fn messages_of_chance_have_no_filter() {
        let mut state = 1_u32;
        let mut message = vec![0; 8 << 20];
        for byte in &mut message {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        assert_eq!(filter(&[&message]), None);
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
        fn any_bytes_are_harmless(symbols: Vec<u8>, gaps: Vec<u8>, bytes: Vec<u8>, text: Vec<u8>) {
            may_contain(&bytes, &text);
            let mut writer = FrameWriter::new(3);
            writer.put(&symbols);
            writer.put(&gaps);
            may_contain(&writer.finish(), &text);
        }
    }
}
