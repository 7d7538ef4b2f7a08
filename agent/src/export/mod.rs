//! Takes sealed files off the node: one file an exporter.
//!
//! An exporter is called by one thread, one file after another, oldest first, with
//! what waits in the outbox. Back-off, retries and removing what has arrived are
//! the runner's (`run/exporting.rs`).

mod dir;

use std::fmt;
use std::path::Path;

use crate::config::RunConfig;
use crate::outbox::Name;

pub(crate) use dir::Dir;

/// Puts sealed files somewhere else.
///
/// `put` is called again for a file whose success was not seen, as after a crash:
/// a second time must leave the same file. Who reads at the other end must see the
/// whole file or none. It must not change or remove the file on the node, and it
/// may take as long as it takes: the process does not wait for it beyond its grace.
pub(crate) trait Exporter: Send {
    /// Where files go, for people; holds no secret.
    fn place(&self) -> String;

    /// Puts one sealed file, which is called `RUN/NODE/NODE-NUMBER.db` there.
    ///
    /// # Errors
    ///
    /// Whether it is worth to try again soon; the text holds no secret.
    fn put(&mut self, name: &Name, file: &Path) -> Result<(), ExportError>;
}

/// Why a file did not arrive.
#[derive(Debug)]
pub(crate) enum ExportError {
    /// It may arrive if it is tried again: the other end is away or busy.
    Retry(anyhow::Error),
    /// It will not, until somebody changes something.
    GiveUp(anyhow::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(error) | Self::GiveUp(error) => write!(f, "{error:#}"),
        }
    }
}

/// The exporter that is configured; without one, files stay in the outbox.
pub(crate) fn configured(config: &RunConfig) -> Option<Box<dyn Exporter>> {
    let folder = config.export_dir.value.clone()?;
    Some(Box::new(Dir::new(folder)))
}
