//! Opens a bundle with the views that analysts ask, and says what is left out.

use std::path::PathBuf;

use anyhow::{Context, Result};
use periscope_store::bundle::Bundle;

use crate::diagnose::views;
use crate::output;

/// Opens a bundle; files that cannot be used are named on standard error.
///
/// # Errors
///
/// If a path does not exist, or no file of the bundle can be used.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Bundle> {
    let bundle = Bundle::open(paths)?;
    for problem in bundle.problems() {
        output::warning(&format!("left out: {}", problem.error));
    }
    anyhow::ensure!(!bundle.files().is_empty(), "no file of the bundle can be used");
    views::create(bundle.connection()).context("creating the views")?;
    Ok(bundle)
}

/// Says which rows are missing because their chunks are damaged. True if any.
pub(crate) fn warn_of_damage(bundle: &Bundle) -> bool {
    let damage = bundle.damage();
    for chunk in &damage {
        output::warning(&format!(
            "{} rows of {} on node {} are missing: chunk {} in {}: {}",
            chunk.row_count,
            chunk.collector,
            chunk.node,
            chunk.chunk_id,
            chunk.path.display(),
            chunk.reason
        ));
    }
    !damage.is_empty()
}
