//! The union that a bundle is made of: small rows of all files in one database in
//! memory, chunks and their runs in lists.
//!
//! The unit is the batch, by the rules of [`super::union`]: one that is not there
//! yet is taken with all its rows; one that is there gives way to a version that
//! ended later. A file is taken whole or not at all.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::Problem;
use crate::{Error, Result, file, schema};

/// A run of a chunk, as its file has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatheredRun {
    pub(crate) ord: i64,
    /// Batch that saw the rows, `None` if they do not count.
    pub(crate) batch_id: Option<i64>,
    pub(crate) stream_id: i64,
    pub(crate) row_count: i64,
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    pub(crate) failed_count: i64,
    pub(crate) max_gap_ns: i64,
}

/// A chunk, as its file has it.
#[derive(Clone, Debug)]
pub(crate) struct GatheredChunk {
    /// Position of its file in the bundle.
    pub(crate) file: usize,
    pub(crate) kind: String,
    pub(crate) codec: i64,
    pub(crate) row_count: i64,
    pub(crate) raw_bytes: i64,
    pub(crate) stored_bytes: i64,
    /// All runs by `ord`, those too that do not count.
    pub(crate) runs: Vec<GatheredRun>,
}

/// A batch that is taken.
#[derive(Clone, Debug)]
pub(crate) struct GatheredBatch {
    pub(crate) session_id: i64,
    pub(crate) collector: Arc<str>,
    ended_ns: i64,
}

/// All batches of a bundle by their ids. There may be a million.
pub(crate) type Batches = HashMap<i64, GatheredBatch>;

/// All chunks of a bundle by their ids.
pub(crate) type Chunks = HashMap<i64, GatheredChunk>;

/// All of some files in one.
pub(crate) struct United {
    /// The database of their small rows.
    pub(crate) connection: Connection,
    pub(crate) batches: Batches,
    pub(crate) chunks: Chunks,
    /// Files that are part of it.
    pub(crate) files: Vec<PathBuf>,
    /// Files that are not, and why.
    pub(crate) problems: Vec<Problem>,
}

const BATCH: &str = "raw_batch";

/// Tables that a bundle can do without: nothing but questions in SQL needs them.
pub(crate) static TABLES: LazyLock<Vec<&str>> =
    LazyLock::new(|| [&[BATCH], schema::BATCH_TABLES].concat());

/// Whether what was taken of a file can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// No: the first file that turns out damaged spoils everything.
    Nothing,
    /// Yes, of the last file. SQLite copies each page that the file changes, and rows
    /// lie by ids that are as good as random, so each file changes most of the pages.
    File,
}

/// Unites files: of [`TABLES`] those that are named, and all others.
///
/// # Errors
///
/// If there is no memory for it. A file that cannot be used is a [`Problem`].
pub(crate) fn unite(candidates: &[PathBuf], tables: &[&str]) -> Result<United> {
    // Damaged files are rare, and to begin again is less than to take care with all.
    attempt(candidates, tables, Undo::Nothing).or_else(|_| attempt(candidates, tables, Undo::File))
}

/// One try, which ends at a damaged file if nothing can be undone.
fn attempt(candidates: &[PathBuf], tables: &[&str], undo: Undo) -> Result<United> {
    let connection = super::new_memory()?;
    let doing = || Error::sqlite("uniting the rows of files");
    let run = |sql: &str| connection.execute_batch(sql).map_err(doing());
    for table in TABLES.iter().filter(|table| !tables.contains(table)) {
        run(&format!("DROP TABLE {table}"))?;
    }
    if undo == Undo::Nothing {
        run("PRAGMA journal_mode = OFF")?;
    }
    // An index costs a fraction once everything is there.
    let of_indexes = |column: &str| -> Result<String> {
        let sql = format!(
            "SELECT coalesce(group_concat({column}, ';'), '') FROM sqlite_schema
             WHERE type = 'index' AND sql <> ''"
        );
        connection.query_row(&sql, [], |row| row.get(0)).map_err(doing())
    };
    let indexes = of_indexes("sql")?;
    run(&of_indexes("'DROP INDEX ' || name")?)?;
    // One end of all files: an end costs as much as all pages that are there.
    run("BEGIN")?;
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    let mut gather = Gather::new(&connection, tables);
    for path in candidates {
        let error = match (file::Reader::open(path), undo) {
            (Err(error), _) => Some(error),
            (Ok(reader), Undo::Nothing) => {
                gather.add(&reader, files.len()).map_err(damaged(path))?;
                None
            }
            (Ok(reader), Undo::File) => {
                run("SAVEPOINT file")?;
                let added = gather.add(&reader, files.len());
                if added.is_err() {
                    run("ROLLBACK TO file")?;
                }
                run("RELEASE file")?;
                added.map_err(damaged(path)).err()
            }
        };
        match error {
            None => files.push(path.clone()),
            Some(error) => problems.push(Problem { path: path.clone(), error }),
        }
    }
    let Gather { batches, chunks, .. } = gather;
    run("COMMIT")?;
    run(&indexes)?;
    run("PRAGMA journal_mode = MEMORY")?;
    Ok(United { connection, batches, chunks, files, problems })
}

fn damaged(path: &Path) -> impl FnOnce(String) -> Error {
    let path = path.to_owned();
    |reason| Error::Damaged { path, reason }
}

/// What is known of the files that were added so far.
struct Gather<'a> {
    connection: &'a Connection,
    /// Those of [`TABLES`] that are united.
    tables: &'a [&'a str],
    sessions: HashSet<i64>,
    batches: Batches,
    chunks: Chunks,
}

/// A step, and what is wrong with the file if it fails.
type Step<T = ()> = std::result::Result<T, String>;

impl<'a> Gather<'a> {
    /// Nothing yet. Rows go to `connection`, which has our tables.
    fn new(connection: &'a Connection, tables: &'a [&'a str]) -> Self {
        Self {
            connection,
            tables,
            sessions: HashSet::new(),
            batches: Batches::new(),
            chunks: Chunks::new(),
        }
    }

    /// Adds all of a file, which becomes number `number` of the bundle. What is not in
    /// SQLite's hands is added whole or not at all.
    ///
    /// # Errors
    ///
    /// If it is damaged, and how.
    fn add(&mut self, reader: &file::Reader, number: usize) -> Step {
        let found = Found::read(self, reader, number)?;
        self.sessions.extend(found.sessions);
        self.batches.extend(found.taken);
        for id in found.given_up {
            self.chunks.remove(&id);
        }
        for (id, runs) in found.left {
            if let Some(chunk) = self.chunks.get_mut(&id) {
                chunk.runs = runs;
            }
        }
        self.chunks.extend(found.chunks);
        Ok(())
    }

    /// Runs a statement with the values of a row.
    fn run(&self, sql: &str, row: &[ValueRef<'_>]) -> Step {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let values = row.iter().map(|value| ToSqlOutput::Borrowed(*value));
                statement.execute(params_from_iter(values))
            })
            .map(drop)
            .map_err(|error| file::plain(&error))
    }
}

/// What a file adds to what is there.
#[derive(Default)]
struct Found {
    sessions: HashSet<i64>,
    /// Batches that are taken.
    taken: Batches,
    chunks: Chunks,
    /// Chunks of earlier files that no longer count at all.
    given_up: HashSet<i64>,
    /// Chunks of earlier files some of whose runs no longer count.
    left: HashMap<i64, Vec<GatheredRun>>,
}

impl Found {
    fn read(gather: &Gather<'_>, reader: &file::Reader, number: usize) -> Step<Self> {
        let mut found = Self::default();
        found.read_origins(gather, reader)?;
        found.read_batches(gather, reader)?;
        found.read_chunks(gather, reader, number)?;
        Ok(found)
    }

    /// Nodes, sessions and streams.
    fn read_origins(&mut self, gather: &Gather<'_>, reader: &file::Reader) -> Step {
        reader.for_each("raw_node", &mut |row| {
            check_texts("raw_node", row)?;
            gather.run("INSERT INTO raw_node VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING", row)
        })?;
        reader.for_each("raw_session", &mut |row| {
            check_texts("raw_session", row)?;
            self.sessions.insert(integer("raw_session", row, 0)?);
            gather.run(
                "INSERT INTO raw_session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (id) DO UPDATE SET ended_ns = max(ended_ns, excluded.ended_ns)",
                row,
            )
        })?;
        reader.for_each("raw_stream", &mut |row| {
            check_texts("raw_stream", row)?;
            gather.run(
                "INSERT INTO raw_stream VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                row,
            )
        })
    }

    /// Batches that are new, or newer than those there, and their rows.
    fn read_batches(&mut self, gather: &Gather<'_>, reader: &file::Reader) -> Step {
        let mut replaced = HashSet::new();
        let mut collectors = HashMap::<String, Arc<str>>::new();
        reader.for_each(BATCH, &mut |row| {
            check_texts(BATCH, row)?;
            let [id, session_id, ended_ns] = integers(BATCH, row, [0, 1, 6])?;
            let Some(ValueRef::Text(name)) = row.get(2) else { return Err(wrong(BATCH, 2)) };
            let has_session =
                gather.sessions.contains(&session_id) || self.sessions.contains(&session_id);
            let known = gather.batches.get(&id);
            if !has_session || known.is_some_and(|known| known.ended_ns >= ended_ns) {
                return Ok(());
            }
            if known.is_some() && replaced.insert(id) {
                remove_rows(gather, id)?;
            }
            let name = String::from_utf8_lossy(name);
            let collector = match collectors.get(name.as_ref()) {
                Some(known) => Arc::clone(known),
                None => collectors.entry(name.to_string()).or_insert(name.into()).clone(),
            };
            self.taken.insert(id, GatheredBatch { session_id, collector, ended_ns });
            if !gather.tables.contains(&BATCH) {
                return Ok(());
            }
            gather.run("INSERT INTO raw_batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        })?;
        self.leave_out(gather, &replaced);
        for table in gather.tables.iter().filter(|table| **table != BATCH) {
            let mut sql = String::new();
            reader.for_each(table, &mut |row| {
                if *table == "raw_issue" {
                    check_texts(table, row)?;
                }
                if !self.taken.contains_key(&integer(table, row, 0)?) {
                    return Ok(());
                }
                if sql.is_empty() {
                    let places = vec!["?"; row.len()].join(", ");
                    sql = format!("INSERT INTO {table} VALUES ({places})");
                }
                gather.run(&sql, row)
            })?;
        }
        Ok(())
    }

    /// Leaves the rows of batches that give way out of chunks of earlier files. A
    /// chunk that other batches have rows in stays.
    fn leave_out(&mut self, gather: &Gather<'_>, replaced: &HashSet<i64>) {
        let gives_way = |run: &GatheredRun| run.batch_id.is_some_and(|id| replaced.contains(&id));
        if replaced.is_empty() {
            return;
        }
        for (id, chunk) in &gather.chunks {
            if !chunk.runs.iter().any(gives_way) {
                continue;
            }
            let mut runs = chunk.runs.clone();
            for run in runs.iter_mut().filter(|run| gives_way(run)) {
                run.batch_id = None;
            }
            if runs.iter().all(|run| run.batch_id.is_none()) {
                self.given_up.insert(*id);
            } else {
                self.left.insert(*id, runs);
            }
        }
    }

    /// Chunks that batches which are taken have rows in. A chunk comes whole; of
    /// its runs those count whose batch is taken, for the rows of the others are
    /// there already, in other chunks.
    fn read_chunks(&mut self, gather: &Gather<'_>, reader: &file::Reader, number: usize) -> Step {
        let mut runs: HashMap<i64, Vec<GatheredRun>> = HashMap::new();
        let table = "raw_chunk_run";
        reader.for_each(table, &mut |row| {
            let [chunk_id, ord, stream_id, row_count, first_ns, last_ns, failed_count, max_gap_ns] =
                integers(table, row, [0, 1, 3, 4, 5, 6, 7, 8])?;
            let batch_id = match row.get(2) {
                Some(ValueRef::Null) => None,
                _ => Some(integer(table, row, 2)?),
            };
            let batch_id = batch_id.filter(|id| self.taken.contains_key(id));
            let of_chunk = runs.entry(chunk_id).or_default();
            if of_chunk.last().is_some_and(|last| last.ord >= ord) {
                return Err(format!("its {table} is not in order"));
            }
            of_chunk.push(GatheredRun {
                ord,
                batch_id,
                stream_id,
                row_count,
                first_ns,
                last_ns,
                failed_count,
                max_gap_ns,
            });
            Ok(())
        })?;
        runs.retain(|_, runs| runs.iter().any(|run| run.batch_id.is_some()));
        let table = "raw_chunk";
        reader.for_each_chunk(&mut |row| {
            let [id, codec, row_count, raw_bytes, stored_bytes] =
                integers(table, row, [0, 2, 3, 4, 5])?;
            let Some(runs) = runs.remove(&id) else { return Ok(()) };
            if gather.chunks.contains_key(&id) && !self.given_up.contains(&id) {
                return Err("it holds a chunk of another file with other rows".to_owned());
            }
            let Some(ValueRef::Text(kind)) = row.get(1) else { return Err(wrong(table, 1)) };
            let kind = String::from_utf8_lossy(kind).into_owned();
            let chunk = GatheredChunk {
                file: number,
                kind,
                codec,
                row_count,
                raw_bytes,
                stored_bytes,
                runs,
            };
            self.chunks.insert(id, chunk);
            Ok(())
        })
    }
}

/// Removes the rows of a batch that gives way.
fn remove_rows(gather: &Gather<'_>, batch_id: i64) -> Step {
    let id = [ValueRef::Integer(batch_id)];
    for table in gather.tables {
        let column = if *table == BATCH { "id" } else { "batch_id" };
        gather.run(&format!("DELETE FROM {table} WHERE {column} = ?"), &id)?;
    }
    Ok(())
}

/// Whole numbers of a row.
fn integers<const N: usize>(
    table: &str,
    row: &[ValueRef<'_>],
    columns: [usize; N],
) -> Step<[i64; N]> {
    let mut numbers = [0; N];
    for (number, column) in numbers.iter_mut().zip(columns) {
        *number = integer(table, row, column)?;
    }
    Ok(numbers)
}

fn integer(table: &str, row: &[ValueRef<'_>], column: usize) -> Step<i64> {
    match row.get(column) {
        Some(ValueRef::Integer(number)) => Ok(*number),
        _ => Err(wrong(table, column)),
    }
}

fn wrong(table: &str, column: usize) -> String {
    format!("column {} of its {table} holds something else than it should", column + 1)
}

/// Checks that names and messages are UTF-8, as SQLite does not. They go into
/// answers about all files, which one wrong byte must not cost.
pub(super) fn check_texts(table: &str, row: &[ValueRef<'_>]) -> Step {
    let is_text = |value: &ValueRef<'_>| match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).is_ok(),
        _ => true,
    };
    if row.iter().all(is_text) {
        Ok(())
    } else {
        Err(format!("its {table} holds a text that is not UTF-8"))
    }
}
