//! The folder that a report from a URL keeps its files in.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use periscope_blob::Place;

/// The folder of a container, `periscope/HOST/CONTAINER` in the user's cache. Nobody
/// else may look into it: it holds what nodes logged.
///
/// # Errors
///
/// If nothing says where the cache is, or the folder cannot be made.
pub(super) fn folder(place: &Place) -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let cache = cache.context(
        "nothing says where files of a URL may be kept\n\
         hint: set XDG_CACHE_HOME, or fetch them first: periscope-analyze fetch URL DIR",
    )?;
    let host = place.host().replace(':', "-");
    let folder = cache.join("periscope").join(host).join(place.container());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}
