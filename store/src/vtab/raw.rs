//! Tables `raw_chunk` and `raw_chunk_run`, as files have them: lists of what a
//! bundle knows of its chunks.

use std::ffi::{CStr, c_int};
use std::sync::Arc;

use rusqlite::Result;
use rusqlite::vtab::Context;

use super::list::ListTable;
use super::plan::Filter;
use crate::bundle::Catalogue;

/// A row for each chunk, without its bytes.
pub(super) struct RawChunk;

impl ListTable for RawChunk {
    const NAME: &'static CStr = c"raw_chunk";
    const SCHEMA: &'static CStr = c"CREATE TABLE raw_chunk (
        id INTEGER, -- as in its file
        kind TEXT, -- kind of all its streams
        codec INTEGER, -- how its bytes are laid out
        row_count INTEGER, -- rows of all runs
        raw_bytes INTEGER, -- size before compression
        stored_bytes INTEGER, -- size in its file
        file INTEGER -- position of its file in the bundle, from 0
    )";
    /// Position in [`Catalogue::gathered`].
    type Row = usize;

    fn rows(catalogue: &Arc<Catalogue>, _: &Filter) -> impl Iterator<Item = usize> + 'static {
        0..catalogue.gathered.len()
    }

    fn column(
        catalogue: &Catalogue,
        row: &usize,
        column: c_int,
        context: &mut Context,
    ) -> Result<()> {
        let (id, chunk) = &catalogue.gathered[*row];
        match column {
            0 => context.set_result(*id),
            1 => context.set_result(chunk.kind.as_str()),
            2 => context.set_result(chunk.codec),
            3 => context.set_result(chunk.row_count),
            4 => context.set_result(chunk.raw_bytes),
            5 => context.set_result(chunk.stored_bytes),
            _ => context.set_result(chunk.file as i64),
        }
    }
}

/// A row for each run.
pub(super) struct RawChunkRun;

impl ListTable for RawChunkRun {
    const NAME: &'static CStr = c"raw_chunk_run";
    const SCHEMA: &'static CStr = c"CREATE TABLE raw_chunk_run (
        chunk_id INTEGER, -- raw_chunk that holds the rows
        ord INTEGER, -- position of the run in its chunk, from 0
        batch_id INTEGER, -- raw_batch that saw these rows, NULL if they do not count
        stream_id INTEGER, -- raw_stream of these rows
        row_count INTEGER, -- rows in the run; runs lie one after another
        first_ns INTEGER, -- smallest time of a row
        last_ns INTEGER, -- largest time of a row
        failed_count INTEGER, -- rows with outcome 'fail', 0 for logs
        max_gap_ns INTEGER -- largest step between two rows of the run
    )";
    /// Position of its chunk in [`Catalogue::gathered`], and its own.
    type Row = (usize, usize);

    fn rows(
        catalogue: &Arc<Catalogue>,
        _: &Filter,
    ) -> impl Iterator<Item = (usize, usize)> + 'static {
        let catalogue = catalogue.clone();
        (0..catalogue.gathered.len()).flat_map(move |chunk| {
            let runs = catalogue.gathered[chunk].1.runs.len();
            (0..runs).map(move |run| (chunk, run))
        })
    }

    fn column(
        catalogue: &Catalogue,
        (chunk, run): &(usize, usize),
        column: c_int,
        context: &mut Context,
    ) -> Result<()> {
        let (id, chunk) = &catalogue.gathered[*chunk];
        let run = &chunk.runs[*run];
        match column {
            0 => context.set_result(*id),
            1 => context.set_result(run.ord),
            2 => context.set_result(run.batch_id),
            3 => context.set_result(run.stream_id),
            4 => context.set_result(run.row_count),
            5 => context.set_result(run.first_ns),
            6 => context.set_result(run.last_ns),
            7 => context.set_result(run.failed_count),
            _ => context.set_result(run.max_gap_ns),
        }
    }
}
