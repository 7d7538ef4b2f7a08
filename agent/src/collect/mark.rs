//! How far a log file was read, and how the file is known again.
//!
//! A log file has no name of its own: rotation renames it, compression gives its
//! content to another file, copy-truncate gives it away and begins anew, and a
//! deleted file's inode comes back as another file's. So a [`Mark`] knows a file
//! by its inode *and* by hashes of its first bytes and of those just before the
//! place that was reached. A hash cannot be read back: nothing of a log is in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::HostFile;

/// Bytes at the beginning of a file that it is known by.
const HEAD_BYTES: usize = 1024;

/// Bytes before the place reached that it is known by, at most.
pub(crate) const TAIL_BYTES: usize = 128;

/// Some bytes of a file, as little of them as tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Print {
    length: usize,
    hash: u64,
}

impl Print {
    fn of(bytes: &[u8]) -> Self {
        let hash =
            Sha256::digest(bytes).iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte));
        Self { length: bytes.len(), hash }
    }

    fn is_start_of(self, bytes: &[u8]) -> bool {
        // Nothing is how everything begins.
        self.length == 0 || bytes.get(..self.length).is_some_and(|start| Self::of(start) == self)
    }
}

/// A file as a look at it shows it.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Device and inode.
    pub(crate) identity: (u64, u64),
    /// Bytes as they lie on the disk.
    pub(crate) size: u64,
    /// Last change, nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Whether it is unpacked while it is read.
    pub(crate) is_packed: bool,
    /// Its first bytes, unpacked; `None` until they are asked for.
    head: Option<Vec<u8>>,
}

impl Sight {
    /// Looks at an open file.
    pub(crate) fn new(file: &HostFile, is_packed: bool) -> Self {
        Self {
            identity: file.identity,
            size: file.size,
            modified_ns: file.modified_ns,
            is_packed,
            head: None,
        }
    }

    /// First bytes of the file. What cannot be unpacked has none.
    fn head(&mut self, file: &File) -> io::Result<&[u8]> {
        let head = match self.head.take() {
            Some(head) => head,
            None if self.is_packed => packed_head(file),
            None => {
                let length = self.size.min(HEAD_BYTES as u64) as usize;
                read_at(file, 0, length)?
            }
        };
        Ok(self.head.insert(head))
    }
}

/// How far one file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    device: u64,
    inode: u64,
    /// Size and last change when it was last looked at.
    pub(crate) size: u64,
    modified_ns: i64,
    is_packed: bool,
    head: Print,
    tail: Print,
    /// Bytes that were read, unpacked: where the next line begins.
    pub(crate) offset: u64,
    /// Whether it was read to its end when it was rotated already.
    pub(crate) is_settled: bool,
    /// Bytes of the line before `offset`, if it was given without its end.
    pub(crate) torn_bytes: Option<u64>,
    /// Where lines of standard output and standard error begin that had not
    /// ended at `offset`, nor in the files after this one.
    pub(crate) open: [Option<u64>; 2],
    /// Poll since which the line at `offset` has waited for its end.
    #[serde(skip)]
    pub(crate) waits_since: Option<u64>,
    /// Poll that last saw the file.
    #[serde(skip)]
    pub(crate) seen: u64,
}

impl Mark {
    /// Takes over where the file is now and what it looks like.
    ///
    /// # Errors
    ///
    /// If its first bytes cannot be read.
    pub(crate) fn look(&mut self, sight: &mut Sight, file: &File) -> io::Result<()> {
        if self.is_unchanged(sight) {
            return Ok(());
        }
        if self.head.length < HEAD_BYTES {
            self.head = Print::of(sight.head(file)?);
        }
        if self.size != sight.size || self.is_packed != sight.is_packed {
            self.waits_since = None;
        }
        (self.device, self.inode) = sight.identity;
        (self.size, self.modified_ns) = (sight.size, sight.modified_ns);
        self.is_packed = sight.is_packed;
        Ok(())
    }

    /// Whether the store would keep the same of both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Self { waits_since: other.waits_since, seen: other.seen, ..self.clone() } == *other
    }

    /// Whether nothing about the file is new, so that it need not be read.
    pub(crate) fn is_unchanged(&self, sight: &Sight) -> bool {
        self.has_identity(sight) && self.size == sight.size && self.modified_ns == sight.modified_ns
    }

    fn has_identity(&self, sight: &Sight) -> bool {
        (self.device, self.inode) == sight.identity && self.is_packed == sight.is_packed
    }

    /// Whether this is the file that the mark was made for, under whatever name:
    /// the same inode, and still the same content up to the place reached.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn is_of(&self, sight: &mut Sight, file: &File) -> io::Result<bool> {
        if !self.has_identity(sight) {
            return Ok(false);
        }
        Ok(self.is_unchanged(sight) || self.has_content(sight, file)?)
    }

    /// Whether a file has what the mark's file had, as its compressed form has,
    /// or its copy.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn has_content(&self, sight: &mut Sight, file: &File) -> io::Result<bool> {
        if !self.head.is_start_of(sight.head(file)?) {
            return Ok(false);
        }
        if sight.is_packed {
            return Ok(true);
        }
        let length = self.tail.length as u64;
        Ok(sight.size >= self.offset
            && self.offset >= length
            && self.tail.is_start_of(&read_at(file, self.offset - length, self.tail.length)?))
    }

    /// Whether a file is a copy of the mark's, made before all of it was read: it
    /// begins alike and ends earlier.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn is_beyond(&self, sight: &mut Sight, file: &File) -> io::Result<bool> {
        let size = sight.size;
        let head = sight.head(file)?;
        Ok(size < self.offset
            && head.len() == self.head.length
            && self.head.length > TAIL_BYTES
            && self.head.is_start_of(head))
    }

    /// Whether anything but its inode tells the file from others.
    pub(crate) fn is_distinct(&self) -> bool {
        self.head.length > 0
    }

    /// Whether a file, opened a while ago, still begins as it did then: who
    /// truncates a file and writes it anew does not wait for those who read it.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn still_has_head(&self, file: &File) -> io::Result<bool> {
        Ok(self.head.is_start_of(&read_at(file, 0, self.head.length)?))
    }

    /// Sets the place that was reached, and the bytes that were read before it.
    /// Those of a packed file are not remembered: its content does not change.
    pub(crate) fn reach(&mut self, offset: u64, before: &[u8]) {
        if offset != self.offset {
            self.tail = Print::of(before);
            self.offset = offset;
            self.waits_since = None;
        }
    }

    /// Bytes that were there when it was last looked at and were not read; 0 if
    /// nobody can know.
    pub(crate) fn unread_bytes(&self) -> u64 {
        if self.is_packed { 0 } else { self.size.saturating_sub(self.offset) }
    }
}

/// Whether two files have the same first bytes, and the same before `size`.
///
/// # Errors
///
/// If one cannot be read.
pub(crate) fn has_same_ends(a: &File, b: &File, size: u64) -> io::Result<bool> {
    let head = size.min(HEAD_BYTES as u64) as usize;
    let tail = size.min(TAIL_BYTES as u64);
    Ok(read_at(a, 0, head)? == read_at(b, 0, head)?
        && read_at(a, size - tail, tail as usize)? == read_at(b, size - tail, tail as usize)?)
}

/// Length that a packed file says it unpacks to, modulo 2³²; `None` if it does
/// not say.
pub(crate) fn unpacked_hint(file: &File, size: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    // RFC 1952: a member has 18 bytes at least, and ends with its length.
    file.read_exact_at(&mut bytes, size.checked_sub(4).filter(|at| *at >= 14)?).ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// Bytes of a file, fewer where it ends.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A file read by place, whatever else reads it.
pub(crate) struct At<'a>(pub(crate) &'a File, pub(crate) u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read_at(buffer, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

/// First unpacked bytes of a file, as many as can be had.
fn packed_head(file: &File) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut decoder = MultiGzDecoder::new(At(file, 0)).take(HEAD_BYTES as u64);
    // Whoever reads the lines meets the error again, and says so.
    let _ = decoder.read_to_end(&mut head);
    head
}
