//! Columns as they are stored.
//!
//! A column is a byte string; a frame is its raw length, its stored length
//! (both varints), one byte that says how it is stored (0 as it is, 1 zstd), and
//! the stored bytes.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::columns::{Reader, put_varint};
use super::damaged;
use crate::{Error, Result};

/// The bytes of the frame are the column.
const METHOD_PLAIN: u8 = 0;
/// The bytes of the frame are one zstd frame that declares its content size.
const METHOD_ZSTD: u8 = 1;

/// Shorter columns are never compressed: a zstd frame has that much of a head.
const MIN_ZSTD: usize = 12;

/// Levels from here on are tried only on columns that compress at all: chance
/// takes them a second a megabyte.
const SLOW_LEVEL: i32 = 10;
/// What finds out whether a column does.
const QUICK_LEVEL: i32 = 1;

/// Logarithms of how many places slow levels remember by hash, and how many in
/// all; four bytes each. Left alone, they take eighty megabytes.
const HASH_LOG: u32 = 20;
const CHAIN_LOG: u32 = 21;

/// Compresses columns to frames, one after another.
pub(super) struct FrameWriter {
    level: i32,
    // None if zstd has no memory for one: frames then stay as they are.
    compressor: Option<Compressor<'static>>,
    quick: Option<Compressor<'static>>,
    packed: Vec<u8>,
    out: Vec<u8>,
}

impl FrameWriter {
    pub(super) fn new(level: i32) -> Self {
        Self { level, compressor: None, quick: None, packed: Vec::new(), out: Vec::new() }
    }

    /// Appends a frame that holds `raw`.
    pub(super) fn put(&mut self, raw: &[u8]) {
        put_varint(&mut self.out, raw.len() as u64);
        let packed = self.compress(raw).filter(|length| *length < raw.len());
        let (stored, method) = match packed {
            Some(length) => (&self.packed[..length], METHOD_ZSTD),
            None => (raw, METHOD_PLAIN),
        };
        put_varint(&mut self.out, stored.len() as u64);
        self.out.push(method);
        self.out.extend_from_slice(stored);
    }

    /// Compresses into `packed`; `None` if that is not worth it or not possible.
    fn compress(&mut self, raw: &[u8]) -> Option<usize> {
        if raw.len() < MIN_ZSTD {
            return None;
        }
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        if self.level >= SLOW_LEVEL {
            if self.quick.is_none() {
                self.quick = Compressor::new(QUICK_LEVEL).ok();
            }
            let length = self.quick.as_mut()?.compress_to_buffer(raw, &mut self.packed).ok()?;
            if length > raw.len() - raw.len() / 64 {
                return Some(length);
            }
            self.packed.clear();
        }
        if self.compressor.is_none() {
            self.compressor = compressor(self.level).ok();
        }
        self.compressor.as_mut()?.compress_to_buffer(raw, &mut self.packed).ok()
    }

    /// All frames.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// A compressor of a level, in bounded memory.
fn compressor(level: i32) -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    if level >= SLOW_LEVEL {
        compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
        compressor.set_parameter(CParameter::ChainLog(CHAIN_LOG))?;
    }
    Ok(compressor)
}

/// A frame whose head is read and whose bytes are not touched yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    raw_length: usize,
    method: u8,
    stored: &'a [u8],
    /// All of the frame, its head among them.
    bytes: &'a [u8],
}

impl Frame<'_> {
    /// Length that the frame will have once it is opened; opening checks it.
    pub(super) fn raw_length(&self) -> usize {
        self.raw_length
    }

    /// The raw bytes. Nothing is allocated unless zstd's own header declares the
    /// same length, and nothing is decoded beyond it.
    pub(super) fn open(&self) -> Result<Vec<u8>> {
        match self.method {
            METHOD_PLAIN if self.stored.len() == self.raw_length => Ok(self.stored.to_vec()),
            METHOD_ZSTD => {
                let declared = zstd::zstd_safe::get_frame_content_size(self.stored);
                let length = zstd::zstd_safe::find_frame_compressed_size(self.stored);
                if !matches!(declared, Ok(Some(length)) if length == self.raw_length as u64)
                    || length != Ok(self.stored.len())
                {
                    return Err(damaged("a column has another length than it declares"));
                }
                // Decoded in one step into its own buffer, zstd needs no window.
                let raw = decompress(self.stored, self.raw_length).map_err(|error| {
                    Error::Chunk(format!("a column does not decompress: {error}"))
                })?;
                if raw.len() == self.raw_length {
                    Ok(raw)
                } else {
                    Err(damaged("a column is shorter than it declares"))
                }
            }
            METHOD_PLAIN => Err(damaged("a column has another length than it declares")),
            _ => Err(damaged("a column is stored in an unknown way")),
        }
    }
}

/// How long the first frame of some bytes is, head and all, as far as it says.
pub(super) fn frame_length(bytes: &[u8]) -> Result<usize> {
    let mut reader = Reader::new(bytes);
    reader.varint()?;
    let stored = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    reader.take(1)?;
    Ok((bytes.len() - reader.rest().len()).saturating_add(stored))
}

/// Decompresses with what this thread has used before: making it new takes longer
/// than most columns do.
fn decompress(stored: &[u8], raw_length: usize) -> std::io::Result<Vec<u8>> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        if decompressor.is_none() {
            *decompressor = Some(Decompressor::new()?);
        }
        decompressor.as_mut().map_or_else(
            || Ok(Vec::new()),
            |decompressor| decompressor.decompress(stored, raw_length),
        )
    })
}

/// Reads the frames of a chunk one after another, never beyond a total.
pub(super) struct Frames<'a> {
    reader: Reader<'a>,
    budget: usize,
}

impl<'a> Frames<'a> {
    /// `budget` is the raw size that all frames together may have.
    pub(super) fn new(bytes: &'a [u8], budget: usize) -> Self {
        Self { reader: Reader::new(bytes), budget }
    }

    /// The next frame, still packed: to be opened later or never.
    pub(super) fn frame(&mut self) -> Result<Frame<'a>> {
        let start = self.reader.rest();
        let raw_length = self.reader.varint()?;
        let stored_length = self.reader.varint()?;
        let method = self.reader.take(1)?[0];
        let raw_length = usize::try_from(raw_length)
            .ok()
            .filter(|length| *length <= self.budget)
            .ok_or_else(|| damaged("a column is larger than its chunk declares"))?;
        self.budget -= raw_length;
        let stored = self.reader.take(usize::try_from(stored_length).unwrap_or(usize::MAX))?;
        let bytes = &start[..start.len() - self.reader.rest().len()];
        Ok(Frame { raw_length, method, stored, bytes })
    }

    /// Raw bytes of the next frame.
    pub(super) fn next(&mut self) -> Result<Vec<u8>> {
        self.frame()?.open()
    }

    /// Checks that no bytes are left.
    pub(super) fn end(&self) -> Result<()> {
        self.reader.end()
    }
}

/// The same frames, compressed at another level; no larger than they were.
pub(super) fn recompress(bytes: &[u8], level: i32) -> Result<Vec<u8>> {
    let mut frames = Frames::new(bytes, super::MAX_RAW_BYTES);
    let mut writer = FrameWriter::new(level);
    while !frames.reader.rest().is_empty() {
        let frame = frames.frame()?;
        let raw = frame.open()?;
        let start = writer.out.len();
        writer.put(&raw);
        if writer.out.len() - start > frame.bytes.len() {
            writer.out.truncate(start);
            writer.out.extend_from_slice(frame.bytes);
        }
    }
    Ok(writer.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back(columns: Vec<Vec<u8>>) {
            let mut writer = FrameWriter::new(3);
            columns.iter().for_each(|column| writer.put(column));
            let bytes = writer.finish();
            let mut frames = Frames::new(&bytes, columns.iter().map(Vec::len).sum());
            for column in &columns {
                prop_assert_eq!(&frames.next().expect("ours"), column);
            }
            prop_assert!(frames.end().is_ok());
            let again = recompress(&bytes, 15).expect("ours");
            prop_assert!(again.len() <= bytes.len());
            let mut frames = Frames::new(&again, columns.iter().map(Vec::len).sum());
            for column in &columns {
                prop_assert_eq!(&frames.next().expect("ours"), column);
            }
            prop_assert!(frames.end().is_ok());
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(bytes: Vec<u8>) {
            let _ = frame_length(&bytes);
            let _ = recompress(&bytes, 3);
            if let Ok(raw) = Frames::new(&bytes, 1000).next() {
                prop_assert!(raw.len() <= 1000);
            }
        }
    }

    #[test]
    fn a_frame_is_skipped_without_being_opened() {
        let mut writer = FrameWriter::new(9);
        writer.put(&vec![7; 100_000]);
        writer.put(b"next");
        let bytes = writer.finish();
        let mut frames = Frames::new(&bytes, 100_004);
        assert_eq!(frames.frame().expect("ours").raw_length(), 100_000);
        assert_eq!(frames.next().expect("ours"), b"next");
    }

    #[test]
    fn a_frame_holds_one_zstd_frame_of_its_length() {
        let one = zstd::bulk::compress(&[7; 1000], 3).expect("memory");
        let check = |raw_length, stored: &[u8]| {
            Frame { raw_length, method: METHOD_ZSTD, stored, bytes: stored }.open().is_ok()
        };
        assert!(check(1000, &one));
        assert!(!check(999, &one));
        assert!(!check(1001, &one));
        assert!(!check(2000, &[&one[..], &one[..]].concat()));
        assert!(!check(1000, &one[..one.len() - 1]));
    }

    #[test]
    fn a_frame_cannot_grow_beyond_its_budget() {
        let mut writer = FrameWriter::new(3);
        writer.put(&vec![0; 100_000]);
        let bytes = writer.finish();
        assert!(bytes.len() < 100);
        assert!(Frames::new(&bytes, 99_999).next().is_err());
        assert!(Frames::new(&bytes, 100_000).next().is_ok());
    }

    #[test]
    fn a_zstd_frame_gets_no_memory_that_it_asks_for() {
        let open = |raw_length: u64, stored: &[u8]| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, raw_length);
            put_varint(&mut bytes, stored.len() as u64);
            bytes.push(METHOD_ZSTD);
            bytes.extend(stored);
            Frames::new(&bytes, 1000).next()
        };
        // Five bytes as they are; then the same with a dictionary, number 7.
        let plain = *b"\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello";
        assert_eq!(open(5, &plain).expect("a frame"), b"hello");
        assert!(open(5, b"\x28\xb5\x2f\xfd\x21\x07\x05\x29\0\0hello").is_err());
        // 256 times the same byte with a window of 2 GiB, which one step does
        // without, and one of 4 TB, which is none that zstd knows.
        let same = |window| [b"\x28\xb5\x2f\xfd\x40", &[window][..], b"\0\0\x03\x08\0a"].concat();
        assert_eq!(open(256, &same(0xa8)).expect("a frame"), [b'a'; 256]);
        assert!(open(256, &same(0xff)).is_err());
        // More bytes than the frame declares to have.
        assert!(open(4, b"\x28\xb5\x2f\xfd\x20\x04\x29\0\0hello").is_err());
    }
}
