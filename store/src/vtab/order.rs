//! Rows of many chunks in the order of their times, for queries that want but
//! the first of them.
//!
//! Chunks are read in the order of their first times, and a row is shown once no
//! chunk that is still to be read can have an earlier one: of a bundle of a
//! thousand chunks, `ORDER BY ts LIMIT 10` reads the few that begin first. What
//! is held is bounded: a chunk gives no more than some of its rows at a time, and
//! no more than some chunks are held. What that leaves out, a later round reads
//! again, with more rows of each chunk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::plan::Filter;
use super::scan::{Done, Job, Open, Request, Scan};
use crate::bundle::{Catalogue, RunMeta};

/// Rows that a chunk gives in the first round, and in all after some.
const FIRST_ROWS: usize = 256;
const MOST_ROWS: usize = 1 << 14;

/// Chunks that are held at once, and how large they may be together.
const MOST_CHUNKS: usize = 256;
const MOST_BYTES: usize = 32 << 20;

/// Direction of an order by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Earliest first.
    Ascending,
    /// Latest first.
    Descending,
}

impl Direction {
    /// A number that grows along the direction.
    fn rank(self, ts_ns: i64) -> i64 {
        match self {
            Self::Ascending => ts_ns,
            Self::Descending => !ts_ns,
        }
    }

    /// Ranks of the first and the last row that a run can have.
    fn ranks(self, run: &RunMeta) -> (i64, i64) {
        match self {
            Self::Ascending => (run.first_ns, run.last_ns),
            Self::Descending => (!run.last_ns, !run.first_ns),
        }
    }
}

/// Place of a row in the order: rank of its time, number of its chunk, of itself.
type Key = (i64, usize, u32);

/// The rows of each chunk that a round is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    direction: Direction,
    /// Rows up to this one were shown.
    after: Option<Key>,
    /// How many rows a chunk may give.
    most: usize,
}

/// Rows that a chunk gave, in their order.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    /// Rank of each row, and which of the rows that are shown it is.
    ranks: Vec<(i64, usize)>,
    /// Whether there are more.
    is_cut: bool,
}

impl Slice {
    /// Leaves of the rows of a chunk those that this round is about.
    pub(crate) fn choose(&self, chunk: usize, rows: &mut Vec<u32>, times: &[i64]) -> Ranks {
        let rank = |row: u32| self.direction.rank(times[row as usize]);
        let mut chosen: Vec<(i64, u32)> = rows
            .iter()
            .map(|row| (rank(*row), *row))
            .filter(|(rank, row)| self.after.is_none_or(|after| (*rank, chunk, *row) > after))
            .collect();
        let is_cut = chosen.len() > self.most;
        if is_cut {
            chosen.select_nth_unstable(self.most);
            chosen.truncate(self.most);
        }
        chosen.sort_unstable();
        rows.clear();
        rows.extend(chosen.iter().map(|(_, row)| *row));
        rows.sort_unstable();
        let nth = |row: u32| rows.partition_point(|other| *other < row);
        Ranks { ranks: chosen.iter().map(|(rank, row)| (*rank, nth(*row))).collect(), is_cut }
    }
}

/// A chunk that is held, and its next row.
#[derive(Debug)]
struct Held<C> {
    done: Done<C>,
    ranks: Ranks,
    next: usize,
    bytes: usize,
}

impl<C> Held<C> {
    fn key(&self) -> Option<Key> {
        let (rank, nth) = *self.ranks.ranks.get(self.next)?;
        Some((rank, self.done.job.chunk, self.done.opened.rows[nth]))
    }
}

/// Rows of chunks in the order of their times.
#[derive(Debug)]
pub(crate) struct Ordered<C> {
    catalogue: Arc<Catalogue>,
    filter: Filter,
    columns: u64,
    open: Open<C>,
    ranks: fn(&mut C) -> Ranks,
    /// All jobs, by the ranks of their first rows, with those of their last.
    jobs: Vec<(i64, i64, Job)>,
    slice: Slice,
    request: Arc<Request>,
    scan: Scan<C>,
    /// Ranks of the first rows of this round's jobs.
    starts: Vec<i64>,
    held: Vec<Option<Held<C>>>,
    held_count: usize,
    held_bytes: usize,
    queue: BinaryHeap<Reverse<(Key, usize)>>,
    /// First place in the order that this round knows nothing of.
    end: Option<Key>,
    /// The row that is shown: its chunk among those held.
    current: Option<usize>,
}

impl<C: Send + 'static> Ordered<C> {
    /// Starts to read.
    pub(crate) fn start(
        catalogue: &Arc<Catalogue>,
        jobs: Vec<Job>,
        (filter, columns, direction): (Filter, u64, Direction),
        open: Open<C>,
        ranks: fn(&mut C) -> Ranks,
    ) -> Self {
        let bounds = |job: Job| {
            let ranks = job.runs.iter().map(|run| direction.ranks(run));
            let (first, last) =
                ranks.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((i64::MIN, i64::MAX));
            (first, last, job)
        };
        let mut jobs: Vec<_> = jobs.into_iter().map(bounds).collect();
        jobs.sort_by_key(|(first, _, job)| (*first, job.chunk));
        let slice = Slice { direction, after: None, most: FIRST_ROWS };
        let request = Arc::new(new_request(&filter, columns, slice));
        let mut ordered = Self {
            scan: Scan::start(catalogue, Vec::new(), &request, open),
            catalogue: catalogue.clone(),
            filter,
            columns,
            open,
            ranks,
            jobs,
            slice,
            request,
            starts: Vec::new(),
            held: Vec::new(),
            held_count: 0,
            held_bytes: 0,
            queue: BinaryHeap::new(),
            end: None,
            current: None,
        };
        ordered.start_round();
        ordered
    }

    /// What this round asks of chunks.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The chunk of the row that is shown, and which of its rows it is.
    pub(crate) fn current(&self) -> Option<(&Done<C>, usize)> {
        let held = self.held.get(self.current?)?.as_ref()?;
        let (_, nth) = *held.ranks.ranks.get(held.next)?;
        Some((&held.done, nth))
    }

    /// Goes on to the next row, or the first. False after the last.
    pub(crate) fn next(&mut self) -> bool {
        if let Some(slot) = self.current.take() {
            self.leave(slot);
        }
        loop {
            let unread = self.starts.get(self.scan.taken());
            if let Some(Reverse((key, slot))) = self.queue.peek().copied()
                && self.end.is_none_or(|end| key < end)
                && unread.is_none_or(|start| key.0 < *start)
            {
                self.queue.pop();
                self.current = Some(slot);
                return true;
            }
            let is_over = self.end.is_some_and(|end| unread.is_none_or(|start| *start > end.0));
            if is_over {
                self.slice.most = (self.slice.most * 4).min(MOST_ROWS);
                self.start_round();
            } else if let Some(done) = self.scan.next() {
                self.hold(done);
            } else if self.end.is_none() && self.queue.is_empty() {
                return false;
            }
        }
    }

    /// Reads again what comes after the last row that was shown.
    fn start_round(&mut self) {
        self.held.clear();
        self.queue.clear();
        (self.held_count, self.held_bytes, self.end) = (0, 0, None);
        let from = self.slice.after.map_or(i64::MIN, |after| after.0);
        let left = self.jobs.iter().filter(|(_, last, _)| *last >= from);
        self.starts = left.clone().map(|(first, _, _)| *first).collect();
        let jobs = left.map(|(_, _, job)| job.clone()).collect();
        self.request = Arc::new(new_request(&self.filter, self.columns, self.slice));
        self.scan = Scan::start(&self.catalogue, jobs, &self.request, self.open);
    }

    /// Leaves the row that was shown.
    fn leave(&mut self, slot: usize) {
        let Some(held) = self.held[slot].as_mut() else { return };
        self.slice.after = held.key();
        held.next += 1;
        match held.key() {
            Some(key) => self.queue.push(Reverse((key, slot))),
            None => self.drop_held(slot),
        }
    }

    /// Takes a chunk that was read among those held.
    fn hold(&mut self, mut done: Done<C>) {
        let ranks = (self.ranks)(&mut done.opened.chunk);
        let bytes = self.catalogue.chunks[done.job.chunk].stored_bytes;
        if ranks.is_cut
            && let Some((rank, nth)) = ranks.ranks.last()
        {
            let next = done.opened.rows[*nth].saturating_add(1);
            self.end_at((*rank, done.job.chunk, next));
        }
        let held = Held { done, ranks, next: 0, bytes };
        let Some(key) = held.key() else { return };
        let slot = self.held.len();
        self.queue.push(Reverse((key, slot)));
        self.held.push(Some(held));
        self.held_count += 1;
        self.held_bytes += bytes;
        while self.held_count > 1 && (self.held_count > MOST_CHUNKS || self.held_bytes > MOST_BYTES)
        {
            self.let_go();
        }
    }

    /// Lets go of the chunk whose next row comes last: for a later round.
    fn let_go(&mut self) {
        let Some((key, slot)) = self.queue.iter().map(|Reverse(entry)| *entry).max() else {
            return;
        };
        self.queue.retain(|Reverse((_, other))| *other != slot);
        self.drop_held(slot);
        self.end_at(key);
    }

    fn drop_held(&mut self, slot: usize) {
        if let Some(held) = self.held[slot].take() {
            self.held_count -= 1;
            self.held_bytes -= held.bytes;
        }
    }

    fn end_at(&mut self, key: Key) {
        self.end = Some(self.end.map_or(key, |end| end.min(key)));
    }
}

fn new_request(filter: &Filter, columns: u64, slice: Slice) -> Request {
    Request {
        filter: filter.clone(),
        columns,
        shows_text: AtomicBool::new(false),
        slice: Some(slice),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::batch::{Batch, LineFlags, Outcome, Stream};
    use crate::bundle::Bundle;
    use crate::writer::{Node, Poll, Session, Writer};

    const START: i64 = 1_795_350_480_000_000_000;

    /// A bundle of `chunks` chunks of 400 lines, whose times overlap in all ways.
    fn bundle(folder: &tempfile::TempDir, chunks: i64) -> Bundle {
        let path = folder.path().join("node.db");
        let node = Node { name: "node".to_owned(), machine_id: String::new() };
        let session = Session {
            run_id: "run".to_owned(),
            cluster: None,
            agent_version: "0".to_owned(),
            boot_id: "boot".to_owned(),
            started_ns: START,
            process: 1,
            config: "{}".to_owned(),
        };
        let mut writer = Writer::create(&path, &node, &session).expect("a new file");
        for seq in 0..chunks {
            let mut batch = Batch::new("logs");
            let stream = batch.stream(Stream::unit("kubelet.service"));
            for row in 0..400 {
                let ts_ns = START + (seq * 131 + row * 7_919) % 10_007 * (1 + seq % 3);
                let text = format!("line {row} of {seq}");
                batch.log(stream, ts_ns, LineFlags::default(), text.as_bytes());
            }
            let poll = Poll {
                seq: seq as u64,
                round: seq as u64,
                started_ns: START,
                ended_ns: START,
                outcome: Outcome::Complete,
                message: None,
            };
            writer.commit(batch, &poll).expect("committed");
        }
        writer.seal_while(|| false).expect("sealed");
        Bundle::open(&[path]).expect("a bundle")
    }

    fn ask(db: &Connection, sql: &str) -> Vec<(i64, i64)> {
        let mut statement = db.prepare(sql).expect("sound SQL");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("asked");
        rows.collect::<rusqlite::Result<_>>().expect("rows")
    }

    /// Checks that the first rows in an order are those that sorting all gives,
    /// and that none comes twice.
    fn check(bundle: &Bundle, condition: &str, order: &str, limit: usize) {
        let db = bundle.connection();
        let from = format!("SELECT ts_ns, rowid FROM log WHERE {condition}");
        let found = ask(db, &format!("{from} ORDER BY {order} LIMIT {limit}"));
        // A sum is no column: SQLite sorts by it.
        let sorted = ask(db, &format!("{from} ORDER BY ts_ns + 0 {}", &order[order.len() - 4..]));
        let times = |rows: &[(i64, i64)]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(times(&found), times(&sorted[..limit.min(sorted.len())]), "{condition} {order}");
        let mut distinct: Vec<i64> = found.iter().map(|row| row.1).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), found.len(), "{condition} {order}");
        if limit >= sorted.len() {
            let mut all: Vec<i64> = sorted.iter().map(|row| row.1).collect();
            all.sort_unstable();
            assert_eq!(distinct, all, "{condition} {order}");
        }
    }

    #[test]
    fn the_first_rows_are_those_of_a_sort() {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = bundle(&folder, 20);
        for order in ["ts  ASC", "ts_ns  ASC", "ts DESC", "ts_ns DESC"] {
            for limit in [0, 1, 10, 300, 20_000] {
                check(&bundle, "true", order, limit);
                check(&bundle, "message LIKE '% 3 of %'", order, limit);
                check(&bundle, "message LIKE '%ine 3_ of %'", order, limit);
                check(&bundle, "message REGEXP '[13] of 1'", order, limit);
                check(&bundle, "ts_ns % 2 = 0", order, limit);
                check(&bundle, "ts > '2026-11-22T12:28:00.000005Z'", order, limit);
                check(&bundle, "message MATCH 'nothing like it'", order, limit);
            }
        }
    }

    #[test]
    fn more_chunks_than_are_held_at_once_keep_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = bundle(&folder, MOST_CHUNKS as i64 + 20);
        check(&bundle, "true", "ts  ASC", 3_000);
        check(&bundle, "true", "ts DESC", 3_000);
    }

    #[test]
    fn only_the_first_rows_come_without_a_sort() {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = bundle(&folder, 1);
        let sorts = |sql: &str| {
            let plan = format!("EXPLAIN QUERY PLAN SELECT message FROM log {sql}");
            let mut statement = bundle.connection().prepare(&plan).expect("sound SQL");
            let rows = statement.query_map([], |row| row.get::<_, String>(3)).expect("asked");
            rows.map(|row| row.expect("a row")).any(|row| row.contains("TEMP B-TREE"))
        };
        assert!(!sorts("ORDER BY ts LIMIT 10"));
        // min and max ask for the order as well, which their plan tells.
        for (function, step) in [("min", "!A"), ("max", "!D")] {
            for column in ["ts", "ts_ns"] {
                let sql = format!("EXPLAIN QUERY PLAN SELECT {function}({column}) FROM log");
                let plan = bundle.connection().query_row(&sql, [], |row| row.get::<_, String>(3));
                assert!(plan.expect("a plan").ends_with(step), "{sql}");
            }
        }
        assert!(!sorts("WHERE message LIKE '%x%' ORDER BY ts_ns DESC LIMIT 10 OFFSET 3"));
        assert!(sorts("ORDER BY ts"));
        assert!(sorts("ORDER BY message LIMIT 10"));
        assert!(sorts("ORDER BY ts, message LIMIT 10"));
        assert!(sorts("WHERE node IN ('a', 'b') ORDER BY ts LIMIT 10"));
    }
}
