//! Table `log`: lines of containers, systemd units and files.
//!
//! No more of a chunk is opened than a query needs. A search for text reads
//! templates and strings and builds the messages of no rows but those it finds,
//! and these only once a message is shown: counting them takes no text at all.

use std::cell::OnceCell;
use std::ffi::{CStr, c_int};
use std::sync::atomic::Ordering;

use rusqlite::Result;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::Context;

use super::order::Ranks;
use super::pattern::{Check, Pattern};
use super::plan::Push;
use super::scan::{Job, Opened, Task};
use super::table::{ChunkTable, Row, TimeOrder};
use crate::batch::{LineFlags, StreamKind};
use crate::codec::{Declared, LogColumns, LogReader, Needle, filter};
use crate::time;

pub(super) struct Log;

/// Number of column `message`.
const MESSAGE: u32 = 12;
/// Lines that are built at once as long as nobody asks for more.
const HEAD_ROWS: usize = 256;

/// Numbers of the columns that come from times and flags of rows.
const FACTS: &[u32] = &[1, 2, 10, 11, 13, 14];

impl ChunkTable for Log {
    const NAME: &'static CStr = c"log";
    const SCHEMA: &'static CStr = c"CREATE TABLE log (
        node TEXT, -- node that wrote the line
        ts TEXT NOT NULL, -- time of the line, RFC 3339 UTC with nanoseconds
        ts_ns INTEGER NOT NULL, -- the same in nanoseconds since 1970
        source TEXT, -- 'container', 'unit' (journal) or 'file'
        namespace TEXT, -- namespace of the pod, for containers
        pod TEXT, -- name of the pod, for containers
        container TEXT, -- name of the container, for containers
        restart INTEGER, -- how often the container had restarted, for containers
        unit TEXT, -- systemd unit or 'kernel', for the journal
        path TEXT, -- path on the node, for files
        output TEXT, -- 'stdout' or 'stderr', for containers
        level TEXT, -- 'debug', 'info', 'warning', 'error', 'fatal', or NULL
        message TEXT, -- the line without its time, or the journal's MESSAGE
        partial INTEGER, -- 1 if the line was cut or had no end yet
        inferred_time INTEGER, -- 1 if ts is that of the line before or the file
        batch_id INTEGER, -- batch that read the line, see collection
        stream_id INTEGER -- stream that the line belongs to
    )";
    const KINDS: &'static [StreamKind] =
        &[StreamKind::Container, StreamKind::Unit, StreamKind::File];
    const PUSHES: &'static [(c_int, Push)] = &[
        (0, Push::Node),
        (1, Push::Ts),
        (2, Push::TsNs),
        (3, Push::Kind),
        (4, Push::Attribute("namespace")),
        (5, Push::Attribute("pod")),
        (6, Push::Attribute("container")),
        (8, Push::Attribute("unit")),
        (9, Push::Attribute("path")),
        (11, Push::Level),
        (MESSAGE as c_int, Push::Message),
        (16, Push::StreamId),
    ];
    const ORDER: Option<TimeOrder<Lines>> =
        Some(TimeOrder { columns: &[1, 2], ranks: |lines| std::mem::take(&mut lines.ranks) });
    type Chunk = Lines;

    fn open(task: &mut Task<'_>) -> crate::Result<Opened<Lines>> {
        open(task)
    }

    fn column(row: &Row<'_, Self>, column: c_int, context: &mut Context) -> Result<()> {
        let flags = || row.fact(|facts| facts.flags(row.nth)).map(LineFlags::from_byte);
        let is_container = row.stream.kind == StreamKind::Container;
        match column {
            0 => context.set_result(&*row.stream.node),
            1 => context.set_result(row.fact(|facts| facts.ts_ns(row.nth)).map(time::format_ns)),
            2 => context.set_result(row.fact(|facts| facts.ts_ns(row.nth))),
            3 => context.set_result(row.stream.kind.as_str()),
            4 => context.set_result(row.stream.text("namespace")),
            5 => context.set_result(row.stream.text("pod")),
            6 => context.set_result(row.stream.text("container")),
            7 => context.set_result(row.stream.integer("restart")),
            8 => context.set_result(row.stream.text("unit")),
            9 => context.set_result(row.stream.text("path")),
            10 => context.set_result(
                flags()
                    .filter(|_| is_container)
                    .map(|flags| if flags.stderr { "stderr" } else { "stdout" }),
            ),
            11 => context.set_result(flags().and_then(|flags| flags.level.as_str())),
            12 => match row.lines() {
                // Lines may hold any bytes; SQLite keeps them as they are.
                Some(lines) => context
                    .set_result(ToSqlOutput::Borrowed(ValueRef::Text(lines.message(row.nth)))),
                None => context.set_result(rusqlite::types::Null),
            },
            13 => context.set_result(flags().map(|flags| flags.partial)),
            14 => context.set_result(flags().map(|flags| flags.inferred_time)),
            15 => context.set_result(row.batch_id),
            _ => context.set_result(row.stream.id),
        }
    }
}

/// What is open of a log chunk, for the rows that are shown and in their order.
#[derive(Debug, Default)]
pub(super) struct Lines {
    declared: Option<Declared>,
    /// The chunk itself, for when more of it is asked for than was foreseen.
    data: Vec<u8>,
    /// Times and flags, with messages of no text.
    facts: Option<LogColumns>,
    /// The first lines, for when no more are asked for.
    head: OnceCell<Option<LogColumns>>,
    text: OnceCell<Option<LogColumns>>,
    /// Order of the rows, if they are shown by time.
    ranks: Ranks,
}

impl Row<'_, Log> {
    /// Something of the time or the flags, `None` if the chunk turned out to be
    /// damaged.
    fn fact<F>(&self, fact: impl FnOnce(&LogColumns) -> F) -> Option<F> {
        self.chunk.facts.as_ref().or_else(|| self.lines()).map(fact)
    }

    /// The lines, `None` if the chunk turned out to be damaged. Who asks for one of
    /// the first gets only those: `LIMIT` is not known here.
    fn lines(&self) -> Option<&LogColumns> {
        let chunk = self.chunk;
        if let Some(lines) = chunk.text.get() {
            return lines.as_ref();
        }
        let is_last = self.nth + 1 == self.rows.len();
        if self.nth < HEAD_ROWS && !is_last {
            return chunk.head.get_or_init(|| self.expand(HEAD_ROWS)).as_ref();
        }
        // Workers build text ahead from now on.
        self.request.shows_text.store(true, Ordering::Relaxed);
        chunk.text.get_or_init(|| self.expand(usize::MAX)).as_ref()
    }

    /// At most so many of the lines.
    fn expand(&self, most: usize) -> Option<LogColumns> {
        let rows = &self.rows[..self.rows.len().min(most)];
        LogReader::open(self.chunk.declared?, &self.chunk.data)
            .and_then(|reader| reader.expand(rows))
            .map_err(|error| {
                let meta = &self.catalogue.chunks[self.number];
                self.catalogue.add_damage(meta, error.to_string());
            })
            .ok()
    }
}

fn open(task: &mut Task<'_>) -> crate::Result<Opened<Lines>> {
    let (job, request) = (task.job, task.request);
    let filter = &request.filter;
    let all_in_time = job.runs.iter().all(|run| filter.has_times_of(run));
    let reads_rows = !all_in_time || filter.level.is_some() || !filter.patterns.is_empty();
    if request.columns == 0 && !reads_rows && request.slice.is_none() {
        // Rows are only counted.
        return Ok(Opened { rows: job.rows().collect(), chunk: Lines::default() });
    }
    if !may_match(task)? {
        return Ok(Opened { rows: Vec::new(), chunk: Lines::default() });
    }
    let declared = task.meta().declared;
    let data = task.data()?;
    let reader = LogReader::open(declared, &data)?;
    let mut rows = matching(&reader, job, &filter.patterns)?;
    if !all_in_time && !rows.is_empty() {
        let times = reader.ts()?;
        rows.retain(|row| filter.has_time(times[*row as usize]));
    }
    if let Some(level) = &filter.level
        && !rows.is_empty()
    {
        let flags = reader.flags()?;
        rows.retain(|row| LineFlags::from_byte(flags[*row as usize]).level.as_str() == Some(level));
    }
    leave_out_behind_nul(&reader, &mut rows, &filter.patterns)?;
    if rows.is_empty() {
        return Ok(Opened { rows, chunk: Lines::default() });
    }
    let mut lines = leave_out_unmatched(&reader, &mut rows, &filter.patterns)?;
    let mut ranks = Ranks::default();
    if let Some(slice) = &request.slice {
        ranks = slice.choose(job.chunk, &mut rows, reader.ts()?);
        // The lines were those of all rows.
        lines = None;
    }
    if lines.is_none() && request.shows_text() && request.slice.is_none() {
        lines = Some(reader.expand(&rows)?);
    }
    let facts = if lines.is_none() && request.names(FACTS) {
        let (times, flags) = (reader.ts()?, reader.flags()?);
        let mut facts = LogColumns::default();
        rows.iter().for_each(|row| facts.push(times[*row as usize], flags[*row as usize], b""));
        Some(facts)
    } else {
        None
    };
    let text = lines.map_or_else(OnceCell::new, |lines| OnceCell::from(Some(lines)));
    Ok(Opened {
        rows,
        chunk: Lines { declared: Some(declared), data, facts, head: OnceCell::new(), text, ranks },
    })
}

/// Whether the chunk's skip filter leaves it possible that a message holds the
/// literals of all patterns.
fn may_match(task: &mut Task<'_>) -> crate::Result<bool> {
    let patterns = &task.request.filter.patterns;
    if patterns.iter().all(|pattern| pattern.literal.len() < filter::MIN_TEXT) {
        return Ok(true);
    }
    let Some(filter) = task.skip_filter()? else { return Ok(true) };
    Ok(patterns.iter().all(|pattern| filter::may_contain(&filter, &pattern.literal)))
}

/// Rows of the job that hold the needles of all patterns.
fn matching(reader: &LogReader<'_>, job: &Job, patterns: &[Pattern]) -> crate::Result<Vec<u32>> {
    let mut all: Option<Vec<u32>> = None;
    for needle in patterns.iter().filter_map(|pattern| pattern.needle.as_ref()) {
        let mut found = reader.rows_matching(needle)?;
        match &all {
            None => job.only_wanted(&mut found),
            Some(all) => found.retain(|row| all.binary_search(row).is_ok()),
        }
        if found.is_empty() {
            return Ok(found);
        }
        all = Some(found);
    }
    Ok(all.unwrap_or_else(|| job.rows().collect()))
}

/// Leaves out rows whose needles are behind a NUL, where LIKE and GLOB do not
/// look. Hardly a line has one, so that mostly nothing is built.
fn leave_out_behind_nul(
    reader: &LogReader<'_>,
    rows: &mut Vec<u32>,
    patterns: &[Pattern],
) -> crate::Result<()> {
    let needles: Vec<_> = patterns
        .iter()
        .filter(|pattern| matches!(pattern.check, Check::BeforeNul))
        .filter_map(|pattern| pattern.needle.as_ref())
        .collect();
    if needles.is_empty() || rows.is_empty() {
        return Ok(());
    }
    let mut with_nul = reader.rows_matching(&Needle::new(&[0], false))?;
    with_nul.retain(|row| rows.binary_search(row).is_ok());
    if with_nul.is_empty() {
        return Ok(());
    }
    let lines = reader.expand(&with_nul)?;
    rows.retain(|row| {
        let Ok(nth) = with_nul.binary_search(row) else { return true };
        let text = lines.message(nth).split(|byte| *byte == 0).next().unwrap_or_default();
        needles.iter().all(|needle| needle.is_in(text))
    });
    Ok(())
}

/// Leaves out rows that regular expressions do not match. The lines of the
/// others, if there is an expression.
fn leave_out_unmatched(
    reader: &LogReader<'_>,
    rows: &mut Vec<u32>,
    patterns: &[Pattern],
) -> crate::Result<Option<LogColumns>> {
    let regexes: Vec<_> = patterns
        .iter()
        .filter_map(|pattern| match &pattern.check {
            Check::Regex(regex) => Some(regex),
            _ => None,
        })
        .collect();
    if regexes.is_empty() {
        return Ok(None);
    }
    let candidates = reader.expand(rows)?;
    let mut lines = LogColumns::default();
    let mut nth = 0;
    rows.retain(|_| {
        let message = candidates.message(nth);
        let holds = regexes.iter().all(|regex| regex.is_match(message));
        if holds {
            lines.push(candidates.ts_ns(nth), candidates.flags(nth), message);
        }
        nth += 1;
        holds
    });
    Ok(Some(lines))
}
