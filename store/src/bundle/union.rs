//! Adds a file to a database that holds other files: the union that a merge is
//! made of. What a bundle is made of, [`super::gather`] brings together by the
//! same rules.
//!
//! The unit is the batch. One that is not there yet is taken with all its rows;
//! one that is there gives way to a version that ended later, which happens
//! when a file was copied while its agent still wrote to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::{Error, Result, file, schema, writer};

/// Files that are open at once.
const MAX_READERS: usize = 256;

/// Prepares a database, which has our tables, for files to be added.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TEMP TABLE taken (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE taken_chunk (
             id INTEGER PRIMARY KEY,
             file INTEGER NOT NULL,
             kind TEXT NOT NULL,
             codec INTEGER NOT NULL,
             row_count INTEGER NOT NULL,
             raw_bytes INTEGER NOT NULL
         ) STRICT;",
    )
}

/// Adds all of a file, which is number `number` of all, or nothing of it. Its chunks
/// are only noted: [`copy_chunks`] copies those of all files.
pub(crate) fn add(connection: &Connection, path: &Path, number: usize) -> Result<()> {
    file::check(path)?;
    let damaged = |error: rusqlite::Error| Error::Damaged {
        path: path.to_owned(),
        reason: file::plain(&error),
    };
    let wrong = |reason| Error::Damaged { path: path.to_owned(), reason };
    connection.execute("ATTACH DATABASE ? AS theirs", [file::uri(path)]).map_err(damaged)?;
    let added = file::check_tables(connection, "theirs")
        .and_then(|()| check_texts(connection))
        .map_err(wrong)
        .and_then(|()| {
            let transaction = connection.unchecked_transaction().map_err(damaged)?;
            add_attached(&transaction, number).map_err(damaged)?;
            transaction.commit().map_err(damaged)
        });
    let detached = connection.execute_batch("DETACH DATABASE theirs").map_err(damaged);
    added.and(detached)
}

/// Checks names and messages, which go into answers about all files.
fn check_texts(connection: &Connection) -> std::result::Result<(), String> {
    for table in ["raw_node", "raw_session", "raw_batch", "raw_issue", "raw_stream"] {
        file::for_each(connection, &format!("SELECT * FROM theirs.{table}"), &mut |row| {
            super::gather::check_texts(table, row)
        })?;
    }
    Ok(())
}

/// Adds all but chunks and filters, and notes which of these to add.
fn add_attached(transaction: &Connection, number: usize) -> rusqlite::Result<()> {
    // Everything is asked for by a batch that is whole, so that rows of none,
    // and batches of no session or node, are never taken.
    transaction.execute_batch(
        "DELETE FROM taken;
         INSERT INTO main.raw_node SELECT id, name, machine_id FROM theirs.raw_node
         WHERE true ON CONFLICT (id) DO NOTHING;
         INSERT INTO main.raw_session (id, node_id, run_id, cluster, agent_version, boot_id,
                                       started_ns, ended_ns, config)
         SELECT id, node_id, run_id, cluster, agent_version, boot_id, started_ns, ended_ns, config
         FROM theirs.raw_session
         WHERE true
         ON CONFLICT (id) DO UPDATE SET ended_ns = max(ended_ns, excluded.ended_ns);
         INSERT INTO main.raw_stream SELECT id, node_id, kind, name, attributes
         FROM theirs.raw_stream WHERE true ON CONFLICT (id) DO NOTHING;
         INSERT INTO taken
         SELECT new.id
         FROM theirs.raw_batch AS new
         JOIN main.raw_session AS session ON session.id = new.session_id
         LEFT JOIN main.raw_batch AS old ON old.id = new.id
         WHERE old.id IS NULL OR new.ended_ns > old.ended_ns;",
    )?;
    let replaced = transaction
        .prepare(
            "SELECT id FROM taken
             WHERE EXISTS (SELECT 1 FROM main.raw_batch AS known WHERE known.id = taken.id)",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for batch_id in replaced {
        writer::remove_batch(transaction, batch_id)?;
    }
    transaction.execute_batch(
        "INSERT INTO main.raw_batch
         SELECT id, session_id, collector, seq, round, started_ns, ended_ns, outcome, message,
                row_count
         FROM theirs.raw_batch WHERE id IN taken;",
    )?;
    for table in schema::BATCH_TABLES {
        transaction.execute_batch(&format!(
            "INSERT INTO main.{table} SELECT * FROM theirs.{table} WHERE batch_id IN taken"
        ))?;
    }
    // A chunk comes whole. Of its runs, those count whose batch is taken: the rows
    // of the others are there already, in other chunks.
    transaction.execute(
        "INSERT OR REPLACE INTO taken_chunk
         SELECT id, ?, kind, codec, row_count, raw_bytes FROM theirs.raw_chunk
         WHERE id IN (SELECT chunk_id FROM theirs.raw_chunk_run WHERE +batch_id IN taken)",
        [number as i64],
    )?;
    transaction.execute(
        "INSERT INTO main.raw_chunk_run
         SELECT chunk_id, ord, iif(batch_id IN taken, batch_id, NULL), stream_id, row_count,
                first_ns, last_ns, failed_count, max_gap_ns
         FROM theirs.raw_chunk_run
         WHERE chunk_id IN (SELECT chunk_id FROM theirs.raw_chunk_run WHERE +batch_id IN taken)
               AND EXISTS (SELECT 1 FROM theirs.raw_chunk WHERE id = chunk_id)",
        [],
    )?;
    Ok(())
}

/// Copies the chunks of all files that were noted and still count, and their filters.
/// `Err` says which of `files` cannot be read, and why.
///
/// Ids are as good as chance. In their order each page is written once; file by file,
/// most rows would go between others, into pages that were written before.
pub(crate) fn copy_chunks(
    connection: &Connection,
    files: &[PathBuf],
) -> Result<std::result::Result<(), (usize, Error)>> {
    let doing = || Error::sqlite("copying chunks");
    let transaction = connection.unchecked_transaction().map_err(doing())?;
    let mut noted = transaction
        .prepare(
            "SELECT id, file FROM taken_chunk
             WHERE EXISTS (SELECT 1 FROM main.raw_chunk_run WHERE chunk_id = id) ORDER BY id",
        )
        .map_err(doing())?;
    let ids = noted.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(doing())?;
    let ids: Vec<(i64, i64)> = ids.collect::<rusqlite::Result<_>>().map_err(doing())?;
    let mut readers = HashMap::new();
    for (what, sql) in [
        (
            file::Reader::chunk as fn(&file::Reader, i64) -> _,
            "INSERT INTO main.raw_chunk (id, kind, codec, row_count, raw_bytes, data)
             SELECT id, kind, codec, row_count, raw_bytes, ?2 FROM taken_chunk WHERE id = ?1",
        ),
        (
            file::Reader::skip_filter,
            "INSERT INTO main.raw_chunk_filter (chunk_id, data) VALUES (?, ?)",
        ),
    ] {
        let mut insert = transaction.prepare(sql).map_err(doing())?;
        for (id, number) in &ids {
            let number = usize::try_from(*number).unwrap_or_default();
            match read(&mut readers, files, number, |reader| what(reader, *id)) {
                Ok(Some(data)) => {
                    insert.execute(params![id, data]).map_err(doing())?;
                }
                Ok(None) => {}
                Err(error) => return Ok(Err((number, error))),
            }
        }
    }
    drop(noted);
    transaction.commit().map_err(doing())?;
    Ok(Ok(()))
}

/// Reads something of one of the files, which stays open for a while.
fn read<T>(
    readers: &mut HashMap<usize, file::Reader>,
    files: &[PathBuf],
    number: usize,
    what: impl FnOnce(&file::Reader) -> std::result::Result<T, String>,
) -> Result<T> {
    let path = &files[number];
    if readers.len() >= MAX_READERS && !readers.contains_key(&number) {
        readers.clear();
    }
    let reader = match readers.entry(number) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(file::Reader::open(path)?),
    };
    what(reader).map_err(|reason| Error::Damaged { path: path.clone(), reason })
}
