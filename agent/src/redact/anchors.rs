//! Finds the words that announce a secret, at two bytes and more a nanosecond.
//!
//! Every text passes here, so the search is made for texts that hold no such word:
//! three bytes of each word, the ones that other words rarely have, are looked up in
//! a small table at every place of the text. Unlike the states of an automaton, no
//! lookup waits for the one before it. Only where the table says yes is a word
//! compared.

use std::ops::Range;

use super::rules::{ANCHORS, Rule};

/// Slots of the table, as a power of two: some twenty of them are set.
const TABLE_BITS: u32 = 14;

/// Spreads three bytes, the low ones of four, over the slots. Its own lowest byte is
/// zero, which drops the fourth.
const SPREAD: u32 = 0x9e37_7900;

/// Places that are looked at together: those whose three bytes lie in eight.
const STEP: usize = 6;

/// A word as it is searched for.
#[derive(Clone, Copy, Debug)]
struct Word {
    text: &'static [u8],
    /// The three bytes that betray it, folded.
    part: u32,
    /// Where in the word they stand.
    offset: usize,
    rule: Rule,
}

/// The words of [`ANCHORS`].
#[derive(Debug)]
pub(super) struct Anchors {
    table: Box<[u8; 1 << TABLE_BITS]>,
    words: Vec<Word>,
    /// Largest offset of a part in its word.
    reach: usize,
}

impl Anchors {
    /// Makes the table.
    pub(super) fn new() -> Self {
        let words: Vec<Word> = ANCHORS
            .iter()
            .map(|(text, part, rule)| {
                let (text, part) = (text.as_bytes(), part.as_bytes());
                let offset = memchr::memmem::find(text, part).unwrap_or_default();
                let part = [text[offset], text[offset + 1], text[offset + 2], 0];
                let part = u32::from_le_bytes(part) | 0x0020_2020;
                Word { text, part, offset, rule: *rule }
            })
            .collect();
        let mut table = Box::new([0; 1 << TABLE_BITS]);
        for word in &words {
            table[slot(word.part)] = 1;
        }
        let reach = words.iter().map(|word| word.offset).max().unwrap_or_default();
        Self { table, words, reach }
    }

    /// The word that starts first at `from` or behind it, and its rule. No word is
    /// part of another, so it also ends first.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<(Range<usize>, Rule)> {
        let mut best: Option<(Range<usize>, Rule)> = None;
        let mut at = from;
        while at < text.len() {
            let eight = match text.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
                Some(eight) => u64::from_le_bytes(eight),
                None => last(&text[at..]),
            };
            // Letters in lower case. What is no letter may become what another
            // becomes: the comparison tells them apart.
            let eight = eight | 0x2020_2020_2020_2020;
            let mut hit = 0;
            for place in 0..STEP {
                hit |= self.table[slot((eight >> (8 * place)) as u32)];
            }
            if hit != 0 {
                if let Some((word, _)) = &best
                    && at > word.start + self.reach
                {
                    break;
                }
                best = self.compare(text, from, at, eight, best);
            }
            at += STEP;
        }
        best
    }

    /// The first of `best` and of the words that have their part among the `eight`
    /// bytes at `at`.
    #[cold]
    fn compare(
        &self,
        text: &[u8],
        from: usize,
        at: usize,
        eight: u64,
        best: Option<(Range<usize>, Rule)>,
    ) -> Option<(Range<usize>, Rule)> {
        let mut best = best;
        for place in 0..STEP {
            let part = (eight >> (8 * place)) as u32 & 0x00ff_ffff;
            if self.table[slot(part)] == 0 {
                continue;
            }
            for word in self.words.iter().filter(|word| word.part == part) {
                let start = (at + place).checked_sub(word.offset).filter(|start| *start >= from);
                let range = start.map(|start| start..start + word.text.len());
                let found = range.filter(|range| {
                    let there = text.get(range.clone());
                    there.is_some_and(|there| there.eq_ignore_ascii_case(word.text))
                });
                if let Some(range) = found
                    && best.as_ref().is_none_or(|(known, _)| range.start < known.start)
                {
                    best = Some((range, word.rule));
                }
            }
        }
        best
    }
}

/// The end of a text, with zeros behind it.
#[cold]
fn last(text: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..text.len()].copy_from_slice(text);
    u64::from_le_bytes(eight)
}

/// Slot of the lower three of four bytes.
fn slot(part: u32) -> usize {
    (part.wrapping_mul(SPREAD) >> (32 - TABLE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use aho_corasick::AhoCorasick;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_is_of_its_word_and_no_word_of_another() {
        for (word, part, _) in ANCHORS {
            assert_eq!(part.len(), 3, "{word}");
            assert!(word.contains(part), "{word} {part}");
            assert_eq!(word.to_ascii_lowercase(), *word);
            for (other, ..) in ANCHORS {
                assert!(word == other || !word.contains(other), "{word} {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn words_are_found_as_an_automaton_finds_them(
            pieces in proptest::collection::vec(
                prop_oneof![
                    4 => (0..ANCHORS.len()).prop_map(|at| ANCHORS[at].0.as_bytes().to_vec()),
                    2 => (0..ANCHORS.len()).prop_map(|at| ANCHORS[at].0.to_uppercase().into_bytes()),
                    2 => (0..ANCHORS.len(), 1_usize..5).prop_map(|(at, cut)| {
                        let word = ANCHORS[at].0.as_bytes();
                        word[..word.len().saturating_sub(cut)].to_vec()
                    }),
                    3 => any::<[u8; 2]>().prop_map(|bytes| bytes.to_vec()),
                    3 => "[a-zA-Z =:/\\\\\"%]{0,6}".prop_map(String::into_bytes),
                ],
                0..12,
            ),
        ) {
            let text = pieces.concat();
            let automaton = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(ANCHORS.iter().map(|(word, ..)| word))
                .expect("an automaton");
            let expected: Vec<_> =
                automaton.find_overlapping_iter(&text).map(|found| found.range()).collect();
            let anchors = Anchors::new();
            let mut found = Vec::new();
            let mut from = 0;
            while let Some((range, _)) = anchors.find(&text, from) {
                from = range.start + 1;
                found.push(range);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
