//! Where answers go: standard output, or a file that somebody named.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Standard output, unless there is a file.
#[derive(Debug, Default)]
pub(super) struct Target {
    file: Option<(File, PathBuf)>,
    /// For the next answer only.
    once: Option<(File, PathBuf)>,
}

impl Target {
    /// Sends the next answer to a file, which is made or emptied; `kept` are files that
    /// must stay as they are.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or is to be kept.
    pub(super) fn once(&mut self, path: &str, kept: &[PathBuf]) -> Result<()> {
        self.once = Some((make(Path::new(path), kept)?, path.into()));
        Ok(())
    }

    /// Sends all answers to a file, as [`Target::once`]; to standard output again without.
    ///
    /// # Errors
    ///
    /// As [`Target::once`].
    pub(super) fn set(&mut self, path: Option<&str>, kept: &[PathBuf]) -> Result<()> {
        self.file = match path {
            Some(path) => Some((make(Path::new(path), kept)?, path.into())),
            None => None,
        };
        Ok(())
    }

    /// Whether the next answer has a file of its own.
    pub(super) fn is_once(&self) -> bool {
        self.once.is_some()
    }

    /// Whether the next answer goes to a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.once.is_none() && self.file.is_none() && io::stdout().is_terminal()
    }

    /// Opens it for one answer.
    ///
    /// # Errors
    ///
    /// If the system has no descriptors left.
    pub(super) fn open(&mut self) -> Result<Box<dyn Write + Send>> {
        if let Some((file, _)) = self.once.take() {
            return Ok(Box::new(BufWriter::new(file)));
        }
        Ok(match &self.file {
            Some((file, path)) => {
                let file = file.try_clone().with_context(|| format!("opening {}", path.display()));
                Box::new(BufWriter::new(file?))
            }
            None => Box::new(BufWriter::new(io::stdout())),
        })
    }
}

fn make(path: &Path, kept: &[PathBuf]) -> Result<File> {
    if let Ok(there) = fs::canonicalize(path)
        && kept.iter().any(|kept| fs::canonicalize(kept).is_ok_and(|kept| kept == there))
    {
        bail!("{} is a file of the bundle\nhint: choose another name", path.display());
    }
    File::create(path).with_context(|| format!("making {}", path.display()))
}
