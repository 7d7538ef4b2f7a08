//! Looks at rows that may match across the edges of values.
//!
//! Of such a row no more is printed than the values that a match can touch
//! ([`Straddle::spans`]), with as much of the text around them as it can reach; and
//! of a row that cannot match, nothing: only the columns of these values are walked.

use super::dial::Dial;
use super::expand::{put_value, too_long};
use super::needle::Needle;
use super::parts::{Parts, RowTemplates, Slots};
use super::straddle::{Straddle, Verdict};
use super::template::{Slot, StringList};
use super::{END, HEXDUMP, STRING, hexdump};
use crate::Result;

/// What to do with a row of some template, one thing after another.
#[derive(Clone, Copy)]
enum Step {
    /// Goes past a value.
    Pass(Slot),
    /// Goes past a string that the row matches by if it holds the needle.
    Ask(Slot),
    /// Prints a text, from and up to a place.
    Text(u32, u32),
    /// Prints a value.
    Value(Slot),
    /// Goes past a stamp that the row matches by if this dial shows the needle.
    Stamp(Slot, usize),
    /// What follows lies somewhere else in the message.
    Gap,
}

/// Finds the rows of templates with the verdict [`Verdict::Text`] that match, and
/// appends their numbers to `found`.
pub(super) fn find(
    parts: &Parts<'_>,
    needle: &Needle,
    straddle: &Straddle<'_>,
    verdicts: &[Verdict],
    holds_needle: &[bool],
    found: &mut Vec<u32>,
) -> Result<()> {
    let (rows, slots) = (parts.rows()?, parts.slots()?);
    let mut dials = Vec::new();
    let plans = plans(parts, needle, straddle, verdicts, !holds_needle.is_empty(), &mut dials)?;
    let mut glance = Glance::new(parts, slots, &plans, &dials)?;
    let RowTemplates { templates, .. } = rows;
    for (row, template) in templates.iter().enumerate() {
        let plan = &plans[*template as usize];
        if !plan.is_empty() && glance.look(row, plan, needle, holds_needle)? {
            found.push(row as u32);
        }
    }
    Ok(())
}

/// What to do with rows of each template.
fn plans(
    parts: &Parts<'_>,
    needle: &Needle,
    straddle: &Straddle<'_>,
    verdicts: &[Verdict],
    string_holds_needle: bool,
    dials: &mut Vec<Dial>,
) -> Result<Vec<Vec<Step>>> {
    let texts = parts.template_texts()?;
    let templates = &parts.slots()?.templates;
    let mut plans = vec![Vec::new(); verdicts.len()];
    let mut is_walked = vec![false; templates.columns().len()];
    for (number, verdict) in verdicts.iter().enumerate() {
        if *verdict != Verdict::Text {
            continue;
        }
        let slots = templates.slots(number as u32);
        let (start, end) = texts.range(number);
        let spans = straddle.spans(texts.text(), start, end, slots.len())?;
        plans[number] =
            plan(slots, (texts.text(), end), needle, &spans, string_holds_needle, dials);
        for step in &plans[number] {
            if let Step::Value(slot) | Step::Ask(slot) | Step::Stamp(slot, _) = step {
                is_walked[slot.column as usize] = true;
            }
        }
    }
    // Rows of other templates may have values in the same columns.
    for (number, plan) in plans.iter_mut().enumerate() {
        let slots = templates.slots(number as u32);
        let walked = slots.iter().filter(|slot| is_walked[slot.column as usize]);
        if verdicts[number] == Verdict::Text {
            plan.retain(|step| match step {
                Step::Pass(slot) => is_walked[slot.column as usize],
                _ => true,
            });
        } else {
            plan.extend(walked.map(|slot| Step::Pass(*slot)));
        }
    }
    Ok(plans)
}

/// What to do with a row that may match in these spans of its slots.
fn plan(
    slots: &[Slot],
    (text, text_end): (&[u8], usize),
    needle: &Needle,
    spans: &[(usize, usize)],
    string_holds_needle: bool,
    dials: &mut Vec<Dial>,
) -> Vec<Step> {
    let reach = needle.bytes().len() as u32 - 1;
    let end_after = |at: usize| slots.get(at + 1).map_or(text_end as u32, |next| next.text_end);
    let mut plan = Vec::new();
    for (at, slot) in slots.iter().enumerate() {
        let Some((first, last)) = spans.iter().find(|(first, last)| (first..=last).contains(&&at))
        else {
            let is_asked = slot.placeholder == STRING && string_holds_needle;
            plan.push(if is_asked { Step::Ask(*slot) } else { Step::Pass(*slot) });
            continue;
        };
        let start = slot.text_start.max(slot.text_end.saturating_sub(reach));
        let after = (slot.after(), end_after(at).min(slot.after() + reach));
        if first == last {
            let texts = [(start, slot.text_end), after];
            let [before, after] = texts.map(|(start, end)| &text[start as usize..end as usize]);
            if let Some(dial) = Dial::new(needle, slot, before, after) {
                plan.push(Step::Stamp(*slot, dials.len()));
                dials.push(dial);
                continue;
            }
        }
        if at == *first {
            plan.push(Step::Gap);
            plan.push(Step::Text(start, slot.text_end));
        } else {
            plan.push(Step::Text(slot.text_start, slot.text_end));
        }
        plan.push(Step::Value(*slot));
        if at == *last {
            plan.push(Step::Text(after.0, after.1));
        }
    }
    plan
}

/// Values of rows, read along.
struct Glance<'a> {
    texts: &'a [u8],
    dictionary: &'a StringList,
    strings: &'a [u32],
    numbers: &'a [i64],
    hexdump: &'a [[u8; 16]],
    times: &'a [i64],
    dials: &'a [Dial],
    /// Place of the next value of each column.
    next: Vec<usize>,
    next_hexdump: usize,
    text: Vec<u8>,
    /// How many bytes may still be printed.
    budget: usize,
}

impl<'a> Glance<'a> {
    fn new(
        parts: &'a Parts<'_>,
        slots: &Slots,
        plans: &[Vec<Step>],
        dials: &'a [Dial],
    ) -> Result<Self> {
        let asks = |is_asked: fn(u8) -> bool| {
            plans.iter().flatten().any(|step| match step {
                Step::Value(slot) | Step::Ask(slot) | Step::Stamp(slot, _) => {
                    is_asked(slot.placeholder)
                }
                _ => false,
            })
        };
        let has_strings = asks(|placeholder| placeholder == STRING);
        Ok(Self {
            texts: parts.template_texts()?.text(),
            dictionary: parts.dictionary()?,
            strings: if has_strings { parts.strings()? } else { &[] },
            numbers: if asks(|placeholder| placeholder != STRING) { parts.numbers()? } else { &[] },
            hexdump: if asks(|placeholder| placeholder == HEXDUMP) {
                parts.hexdump()?
            } else {
                &[]
            },
            times: parts.times()?,
            dials,
            next: slots.layout.starts.clone(),
            next_hexdump: 0,
            text: Vec::new(),
            // Text between two spans is printed twice, and gaps are no text.
            budget: 3 * parts.text_bytes + parts.row_count,
        })
    }

    /// Goes past a row. Tells whether it matches.
    fn look(
        &mut self,
        row: usize,
        plan: &[Step],
        needle: &Needle,
        holds_needle: &[bool],
    ) -> Result<bool> {
        self.text.clear();
        let mut matches = false;
        for step in plan {
            match step {
                Step::Pass(slot) => {
                    self.next[slot.column as usize] += 1;
                    self.next_hexdump += usize::from(slot.placeholder == HEXDUMP);
                }
                Step::Ask(slot) => {
                    let string = self.strings[self.pass(slot)];
                    matches |= holds_needle.get(string as usize).copied().unwrap_or_default();
                }
                Step::Stamp(slot, dial) => {
                    let at = self.pass(slot);
                    matches |= self.dials[*dial].shows(self.numbers[at], self.times[row]);
                }
                Step::Text(start, end) => {
                    self.text.extend_from_slice(&self.texts[*start as usize..*end as usize]);
                }
                Step::Gap => self.text.push(END),
                Step::Value(slot) => {
                    let at = self.pass(slot);
                    if slot.placeholder == STRING {
                        let string = self.dictionary.get(self.strings[at] as usize);
                        if string.len() > self.budget {
                            return Err(too_long());
                        }
                        self.text.extend_from_slice(string);
                    } else if slot.placeholder == HEXDUMP {
                        let bytes = &self.hexdump[self.next_hexdump];
                        self.text.extend_from_slice(&hexdump::print(self.numbers[at], bytes));
                        self.next_hexdump += 1;
                    } else {
                        put_value(&mut self.text, slot, self.numbers[at], self.times[row])?;
                    }
                }
            }
        }
        self.budget = self.budget.checked_sub(self.text.len()).ok_or_else(too_long)?;
        Ok(matches || !self.text.is_empty() && needle.is_in(&self.text))
    }

    /// Place of the next value of a slot's column.
    fn pass(&mut self, slot: &Slot) -> usize {
        let next = &mut self.next[slot.column as usize];
        *next += 1;
        *next - 1
    }
}
