//! Writes a log chunk: splits every message, then lays values out by column.

use super::bits::NumberWriter;
use super::follow::Path;
use super::ids;
use super::intern::Interner;
use super::split::{Splitter, Values};
use super::template::{Layout, StringList, Templates};
use super::values::{StringWriter, encode_floats, encode_integers};
use super::{
    CLOCK, END, FLOAT, INTEGER, ISO, LogColumns, SPECIAL, STRING, WHOLE, put_float, put_integer,
    times,
};
use crate::Result;
use crate::codec::columns::put_varint;
use crate::codec::frames::FrameWriter;

/// Template numbers below this have a code byte of their own.
const SHORT_NUMBERS: u32 = super::LONG_TEMPLATE as u32 - 1;

/// Beginnings of messages that are told apart.
const BEGINNINGS: usize = 1 << 10;

/// Templates of fewer rows are not worth a path.
const MIN_FOLLOWED: u32 = 2;

/// Frames of a chunk that holds these rows.
pub(super) fn encode(columns: &LogColumns, level: i32) -> Result<Vec<u8>> {
    let mut rows = Rows { split: Vec::with_capacity(columns.len()), ..Rows::default() };
    for row in 0..columns.len() {
        rows.push(columns.ts_ns(row), columns.message(row));
    }
    rows.finish(columns, level)
}

/// A row: its template, and where its values begin.
#[derive(Clone, Copy, Debug)]
struct Row {
    template: u32,
    first_value: u32,
}

/// What is known of a template while rows come in.
#[derive(Debug)]
struct Shape {
    row_count: u32,
    /// Where the values of its first row begin.
    first_value: u32,
    /// Where the values of its latest row begin.
    latest_value: u32,
    /// Bit `n` is set if slot `n` had two different values. Slots beyond the last
    /// bit count as if they had.
    varying: u64,
    /// Template of the row that came after its latest row.
    follower: u32,
    /// Made when it is followed for the first time.
    path: Option<Path>,
}

impl Shape {
    fn is_constant(&self, slot: usize) -> bool {
        slot < 64 && self.varying >> slot & 1 == 0
    }
}

/// Rows of a chunk, split.
#[derive(Debug, Default)]
struct Rows {
    splitter: Splitter,
    values: Values,
    templates: Interner,
    shapes: Vec<Shape>,
    /// Template of the latest message whose beginning has this hash.
    alike: Vec<u32>,
    split: Vec<Row>,
}

impl Rows {
    fn push(&mut self, ts_ns: i64, message: &[u8]) {
        // Logs repeat themselves: what followed the last line before is a good
        // guess for this one, for its template as for its strings.
        let before = self.split.last().map(|row| row.template as usize);
        let guess = before.map_or(0, |before| self.shapes[before].follower);
        let first_value = self.values.list.len() as u32;
        let beginning = beginning(message);
        let other_guess = self.alike.get(beginning).copied().unwrap_or(guess);
        let template = if self.follow(guess, ts_ns, message) {
            guess
        } else if other_guess != guess && self.follow(other_guess, ts_ns, message) {
            other_guess
        } else {
            let values = self.shapes.get(guess as usize).map_or(0, |shape| shape.latest_value);
            self.splitter.split(ts_ns, message, &mut self.values, values as usize);
            self.templates.intern(&self.splitter.template)
        };
        self.alike.resize(BEGINNINGS, u32::MAX);
        self.alike[beginning] = template;
        if let Some(shape) = self.shapes.get_mut(template as usize) {
            let first = &self.values.list[shape.first_value as usize..];
            let these = &self.values.list[first_value as usize..];
            for (slot, (a, b)) in first.iter().zip(these).take(64).enumerate() {
                shape.varying |= u64::from(a != b) << slot;
            }
            shape.row_count += 1;
            shape.latest_value = first_value;
        } else {
            self.shapes.push(Shape {
                row_count: 1,
                first_value,
                latest_value: first_value,
                varying: 0,
                follower: template,
                path: None,
            });
        }
        if let Some(before) = before {
            self.shapes[before].follower = template;
        }
        self.split.push(Row { template, first_value });
    }

    /// Splits a message along a template that it may have. Tells whether it has.
    fn follow(&mut self, template: u32, ts_ns: i64, message: &[u8]) -> bool {
        let Some(shape) = self.shapes.get_mut(template as usize) else { return false };
        if shape.row_count < MIN_FOLLOWED {
            return false;
        }
        let text = self.templates.get(template as usize);
        let path = shape.path.get_or_insert_with(|| Path::new(text));
        let latest = shape.latest_value as usize;
        let calendar = &mut self.splitter.calendar;
        path.follow(text, ts_ns, message, calendar, &mut self.values, latest)
    }

    fn finish(self, columns: &LogColumns, level: i32) -> Result<Vec<u8>> {
        let (text, kept) = self.fold();
        let list = StringList::new(text, self.shapes.len())?;
        let templates = Templates::parse(&list)?;
        let counts: Vec<u32> = self.shapes.iter().map(|shape| shape.row_count).collect();
        let layout = Layout::new(&templates, &counts)?;
        let (strings, numbers) = self.gather(&templates, &layout, &kept);

        let mut string_out = StringWriter::default();
        let (mut dictionary, mut packed_ids) = (Vec::new(), Vec::new());
        let mut known = vec![u32::MAX; self.values.strings.len()];
        let mut ways = Vec::new();
        let mut number_out = NumberWriter::default();
        for (column, placeholder) in templates.columns().iter().enumerate() {
            let range = layout.starts[column]..layout.starts[column] + layout.lengths[column];
            match *placeholder {
                STRING => string_out.put(&strings[range], &mut known, |string| {
                    let string = self.values.strings.get(string);
                    ids::put(&mut dictionary, &mut packed_ids, string);
                    dictionary.push(END);
                }),
                FLOAT => encode_floats(&numbers[range], &mut ways, &mut number_out),
                WHOLE => {}
                _ => encode_integers(&numbers[range], &mut ways, &mut number_out),
            }
        }
        let (number_codes, number_bits) = number_out.finish();
        let (time_coding, time_codes, time_bits) = times::encode(columns.all_ts_ns());
        let (template_codes, template_numbers) = self.template_column();
        let mut whole_lengths = Vec::new();
        for length in &self.values.whole_lengths {
            put_varint(&mut whole_lengths, *length as u64);
        }
        let mut head = Vec::new();
        put_varint(&mut head, list.len() as u64);
        put_varint(&mut head, u64::from(string_out.count()));
        head.extend_from_slice(&[time_coding.unit, time_coding.steps]);

        let mut frames = FrameWriter::new(level);
        frames.put(&head);
        frames.put(list.text());
        frames.put(&dictionary);
        frames.put(&packed_ids);
        frames.put(&whole_lengths);
        frames.put(&self.values.whole);
        frames.put(&template_codes);
        frames.put(&template_numbers);
        frames.put(&time_codes);
        frames.put(&time_bits);
        frames.put(constant_or_all(columns.all_flags()));
        frames.put(&string_out.codes);
        frames.put(&string_out.numbers);
        frames.put(&ways);
        frames.put(&number_codes);
        frames.put(&number_bits);
        frames.put(&self.values.hexdump);
        Ok(frames.finish())
    }

    /// Text of all templates, in which slots that have one value throughout are
    /// that value, and which slots are left.
    fn fold(&self) -> (Vec<u8>, Vec<u32>) {
        let mut text = Vec::new();
        let mut kept = Vec::new();
        for (template, shape) in self.shapes.iter().enumerate() {
            let mut rest = self.templates.get(template);
            let mut slot = 0;
            while let Some(place) = rest.iter().position(|byte| *byte >= SPECIAL) {
                let placeholder = rest[place];
                text.extend_from_slice(&rest[..place]);
                let spelled = usize::from(matches!(placeholder, ISO | CLOCK));
                let value = self.values.list.get(shape.first_value as usize + slot).copied();
                match (placeholder, value) {
                    (INTEGER, Some(value)) if shape.is_constant(slot) => {
                        put_integer(&mut text, value as u64);
                    }
                    (FLOAT, Some(value)) if shape.is_constant(slot) => put_float(&mut text, value),
                    (STRING, Some(value)) if shape.is_constant(slot) => {
                        text.extend_from_slice(self.values.strings.get(value as usize));
                    }
                    _ => {
                        kept.push(slot as u32);
                        text.extend_from_slice(&rest[place..=place + spelled]);
                    }
                }
                rest = &rest[place + 1 + spelled..];
                slot += 1;
            }
            text.extend_from_slice(rest);
            text.push(END);
        }
        (text, kept)
    }

    /// Values of all string columns and of all number columns.
    fn gather(&self, templates: &Templates, layout: &Layout, kept: &[u32]) -> (Vec<i64>, Vec<i64>) {
        let mut strings = vec![0; layout.strings];
        let mut numbers = vec![0; layout.numbers];
        let mut places = layout.starts.clone();
        for row in &self.split {
            let slots = templates.slots(row.template);
            let first_slot = templates.first_slot(row.template);
            for (slot, kept) in slots.iter().zip(&kept[first_slot..]) {
                let family = match slot.placeholder {
                    STRING => &mut strings,
                    WHOLE => continue,
                    _ => &mut numbers,
                };
                let place = &mut places[slot.column as usize];
                family[*place] = self.values.list[(row.first_value + kept) as usize];
                *place += 1;
            }
        }
        (strings, numbers)
    }

    /// Template of each row: a code, and numbers too large for one apart.
    fn template_column(&self) -> (Vec<u8>, Vec<u8>) {
        let mut codes = Vec::with_capacity(self.split.len());
        let mut numbers = Vec::new();
        let mut next_new = 0;
        for row in &self.split {
            if row.template == next_new {
                codes.push(super::NEW_TEMPLATE);
                next_new += 1;
            } else if row.template < SHORT_NUMBERS {
                codes.push(row.template as u8 + 1);
            } else {
                codes.push(super::LONG_TEMPLATE);
                put_varint(&mut numbers, u64::from(row.template - SHORT_NUMBERS));
            }
        }
        (codes, numbers)
    }
}

/// A hash of where klog has the line of source, by which its messages are told
/// apart.
fn beginning(message: &[u8]) -> usize {
    let text = message.get(30..).and_then(|text| text.first_chunk()).copied();
    let hash = u128::from_le_bytes(text.unwrap_or_default());
    let folded = (hash >> 64) as u64 ^ (hash as u64).rotate_left(29);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % BEGINNINGS
}

/// One byte if all are that one.
fn constant_or_all(flags: &[u8]) -> &[u8] {
    match flags {
        [first, rest @ ..] if rest.iter().all(|flag| flag == first) => &flags[..1],
        _ => flags,
    }
}
