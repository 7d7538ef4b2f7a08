//! Cuts bytes into lines without ever holding more than one of them.
//!
//! Knows nothing of files or formats: any [`Read`] will do, and any bytes. A
//! line ends at `\n` alone; a carriage return before it stays, because whoever
//! wrote it meant something by it.

use std::io::{self, Read};

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes of a line that are kept unless said otherwise.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;

/// A line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its first bytes, as many as are kept.
    pub(crate) bytes: &'a [u8],
    /// How many bytes came after those.
    pub(crate) truncated_bytes: u64,
    /// Whether it ended with a newline; only the last one may not.
    pub(crate) terminated: bool,
}

impl Line<'_> {
    /// Whether the line as written is known to be longer, or may be.
    pub(crate) fn is_cut(&self) -> bool {
        self.truncated_bytes > 0 || !self.terminated
    }

    /// Bytes that it has in its file, with its newline.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.bytes.len() as u64 + self.truncated_bytes + u64::from(self.terminated)
    }
}

/// Lines of a reader, one at a time.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Box<[u8]>,
    /// What of `buffer` is read and not handed out yet.
    start: usize,
    end: usize,
    /// A line that is in `buffer` only in part.
    long: Vec<u8>,
    limit: usize,
    /// An error that waits until the bytes before it are handed out.
    error: Option<io::Error>,
}

impl<R: Read> Lines<R> {
    /// Lines of `reader`, of which at most `limit` bytes each are kept.
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        Self {
            reader,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            long: Vec::new(),
            limit,
            error: None,
        }
    }

    /// The reader below.
    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    /// The next line, `None` after the last.
    ///
    /// # Errors
    ///
    /// What the reader says, after all bytes before it: those of a line that
    /// the error cut come first, as a line without its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
            let start = self.start;
            self.start += length + 1;
            let kept = length.min(self.limit);
            return Ok(Some(Line {
                bytes: &self.buffer[start..start + kept],
                truncated_bytes: (length - kept) as u64,
                terminated: true,
            }));
        }
        self.next_long()
    }

    /// The next line, whose end is not in the buffer.
    fn next_long(&mut self) -> io::Result<Option<Line<'_>>> {
        self.long.clear();
        let mut length = 0;
        let terminated = loop {
            let pending = &self.buffer[self.start..self.end];
            let newline = memchr::memchr(b'\n', pending);
            let part = &pending[..newline.unwrap_or(pending.len())];
            let room = self.limit - self.long.len();
            self.long.extend_from_slice(&part[..part.len().min(room)]);
            length += part.len() as u64;
            if newline.is_some() {
                self.start += part.len() + 1;
                break true;
            }
            if !self.fill() {
                break false;
            }
        };
        if !terminated && length == 0 {
            return self.error.take().map_or(Ok(None), Err);
        }
        let truncated_bytes = length - self.long.len() as u64;
        Ok(Some(Line { bytes: &self.long, truncated_bytes, terminated }))
    }

    /// Reads more, `false` at the end or at an error, which is then kept.
    fn fill(&mut self) -> bool {
        (self.start, self.end) = (0, 0);
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(length) => {
                    self.end = length;
                    return length > 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as (bytes, truncated, terminated), read in pieces of `step` bytes.
    fn lines(text: &[u8], limit: usize, step: usize) -> Vec<(Vec<u8>, u64, bool)> {
        let mut lines = Lines::new(Steps { rest: text, step }, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("no error") {
            all.push((line.bytes.to_vec(), line.truncated_bytes, line.terminated));
        }
        assert_eq!(lines.next().expect("no error"), None, "the end is the end");
        all
    }

    /// Reader that gives few bytes at a time.
    struct Steps<'a> {
        rest: &'a [u8],
        step: usize,
    }

    impl Read for Steps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.step.min(self.rest.len());
            self.rest.read(&mut buffer[..step])
        }
    }

    #[test]
    fn lines_are_cut_at_newlines_alone() {
        let check = |text: &[u8], expected: &[(&[u8], bool)]| {
            for step in [1, 2, 3, 1_000] {
                let expected: Vec<_> = expected.iter().map(|(b, t)| (b.to_vec(), 0, *t)).collect();
                assert_eq!(lines(text, 100, step), expected, "{text:?} in steps of {step}");
            }
        };
        check(b"", &[]);
        check(b"\n", &[(b"", true)]);
        check(b"one\ntwo\n", &[(b"one", true), (b"two", true)]);
        check(b"one\n\ntwo", &[(b"one", true), (b"", true), (b"two", false)]);
        check(b"dos\r\nbar\rbar\n", &[(b"dos\r", true), (b"bar\rbar", true)]);
        check(b"nul\0nul\n\0\0\0", &[(b"nul\0nul", true), (b"\0\0\0", false)]);
        check(b"\xff\xfe\n\xc3\n", &[(b"\xff\xfe", true), (b"\xc3", true)]);
    }

    #[test]
    fn a_long_line_keeps_its_head() {
        for step in [1, 4, 1_000] {
            assert_eq!(
                lines(b"123456789\n1234\n12345", 4, step),
                [
                    (b"1234".to_vec(), 5, true),
                    (b"1234".to_vec(), 0, true),
                    (b"1234".to_vec(), 1, false)
                ]
            );
        }
    }

    #[test]
    fn lines_across_the_buffer_come_whole() {
        let text: Vec<u8> = (0..4_000_u32)
            .flat_map(|i| format!("{i:x<width$}\n", width = (i as usize * 7) % 900).into_bytes())
            .collect();
        assert!(text.len() > 10 * BUFFER_BYTES);
        let expected: Vec<&[u8]> =
            text.strip_suffix(b"\n").expect("ended").split(|b| *b == b'\n').collect();
        let got = lines(&text, MAX_LINE_BYTES, BUFFER_BYTES);
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().zip(expected).all(|(got, expected)| got.0 == expected));
    }

    #[test]
    fn a_line_of_100_mb_takes_the_memory_of_its_head() {
        let length = 100 << 20;
        let mut lines = Lines::new(io::repeat(b'x').take(length).chain(&b"\nend\n"[..]), 1_000);
        let line = lines.next().expect("no error").expect("a line");
        assert_eq!((line.bytes.len(), line.terminated), (1_000, true));
        assert_eq!(line.truncated_bytes, length - 1_000);
        assert_eq!(lines.next().expect("no error").expect("a line").bytes, b"end");
        assert!(lines.long.capacity() < 1 << 20, "{}", lines.long.capacity());
    }

    #[test]
    fn what_came_before_an_error_is_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let mut lines = Lines::new((&b"one\ntw"[..]).chain(Broken), 100);
        assert_eq!(lines.next().expect("a line").expect("a line").bytes, b"one");
        let cut = lines.next().expect("a line").expect("a line");
        assert_eq!((cut.bytes, cut.terminated, cut.is_cut()), (&b"tw"[..], false, true));
        assert_eq!(lines.next().expect_err("broken").kind(), io::ErrorKind::UnexpectedEof);
    }
}
