//! Lines around those that match, of the same stream as with grep in its file.
//!
//! A line waits until it is known whether one soon after it matches. So lines are
//! held, and what is held is bounded: in lines of each stream, and in bytes of all.

use std::collections::{HashMap, VecDeque};

use anyhow::Result;
use rusqlite::Connection;

use super::merge::Line;
use super::print::Printer;
use super::select::Question;
use crate::output;

/// Bytes of lines that wait, of all streams.
const MOST_BYTES: usize = 64 << 20;

/// How many lines are shown around each match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) before: usize,
    pub(super) after: usize,
}

impl Around {
    pub(super) fn is_none(self) -> bool {
        self.before == 0 && self.after == 0
    }
}

/// What is known of one stream.
#[derive(Default)]
struct Recent {
    waiting: VecDeque<(u64, Line)>,
    /// Lines that are still to be shown after a match.
    owed: usize,
    /// Number of the line in its stream.
    count: u64,
    shown_until: u64,
}

/// Prints every match with its surroundings, a line `--` before what does not join
/// what was printed of that stream.
pub(super) fn print(
    question: &Question<'_>,
    around: Around,
    connection: &Connection,
    printer: &mut Printer<'_>,
) -> Result<()> {
    let mut streams: HashMap<i64, Recent> = HashMap::new();
    let (mut held, mut cut, mut last) = (0, false, None);
    question.each_with_verdict(connection, |line, matches| {
        let recent = streams.entry(line.stream_id).or_default();
        recent.count += 1;
        let number = recent.count;
        if matches {
            let first = recent.waiting.front().map_or(number, |(first, _)| *first);
            let joins = recent.shown_until + 1 == first && last == Some(line.stream_id);
            if last.is_some() && !joins {
                printer.separator()?;
            }
            for (_, waiting) in recent.waiting.drain(..) {
                held -= waiting.message.len();
                printer.context(&waiting)?;
            }
            printer.line(line)?;
            recent.owed = around.after;
        } else if recent.owed > 0 {
            if last != Some(line.stream_id) {
                printer.separator()?;
            }
            recent.owed -= 1;
            printer.context(line)?;
        } else {
            held += line.message.len();
            recent.waiting.push_back((number, line.clone()));
            while recent.waiting.len() > around.before
                || (held > MOST_BYTES && !recent.waiting.is_empty())
            {
                cut |= recent.waiting.len() <= around.before;
                let oldest = recent.waiting.pop_front();
                held -= oldest.map_or(0, |(_, line)| line.message.len());
            }
            return Ok(());
        }
        recent.shown_until = number;
        last = Some(line.stream_id);
        Ok(())
    })?;
    if cut {
        output::warning(
            "some lines before matches are not shown: they are too long\nhint: use a smaller -B",
        );
    }
    Ok(())
}
