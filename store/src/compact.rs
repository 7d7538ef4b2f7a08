//! Makes full, well compressed chunks of log lines out of small and quick ones.
//!
//! While logs come in, each batch writes chunks of its own. A quiet node's are
//! small and hold a few lines of each of its streams, which compress a third as
//! well as many lines of one stream. When there is time, chunks of one kind are
//! taken together in order of their time until they are a full one, their rows
//! sorted by stream, and written at a higher level with a skip filter.
//!
//! **Runs stay runs.** A run is rows of one stream that one batch saw, before
//! and after, so whatever asks for the batch of a row gets the same answer. A
//! chunk then belongs to several batches, and a union by batch can come upon one
//! of which it has only some (the others came from a copy of the file that was
//! made earlier): it takes the chunk and leaves the batch of the other runs empty
//! (`batch_id` NULL). Nobody sees rows of an empty batch, and a chunk without any
//! other is removed.
//!
//! One transaction replaces the sources of one chunk, so a crash in between
//! leaves a whole file that is a bit larger. What cannot be decoded stays as it is.
//! A chunk that is larger than a full one, because a very long line is in it, is
//! compressed again by itself, a column at a time. Memory is bounded by two full
//! chunks, or by two such columns.

pub(crate) mod samples;

use rusqlite::{Connection, Row, Transaction, params};

use crate::batch::{LOG_CHUNK_BYTES, StreamKind};
use crate::codec::{self, Declared, LogColumns};
use crate::identity::identity;
use crate::{Error, Result};

/// Raw bytes that make a full chunk: more compress better, and take longer until
/// the first row is there.
const FULL_BYTES: usize = 3 * LOG_CHUNK_BYTES;

/// Chunks of more raw bytes stay alone. Small ones still find room, and a large one
/// begins the next chunk: compressing takes four to five times as much memory.
const MAX_BYTES: usize = FULL_BYTES + LOG_CHUNK_BYTES / 4;

/// Runs that a chunk is made of at most: there can be one for each row.
const MAX_RUNS: usize = 1 << 16;

/// A chunk to be taken.
struct Source {
    id: i64,
    declared: Declared,
    run_count: usize,
}

impl Source {
    /// Id, rows, raw bytes and runs of a chunk, the columns of a row.
    fn of(row: &Row<'_>, codec: i64) -> rusqlite::Result<Self> {
        let size = |at| row.get(at).map(|size: i64| usize::try_from(size).unwrap_or_default());
        let declared = Declared { codec, row_count: size(1)?, raw_bytes: size(2)? };
        Ok(Self { id: row.get(0)?, declared, run_count: size(3)? })
    }
}

/// Sources that could be decoded and are what their runs say.
struct Decoded<C> {
    ids: Vec<i64>,
    columns: Vec<C>,
    pieces: Vec<Piece>,
    stored_bytes: usize,
}

impl<C> Decoded<C> {
    /// Decodes sources; what cannot be stays as it is.
    fn read(
        transaction: &Transaction<'_>,
        sources: &[Source],
        decode: fn(Declared, &[u8]) -> Result<C>,
        row_count: fn(&C) -> usize,
    ) -> rusqlite::Result<Self> {
        let (ids, columns, pieces) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Self { ids, columns, pieces, stored_bytes: 0 };
        for source in sources {
            let data: Vec<u8> = transaction
                .prepare_cached("SELECT data FROM raw_chunk WHERE id = ?")?
                .query_row([source.id], |row| row.get(0))?;
            let Ok(columns) = decode(source.declared, &data) else { continue };
            let pieces = pieces_of(transaction, source.id, all.columns.len())?;
            let rows: usize = pieces.iter().map(|piece| piece.row_count).sum();
            if rows == row_count(&columns) {
                all.pieces.extend(pieces);
                all.columns.push(columns);
                all.ids.push(source.id);
                all.stored_bytes += data.len();
            }
        }
        Ok(all)
    }
}

/// A run of a source, and where its rows are.
struct Piece {
    /// Sorts streams of one workload next to each other.
    stream_name: String,
    stream_id: i64,
    batch_id: i64,
    row_count: usize,
    first_ns: i64,
    last_ns: i64,
    failed_count: i64,
    max_gap_ns: i64,
    /// Position of its source.
    source: usize,
    first_row: usize,
}

/// Compacts the log chunks of a file, as long as `go_on` says so.
pub(crate) fn compact(connection: &mut Connection, mut go_on: impl FnMut() -> bool) -> Result<()> {
    let doing = || Error::sqlite("compacting log chunks");
    for kind in [StreamKind::Container, StreamKind::Unit, StreamKind::File] {
        let mut group = Vec::new();
        let (mut bytes, mut runs) = (0, 0);
        for source in sources(connection, kind).map_err(doing())? {
            let has_room = bytes + source.declared.raw_bytes <= MAX_BYTES
                && runs + source.run_count <= MAX_RUNS;
            if !group.is_empty() && (bytes >= FULL_BYTES || !has_room) {
                if !go_on() {
                    return Ok(());
                }
                replace(connection, kind, &std::mem::take(&mut group)).map_err(doing())?;
                (bytes, runs) = (0, 0);
            }
            bytes += source.declared.raw_bytes;
            runs += source.run_count;
            group.push(source);
        }
        if group.is_empty() {
            continue;
        }
        if !go_on() {
            return Ok(());
        }
        replace(connection, kind, &group).map_err(doing())?;
    }
    Ok(())
}

/// Chunks of a kind, those of one stream next to each other in order of their
/// first time. Chunks of several streams come before them.
fn sources(connection: &Connection, kind: StreamKind) -> rusqlite::Result<Vec<Source>> {
    connection
        .prepare(
            "SELECT chunk.id, chunk.row_count, chunk.raw_bytes, count(*)
             FROM raw_chunk AS chunk JOIN raw_chunk_run AS run ON run.chunk_id = chunk.id
                                     JOIN raw_stream AS stream ON stream.id = run.stream_id
             WHERE chunk.kind = ?1 AND chunk.codec = ?2
                   AND NOT EXISTS (SELECT 1 FROM raw_chunk_filter WHERE chunk_id = chunk.id)
             GROUP BY chunk.id
             ORDER BY iif(min(run.stream_id) = max(run.stream_id), min(stream.name), ''),
                      min(run.first_ns), chunk.id",
        )?
        .query_map(params![kind.as_str(), codec::LOG], |row| Source::of(row, codec::LOG))?
        .collect()
}

/// Puts one chunk in the place of some, or leaves them if that is not possible.
fn replace(
    connection: &mut Connection,
    kind: StreamKind,
    sources: &[Source],
) -> rusqlite::Result<()> {
    if let [source] = sources
        && source.declared.raw_bytes > MAX_BYTES
    {
        return recompress(connection, source);
    }
    let transaction = connection.transaction()?;
    let Decoded { ids, columns: decoded, mut pieces, stored_bytes } =
        Decoded::read(&transaction, sources, codec::decode_logs, LogColumns::len)?;
    pieces.sort_by(|a, b| {
        (&a.stream_name, a.stream_id, a.source, a.first_row).cmp(&(
            &b.stream_name,
            b.stream_id,
            b.source,
            b.first_row,
        ))
    });
    let mut columns = LogColumns::default();
    for piece in &pieces {
        let from = &decoded[piece.source];
        for row in piece.first_row..piece.first_row + piece.row_count {
            columns.push(from.ts_ns(row), from.flags(row), from.message(row));
        }
    }
    drop(decoded);
    let Some(first) = ids.first() else { return Ok(()) };
    let Ok(encoded) = codec::encode_logs(&columns, codec::COMPACT_LEVEL) else { return Ok(()) };
    let filter = codec::filter::encode(&columns);
    // A higher level is not always smaller.
    let id = if ids.len() == 1 && encoded.data.len() >= stored_bytes {
        *first
    } else {
        write(&transaction, kind, &ids, &encoded, &pieces)?
    };
    write_filter(&transaction, id, filter)?;
    transaction.commit()
}

/// Compresses a chunk that is too large to be taken apart, and gives it its filter.
fn recompress(connection: &mut Connection, source: &Source) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let data: Vec<u8> = transaction
        .prepare_cached("SELECT data FROM raw_chunk WHERE id = ?")?
        .query_row([source.id], |row| row.get(0))?;
    let mut filter = codec::filter::Builder::default();
    if codec::for_each_message(source.declared, &data, |text| filter.add(text)).is_err() {
        return Ok(());
    }
    if let Ok(encoded) = codec::recompress(source.declared, &data, codec::COMPACT_LEVEL) {
        transaction
            .prepare_cached("UPDATE raw_chunk SET data = ? WHERE id = ?")?
            .execute(params![encoded.data, source.id])?;
    }
    write_filter(&transaction, source.id, filter.finish())?;
    transaction.commit()
}

/// Writes the filter of a chunk. One that has none is marked as compacted all the
/// same.
fn write_filter(
    transaction: &Transaction<'_>,
    chunk_id: i64,
    filter: Option<Vec<u8>>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO raw_chunk_filter (chunk_id, data) VALUES (?, ?)")?
        .execute(params![chunk_id, filter.unwrap_or_default()])?;
    Ok(())
}

/// Runs of a chunk that has number `source` among its group.
fn pieces_of(
    transaction: &Transaction<'_>,
    chunk_id: i64,
    source: usize,
) -> rusqlite::Result<Vec<Piece>> {
    let mut first_row = 0;
    transaction
        .prepare_cached(
            "SELECT stream.name, run.stream_id, run.batch_id, run.row_count, run.first_ns,
                    run.last_ns, run.failed_count, run.max_gap_ns
             FROM raw_chunk_run AS run JOIN raw_stream AS stream ON stream.id = run.stream_id
             WHERE run.chunk_id = ? AND run.batch_id IS NOT NULL ORDER BY run.ord",
        )?
        .query_map([chunk_id], |row| {
            let piece = Piece {
                stream_name: row.get(0)?,
                stream_id: row.get(1)?,
                batch_id: row.get(2)?,
                row_count: usize::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
                first_ns: row.get(4)?,
                last_ns: row.get(5)?,
                failed_count: row.get(6)?,
                max_gap_ns: row.get(7)?,
                source,
                first_row,
            };
            first_row += piece.row_count;
            Ok(piece)
        })?
        .collect()
}

/// Removes the sources and writes the chunk that holds their rows. Its id, which
/// is the identity of theirs.
fn write(
    transaction: &Transaction<'_>,
    kind: StreamKind,
    sources: &[i64],
    encoded: &codec::Encoded,
    pieces: &[Piece],
) -> rusqlite::Result<i64> {
    for id in sources {
        for sql in
            ["DELETE FROM raw_chunk_run WHERE chunk_id = ?", "DELETE FROM raw_chunk WHERE id = ?"]
        {
            transaction.prepare_cached(sql)?.execute([id])?;
        }
    }
    let mut names = vec!["compacted".to_owned()];
    names.extend(sources.iter().map(i64::to_string));
    let id = identity(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let rows: usize = pieces.iter().map(|piece| piece.row_count).sum();
    transaction
        .prepare_cached(
            "INSERT INTO raw_chunk (id, kind, codec, row_count, raw_bytes, data)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            kind.as_str(),
            encoded.codec,
            rows as i64,
            encoded.raw_bytes as i64,
            encoded.data
        ])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO raw_chunk_run (chunk_id, ord, batch_id, stream_id, row_count, first_ns,
                                    last_ns, failed_count, max_gap_ns)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (ord, piece) in pieces.iter().enumerate() {
        insert.execute(params![
            id,
            ord as i64,
            piece.batch_id,
            piece.stream_id,
            piece.row_count as i64,
            piece.first_ns,
            piece.last_ns,
            piece.failed_count,
            piece.max_gap_ns
        ])?;
    }
    Ok(id)
}
