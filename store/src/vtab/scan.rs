//! Opens chunks ahead of the cursor that reads them, in order.
//!
//! Worker `k` of `n` takes every `n`-th job and stays at most one chunk ahead,
//! so memory is bounded by a few chunks, and rows come in the order of the
//! plan. A chunk that cannot be read is noted in the catalogue and skipped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::{Connection, OptionalExtension};

use super::order::Slice;
use super::plan::Filter;
use crate::bundle::{Catalogue, ChunkMeta, RunMeta};
use crate::codec::filter;
use crate::{Error, Result, file};

/// Most threads that one query uses.
const MAX_WORKERS: usize = 8;

/// A chunk to read, and the runs of it that are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Position in [`Catalogue::chunks`].
    pub(crate) chunk: usize,
    /// Runs to read, in order.
    pub(crate) runs: Vec<RunMeta>,
}

impl Job {
    /// Numbers of all rows of the runs.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.runs
            .iter()
            .flat_map(|run| run.first_row as u32..(run.first_row + run.row_count) as u32)
    }

    /// Those of `rows`, which ascend, that are in the runs.
    pub(crate) fn only_wanted(&self, rows: &mut Vec<u32>) {
        let mut runs = self.runs.iter().peekable();
        rows.retain(|row| {
            let row = *row as usize;
            while runs.next_if(|run| run.first_row + run.row_count <= row).is_some() {}
            runs.peek().is_some_and(|run| run.first_row <= row)
        });
    }
}

/// What a query wants: which rows, and what of them.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) filter: Filter,
    /// Columns that the query names, as SQLite's `colUsed` has them.
    pub(crate) columns: u64,
    /// Whether texts of messages are shown, and not only searched. SQLite tells
    /// of both alike, so this is found out from the first row.
    pub(crate) shows_text: AtomicBool,
    /// The rows to give of each chunk if rows are shown in the order of their
    /// times; all of them if not.
    pub(crate) slice: Option<Slice>,
}

impl Request {
    /// Whether the query names one of some columns.
    pub(crate) fn names(&self, columns: &[u32]) -> bool {
        columns.iter().any(|column| self.columns >> column & 1 != 0)
    }

    pub(crate) fn shows_text(&self) -> bool {
        self.shows_text.load(Ordering::Relaxed)
    }
}

/// A chunk that was read: the rows to show, ascending, and what they are.
#[derive(Debug)]
pub(crate) struct Opened<C> {
    pub(crate) rows: Vec<u32>,
    pub(crate) chunk: C,
}

/// The same, with the job that it was.
#[derive(Debug)]
pub(crate) struct Done<C> {
    pub(crate) job: Job,
    pub(crate) opened: Opened<C>,
}

/// A job in a worker's hands.
pub(crate) struct Task<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) job: &'a Job,
    pub(crate) request: &'a Request,
    connections: &'a mut HashMap<usize, Connection>,
}

impl Task<'_> {
    pub(crate) fn meta(&self) -> &ChunkMeta {
        &self.catalogue.chunks[self.job.chunk]
    }

    /// Bytes of the chunk.
    pub(crate) fn data(&mut self) -> Result<Vec<u8>> {
        self.read("SELECT data FROM raw_chunk WHERE id = ?")?
            .ok_or_else(|| Error::Chunk("its row is gone from the file".to_owned()))
    }

    /// Bytes of the chunk's skip filter, if it has one.
    pub(crate) fn skip_filter(&mut self) -> Result<Option<Vec<u8>>> {
        const { assert!(filter::TRIGRAMS == 1 && filter::MAX_BYTES == 33_554_432) }
        self.read(
            "SELECT data FROM raw_chunk_filter
             WHERE chunk_id = ? AND kind = 1 AND length(data) <= 33554432",
        )
    }

    /// What a statement finds for the chunk, on a connection of this thread's own.
    fn read(&mut self, sql: &str) -> Result<Option<Vec<u8>>> {
        let chunk = &self.catalogue.chunks[self.job.chunk];
        let connection = match self.connections.entry(chunk.file) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let path =
                    self.catalogue.files.get(chunk.file).ok_or_else(|| {
                        Error::Chunk("its file is not part of the bundle".to_owned())
                    })?;
                entry.insert(file::open(path)?)
            }
        };
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([chunk.id], |row| row.get(0)).optional())
            .map_err(|error| Error::Chunk(file::plain(&error)))
    }
}

/// How a chunk is read.
pub(crate) type Open<C> = fn(&mut Task<'_>) -> Result<Opened<C>>;

/// Chunks that were read, one after another.
#[derive(Debug)]
pub(crate) struct Scan<C> {
    lanes: Vec<Receiver<Option<Done<C>>>>,
    jobs: usize,
    taken: usize,
}

impl<C: Send + 'static> Scan<C> {
    /// Starts to read.
    pub(crate) fn start(
        catalogue: &Arc<Catalogue>,
        jobs: Vec<Job>,
        request: &Arc<Request>,
        open: Open<C>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.clamp(1, MAX_WORKERS).min(jobs.len());
        let total = jobs.len();
        let mut queues: Vec<Vec<Job>> = vec![Vec::new(); workers];
        for (at, job) in jobs.into_iter().enumerate() {
            queues[at % workers].push(job);
        }
        let lanes = queues
            .into_iter()
            .map(|queue| {
                let (sender, receiver) = sync_channel(1);
                let (catalogue, request) = (catalogue.clone(), request.clone());
                std::thread::spawn(move || work(&catalogue, queue, &request, open, &sender));
                receiver
            })
            .collect();
        Self { lanes, jobs: total, taken: 0 }
    }

    /// How many chunks were read so far, or could not be.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// The next chunk that could be read, `None` after the last.
    pub(crate) fn next(&mut self) -> Option<Done<C>> {
        while self.taken < self.jobs {
            let lane = self.taken % self.lanes.len();
            self.taken += 1;
            // A lane that hung up has told its damage or died of a bug that its
            // own thread reported; either way the other lanes go on.
            if let Ok(Some(done)) = self.lanes[lane].recv() {
                return Some(done);
            }
        }
        None
    }
}

/// Body of a worker. Ends when its cursor is gone.
fn work<C>(
    catalogue: &Catalogue,
    queue: Vec<Job>,
    request: &Request,
    open: Open<C>,
    sender: &SyncSender<Option<Done<C>>>,
) {
    let mut connections = HashMap::new();
    for job in queue {
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            open(&mut Task { catalogue, job: &job, request, connections: &mut connections })
        }))
        .unwrap_or_else(|_| Err(Error::Chunk("reading it panicked".to_owned())));
        let done = match opened {
            Ok(opened) => Some(Done { job, opened }),
            Err(error) => {
                catalogue.add_damage(&catalogue.chunks[job.chunk], error.to_string());
                None
            }
        };
        if sender.send(done).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outside_the_runs_are_left() {
        let run = |first_row, row_count| RunMeta {
            stream: 0,
            batch_id: 0,
            first_row,
            row_count,
            first_ns: 0,
            last_ns: 0,
            failed_count: 0,
        };
        let job = Job { chunk: 0, runs: vec![run(2, 2), run(6, 0), run(7, 1)] };
        let mut rows: Vec<u32> = (0..10).collect();
        job.only_wanted(&mut rows);
        assert_eq!(rows, [2, 3, 7]);
        assert_eq!(job.rows().collect::<Vec<_>>(), rows);
    }
}
