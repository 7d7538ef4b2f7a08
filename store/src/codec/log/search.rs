//! Reads log chunks: all rows, some rows, single columns, rows with a text in
//! their message.

use super::expand::Printer;
use super::glance;
use super::needle::Needle;
use super::parts::{Parts, Slots};
use super::straddle::{Straddle, Verdict};
use super::template::{Slot, StringList};
use super::{CLOCK, HEXDUMP, ISO, LogColumns, STRING, WHOLE};
use crate::Result;
use crate::codec::{Declared, LOG};

/// Reader of a log chunk that opens no more columns than it is asked for.
///
/// All its methods fail if a column that they open is damaged.
#[derive(Debug)]
pub struct LogReader<'a> {
    parts: Parts<'a>,
}

impl<'a> LogReader<'a> {
    /// Finds the columns of a chunk.
    ///
    /// # Errors
    ///
    /// If the bytes are no chunk of this codec, or not of the declared size.
    pub fn open(declared: Declared, data: &'a [u8]) -> Result<Self> {
        declared.expect(LOG)?;
        Ok(Self { parts: Parts::open(declared, data)? })
    }

    /// Times of all rows, in nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// If a column is damaged.
    pub fn ts(&self) -> Result<&[i64]> {
        self.parts.times().map(Vec::as_slice)
    }

    /// Flags of all rows.
    ///
    /// # Errors
    ///
    /// If a column is damaged.
    pub fn flags(&self) -> Result<&[u8]> {
        self.parts.flags().map(Vec::as_slice)
    }

    /// The rows with these numbers, which must ascend.
    ///
    /// # Errors
    ///
    /// If they do not, if there is no such row, or if a column is damaged.
    pub fn expand(&self, rows: &[u32]) -> Result<LogColumns> {
        let mut columns = LogColumns::default();
        let (times, flags) = (self.ts()?, self.flags()?);
        let mut printer = Printer::new(&self.parts)?;
        for &row in rows {
            printer.skip_to(row as usize)?;
            printer.print(&mut columns.text)?;
            columns.ends.push(columns.text.len());
            columns.ts_ns.push(times[row as usize]);
            columns.flags.push(flags[row as usize]);
        }
        Ok(columns)
    }

    /// All rows.
    pub(super) fn expand_all(&self) -> Result<LogColumns> {
        let mut printer = Printer::new(&self.parts)?;
        let mut text = Vec::with_capacity(self.parts.text_bytes);
        let mut ends = Vec::with_capacity(self.parts.row_count);
        for _ in 0..self.parts.row_count {
            printer.print(&mut text)?;
            ends.push(text.len());
        }
        printer.end()?;
        Ok(LogColumns { ts_ns: self.ts()?.to_vec(), flags: self.flags()?.to_vec(), ends, text })
    }

    /// Numbers of exactly the rows whose message contains the needle.
    ///
    /// Text is built only for rows whose template leaves it open; a needle that
    /// no template and no string can be part of costs two columns.
    ///
    /// # Errors
    ///
    /// If a column is damaged.
    pub fn rows_matching(&self, needle: &Needle) -> Result<Vec<u32>> {
        if needle.bytes().is_empty() {
            return Ok((0..self.parts.row_count as u32).collect());
        }
        let holds_needle = strings_with(needle, self.parts.dictionary()?);
        let straddle = Straddle::new(needle, self.parts.dictionary()?, !holds_needle.is_empty());
        let mut verdicts = self.verdicts(needle, &straddle)?;
        self.settle(needle, &mut verdicts)?;
        if verdicts.iter().all(|verdict| *verdict == Verdict::Never) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        if verdicts.iter().any(|verdict| !matches!(verdict, Verdict::Never | Verdict::Text)) {
            self.sort_rows(needle, &verdicts, &holds_needle, &mut found)?;
        }
        if verdicts.contains(&Verdict::Text) {
            let sorted = found.is_empty();
            glance::find(&self.parts, needle, &straddle, &verdicts, &holds_needle, &mut found)?;
            if !sorted {
                found.sort_unstable();
            }
        }
        Ok(found)
    }

    /// Verdict on each template.
    fn verdicts(&self, needle: &Needle, straddle: &Straddle<'_>) -> Result<Vec<Verdict>> {
        let templates = self.parts.template_texts()?;
        if needle.is_special() {
            let whole = |number| {
                if templates.get(number) == [WHOLE] { Verdict::Whole } else { Verdict::Never }
            };
            return Ok((0..templates.len()).map(whole).collect());
        }
        let mut verdicts = vec![Verdict::Never; templates.len()];
        let mut from = 0;
        while let Some(place) = needle.find(templates.text(), from) {
            let number = templates.number_at(place);
            let (start, end) = templates.range(number);
            if place > start && matches!(templates.text()[place - 1], ISO | CLOCK) {
                // The spelling of a stamp is no text.
                from = place + 1;
            } else {
                verdicts[number] = Verdict::Always;
                from = end + 1;
            }
        }
        for (number, verdict) in verdicts.iter_mut().enumerate() {
            if *verdict == Verdict::Never {
                let (start, end) = templates.range(number);
                *verdict = straddle.verdict(templates.text(), start, end)?;
            }
        }
        Ok(verdicts)
    }

    /// Gives up templates whose values cannot hold the needle, which one look at all
    /// their values together tells: to know the rows takes longer.
    fn settle(&self, needle: &Needle, verdicts: &mut [Verdict]) -> Result<()> {
        let has = |verdict| verdicts.contains(&verdict);
        let (has_hexdumps, has_whole) = (has(Verdict::Hexdump), has(Verdict::Whole));
        let mut give_up = |hopeless| {
            verdicts.iter_mut().filter(|verdict| **verdict == hopeless).for_each(|verdict| {
                *verdict = Verdict::Never;
            });
        };
        if has_hexdumps && !needle.is_in(self.parts.unchecked_hexdump()?) {
            give_up(Verdict::Hexdump);
        }
        if has_whole && !needle.is_in(self.parts.unchecked_whole()?) {
            give_up(Verdict::Whole);
        }
        Ok(())
    }

    /// Puts rows that match into `found`, but for those that must be printed to know.
    fn sort_rows(
        &self,
        needle: &Needle,
        verdicts: &[Verdict],
        holds_needle: &[bool],
        found: &mut Vec<u32>,
    ) -> Result<()> {
        let rows = self.parts.rows()?;
        let has = |wanted| verdicts.contains(&wanted);
        let mut values = Values::default();
        if has(Verdict::Strings) {
            values.strings = self.parts.strings()?;
            values.holds_needle = holds_needle;
        }
        if has(Verdict::Hexdump) {
            values.hexdumps = hexdumps_with(needle, self.parts.hexdump()?);
        }
        if has(Verdict::Whole) {
            let whole = self.parts.whole()?;
            let count = self.parts.slots()?.layout.whole;
            values.whole = (0..count).map(|number| needle.is_in(whole.get(number))).collect();
        }
        let walks = if has(Verdict::Strings) || has(Verdict::Hexdump) || has(Verdict::Whole) {
            values.walks(self.parts.slots()?, verdicts)
        } else {
            verdicts.iter().map(|verdict| Walk::of(*verdict)).collect()
        };
        // Most rows are of templates that need no look, which one byte each tells.
        let is_looked_at: Vec<bool> =
            walks.iter().map(|walk| !matches!(walk, Walk::Never)).collect();
        for (row, template) in rows.templates.iter().enumerate() {
            if !is_looked_at[*template as usize] {
                continue;
            }
            let holds = match &walks[*template as usize] {
                Walk::Never => false,
                Walk::Always => true,
                Walk::Values { verdict, slots } => {
                    values.pass(slots, *verdict) || *verdict == Verdict::Always
                }
            };
            if holds {
                found.push(row as u32);
            }
        }
        Ok(())
    }
}

/// What a row of a template takes.
enum Walk {
    Never,
    Always,
    /// A look at some of its values, or at least to go past them.
    Values {
        verdict: Verdict,
        slots: Vec<Slot>,
    },
}

impl Walk {
    fn of(verdict: Verdict) -> Self {
        if verdict == Verdict::Always { Self::Always } else { Self::Never }
    }
}

/// Values of rows, read along, as far as they decide about rows.
#[derive(Default)]
struct Values<'a> {
    /// Place of the next value of each column.
    next: Vec<usize>,
    strings: &'a [u32],
    holds_needle: &'a [bool],
    /// Whether each row of a hexdump holds the needle.
    hexdumps: Vec<bool>,
    next_hexdump: usize,
    /// Whether each message that is stored whole does.
    whole: Vec<bool>,
    next_whole: usize,
}

impl Values<'_> {
    /// What rows of each template take. Columns that cannot decide for a row are
    /// left out: most have no string that holds the needle.
    fn walks(&mut self, slots: &Slots, verdicts: &[Verdict]) -> Vec<Walk> {
        let Slots { templates, layout } = slots;
        self.next.clone_from(&layout.starts);
        let mut asked = vec![false; templates.columns().len()];
        for (number, verdict) in verdicts.iter().enumerate() {
            if *verdict == Verdict::Strings {
                let slots = templates.slots(number as u32);
                slots.iter().for_each(|slot| asked[slot.column as usize] = true);
            }
        }
        // Writers number strings as columns have them first, so that most columns
        // are decided by the range of their own strings, and few values looked up.
        let mut decides = vec![false; asked.len()];
        let mut known = 0;
        let has_strings = asked.contains(&true);
        for (column, placeholder) in templates.columns().iter().enumerate() {
            if *placeholder != STRING || !has_strings {
                continue;
            }
            let start = layout.starts[column];
            let values = &self.strings[start..start + layout.lengths[column]];
            let end = values.iter().max().map_or(known, |last| known.max(*last as usize + 1));
            if asked[column] {
                let own = self.holds_needle.get(known..end).unwrap_or(self.holds_needle);
                decides[column] = own.contains(&true)
                    || values.iter().any(|value| (*value as usize) < known && self.holds(*value));
            }
            known = end;
        }
        let is_read = |slot: &Slot| match slot.placeholder {
            STRING => decides[slot.column as usize],
            HEXDUMP => !self.hexdumps.is_empty(),
            WHOLE => !self.whole.is_empty(),
            _ => false,
        };
        let walk = |(number, verdict): (usize, &Verdict)| {
            let slots: Vec<Slot> = templates
                .slots(number as u32)
                .iter()
                .filter(|slot| is_read(slot))
                .copied()
                .collect();
            if slots.is_empty() {
                Walk::of(*verdict)
            } else {
                Walk::Values { verdict: *verdict, slots }
            }
        };
        verdicts.iter().enumerate().map(walk).collect()
    }

    fn holds(&self, string: u32) -> bool {
        self.holds_needle.get(string as usize).copied().unwrap_or_default()
    }

    /// Goes past the values of a row. Tells whether one decides for it.
    fn pass(&mut self, slots: &[Slot], verdict: Verdict) -> bool {
        let mut decided = false;
        for slot in slots {
            let place = &mut self.next[slot.column as usize];
            let at = *place;
            *place += 1;
            match slot.placeholder {
                STRING => decided |= verdict == Verdict::Strings && self.holds(self.strings[at]),
                HEXDUMP => {
                    decided |= verdict == Verdict::Hexdump && self.hexdumps[self.next_hexdump];
                    self.next_hexdump += 1;
                }
                _ => {
                    decided |= verdict == Verdict::Whole && self.whole[self.next_whole];
                    self.next_whole += 1;
                }
            }
        }
        decided
    }
}

/// Whether each string holds the needle; empty if none does.
fn strings_with(needle: &Needle, dictionary: &StringList) -> Vec<bool> {
    let mut holds = Vec::new();
    if needle.is_special() {
        return holds;
    }
    let mut from = 0;
    while let Some(place) = needle.find(dictionary.text(), from) {
        let number = dictionary.number_at(place);
        let (_, end) = dictionary.range(number);
        holds.resize(dictionary.len(), false);
        holds[number] = true;
        from = end + 1;
    }
    holds
}

/// Whether the bytes of each row of a hexdump hold the needle.
fn hexdumps_with(needle: &Needle, rows: &[[u8; 16]]) -> Vec<bool> {
    let bytes = rows.as_flattened();
    let mut holds = vec![false; rows.len()];
    let mut from = 0;
    while let Some(place) = needle.find(bytes, from) {
        if place % 16 + needle.bytes().len() <= 16 {
            holds[place / 16] = true;
            from = (place / 16 + 1) * 16;
        } else {
            from = place + 1;
        }
    }
    holds
}
