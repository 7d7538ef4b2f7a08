//! How far collectors have read, kept in the same transaction as what they read.
//!
//! A log that is followed must give each line once, whatever moment the agent
//! dies at. So a [`Batch`] carries, beside its lines, the
//! position of each source behind them, and one transaction of the live file
//! takes both. The values are the collectors' own; nothing here reads them.
//!
//! **From one file to the next.** Positions are the agent's memory, not the
//! node's data, so a sealed file has none: they move to the next live file first.
//!
//! 1. [`Writer::begin_next`](crate::writer::Writer::begin_next) syncs the old
//!    file, then makes the new one with all positions in the transaction that
//!    makes it. From then on nothing is committed to the old file.
//! 2. [`Writer::seal`](crate::writer::Writer::seal) drops the positions of the
//!    old file, and its owner renames it.
//!
//! A crash before the end of step 1 leaves the old file, and maybe a file with
//! nothing in it. A crash after it leaves two files with positions, or one and an
//! old one that is sealed in part. So at its start an agent opens every live file
//! as an [`Abandoned`], takes the [`Positions::newest`], makes a new live file
//! with those, and only then seals and renames what it found. An agent that ends
//! does step 1 too: the new file then holds positions and no batch, and an
//! abandoned file without a batch is removed instead of sealed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use crate::batch::Batch;
use crate::{Error, Result, file, writer};

/// Tables of a live file that a sealed one has not.
pub(crate) const LIVE_TABLES: &str = include_str!("../../sql/schema/live.sql");

/// How far every collector has read every source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    generation: i64,
    by_collector: BTreeMap<String, BTreeMap<String, String>>,
}

impl Positions {
    /// Sources of a collector and their positions.
    pub fn of(&self, collector: &str) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.by_collector.get(collector).into_iter().flatten();
        sources.map(|(source, value)| (source.as_str(), value.as_str()))
    }

    /// How many sources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_collector.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing was read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of the live file that was made last.
    #[must_use]
    pub fn newest(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max_by_key(|positions| positions.generation).unwrap_or_default()
    }

    /// Sets the position of a source, or forgets it.
    pub fn set(&mut self, collector: &str, source: &str, value: Option<String>) {
        let sources = self.by_collector.entry(collector.to_owned()).or_default();
        match value {
            Some(value) => sources.insert(source.to_owned(), value),
            None => sources.remove(source),
        };
    }

    /// Takes over what a batch says.
    pub(crate) fn update(&mut self, batch: &Batch) {
        for (source, value) in &batch.positions {
            self.set(&batch.collector, source, value.clone());
        }
    }

    /// Makes the tables of a live file and writes all positions, as those of a
    /// file that follows the one they come from. Answers them.
    pub(crate) fn begin(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Self> {
        let next = Self { generation: self.generation + 1, ..self.clone() };
        transaction.execute_batch(LIVE_TABLES)?;
        transaction.execute("INSERT INTO raw_live (generation) VALUES (?)", [next.generation])?;
        for (collector, sources) in &next.by_collector {
            for (source, value) in sources {
                put(transaction, collector, source, value)?;
            }
        }
        Ok(next)
    }

    /// Positions of a live file, `None` if they were dropped.
    fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        if !connection.table_exists(None, "raw_live")? {
            return Ok(None);
        }
        let generation = connection
            .query_row("SELECT generation FROM raw_live", [], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        let mut positions = Self { generation, ..Self::default() };
        let mut statement =
            connection.prepare("SELECT collector, source, value FROM raw_position")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sources = positions.by_collector.entry(row.get(0)?).or_default();
            sources.insert(row.get(1)?, row.get(2)?);
        }
        Ok(Some(positions))
    }
}

/// Writes the positions that a batch carries.
pub(crate) fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (source, value) in &batch.positions {
        match value {
            Some(value) => put(transaction, &batch.collector, source, value)?,
            None => {
                transaction
                    .prepare_cached("DELETE FROM raw_position WHERE collector = ? AND source = ?")?
                    .execute([&batch.collector, source])?;
            }
        }
    }
    Ok(())
}

fn put(
    transaction: &Transaction<'_>,
    collector: &str,
    source: &str,
    value: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO raw_position (collector, source, value) VALUES (?, ?, ?)
             ON CONFLICT (collector, source) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![collector, source, value])?;
    Ok(())
}

/// Removes the tables of a live file.
pub(crate) fn drop_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN; DROP TABLE IF EXISTS raw_position; DROP TABLE IF EXISTS raw_live; COMMIT;",
    )
}

/// A live file whose writer ended without sealing it: killed, or out of power.
///
/// Every batch that was committed is in it. No more can be: whoever goes on
/// makes a new file with its positions.
#[derive(Debug)]
pub struct Abandoned {
    connection: Connection,
    path: PathBuf,
    positions: Option<Positions>,
    run_id: String,
    batch_count: u64,
}

impl Abandoned {
    /// Opens a file that a crash left, and syncs it: what it holds is then as
    /// safe as what is made out of it. `None` if nothing was ever committed to
    /// it, not even its making; then it can be removed.
    ///
    /// # Errors
    ///
    /// If it is no file of ours or is damaged, or cannot be written to.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let damaged = |error: rusqlite::Error| Error::Damaged {
            path: path.to_owned(),
            reason: file::plain(&error),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| {
            Error::Unreadable { path: path.to_owned(), reason: file::plain(&error) }
        })?;
        // A file that was being made is taken back to nothing by this first read.
        let is_made = connection.table_exists(None, "raw_session").map_err(damaged)?;
        if !is_made {
            return Ok(None);
        }
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(damaged)?;
        file::check(path)?;
        let positions = Positions::read(&connection).map_err(damaged)?;
        let run_id = connection
            .query_row(
                "SELECT run_id FROM raw_session ORDER BY started_ns DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .map_err(damaged)?;
        let batch_count = connection
            .query_row("SELECT count(*) FROM raw_batch", [], |row| row.get::<_, i64>(0))
            .map_err(damaged)?;
        Ok(Some(Self {
            connection,
            path: path.to_owned(),
            positions,
            run_id,
            batch_count: batch_count.try_into().unwrap_or_default(),
        }))
    }

    /// How far it was read; `None` if it was being sealed, for then a newer file
    /// has them.
    #[must_use]
    pub fn positions(&self) -> Option<&Positions> {
        self.positions.as_ref()
    }

    /// Run that it was written for.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Batches that were committed; a file without any need not be sent.
    #[must_use]
    pub fn batch_count(&self) -> u64 {
        self.batch_count
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Seals it as [`Writer::seal_while`](crate::writer::Writer::seal_while) does.
    ///
    /// # Errors
    ///
    /// If SQLite cannot write.
    pub fn seal_while(self, go_on: impl FnMut() -> bool) -> Result<()> {
        writer::seal(self.connection, &self.path, go_on)
    }
}
