//! Makes full chunks of probe and host samples out of those of each batch.
//!
//! An hour of a node's probes is some thousand rows. Chunks of one kind are taken
//! together in order of their time until they are a full one, and its rows are
//! sorted by stream: an outage then lies in few chunks, and a stretch of success
//! is one from the first of its batches to the last. Runs stay runs, as those of
//! log lines do.

use rusqlite::{Connection, Transaction, params};

use super::{Decoded, MAX_RUNS, Piece, Source, write};
use crate::batch::{StreamKind, interval_ns};
use crate::codec::{self, Declared, ProbeColumns, SampleColumns, Section};
use crate::{Error, Result};

/// Rows of a full chunk. One more hour than this of one that is read for an hour
/// costs a millisecond.
const FULL_ROWS: usize = 1 << 16;

/// Columns that can be taken apart and put together.
trait Columns: Default {
    const KIND: StreamKind;
    const CODEC: i64;

    fn decode(declared: Declared, data: &[u8]) -> Result<Self>;

    fn row_count(&self) -> usize;

    /// Adds rows of another chunk.
    fn add(&mut self, from: &Self, rows: std::ops::Range<usize>);

    fn encode(&self, sections: &[Section]) -> codec::Encoded;
}

impl Columns for ProbeColumns {
    const KIND: StreamKind = StreamKind::Probe;
    const CODEC: i64 = codec::PROBE;

    fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        codec::decode_probes(declared, data)
    }

    fn row_count(&self) -> usize {
        self.len()
    }

    fn add(&mut self, from: &Self, rows: std::ops::Range<usize>) {
        self.extend(from, rows);
    }

    fn encode(&self, sections: &[Section]) -> codec::Encoded {
        codec::encode_probes(self, sections, codec::COMPACT_LEVEL)
    }
}

impl Columns for SampleColumns {
    const KIND: StreamKind = StreamKind::Host;
    const CODEC: i64 = codec::SAMPLE;

    fn decode(declared: Declared, data: &[u8]) -> Result<Self> {
        codec::decode_samples(declared, data)
    }

    fn row_count(&self) -> usize {
        self.len()
    }

    fn add(&mut self, from: &Self, rows: std::ops::Range<usize>) {
        self.extend(from, rows);
    }

    fn encode(&self, _: &[Section]) -> codec::Encoded {
        codec::encode_samples(self, codec::COMPACT_LEVEL)
    }
}

/// Compacts the chunks of samples of a file, as long as `go_on` says so.
pub(crate) fn compact(connection: &mut Connection, mut go_on: impl FnMut() -> bool) -> Result<()> {
    let doing = || Error::sqlite("compacting chunks of samples");
    compact_kind::<ProbeColumns>(connection, &mut go_on).map_err(doing())?;
    compact_kind::<SampleColumns>(connection, &mut go_on).map_err(doing())
}

fn compact_kind<C: Columns>(
    connection: &mut Connection,
    go_on: &mut impl FnMut() -> bool,
) -> rusqlite::Result<()> {
    let mut group = Vec::new();
    let (mut rows, mut runs) = (0, 0);
    for source in sources::<C>(connection)? {
        let has_room =
            rows + source.declared.row_count <= FULL_ROWS && runs + source.run_count <= MAX_RUNS;
        if !group.is_empty() && !has_room {
            if !go_on() {
                return Ok(());
            }
            replace::<C>(connection, &std::mem::take(&mut group))?;
            (rows, runs) = (0, 0);
        }
        rows += source.declared.row_count;
        runs += source.run_count;
        group.push(source);
    }
    if group.is_empty() || !go_on() {
        return Ok(());
    }
    replace::<C>(connection, &group)
}

/// Chunks of a kind that are not full, in order of their first time.
fn sources<C: Columns>(connection: &Connection) -> rusqlite::Result<Vec<Source>> {
    connection
        .prepare(
            "SELECT chunk.id, chunk.row_count, chunk.raw_bytes, count(*)
             FROM raw_chunk AS chunk JOIN raw_chunk_run AS run ON run.chunk_id = chunk.id
             WHERE chunk.kind = ?1 AND chunk.codec = ?2 AND chunk.row_count <= ?3
             GROUP BY chunk.id ORDER BY min(run.first_ns), chunk.id",
        )?
        .query_map(params![C::KIND.as_str(), C::CODEC, FULL_ROWS as i64], |row| {
            Source::of(row, C::CODEC)
        })?
        .collect()
}

/// Puts one chunk in the place of some, or leaves them if it would be no smaller.
fn replace<C: Columns>(connection: &mut Connection, sources: &[Source]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let Decoded { ids, columns: decoded, mut pieces, stored_bytes } =
        Decoded::read(&transaction, sources, C::decode, C::row_count)?;
    pieces.sort_by(|a, b| {
        let key = |piece: &Piece| (piece.stream_id, piece.first_ns, piece.source, piece.first_row);
        (&a.stream_name, key(a)).cmp(&(&b.stream_name, key(b)))
    });
    let mut columns = C::default();
    let mut sections = Vec::with_capacity(pieces.len());
    for piece in &pieces {
        let rows = piece.first_row..piece.first_row + piece.row_count;
        columns.add(&decoded[piece.source], rows);
        let interval_ns = interval_of(&transaction, piece.stream_id)?;
        sections.push(Section { row_count: piece.row_count, interval_ns });
    }
    drop(decoded);
    if ids.is_empty() {
        return Ok(());
    }
    let encoded = columns.encode(&sections);
    // A higher level is not always smaller.
    if ids.len() == 1 && encoded.data.len() >= stored_bytes {
        return Ok(());
    }
    write(&transaction, C::KIND, &ids, &encoded, &join(pieces))?;
    transaction.commit()
}

fn interval_of(transaction: &Transaction<'_>, stream_id: i64) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("SELECT attributes FROM raw_stream WHERE id = ?")?
        .query_row([stream_id], |row| Ok(interval_ns(&row.get::<_, String>(0)?)))
}

/// Runs that follow each other in one stream and one batch, as one.
fn join(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.stream_id == piece.stream_id && last.batch_id == piece.batch_id => {
                let gap_ns = piece.first_ns.saturating_sub(last.last_ns);
                last.max_gap_ns = last.max_gap_ns.max(piece.max_gap_ns).max(gap_ns);
                last.row_count += piece.row_count;
                last.first_ns = last.first_ns.min(piece.first_ns);
                last.last_ns = last.last_ns.max(piece.last_ns);
                last.failed_count += piece.failed_count;
            }
            _ => joined.push(piece),
        }
    }
    joined
}
