//! Prints the messages of rows: templates with their values in place.

use super::parts::{Parts, RowTemplates, Slots, Whole};
use super::stamp;
use super::template::{Slot, StringList};
use super::{FLOAT, HEXDUMP, INTEGER, ISO, KLOG, STRING, WHOLE, hexdump, put_float, put_integer};
use crate::Result;
use crate::codec::damaged;

/// Longest text of a value that is no string.
const MAX_PRINTED: usize = 80;

/// Prints rows, or skips them, from the first to the last.
pub(super) struct Printer<'a> {
    texts: &'a StringList,
    rows: &'a RowTemplates,
    slots: &'a Slots,
    dictionary: &'a StringList,
    strings: &'a [u32],
    numbers: &'a [i64],
    hexdump: &'a [[u8; 16]],
    whole: Whole<'a>,
    times: &'a [i64],
    /// Place of the next value of each column.
    next: Vec<usize>,
    next_hexdump: usize,
    next_whole: usize,
    row: usize,
    /// How many bytes all messages together may still have.
    budget: usize,
}

impl<'a> Printer<'a> {
    pub(super) fn new(parts: &'a Parts<'_>) -> Result<Self> {
        let slots = parts.slots()?;
        Ok(Self {
            texts: parts.template_texts()?,
            rows: parts.rows()?,
            slots,
            dictionary: parts.dictionary()?,
            strings: parts.strings()?,
            numbers: parts.numbers()?,
            hexdump: parts.hexdump()?,
            whole: parts.whole()?,
            times: parts.times()?,
            next: slots.layout.starts.clone(),
            next_hexdump: 0,
            next_whole: 0,
            row: 0,
            budget: parts.text_bytes,
        })
    }

    /// Goes on to a row that was not printed or skipped yet.
    pub(super) fn skip_to(&mut self, row: usize) -> Result<()> {
        if row < self.row || row >= self.times.len() {
            return Err(damaged("a row is asked for that is not there or not in order"));
        }
        while self.row < row {
            self.skip();
        }
        Ok(())
    }

    fn skip(&mut self) {
        let template = self.rows.templates[self.row];
        for slot in self.slots.templates.slots(template) {
            self.next[slot.column as usize] += 1;
            match slot.placeholder {
                HEXDUMP => self.next_hexdump += 1,
                WHOLE => self.next_whole += 1,
                _ => {}
            }
        }
        self.row += 1;
    }

    /// Appends the next row's message. Refuses what makes all messages together
    /// longer than the chunk declares.
    pub(super) fn print(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let end = start + self.budget;
        let template = self.rows.templates[self.row];
        let ts_ns = self.times[self.row];
        let text = self.texts.text();
        for slot in self.slots.templates.slots(template) {
            out.extend_from_slice(&text[slot.text_start as usize..slot.text_end as usize]);
            let place = &mut self.next[slot.column as usize];
            let at = *place;
            *place += 1;
            match slot.placeholder {
                STRING => {
                    let string = self.dictionary.get(self.strings[at] as usize);
                    if string.len() > end.saturating_sub(out.len()) {
                        return Err(too_long());
                    }
                    out.extend_from_slice(string);
                }
                HEXDUMP => {
                    let row = &self.hexdump[self.next_hexdump];
                    out.extend_from_slice(&hexdump::print(self.numbers[at], row));
                    self.next_hexdump += 1;
                }
                WHOLE => {
                    out.extend_from_slice(self.whole.get(self.next_whole));
                    self.next_whole += 1;
                }
                _ => put_value(out, slot, self.numbers[at], ts_ns)?,
            }
            if out.len() > end + MAX_PRINTED {
                return Err(too_long());
            }
        }
        let (tail_start, tail_end) = self.slots.templates.tail(template);
        out.extend_from_slice(&text[tail_start..tail_end]);
        self.row += 1;
        self.budget = self.budget.checked_sub(out.len() - start).ok_or_else(too_long)?;
        Ok(())
    }

    /// Checks that all messages together are as long as the chunk declares.
    pub(super) fn end(&self) -> Result<()> {
        if self.budget == 0 { Ok(()) } else { Err(damaged("its text is shorter than declared")) }
    }
}

/// Appends the value of a slot that is a number or a time.
#[inline]
pub(super) fn put_value(out: &mut Vec<u8>, slot: &Slot, value: i64, ts_ns: i64) -> Result<()> {
    match slot.placeholder {
        INTEGER => put_integer(out, value as u64),
        FLOAT => put_float(out, value),
        KLOG => stamp::put_klog(out, value, ts_ns),
        ISO => stamp::put_iso(out, value, slot.spelling, ts_ns)?,
        _ => stamp::put_clock(out, value, slot.spelling, ts_ns),
    }
    Ok(())
}

pub(super) fn too_long() -> crate::Error {
    damaged("its text is longer than declared")
}
