//! Takes sealed files off the node: one file an exporter.
//!
//! An exporter is called by one thread, one file after another, oldest first, with
//! what waits in the outbox. Back-off, retries and removing what has arrived are
//! the runner's (`run/exporting.rs`).

mod site;
mod azure_blob;
mod dir;
mod summary;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use periscope_blob::Proxies;

use crate::config::Config;
use crate::outbox::Name;

pub(crate) use azure_blob::{AzureBlob, Tell};
pub(crate) use dir::Dir;
pub(crate) use site::Site;
pub(crate) use summary::{Beside, beside};

/// Puts sealed files somewhere else.
///
/// `put` is called again for a file whose success was not seen, as after a crash:
/// a second time must leave the same file. Who reads at the other end must see the
/// whole file or none. It must not change or remove the file on the node, and it
/// may take as long as it takes: the process does not wait for it beyond its grace.
pub(crate) trait Exporter: Send {
    /// Where files go, for people; holds no secret.
    fn place(&self) -> String;

    /// Looks at its settings before the first file, so that what is wrong with them is
    /// said while somebody still looks.
    ///
    /// # Errors
    ///
    /// If no file can arrive with them.
    fn begin(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    /// Puts one sealed file, which is called `RUN/NODE/NODE-NUMBER.db` there.
    ///
    /// # Errors
    ///
    /// Whether it is worth to try again soon; the text holds no secret.
    fn put(&mut self, name: &Name, file: &Path) -> Result<(), ExportError>;

    /// Puts something small beside the files of a run, whole or not at all; the path
    /// begins with the run. What is there already stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Exporter::put`].
    fn put_beside(
        &mut self,
        run_id: &str,
        path: &str,
        content: &[u8],
        media_type: &str,
    ) -> Result<(), ExportError>;
}

/// Why a file did not arrive.
#[derive(Debug)]
pub(crate) enum ExportError {
    /// It may arrive if it is tried again: the other end is away or busy.
    Retry(anyhow::Error),
    /// No file will arrive until somebody changes something, here or at the other end.
    Blocked(anyhow::Error),
    /// This file will not arrive until somebody changes something; others may.
    GiveUp(anyhow::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retry(error) | Self::Blocked(error) | Self::GiveUp(error)) = self;
        f.write_str(&crate::run::one_line(error))
    }
}

/// The exporter that is configured; without one, files stay in the outbox. A folder
/// that somebody names wins over a storage account, which the manifests may bring.
///
/// # Errors
///
/// If it cannot be set up.
pub(crate) fn configured(
    config: &Config,
    site: impl FnOnce() -> Site,
    tell: Tell,
) -> Result<Option<Box<dyn Exporter>>> {
    if let Some(folder) = config.run.export_dir.value.clone() {
        return Ok(Some(Box::new(Dir::new(folder))));
    }
    if !config.run.blob.is_set() {
        return Ok(None);
    }
    let proxies = Proxies::Named {
        url: config.proxy.value.clone().unwrap_or_default(),
        no_proxy: config.no_proxy.value.clone().unwrap_or_default(),
    };
    Ok(Some(Box::new(AzureBlob::new(config.run.blob.clone(), &proxies, site(), tell)?)))
}
