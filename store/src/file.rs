//! Opens database files that come from elsewhere and may be wrong, cut or
//! crafted.
//!
//! What a file claims is checked before SQLite reads it (header) and before a
//! query does (tables exactly as [`schema`] makes them). Nothing is written,
//! next to a file neither.

mod pages;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use pages::Pages;

use crate::{Error, Result, schema};

/// Bytes of an SQLite header. <https://sqlite.org/fileformat2.html#the_database_header>
const HEADER_BYTES: usize = 100;

/// All database files below some paths: a folder stands for the `.db` files in
/// it, at any depth, in order of their names.
///
/// # Errors
///
/// If a path does not exist, or a folder holds no such file.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if metadata.is_dir() {
            let before = files.len();
            find_in(path, 0, &mut files)?;
            if files.len() == before {
                return Err(Error::NoFiles { path: path.clone() });
            }
        } else {
            files.push(path.clone());
        }
    }
    files.dedup();
    Ok(files)
}

fn find_in(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    const MAX_DEPTH: usize = 8;
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let is_link = path.symlink_metadata().is_ok_and(|data| data.is_symlink());
        if path.is_dir() {
            if depth < MAX_DEPTH && !is_link {
                find_in(&path, depth + 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "db") {
            files.push(path);
        }
    }
    Ok(())
}

/// Checks the header of a file, without SQLite.
///
/// # Errors
///
/// Says what the file is if it is not a node's database of a known schema, and
/// where it ends if it is cut.
pub fn check(path: &Path) -> Result<()> {
    check_header(path).map(drop)
}

/// The same; the file and its header.
fn check_header(path: &Path) -> Result<(File, [u8; HEADER_BYTES])> {
    let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
    let mut header = [0; HEADER_BYTES];
    let path = path.to_owned();
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::NotSqlite { path });
    }
    let number = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let application_id = number(68);
    if application_id != schema::APPLICATION_ID {
        return Err(Error::NotPeriscope { path, application_id });
    }
    let found = number(60);
    if found > schema::VERSION {
        return Err(Error::NewerSchema { path, found, known: schema::VERSION });
    }
    if found < 1 {
        return Err(Error::Damaged { path, reason: format!("its schema version is {found}") });
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page_size * u64::from(number(28) as u32);
    if length < expected {
        let reason = format!("it ends after {length} of {expected} bytes");
        return Err(Error::Damaged { path, reason });
    }
    Ok((file, header))
}

/// URI by which SQLite opens a file for reading only. A file that no agent is
/// writing to is opened as immutable, so that nothing is made next to it.
#[must_use]
pub fn uri(path: &Path) -> String {
    use std::fmt::Write;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(absolute.as_os_str()) {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => write!(uri, "%{byte:02x}").expect("a String takes all"),
        }
    }
    uri.push_str(if is_live(path) { "?mode=ro" } else { "?mode=ro&immutable=1" });
    uri
}

/// Whether rows of a file may be in the journal next to it.
fn is_live(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(&wal).is_ok_and(|data| data.len() > 0)
}

/// A connection that reads one file and trusts nothing in it.
///
/// # Errors
///
/// As [`check`], and if a table is not as Periscope makes it.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    check(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let damaged =
        |error: rusqlite::Error| Error::Damaged { path: path.to_owned(), reason: plain(&error) };
    let connection = Connection::open_with_flags(uri(path), flags).map_err(damaged)?;
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        .map_err(damaged)?;
    check_tables(&connection, "main")
        .map_err(|reason| Error::Damaged { path: path.to_owned(), reason })?;
    Ok(connection)
}

/// Reads all rows of tables of one file, without their long columns.
#[derive(Debug)]
pub(crate) enum Reader {
    /// By page: much the faster way, for files that nobody writes to.
    Pages(Pages),
    /// By SQLite: for all others.
    Sqlite(Connection),
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// As [`check`], and if a table is not as Periscope makes it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, header) = check_header(path)?;
        if is_live(path) {
            return open(path).map(Self::Sqlite);
        }
        let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
        let Some(pages) = Pages::open(file, &header).map_err(damaged)? else {
            return open(path).map(Self::Sqlite);
        };
        compare(pages.objects()).map_err(damaged)?;
        Ok(Self::Pages(pages))
    }

    /// Gives every row of a table, its values in the order of the columns, until
    /// `take` finds one that is wrong.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the table.
    pub(crate) fn for_each(
        &self,
        table: &str,
        take: &mut dyn FnMut(&[ValueRef<'_>]) -> std::result::Result<(), String>,
    ) -> std::result::Result<(), String> {
        match self {
            Self::Pages(pages) => pages.for_each(table, None, take),
            Self::Sqlite(connection) => {
                for_each(connection, &format!("SELECT * FROM {table}"), take)
            }
        }
    }

    /// Bytes of the chunk with an id, `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the table.
    pub(crate) fn chunk(&self, id: i64) -> std::result::Result<Option<Vec<u8>>, String> {
        const { assert!(schema::VERSION == 1, "the number of columns before data") }
        match self {
            Self::Pages(pages) => pages.bytes("raw_chunk", id, 5),
            Self::Sqlite(connection) => {
                bytes(connection, "SELECT data FROM raw_chunk WHERE id = ?", id)
            }
        }
    }

    /// Bytes of the skip filter of a chunk, `None` if it has none.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the table.
    pub(crate) fn skip_filter(&self, id: i64) -> std::result::Result<Option<Vec<u8>>, String> {
        const { assert!(schema::VERSION == 1, "the number of columns before data") }
        match self {
            Self::Pages(pages) => pages.bytes("raw_chunk_filter", id, 1),
            Self::Sqlite(connection) => {
                bytes(connection, "SELECT data FROM raw_chunk_filter WHERE chunk_id = ?", id)
            }
        }
    }

    /// The same for `raw_chunk`, with the length of `data` in its place.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the table.
    pub(crate) fn for_each_chunk(
        &self,
        take: &mut dyn FnMut(&[ValueRef<'_>]) -> std::result::Result<(), String>,
    ) -> std::result::Result<(), String> {
        const { assert!(schema::VERSION == 1, "the number of columns before data") }
        match self {
            Self::Pages(pages) => pages.for_each("raw_chunk", Some(5), take),
            Self::Sqlite(connection) => for_each(
                connection,
                "SELECT id, kind, codec, row_count, raw_bytes, length(data) FROM raw_chunk",
                take,
            ),
        }
    }
}

/// Gives every row of an answer, until `take` finds one that is wrong.
pub(crate) fn for_each(
    connection: &Connection,
    sql: &str,
    take: &mut dyn FnMut(&[ValueRef<'_>]) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let mut statement = connection.prepare(sql).map_err(|error| plain(&error))?;
    let columns = statement.column_count();
    let mut rows = statement.query([]).map_err(|error| plain(&error))?;
    while let Some(row) = rows.next().map_err(|error| plain(&error))? {
        let values: rusqlite::Result<Vec<_>> = (0..columns).map(|at| row.get_ref(at)).collect();
        take(&values.map_err(|error| plain(&error))?)?;
    }
    Ok(())
}

/// The bytes that a statement finds for a chunk.
fn bytes(
    connection: &Connection,
    sql: &str,
    id: i64,
) -> std::result::Result<Option<Vec<u8>>, String> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| plain(&error))
}

/// An object of a schema: type, name and SQL.
type SchemaObject = (String, String, Option<String>);

/// Every object that this program makes, or why that is not known.
static OURS: OnceLock<std::result::Result<Vec<SchemaObject>, String>> = OnceLock::new();

/// Takes the schema of a database that was just made for that of all files, so
/// that none need be made only to compare with.
pub(crate) fn know_schema(made: &Connection) {
    OURS.get_or_init(|| schema_objects(made, "main").map_err(|error| plain(&error)));
}

/// Compares every object of a schema with what this program would have made.
/// Objects that are there beside them are never read.
pub(crate) fn check_tables(
    connection: &Connection,
    database: &str,
) -> std::result::Result<(), String> {
    compare(&schema_objects(connection, database).map_err(|error| plain(&error))?)
}

fn compare(theirs: &[SchemaObject]) -> std::result::Result<(), String> {
    let ours = OURS.get_or_init(|| {
        let ours = Connection::open_in_memory().map_err(|error| plain(&error))?;
        schema::create(&ours).map_err(|error| error.to_string())?;
        schema_objects(&ours, "main").map_err(|error| plain(&error))
    });
    let ours = ours.as_ref().map_err(Clone::clone)?;
    if ours == theirs {
        return Ok(());
    }
    match ours.iter().find(|object| !theirs.contains(object)) {
        Some((kind, name, _)) => Err(format!("its {kind} {name} is not as Periscope makes it")),
        None => Ok(()),
    }
}

fn schema_objects(connection: &Connection, database: &str) -> rusqlite::Result<Vec<SchemaObject>> {
    connection
        .prepare(&format!("SELECT type, name, sql FROM {database}.sqlite_schema"))?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// SQLite's error in its own words, without the wrapper's.
pub(crate) fn plain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, None) => code.to_string(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), reason: error.to_string() }
}
