//! How the rows of a chunk are laid out and compressed.
//!
//! Every chunk says in its row which codec it has. A codec is for good: files
//! outlive programs. `1` log columns, `2` probe columns, `3` host-sample
//! columns; each is a header and columns that are compressed apart, so that a
//! reader touches only those a query needs.
//!
//! Bytes of a chunk are hostile: every length is checked before it is used, and
//! nothing is decoded beyond the size that the chunk's row declares.

mod columns;
pub(crate) mod filter;
mod frames;
mod log;
mod probe;
mod sample;
mod stretch;
mod texts;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(test)]
mod format;

pub use log::{LogColumns, LogReader, Needle};
pub(crate) use probe::ProbeColumns;
pub(crate) use sample::SampleColumns;
pub(crate) use stretch::{Head, Instant, Section, Stretch, decode_head};

use crate::{Error, Result};

/// Codec of log chunks.
pub const LOG: i64 = 1;
/// Codec of probe chunks.
pub const PROBE: i64 = 2;
/// Codec of host-sample chunks.
pub const SAMPLE: i64 = 3;

/// Raw size that no chunk may exceed; a single long line may make one this big.
pub const MAX_RAW_BYTES: usize = 256 << 20;

/// zstd level of chunks that are written while logs come in.
pub const LIVE_LEVEL: i32 = 3;

/// zstd level of chunks that are made of smaller ones when there is time.
pub const COMPACT_LEVEL: i32 = 15;

/// A chunk's bytes as they go into the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// How the bytes are laid out.
    pub codec: i64,
    /// Size before compression; for logs the length of all messages and 16 bytes
    /// a row, for others that of all columns.
    pub raw_bytes: usize,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What the row of a chunk says of its bytes; decoding checks both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// How the bytes are laid out.
    pub codec: i64,
    /// How many rows they hold.
    pub row_count: usize,
    /// Size before compression, as [`Encoded`] counts it.
    pub raw_bytes: usize,
}

impl Declared {
    /// Whether a log chunk can be as large as this says; what others declare is
    /// checked when they are opened.
    pub(crate) fn is_possible_for_logs(&self) -> bool {
        self.raw_bytes <= MAX_RAW_BYTES && self.row_count <= self.raw_bytes / log::ROW_BYTES
    }

    fn expect(&self, codec: i64) -> Result<()> {
        if self.codec != codec {
            return Err(Error::UnknownCodec(self.codec));
        }
        if self.raw_bytes > MAX_RAW_BYTES || self.row_count > self.raw_bytes {
            return Err(damaged("its declared size is impossible"));
        }
        Ok(())
    }
}

/// Makes a chunk of rows, compressed at a level of zstd.
///
/// # Errors
///
/// If the rows are more than [`MAX_RAW_BYTES`] together, which no reader takes.
pub fn encode_logs(columns: &LogColumns, level: i32) -> Result<Encoded> {
    let raw_bytes = columns.raw_bytes();
    if raw_bytes > MAX_RAW_BYTES {
        return Err(Error::Chunk(format!("its rows have {raw_bytes} bytes, too many for one")));
    }
    Ok(Encoded { codec: LOG, raw_bytes, data: columns.encode(level)? })
}

/// The same chunk, its columns compressed at another level of zstd. Takes memory
/// for one column at a time, however large the chunk is.
///
/// # Errors
///
/// If a column is damaged; what the columns say is not looked at.
pub(crate) fn recompress(declared: Declared, data: &[u8], level: i32) -> Result<Encoded> {
    let Declared { codec, raw_bytes, .. } = declared;
    Ok(Encoded { codec, raw_bytes, data: frames::recompress(data, level)? })
}

/// Calls a function with the message of each row of a chunk.
///
/// # Errors
///
/// As [`decode_logs`].
pub(crate) fn for_each_message(
    declared: Declared,
    data: &[u8],
    each: impl FnMut(&[u8]),
) -> Result<()> {
    declared.expect(LOG)?;
    log::for_each_message(declared, data, each)
}

/// Makes a chunk of probe samples, which lie one section after another.
pub(crate) fn encode_probes(columns: &ProbeColumns, sections: &[Section], level: i32) -> Encoded {
    let (raw_bytes, data) = columns.encode(sections, level);
    Encoded { codec: PROBE, raw_bytes, data }
}

pub(crate) fn encode_samples(columns: &SampleColumns, level: i32) -> Encoded {
    let (raw_bytes, data) = columns.encode(level);
    Encoded { codec: SAMPLE, raw_bytes, data }
}

/// All rows of a chunk.
///
/// # Errors
///
/// If the bytes are damaged or say something else than their row in the database.
pub fn decode_logs(declared: Declared, data: &[u8]) -> Result<LogColumns> {
    LogColumns::decode(declared, data)
}

pub(crate) fn decode_probes(declared: Declared, data: &[u8]) -> Result<ProbeColumns> {
    declared.expect(PROBE)?;
    ProbeColumns::decode(declared, data)
}

pub(crate) fn decode_samples(declared: Declared, data: &[u8]) -> Result<SampleColumns> {
    declared.expect(SAMPLE)?;
    SampleColumns::decode(declared, data)
}

/// How many of the first bytes of a probe chunk its head is, by what they say.
pub(crate) fn head_length(data: &[u8]) -> Result<usize> {
    frames::frame_length(data)
}

fn damaged(what: &str) -> Error {
    Error::Chunk(what.to_owned())
}
