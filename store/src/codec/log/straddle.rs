//! Which templates can match a needle, and what it takes to be sure.
//!
//! A match lies within the text of a template, within a value, or across the
//! edges of values. The first two are plain searches. For the last one, the
//! needle runs over the template as a bit-parallel automaton that knows what
//! each kind of value can look like, and what the strings of this very chunk
//! begin and end with. It errs to the safe side alone: a template that it lets
//! through has its rows printed and checked.

use super::needle::Needle;
use super::stamp::Spelling;
use super::template::{StringList, next_special};
use super::{CLOCK, FLOAT, HEXDUMP, INTEGER, ISO, KLOG, STRING, WHOLE};
use crate::Result;
use crate::codec::damaged;

/// What decides whether a row of a template matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does not.
    Never,
    /// It does: the needle is in the template's text.
    Always,
    /// Its strings.
    Strings,
    /// The bytes of its hexdump.
    Hexdump,
    /// The message that it stands for.
    Whole,
    /// Its text, printed.
    Text,
}

/// Bytes of a needle that the automaton has states for. Of a longer needle it
/// takes the start, which every match has.
const MAX_STATES: usize = 63;

/// A needle, prepared for the templates of a chunk.
///
/// Bit `n` of a state is set if the `n` bytes before this place are the first
/// `n` of the needle; bit 0 always is.
pub(super) struct Straddle<'a> {
    needle: &'a Needle,
    /// Number of bytes that make a match of the automaton.
    length: usize,
    /// For each byte, the states that it leads to.
    steps: [u64; 256],
    /// States that any digit leads to.
    digits: u64,
    /// States that the end of some string leads to, wherever it began.
    string_ends: u64,
    /// States from which the start of some string completes the match.
    string_starts: u64,
    /// For each state, those that some whole string leads to.
    string_through: Vec<u64>,
    has_empty_string: bool,
    /// A string holds the start of a needle that is cut.
    string_holds_cut: bool,
    /// A string holds the needle.
    string_holds_needle: bool,
    hexdump: Verdict,
}

impl<'a> Straddle<'a> {
    /// `string_holds_needle` is what searching the dictionary found.
    pub(super) fn new(
        needle: &'a Needle,
        dictionary: &StringList,
        string_holds_needle: bool,
    ) -> Self {
        let length = needle.bytes().len().min(MAX_STATES);
        let mut steps = [0; 256];
        for (at, &byte) in needle.bytes()[..length].iter().enumerate() {
            steps[usize::from(byte)] |= 2 << at;
            if needle.folds_case() {
                steps[usize::from(byte.to_ascii_uppercase())] |= 2 << at;
            }
        }
        let digits = (b'0'..=b'9').map(|digit| steps[usize::from(digit)]).fold(0, |a, b| a | b);
        let mut straddle = Self {
            needle,
            length,
            steps,
            digits,
            string_ends: 0,
            string_starts: 0,
            string_through: vec![0; length + 1],
            has_empty_string: false,
            string_holds_cut: needle.bytes().len() > length
                && needle.prefix(length).find(dictionary.text(), 0).is_some(),
            string_holds_needle,
            hexdump: hexdump_verdict(needle),
        };
        for number in 0..dictionary.len() {
            straddle.learn(dictionary.get(number));
        }
        straddle
    }

    /// Whether the needle has more bytes than a match of the automaton.
    fn is_cut(&self) -> bool {
        self.needle.bytes().len() > self.length
    }

    /// Learns what the edges of a string can do.
    fn learn(&mut self, string: &[u8]) {
        let ([first, ..], [.., last]) = (string, string) else {
            self.has_empty_string = true;
            return;
        };
        let complete = 1 << self.length;
        let ends = self.steps[usize::from(*last)] & !complete & !self.string_ends;
        for matched in bits(ends) {
            let tail = string.len().checked_sub(matched).map(|start| &string[start..]);
            if tail.is_some_and(|tail| self.is_at(tail, 0)) {
                self.string_ends |= 1 << matched;
            }
        }
        // State 0 is no match under way: strings that hold all of it are known.
        let starts = self.steps[usize::from(*first)] >> 1 & !1 & !self.string_starts;
        for matched in bits(starts) {
            let missing = self.length - matched;
            if let Some(head) = string.get(..missing) {
                if self.is_at(head, matched) {
                    self.string_starts |= 1 << matched;
                }
            } else if self.is_at(string, matched) {
                self.string_through[matched] |= 1 << (matched + string.len());
            }
        }
    }

    /// Whether `text` is what the needle has at `at`.
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        let needle = &self.needle.bytes()[at..at + text.len()];
        if self.needle.folds_case() { text.eq_ignore_ascii_case(needle) } else { text == needle }
    }

    /// Verdict on a template whose own text does not hold the needle, `start..end`
    /// of `text`; there is an END at `end`.
    pub(super) fn verdict(&self, text: &[u8], start: usize, end: usize) -> Result<Verdict> {
        let mut verdict = Verdict::Never;
        let mut walk = Walk { straddle: self, state: 1, is_match: false };
        let mut at = start;
        loop {
            let place = next_special(text, at).min(end);
            walk.text(&text[at..place]);
            if place == end || walk.is_match {
                break;
            }
            match text[place] {
                STRING if self.string_holds_needle => verdict = Verdict::Strings,
                HEXDUMP => return Ok(self.hexdump),
                WHOLE => return Ok(Verdict::Whole),
                _ => {}
            }
            at = walk.value(text, place)?;
        }
        Ok(if walk.is_match { Verdict::Text } else { verdict })
    }

    /// Of a template with the verdict [`Verdict::Text`], the slots that matches can
    /// touch: numbers of the first and the last one of each span, in order.
    pub(super) fn spans(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        slot_count: usize,
    ) -> Result<Vec<(usize, usize)>> {
        let last_slot = slot_count.saturating_sub(1);
        if self.is_cut() || text.get(start) == Some(&HEXDUMP) {
            return Ok(vec![(0, last_slot)]);
        }
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut add = |span: (usize, usize)| match spans.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => spans.push(span),
        };
        let mut walk = Walk { straddle: self, state: 1, is_match: false };
        let mut at = start;
        // The first slot that a match under way can have touched.
        let mut first = None;
        for slot in 0..=slot_count {
            let place = next_special(text, at).min(end);
            walk.text(&text[at..place]);
            if let Some(first) = first
                && std::mem::take(&mut walk.is_match)
            {
                add((first, slot - 1));
            }
            if walk.state == 1 {
                first = None;
            }
            if place == end {
                break;
            }
            let first = *first.get_or_insert(slot);
            at = walk.value(text, place)?;
            if std::mem::take(&mut walk.is_match) {
                add((first, slot));
            }
        }
        Ok(spans)
    }
}

fn unknown() -> crate::Error {
    damaged("a template has an unknown placeholder")
}

/// The automaton on its way over a template.
struct Walk<'a> {
    straddle: &'a Straddle<'a>,
    state: u64,
    /// Whether a match is possible up to here.
    is_match: bool,
}

impl Walk<'_> {
    /// One byte that leads to `states`.
    fn step(&mut self, states: u64) {
        self.state = self.state << 1 & states | 1;
        self.is_match |= self.state >> self.straddle.length & 1 == 1;
    }

    /// Text that is no value. A match that begins in it and touches a value can
    /// begin only shortly before that.
    fn text(&mut self, text: &[u8]) {
        let mut rest = text;
        while let [byte, after @ ..] = rest
            && (self.state != 1 || rest.len() < self.straddle.length || self.straddle.is_cut())
        {
            self.step(self.straddle.steps[usize::from(*byte)]);
            rest = after;
        }
        let last = (self.straddle.length - 1).min(rest.len());
        for byte in &rest[rest.len() - last..] {
            self.step(self.straddle.steps[usize::from(*byte)]);
        }
    }

    /// The value of a slot at `place` of a template. Where the text goes on.
    fn value(&mut self, text: &[u8], place: usize) -> Result<usize> {
        match text[place] {
            INTEGER => self.number(),
            FLOAT => {
                self.number();
                self.step(self.straddle.steps[usize::from(b'.')]);
                self.number();
            }
            STRING => self.string(),
            KLOG => self.pattern(b"0000 00:00:00.000000"),
            placeholder @ (ISO | CLOCK) => {
                let spelling = text.get(place + 1).and_then(|byte| Spelling::from_byte(*byte));
                self.stamp(placeholder == ISO, spelling.ok_or_else(unknown)?);
                return Ok(place + 2);
            }
            _ => return Err(unknown()),
        }
        Ok(place + 1)
    }

    /// Any number of digits.
    fn number(&mut self) {
        let mut last = 0;
        while self.state != last {
            last = self.state;
            self.state |= self.state << 1 & self.straddle.digits;
        }
        self.is_match |= self.state >> self.straddle.length & 1 == 1;
    }

    /// Text in which every 0 is any digit.
    fn pattern(&mut self, pattern: &[u8]) {
        for byte in pattern {
            let digits = self.straddle.digits;
            let states =
                if *byte == b'0' { digits } else { self.straddle.steps[usize::from(*byte)] };
            self.step(states);
        }
    }

    fn stamp(&mut self, has_date: bool, spelling: Spelling) {
        if has_date {
            self.pattern(b"0000-00-00");
            self.pattern(if spelling.blank { b" " } else { b"T" });
        }
        self.pattern(b"00:00:00");
        if spelling.decimals > 0 {
            self.pattern(&[spelling.separator()]);
            self.pattern(&b"000000000"[..usize::from(spelling.decimals)]);
        }
    }

    /// Any string of the dictionary.
    fn string(&mut self) {
        let straddle = self.straddle;
        self.is_match |= straddle.string_holds_cut || self.state & straddle.string_starts != 0;
        let mut next = 1 | straddle.string_ends;
        for matched in bits(self.state) {
            next |= straddle.string_through.get(matched).copied().unwrap_or_default();
        }
        if straddle.has_empty_string {
            next |= self.state;
        }
        self.state = next;
    }
}

/// Places of the bits that are set.
fn bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        place
    })
}

/// Verdict on rows of hexdumps: their offset and their digits are made of few
/// characters, so most needles fit into the text at the end alone.
fn hexdump_verdict(needle: &Needle) -> Verdict {
    let bytes = needle.bytes();
    let is_printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    let fits_digits = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b' ');
    if !is_printable || bytes.len() > super::hexdump::LENGTH {
        Verdict::Never
    } else if fits_digits || bytes.contains(&b'|') || bytes.contains(&b'.') {
        // A point stands for any byte that cannot be printed.
        Verdict::Text
    } else if bytes.len() > 16 {
        Verdict::Never
    } else {
        Verdict::Hexdump
    }
}

#[cfg(test)]
mod tests {
    use super::super::END;
    use super::*;

    /// Verdict on a template in which `<s>` is a string, `<i>` an integer and so on.
    fn check(needle: &str, template: &str, strings: &[&str], expected: Verdict) {
        let mut text = Vec::new();
        for part in template.split_inclusive('>') {
            let (before, placeholder) = part.split_once('<').unwrap_or((part, ""));
            text.extend_from_slice(before.as_bytes());
            match placeholder {
                "s>" => text.push(STRING),
                "i>" => text.push(INTEGER),
                "f>" => text.push(FLOAT),
                "k>" => text.push(KLOG),
                "clock>" => text.extend_from_slice(&[CLOCK, 0x83]),
                "iso>" => text.extend_from_slice(&[ISO, 0x80]),
                _ => {}
            }
        }
        let end = text.len();
        text.push(END);
        let mut dictionary = strings.join("\u{0}").into_bytes();
        dictionary.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = END);
        dictionary.push(END);
        let dictionary = StringList::new(dictionary, strings.len()).expect("closed");
        let needle = Needle::new(needle.as_bytes(), true);
        let inside = needle.is_in(dictionary.text());
        let straddle = Straddle::new(&needle, &dictionary, inside);
        assert_eq!(straddle.verdict(&text, 0, end).expect("known"), expected, "{template}");
    }

    #[test]
    fn strings_join_with_the_text_around_them() {
        use Verdict::{Never, Strings, Text};
        check("pod web", "the pod <s> is", &["api", "web-1"], Text);
        check("pod web", "the pod <s> is", &["api", "we"], Never);
        check("pod web", "the node <s> is", &["web-1"], Never);
        check("web", "the pod <s> is", &["my-web-1"], Strings);
        check("1 IS", "the pod <s> is", &["api", "web-1"], Text);
        check("od we is", "the pod <s> is", &["api", "we"], Text);
        check("a/b", "<s>/<s>", &["xa", "bx"], Text);
        check("a/b", "<s>/<s>", &["xc", "bx"], Never);
        check("d ]", "bad <s>]", &["x", ""], Text);
        check("d ]", "bad <s>]", &["x"], Never);
    }

    #[test]
    fn numbers_and_stamps_have_shapes() {
        use Verdict::{Never, Text};
        check("10.24", "took <f>s", &["x"], Text);
        check("10.24.", "took <f>s", &["x"], Never);
        check("took 1", "took <i>s", &["x"], Text);
        check("12:28", "at <clock> and", &["x"], Text);
        check("28:03.123 a", "at <clock> and", &["x"], Text);
        check("28:03.1234", "at <clock> and", &["x"], Never);
        check("t11", "<iso>Z", &["x"], Text);
        check("11-22 12", "<iso>Z", &["x"], Never);
        check("1122 12:28", "I<k> x", &["x"], Text);
    }

    #[test]
    fn long_needles_are_cut_on_the_safe_side() {
        use Verdict::{Never, Text};
        let long: String = (10..50).map(|n| n.to_string()).collect();
        let (start, rest) = long.split_at(70);
        check(&long, &format!("x <s>{rest}"), &[start], Text);
        check(&long, &format!("x {start}<s>"), &[rest], Text);
        check(&long, &format!("x {}<s>", &start[1..]), &[rest], Never);
    }
}
