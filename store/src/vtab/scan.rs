//! Opens chunks ahead of the cursor that reads them, in order.
//!
//! Workers take one job after another and stay a few chunks ahead, so memory is
//! bounded, and rows come in the order of the plan. Chunks without a row that is
//! wanted, which is most of them in a search, do not count. A chunk that cannot be read is noted in the catalogue and skipped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::order::Slice;
use super::plan::Filter;
use crate::bundle::{Catalogue, ChunkMeta, RunMeta, Watch};
use crate::codec::filter;
use crate::{Error, Result, file};

/// Most threads that one query uses.
const MAX_WORKERS: usize = 8;

/// Files that one thread has open at once.
const MAX_READERS: usize = 64;

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
    /// Whether texts of many messages are shown, and not only searched, or those of
    /// the first rows. SQLite tells of all alike, so this is found out from the rows.
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
    readers: &'a mut HashMap<usize, file::Reader>,
}

impl Task<'_> {
    pub(crate) fn meta(&self) -> &ChunkMeta {
        &self.catalogue.chunks[self.job.chunk]
    }

    /// Bytes of the chunk.
    pub(crate) fn data(&mut self) -> Result<Vec<u8>> {
        let id = self.meta().id;
        let data = self.reader()?.chunk(id).map_err(Error::Chunk)?;
        let data = data.ok_or_else(|| Error::Chunk("its row is gone from the file".to_owned()))?;
        self.catalogue.watch.add_read(data.len());
        Ok(data)
    }

    /// Bytes of the chunk's skip filter, if it has one that can be used.
    pub(crate) fn skip_filter(&mut self) -> Result<Option<Vec<u8>>> {
        let id = self.meta().id;
        let filter = self.reader()?.skip_filter(id).map_err(Error::Chunk)?;
        Ok(filter.filter(|filter| filter.len() <= filter::MAX_BYTES))
    }

    /// The chunk's file, opened by this thread.
    fn reader(&mut self) -> Result<&file::Reader> {
        let number = self.meta().file;
        if self.readers.len() >= MAX_READERS && !self.readers.contains_key(&number) {
            self.readers.clear();
        }
        match self.readers.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let path =
                    self.catalogue.files.get(number).ok_or_else(|| {
                        Error::Chunk("its file is not part of the bundle".to_owned())
                    })?;
                Ok(entry.insert(file::Reader::open(path)?))
            }
        }
    }
}

/// How a chunk is read.
pub(crate) type Open<C> = fn(&mut Task<'_>) -> Result<Opened<C>>;

/// Chunks that were read, one after another.
#[derive(Debug)]
pub(crate) struct Scan<C> {
    watch: Watch,
    desk: Arc<Desk>,
    results: Receiver<(usize, Option<Done<C>>)>,
    /// Chunks that came before their turn.
    early: HashMap<usize, Option<Done<C>>>,
    taken: usize,
}

/// Where workers get their jobs.
#[derive(Debug)]
struct Desk {
    jobs: Vec<Job>,
    /// Chunks that may be read or held at once.
    most: usize,
    state: Mutex<State>,
    has_room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next job.
    next: usize,
    /// Jobs that were given, and whose rows the cursor has not come to.
    open: usize,
    is_over: bool,
}

impl Desk {
    /// The next job, once there is room for what comes of it. `None` after the last.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.is_over && state.next < self.jobs.len() && state.open >= self.most {
            state = self.has_room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_over || state.next == self.jobs.len() {
            return None;
        }
        state.open += 1;
        state.next += 1;
        Some(state.next - 1)
    }

    /// Makes room: a chunk has no rows, or its rows are shown now.
    fn leave(&self) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        self.has_room.notify_one();
    }

    fn close(&self) {
        self.lock().is_over = true;
        self.has_room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let state = Mutex::new(State::default());
        let desk = Arc::new(Desk { jobs, most: 2 * workers, state, has_room: Condvar::new() });
        let (sender, results) = channel();
        for _ in 0..workers {
            let (desk, sender) = (desk.clone(), sender.clone());
            let (catalogue, request) = (catalogue.clone(), request.clone());
            std::thread::spawn(move || work(&catalogue, &desk, &request, open, &sender));
        }
        Self { watch: catalogue.watch.clone(), desk, results, early: HashMap::new(), taken: 0 }
    }

    /// How many chunks were read so far, or could not be.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// The next chunk that could be read, `None` after the last, or once the question is
    /// given up.
    pub(crate) fn next(&mut self) -> Option<Done<C>> {
        while self.taken < self.desk.jobs.len() && !self.watch.is_over() {
            let done = match self.early.remove(&self.taken) {
                Some(done) => done,
                None => match self.results.recv() {
                    Ok((number, done)) if number == self.taken => done,
                    Ok((number, done)) => {
                        self.early.insert(number, done);
                        continue;
                    }
                    // All workers died of bugs that their own threads reported.
                    Err(_) => return None,
                },
            };
            self.taken += 1;
            if done.as_ref().is_some_and(|done| !done.opened.rows.is_empty()) {
                self.desk.leave();
            }
            if done.is_some() {
                return done;
            }
        }
        None
    }
}

impl<C> Drop for Scan<C> {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// Body of a worker. Ends when its cursor is gone.
fn work<C>(
    catalogue: &Catalogue,
    desk: &Desk,
    request: &Request,
    open: Open<C>,
    sender: &Sender<(usize, Option<Done<C>>)>,
) {
    let mut readers = HashMap::new();
    while let Some(number) = desk.take() {
        let job = &desk.jobs[number];
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            open(&mut Task { catalogue, job, request, readers: &mut readers })
        }))
        .unwrap_or_else(|_| Err(Error::Chunk("reading it panicked".to_owned())));
        let done = match opened {
            Ok(opened) => Some(Done { job: job.clone(), opened }),
            Err(error) => {
                catalogue.add_damage(&catalogue.chunks[job.chunk], error.to_string());
                None
            }
        };
        if done.as_ref().is_none_or(|done| done.opened.rows.is_empty()) {
            desk.leave();
        }
        if sender.send((number, done)).is_err() {
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
