//! `merge`: makes one database of many.

use anyhow::{Result, ensure};

use crate::cli::MergeArguments;
use crate::output::{self, Outcome};
use crate::waiting::Waiting;

/// Merges and says what was left out.
///
/// # Errors
///
/// If the output exists or cannot be written, or nothing could be merged.
pub(crate) fn run(arguments: &MergeArguments) -> Result<Outcome> {
    let waiting = Waiting::start("merging");
    let merged = periscope_store::merge::merge(&arguments.bundle, &arguments.output)?;
    drop(waiting);
    for problem in &merged.problems {
        output::warning(&format!("left out: {}", problem.error));
    }
    ensure!(!merged.files.is_empty(), "no file of the bundle can be used");
    let files = if merged.files.len() == 1 { "file" } else { "files" };
    output::note(&format!(
        "merged {} {files} into {}",
        merged.files.len(),
        arguments.output.display()
    ));
    Ok(if merged.problems.is_empty() { Outcome::NothingFound } else { Outcome::Failed })
}
