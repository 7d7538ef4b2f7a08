//! Reads Periscope bundles offline: findings with evidence, and SQL over
//! everything that the nodes wrote.
//!
//! A library so that the agent can ask the diagnostics of a file it has just
//! sealed; the program `periscope-analyze` is [`main`].

mod cli;
mod manners;
mod zone;

mod fetch;
mod expected;
mod open;

mod describe;
mod diagnose;
mod extract;
mod diff;
mod logs;
mod merge;
mod query;
mod shell;
mod report;

mod output;
mod pager;
mod prose;
mod waiting;

pub mod embed;
pub mod manual;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

/// The program: reads the command line, does what it says, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::refuse(&error),
    };
    match run(cli) {
        Ok(outcome) => outcome.into(),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            output::Outcome::Failed.into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<output::Outcome> {
    cli.check()?;
    cli.manners.hold();
    match cli.into_command() {
        Command::Report(arguments) => report::run(&arguments),
        Command::Fetch(arguments) => fetch::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Get(arguments) => describe::get(&arguments),
        Command::Describe(arguments) => describe::describe(&arguments),
        Command::Extract(arguments) => extract::run(&arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Shell(arguments) => shell::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Diagnostics(arguments) => diagnose::command::run(&arguments),
        Command::Completions { shell } => {
            manual::completions(&mut Cli::command(), shell)?;
            Ok(output::Outcome::NothingFound)
        }
        Command::Man { folder } => {
            for path in manual::man(Cli::command(), folder.as_deref())? {
                output::note(&format!("wrote {}", path.display()));
            }
            Ok(output::Outcome::NothingFound)
        }
    }
}
