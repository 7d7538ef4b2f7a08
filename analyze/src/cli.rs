//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Reads Periscope bundles offline.
///
/// A bundle is a folder of .db files that periscope-agent wrote, or the files
/// themselves. Nothing in it is changed, and nothing is sent anywhere.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Exit status: 0 nothing found, 1 findings, 2 could not do all of it.\n\n\
                  Examples:\n  \
                  periscope-analyze bundle/\n  \
                  periscope-analyze query bundle/ \"SELECT ts, message FROM log WHERE level = 'error'\"\n  \
                  periscope-analyze merge bundle/ -o cluster.db"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    report: ReportArguments,
}

impl Cli {
    /// The command; a report if none was named.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Report(self.report))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what was collected, what was found, and on what evidence (default)
    Report(ReportArguments),
    /// Ask a question in SQL
    Query(QueryArguments),
    /// Make one database of many
    Merge(MergeArguments),
    /// List the diagnostics, or explain one
    Diagnostics(DiagnosticsArguments),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// Run these diagnostics only
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Run all diagnostics but these
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Set a parameter of a diagnostic
    #[arg(long, value_name = "ID.NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// Give up a diagnostic after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) deadline: u64,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    /// Write it to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Text and tables, sized to the terminal
    Table,
    /// One document for programs
    Json,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Tables: log, probe, sample, node, collection, setting, iptables_rule, object, \
                        pod, container, service, event, probe_outage, probe_availability, …\n  \
                        periscope-analyze query BUNDLE \"SELECT sql FROM sqlite_schema UNION ALL \
                        SELECT sql FROM virtual_table\" --format csv shows all, each column with a comment."
)]
pub(crate) struct QueryArguments {
    /// Folder with .db files, or the files; then one SELECT, or - to read it
    /// from standard input
    #[arg(required = true, num_args = 2.., value_names = ["BUNDLE", "SQL"])]
    pub(crate) bundle_and_sql: Vec<String>,
    /// How to print rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns sized to the terminal
    Table,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// An array of objects
    Json,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct MergeArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// File to make; must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DiagnosticsArguments {
    #[command(subcommand)]
    pub(crate) action: DiagnosticsAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DiagnosticsAction {
    /// List all diagnostics
    List,
    /// Explain a diagnostic: what it means, what to do, and its SQL
    Show {
        /// Name of the diagnostic
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bundle_alone_means_a_report() {
        let cli = Cli::try_parse_from(["periscope-analyze", "a", "b"]).expect("valid");
        let Command::Report(arguments) = cli.into_command() else { panic!("not a report") };
        assert_eq!(arguments.bundle, [PathBuf::from("a"), PathBuf::from("b")]);
    }
}
