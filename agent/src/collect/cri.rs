//! Lines as container runtimes write them: CRI and Docker's json-file.
//!
//! Pure: a line in, an entry out. A runtime cuts a long line of a program into
//! several of its own; [`Joiner`] puts them together again, apart for standard
//! output and standard error, and across rotated files.

use std::borrow::Cow;

use serde::Deserialize;

use super::stamp;

/// One line of a runtime's file: a line of the program, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// When the runtime read it, nanoseconds since 1970.
    pub(crate) ts_ns: i64,
    /// Whether it was written to standard error.
    pub(crate) stderr: bool,
    /// Whether the next entry of the same output goes on with it.
    pub(crate) continues: bool,
    /// What the program wrote, without the newline.
    pub(crate) message: Cow<'a, [u8]>,
}

/// How a runtime writes its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `2026-11-22T12:28:03.000000042Z stdout F message`: containerd, CRI-O.
    Cri,
    /// `{"log":"message\n","stream":"stdout","time":"…"}`: Docker's json-file.
    Docker,
}

impl Format {
    /// Format of a file by one of its lines, and that line; CRI is tried first,
    /// as kubelet does.
    pub(crate) fn detect(line: &[u8]) -> Option<(Self, Entry<'_>)> {
        [Self::Cri, Self::Docker]
            .into_iter()
            .find_map(|format| format.parse(line).map(|entry| (format, entry)))
    }

    /// Entry of a line, `None` if the line is not of this format.
    pub(crate) fn parse(self, line: &[u8]) -> Option<Entry<'_>> {
        match self {
            Self::Cri => parse_cri(line),
            Self::Docker => parse_docker(line),
        }
    }
}

/// `<RFC 3339 time> <stdout|stderr> <tag[:tag…]> <message>`, where the first tag
/// is `P` if the line goes on in the next. Further tags are for later versions
/// (Kubernetes, `cri-client/pkg/logs/logs.go`).
fn parse_cri(line: &[u8]) -> Option<Entry<'_>> {
    let (time, rest) = cut(line, b' ')?;
    let (output, rest) = cut(rest, b' ')?;
    let (tags, message) = cut(rest, b' ')?;
    Some(Entry {
        stderr: is_stderr(output)?,
        continues: matches!(tags, [b'P'] | [b'P', b':', ..]),
        message: Cow::Borrowed(message),
        ts_ns: stamp::rfc3339(time)?,
    })
}

/// Docker's JSON; a line of the program ends with the newline in `log`.
fn parse_docker(line: &[u8]) -> Option<Entry<'_>> {
    #[derive(Deserialize)]
    struct JsonLine<'a> {
        #[serde(borrow, default)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let JsonLine { log, stream, time } = serde_json::from_slice(line).ok()?;
    let continues = !log.ends_with('\n');
    let end = log.len() - usize::from(!continues);
    Some(Entry {
        ts_ns: stamp::rfc3339(time.as_bytes())?,
        stderr: is_stderr(stream.as_bytes())?,
        continues,
        message: match log {
            Cow::Borrowed(log) => Cow::Borrowed(&log.as_bytes()[..end]),
            Cow::Owned(mut log) => {
                log.truncate(end);
                Cow::Owned(log.into_bytes())
            }
        },
    })
}

fn is_stderr(output: &[u8]) -> Option<bool> {
    match output {
        b"stdout" => Some(false),
        b"stderr" => Some(true),
        _ => None,
    }
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = memchr::memchr(at, text)?;
    Some((&text[..position], &text[position + 1..]))
}

/// A line as the program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<'a> {
    /// Time of its first part, nanoseconds since 1970.
    pub(crate) ts_ns: i64,
    /// Whether it was written to standard error.
    pub(crate) stderr: bool,
    /// Whether its end, or something in it, is missing.
    pub(crate) partial: bool,
    /// Its text, at most as long as the joiner's limit.
    pub(crate) message: &'a [u8],
    /// How many bytes that limit cost.
    pub(crate) truncated_bytes: u64,
}

/// Joins entries to lines of the program.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Standard output and standard error.
    open: [Parts; 2],
    /// Whether the next line of each goes on with one that was given up.
    headless: [bool; 2],
    limit: usize,
}

/// Parts of a line that has not ended yet.
#[derive(Debug, Default)]
struct Parts {
    /// Time of the first part, `None` if no line is open.
    ts_ns: Option<i64>,
    message: Vec<u8>,
    truncated_bytes: u64,
    cut: bool,
    /// Whether it goes on with a line that was given up.
    is_headless: bool,
}

impl Parts {
    /// Adds a part, as much of it as there is room for.
    fn add(&mut self, entry: &Entry<'_>, cut: bool, limit: usize) {
        if self.ts_ns.is_none() {
            self.message.clear();
            (self.truncated_bytes, self.cut) = (0, false);
            self.ts_ns = Some(entry.ts_ns);
        }
        let kept = entry.message.len().min(limit - self.message.len());
        self.message.extend_from_slice(&entry.message[..kept]);
        self.truncated_bytes += (entry.message.len() - kept) as u64;
        self.cut |= cut;
    }

    /// The line so far, if one is open; the next part begins another.
    fn end(&mut self, stderr: bool, complete: bool) -> Option<Whole<'_>> {
        Some(Whole {
            ts_ns: self.ts_ns.take()?,
            stderr,
            partial: self.cut || !complete || self.truncated_bytes > 0,
            message: &self.message,
            truncated_bytes: self.truncated_bytes,
        })
    }
}

impl Joiner {
    /// A joiner that keeps at most `limit` bytes of a line.
    pub(crate) fn new(limit: usize) -> Self {
        Self { open: <[Parts; 2]>::default(), headless: [false; 2], limit }
    }

    /// Takes an entry; gives the line that it completes, if it does. `cut` says
    /// that the entry is not all that the runtime wrote.
    pub(crate) fn push<'a>(&'a mut self, entry: &'a Entry<'_>, cut: bool) -> Option<Whole<'a>> {
        let output = usize::from(entry.stderr);
        let is_headless = std::mem::take(&mut self.headless[output]);
        let cut = is_headless || cut;
        let parts = &mut self.open[output];
        if parts.ts_ns.is_none() && !entry.continues && entry.message.len() <= self.limit {
            return Some(Whole {
                ts_ns: entry.ts_ns,
                stderr: entry.stderr,
                partial: cut,
                message: &entry.message,
                truncated_bytes: 0,
            });
        }
        parts.is_headless = is_headless || parts.is_headless && parts.ts_ns.is_some();
        parts.add(entry, cut, self.limit);
        if entry.continues { None } else { parts.end(entry.stderr, true) }
    }

    /// Whether a line of standard output, of standard error, has not ended yet.
    pub(crate) fn open(&self) -> [bool; 2] {
        [0, 1].map(|output: usize| self.open[output].ts_ns.is_some())
    }

    /// Outputs whose open line, or else the next one, goes on with one that was
    /// given up.
    pub(crate) fn headless(&self) -> [bool; 2] {
        [0, 1].map(|output: usize| {
            let parts = &self.open[output];
            self.headless[output] || parts.is_headless && parts.ts_ns.is_some()
        })
    }

    /// Sets what [`Joiner::headless`] said of the joiner before this one.
    pub(crate) fn set_headless(&mut self, headless: [bool; 2]) {
        self.headless = headless;
    }

    /// Gives what there is of a line that has not ended; what follows of it will
    /// be a line of its own, and marked as partial like this one.
    pub(crate) fn give_up(&mut self, output: usize) -> Option<Whole<'_>> {
        let whole = self.open[output].end(output == 1, false)?;
        self.headless[output] = true;
        Some(whole)
    }

    /// The lines that never ended, at most one of each output. Afterwards the
    /// joiner is as new.
    pub(crate) fn flush(&mut self) -> impl Iterator<Item = Whole<'_>> {
        let [stdout, stderr] = &mut self.open;
        [stdout.end(false, false), stderr.end(true, false)].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use periscope_store::time::parse_rfc3339;

    use super::*;

    fn entry(ts: &str, stderr: bool, continues: bool, message: &str) -> Entry<'static> {
        Entry {
            ts_ns: parse_rfc3339(ts).expect(ts),
            stderr,
            continues,
            message: Cow::Owned(message.as_bytes().to_vec()),
        }
    }

    #[test]
    fn cri_lines_have_time_output_tags_and_text() {
        let check = |line: &str, expected: Option<Entry<'_>>| {
            let expected = expected.map(|entry| (Format::Cri, entry));
            assert_eq!(Format::detect(line.as_bytes()), expected, "{line}");
        };
        check(
            "2026-11-22T12:28:03.000000042Z stdout F a  message ",
            Some(entry("2026-11-22T12:28:03.000000042Z", false, false, "a  message ")),
        );
        check(
            "2026-11-22T13:28:03.5+01:00 stderr P half a mess",
            Some(entry("2026-11-22T12:28:03.5Z", true, true, "half a mess")),
        );
        check(
            "2026-11-22T12:28:03Z stdout F:later:tags x",
            Some(entry("2026-11-22T12:28:03Z", false, false, "x")),
        );
        check(
            "2026-11-22T12:28:03Z stdout P:later x",
            Some(entry("2026-11-22T12:28:03Z", false, true, "x")),
        );
        check(
            "2026-11-22T12:28:03Z stdout F ",
            Some(entry("2026-11-22T12:28:03Z", false, false, "")),
        );
        check(
            "2026-11-22T12:28:03Z stdout X unknown tags end the line",
            Some(entry("2026-11-22T12:28:03Z", false, false, "unknown tags end the line")),
        );
        for none in [
            "",
            "2026-11-22T12:28:03Z",
            "2026-11-22T12:28:03Z stdout",
            "2026-11-22T12:28:03Z stdout F",
            "2026-11-22T12:28:03Z stdlog F x",
            "2026-11-22 12:28:03 stdout F x",
            "just text of three words",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn cri_text_may_be_any_bytes() {
        let line = b"2026-11-22T12:28:03Z stdout F \xff\0\x1b[31m";
        assert_eq!(parse_cri(line).expect("an entry").message, &b"\xff\0\x1b[31m"[..]);
    }

    #[test]
    fn docker_lines_are_json() {
        let check = |line: &str, expected: Option<Entry<'_>>| {
            let expected = expected.map(|entry| (Format::Docker, entry));
            assert_eq!(Format::detect(line.as_bytes()), expected, "{line}");
        };
        let ts = "2026-11-22T12:28:03.000000042Z";
        check(
            r#"{"log":"plain\n","stream":"stdout","time":"2026-11-22T12:28:03.000000042Z"}"#,
            Some(entry(ts, false, false, "plain")),
        );
        check(
            r#"{"log":"\u001b[31m\"q\"\r\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-11-22T12:28:03.000000042Z"}"#,
            Some(entry(ts, true, false, "\u{1b}[31m\"q\"\r")),
        );
        check(
            r#"{"log":"half","stream":"stdout","time":"2026-11-22T12:28:03.000000042Z"}"#,
            Some(entry(ts, false, true, "half")),
        );
        check(
            r#"{"log":"\n","stream":"stdout","time":"2026-11-22T12:28:03.000000042Z"}"#,
            Some(entry(ts, false, false, "")),
        );
        for none in [
            "{",
            "{}",
            r#"{"log":"x\n","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"x\n","stream":"both","time":"2026-11-22T12:28:03Z"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"2026-11-22T12:28:03Z""#,
        ] {
            check(none, None);
        }
    }

    /// What a joiner makes of entries: (text, stderr, partial, truncated bytes).
    fn join(limit: usize, entries: &[Entry<'_>]) -> Vec<(String, bool, bool, u64)> {
        let mut joiner = Joiner::new(limit);
        let mut all = Vec::new();
        let mut add = |whole: Whole<'_>| {
            let text = String::from_utf8_lossy(whole.message).into_owned();
            all.push((text, whole.stderr, whole.partial, whole.truncated_bytes));
        };
        for entry in entries {
            joiner.push(entry, false).map(&mut add);
        }
        joiner.flush().for_each(&mut add);
        assert_eq!(joiner.flush().count(), 0, "flushing leaves nothing");
        all
    }

    #[test]
    fn parts_are_joined_for_each_output_apart() {
        let ts = "2026-11-22T12:28:03Z";
        assert_eq!(
            join(
                100,
                &[
                    entry(ts, false, true, "out "),
                    entry(ts, true, true, "err "),
                    entry(ts, false, true, "goes "),
                    entry(ts, true, false, "ends"),
                    entry(ts, false, false, "on"),
                    entry(ts, false, false, "next"),
                ]
            ),
            [
                ("err ends".to_owned(), true, false, 0),
                ("out goes on".to_owned(), false, false, 0),
                ("next".to_owned(), false, false, 0),
            ]
        );
    }

    #[test]
    fn a_joined_line_has_the_time_of_its_first_part() {
        let mut joiner = Joiner::new(100);
        let first = entry("2026-11-22T12:28:03Z", false, true, "a");
        let last = entry("2026-11-22T12:28:09Z", false, false, "b");
        assert_eq!(joiner.push(&first, false), None);
        assert_eq!(joiner.push(&last, false).map(|whole| whole.ts_ns), Some(first.ts_ns));
    }

    #[test]
    fn lines_that_never_end_are_delivered_as_partial() {
        let ts = "2026-11-22T12:28:03Z";
        assert_eq!(
            join(100, &[entry(ts, true, true, "no end"), entry(ts, false, true, "nor here")]),
            [("nor here".to_owned(), false, true, 0), ("no end".to_owned(), true, true, 0)]
        );
    }

    #[test]
    fn a_joined_line_is_bounded_and_what_is_cut_is_counted() {
        let ts = "2026-11-22T12:28:03Z";
        assert_eq!(
            join(
                5,
                &[
                    entry(ts, false, true, "1234"),
                    entry(ts, false, true, "5678"),
                    entry(ts, false, false, "9"),
                    entry(ts, false, false, "short"),
                    entry(ts, false, false, "longer"),
                ]
            ),
            [
                ("12345".to_owned(), false, true, 4),
                ("short".to_owned(), false, false, 0),
                ("longe".to_owned(), false, true, 1),
            ]
        );
    }

    #[test]
    fn a_part_that_was_cut_makes_the_line_partial() {
        let ts = "2026-11-22T12:28:03Z";
        let mut joiner = Joiner::new(100);
        assert_eq!(joiner.push(&entry(ts, false, true, "a"), true), None);
        let end = entry(ts, false, false, "b");
        assert_eq!(joiner.push(&end, false).map(|whole| whole.partial), Some(true));
        assert_eq!(joiner.push(&end, false).map(|whole| whole.partial), Some(false));
    }

    #[test]
    fn what_follows_a_line_that_was_given_up_is_partial_too() {
        let ts = "2026-11-22T12:28:03Z";
        let mut joiner = Joiner::new(100);
        joiner.push(&entry(ts, true, true, "a"), false);
        assert_eq!(joiner.open(), [false, true]);
        assert_eq!(joiner.give_up(0), None);
        let given = joiner.give_up(1).map(|whole| (whole.partial, whole.message.to_vec()));
        assert_eq!(given, Some((true, b"a".to_vec())));
        let (other, end) = (entry(ts, false, false, "x"), entry(ts, true, false, "b"));
        for (entry, partial) in [(&other, false), (&end, true), (&end, false)] {
            assert_eq!(joiner.push(entry, false).map(|whole| whole.partial), Some(partial));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>) {
            Format::detect(&bytes);
        }
    }
}
