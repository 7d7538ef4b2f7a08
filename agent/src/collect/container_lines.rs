//! What the lines of one container mean, over all files of one restart.

use periscope_store::batch::LineFlags;

use super::cri::{Format, Joiner, Whole};
use super::lines::{Line, MAX_LINE_BYTES};
use super::reading::{Carry, Decoder, Row};

/// Understands the lines of one restart of a container.
#[derive(Debug)]
pub(crate) struct ContainerLines {
    /// What the first line that made sense was.
    format: Option<Format>,
    joiner: Joiner,
    /// Time for lines that have none.
    last_ns: Option<i64>,
    modified_ns: i64,
}

impl ContainerLines {
    /// For a container of which nothing was read yet.
    pub(crate) fn new() -> Self {
        let joiner = Joiner::new(MAX_LINE_BYTES);
        Self { format: None, joiner, last_ns: None, modified_ns: 0 }
    }
}

impl Decoder for ContainerLines {
    fn begin(&mut self, modified_ns: i64) {
        self.format = None;
        self.modified_ns = modified_ns;
    }

    fn line(&mut self, line: &Line<'_>, give: &mut dyn FnMut(Row<'_>)) {
        let entry = match self.format {
            Some(format) => format.parse(line.bytes),
            None => Format::detect(line.bytes).map(|(format, entry)| {
                self.format = Some(format);
                entry
            }),
        };
        match entry {
            Some(entry) => {
                self.last_ns = Some(entry.ts_ns);
                self.joiner.push(&entry, line.is_cut()).map(row).map(give);
            }
            None => give(Row {
                ts_ns: self.last_ns.unwrap_or(self.modified_ns),
                flags: LineFlags {
                    inferred_time: true,
                    partial: line.is_cut(),
                    ..LineFlags::default()
                },
                message: line.bytes,
                truncated_bytes: 0,
            }),
        }
    }

    fn open(&self) -> [bool; 2] {
        self.joiner.open()
    }

    fn replay(&mut self, line: &Line<'_>, outputs: [bool; 2]) {
        if let Some((_, entry)) = Format::detect(line.bytes)
            && outputs[usize::from(entry.stderr)]
        {
            self.joiner.push(&entry, line.is_cut());
        }
    }

    fn give_up(&mut self, output: usize, give: &mut dyn FnMut(Row<'_>)) {
        self.joiner.give_up(output).map(row).map(give);
    }

    fn carry(&self) -> Carry {
        Carry { last_ns: self.last_ns, headless: self.joiner.headless() }
    }

    fn restore(&mut self, carry: Carry) {
        self.last_ns = carry.last_ns;
        self.joiner.set_headless(carry.headless);
    }

    fn end(&mut self, give: &mut dyn FnMut(Row<'_>)) {
        self.joiner.flush().map(row).for_each(give);
    }
}

fn row(whole: Whole<'_>) -> Row<'_> {
    Row {
        ts_ns: whole.ts_ns,
        flags: LineFlags { stderr: whole.stderr, partial: whole.partial, ..LineFlags::default() },
        message: whole.message,
        truncated_bytes: whole.truncated_bytes,
    }
}
