//! Templates as they lie in a chunk: their text, their slots, and the columns
//! that the values of the slots are in.
//!
//! Writer and reader both get slots and columns from the same text by the same
//! function, so that they cannot disagree.

use memchr::memchr_iter;

use super::intern::Interner;
use super::stamp::Spelling;
use super::{
    CLOCK, END, FLOAT, HEXDUMP, INTEGER, ISO, KLOG, MAX_MESSAGE_SLOTS, MAX_VALUES, SPECIAL, STRING,
    WHOLE,
};
use crate::Result;
use crate::codec::damaged;

/// How much of the text before a slot chooses its column.
const CONTEXT: usize = 16;

/// How much of that may lie before the end of the slot before.
const SHARED_CONTEXT: usize = 3;

/// Byte strings that lie one after another, each closed by [`END`].
#[derive(Debug, Default)]
pub(super) struct StringList {
    text: Vec<u8>,
    /// Place of each string's end in `text`.
    ends: Vec<u32>,
}

impl StringList {
    /// Checks that `text` is `count` closed strings.
    pub(super) fn new(text: Vec<u8>, count: usize) -> Result<Self> {
        let is_closed = text.last().is_none_or(|last| *last == END);
        if !is_closed || count > text.len() || u32::try_from(text.len()).is_err() {
            return Err(damaged("a list of strings has another length than declared"));
        }
        let mut ends = Vec::with_capacity(count);
        ends.extend(memchr_iter(END, &text).map(|end| end as u32));
        if ends.len() != count {
            return Err(damaged("a list of strings has another length than declared"));
        }
        Ok(Self { text, ends })
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where a string starts and ends; an empty range if there is none.
    pub(super) fn range(&self, number: usize) -> (usize, usize) {
        let end = self.ends.get(number).map_or(0, |end| *end as usize);
        let start = number
            .checked_sub(1)
            .map_or(0, |before| self.ends.get(before).map_or(0, |end| *end as usize + 1));
        (start.min(end), end)
    }

    pub(super) fn get(&self, number: usize) -> &[u8] {
        let (start, end) = self.range(number);
        &self.text[start..end]
    }

    /// Number of the string that has the byte at `place`.
    pub(super) fn number_at(&self, place: usize) -> usize {
        self.ends.partition_point(|end| (*end as usize) < place)
    }
}

/// Place of the first special byte at or after `from`, the length if there is none.
pub(super) fn next_special(text: &[u8], from: usize) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from.min(text.len());
    while let Some(word) = text[at..].first_chunk() {
        // Bytes whose four highest bits are set: those that are special, and the
        // first bytes of rare characters.
        let word = u64::from_le_bytes(*word);
        let found = word & word << 1 & word << 2 & word << 3 & HIGH;
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if text[at] >= SPECIAL {
            return at;
        }
        at += 1;
    }
    text[at..].iter().position(|byte| *byte >= SPECIAL).map_or(text.len(), |rest| at + rest)
}

/// A place in a template for a value, and the text before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) text_start: u32,
    pub(super) text_end: u32,
    pub(super) placeholder: u8,
    /// Of ISO stamps and times of day.
    pub(super) spelling: Spelling,
    /// Column of its values.
    pub(super) column: u32,
}

impl Slot {
    /// Where the text after it starts.
    pub(super) fn after(&self) -> u32 {
        self.text_end + 1 + u32::from(matches!(self.placeholder, ISO | CLOCK))
    }
}

/// A template: some slots, and the text after the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Template {
    first_slot: u32,
    end_slot: u32,
    tail_start: u32,
    tail_end: u32,
}

/// The templates of a chunk.
#[derive(Debug, Default)]
pub(super) struct Templates {
    all: Vec<Template>,
    slots: Vec<Slot>,
    /// Placeholder of each column's values.
    columns: Vec<u8>,
}

impl Templates {
    /// Finds the slots of each template and chooses their columns: slots of one
    /// kind with the same text before them share one, whatever their template.
    pub(super) fn parse(list: &StringList) -> Result<Self> {
        let mut found = Self::default();
        let mut contexts = Interner::default();
        for number in 0..list.len() {
            found.parse_one(list, number, &mut contexts)?;
        }
        Ok(found)
    }

    fn parse_one(
        &mut self,
        list: &StringList,
        number: usize,
        contexts: &mut Interner,
    ) -> Result<()> {
        let (start, end) = list.range(number);
        let text = &list.text()[..end];
        let first_slot = self.slots.len();
        let mut text_start = start;
        loop {
            let place = next_special(text, text_start);
            if place == end {
                break;
            }
            let placeholder = text[place];
            let mut after = place + 1;
            let mut spelling = Spelling { decimals: 0, blank: false, comma: false };
            match placeholder {
                INTEGER | FLOAT | STRING | KLOG => {}
                ISO | CLOCK => {
                    spelling = text
                        .get(after)
                        .and_then(|byte| Spelling::from_byte(*byte))
                        .ok_or_else(|| damaged("a template has a time of no known spelling"))?;
                    after += 1;
                }
                HEXDUMP | WHOLE if place == start && after == end => {}
                _ => return Err(damaged("a template has an unknown placeholder")),
            }
            let context_start =
                start.max(place.saturating_sub(CONTEXT)).max(if text_start == start {
                    0
                } else {
                    text_start.saturating_sub(SHARED_CONTEXT)
                });
            let column = contexts.intern(&text[context_start..=place]);
            if column as usize == self.columns.len() {
                self.columns.push(placeholder);
            }
            self.slots.push(Slot {
                text_start: text_start as u32,
                text_end: place as u32,
                placeholder,
                spelling,
                column,
            });
            text_start = after;
        }
        let slots = self.slots.len();
        if slots - first_slot > MAX_MESSAGE_SLOTS || slots > MAX_VALUES + list.len() {
            return Err(damaged("its templates have too many slots"));
        }
        self.all.push(Template {
            first_slot: first_slot as u32,
            end_slot: slots as u32,
            tail_start: text_start as u32,
            tail_end: end as u32,
        });
        Ok(())
    }

    /// Slots of a template, none if there is no such template.
    pub(super) fn slots(&self, template: u32) -> &[Slot] {
        self.all.get(template as usize).map_or(&[], |template| {
            &self.slots[template.first_slot as usize..template.end_slot as usize]
        })
    }

    /// Where in the text the last slot's text ends and the template does.
    pub(super) fn tail(&self, template: u32) -> (usize, usize) {
        self.all
            .get(template as usize)
            .map_or((0, 0), |template| (template.tail_start as usize, template.tail_end as usize))
    }

    /// Placeholder of each column.
    pub(super) fn columns(&self) -> &[u8] {
        &self.columns
    }

    /// Slots before those of a template.
    pub(super) fn first_slot(&self, template: u32) -> usize {
        self.all.get(template as usize).map_or(0, |template| template.first_slot as usize)
    }
}

/// Where the values of each column lie among all values of their family: the
/// strings in one list, the numbers in another.
#[derive(Debug)]
pub(super) struct Layout {
    /// Start of each column in the list of its family.
    pub(super) starts: Vec<usize>,
    /// Number of values of each column.
    pub(super) lengths: Vec<usize>,
    /// Values in all string columns.
    pub(super) strings: usize,
    /// Values in all number columns.
    pub(super) numbers: usize,
    /// Messages that are stored whole.
    pub(super) whole: usize,
    /// Rows of hexdumps.
    pub(super) hexdumps: usize,
}

impl Layout {
    /// `counts` is how many rows each template has.
    pub(super) fn new(templates: &Templates, counts: &[u32]) -> Result<Self> {
        let mut lengths = vec![0_usize; templates.columns.len()];
        for (template, count) in counts.iter().enumerate() {
            for slot in templates.slots(template as u32) {
                lengths[slot.column as usize] += *count as usize;
            }
        }
        let mut layout = Self {
            starts: Vec::with_capacity(lengths.len()),
            lengths,
            strings: 0,
            numbers: 0,
            whole: 0,
            hexdumps: 0,
        };
        for (placeholder, length) in templates.columns.iter().zip(&layout.lengths) {
            let family = match *placeholder {
                STRING => &mut layout.strings,
                WHOLE => &mut layout.whole,
                HEXDUMP => {
                    layout.hexdumps += length;
                    &mut layout.numbers
                }
                _ => &mut layout.numbers,
            };
            layout.starts.push(*family);
            *family += length;
        }
        if layout.strings + layout.numbers > MAX_VALUES {
            return Err(damaged("its rows have too many values"));
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&[u8]]) -> Result<Templates> {
        let text = texts.iter().flat_map(|text| [text, &[END][..]].concat()).collect();
        Templates::parse(&StringList::new(text, texts.len())?)
    }

    #[test]
    fn slots_with_the_same_text_before_them_share_a_column() {
        let templates =
            parse(&[b"took \xf5 at \xf7", b"it took \xf5", b"took \xf5", b"x took \xf7"])
                .expect("valid");
        let columns = |template| -> Vec<u32> {
            templates.slots(template).iter().map(|slot| slot.column).collect()
        };
        assert_eq!(columns(0), [0, 1]);
        assert_eq!(columns(1), [2]);
        assert_eq!(columns(2), [0]);
        assert_eq!(columns(3), [3]);
        assert_eq!(templates.columns(), [INTEGER, STRING, INTEGER, STRING]);
        let long = parse(&[b"a sentence of some length \xf5", b"the sentence of some length \xf5"]);
        assert_eq!(long.expect("valid").columns(), [INTEGER]);
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        for text in
            [&b"\xf9"[..], b"\xf9\x8a", b"\xfa\x41", b"\xfd", b"a\xfc", b"\xfba", b"\xf5\xfb"]
        {
            assert!(parse(&[text]).is_err(), "{text:x?}");
        }
        assert!(parse(&[&[INTEGER; MAX_MESSAGE_SLOTS + 1]]).is_err());
        assert!(parse(&[&[INTEGER; MAX_MESSAGE_SLOTS]]).is_ok());
        assert!(StringList::new(b"a\xffb".to_vec(), 1).is_err());
        assert!(StringList::new(b"a\xffb\xff".to_vec(), 1).is_err());
        assert!(StringList::new(b"a\xff".to_vec(), usize::MAX).is_err());
    }

    #[test]
    fn special_bytes_are_found_anywhere() {
        for place in 0..40 {
            for byte in [SPECIAL, 0xff, SPECIAL - 1, 0xef, b'a'] {
                let mut text = "ä日𝄞 text ".repeat(5).into_bytes()[..40].to_vec();
                text[place] = byte;
                let expected = if byte >= SPECIAL { place } else { 40 };
                assert_eq!(next_special(&text, 0), expected);
                assert_eq!(next_special(&text, place), expected);
                assert_eq!(next_special(&text, place + 1), 40);
            }
        }
    }

    #[test]
    fn a_layout_is_bounded() {
        let templates = parse(&[&[STRING; MAX_MESSAGE_SLOTS]]).expect("valid");
        assert!(Layout::new(&templates, &[1 << 14]).is_ok());
        assert!(Layout::new(&templates, &[(1 << 14) + 1]).is_err());
    }

    #[test]
    fn a_place_belongs_to_a_string() {
        let list = StringList::new(b"ab\xff\xffc\xff".to_vec(), 3).expect("valid");
        assert_eq!([0, 2, 3, 4, 5].map(|place| list.number_at(place)), [0, 0, 1, 2, 2]);
        assert_eq!([0, 1, 2, 3].map(|number| list.get(number)), [&b"ab"[..], b"", b"c", b""]);
    }
}
