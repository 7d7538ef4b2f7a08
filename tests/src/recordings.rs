//! What nodes of the lab wrote once, kept in `tests/recordings`.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

/// Window that the recording was compressed with, as a power of two.
const WINDOW_LOG: u32 = 27;

/// Puts the files of the recording with faults into a folder, below the name of its run.
///
/// # Errors
///
/// If it cannot be read, or there is no room.
pub fn unpack(folder: &Path) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/faults.tar.zst");
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW_LOG)?;
    tar::Archive::new(decoder).unpack(folder).context("unpacking the recording")
}
