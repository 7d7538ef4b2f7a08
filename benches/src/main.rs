//! Measures the store against its rivals, on real logs, in one run.
//!
//! `cargo bench-store` builds node files of a corpus through the store's public
//! API, as an agent does, and asks them through `periscope-analyze`, as an
//! analyst does. Every rival works on the same bytes in the same rounds, one
//! after the other, and every count that is compared must be right, or the
//! command fails. It writes `benches/RESULTS.md`.
//!
//! Modules are in the order in which they run.

mod options;
mod machine;

mod corpus;
mod node;
mod heap;
#[path = "../../agent/src/collect/level.rs"]
mod level;

mod process;
mod work;

mod rivals;
mod search;
mod many;
mod probes;
#[path = "../../analyze/src/diagnose/views.rs"]
mod views;
mod encode;
mod size;

mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use options::{Command, Options};
use report::Report;
use work::Work;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match &options.command {
        None => compare(options),
        Some(Command::Measure { output, program }) => process::measure_here(output, program),
        Some(Command::WriteNode { output, files }) => node::write_here(output, files),
        Some(Command::CountRows { database, needle }) => rivals::count_rows_here(database, needle),
        Some(Command::AskProbes { bundle, sql }) => probes::ask_here(bundle, sql),
    }
}

/// All measurements, and the file that tells them.
fn compare(options: &Options) -> Result<()> {
    let work = Work::prepare(options)?;
    let rivals = rivals::Rivals::prepare(&work)?;
    let mut report = Report::new(options, &work, &rivals);
    let words = search::run(&work, &rivals, &mut report)?;
    report.keep(&work)?;
    many::run(&work, words, &mut report)?;
    report.keep(&work)?;
    probes::run(&work, &mut report)?;
    encode::run(&work, &mut report)?;
    report.keep(&work)?;
    size::run(&work, &rivals, &mut report)?;
    report.write(options, &work)?;
    work.clean(options)
}
