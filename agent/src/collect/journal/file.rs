//! One journal file, read as systemd lays it out.
//!
//! The format is systemd's `JOURNAL_FILE_FORMAT.md`: a header, then objects.
//! Entry arrays, chained and each about twice as long as the one before, hold
//! the places of entries in their order; an entry holds the places of its
//! fields. That is all that reading in order needs, so hash tables, field lists
//! and seals are not looked at. Nothing is mapped: a file that is cut or whose
//! disk fails is an error here, and no signal. A few blocks are kept in memory,
//! whatever the size of the file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes of a header up to the last field that is read.
const HEADER_BYTES: usize = 208;

const INCOMPATIBLE_COMPACT: u32 = 1 << 4;

/// Compressed with xz or lz4, keyed hashes, compressed with zstd, compact.
const INCOMPATIBLE_KNOWN: u32 = 0b1_1111;

/// Bytes of an entry before its fields' places.
const ENTRY_HEAD_BYTES: usize = 64;

const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;

const COMPRESSED_XZ: u8 = 1;
const COMPRESSED_LZ4: u8 = 2;
const COMPRESSED_ZSTD: u8 = 4;

/// Most fields of an entry; journald itself refuses more.
const MAX_FIELDS: u64 = 1024;

/// Most entry arrays of a file. They double in length, so a real one has some
/// twenty.
const MAX_ARRAYS: usize = 4096;

/// Largest lz4 field that is unpacked; that format cannot be unpacked in part.
const MAX_LZ4_BYTES: u64 = 16 << 20;

const BLOCK_BYTES: usize = 64 << 10;
const BLOCKS: usize = 64;

/// What the head of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Names the file through every renaming.
    pub(crate) file_id: [u8; 16],
    /// Entries that were complete when the header was read.
    pub(crate) entry_count: u64,
    /// Wall clock of the first entry, microseconds since 1970; 0 if there is none.
    pub(crate) first_realtime_us: u64,
    /// Names the sequence that its entries are numbered in, over many files.
    pub(crate) seqnum_id: [u8; 16],
    /// Number of its first entry in that sequence.
    pub(crate) first_seqnum: u64,
    /// Number of its last entry.
    pub(crate) last_seqnum: u64,
    entry_array_offset: u64,
    is_compact: bool,
}

impl Header {
    /// Reads the head of a file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if it is no journal,
    /// [`io::ErrorKind::Unsupported`] if it is one of a version to come.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad("shorter than the header of a journal"),
            _ => error,
        })?;
        if &bytes[..8] != b"LPKSHHRH" {
            return Err(bad("does not begin as a journal does"));
        }
        let incompatible = u32_at(&bytes, 12);
        if incompatible & !INCOMPATIBLE_KNOWN != 0 {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("a journal of a newer kind (flags {incompatible:#x})"),
            ));
        }
        let mut file_id = [0; 16];
        file_id.copy_from_slice(&bytes[24..40]);
        let mut seqnum_id = [0; 16];
        seqnum_id.copy_from_slice(&bytes[72..88]);
        Ok(Self {
            file_id,
            entry_count: u64_at(&bytes, 152),
            first_realtime_us: u64_at(&bytes, 184),
            seqnum_id,
            first_seqnum: u64_at(&bytes, 168),
            last_seqnum: u64_at(&bytes, 160),
            entry_array_offset: u64_at(&bytes, 176),
            is_compact: incompatible & INCOMPATIBLE_COMPACT != 0,
        })
    }
}

/// Places of consecutive entries.
#[derive(Debug)]
struct EntryArray {
    /// Number of its first entry in the file.
    first: u64,
    /// Where its items begin.
    items_offset: u64,
    item_count: u64,
}

/// An open journal file. Entries that are written after it was opened are not
/// seen.
#[derive(Debug)]
pub(crate) struct JournalFile {
    /// What its head said when it was opened.
    pub(crate) header: Header,
    blocks: Blocks,
    arrays: Vec<EntryArray>,
    /// Entries that the arrays lead to; fewer than the header counts if the
    /// chain is broken.
    pub(crate) reachable_count: u64,
    object: Vec<u8>,
}

impl JournalFile {
    /// Opens a journal file.
    ///
    /// # Errors
    ///
    /// As for [`Header::read`]. A broken chain of entry arrays is no error: what
    /// comes before the break can be read.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let mut header = Header::read(&file)?;
        let size = file.metadata()?.len();
        header.entry_count = header.entry_count.min(size / ENTRY_HEAD_BYTES as u64);
        let mut journal = Self {
            blocks: Blocks::new(file),
            arrays: Vec::new(),
            reachable_count: 0,
            object: Vec::new(),
            header,
        };
        journal.find_arrays(size);
        Ok(journal)
    }

    /// Follows the chain of entry arrays. Nothing of it is taken to be longer
    /// than the file is: a damaged one must not send the reader on for ever.
    fn find_arrays(&mut self, file_bytes: u64) {
        let item_bytes = self.array_item_bytes();
        let mut offset = self.header.entry_array_offset;
        while self.reachable_count < self.header.entry_count && self.arrays.len() < MAX_ARRAYS {
            let mut head = [0; 24];
            let Ok(size) = self.blocks.object_head(offset, OBJECT_ENTRY_ARRAY, &mut head) else {
                return;
            };
            let item_count = (size.min(file_bytes.saturating_sub(offset)) / item_bytes)
                .saturating_sub(24 / item_bytes);
            self.arrays.push(EntryArray {
                first: self.reachable_count,
                items_offset: offset + 24,
                item_count,
            });
            let left = self.header.entry_count - self.reachable_count;
            self.reachable_count += item_count.min(left);
            let next = u64_at(&head, 16);
            // Arrays are only ever appended; a step back would be a circle.
            if next <= offset {
                return;
            }
            offset = next;
        }
    }

    fn array_item_bytes(&self) -> u64 {
        if self.header.is_compact { 4 } else { 8 }
    }

    fn entry_offset(&mut self, index: u64) -> io::Result<u64> {
        let at = self.arrays.partition_point(|array| array.first <= index);
        let array = at.checked_sub(1).and_then(|at| self.arrays.get(at));
        let Some(array) = array.filter(|array| index - array.first < array.item_count) else {
            return Err(bad("the list of entries is broken"));
        };
        let item_bytes = self.array_item_bytes();
        let at = array.items_offset + (index - array.first) * item_bytes;
        self.blocks.item(at, item_bytes)
    }

    /// Number of the first entry that is not older than a time. Entries of a
    /// file are in the order of their times unless the clock was set back.
    pub(crate) fn first_since(&mut self, realtime_us: u64) -> u64 {
        let (mut low, mut high) = (0, self.reachable_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut head = [0; ENTRY_HEAD_BYTES];
            // What cannot be read counts as young enough: it is then met, and
            // reported, in its place.
            let is_older = self
                .entry_offset(middle)
                .and_then(|offset| self.blocks.object_head(offset, OBJECT_ENTRY, &mut head))
                .is_ok_and(|_| u64_at(&head, 24) < realtime_us);
            if is_older {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Reads an entry: its wall clock in microseconds, and the places of its
    /// fields into `fields`.
    ///
    /// # Errors
    ///
    /// If it is damaged or cannot be read.
    pub(crate) fn entry(&mut self, index: u64, fields: &mut Vec<u64>) -> io::Result<u64> {
        fields.clear();
        let offset = self.entry_offset(index)?;
        let mut head = [0; ENTRY_HEAD_BYTES];
        let size = self.blocks.object_head(offset, OBJECT_ENTRY, &mut head)?;
        let item_bytes = if self.header.is_compact { 4 } else { 16 };
        let items_bytes = size - ENTRY_HEAD_BYTES as u64;
        if items_bytes / item_bytes > MAX_FIELDS {
            return Err(bad("an entry has more fields than there can be"));
        }
        self.object.resize(items_bytes as usize, 0);
        self.blocks.read(offset + ENTRY_HEAD_BYTES as u64, &mut self.object)?;
        let items = self.object.chunks_exact(item_bytes as usize);
        if self.header.is_compact {
            fields.extend(items.map(|item| u64::from(u32_at(item, 0))));
        } else {
            fields.extend(items.map(|item| u64_at(item, 0)));
        }
        Ok(u64_at(&head, 24))
    }

    /// Reads at most `limit` bytes of a field, `NAME=value`, into `into`.
    /// Answers whether there is more.
    ///
    /// # Errors
    ///
    /// If it is damaged or cannot be read.
    pub(crate) fn field(
        &mut self,
        offset: u64,
        limit: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<bool> {
        into.clear();
        let mut head = [0; 64];
        let size = self.blocks.object_head(offset, OBJECT_DATA, &mut head)?;
        let payload_offset = if self.header.is_compact { 72 } else { 64 };
        let Some(stored) = size.checked_sub(payload_offset) else {
            return Err(bad("a field is shorter than its head"));
        };
        let compression = head[1] & (COMPRESSED_XZ | COMPRESSED_LZ4 | COMPRESSED_ZSTD);
        if compression == 0 {
            into.resize(usize::try_from(stored).unwrap_or(limit).min(limit), 0);
            self.blocks.read(offset + payload_offset, into)?;
            return Ok(stored > limit as u64);
        }
        if compression == COMPRESSED_XZ {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "compressed with xz"));
        }
        let packed =
            PackedField { blocks: &mut self.blocks, offset: offset + payload_offset, left: stored };
        unpack(packed, compression == COMPRESSED_LZ4, limit as u64, into)?;
        let is_cut = into.len() > limit;
        into.truncate(limit);
        Ok(is_cut)
    }
}

/// Unpacks one byte more than `limit` at most, so that a longer field is told.
fn unpack(mut packed: impl Read, is_lz4: bool, limit: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if !is_lz4 {
        zstd::stream::read::Decoder::new(packed)?.take(limit + 1).read_to_end(into)?;
        return Ok(());
    }
    let mut size = [0; 8];
    packed.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_LZ4_BYTES {
        return Err(bad("a field packed with lz4 is longer than is unpacked"));
    }
    let mut bytes = Vec::new();
    packed.take(MAX_LZ4_BYTES).read_to_end(&mut bytes)?;
    *into = lz4_flex::block::decompress(&bytes, size as usize)
        .map_err(|_| bad("a field packed with lz4 makes no sense"))?;
    Ok(())
}

/// Bytes of a packed field, in their order.
struct PackedField<'a> {
    blocks: &'a mut Blocks,
    offset: u64,
    left: u64,
}

impl Read for PackedField<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.blocks.read(self.offset, &mut into[..count])?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A file read in blocks, of which the latest are kept. Entries repeat fields
/// that lie far apart, so a single read-ahead buffer would not do.
#[derive(Debug)]
struct Blocks {
    file: File,
    /// Number and bytes of the block kept in each slot; the last one of a file
    /// is shorter.
    slots: Vec<Option<(u64, Vec<u8>)>>,
}

impl Blocks {
    fn new(file: File) -> Self {
        Self { file, slots: vec![None; BLOCKS] }
    }

    /// Fills `into` from `offset` on.
    fn read(&mut self, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let within = (offset % BLOCK_BYTES as u64) as usize;
            let block = self.block(offset / BLOCK_BYTES as u64)?;
            let found = block.get(within..).unwrap_or_default();
            if found.is_empty() {
                return Err(bad("points beyond its end"));
            }
            let count = found.len().min(into.len());
            into[..count].copy_from_slice(&found[..count]);
            into = &mut into[count..];
            offset = offset.saturating_add(count as u64);
        }
        Ok(())
    }

    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        let slot = &mut self.slots[(number % BLOCKS as u64) as usize];
        if slot.as_ref().is_none_or(|(kept, _)| *kept != number) {
            let mut bytes = slot.take().map(|(_, bytes)| bytes).unwrap_or_default();
            bytes.resize(BLOCK_BYTES, 0);
            let mut length = 0;
            while length < BLOCK_BYTES {
                let at = number.saturating_mul(BLOCK_BYTES as u64).saturating_add(length as u64);
                match self.file.read_at(&mut bytes[length..], at) {
                    Ok(0) => break,
                    Ok(count) => length += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(length);
            *slot = Some((number, bytes));
        }
        Ok(slot.as_ref().map(|(_, bytes)| &bytes[..]).unwrap_or_default())
    }

    /// Reads the head of an object, which must be of a kind and at least as long
    /// as `head`. Answers its size.
    fn object_head(&mut self, offset: u64, kind: u8, head: &mut [u8]) -> io::Result<u64> {
        if offset < HEADER_BYTES as u64 || !offset.is_multiple_of(8) {
            return Err(bad("points to where no object can be"));
        }
        self.read(offset, head)?;
        let size = u64_at(head, 8);
        if head[0] != kind || size < head.len() as u64 || offset.checked_add(size).is_none() {
            return Err(bad("points to an object of another kind"));
        }
        Ok(size)
    }

    fn item(&mut self, offset: u64, item_bytes: u64) -> io::Result<u64> {
        let mut item = [0; 8];
        self.read(offset, &mut item[..item_bytes as usize])?;
        Ok(u64::from_le_bytes(item))
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(packed: &[u8], is_lz4: bool, limit: u64, expected: Option<&[u8]>) {
        let mut bytes = Vec::new();
        let result = unpack(packed, is_lz4, limit, &mut bytes);
        assert_eq!(result.is_ok().then_some(&bytes[..]), expected);
    }

    #[test]
    fn packed_fields_are_unpacked() {
        let text = b"MESSAGE=hello";
        let zstd = zstd::stream::encode_all(&text[..], 3).expect("packed");
        check(&zstd, false, 100, Some(text));
        check(&zstd, false, 7, Some(b"MESSAGE="));
        check(&zstd[1..], false, 100, None);
        // One run of literals: its length in the token's upper half, then they.
        let lz4 = [&13_u64.to_le_bytes()[..], &[13 << 4], text].concat();
        check(&lz4, true, 100, Some(text));
        check(&lz4[..12], true, 100, None);
        check(&[&u64::MAX.to_le_bytes()[..], text].concat(), true, 100, None);
        check(b"", true, 100, None);
    }

    #[test]
    fn blocks_are_read_across_their_borders() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..BLOCK_BYTES * 2 + 100).map(|n| (n % 251) as u8).collect();
        io::Write::write_all(&mut file, &bytes).expect("written");
        let mut blocks = Blocks::new(file);
        for (offset, length) in
            [(0, 10), (BLOCK_BYTES - 3, 7), (5, BLOCK_BYTES * 2), (131_072, 100)]
        {
            let mut read = vec![0; length];
            blocks.read(offset as u64, &mut read).expect("read");
            assert_eq!(read, bytes[offset..offset + length]);
        }
        assert!(blocks.read(131_072, &mut [0; 101]).is_err());
        assert!(blocks.read(u64::MAX - 1, &mut [0; 4]).is_err());
    }
}
