//! Adds a file to a database that holds other files: the union that a merge is
//! made of. What a bundle is made of, [`super::gather`] brings together by the
//! same rules.
//!
//! The unit is the batch. One that is not there yet is taken with all its rows;
//! one that is there gives way to a version that ended later, which happens
//! when a file was copied while its agent still wrote to it.

use std::path::Path;

use rusqlite::Connection;

use crate::{Error, Result, file, schema, writer};

/// Adds all of a file, or nothing of it.
pub(crate) fn add(connection: &Connection, path: &Path) -> Result<()> {
    file::check(path)?;
    let damaged = |error: rusqlite::Error| Error::Damaged {
        path: path.to_owned(),
        reason: file::plain(&error),
    };
    connection.execute("ATTACH DATABASE ? AS theirs", [file::uri(path)]).map_err(damaged)?;
    let added = file::check_tables(connection, "theirs")
        .and_then(|()| check_texts(connection))
        .map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
        .and_then(|()| add_attached(connection).map_err(damaged));
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

fn add_attached(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    // Everything is asked for by a batch that is whole, so that rows of none,
    // and batches of no session or node, are never taken.
    transaction.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS taken (id INTEGER PRIMARY KEY);
         DELETE FROM taken;
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
        .prepare("SELECT id FROM taken WHERE id IN (SELECT id FROM main.raw_batch)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for batch_id in replaced {
        writer::remove_batch(&transaction, batch_id)?;
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
    transaction.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS taken_chunk (id INTEGER PRIMARY KEY);
         DELETE FROM taken_chunk;
         INSERT INTO taken_chunk
         SELECT DISTINCT chunk_id FROM theirs.raw_chunk_run WHERE +batch_id IN taken;
         DELETE FROM taken_chunk
         WHERE id IN (SELECT id FROM main.raw_chunk) AND id NOT IN (SELECT id FROM theirs.raw_chunk);",
    )?;
    transaction.execute_batch(
        "INSERT INTO main.raw_chunk
         SELECT id, kind, codec, row_count, raw_bytes, data
         FROM theirs.raw_chunk WHERE id IN taken_chunk ORDER BY id;
         INSERT INTO main.raw_chunk_filter SELECT chunk_id, kind, data
         FROM theirs.raw_chunk_filter WHERE chunk_id IN taken_chunk ORDER BY chunk_id, kind;",
    )?;
    transaction.execute_batch(
        "INSERT INTO main.raw_chunk_run
         SELECT chunk_id, ord, iif(batch_id IN taken, batch_id, NULL), stream_id, row_count,
                first_ns, last_ns, failed_count, max_gap_ns
         FROM theirs.raw_chunk_run
         WHERE chunk_id IN taken_chunk AND chunk_id IN (SELECT id FROM main.raw_chunk);",
    )?;
    transaction.commit()
}
