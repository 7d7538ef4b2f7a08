//! Reads the heads of probe chunks, and joins their stretches where chunks or
//! batches part what is one.
//!
//! One node after another is read, so that memory is bounded by the heads of one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::Connection;

use super::plan::Filter;
use super::scan::Job;
use crate::batch::{ProbeOutcome, StreamKind};
use crate::bundle::Catalogue;
use crate::codec::{self, Head, Instant, Stretch};
use crate::{Error, Result, file};

/// Bytes that are read of a chunk at first: a healthy day's head is smaller.
const FIRST_READ_BYTES: usize = 4_096;

/// Samples in a row that ended alike, and what was before and after them.
#[expect(clippy::struct_field_names, reason = "a row of the table has a count of rows of chunks")]
pub(super) struct Row {
    /// Position in the catalogue's streams.
    pub(super) stream: usize,
    pub(super) session_id: i64,
    /// Number of its first sample in its session, from 1; skipped ones do not count.
    pub(super) position: u64,
    /// The first of the stretches that it is joined of.
    pub(super) start: Part,
    pub(super) row_count: u64,
    pub(super) last: Instant,
    pub(super) last_duration_us: u64,
    pub(super) total_duration_us: u64,
    pub(super) max_duration_us: u64,
    /// The one before that was not skipped, in the same session.
    pub(super) before: Option<Before>,
    /// Start of the next sample that was not skipped, in the same session.
    pub(super) after: Option<Instant>,
}

/// What is known of the stretch before another.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) part: Part,
    pub(super) last: Instant,
    pub(super) last_duration_us: u64,
}

/// A stretch in the head of a chunk.
#[derive(Clone)]
pub(super) struct Part {
    head: Arc<Head>,
    at: usize,
}

impl Part {
    pub(super) fn stretch(&self) -> &Stretch {
        &self.head.stretches[self.at]
    }

    /// Phase, class of error, error of the first and its address; empty if none.
    pub(super) fn texts(&self) -> [&str; 4] {
        let stretch = self.stretch();
        [stretch.phase, stretch.error_class, stretch.error, stretch.address]
            .map(|word| self.head.words.get(word))
    }

    /// Whether samples of both ended alike.
    fn is_like(&self, other: &Self) -> bool {
        let [phase, error_class, ..] = self.texts();
        let [other_phase, other_class, ..] = other.texts();
        self.stretch().outcome == other.stretch().outcome
            && phase == other_phase
            && error_class == other_class
    }
}

/// A stretch of the node that is being told, to be sorted.
#[derive(Clone, Copy)]
struct Piece {
    stream: u32,
    head: u32,
    at: u32,
    session_id: i64,
}

/// All stretches that a filter lets through, by node, stream, session and time.
pub(super) struct Stretches {
    catalogue: Arc<Catalogue>,
    /// Chunks of the nodes that are still to be read.
    nodes: VecDeque<Vec<Job>>,
    /// The file that was read last.
    open: Option<(usize, Connection)>,
    heads: Vec<Arc<Head>>,
    pieces: Vec<Piece>,
    /// The next piece.
    at: usize,
    /// First piece from `at` on that was not skipped, or one before `at`.
    next_tried: usize,
    /// Samples of the session so far that were not skipped.
    tried: u64,
    before: Option<Before>,
}

impl Stretches {
    pub(super) fn new(catalogue: &Arc<Catalogue>, filter: &Filter) -> Self {
        let mut by_node: HashMap<&str, usize> = HashMap::new();
        let mut nodes: VecDeque<Vec<Job>> = VecDeque::new();
        for job in filter.jobs(catalogue, &[StreamKind::Probe.as_str()]) {
            let Some(run) = job.runs.first() else { continue };
            let node = &*catalogue.streams[run.stream].node;
            let at = *by_node.entry(node).or_insert_with(|| {
                nodes.push_back(Vec::new());
                nodes.len() - 1
            });
            nodes[at].push(job);
        }
        Self {
            catalogue: catalogue.clone(),
            nodes,
            open: None,
            heads: Vec::new(),
            pieces: Vec::new(),
            at: 0,
            next_tried: 0,
            tried: 0,
            before: None,
        }
    }

    /// Reads the heads of a node's chunks. What cannot be read is noted.
    fn read_node(&mut self, jobs: &[Job]) {
        (self.at, self.next_tried) = (0, 0);
        self.heads.clear();
        self.pieces.clear();
        for job in jobs {
            let before = self.pieces.len();
            if let Err(error) = self.read_chunk(job) {
                self.pieces.truncate(before);
                let chunk = &self.catalogue.chunks[job.chunk];
                self.catalogue.add_damage(chunk, error.to_string());
            }
        }
        let heads = &self.heads;
        self.pieces.sort_by_key(|piece| {
            let first = heads[piece.head as usize].stretches[piece.at as usize].first;
            (piece.stream, piece.session_id, first.mono_ns, first.seq)
        });
    }

    fn read_chunk(&mut self, job: &Job) -> Result<()> {
        let head = self.read_head(job.chunk)?;
        let mut runs = job.runs.iter().peekable();
        let mut row = 0;
        for (at, stretch) in head.stretches.iter().enumerate() {
            let past = row + stretch.row_count;
            while runs.next_if(|run| run.first_row + run.row_count <= row).is_some() {}
            if let Some(run) = runs.peek().filter(|run| run.first_row < past) {
                if row < run.first_row || run.first_row + run.row_count < past {
                    return Err(Error::Chunk("a stretch reaches beyond its run".to_owned()));
                }
                let batch = self.catalogue.batches.get(&run.batch_id);
                self.pieces.push(Piece {
                    stream: run.stream as u32,
                    head: self.heads.len() as u32,
                    at: at as u32,
                    session_id: batch.map(|batch| batch.session_id).unwrap_or_default(),
                });
            }
            row = past;
        }
        self.heads.push(Arc::new(head));
        Ok(())
    }

    /// The first frame of a chunk, and no more of it.
    fn read_head(&mut self, chunk: usize) -> Result<Head> {
        let chunk = &self.catalogue.chunks[chunk];
        let connection = match self.open.take() {
            Some((file, connection)) if file == chunk.file => connection,
            _ => {
                let path =
                    self.catalogue.files.get(chunk.file).ok_or_else(|| {
                        Error::Chunk("its file is not part of the bundle".to_owned())
                    })?;
                file::open(path)?
            }
        };
        let (_, connection) = self.open.insert((chunk.file, connection));
        let plain = |error: rusqlite::Error| Error::Chunk(file::plain(&error));
        let blob =
            connection.blob_open("main", "raw_chunk", "data", chunk.id, true).map_err(plain)?;
        let mut data = vec![0; blob.len().min(FIRST_READ_BYTES)];
        blob.read_at_exact(&mut data, 0).map_err(plain)?;
        let length = codec::head_length(&data)?.min(blob.len());
        let known = data.len();
        if length > known {
            data.resize(length, 0);
            blob.read_at_exact(&mut data[known..], known).map_err(plain)?;
        }
        codec::decode_head(chunk.declared, &data)
    }

    fn part(&self, piece: Piece) -> Part {
        Part { head: self.heads[piece.head as usize].clone(), at: piece.at as usize }
    }

    /// Whether a piece is of the same stream and session as another.
    fn is_beside(&self, at: usize, piece: Piece) -> bool {
        self.pieces.get(at).is_some_and(|other| {
            (other.stream, other.session_id) == (piece.stream, piece.session_id)
        })
    }

    /// Start of the next piece that was not skipped, of the session of `piece`.
    fn after(&mut self, piece: Piece) -> Option<Instant> {
        self.next_tried = self.next_tried.max(self.at);
        let stretch = |at: usize| {
            let piece = self.pieces[at];
            &self.heads[piece.head as usize].stretches[piece.at as usize]
        };
        while self.next_tried < self.pieces.len()
            && stretch(self.next_tried).outcome() == ProbeOutcome::Skipped
        {
            self.next_tried += 1;
        }
        self.is_beside(self.next_tried, piece).then(|| stretch(self.next_tried).first)
    }

    /// The stretch that begins with the next piece.
    fn join(&mut self) -> Row {
        let piece = self.pieces[self.at];
        if self.at == 0 || !self.is_beside(self.at - 1, piece) {
            (self.tried, self.before) = (0, None);
        }
        let start = self.part(piece);
        let stretch = start.stretch();
        let mut row = Row {
            stream: piece.stream as usize,
            session_id: piece.session_id,
            position: self.tried + 1,
            row_count: stretch.row_count as u64,
            last: stretch.last,
            last_duration_us: stretch.last_duration_us,
            total_duration_us: stretch.total_duration_us,
            max_duration_us: stretch.max_duration_us,
            before: self.before.take(),
            after: None,
            start,
        };
        self.at += 1;
        while self.is_beside(self.at, piece) {
            let part = self.part(self.pieces[self.at]);
            let stretch = part.stretch();
            if !part.is_like(&row.start) || !stretch.first.follows(&row.last, stretch.interval_ns) {
                break;
            }
            row.row_count += stretch.row_count as u64;
            row.last = stretch.last;
            row.last_duration_us = stretch.last_duration_us;
            row.total_duration_us = row.total_duration_us.saturating_add(stretch.total_duration_us);
            row.max_duration_us = row.max_duration_us.max(stretch.max_duration_us);
            self.at += 1;
        }
        row.after = self.after(piece);
        if row.start.stretch().outcome() == ProbeOutcome::Skipped {
            self.before.clone_from(&row.before);
        } else {
            self.tried += row.row_count;
            let Row { last, last_duration_us, .. } = row;
            self.before = Some(Before { part: row.start.clone(), last, last_duration_us });
        }
        row
    }
}

impl Iterator for Stretches {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.at >= self.pieces.len() {
            let jobs = self.nodes.pop_front()?;
            self.read_node(&jobs);
        }
        Some(self.join())
    }
}
