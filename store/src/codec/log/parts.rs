//! Opens the columns of a chunk, each when it is asked for first.
//!
//! Every length and number is checked here, against what the chunk's row
//! declares and against the columns before, so that whoever uses a part may
//! rely on it.

use std::cell::OnceCell;

use super::bits::NumberReader;
use super::ids;
use super::template::{Layout, StringList, Templates};
use super::times::{self, TimeCoding};
use super::values::{StringReader, decode_floats, decode_integers};
use super::{FLOAT, LONG_TEMPLATE, NEW_TEMPLATE, ROW_BYTES, STRING, WHOLE};
use crate::Result;
use crate::codec::columns::Reader;
use crate::codec::frames::{Frame, Frames};
use crate::codec::{Declared, damaged};

/// No writer needs more raw bytes in all columns than this times the size that
/// it declares; a number column has eight bytes and a code at most for a byte of
/// text or a sixteenth of a row.
const EXPANSION: usize = 16;

/// Size of the head, with room to spare.
const MAX_HEAD: usize = 64;

/// A log chunk.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) row_count: usize,
    /// Length of all messages together.
    pub(super) text_bytes: usize,
    template_count: usize,
    string_count: usize,
    time_coding: TimeCoding,
    frames: FrameTable<'a>,
    template_texts: OnceCell<StringList>,
    dictionary: OnceCell<StringList>,
    whole_text: OnceCell<Vec<u8>>,
    whole_ends: OnceCell<Vec<usize>>,
    rows: OnceCell<RowTemplates>,
    times: OnceCell<Vec<i64>>,
    flags: OnceCell<Vec<u8>>,
    slots: OnceCell<Slots>,
    strings: OnceCell<Vec<u32>>,
    numbers: OnceCell<Vec<i64>>,
    hexdump: OnceCell<Vec<u8>>,
}

/// The frames of a chunk, in their order.
#[derive(Debug)]
struct FrameTable<'a> {
    templates: Frame<'a>,
    dictionary: Frame<'a>,
    packed_ids: Frame<'a>,
    whole_lengths: Frame<'a>,
    whole: Frame<'a>,
    template_codes: Frame<'a>,
    template_numbers: Frame<'a>,
    time_codes: Frame<'a>,
    time_bits: Frame<'a>,
    flags: Frame<'a>,
    string_codes: Frame<'a>,
    string_numbers: Frame<'a>,
    ways: Frame<'a>,
    number_codes: Frame<'a>,
    number_bits: Frame<'a>,
    hexdump: Frame<'a>,
}

/// Messages that are stored whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Whole<'a> {
    /// A message, or an empty one if there are fewer.
    pub(super) fn get(&self, number: usize) -> &'a [u8] {
        let end = self.ends.get(number).copied().unwrap_or_default();
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before));
        self.text.get(start.copied().unwrap_or_default()..end).unwrap_or_default()
    }
}

/// Which template each row has.
#[derive(Debug)]
pub(super) struct RowTemplates {
    pub(super) templates: Vec<u32>,
    /// How many rows each template has, at least one.
    pub(super) counts: Vec<u32>,
}

/// The slots of all templates and where their values are.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) templates: Templates,
    pub(super) layout: Layout,
}

impl<'a> Parts<'a> {
    /// Reads the head and finds the frames. Opens nothing yet.
    pub(super) fn open(declared: Declared, data: &'a [u8]) -> Result<Self> {
        let row_count = declared.row_count;
        let text_bytes = row_count
            .checked_mul(ROW_BYTES)
            .and_then(|rows| declared.raw_bytes.checked_sub(rows))
            .ok_or_else(|| damaged("its declared size is impossible"))?;
        let budget = declared.raw_bytes.saturating_mul(EXPANSION).saturating_add(MAX_HEAD);
        let mut frames = Frames::new(data, budget);
        let head = open(&frames.frame()?, MAX_HEAD)?;
        let mut head = Reader::new(&head);
        let template_count = head.count(row_count)?;
        let string_count = head.count(text_bytes)?;
        let [unit, steps] = *head.take(2)? else {
            return Err(damaged("its head is too short"));
        };
        head.end()?;
        let mut next = || frames.frame();
        let table = FrameTable {
            templates: next()?,
            dictionary: next()?,
            packed_ids: next()?,
            whole_lengths: next()?,
            whole: next()?,
            template_codes: next()?,
            template_numbers: next()?,
            time_codes: next()?,
            time_bits: next()?,
            flags: next()?,
            string_codes: next()?,
            string_numbers: next()?,
            ways: next()?,
            number_codes: next()?,
            number_bits: next()?,
            hexdump: next()?,
        };
        frames.end()?;
        Ok(Self {
            row_count,
            text_bytes,
            template_count,
            string_count,
            time_coding: TimeCoding { unit, steps },
            frames: table,
            template_texts: OnceCell::new(),
            dictionary: OnceCell::new(),
            whole_text: OnceCell::new(),
            whole_ends: OnceCell::new(),
            rows: OnceCell::new(),
            times: OnceCell::new(),
            flags: OnceCell::new(),
            slots: OnceCell::new(),
            strings: OnceCell::new(),
            numbers: OnceCell::new(),
            hexdump: OnceCell::new(),
        })
    }

    /// Texts of the templates.
    pub(super) fn template_texts(&self) -> Result<&StringList> {
        once(&self.template_texts, || {
            // A placeholder takes no more room than what it stands for, but for an
            // empty string between two quotes.
            let most = 2 * self.text_bytes + self.template_count;
            StringList::new(open(&self.frames.templates, most)?, self.template_count)
        })
    }

    /// The dictionary of strings.
    pub(super) fn dictionary(&self) -> Result<&StringList> {
        once(&self.dictionary, || {
            let most = self.text_bytes + self.string_count;
            let text = open(&self.frames.dictionary, most)?;
            let packed = open(&self.frames.packed_ids, self.text_bytes)?;
            StringList::new(ids::unpack(text, &packed, most)?, self.string_count)
        })
    }

    /// Messages that are stored whole.
    pub(super) fn whole(&self) -> Result<Whole<'_>> {
        let text = self.unchecked_whole()?;
        let ends = once(&self.whole_ends, || {
            let count = self.slots()?.layout.whole;
            let lengths = open(&self.frames.whole_lengths, 10 * count)?;
            let mut reader = Reader::new(&lengths);
            let mut end = 0;
            let ends = (0..count)
                .map(|_| {
                    end += reader.count(text.len() - end)?;
                    Ok(end)
                })
                .collect::<Result<_>>()?;
            reader.end()?;
            if end != text.len() {
                return Err(damaged("columns differ in length"));
            }
            Ok(ends)
        })?;
        Ok(Whole { text, ends })
    }

    /// Which template each row has.
    pub(super) fn rows(&self) -> Result<&RowTemplates> {
        once(&self.rows, || {
            let codes = open_exactly(&self.frames.template_codes, self.row_count)?;
            let numbers = open(&self.frames.template_numbers, 10 * self.row_count)?;
            let mut numbers = Reader::new(&numbers);
            let mut counts = vec![0_u32; self.template_count];
            let mut templates = vec![0_u32; codes.len()];
            let mut next_new = 0;
            for (template, code) in templates.iter_mut().zip(&codes) {
                let number = match *code {
                    NEW_TEMPLATE => {
                        next_new += 1;
                        next_new - 1
                    }
                    LONG_TEMPLATE => {
                        usize::from(LONG_TEMPLATE - 1) + numbers.count(self.template_count)?
                    }
                    code => usize::from(code) - 1,
                };
                let known = counts.get_mut(..next_new).and_then(|known| known.get_mut(number));
                *known.ok_or_else(|| damaged("a row has an unknown template"))? += 1;
                *template = number as u32;
            }
            numbers.end()?;
            if next_new != self.template_count {
                return Err(damaged("a template has no row"));
            }
            Ok(RowTemplates { templates, counts })
        })
    }

    /// Times of the rows.
    pub(super) fn times(&self) -> Result<&Vec<i64>> {
        once(&self.times, || {
            let codes = open(&self.frames.time_codes, 2 * self.row_count)?;
            let bits = open(&self.frames.time_bits, 8 * self.row_count)?;
            times::decode(self.time_coding, &codes, &bits, self.row_count)
        })
    }

    /// Flags of the rows.
    pub(super) fn flags(&self) -> Result<&Vec<u8>> {
        once(&self.flags, || {
            let mut flags = open(&self.frames.flags, self.row_count)?;
            if let [all] = *flags {
                flags.resize(self.row_count, all);
            }
            if flags.len() == self.row_count {
                Ok(flags)
            } else {
                Err(damaged("columns differ in length"))
            }
        })
    }

    /// Slots of the templates and where their values are.
    pub(super) fn slots(&self) -> Result<&Slots> {
        once(&self.slots, || {
            let templates = Templates::parse(self.template_texts()?)?;
            let layout = Layout::new(&templates, &self.rows()?.counts)?;
            Ok(Slots { templates, layout })
        })
    }

    /// Values of all string columns: numbers of the dictionary.
    pub(super) fn strings(&self) -> Result<&Vec<u32>> {
        once(&self.strings, || {
            let Slots { templates, layout } = self.slots()?;
            let codes = open_exactly(&self.frames.string_codes, layout.strings)?;
            let numbers = open(&self.frames.string_numbers, 10 * layout.strings)?;
            let count = self.dictionary()?.len();
            let mut reader = StringReader::new(&codes, &numbers, count);
            let mut values = vec![0; layout.strings];
            for (column, placeholder) in templates.columns().iter().enumerate() {
                if *placeholder == STRING {
                    let start = layout.starts[column];
                    reader.take(&mut values[start..start + layout.lengths[column]])?;
                }
            }
            reader.end()?;
            Ok(values)
        })
    }

    /// Values of all number columns.
    pub(super) fn numbers(&self) -> Result<&Vec<i64>> {
        once(&self.numbers, || {
            let Slots { templates, layout } = self.slots()?;
            let ways = open(&self.frames.ways, 2 * templates.columns().len())?;
            let codes = open(&self.frames.number_codes, 2 * layout.numbers)?;
            if codes.len() < layout.numbers {
                return Err(damaged("a number column ends too early"));
            }
            let bits = open(&self.frames.number_bits, 8 * layout.numbers)?;
            let mut ways = Reader::new(&ways);
            let mut reader = NumberReader::new(&codes, &bits);
            let mut values = vec![0; layout.numbers];
            for (column, placeholder) in templates.columns().iter().enumerate() {
                let start = layout.starts[column];
                let length = layout.lengths[column];
                match *placeholder {
                    STRING | WHOLE => {}
                    FLOAT => {
                        let way = (ways.take(1)?[0], ways.take(1)?[0]);
                        decode_floats(&mut values[start..start + length], way, &mut reader)?;
                    }
                    _ => {
                        let way = ways.take(1)?[0];
                        decode_integers(&mut values[start..start + length], way, &mut reader)?;
                    }
                }
            }
            ways.end()?;
            reader.end()?;
            Ok(values)
        })
    }

    /// Sixteen bytes for each row of a hexdump.
    pub(super) fn hexdump(&self) -> Result<&[[u8; 16]]> {
        let rows = self.unchecked_hexdump()?.as_chunks::<16>().0;
        if rows.len() == self.slots()?.layout.hexdumps {
            Ok(rows)
        } else {
            Err(damaged("columns differ in length"))
        }
    }

    /// The same as bytes, whose number nobody has compared with that of the rows.
    pub(super) fn unchecked_hexdump(&self) -> Result<&[u8]> {
        let bytes = once(&self.hexdump, || {
            let bytes = open(&self.frames.hexdump, self.row_count.saturating_mul(16))?;
            if bytes.len() % 16 == 0 { Ok(bytes) } else { Err(damaged("columns differ in length")) }
        })?;
        Ok(bytes)
    }

    /// All messages that are stored whole, one after another; nobody has compared
    /// them with their lengths.
    pub(super) fn unchecked_whole(&self) -> Result<&[u8]> {
        let text = once(&self.whole_text, || open(&self.frames.whole, self.text_bytes))?;
        Ok(text)
    }
}

/// Opens a frame that may have `most` bytes.
fn open(frame: &Frame<'_>, most: usize) -> Result<Vec<u8>> {
    if frame.raw_length() > most {
        return Err(damaged("a column is larger than its chunk declares"));
    }
    frame.open()
}

/// Opens a frame that must have `length` bytes.
fn open_exactly(frame: &Frame<'_>, length: usize) -> Result<Vec<u8>> {
    if frame.raw_length() != length {
        return Err(damaged("columns differ in length"));
    }
    frame.open()
}

/// Value of a cell, made if there is none.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
