//! The pieces that all codecs are made of: numbers, texts and frames.
//!
//! A column is a byte string; a frame is its raw length, its stored length
//! (both varints), one byte that says how it is stored (0 as it is, 1 zstd), and
//! the stored bytes.

use std::cell::RefCell;
use std::collections::HashMap;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::damaged;
use super::log::bits::{NumberReader, NumberWriter};
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

/// Appends `value`, seven bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Folds the sign into the lowest bit, so that small negatives stay short.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads what the `put_*` functions wrote, checking every step.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        match *self.bytes {
            [byte @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(byte))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number has more than ten bytes"))
    }

    /// A number that may be `most` at most.
    pub(super) fn count(&mut self, most: usize) -> Result<usize> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| damaged("a count is larger than its chunk allows"))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| damaged("a column ends before its last row"))?;
        self.bytes = rest;
        Ok(head)
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(damaged("bytes are left over")) }
    }
}

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
    Ok((bytes.len() - reader.bytes.len()).saturating_add(stored))
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
        let start = self.reader.bytes;
        let raw_length = self.reader.varint()?;
        let stored_length = self.reader.varint()?;
        let method = self.reader.take(1)?[0];
        let raw_length = usize::try_from(raw_length)
            .ok()
            .filter(|length| *length <= self.budget)
            .ok_or_else(|| damaged("a column is larger than its chunk declares"))?;
        self.budget -= raw_length;
        let stored = self.reader.take(usize::try_from(stored_length).unwrap_or(usize::MAX))?;
        let bytes = &start[..start.len() - self.reader.bytes.len()];
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
    while !frames.reader.bytes.is_empty() {
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

/// Column of numbers that mostly grow by about the same step: differences.
pub(super) fn encode_steps(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 4);
    let mut last = 0;
    for &value in values {
        put_varint(&mut out, zigzag(value.wrapping_sub(last)));
        last = value;
    }
    out
}

pub(super) fn decode_steps(bytes: &[u8], row_count: usize) -> Result<Vec<i64>> {
    let mut reader = Reader::new(bytes);
    let mut last = 0_i64;
    let values = (0..row_count)
        .map(|_| {
            last = last.wrapping_add(unzigzag(reader.varint()?));
            Ok(last)
        })
        .collect::<Result<_>>()?;
    reader.end()?;
    Ok(values)
}

/// Appends a number column, which is two frames: codes and bits.
pub(super) fn put_numbers(frames: &mut Vec<Vec<u8>>, values: impl Iterator<Item = u64>) {
    let mut writer = NumberWriter::default();
    values.for_each(|value| writer.put(value));
    let (codes, bits) = writer.finish();
    frames.extend([codes, bits]);
}

/// Reads a number column of so many numbers.
pub(super) fn take_numbers(frames: &mut Frames<'_>, count: usize) -> Result<Vec<u64>> {
    let (codes, bits) = (frames.next()?, frames.next()?);
    if codes.len() != count {
        return Err(damaged("a column has another number of rows"));
    }
    let mut reader = NumberReader::new(&codes, &bits);
    let values = (0..count).map(|_| reader.next()).collect::<Result<_>>()?;
    reader.end()?;
    Ok(values)
}

/// An optional number as one: 0 for none, else the number and one.
pub(super) fn from_option(value: Option<u64>) -> u64 {
    value.map_or(0, |value| value.saturating_add(1))
}

/// Column of texts with few different values: a dictionary, then a code a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    words: Vec<String>,
    codes: Vec<u32>,
    /// Codes by word, once there are more than a few; only while it is built.
    by_word: HashMap<String, u32>,
}

/// Words that are found faster one by one than by a table.
const FEW_WORDS: usize = 8;

impl PartialEq for Texts {
    fn eq(&self, other: &Self) -> bool {
        let rows = self.codes.len();
        rows == other.codes.len() && (0..rows).all(|row| self.get(row) == other.get(row))
    }
}

impl Eq for Texts {}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        // The last few words are nearly always the ones that come again.
        let recent = self.words.len().saturating_sub(FEW_WORDS);
        let code = self.words[recent..]
            .iter()
            .rposition(|word| word == text)
            .map(|at| (recent + at) as u32)
            .or_else(|| self.by_word.get(text).copied())
            .unwrap_or_else(|| {
                let code = self.words.len() as u32;
                self.words.push(text.to_owned());
                self.by_word.insert(text.to_owned(), code);
                code
            });
        self.codes.push(code);
    }

    /// A column of known words, each row of which has one of them.
    pub(super) fn of(words: &[String], codes: Vec<u32>) -> Result<Self> {
        if codes.iter().any(|code| *code as usize >= words.len()) {
            return Err(damaged("a row names a word that its dictionary lacks"));
        }
        Ok(Self { words: words.to_vec(), codes, by_word: HashMap::new() })
    }

    /// Adds rows of another column.
    pub(super) fn extend(&mut self, other: &Self, rows: std::ops::Range<usize>) {
        for row in rows {
            self.push(other.get(row));
        }
    }

    /// Whether two rows have the same text.
    pub(super) fn is_same(&self, row: usize, other: usize) -> bool {
        self.codes[row] == self.codes[other] || self.get(row) == self.get(other)
    }

    pub(crate) fn get(&self, row: usize) -> &str {
        &self.words[self.codes[row] as usize]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.words.len() as u64);
        for word in &self.words {
            put_varint(&mut out, word.len() as u64);
            out.extend_from_slice(word.as_bytes());
        }
        for code in &self.codes {
            put_varint(&mut out, u64::from(*code));
        }
        out
    }

    pub(super) fn decode(bytes: &[u8], row_count: usize) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let word_count = reader.varint()?;
        if word_count > bytes.len() as u64 {
            return Err(damaged("a dictionary has more words than bytes"));
        }
        let words = (0..word_count)
            .map(|_| {
                let length = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
                let word = std::str::from_utf8(reader.take(length)?)
                    .map_err(|_| damaged("a word of a dictionary is no text"))?;
                Ok(word.to_owned())
            })
            .collect::<Result<Vec<_>>>()?;
        let codes = (0..row_count)
            .map(|_| {
                let code = reader.varint()?;
                if code < words.len() as u64 {
                    Ok(code as u32)
                } else {
                    Err(damaged("a row names a word that its dictionary lacks"))
                }
            })
            .collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { words, codes, by_word: HashMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn steps_come_back(values: Vec<i64>) {
            prop_assert_eq!(decode_steps(&encode_steps(&values), values.len()).expect("ours"), values);
        }

        #[test]
        fn numbers_come_back(values: Vec<u64>) {
            let mut columns = Vec::new();
            put_numbers(&mut columns, values.iter().copied());
            let mut writer = FrameWriter::new(3);
            columns.iter().for_each(|column| writer.put(column));
            let bytes = writer.finish();
            let mut frames = Frames::new(&bytes, usize::MAX);
            prop_assert_eq!(take_numbers(&mut frames, values.len()).expect("ours"), values);
            prop_assert!(frames.end().is_ok());
        }

        #[test]
        fn texts_come_back(values: Vec<String>) {
            let mut texts = Texts::default();
            values.iter().for_each(|text| texts.push(text));
            let decoded = Texts::decode(&texts.encode(), values.len()).expect("ours");
            prop_assert_eq!(&decoded, &texts);
            for (row, text) in values.iter().enumerate() {
                prop_assert_eq!(decoded.get(row), text);
            }
            let mut words: Vec<&String> = texts.words.iter().collect();
            words.sort();
            words.dedup();
            prop_assert_eq!(words.len(), texts.words.len(), "each word once");
        }

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
        fn any_bytes_are_refused_or_bounded(bytes: Vec<u8>, rows in 0..100_usize) {
            let _ = decode_steps(&bytes, rows);
            let _ = take_numbers(&mut Frames::new(&bytes, 1000), rows);
            let _ = frame_length(&bytes);
            let _ = Texts::decode(&bytes, rows);
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
