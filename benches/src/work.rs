//! The folder that everything is made in, and what all measurements share: the
//! corpus and the node files of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::corpus::{self, Kind, Source};
use crate::node::{self, Made};
use crate::options::Options;
use crate::process::{self, Program, say};

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) folder: PathBuf,
    pub(crate) is_small: bool,
    pub(crate) rounds: usize,
    pub(crate) nodes: u32,
    pub(crate) reuse: bool,
    pub(crate) sources: Vec<Source>,
    /// Bytes of all log files.
    pub(crate) raw_bytes: u64,
    /// The analyst's program.
    pub(crate) analyze: PathBuf,
    /// One node's file with all logs.
    pub(crate) node: Made,
    /// A node's file for each kind.
    pub(crate) by_kind: Vec<(Kind, Made)>,
}

impl Work {
    /// Unpacks the corpus and makes node files of it.
    ///
    /// # Errors
    ///
    /// If the corpus is incomplete or there is no room.
    pub(crate) fn prepare(options: &Options) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let is_small = options.is_small();
        let corpus = match &options.corpus {
            Some(corpus) if !is_small => corpus.clone(),
            _ => root.join("corpus"),
        };
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.parent().unwrap_or(root).join("target"), PathBuf::from);
        let work = options.work.clone().unwrap_or_else(|| target.join("bench-store"));
        let folder = work.join(if is_small { "small" } else { "large" });
        fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        say("building periscope-analyze");
        let analyze = process::build_analyze()?;
        say("unpacking the corpus");
        let sources = corpus::unpack(&corpus, &folder.join("corpus"))?;
        let mut raw_bytes = 0;
        for source in &sources {
            raw_bytes += node::size(&source.path)?;
        }
        say("making node files");
        let mut by_kind = Vec::new();
        for kind in Kind::ALL {
            let of_kind = sources.iter().filter(|source| source.kind == kind);
            let path = folder.join(format!("{}.db", kind.name()));
            by_kind.push((kind, node::make(&path, of_kind)?));
        }
        let node = node::make(&folder.join("all.db"), &sources)?;
        Ok(Self {
            folder,
            is_small,
            rounds: options.rounds(),
            nodes: options.nodes,
            reuse: options.reuse,
            sources,
            raw_bytes,
            analyze,
            node,
            by_kind,
        })
    }

    /// Path of something to be made.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A question to a bundle, asked as an analyst asks it.
    pub(crate) fn query(&self, bundle: &Path, sql: &str) -> Program {
        Program::new(&self.analyze).arg("query").arg(bundle).arg(sql).args(["--format", "csv"])
    }

    /// Removes what is large and quickly made again.
    ///
    /// # Errors
    ///
    /// If the folder cannot be changed.
    pub(crate) fn clean(&self, options: &Options) -> Result<()> {
        for name in ["nodes", "probe-nodes"] {
            let folder = self.path(name);
            if !options.keep && folder.exists() {
                fs::remove_dir_all(&folder).context("removing node files")?;
            }
        }
        let merged = self.path("merged.db");
        if !options.keep && merged.exists() {
            fs::remove_file(&merged).context("removing the merged file")?;
        }
        Ok(())
    }
}
