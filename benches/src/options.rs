//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::corpus::Source;

/// Measures the store against its rivals and writes benches/RESULTS.md.
#[derive(Debug, Parser)]
#[command(name = "bench-store", version)]
pub(crate) struct Options {
    /// Folder with klog, cri and journal, as folders of log files or as
    /// .tar.zst; without it the small corpus of the repository
    #[arg(long, env = "PERISCOPE_CORPUS", value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    /// Use the small corpus and few rounds, whatever else is set
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of which the median is taken
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Node files of the bundle
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) nodes: u32,
    /// Folder for what is made on the way; by default below target/
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// Take the sizes that slow compressors came to in an earlier run on the
    /// same bytes
    #[arg(long)]
    pub(crate) reuse: bool,
    /// Leave the bundle and the merged file in the work folder
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to write the results
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Options {
    /// Rounds to run.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { self.rounds.min(3) as usize } else { self.rounds as usize }
    }

    /// Whether the small corpus is used.
    pub(crate) fn is_small(&self) -> bool {
        self.quick || self.corpus.is_none()
    }
}

/// What this program does in processes of its own, so that their time and
/// memory can be told from all else.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program and write what it took to a file
    #[command(hide = true)]
    Measure {
        /// File to write
        output: PathBuf,
        /// Program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
    /// Write log files into a node's file and seal it
    #[command(hide = true)]
    WriteNode {
        /// File to make
        output: PathBuf,
        /// Log files, each as KIND:PATH
        #[arg(required = true)]
        files: Vec<Source>,
    },
    /// Count rows of a plain SQLite table by LIKE
    #[command(hide = true)]
    CountRows {
        /// Database with the table row
        database: PathBuf,
        /// Text that messages are to contain
        needle: String,
    },
    /// Time a question about probe samples
    #[command(hide = true)]
    AskProbes {
        /// Folder with .db files
        bundle: PathBuf,
        /// One SELECT
        sql: String,
    },
}
