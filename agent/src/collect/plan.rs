//! What of a source's files is to be read: knows each again, whatever became of
//! it since the last poll.
//!
//! 1. A file with the inode of a mark, and still with the content before the
//!    place reached, is the mark's file; it may have another name by now.
//! 2. A file whose name says that it was rotated, and which has the content of a
//!    mark without a file, is what that one's content became: its compressed form,
//!    or the copy that copy-truncate makes.
//! 3. A rotated file with the content of a file that is being written is a copy
//!    that is about to take its content over. It waits for the next poll.
//! 4. Any other file is new, and read from its beginning.
//!
//! A mark that finds no file is one of a file that is gone.

use std::collections::{HashSet, VecDeque};
use std::io;

use periscope_store::batch::{Issue, IssueKind};

use super::log_file::{FoundFile, LogFile};
use super::mark::{Mark, Sight, has_same_ends, unpacked_hint};
use super::source::{Backfill, Source};
use crate::host::Host;

/// Files of a source that are looked at, and open, at once.
const MAX_FILES: usize = 256;

/// A file of a source.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The file where it was found.
    pub(crate) found: FoundFile,
    /// Its mark, by its place in the source.
    pub(crate) mark: usize,
    /// Whether its name says that nobody writes to it any more.
    pub(crate) is_rotated: bool,
    /// Whether a limit has the reading begin within a line.
    pub(crate) is_cut: bool,
    /// Whether there is something to read.
    pub(crate) is_due: bool,
}

/// Files that were met in a round, by device and inode.
pub(crate) type Met = HashSet<(u64, u64)>;

/// A listed file on its way to a mark.
struct Candidate {
    file: LogFile,
    found: FoundFile,
    sight: Sight,
    /// Its mark, by its place in the source.
    mark: Option<usize>,
    is_copy: bool,
}

/// Gives each file of a source its mark, which `poll` has seen then. Answers the
/// files, oldest first.
pub(crate) fn plan(
    host: &Host,
    mut files: VecDeque<LogFile>,
    source: &mut Source,
    poll: u64,
    met: &mut Met,
    note: &mut dyn FnMut(Issue),
) -> VecDeque<Planned> {
    let mut is_complete = true;
    if files.len() > MAX_FILES {
        note(Issue {
            source: files[0].path.clone(),
            kind: IssueKind::Truncated,
            amount: Some((files.len() - MAX_FILES) as u64),
            unit: Some("files"),
            message: format!("only the last {MAX_FILES} files of a log are read"),
        });
        files.drain(..files.len() - MAX_FILES);
        is_complete = false;
    }
    let mut candidates = Vec::new();
    for file in files {
        let path = file.path.clone();
        match look(host, file, source, poll, met) {
            Ok(candidate) => candidates.extend(candidate),
            Err((kind, message)) => {
                is_complete &= kind == IssueKind::Absent;
                note(Issue { source: path, kind, amount: None, unit: None, message });
            }
        }
    }
    match_content(source, &mut candidates);
    let mut planned = VecDeque::new();
    let mut marks = Vec::new();
    for mut candidate in candidates {
        if candidate.is_copy {
            continue;
        }
        let file = &candidate.found.file.file;
        let mut mark = candidate.mark.map(|at| source.marks[at].clone()).unwrap_or_default();
        if let Err(error) = mark.look(&mut candidate.sight, file) {
            is_complete = false;
            let message = format!("cannot read: {error}");
            let (kind, source) = (IssueKind::Unreadable, candidate.found.path);
            note(Issue { source, kind, amount: None, unit: None, message });
            continue;
        }
        mark.seen = poll;
        if let Some(at) = candidate.mark {
            source.marks[at].seen = MATCHED;
        }
        planned.push_back(Planned {
            is_due: is_due(&mut mark, &candidate),
            found: candidate.found,
            mark: marks.len(),
            is_rotated: candidate.file.is_rotated,
            is_cut: false,
        });
        marks.push(mark);
    }
    source.marks.retain(|mark| mark.seen != MATCHED);
    for planned in &mut planned {
        planned.mark += source.marks.len();
    }
    source.marks.append(&mut marks);
    if !is_complete {
        // A file that could not be looked at is not one that is gone.
        source.marks.iter_mut().for_each(|mark| mark.seen = poll);
    }
    planned
}

/// Poll number of a mark that has moved to its file.
const MATCHED: u64 = u64::MAX;

/// Looks at a file; `None` if it is met again, or a link to no file.
fn look(
    host: &Host,
    file: LogFile,
    source: &mut Source,
    poll: u64,
    met: &mut Met,
) -> Result<Option<Candidate>, (IssueKind, String)> {
    let unreadable = |error| (IssueKind::Unreadable, format!("cannot read: {error}"));
    let found = FoundFile::open(host, &file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if file.is_link => {
            (IssueKind::Absent, "a link to nothing".to_owned())
        }
        io::ErrorKind::NotFound => {
            (IssueKind::Unreadable, "gone before it could be read".to_owned())
        }
        _ => (IssueKind::Unreadable, format!("cannot open: {error}")),
    })?;
    let Some(found) = found else { return Ok(None) };
    let mut sight = Sight::new(&found.file, found.is_packed);
    let mut mark = None;
    for (at, known) in source.marks.iter().enumerate() {
        if known.is_of(&mut sight, &found.file.file).map_err(unreadable)? {
            mark = Some(at);
            break;
        }
    }
    if !met.insert(sight.identity) {
        if let Some(at) = mark {
            source.marks[at].seen = poll;
        }
        return Ok(None);
    }
    Ok(Some(Candidate { file, found, sight, mark, is_copy: false }))
}

/// Finds the marks of rotated files whose content lay in other files before.
fn match_content(source: &Source, candidates: &mut [Candidate]) {
    for at in 0..candidates.len() {
        let (before, rest) = candidates.split_at_mut(at);
        let Some((candidate, after)) = rest.split_first_mut() else { return };
        // The inode alone says little: an empty file's may be another's by now.
        let is_known = candidate.mark.is_some_and(|at| source.marks[at].is_distinct());
        if is_known || !candidate.file.is_rotated {
            continue;
        }
        let others = || before.iter().chain(&*after);
        let owner = |mark| others().find(|other| other.mark == Some(mark));
        let mut has_content = |mark: &Mark| {
            let (sight, file) = (&mut candidate.sight, &candidate.found.file.file);
            // What cannot be read is met again when it is read from its beginning.
            mark.is_distinct()
                && (mark.has_content(sight, file).unwrap_or(false)
                    || mark.is_beyond(sight, file).unwrap_or(false))
        };
        let mut free = None;
        let mut is_copy = false;
        for (at, mark) in source.marks.iter().enumerate() {
            match owner(at) {
                None if free.is_none() && has_content(mark) => free = Some(at),
                Some(owner) if !owner.file.is_rotated && has_content(mark) => is_copy = true,
                _ => {}
            }
        }
        candidate.mark = free.or(candidate.mark);
        let is_growing = || {
            let mut current = before.iter().chain(&*after).filter(|c| !c.file.is_rotated);
            current.any(|current| is_copy_of(&candidate.found, &current.found))
        };
        candidate.is_copy = free.is_none() && (is_copy || is_growing());
    }
}

/// Whether a file is a copy of another one, finished or not. An empty one may
/// become one, and has nothing to read.
fn is_copy_of(copy: &FoundFile, file: &FoundFile) -> bool {
    let size = copy.file.size;
    !copy.is_packed
        && !file.is_packed
        && size <= file.file.size
        && has_same_ends(&copy.file.file, &file.file.file, size).unwrap_or(false)
}

/// Whether something of a file is to be read; tells the mark of one that is done.
fn is_due(mark: &mut Mark, candidate: &Candidate) -> bool {
    let FoundFile { file, is_packed, .. } = &candidate.found;
    if !is_packed {
        // A copy of a file that was read further ends before the place reached.
        mark.offset = mark.offset.min(file.size);
        mark.is_settled = candidate.file.is_rotated && mark.offset == file.size;
        return mark.offset < file.size;
    }
    let is_whole = || unpacked_hint(&file.file, file.size) == Some(mark.offset as u32);
    mark.is_settled |= mark.offset > 0 && is_whole();
    !mark.is_settled
}

/// Leaves out what is more than is read of a source that was there before the
/// agent. Answers how many bytes of which files.
pub(crate) fn bound(
    planned: &mut VecDeque<Planned>,
    source: &mut Source,
    backfill: Backfill,
) -> Vec<(String, u64)> {
    let mut left = backfill.bytes;
    let mut excluded = Vec::new();
    for planned in planned.iter_mut().rev() {
        let FoundFile { path, file, is_packed } = &planned.found;
        let size = match is_packed {
            true => unpacked_hint(&file.file, file.size).map_or(file.size, u64::from),
            false => file.size,
        };
        let mark = &mut source.marks[planned.mark];
        let is_old = source.since_ns.is_some_and(|since_ns| file.modified_ns < since_ns);
        if left == 0 || is_old {
            mark.offset = size;
            mark.is_settled = planned.is_rotated;
            planned.is_due = false;
            excluded.push((path.clone(), size));
        } else if size > left && !is_packed {
            mark.offset = size - left;
            planned.is_cut = true;
        }
        left = left.saturating_sub(size);
    }
    excluded
}
