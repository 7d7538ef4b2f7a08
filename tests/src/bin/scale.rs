//! `scale OUTPUT NODES HOURS FILE…`: a bundle of many nodes and hours, out of recorded
//! node files, to time diagnostics on.
//!
//! The first nodes take one FILE each, all others the last one: name files of nodes
//! with a fault first and one of a healthy node last. Everything is written by the
//! store's own writer in the steps of an agent that runs without end, so batches, runs
//! and chunks are as many and as large as in a real bundle. Log lines repeat from their
//! end back; probes are made, with outages in them.
#![expect(clippy::print_stderr, reason = "it talks to the person before it")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use periscope_tests::scale::{Cluster, Size};
use periscope_tests::template::Template;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [output, nodes, hours, files @ ..] = words.as_slice() else {
        bail!("too few words\nhint: scale OUTPUT NODES HOURS FILE…");
    };
    if files.is_empty() {
        bail!("no file to take rows from\nhint: scale OUTPUT NODES HOURS FILE…");
    }
    let size = Size {
        nodes: nodes.parse().context("NODES is no number")?,
        hours: hours.parse().context("HOURS is no number")?,
    };
    let templates: Vec<Template> = files
        .iter()
        .map(|path| Template::read(Path::new(path)).with_context(|| format!("reading {path}")))
        .collect::<Result<_>>()?;
    let cluster = Cluster::new(templates, size);
    write(&cluster, &PathBuf::from(output), size.nodes)
}

/// Writes nodes on all processors.
fn write(cluster: &Cluster, output: &Path, nodes: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        loop {
            let node = next.fetch_add(1, Ordering::Relaxed);
            if node >= nodes {
                return Ok(());
            }
            let lines = cluster.write_node(node, output)?;
            eprintln!("node {node}: {lines} log lines");
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(_) => bail!("a thread panicked"),
        })
    })
}
