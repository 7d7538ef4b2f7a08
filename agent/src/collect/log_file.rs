//! One log file: opened once, unpacked if need be, never read beyond a limit.
//!
//! Owns the limits. A plain file is read up to the size that it had when it was
//! opened, so one that grows as fast as it is read comes to an end.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::lines::{Lines, MAX_LINE_BYTES};
use crate::host::Host;

/// A log file by its path on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Where it lies; a name that ends with `.gz` is unpacked.
    pub(crate) path: String,
    /// Whether it is known by a symbolic link, which may lead to no file at all.
    pub(crate) is_link: bool,
}

/// How much is read at most.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "units stand in names")]
pub(crate) struct Limits {
    /// Bytes of a line.
    pub(crate) line_bytes: usize,
    /// Bytes of a plain file, of which the last ones are kept.
    pub(crate) file_bytes: u64,
    /// Unpacked bytes of a compressed file, of which the first ones are kept.
    pub(crate) unpacked_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes: MAX_LINE_BYTES, file_bytes: 4 << 30, unpacked_bytes: 1 << 30 }
    }
}

/// The file that is being read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Where it lies, which may be its compressed name by now.
    pub(crate) path: String,
    /// Its lines.
    pub(crate) lines: Lines<Content>,
    /// Last change, nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Bytes at its beginning that are left out.
    pub(crate) skipped_bytes: u64,
    /// Bytes of long lines that were left out so far; counted by the reader.
    pub(crate) truncated_bytes: u64,
}

impl OpenFile {
    /// Opens a file; `None` if it is in `seen`, or is a link to no file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it is gone, else what the system says.
    pub(crate) fn open(
        host: &Host,
        file: &LogFile,
        limits: Limits,
        seen: &mut HashSet<(u64, u64)>,
    ) -> io::Result<Option<Self>> {
        let mut path = file.path.clone();
        let opened = match host.open_file(&path) {
            // What was listed may have been compressed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_packed(&path) => {
                path.push_str(".gz");
                host.open_file(&path).map_err(|_| error)
            }
            opened => opened,
        };
        let opened = match opened {
            Err(error) if file.is_link && error.kind() == io::ErrorKind::InvalidInput => {
                return Ok(None);
            }
            opened => opened?,
        };
        if !seen.insert(opened.identity) {
            return Ok(None);
        }
        let mut content = opened.file;
        let packed = is_packed(&path);
        let mut skipped_bytes = 0;
        if !packed && opened.size > limits.file_bytes {
            skipped_bytes = opened.size - limits.file_bytes;
            content.seek(SeekFrom::Start(skipped_bytes))?;
        }
        let bounded = content.take(opened.size - skipped_bytes);
        let content = if packed {
            let decoder = Box::new(MultiGzDecoder::new(bounded));
            Content::Gzip { decoder, room: limits.unpacked_bytes, cut: false }
        } else {
            Content::Plain(bounded)
        };
        let mut lines = Lines::new(content, limits.line_bytes);
        if skipped_bytes > 0 {
            // The line that the limit falls into has lost its head.
            if let Some(line) = lines.next()? {
                let length = line.bytes.len() as u64 + line.truncated_bytes;
                skipped_bytes += length + u64::from(line.terminated);
            }
        }
        Ok(Some(Self {
            path,
            lines,
            modified_ns: opened.modified_ns,
            skipped_bytes,
            truncated_bytes: 0,
        }))
    }

    /// Whether it is unpacked while it is read.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.lines.reader(), Content::Gzip { .. })
    }

    /// Whether it unpacked to more than the limit, so far as it was read.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.lines.reader(), Content::Gzip { cut: true, .. })
    }
}

/// Whether a file is unpacked while it is read.
fn is_packed(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "gz")
}

/// Bytes of a log file, as many as there were when it was opened.
#[derive(Debug)]
pub(crate) enum Content {
    /// As they are.
    Plain(Take<File>),
    /// Unpacked.
    Gzip {
        /// What unpacks them.
        decoder: Box<MultiGzDecoder<Take<File>>>,
        /// How many more may come.
        room: u64,
        /// Whether there were more than that.
        cut: bool,
    },
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip { decoder, room: 0, cut } => {
                *cut = *cut || decoder.read(&mut [0])? > 0;
                Ok(0)
            }
            Self::Gzip { decoder, room, .. } => {
                let length = buffer.len().min(usize::try_from(*room).unwrap_or(usize::MAX));
                let length = decoder.read(&mut buffer[..length])?;
                *room -= length as u64;
                Ok(length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn host(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let host = Host::open(folder.path()).expect("a root");
        (folder, host)
    }

    fn open(
        host: &Host,
        path: &str,
        is_link: bool,
        limits: Limits,
    ) -> io::Result<Option<OpenFile>> {
        let file = LogFile { path: path.to_owned(), is_link };
        OpenFile::open(host, &file, limits, &mut HashSet::new())
    }

    /// Lines up to the end or an error.
    fn lines(open: &mut OpenFile) -> (Vec<String>, Option<io::ErrorKind>) {
        let mut all = Vec::new();
        loop {
            match open.lines.next() {
                Ok(Some(line)) => all.push(String::from_utf8_lossy(line.bytes).into_owned()),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error.kind())),
            }
        }
    }

    const LIMITS: Limits = Limits { line_bytes: 100, file_bytes: 12, unpacked_bytes: 12 };

    #[test]
    fn a_file_is_read_up_to_its_size_when_opened() {
        let (folder, host) = host(&[("a.log", b"one\n")]);
        let mut opened = open(&host, "/a.log", false, LIMITS).expect("opens").expect("new");
        let path = folder.path().join("a.log");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a file");
        file.write_all(b"two\n").expect("written");
        assert_eq!(lines(&mut opened), (vec!["one".to_owned()], None));
    }

    #[test]
    fn of_a_large_file_the_end_is_kept() {
        let (_folder, host) = host(&[("a.log", b"first\nsecond\nthird\nfourth\n")]);
        let mut opened = open(&host, "/a.log", false, LIMITS).expect("opens").expect("new");
        assert_eq!(lines(&mut opened), (vec!["fourth".to_owned()], None));
        assert_eq!(opened.skipped_bytes, 19);
    }

    #[test]
    fn of_a_large_packed_file_the_beginning_is_kept() {
        let two = [packed(b"first\nsec"), packed(b"ond\nthird\n")].concat();
        let (_folder, host) = host(&[("a.gz", &two), ("b.gz", &packed(b"first\nsecon\n"))]);
        let mut opened = open(&host, "/a.gz", false, LIMITS).expect("opens").expect("new");
        assert_eq!(lines(&mut opened), (vec!["first".to_owned(), "second".to_owned()], None));
        assert!(opened.is_packed() && opened.is_cut());
        let mut fits = open(&host, "/b.gz", false, LIMITS).expect("opens").expect("new");
        assert_eq!(lines(&mut fits), (vec!["first".to_owned(), "secon".to_owned()], None));
        assert!(!fits.is_cut());
    }

    #[test]
    fn a_damaged_packed_file_gives_the_lines_before_the_damage() {
        let text: Vec<u8> = (0..20_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let whole = packed(&text);
        let (_folder, host) = host(&[("a.gz", &whole[..whole.len() / 2]), ("b.gz", b"no gzip")]);
        let limits = Limits { unpacked_bytes: 1 << 20, ..LIMITS };
        let mut opened = open(&host, "/a.gz", false, limits).expect("opens").expect("new");
        let (all, error) = lines(&mut opened);
        assert_eq!(error, Some(io::ErrorKind::UnexpectedEof));
        assert!(all.len() > 5_000, "{}", all.len());
        assert_eq!(all[4_999], "line 4999");
        let mut opened = open(&host, "/b.gz", false, limits).expect("opens").expect("new");
        let (all, error) = lines(&mut opened);
        assert_eq!((all.len(), error.is_some()), (0, true));
    }

    #[test]
    fn what_was_compressed_since_it_was_listed_is_found() {
        let (_folder, host) = host(&[("0.log.20261122-120000.gz", &packed(b"old\n"))]);
        let mut opened =
            open(&host, "/0.log.20261122-120000", false, LIMITS).expect("opens").expect("new");
        assert_eq!(lines(&mut opened), (vec!["old".to_owned()], None));
        assert_eq!(opened.path, "/0.log.20261122-120000.gz");
        let gone = open(&host, "/1.log", false, LIMITS).expect_err("gone");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_with_two_names_is_opened_once() {
        let (folder, host) = host(&[("a.log", b"one\n")]);
        std::fs::hard_link(folder.path().join("a.log"), folder.path().join("b.log"))
            .expect("a link");
        std::os::unix::fs::symlink("/a.log", folder.path().join("c.log")).expect("a link");
        std::os::unix::fs::symlink("/", folder.path().join("d.log")).expect("a link");
        let mut seen = HashSet::new();
        let opened: Vec<bool> = ["/a.log", "/b.log", "/c.log", "/d.log"]
            .map(|path| {
                let file = LogFile { path: path.to_owned(), is_link: true };
                OpenFile::open(&host, &file, LIMITS, &mut seen).expect("no error").is_some()
            })
            .to_vec();
        assert_eq!(opened, [true, false, false, false]);
    }
}
