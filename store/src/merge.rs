//! Makes one file of many, to keep or to send.
//!
//! Because identifiers are derived from what they identify, merging is a union:
//! any order gives the same answers, and a file merged twice changes nothing.
//! Chunks are copied as they are, never decoded.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::bundle::{Problem, union};
use crate::{Error, Result, file, schema};

/// What a merge came to.
#[derive(Debug)]
pub struct Merged {
    /// Files that are in the result.
    pub files: Vec<PathBuf>,
    /// Files that are not, and why.
    pub problems: Vec<Problem>,
}

/// Merges the files that `paths` name into a new file.
///
/// # Errors
///
/// If `output` exists or cannot be written, or if there is nothing to merge. An
/// input that cannot be used is a [`Problem`] of the result instead.
pub fn merge(paths: &[PathBuf], output: &Path) -> Result<Merged> {
    if output.exists() {
        return Err(Error::Exists { path: output.to_owned() });
    }
    let candidates = file::find(paths)?;
    let mut partial = output.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    remove(&partial)?;
    let merged = merge_into(&partial, candidates);
    match &merged {
        Ok(merged) if !merged.files.is_empty() => {
            std::fs::File::open(&partial)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&partial, output))
                .map_err(|error| Error::Unwritable {
                    path: output.to_owned(),
                    reason: error.to_string(),
                })?;
        }
        _ => remove(&partial)?,
    }
    merged
}

/// Merges into a file that is thrown away if that fails. A file one of whose chunks
/// turns out to be unreadable is found late: then all begins anew without it.
fn merge_into(path: &Path, mut candidates: Vec<PathBuf>) -> Result<Merged> {
    let mut unreadable = Vec::new();
    loop {
        match try_merge(path, &candidates)? {
            Ok(mut merged) => {
                merged.problems.extend(unreadable);
                return Ok(merged);
            }
            Err((number, error)) => {
                remove(path)?;
                unreadable.push(Problem { path: candidates.remove(number), error });
            }
        }
    }
}

/// Merges all candidates, or says which of them makes that impossible.
fn try_merge(
    path: &Path,
    candidates: &[PathBuf],
) -> Result<std::result::Result<Merged, (usize, Error)>> {
    let doing = || Error::sqlite(format!("writing {}", path.display()));
    let connection = Connection::open(path).map_err(doing())?;
    // The page size measured best for chunks. A merge that is cut short is thrown
    // away, so nothing is synced before the end; the journal is there to take
    // back a file that turns out to be damaged.
    connection
        .execute_batch(
            "PRAGMA page_size = 16384; PRAGMA cache_size = -8192; PRAGMA journal_mode = MEMORY;
             PRAGMA synchronous = OFF;",
        )
        .map_err(doing())?;
    schema::create(&connection)?;
    union::prepare(&connection).map_err(doing())?;
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for (number, candidate) in candidates.iter().enumerate() {
        match union::add(&connection, candidate, number) {
            Ok(()) => files.push(candidate.clone()),
            Err(error) => problems.push(Problem { path: candidate.clone(), error }),
        }
    }
    let copied = union::copy_chunks(&connection, candidates)?;
    connection.close().map_err(|(_, error)| doing()(error))?;
    Ok(copied.map(|()| Merged { files, problems }))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Unwritable { path: path.to_owned(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}
