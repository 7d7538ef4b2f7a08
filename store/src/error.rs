//! What can go wrong with a database file, told for the person who holds it.

use std::path::PathBuf;

/// An error of the store. Its text names the file and, where there is one, the
/// way out on a line that starts with `hint:`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or read at all.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// File that was asked for.
        path: PathBuf,
        /// What the system or SQLite said.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Unwritable {
        /// File that was to be made.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is something else than an SQLite database.
    #[error("{} is not an SQLite database\nhint: a node's database starts with the bytes \"SQLite format 3\"; was the download cut or is it still compressed?", path.display())]
    NotSqlite {
        /// File that was asked for.
        path: PathBuf,
    },
    /// An SQLite database that Periscope did not write.
    #[error("{} is an SQLite database of another application (application id {application_id:#x})\nhint: pass the .db files that periscope-agent wrote", path.display())]
    NotPeriscope {
        /// File that was asked for.
        path: PathBuf,
        /// What its header says.
        application_id: i32,
    },
    /// A file of a later version than this program knows.
    #[error("{} has schema {found}; this program knows up to {known}\nhint: use a newer periscope-analyze", path.display())]
    NewerSchema {
        /// File that was asked for.
        path: PathBuf,
        /// Schema of the file.
        found: i32,
        /// Latest schema of this program.
        known: i32,
    },
    /// A file that ends before its header says it does, or whose pages are wrong.
    #[error("{} is damaged: {reason}\nhint: fetch it again and compare its size with the original; other files are not affected", path.display())]
    Damaged {
        /// File that was asked for.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that was to be made is there already.
    #[error("{} exists already\nhint: choose another name or remove it first", path.display())]
    Exists {
        /// File that was to be made.
        path: PathBuf,
    },
    /// A bundle has no database at all.
    #[error("no .db file in {}\nhint: a bundle is a folder with the .db files that periscope-agent wrote, or the files themselves", path.display())]
    NoFiles {
        /// Folder that was searched.
        path: PathBuf,
    },
    /// One chunk cannot be decoded; the rest of the file can.
    #[error("damaged chunk: {0}")]
    Chunk(String),
    /// A chunk of a codec that this program does not know.
    #[error(
        "chunk has codec {0}, which this program does not know\nhint: use a newer periscope-analyze"
    )]
    UnknownCodec(i64),
    /// SQLite refused a statement of the store's own.
    #[error("{doing}: {source}")]
    Sqlite {
        /// What the store was doing, as in "writing a batch".
        doing: String,
        /// SQLite's own error.
        source: rusqlite::Error,
    },
}

/// Text of an error and its causes, with every `hint:` at its end, where a
/// person looks for the way out.
///
/// ```
/// use periscope_store::tell;
/// let cause = std::io::Error::other("no such file\nhint: look in the attic");
/// assert_eq!(tell(["opening it", &cause.to_string()]), "opening it: no such file\nhint: look in the attic");
/// assert_eq!(tell(["opening it\nhint: knock", "locked"]), "opening it: locked\nhint: knock");
/// ```
pub fn tell<'a>(causes: impl IntoIterator<Item = &'a str>) -> String {
    let (mut text, mut hints) = (String::new(), String::new());
    for cause in causes {
        let (head, hint) = cause.split_once("\nhint:").unwrap_or((cause, ""));
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(head.trim_end());
        if !hint.is_empty() {
            hints.push_str("\nhint:");
            hints.push_str(hint);
        }
    }
    text + &hints
}

impl Error {
    /// Wraps an error of SQLite with what was being done.
    pub(crate) fn sqlite(doing: impl Into<String>) -> impl FnOnce(rusqlite::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Sqlite { doing, source }
    }
}
