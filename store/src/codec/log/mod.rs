//! Codec 1: log lines, their templates split from their variables.
//!
//! Lines of a log are a few sentences over and over, with numbers, names and
//! times in them. A chunk holds each sentence once, as a template, and the
//! variables in columns of their own kind, which compress to little more than
//! their entropy: three to eight times less than zstd makes of the lines. A
//! search looks at templates and at a dictionary of strings, and builds text only
//! for the rows that they leave in doubt.
//!
//! `store/FORMAT.md` has the layout, byte by byte. The steps, in order of flow:
//! [`scan`] finds where variables can be, [`split`] takes them out (with
//! [`stamp`] for times and [`hexdump`]), quicker where [`follow`] can, [`encode`] lays them out as columns
//! ([`values`], [`times`], [`bits`], [`ids`]); [`parts`] opens columns again, no more of
//! them than needed, [`expand`] prints rows, [`search`] finds them ([`straddle`]
//! and [`glance`] across the edges of variables).

mod needle;
mod simd;

mod scan;
mod stamp;
mod hexdump;
mod intern;
mod split;
mod follow;

pub(super) mod bits;
mod values;
mod times;
mod ids;
mod template;
mod encode;

mod parts;
mod expand;
mod straddle;
mod dial;
mod glance;
mod search;
#[cfg(test)]
mod tests;

pub use needle::Needle;
pub use search::LogReader;

use super::Declared;
use crate::Result;

/// Placeholders of variables in templates. No UTF-8 text has such bytes.
const INTEGER: u8 = 0xf5;
const FLOAT: u8 = 0xf6;
const STRING: u8 = 0xf7;
const KLOG: u8 = 0xf8;
/// Followed by a byte that tells the spelling.
const ISO: u8 = 0xf9;
/// Followed by a byte that tells the spelling.
const CLOCK: u8 = 0xfa;
const HEXDUMP: u8 = 0xfb;
/// The message has special bytes of its own and is stored apart.
const WHOLE: u8 = 0xfc;
/// Ends templates and strings of the dictionary.
const END: u8 = 0xff;

/// Bytes from here on are special.
const SPECIAL: u8 = INTEGER;

/// Variables that one message may have; what comes after them is text.
const MAX_MESSAGE_SLOTS: usize = 1 << 10;

/// Values that one chunk may have: what a reader needs memory for, eight bytes
/// each. Messages beyond are text.
const MAX_VALUES: usize = 1 << 24;

/// Longer messages are stored whole. What makes them long is data and no
/// sentence, and splitting takes memory for each variable.
const MAX_SPLIT_BYTES: usize = 1 << 20;

/// Code of the next template that no row had before.
const NEW_TEMPLATE: u8 = 0;
/// Code of a template whose number follows in a column of its own.
const LONG_TEMPLATE: u8 = 255;

/// Bytes that a row counts for besides its message.
pub(crate) const ROW_BYTES: usize = 16;

/// Rows of a log: times, flags and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogColumns {
    ts_ns: Vec<i64>,
    flags: Vec<u8>,
    /// End of each message in `text`.
    ends: Vec<usize>,
    text: Vec<u8>,
}

impl LogColumns {
    /// Adds a row.
    pub fn push(&mut self, ts_ns: i64, flags: u8, message: &[u8]) {
        self.ts_ns.push(ts_ns);
        self.flags.push(flags);
        self.text.extend_from_slice(message);
        self.ends.push(self.text.len());
    }

    /// Adds the rows of `other` after its own.
    pub fn append(&mut self, other: Self) {
        if self.ts_ns.is_empty() {
            *self = other;
            return;
        }
        let base = self.text.len();
        self.ts_ns.extend(other.ts_ns);
        self.flags.extend(other.flags);
        self.ends.extend(other.ends.into_iter().map(|end| base + end));
        self.text.extend(other.text);
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts_ns.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts_ns.is_empty()
    }

    /// Time of a row in nanoseconds since 1970.
    ///
    /// # Panics
    ///
    /// If there is no such row; so do [`flags`](Self::flags) and
    /// [`message`](Self::message).
    #[must_use]
    pub fn ts_ns(&self, row: usize) -> i64 {
        self.ts_ns[row]
    }

    /// Flags of a row.
    #[must_use]
    pub fn flags(&self, row: usize) -> u8 {
        self.flags[row]
    }

    /// Message of a row.
    #[must_use]
    pub fn message(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..self.ends[row]]
    }

    /// Size that a chunk of these rows declares: the length of all messages, and
    /// 16 bytes a row for its time and the rest.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.text.len() + self.len() * ROW_BYTES
    }

    fn all_ts_ns(&self) -> &[i64] {
        &self.ts_ns
    }

    fn all_flags(&self) -> &[u8] {
        &self.flags
    }

    pub(super) fn encode(&self, level: i32) -> Result<Vec<u8>> {
        encode::encode(self, level)
    }

    pub(super) fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        LogReader::open(declared, data)?.expand_all()
    }
}

/// Calls a function with the message of each row; holds one of them at a time.
pub(super) fn for_each_message(
    declared: Declared,
    data: &[u8],
    mut each: impl FnMut(&[u8]),
) -> Result<()> {
    let parts = parts::Parts::open(declared, data)?;
    let mut printer = expand::Printer::new(&parts)?;
    let mut text = Vec::new();
    for _ in 0..parts.row_count {
        text.clear();
        printer.print(&mut text)?;
        each(&text);
    }
    printer.end()
}

/// Prints a decimal number.
fn put_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    while start == text.len() || value > 0 {
        start -= 1;
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[start..]);
}

/// Prints a float: a mantissa, and in the lowest four bits how many of its
/// digits are decimals.
fn put_float(out: &mut Vec<u8>, packed: i64) {
    let decimals = (packed & 15) as usize;
    let mantissa = packed as u64 >> 4;
    let power = stamp::POWERS.get(decimals).map_or(1, |power| *power as u64);
    put_integer(out, mantissa / power);
    out.push(b'.');
    stamp::put_digits(out, (mantissa % power) as i64, decimals);
}
