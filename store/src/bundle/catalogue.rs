//! What is known of every chunk without decoding it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::gather::{self, Batches, GatheredBatch, GatheredChunk, GatheredRun};
use super::watch::Watch;
use crate::batch::StreamKind;
use crate::codec::Declared;
use crate::{Error, Result};

/// A chunk that a query could not decode. Its rows are missing from the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// File that holds it.
    pub path: PathBuf,
    /// Node that it belongs to.
    pub node: String,
    /// Collector that wrote it.
    pub collector: String,
    /// Batch that it belongs to, the first if there are several.
    pub batch_id: i64,
    /// Its id in the file.
    pub chunk_id: i64,
    /// How many rows are missing.
    pub row_count: usize,
    /// Smallest time of a row, nanoseconds since 1970.
    pub first_ns: i64,
    /// What is wrong.
    pub reason: String,
}

/// A stream and the node it belongs to.
#[derive(Debug)]
pub(crate) struct StreamMeta {
    pub(crate) id: i64,
    pub(crate) node: Arc<str>,
    pub(crate) kind: StreamKind,
    pub(crate) name: String,
    attributes: serde_json::Map<String, Value>,
}

impl StreamMeta {
    pub(crate) fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).and_then(Value::as_str)
    }

    pub(crate) fn integer(&self, attribute: &str) -> Option<i64> {
        self.attributes.get(attribute).and_then(Value::as_i64)
    }
}

/// Where a batch comes from.
#[derive(Debug)]
pub(crate) struct BatchMeta {
    pub(crate) session_id: i64,
    pub(crate) boot_id: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) collector: Arc<str>,
}

/// Rows of one stream in a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunMeta {
    /// Position in [`Catalogue::streams`].
    pub(crate) stream: usize,
    /// Batch that saw them.
    pub(crate) batch_id: i64,
    pub(crate) first_row: usize,
    pub(crate) row_count: usize,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    pub(crate) failed_count: usize,
}

/// A chunk, and what queries skip it by.
#[derive(Debug)]
pub(crate) struct ChunkMeta {
    pub(crate) id: i64,
    pub(crate) file: usize,
    pub(crate) kind: StreamKind,
    pub(crate) declared: Declared,
    pub(crate) stored_bytes: usize,
    /// Runs that count, in order.
    pub(crate) runs: Vec<RunMeta>,
}

/// All chunks of a bundle, in order of their first time.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) streams: Vec<StreamMeta>,
    pub(crate) chunks: Vec<ChunkMeta>,
    pub(crate) batches: HashMap<i64, BatchMeta>,
    /// Every chunk as its file has it, by id: those too that are no use.
    pub(crate) gathered: Vec<(i64, GatheredChunk)>,
    damage: Mutex<Vec<Damage>>,
    pub(crate) watch: Watch,
}

impl Catalogue {
    pub(crate) fn load(
        connection: &Connection,
        files: &[PathBuf],
        batches: Batches,
        chunks: gather::Chunks,
    ) -> Result<Self> {
        let doing = || Error::sqlite("reading what the bundle holds");
        let mut catalogue = Self {
            files: files.to_vec(),
            batches: placed(connection, batches).map_err(doing())?,
            gathered: chunks.into_iter().collect(),
            ..Self::default()
        };
        let by_id = catalogue.load_streams(connection).map_err(doing())?;
        catalogue.gathered.sort_unstable_by_key(|(id, _)| *id);
        catalogue.take_chunks(&by_id);
        Ok(catalogue)
    }

    fn load_streams(&mut self, connection: &Connection) -> rusqlite::Result<HashMap<i64, usize>> {
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        let mut statement = connection.prepare(
            "SELECT stream.id, node.name, stream.kind, stream.name, stream.attributes
             FROM raw_stream AS stream JOIN raw_node AS node ON node.id = stream.node_id",
        )?;
        let mut rows = statement.query([])?;
        let mut by_id = HashMap::new();
        while let Some(row) = rows.next()? {
            let Some(kind) = StreamKind::parse(&row.get::<_, String>(2)?) else { continue };
            let node: String = row.get(1)?;
            let node = names.entry(node).or_insert_with_key(|name| Arc::from(name.as_str()));
            let attributes: String = row.get(4)?;
            by_id.insert(row.get(0)?, self.streams.len());
            self.streams.push(StreamMeta {
                id: row.get(0)?,
                node: node.clone(),
                kind,
                name: row.get(3)?,
                attributes: serde_json::from_str(&attributes).unwrap_or_default(),
            });
        }
        Ok(by_id)
    }

    /// Takes the chunks that can be read.
    fn take_chunks(&mut self, stream_by_id: &HashMap<i64, usize>) {
        let mut chunks = Vec::with_capacity(self.gathered.len());
        for (id, gathered) in &self.gathered {
            let Some(kind) = StreamKind::parse(&gathered.kind) else { continue };
            let (rows, runs) = counting(&gathered.runs, stream_by_id);
            let chunk = ChunkMeta {
                id: *id,
                file: gathered.file,
                kind,
                declared: Declared {
                    codec: gathered.codec,
                    row_count: size(gathered.row_count),
                    raw_bytes: size(gathered.raw_bytes),
                },
                stored_bytes: size(gathered.stored_bytes),
                runs,
            };
            let fits = chunk
                .runs
                .iter()
                .all(|run| self.streams.get(run.stream).is_some_and(|stream| stream.kind == kind));
            // Log lines are counted without opening the chunk that holds them.
            let is_log = !matches!(kind, StreamKind::Probe | StreamKind::Host);
            if !fits || rows != chunk.declared.row_count {
                self.add_damage(&chunk, "its runs do not fit its rows".to_owned());
            } else if is_log && !chunk.declared.is_possible_for_logs() {
                self.add_damage(&chunk, "its declared size is impossible".to_owned());
            } else {
                chunks.push(chunk);
            }
        }
        chunks.sort_by_key(|chunk| (chunk.runs.iter().map(|run| run.first_ns).min(), chunk.id));
        self.chunks = chunks;
    }

    /// Notes that a chunk's rows are missing from an answer.
    pub(crate) fn add_damage(&self, chunk: &ChunkMeta, reason: String) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if damage.iter().any(|known| known.chunk_id == chunk.id) {
            return;
        }
        let batch_id = chunk.runs.first().map(|run| run.batch_id).unwrap_or_default();
        let batch = self.batches.get(&batch_id);
        damage.push(Damage {
            path: self.files.get(chunk.file).cloned().unwrap_or_default(),
            node: batch.map(|batch| batch.node.to_string()).unwrap_or_default(),
            collector: batch.map(|batch| batch.collector.to_string()).unwrap_or_default(),
            batch_id,
            chunk_id: chunk.id,
            row_count: chunk
                .runs
                .iter()
                .fold(0, |rows: usize, run| rows.saturating_add(run.row_count)),
            first_ns: chunk.runs.iter().map(|run| run.first_ns).min().unwrap_or_default(),
            reason,
        });
    }

    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Batches with what is known of their sessions.
fn placed(connection: &Connection, batches: Batches) -> rusqlite::Result<HashMap<i64, BatchMeta>> {
    let mut statement = connection.prepare(
        "SELECT session.id, session.boot_id, node.name
         FROM raw_session AS session JOIN raw_node AS node ON node.id = session.node_id",
    )?;
    let text = |row: &Row<'_>, at| row.get::<_, String>(at).map(Arc::<str>::from);
    let origin = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, (text(row, 1)?, text(row, 2)?)));
    let origins = statement.query_map([], origin)?;
    let origins: HashMap<i64, (Arc<str>, Arc<str>)> = origins.collect::<rusqlite::Result<_>>()?;
    let place = |(id, batch): (i64, GatheredBatch)| {
        let GatheredBatch { session_id, collector, .. } = batch;
        let (boot_id, node) = origins.get(&session_id)?.clone();
        Some((id, BatchMeta { session_id, boot_id, node, collector }))
    };
    Ok(batches.into_iter().filter_map(place).collect())
}

/// Rows of all runs of a chunk, and the runs that count.
fn counting(gathered: &[GatheredRun], stream_by_id: &HashMap<i64, usize>) -> (usize, Vec<RunMeta>) {
    let (mut rows, mut runs) = (0_usize, Vec::with_capacity(gathered.len()));
    for run in gathered {
        let (first_row, row_count) = (rows, size(run.row_count));
        rows = first_row.saturating_add(row_count);
        let Some(batch_id) = run.batch_id else { continue };
        runs.push(RunMeta {
            batch_id,
            // A run of no known stream is told as damage of its chunk.
            stream: stream_by_id.get(&run.stream_id).copied().unwrap_or(usize::MAX),
            first_row,
            row_count,
            first_ns: run.first_ns,
            last_ns: run.last_ns,
            failed_count: size(run.failed_count),
        });
    }
    (rows, runs)
}

/// A count from a file; a negative one reads as one that nothing can have.
fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
