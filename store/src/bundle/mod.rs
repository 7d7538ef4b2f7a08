//! Any number of node files, opened as one and left where they lie.
//!
//! Small rows and the metadata of chunks are united in memory, by batch: a
//! batch that is in two files is taken once. Chunks stay in their files and are
//! decoded when a query asks for them, so a bundle of 2 GB opens at once.
//!
//! A file that cannot be read is a [`Problem`]; the others are analysed.

pub(crate) mod union;
mod gather;
mod catalogue;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;

pub use catalogue::Damage;
pub(crate) use catalogue::{Catalogue, ChunkMeta, RunMeta, StreamMeta};
pub use watch::Watch;

use crate::{Error, Result, file, schema, time, vtab};

/// A file that is left out, and why.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: Error,
}

/// Any number of node files, opened as one.
#[derive(Debug)]
pub struct Bundle {
    connection: Connection,
    catalogue: Arc<Catalogue>,
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl Bundle {
    /// Opens the files that `paths` name; a folder stands for the `.db` files
    /// below it.
    ///
    /// The [connection](Bundle::connection) then offers
    /// - the tables of `sql/schema`, united, without `raw_chunk.data` and
    ///   `raw_chunk_filter`;
    /// - the virtual tables `log`, `probe`, `probe_stretch`, `sample`, `damage`,
    ///   `log_chunk` and `log_stats`;
    /// - the operators MATCH (contains, ASCII letters of either case) and REGEXP
    ///   on any text;
    /// - the function `ts(ns)`, which writes a time as the tables do.
    ///
    /// `PRAGMA case_sensitive_like` is refused: tables that answer LIKE cannot
    /// tell that it is on. GLOB is the way to search with regard to case.
    ///
    /// # Errors
    ///
    /// If a path does not exist or names no database at all. A file that is
    /// there but cannot be used is a [`Problem`] instead.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        Self::open_for(paths, |_| true)
    }

    /// The same in less time for who asks little: of `raw_batch` and the tables of rows
    /// that batches hold, those that `asks` denies are left out. There is no such table
    /// then, as nothing can be concluded from one without rows.
    ///
    /// # Errors
    ///
    /// As [`Bundle::open`].
    pub fn open_for(paths: &[PathBuf], asks: impl Fn(&str) -> bool) -> Result<Self> {
        let candidates = file::find(paths)?;
        let tables: Vec<&str> =
            gather::TABLES.iter().copied().filter(|table| asks(table)).collect();
        let gather::United { connection, batches, chunks, files, problems } =
            gather::unite(&candidates, &tables)?;
        let catalogue = Arc::new(Catalogue::load(&connection, &files, batches, chunks)?);
        vtab::register(&connection, &catalogue)
            .map_err(Error::sqlite("registering the virtual tables"))?;
        Ok(Self { connection, catalogue, files, problems })
    }

    /// Where to ask. Nothing that is written to it reaches a file.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, for hooks that need it exclusively. An authorizer must go on to
    /// refuse `PRAGMA case_sensitive_like`.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Files that are part of the bundle.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Files that are not, and why.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How much is read, and the way to end a question from another thread.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.catalogue.watch.clone()
    }

    /// Chunks that queries so far could not decode. Their rows are missing from
    /// the answers.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.catalogue.damage()
    }
}

/// An empty database in memory with our tables, but for those that are lists of the
/// catalogue.
fn new_memory() -> Result<Connection> {
    let doing = || Error::sqlite("preparing the bundle");
    let mut connection = Connection::open_in_memory().map_err(doing())?;
    // Of the size that files have: fewer, larger pages cost less to keep.
    connection.execute_batch("PRAGMA page_size = 16384; BEGIN").map_err(doing())?;
    schema::create(&connection)?;
    file::know_schema(&connection);
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch(
            "DROP TABLE raw_chunk; DROP TABLE raw_chunk_run; COMMIT; PRAGMA trusted_schema = OFF;",
        )
        .map_err(doing())?;
    connection
        .create_scalar_function(
            c"ts",
            1,
            FunctionFlags::SQLITE_UTF8
                | FunctionFlags::SQLITE_DETERMINISTIC
                | FunctionFlags::SQLITE_INNOCUOUS,
            |context| {
                Ok(match context.get_raw(0) {
                    // A sum of crafted times that no longer fits a whole number.
                    ValueRef::Real(ns) => Some(time::format_ns(ns as i64)),
                    _ => context.get::<Option<i64>>(0)?.map(time::format_ns),
                })
            },
        )
        .map_err(doing())?;
    connection.authorizer(Some(keep_like)).map_err(doing())?;
    Ok(connection)
}

/// Refuses to let LIKE mean something else.
fn keep_like(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Pragma { pragma_name, .. }
            if pragma_name.eq_ignore_ascii_case("case_sensitive_like") =>
        {
            Authorization::Deny
        }
        _ => Authorization::Allow,
    }
}

/// Name of a file for people, as they named it.
pub(crate) fn display(path: &Path) -> String {
    path.display().to_string()
}
