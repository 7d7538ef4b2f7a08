//! `RESULTS.md`: what was measured, on what, and which targets are met.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::machine;
use crate::options::Options;
use crate::process::say;
use crate::rivals::Rivals;
use crate::work::Work;

/// Most memory that an analyst's question may take, in MiB.
const MEMORY_MIB: f64 = 256.0;

/// Something to be reached.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What is measured.
    pub(crate) name: String,
    /// Largest value that meets it.
    pub(crate) limit: f64,
    /// What it came to, `None` if a rival is missing or the corpus too small.
    pub(crate) measured: Option<f64>,
    /// Of both numbers, with a blank in front; empty for ratios.
    pub(crate) unit: &'static str,
}

impl Target {
    fn line(&self) -> String {
        let (measured, met) = match self.measured {
            Some(measured) if measured <= self.limit => (number(measured, self.unit), "yes"),
            Some(measured) => (number(measured, self.unit), "**no**"),
            None => ("not measured".to_owned(), "–"),
        };
        format!(
            "| {} | {} or less | {measured} | {met} |\n",
            self.name,
            number(self.limit, self.unit)
        )
    }
}

/// A number with as many digits as matter, and its unit.
fn number(value: f64, unit: &str) -> String {
    match value {
        value if value >= 20.0 => format!("{value:.0}{unit}"),
        value if value >= 0.05 => format!("{value:.2}{unit}"),
        value => format!("{value:.4}{unit}"),
    }
}

/// Seconds as a cell of a table.
pub(crate) fn cell_ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

/// Gathers results until they are written.
#[derive(Debug)]
pub(crate) struct Report {
    head: String,
    is_small: bool,
    targets: Vec<Target>,
    /// Peak memory by what was done.
    memory: Vec<(&'static str, u64)>,
    sections: Vec<(&'static str, String)>,
}

impl Report {
    pub(crate) fn new(options: &Options, work: &Work, rivals: &Rivals) -> Self {
        let command = match (work.is_small, options.reuse) {
            (true, _) => "cargo bench-store --quick",
            (false, false) => "cargo bench-store --corpus DIR",
            (false, true) => "cargo bench-store --corpus DIR --reuse",
        };
        let head = format!(
            "# Results\n\n\
             Written by `{command}` ({} corpus of {:.1} MB in {} files, {} node files, medians \
             of {} rounds in which ours and the rivals take turns).\n\n\
             Machine: {}; {} processes wanted to run when it began. Rivals: {}.\n",
            if work.is_small { "small" } else { "large" },
            work.raw_bytes as f64 / 1e6,
            work.sources.len(),
            work.nodes,
            work.rounds,
            machine::describe(),
            machine::load(),
            rivals.versions().join("; "),
        );
        let is_small = work.is_small;
        Self { head, is_small, targets: Vec::new(), memory: Vec::new(), sections: Vec::new() }
    }

    /// Adds a line to the table of targets.
    pub(crate) fn target(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// Notes the peak memory of something that an analyst does.
    pub(crate) fn memory(&mut self, what: &'static str, peak_kib: u64) {
        match self.memory.iter_mut().find(|(known, _)| *known == what) {
            Some((_, peak)) => *peak = (*peak).max(peak_kib),
            None => self.memory.push((what, peak_kib)),
        }
    }

    /// Adds a section after the targets.
    pub(crate) fn section(&mut self, title: &'static str, text: &str) {
        self.sections.push((title, text.to_owned()));
    }

    /// Writes what there is so far into the work folder, so that a run that is
    /// cut short is not for nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn keep(&self, work: &Work) -> Result<()> {
        self.write_to(&work.path("results.md"))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn write(&self, options: &Options, work: &Work) -> Result<()> {
        // What the small corpus shows is no result to keep.
        let default = if work.is_small { work.path("results.md") } else { root("RESULTS.md") };
        let path = options.output.clone().unwrap_or(default);
        self.write_to(&path)?;
        say(&format!("wrote {}", path.display()));
        Ok(())
    }

    fn write_to(&self, path: &Path) -> Result<()> {
        let notes = fs::read_to_string(root("notes.md")).context("reading notes.md")?;
        fs::write(path, self.text(&notes)).with_context(|| format!("writing {}", path.display()))
    }

    fn text(&self, notes: &str) -> String {
        let mut text = format!("{}\n## Targets\n\n", self.head);
        if self.is_small {
            text += "They are set for a large corpus. On this one the start of a process \
                     outweighs the search, and an empty file the lines.\n\n";
        }
        text += "| | target | measured | met |\n|---|---|---|---|\n";
        self.targets.iter().for_each(|target| text += &target.line());
        for (what, peak_kib) in &self.memory {
            let target = Target {
                name: format!("resident memory: {what}"),
                limit: MEMORY_MIB,
                measured: Some(*peak_kib as f64 / 1024.0),
                unit: " MiB",
            };
            text += &target.line();
        }
        text.extend([format!("\n{}\n", notes.trim())]);
        for (title, section) in &self.sections {
            text.extend([format!("\n## {title}\n\n{}\n", section.trim())]);
        }
        text
    }
}

/// A file beside this program's manifest.
fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_whether_it_is_met() {
        let line =
            |measured| Target { name: "size".to_owned(), limit: 0.5, measured, unit: "" }.line();
        assert_eq!(line(Some(0.5)), "| size | 0.50 or less | 0.50 | yes |\n");
        assert_eq!(line(Some(0.51)), "| size | 0.50 or less | 0.51 | **no** |\n");
        assert_eq!(line(None), "| size | 0.50 or less | not measured | – |\n");
    }
}
