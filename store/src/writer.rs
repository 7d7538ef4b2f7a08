//! Puts batches into a node's file: whole, or not at all.
//!
//! A writer makes a new file and is the only one to write to it. While it does,
//! the file is in WAL mode: a crash at any moment leaves the batches that were
//! committed. [`Writer::seal`] turns it into one plain file to send.

mod rows;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

use crate::batch::{Batch, Outcome, StreamRef};
use crate::identity::identity;
use crate::positions::{self, Positions};
use crate::{Error, Result, compact, schema};

/// The node that an agent runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name in Kubernetes, else the host name.
    pub name: String,
    /// `/etc/machine-id`, empty if the node has none.
    pub machine_id: String,
}

impl Node {
    /// Number of this node in every file.
    #[must_use]
    pub fn id(&self) -> i64 {
        identity(&["node", &self.name, &self.machine_id])
    }
}

/// One life of an agent's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name of the run that it works for.
    pub run_id: String,
    /// Host name of the API server, `None` if the node knows none.
    pub cluster: Option<String>,
    /// Version of the agent.
    pub agent_version: String,
    /// Boot id of the node's kernel, may be empty.
    pub boot_id: String,
    /// Wall clock when the process began, nanoseconds since 1970.
    pub started_ns: i64,
    /// Process id: tells apart two agents that began in the same instant.
    pub process: u32,
    /// JSON of the configuration that held, without secrets.
    pub config: String,
}

impl Session {
    fn id(&self, node: &Node) -> i64 {
        identity(&[
            "session",
            &node.id().to_string(),
            &self.boot_id,
            &self.started_ns.to_string(),
            &self.process.to_string(),
        ])
    }
}

/// When and how a batch was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Number of the batch in its session and collector. Committing a number
    /// again replaces what it held.
    pub seq: u64,
    /// Number of the poll; a long poll has many batches.
    pub round: u64,
    /// Wall clock when reading began, nanoseconds since 1970.
    pub started_ns: i64,
    /// Wall clock when reading ended, nanoseconds since 1970.
    pub ended_ns: i64,
    /// How it went.
    pub outcome: Outcome,
    /// Why it is absent or failed.
    pub message: Option<String>,
}

/// Writes one node's file.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    path: PathBuf,
    node_id: i64,
    session_id: i64,
    known_streams: HashSet<i64>,
    positions: Positions,
}

impl Writer {
    /// Makes a new file for a session of an agent on a node. Nothing was read
    /// before it.
    ///
    /// # Errors
    ///
    /// If the file exists already or cannot be written.
    pub fn create(path: &Path, node: &Node, session: &Session) -> Result<Self> {
        Self::create_at(path, node, session, &Positions::default())
    }

    /// Makes a new file that goes on from positions, as a process does that finds
    /// what another one left ([`Abandoned`](crate::positions::Abandoned)). The
    /// file is there with all of them, or with nothing at all.
    ///
    /// # Errors
    ///
    /// As for [`Writer::create`].
    pub fn create_at(
        path: &Path,
        node: &Node,
        session: &Session,
        positions: &Positions,
    ) -> Result<Self> {
        if path.exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let doing = || Error::sqlite(format!("creating {}", path.display()));
        let mut connection = Connection::open(path).map_err(doing())?;
        // Room that compacting sets free can then be given back without a copy.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(doing())?;
        connection.set_prepared_statement_cache_capacity(32);
        let (node_id, session_id) = (node.id(), session.id(node));
        let transaction = connection.transaction().map_err(doing())?;
        schema::create(&transaction)?;
        let positions = positions.begin(&transaction).map_err(doing())?;
        transaction
            .execute(
                "INSERT INTO raw_node (id, name, machine_id) VALUES (?, ?, ?)",
                params![node_id, node.name, node.machine_id],
            )
            .map_err(doing())?;
        transaction
            .execute(
                "INSERT INTO raw_session (id, node_id, run_id, cluster, agent_version, boot_id,
                                          started_ns, ended_ns, config)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)",
                params![
                    session_id,
                    node_id,
                    session.run_id,
                    session.cluster,
                    session.agent_version,
                    session.boot_id,
                    session.started_ns,
                    session.config
                ],
            )
            .map_err(doing())?;
        transaction.commit().map_err(doing())?;
        // After the first transaction, so that the header names us even while the
        // rest is still in the write-ahead log.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .map_err(doing())?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            node_id,
            session_id,
            known_streams: HashSet::new(),
            positions,
        })
    }

    /// Makes the file that takes this one's place, with its positions. Nothing may
    /// be committed to this one any more; it is to be sealed.
    ///
    /// # Errors
    ///
    /// As for [`Writer::create`]; then this file is still the live one.
    pub fn begin_next(&self, path: &Path, node: &Node, session: &Session) -> Result<Self> {
        // Without it a power cut could leave positions of lines that were lost.
        self.connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .map_err(Error::sqlite(format!("syncing {}", self.path.display())))?;
        Self::create_at(path, node, session, &self.positions)
    }

    /// How far collectors have read: what the committed batches say, and nothing
    /// else. Who could not commit a batch takes its collector back to these.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Writes a batch and how it went, in one transaction.
    ///
    /// # Errors
    ///
    /// If SQLite cannot write; then the file is as it was before.
    pub fn commit(&mut self, mut batch: Batch, poll: &Poll) -> Result<()> {
        let mut message = poll.message.clone();
        if let Some(message) = &mut message {
            batch.mask_text(message, "collection");
        }
        batch.finish();
        let (node_id, session_id) = (self.node_id, self.session_id);
        let doing = || Error::sqlite(format!("writing to {}", self.path.display()));
        let transaction = self.connection.transaction().map_err(doing())?;
        let write = Write { transaction: &transaction, node_id, session_id };
        let stream_ids = write.batch(&batch, poll, message.as_deref(), &self.known_streams);
        let stream_ids = stream_ids.map_err(doing())?;
        transaction.commit().map_err(doing())?;
        self.known_streams.extend(stream_ids);
        self.positions.update(&batch);
        Ok(())
    }

    /// Ends the file: everything is in one file, in no journal, well compressed,
    /// ready to send, and without positions: what is read on needs a next file
    /// first ([`Writer::begin_next`]).
    ///
    /// # Errors
    ///
    /// If SQLite cannot write.
    pub fn seal(self) -> Result<()> {
        self.seal_while(|| true)
    }

    /// The same, for when time is short: compresses as long as `go_on` says so,
    /// which it is asked for every few megabytes of lines. A file that was not
    /// compressed to its end is larger and slower to search, and as good.
    ///
    /// # Errors
    ///
    /// If SQLite cannot write.
    pub fn seal_while(self, go_on: impl FnMut() -> bool) -> Result<()> {
        seal(self.connection, &self.path, go_on)
    }
}

/// Body of [`Writer::seal_while`]. A crash leaves a file that can be sealed again.
pub(crate) fn seal(
    mut connection: Connection,
    path: &Path,
    mut go_on: impl FnMut() -> bool,
) -> Result<()> {
    compact::samples::compact(&mut connection, &mut go_on)?;
    compact::compact(&mut connection, &mut go_on)?;
    let doing = || Error::sqlite(format!("sealing {}", path.display()));
    positions::drop_tables(&connection).map_err(doing())?;
    give_back(&connection).map_err(doing())?;
    connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;")
        .map_err(doing())?;
    connection.close().map_err(|(_, error)| doing()(error))
}

/// Makes the file as small as what it holds, in place and step by step.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let free = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let mut left = free()?;
    while left > 0 {
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum(1000)")?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        let before = std::mem::replace(&mut left, free()?);
        if left >= before {
            break;
        }
    }
    Ok(())
}

/// One transaction's worth of statements.
struct Write<'a> {
    transaction: &'a Transaction<'a>,
    node_id: i64,
    session_id: i64,
}

impl Write<'_> {
    /// Ids of the batch's streams, all of which are in the file afterwards.
    fn batch(
        &self,
        batch: &Batch,
        poll: &Poll,
        message: Option<&str>,
        known_streams: &HashSet<i64>,
    ) -> rusqlite::Result<Vec<i64>> {
        let batch_id = identity(&[
            "batch",
            &self.session_id.to_string(),
            &batch.collector,
            &poll.seq.to_string(),
        ]);
        self.remove(batch_id)?;
        let stream_ids = self.streams(batch, known_streams)?;
        self.chunks(batch, batch_id, &stream_ids)?;
        self.rows(batch, batch_id)?;
        positions::write(self.transaction, batch)?;
        self.run(
            "INSERT INTO raw_batch (id, session_id, collector, seq, round, started_ns, ended_ns,
                                    outcome, message, row_count)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                batch_id,
                self.session_id,
                batch.collector,
                poll.seq as i64,
                poll.round as i64,
                poll.started_ns,
                poll.ended_ns,
                poll.outcome.as_str(),
                message,
                batch.row_count() as i64
            ],
        )?;
        self.run(
            "UPDATE raw_session SET ended_ns = max(ended_ns, ?) WHERE id = ?",
            params![poll.ended_ns, self.session_id],
        )?;
        Ok(stream_ids)
    }

    fn run(&self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }

    fn remove(&self, batch_id: i64) -> rusqlite::Result<()> {
        let known = self
            .transaction
            .prepare_cached("SELECT 1 FROM raw_batch WHERE id = ?")?
            .exists([batch_id])?;
        if !known {
            return Ok(());
        }
        remove_batch(self.transaction, batch_id)
    }

    fn streams(&self, batch: &Batch, known: &HashSet<i64>) -> rusqlite::Result<Vec<i64>> {
        batch
            .streams
            .iter()
            .map(|stream| {
                let id = identity(&[
                    "stream",
                    &self.node_id.to_string(),
                    stream.kind.as_str(),
                    &stream.name,
                    &stream.attributes,
                ]);
                if !known.contains(&id) {
                    self.run(
                        "INSERT OR IGNORE INTO raw_stream (id, node_id, kind, name, attributes)
                         VALUES (?, ?, ?, ?, ?)",
                        params![
                            id,
                            self.node_id,
                            stream.kind.as_str(),
                            stream.name,
                            stream.attributes
                        ],
                    )?;
                }
                Ok(id)
            })
            .collect()
    }

    fn chunks(&self, batch: &Batch, batch_id: i64, stream_ids: &[i64]) -> rusqlite::Result<()> {
        for (ordinal, chunk) in batch.chunks.iter().enumerate() {
            let id = identity(&["chunk", &batch_id.to_string(), &ordinal.to_string()]);
            let rows: usize = chunk.runs.iter().map(|run| run.row_count).sum();
            self.run(
                "INSERT INTO raw_chunk (id, kind, codec, row_count, raw_bytes, data)
                 VALUES (?, ?, ?, ?, ?, ?)",
                params![
                    id,
                    chunk.kind.as_str(),
                    chunk.codec,
                    rows as i64,
                    chunk.raw_bytes as i64,
                    chunk.data
                ],
            )?;
            for (ord, run) in chunk.runs.iter().enumerate() {
                let StreamRef(stream) = run.stream;
                self.run(
                    "INSERT INTO raw_chunk_run (chunk_id, ord, batch_id, stream_id, row_count,
                                                first_ns, last_ns, failed_count, max_gap_ns)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        id,
                        ord as i64,
                        batch_id,
                        stream_ids[stream],
                        run.row_count as i64,
                        run.first_ns,
                        run.last_ns,
                        run.failed_count as i64,
                        run.max_gap_ns
                    ],
                )?;
            }
        }
        Ok(())
    }
}

/// Removes a batch with all that belongs to it. A chunk that other batches have
/// rows in stays, and this one's rows in it no longer count.
pub(crate) fn remove_batch(connection: &Connection, batch_id: i64) -> rusqlite::Result<()> {
    for table in schema::BATCH_TABLES {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE batch_id = ?"))?
            .execute([batch_id])?;
    }
    connection.prepare_cached("DELETE FROM raw_batch WHERE id = ?")?.execute([batch_id])?;
    let chunk_ids = connection
        .prepare_cached("SELECT DISTINCT chunk_id FROM raw_chunk_run WHERE batch_id = ?")?
        .query_map([batch_id], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    connection
        .prepare_cached("UPDATE raw_chunk_run SET batch_id = NULL WHERE batch_id = ?")?
        .execute([batch_id])?;
    for chunk_id in chunk_ids {
        let still_counts = connection
            .prepare_cached(
                "SELECT 1 FROM raw_chunk_run WHERE chunk_id = ? AND batch_id IS NOT NULL",
            )?
            .exists([chunk_id])?;
        if !still_counts {
            for sql in [
                "DELETE FROM raw_chunk_filter WHERE chunk_id = ?",
                "DELETE FROM raw_chunk_run WHERE chunk_id = ?",
                "DELETE FROM raw_chunk WHERE id = ?",
            ] {
                connection.prepare_cached(sql)?.execute([chunk_id])?;
            }
        }
    }
    Ok(())
}
