//! One log file: opened once, unpacked if need be, never read beyond a limit.
//!
//! Owns the limits. A plain file is read up to the size that it had when it was
//! opened, so one that grows as fast as it is read comes to an end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use super::mark::TAIL_BYTES;
use crate::host::{Host, HostFile};

/// A log file by its path on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Where it lies; a name that ends with `.gz` is unpacked.
    pub(crate) path: String,
    /// Whether it is known by a symbolic link, which may lead to no file at all.
    pub(crate) is_link: bool,
    /// Whether its name says that nobody writes to it any more.
    pub(crate) is_rotated: bool,
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
    /// Plain bytes of a stream that is followed, before it is others' turn.
    pub(crate) turn_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: MAX_LINE_BYTES,
            file_bytes: 4 << 30,
            unpacked_bytes: 1 << 30,
            turn_bytes: 16 << 20,
        }
    }
}

/// A file that was found, before anything of it is read.
#[derive(Debug)]
pub(crate) struct FoundFile {
    /// Where it lies, which may be its compressed name by now.
    pub(crate) path: String,
    /// The open file.
    pub(crate) file: HostFile,
    /// Whether it is unpacked while it is read.
    pub(crate) is_packed: bool,
}

impl FoundFile {
    /// Opens a file; `None` if it is a link to no file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it is gone, else what the system says.
    pub(crate) fn open(host: &Host, file: &LogFile) -> io::Result<Option<Self>> {
        let mut path = file.path.clone();
        let opened = match host.open_file(&path) {
            // What was listed may have been compressed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_packed(&path) => {
                path.push_str(".gz");
                host.open_file(&path).map_err(|_| error)
            }
            opened => opened,
        };
        match opened {
            Err(error) if file.is_link && error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            opened => {
                let file = opened?;
                Ok(Some(Self { is_packed: is_packed(&path), path, file }))
            }
        }
    }
}

/// The file that is being read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Its lines from where reading began.
    pub(crate) lines: Lines<Content>,
    /// Last change, nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Where the next line begins, in unpacked bytes.
    pub(crate) offset: u64,
    /// The last bytes before that, as they were read.
    pub(crate) tail: Vec<u8>,
}

impl OpenFile {
    /// Begins to read a file at a line, to its end or for at most `room` bytes if
    /// it is plain.
    ///
    /// # Errors
    ///
    /// If it cannot be read up to there.
    pub(crate) fn start(
        found: &FoundFile,
        offset: u64,
        room: u64,
        limits: Limits,
    ) -> io::Result<Self> {
        let FoundFile { file: HostFile { file, size, modified_ns, .. }, is_packed, .. } = found;
        let mut file = file.try_clone()?;
        let content = if *is_packed {
            let mut decoder = Box::new(MultiGzDecoder::new(file.take(*size)));
            io::copy(&mut decoder.by_ref().take(offset), &mut io::sink())?;
            let room = limits.unpacked_bytes.saturating_sub(offset);
            Content::Gzip { decoder, room, cut: false }
        } else {
            file.seek(SeekFrom::Start(offset))?;
            Content::Plain(file.take(size.saturating_sub(offset).min(room)))
        };
        let lines = Lines::new(content, limits.line_bytes);
        Ok(Self { lines, modified_ns: *modified_ns, offset, tail: Vec::new() })
    }

    /// Leaves out a line of which a limit has cut the head.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn skip_line(&mut self) -> io::Result<()> {
        if let Some(line) = self.lines.next()? {
            self.offset += line.written_bytes();
        }
        Ok(())
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

/// Adds a line to the last bytes that were read.
pub(crate) fn add_tail(tail: &mut Vec<u8>, line: &Line<'_>) {
    if line.truncated_bytes > 0 {
        // What came before the newline is not known.
        tail.clear();
    } else {
        tail.extend_from_slice(&line.bytes[line.bytes.len().saturating_sub(TAIL_BYTES)..]);
    }
    if line.terminated {
        tail.push(b'\n');
    }
    tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
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

    fn open(host: &Host, path: &str, offset: u64) -> io::Result<Option<OpenFile>> {
        let file = LogFile { path: path.to_owned(), is_link: path == "/link", is_rotated: false };
        let found = FoundFile::open(host, &file)?;
        found.map(|found| OpenFile::start(&found, offset, u64::MAX, LIMITS)).transpose()
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

    const LIMITS: Limits =
        Limits { line_bytes: 100, file_bytes: 12, unpacked_bytes: 200_000, turn_bytes: 12 };

    #[test]
    fn a_file_is_read_up_to_its_size_when_opened() {
        let (folder, host) = host(&[("a.log", b"one\n")]);
        let mut opened = open(&host, "/a.log", 0).expect("opens").expect("a file");
        let path = folder.path().join("a.log");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a file");
        file.write_all(b"two\n").expect("written");
        assert_eq!(lines(&mut opened), (vec!["one".to_owned()], None));
    }

    #[test]
    fn reading_begins_at_a_place_packed_or_not() {
        let text = b"first\nsecond\nthird\n";
        let two = [packed(&text[..8]), packed(&text[8..])].concat();
        let (_folder, host) = host(&[("a.log", text), ("b.gz", &two)]);
        for path in ["/a.log", "/b.gz"] {
            let mut opened = open(&host, path, 6).expect("opens").expect("a file");
            assert_eq!(lines(&mut opened).0, ["second", "third"]);
            let mut opened = open(&host, path, 9).expect("opens").expect("a file");
            opened.skip_line().expect("skipped");
            assert_eq!((opened.offset, lines(&mut opened).0), (13, vec!["third".to_owned()]));
            let mut opened = open(&host, path, 1_000).expect("opens").expect("a file");
            assert_eq!(lines(&mut opened), (Vec::new(), None), "beyond the end");
        }
    }

    #[test]
    fn of_a_large_packed_file_the_beginning_is_kept() {
        let two = [packed(b"first\nsec"), packed(b"ond\nthird\n")].concat();
        let (_folder, host) = host(&[("a.gz", &two), ("b.gz", &packed(b"first\nsecon\n"))]);
        let open = |path: &str| {
            let file = LogFile { path: path.to_owned(), is_link: false, is_rotated: true };
            let found = FoundFile::open(&host, &file).expect("opens").expect("a file");
            let limits = Limits { unpacked_bytes: 12, ..LIMITS };
            OpenFile::start(&found, 0, u64::MAX, limits).expect("starts")
        };
        let mut opened = open("/a.gz");
        assert_eq!(lines(&mut opened), (vec!["first".to_owned(), "second".to_owned()], None));
        assert!(opened.is_packed() && opened.is_cut());
        let mut fits = open("/b.gz");
        assert_eq!(lines(&mut fits), (vec!["first".to_owned(), "secon".to_owned()], None));
        assert!(!fits.is_cut());
    }

    #[test]
    fn a_damaged_packed_file_gives_the_lines_before_the_damage() {
        let text: Vec<u8> = (0..20_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let whole = packed(&text);
        let (_folder, host) = host(&[("a.gz", &whole[..whole.len() / 2]), ("b.gz", b"no gzip")]);
        let mut opened = open(&host, "/a.gz", 0).expect("opens").expect("a file");
        let (all, error) = lines(&mut opened);
        assert_eq!(error, Some(io::ErrorKind::UnexpectedEof));
        assert!(all.len() > 5_000, "{}", all.len());
        assert_eq!(all[4_999], "line 4999");
        let mut opened = open(&host, "/b.gz", 0).expect("opens").expect("a file");
        let (all, error) = lines(&mut opened);
        assert_eq!((all.len(), error.is_some()), (0, true));
    }

    #[test]
    fn what_was_compressed_since_it_was_listed_is_found() {
        let (folder, host) = host(&[("0.log.20261122-120000.gz", &packed(b"old\n"))]);
        let mut opened = open(&host, "/0.log.20261122-120000", 0).expect("opens").expect("a file");
        assert_eq!(lines(&mut opened), (vec!["old".to_owned()], None));
        assert!(opened.is_packed());
        let gone = open(&host, "/1.log", 0).expect_err("gone");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        std::os::unix::fs::symlink("/", folder.path().join("link")).expect("a link");
        assert!(open(&host, "/link", 0).expect("no error").is_none(), "a link to a folder");
    }
}
