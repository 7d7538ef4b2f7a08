//! The turn of one source: its files one after another, for so many bytes.

use std::collections::VecDeque;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use periscope_store::batch::{Issue, IssueKind, Stream};

use super::lines::{Line, Lines};
use super::log_file::{Limits, OpenFile, add_tail};
use super::mark::At;
use super::plan::{Met, Planned, bound, plan};
use super::reading::{Decoder, Group, Row, Rows, push};
use super::source::{Follow, Source};
use crate::host::Host;

/// Polls for which a line may be without its end.
const MAX_WAITS: u64 = 3;

/// Bytes that are read again to have the beginning of a line that has not ended.
const MAX_REPLAY_BYTES: u64 = 4 << 20;

/// Where something begins: a mark's place in the source, and an offset.
type Place = (usize, u64);

/// The turn of one source.
#[derive(Debug)]
pub(super) struct Turn<D> {
    name: String,
    stream: Stream,
    decoder: D,
    source: Source,
    files: VecDeque<Planned>,
    open: Option<(Planned, OpenFile)>,
    limits: Limits,
    is_following: bool,
    /// Bytes that may still be read.
    room: u64,
    is_cut_short: bool,
    /// Where lines begin that have not ended.
    starts: [Option<Place>; 2],
    /// What was there of them before.
    starts_before: [Option<Place>; 2],
    poll: u64,
    /// Lines that are older than the window.
    old_lines: u64,
    truncated_bytes: u64,
}

impl<D: Decoder> Turn<D> {
    /// Begins a turn: looks at the files.
    pub(super) fn begin(
        host: &Host,
        group: Group<D>,
        follow: &Follow,
        limits: Limits,
        met: &mut Met,
        note: &mut dyn FnMut(Issue),
    ) -> Self {
        let Group { source: name, stream, files, decoder } = group;
        let (mut source, backfill) = follow.source(&name);
        let mut files = plan(host, files, &mut source, follow.poll, met, &mut *note);
        source.listed = follow.poll;
        if let Some(backfill) = backfill {
            for (path, bytes) in bound(&mut files, &mut source, backfill) {
                let message = "written before the time that is read back to".to_owned();
                note(bytes_issue(&path, IssueKind::Excluded, bytes, message));
            }
        } else if !follow.is_following() {
            cut_large(&mut files, &mut source, limits);
        }
        let mut turn = Self {
            name,
            stream,
            decoder,
            source,
            files,
            open: None,
            limits,
            is_following: follow.is_following(),
            room: if follow.is_following() { limits.turn_bytes } else { u64::MAX },
            is_cut_short: false,
            starts: [None; 2],
            starts_before: [None; 2],
            poll: follow.poll,
            old_lines: 0,
            truncated_bytes: 0,
        };
        turn.decoder.restore(turn.source.carry);
        turn.replay();
        turn.starts_before = turn.starts;
        turn
    }

    /// Stream of its rows.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Bytes of plain files that it read, if they are counted.
    pub(super) fn read_bytes(&self) -> u64 {
        if self.is_following { self.limits.turn_bytes - self.room } else { 0 }
    }

    /// Whether it ended before its files did.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// Reads on, to the end of the turn or, `false`, until `rows` are full.
    pub(super) fn read<R: Rows>(
        &mut self,
        rows: &mut R,
        note: &mut dyn FnMut(&mut R, Issue),
    ) -> bool {
        if let Some((planned, open)) = self.open.take()
            && self.is_still(&planned)
        {
            self.open = Some((planned, open));
        }
        loop {
            if rows.is_full() {
                return false;
            }
            if self.open.is_some() {
                self.read_open(rows, note);
            } else if !self.open_next(rows, note) {
                self.end(rows, note);
                return true;
            }
        }
    }

    /// Opens the next file that has something to read, `false` if there is none.
    fn open_next<R: Rows>(&mut self, rows: &mut R, note: &mut dyn FnMut(&mut R, Issue)) -> bool {
        while let Some(planned) = self.files.pop_front() {
            if !planned.is_due {
                continue;
            }
            if self.room == 0 {
                self.is_cut_short = true;
                return false;
            }
            if !self.is_still(&planned) {
                continue;
            }
            let path = planned.found.path.clone();
            match self.start(&planned) {
                Ok(open) => {
                    self.decoder.begin(open.modified_ns);
                    if planned.is_cut {
                        note(rows, self.cut_issue(&path, open.offset));
                    }
                    self.open = Some((planned, open));
                    return true;
                }
                Err(error) => {
                    self.settle_damaged(&planned);
                    note(rows, broken(&path, planned.found.is_packed, &error));
                }
            }
        }
        false
    }

    fn start(&self, planned: &Planned) -> io::Result<OpenFile> {
        let offset = self.source.marks[planned.mark].offset;
        let mut open = OpenFile::start(&planned.found, offset, self.room, self.limits)?;
        if planned.is_cut {
            open.skip_line()?;
        }
        Ok(open)
    }

    /// What a limit left out at the beginning of a file.
    fn cut_issue(&self, path: &str, bytes: u64) -> Issue {
        if self.is_following {
            let message = "more than is read of what was there before".to_owned();
            return bytes_issue(path, IssueKind::Excluded, bytes, message);
        }
        let message = format!("only the last {} bytes were read", self.limits.file_bytes);
        bytes_issue(path, IssueKind::Truncated, bytes, message)
    }

    /// Reads lines of the open file until its end or until `rows` are full.
    fn read_open<R: Rows>(&mut self, rows: &mut R, note: &mut dyn FnMut(&mut R, Issue)) {
        let Some((planned, mut open)) = self.open.take() else { return };
        let error = loop {
            if rows.is_full() {
                self.reach(&planned, &open);
                self.open = Some((planned, open));
                return;
            }
            let at = open.offset;
            let line = match open.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            if !line.terminated && !self.is_taken(&planned, at, &line) {
                break None;
            }
            open.offset += line.written_bytes();
            add_tail(&mut open.tail, &line);
            let is_plain = !planned.found.is_packed;
            self.room = self.room.saturating_sub(if is_plain { line.written_bytes() } else { 0 });
            self.take(planned.mark, at, &line, rows);
        };
        self.close(&planned, &open, error, rows, note);
    }

    /// Whether a line without its end is taken as it is.
    fn is_taken(&self, planned: &Planned, at: u64, line: &Line<'_>) -> bool {
        let mark = &self.source.marks[planned.mark];
        // Of what is longer nothing more would be kept.
        let is_long = line.truncated_bytes > 0;
        let is_last = at + line.written_bytes() >= planned.found.file.size;
        let has_waited = mark.waits_since.is_some_and(|since| self.poll - since >= MAX_WAITS);
        let is_final = !self.is_following || planned.found.is_packed;
        is_final || is_long || is_last && at == mark.offset && has_waited
    }

    /// Takes a line that begins at `at`.
    fn take<R: Rows>(&mut self, mark: usize, at: u64, line: &Line<'_>, rows: &mut R) {
        let torn = self.source.marks[mark].torn_bytes.take();
        let is_torn_again = !line.terminated && self.is_following;
        if is_torn_again {
            self.source.marks[mark].torn_bytes =
                Some(torn.unwrap_or_default() + line.written_bytes());
        }
        let mut rest = *line;
        if let Some(torn) = torn {
            // The rest of a line that was given without its end: partial as well.
            let room = (self.limits.line_bytes as u64).saturating_sub(torn) as usize;
            rest.bytes = &line.bytes[..line.bytes.len().min(room)];
            rest.truncated_bytes += (line.bytes.len() - rest.bytes.len()) as u64;
            rest.terminated = false;
            if rest.bytes.is_empty() {
                self.truncated_bytes += rest.truncated_bytes;
                return;
            }
        }
        self.truncated_bytes += rest.truncated_bytes;
        let mut out = Out {
            rows,
            since_ns: self.source.since_ns,
            old_lines: &mut self.old_lines,
            truncated_bytes: &mut self.truncated_bytes,
        };
        self.decoder.line(&rest, &mut |row| out.push(row));
        for (start, is_open) in self.starts.iter_mut().zip(self.decoder.open()) {
            *start = is_open.then(|| start.unwrap_or((mark, at)));
        }
    }

    /// Ends a file: says where it was left, and what it did not give.
    fn close<R: Rows>(
        &mut self,
        planned: &Planned,
        open: &OpenFile,
        error: Option<io::Error>,
        rows: &mut R,
        note: &mut dyn FnMut(&mut R, Issue),
    ) {
        let path = &planned.found.path;
        self.reach(planned, open);
        let mark = &mut self.source.marks[planned.mark];
        let end = planned.found.file.size;
        if let Some(error) = error {
            note(rows, broken(path, open.is_packed(), &error));
            self.settle_damaged(planned);
        } else if open.is_packed() {
            mark.is_settled = true;
        } else if open.offset < end && self.room == 0 {
            self.is_cut_short = true;
        } else if open.offset < end {
            // What is left is a line without its end; or the room ended in it.
            let is_waiting = self.room >= end - open.offset;
            if is_waiting {
                mark.waits_since.get_or_insert(self.poll);
            }
            self.is_cut_short |= !is_waiting;
            self.room = if is_waiting { self.room } else { 0 };
        } else {
            mark.is_settled = planned.is_rotated;
        }
        if open.is_cut() {
            let message =
                format!("only the first {} unpacked bytes were read", self.limits.unpacked_bytes);
            let (source, kind) = (path.clone(), IssueKind::Truncated);
            note(rows, Issue { source, kind, amount: None, unit: None, message });
        }
        let truncated = std::mem::take(&mut self.truncated_bytes);
        self.note_truncated(path, truncated, rows, note);
    }

    /// A packed file that is damaged is not read again as long as it is the same.
    fn settle_damaged(&mut self, planned: &Planned) {
        self.source.marks[planned.mark].is_settled = planned.found.is_packed;
    }

    fn note_truncated<R: Rows>(
        &self,
        source: &str,
        bytes: u64,
        rows: &mut R,
        note: &mut dyn FnMut(&mut R, Issue),
    ) {
        if bytes > 0 {
            let message = format!("lines longer than {} bytes were cut", self.limits.line_bytes);
            note(rows, bytes_issue(source, IssueKind::Truncated, bytes, message));
        }
    }

    /// Puts the place that was reached into a file's mark.
    fn reach(&mut self, planned: &Planned, open: &OpenFile) {
        let tail = if open.is_packed() { &[] } else { &*open.tail };
        self.source.marks[planned.mark].reach(open.offset, tail);
    }

    /// Whether a file is still the one that was planned for. If it was written
    /// anew since, the next round finds out what became of what it held.
    fn is_still(&mut self, planned: &Planned) -> bool {
        let mark = &self.source.marks[planned.mark];
        let file = &planned.found.file.file;
        // What cannot be read is met again, and said, when its lines are read.
        let is_still = planned.found.is_packed || mark.still_has_head(file).unwrap_or(true);
        self.is_cut_short |= !is_still;
        is_still
    }

    /// The files are read, or the turn is over.
    fn end<R: Rows>(&mut self, rows: &mut R, note: &mut dyn FnMut(&mut R, Issue)) {
        let mut out = Out {
            rows,
            since_ns: self.source.since_ns,
            old_lines: &mut self.old_lines,
            truncated_bytes: &mut self.truncated_bytes,
        };
        if !self.is_following {
            self.decoder.end(&mut |row| out.push(row));
        } else if self.starts == [None; 2] || self.starts != self.starts_before {
            self.source.waits_since = None;
        } else if !self.is_cut_short {
            self.source.waits_since.get_or_insert(self.poll);
        }
        let name = self.stream.name.clone();
        let truncated = std::mem::take(&mut self.truncated_bytes);
        self.note_truncated(&name, truncated, rows, note);
        if self.old_lines > 0 {
            note(
                rows,
                Issue {
                    source: name,
                    kind: IssueKind::Excluded,
                    amount: Some(self.old_lines),
                    unit: Some("lines"),
                    message: "written before the time that is read back to".to_owned(),
                },
            );
        }
        if !self.is_cut_short {
            self.source.since_ns = None;
        }
    }

    /// Tells what was reached, with the rows that reached it.
    pub(super) fn save(&mut self, follow: &mut Follow, rows: &mut impl Rows) {
        if !self.is_following {
            return;
        }
        let since = self.source.waits_since;
        let has_waited = since.is_some_and(|since| self.poll - since >= MAX_WAITS);
        for output in 0..2 {
            let Some(start) = self.starts[output] else { continue };
            if has_waited || self.distance(start) > MAX_REPLAY_BYTES {
                let mut out = Out {
                    rows: &mut *rows,
                    since_ns: self.source.since_ns,
                    old_lines: &mut self.old_lines,
                    truncated_bytes: &mut self.truncated_bytes,
                };
                self.decoder.give_up(output, &mut |row| out.push(row));
                self.starts[output] = None;
            }
        }
        for mark in &mut self.source.marks {
            mark.open = [None; 2];
        }
        for (output, start) in self.starts.iter().enumerate() {
            if let Some((mark, offset)) = start {
                self.source.marks[*mark].open[output] = Some(*offset);
            }
        }
        self.source.carry = self.decoder.carry();
        follow.set(&self.name, &self.source, rows);
    }

    /// Bytes from a place to where reading is.
    fn distance(&self, (mark, offset): Place) -> u64 {
        let read = self.source.marks[mark..].iter().map(|mark| mark.offset);
        read.fold(0_u64, u64::saturating_add).saturating_sub(offset)
    }

    /// Gives the decoder the lines again that had not ended.
    fn replay(&mut self) {
        let mut outputs = [false; 2];
        for planned in &self.files {
            let mark = &self.source.marks[planned.mark];
            if outputs == [false; 2] && mark.open == [None; 2] {
                continue;
            }
            let first = mark.open.iter().flatten().min().copied().unwrap_or_default();
            let start = if outputs == [false; 2] { first } else { 0 };
            let file = &planned.found.file.file;
            let mut content: Box<dyn Read> = if planned.found.is_packed {
                Box::new(MultiGzDecoder::new(At(file, 0)))
            } else {
                Box::new(At(file, start))
            };
            let is_there = !planned.found.is_packed
                || io::copy(&mut content.by_ref().take(start), &mut io::sink()).is_ok();
            if !is_there {
                continue;
            }
            let content = content.take(mark.offset.saturating_sub(start));
            let mut lines = Lines::new(content, self.limits.line_bytes);
            let mut at = start;
            self.decoder.begin(planned.found.file.modified_ns);
            // An error ends the line where it was; what follows is a line of its own.
            while let Ok(Some(line)) = lines.next() {
                for (output, is_open) in outputs.iter_mut().enumerate() {
                    if mark.open[output] == Some(at) {
                        *is_open = true;
                        self.starts[output] = Some((planned.mark, at));
                    }
                }
                at += line.written_bytes();
                self.decoder.replay(&line, outputs);
            }
        }
        for (start, is_open) in self.starts.iter_mut().zip(self.decoder.open()) {
            *start = start.filter(|_| is_open);
        }
    }
}

/// Where rows go, but those that are too old.
struct Out<'a, R> {
    rows: &'a mut R,
    since_ns: Option<i64>,
    old_lines: &'a mut u64,
    truncated_bytes: &'a mut u64,
}

impl<R: Rows> Out<'_, R> {
    fn push(&mut self, row: Row<'_>) {
        if self.since_ns.is_some_and(|since_ns| row.ts_ns < since_ns) {
            *self.old_lines += 1;
            return;
        }
        *self.truncated_bytes += row.truncated_bytes;
        push(self.rows, row);
    }
}

/// Leaves out the beginning of files that are too large to be read once.
fn cut_large(files: &mut VecDeque<Planned>, source: &mut Source, limits: Limits) {
    for planned in files {
        let size = planned.found.file.size;
        if !planned.found.is_packed && size > limits.file_bytes {
            source.marks[planned.mark].offset = size - limits.file_bytes;
            planned.is_cut = true;
        }
    }
}

fn bytes_issue(source: &str, kind: IssueKind, bytes: u64, message: String) -> Issue {
    let (amount, unit) = (Some(bytes), Some("bytes"));
    Issue { source: source.to_owned(), kind, amount, unit, message }
}

fn broken(path: &str, is_packed: bool, error: &io::Error) -> Issue {
    let (kind, message) = if is_packed {
        (IssueKind::Damaged, format!("lines up to the damage were kept: {error}"))
    } else {
        (IssueKind::Unreadable, format!("lines up to the error were kept: {error}"))
    };
    Issue { source: path.to_owned(), kind, amount: None, unit: None, message }
}
