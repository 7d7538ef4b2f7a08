//! Tables `log_chunk` and `log_stats`: how many lines there are, of what and
//! when, without reading one.

use std::ffi::{CStr, c_int};
use std::sync::Arc;

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::list::ListTable;
use super::log::Log;
use super::plan::Filter;
use super::table::ChunkTable;
use crate::bundle::{Catalogue, ChunkMeta, RunMeta, StreamMeta};
use crate::time;

/// Chunks of log lines.
fn log_chunks(catalogue: &Catalogue) -> impl Iterator<Item = (usize, &ChunkMeta)> {
    let chunks = catalogue.chunks.iter().enumerate();
    chunks.filter(|(_, chunk)| Log::KINDS.contains(&chunk.kind))
}

/// Column `column` of those that both tables begin with.
fn stream_column(stream: &StreamMeta, column: c_int, context: &mut Context) -> Result<()> {
    match column {
        0 => context.set_result(&*stream.node),
        1 => context.set_result(stream.kind.as_str()),
        2 => context.set_result(stream.text("namespace")),
        3 => context.set_result(stream.text("pod")),
        4 => context.set_result(stream.text("container")),
        5 => context.set_result(stream.integer("restart")),
        6 => context.set_result(stream.text("unit")),
        7 => context.set_result(stream.text("path")),
        _ => context.set_result(stream.id),
    }
}

/// A row for each run: lines of one stream in one chunk.
pub(super) struct LogChunk;

/// A run and its chunk.
pub(super) struct Run {
    chunk: usize,
    meta: RunMeta,
}

impl Run {
    /// What of a size of its chunk the run makes up, by its rows. Shares of all
    /// runs of a chunk add up to the whole.
    fn share(&self, chunk: &ChunkMeta, bytes: usize) -> i64 {
        let until = |rows: usize| {
            (bytes as u128 * rows as u128).checked_div(chunk.declared.row_count as u128)
        };
        let end = until(self.meta.first_row.saturating_add(self.meta.row_count));
        (end.unwrap_or_default() - until(self.meta.first_row).unwrap_or_default()) as i64
    }
}

impl ListTable for LogChunk {
    const NAME: &'static CStr = c"log_chunk";
    const SCHEMA: &'static CStr = c"CREATE TABLE log_chunk (
        node TEXT, -- node that wrote the lines
        source TEXT, -- 'container', 'unit' (journal) or 'file'
        namespace TEXT, -- namespace of the pod, for containers
        pod TEXT, -- name of the pod, for containers
        container TEXT, -- name of the container, for containers
        restart INTEGER, -- how often the container had restarted
        unit TEXT, -- systemd unit or 'kernel', for the journal
        path TEXT, -- path on the node, for files
        stream_id INTEGER, -- stream that the lines belong to
        first_ts TEXT, -- smallest time of a line, RFC 3339 UTC
        last_ts TEXT, -- largest time of a line, RFC 3339 UTC
        first_ns INTEGER, -- first_ts in nanoseconds since 1970
        last_ns INTEGER, -- last_ts in nanoseconds since 1970
        row_count INTEGER, -- lines
        raw_bytes INTEGER, -- share in the size of the chunk's lines, by row_count
        stored_bytes INTEGER, -- the same of its compressed size
        chunk_id INTEGER, -- chunk that holds the lines
        batch_id INTEGER -- batch that read them, see collection
    )";
    type Row = Run;

    fn rows(catalogue: &Arc<Catalogue>, _: &Filter) -> impl Iterator<Item = Run> + 'static {
        log_chunks(catalogue)
            .flat_map(|(chunk, meta)| meta.runs.iter().map(move |run| Run { chunk, meta: *run }))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn column(
        catalogue: &Catalogue,
        row: &Run,
        column: c_int,
        context: &mut Context,
    ) -> Result<()> {
        let (chunk, run) = (&catalogue.chunks[row.chunk], &row.meta);
        match column {
            9 => context.set_result(time::format_ns(run.first_ns)),
            10 => context.set_result(time::format_ns(run.last_ns)),
            11 => context.set_result(run.first_ns),
            12 => context.set_result(run.last_ns),
            13 => context.set_result(run.row_count as i64),
            14 => context.set_result(row.share(chunk, chunk.declared.raw_bytes)),
            15 => context.set_result(row.share(chunk, chunk.stored_bytes)),
            16 => context.set_result(chunk.id),
            17 => context.set_result(run.batch_id),
            _ => stream_column(&catalogue.streams[run.stream], column, context),
        }
    }
}

/// A row for each stream that has lines.
pub(super) struct LogStats;

/// All runs of a stream together.
pub(super) struct Stats {
    stream: usize,
    chunk_count: usize,
    row_count: usize,
    first_ns: i64,
    last_ns: i64,
}

impl ListTable for LogStats {
    const NAME: &'static CStr = c"log_stats";
    const SCHEMA: &'static CStr = c"CREATE TABLE log_stats (
        node TEXT, -- node that wrote the lines
        source TEXT, -- 'container', 'unit' (journal) or 'file'
        namespace TEXT, -- namespace of the pod, for containers
        pod TEXT, -- name of the pod, for containers
        container TEXT, -- name of the container, for containers
        restart INTEGER, -- how often the container had restarted
        unit TEXT, -- systemd unit or 'kernel', for the journal
        path TEXT, -- path on the node, for files
        stream_id INTEGER, -- stream that the lines belong to
        first_ts TEXT, -- smallest time of a line, RFC 3339 UTC
        last_ts TEXT, -- largest time of a line, RFC 3339 UTC
        row_count INTEGER, -- lines
        chunk_count INTEGER -- chunks that hold them, see log_chunk
    )";
    type Row = Stats;

    fn rows(catalogue: &Arc<Catalogue>, _: &Filter) -> impl Iterator<Item = Stats> + 'static {
        let mut last_chunk = vec![usize::MAX; catalogue.streams.len()];
        let mut all: Vec<Stats> = (0..catalogue.streams.len())
            .map(|stream| Stats {
                stream,
                chunk_count: 0,
                row_count: 0,
                first_ns: i64::MAX,
                last_ns: i64::MIN,
            })
            .collect();
        for (number, chunk) in log_chunks(catalogue) {
            for run in &chunk.runs {
                let stats = &mut all[run.stream];
                stats.row_count = stats.row_count.saturating_add(run.row_count);
                stats.first_ns = stats.first_ns.min(run.first_ns);
                stats.last_ns = stats.last_ns.max(run.last_ns);
                let known = std::mem::replace(&mut last_chunk[run.stream], number);
                stats.chunk_count += usize::from(known != number);
            }
        }
        all.retain(|stats| stats.chunk_count > 0);
        all.into_iter()
    }

    fn column(
        catalogue: &Catalogue,
        row: &Stats,
        column: c_int,
        context: &mut Context,
    ) -> Result<()> {
        match column {
            9 => context.set_result(time::format_ns(row.first_ns)),
            10 => context.set_result(time::format_ns(row.last_ns)),
            11 => context.set_result(row.row_count as i64),
            12 => context.set_result(row.chunk_count as i64),
            _ => stream_column(&catalogue.streams[row.stream], column, context),
        }
    }
}
