//! Fetches files of a run, several at a time.

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use periscope_blob::{BlobError, Container, Fetched, Kind, Reason};

use super::count;
use super::runs::Remote;
use crate::manners;

/// Files that are fetched at a time; what they have in memory is the container's to
/// bound.
const AT_A_TIME: usize = 8;

/// What became of the files.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Files that are here now.
    pub(super) new: usize,
    /// Files that were here before.
    pub(super) here: usize,
    /// Bytes that came over the line.
    pub(super) bytes: u64,
    /// Files without a checksum.
    pub(super) by_length: usize,
    /// What is not here, and why: a sentence each.
    pub(super) failed: Vec<String>,
}

/// Fetches files into a folder. One that fails is told, and the others are fetched.
///
/// # Errors
///
/// If what went wrong would go wrong with each: a right, or the disk.
pub(super) async fn fetch(container: &Container, files: &[Remote], folder: &Path) -> Result<Tally> {
    let bar = bar(files);
    let mut tally = Tally::default();
    let mut fetching = stream::iter(files)
        .map(|file| one(container, file, folder, &bar))
        .buffer_unordered(AT_A_TIME);
    while let Some(fetched) = fetching.next().await {
        match fetched {
            Ok(Fetched::AlreadyThere) => tally.here += 1,
            Ok(Fetched::New { bytes, checked }) => {
                tally.new += 1;
                tally.bytes += bytes;
                tally.by_length += usize::from(checked == Reason::Length);
            }
            Err(error) if ends_all(&error) => {
                bar.finish_and_clear();
                let whole = tally.new + tally.here;
                return Err(error).with_context(|| {
                    format!("whole so far: {whole} of {}", count(files.len(), "file"))
                });
            }
            Err(error) => tally.failed.push(error.to_string()),
        }
        bar.set_message(format!("{} of {}", tally.new + tally.here, count(files.len(), "file")));
    }
    bar.finish_and_clear();
    Ok(tally)
}

async fn one(
    container: &Container,
    file: &Remote,
    folder: &Path,
    bar: &ProgressBar,
) -> Result<Fetched, BlobError> {
    let target = folder.join(&file.path);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|error| {
            let text = format!("cannot make the folder {}: {error}", parent.display());
            BlobError::new(Kind::File, text)
        })?;
    }
    container.blob(&file.name).download(&target, &|bytes| bar.inc(bytes)).await
}

/// Whether the next file would fail alike.
fn ends_all(error: &BlobError) -> bool {
    matches!(error.kind, Kind::File | Kind::Refused | Kind::NoContainer)
}

/// A bar on standard error if that is a terminal.
fn bar(files: &[Remote]) -> ProgressBar {
    if !manners::progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files.iter().map(|file| file.bytes).sum());
    let template = "{wide_bar} {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
