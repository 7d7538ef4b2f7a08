//! Text that is searched for, as it is or without regard to ASCII case.

use memchr::{memchr_iter, memchr2_iter};

use super::SPECIAL;
use super::simd::{self, Search};

/// Text to search for in messages.
///
/// ```
/// use periscope_store::codec::Needle;
///
/// assert!(Needle::new(b"Timeout", true).is_in(b"dial: i/o TIMEOUT"));
/// assert!(!Needle::new(b"Timeout", false).is_in(b"dial: i/o timeout"));
/// ```
#[derive(Clone, Debug)]
pub struct Needle {
    /// In lower case if case is folded.
    bytes: Vec<u8>,
    fold_case: bool,
    probe: Probe,
}

/// The two bytes of a needle that are rarest in logs, and where it has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    pub(super) length: usize,
    pub(super) first_at: usize,
    pub(super) first_byte: u8,
    /// 0x20 if the byte is a letter whose case is folded, else 0.
    pub(super) first_fold: u8,
    pub(super) second_at: usize,
    pub(super) second_byte: u8,
    pub(super) second_fold: u8,
}

impl Needle {
    /// `fold_case` makes ASCII letters equal their other case, as SQL's LIKE does.
    #[must_use]
    pub fn new(bytes: &[u8], fold_case: bool) -> Self {
        let bytes = if fold_case { bytes.to_ascii_lowercase() } else { bytes.to_vec() };
        let mut places: Vec<usize> = (0..bytes.len()).collect();
        places.sort_by_key(|at| frequency(bytes[*at]));
        let first_at = places.first().copied().unwrap_or_default();
        let second_at =
            places.iter().copied().find(|at| bytes[*at] != bytes[first_at]).unwrap_or(first_at);
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let fold = |at| if fold_case && byte(at).is_ascii_lowercase() { 0x20 } else { 0 };
        let probe = Probe {
            length: bytes.len(),
            first_at,
            first_byte: byte(first_at),
            first_fold: fold(first_at),
            second_at,
            second_byte: byte(second_at),
            second_fold: fold(second_at),
        };
        Self { bytes, fold_case, probe }
    }

    /// Whether a text contains the needle. Every text contains the empty one.
    #[must_use]
    pub fn is_in(&self, haystack: &[u8]) -> bool {
        self.find(haystack, 0).is_some()
    }

    /// The needle itself, in lower case if case is folded.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it has a byte that only messages that are stored whole can have.
    pub(super) fn is_special(&self) -> bool {
        self.bytes.iter().any(|byte| *byte >= SPECIAL)
    }

    pub(super) fn folds_case(&self) -> bool {
        self.fold_case
    }

    /// The first `length` bytes of the needle as a needle.
    pub(super) fn prefix(&self, length: usize) -> Self {
        Self::new(&self.bytes[..length.min(self.bytes.len())], self.fold_case)
    }

    /// First place at or after `from` where the needle is.
    pub(super) fn find(&self, haystack: &[u8], from: usize) -> Option<usize> {
        if self.bytes.is_empty() {
            return (from <= haystack.len()).then_some(from);
        }
        if haystack.len() < simd::MARGIN + self.bytes.len() {
            return self.find_portable(haystack, from);
        }
        match simd::find(haystack, from, &self.probe, |at| self.is_at(haystack, at)) {
            Search::Found(at) => Some(at),
            Search::Absent => None,
            Search::Unsupported => self.find_portable(haystack, from),
        }
    }

    /// The portable twin of [`simd::find`].
    fn find_portable(&self, haystack: &[u8], from: usize) -> Option<usize> {
        let last = haystack.len().checked_sub(self.bytes.len()).filter(|last| from <= *last)?;
        let probed = &haystack[from + self.probe.first_at..=last + self.probe.first_at];
        let is_match = |at: &usize| self.is_at(haystack, *at);
        if self.probe.first_fold == 0 {
            let byte = self.probe.first_byte;
            memchr_iter(byte, probed).map(|at| from + at).find(is_match)
        } else {
            let (lower, upper) =
                (self.probe.first_byte, self.probe.first_byte.to_ascii_uppercase());
            memchr2_iter(lower, upper, probed).map(|at| from + at).find(is_match)
        }
    }

    fn is_at(&self, haystack: &[u8], at: usize) -> bool {
        haystack.get(at..at + self.bytes.len()).is_some_and(|text| self.equals(text))
    }

    fn equals(&self, text: &[u8]) -> bool {
        if self.fold_case {
            text.iter().zip(&self.bytes).all(|(byte, lower)| byte.to_ascii_lowercase() == *lower)
        } else {
            text == self.bytes
        }
    }
}

/// How frequent a byte is in logs, roughly.
fn frequency(byte: u8) -> u8 {
    match byte.to_ascii_lowercase() {
        b' ' | b'e' | b'0'..=b'2' | b't' | b'a' | b's' | b'o' | b'i' | b'n' | b'r' => 3,
        b'-'
        | b'.'
        | b'"'
        | b':'
        | b'/'
        | b'3'..=b'9'
        | b'c'
        | b'd'
        | b'l'
        | b'p'
        | b'u'
        | b'm' => 2,
        b'b' | b'f' | b'g' | b'h' | b'v' | b'k' | b'y' | b',' | b'=' => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(needle: &[u8], fold: bool, haystack: &[u8], from: usize) -> Option<usize> {
        let same =
            |text: &[u8]| if fold { text.eq_ignore_ascii_case(needle) } else { text == needle };
        (from..=haystack.len()).find(|at| haystack.get(*at..at + needle.len()).is_some_and(same))
    }

    #[test]
    fn letters_alone_fold() {
        assert!(Needle::new(b"[A]", true).is_in(b"x[a]"));
        assert!(!Needle::new(b"[A]", true).is_in(b"x{a}"));
        assert!(!Needle::new("Ä".as_bytes(), true).is_in("ä".as_bytes()));
        assert!(Needle::new(b"", true).is_in(b""));
    }

    proptest! {
        #[test]
        fn every_way_finds_what_walking_finds(
            haystack in prop::collection::vec(prop::sample::select(b"aAbB@`[{ \xff".as_slice()), 0..200),
            needle in prop::collection::vec(prop::sample::select(b"aAbB@`[{ \xff".as_slice()), 0..7),
            from in 0..220_usize,
            fold: bool,
        ) {
            let searched = Needle::new(&needle, fold);
            let expected = naive(&needle, fold, &haystack, from);
            prop_assert_eq!(searched.find(&haystack, from), expected);
            if !needle.is_empty() {
                prop_assert_eq!(searched.find_portable(&haystack, from), expected);
            }
        }
    }
}
