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
    /// List, explain, test and begin diagnostics
    Diagnostics(DiagnosticsArguments),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// Run these diagnostics only; * stands for any letters
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Run all diagnostics but these
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    #[command(flatten)]
    pub(crate) library: LibraryArguments,
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
    /// Say on standard error how long each diagnostic took
    #[arg(long)]
    pub(crate) timings: bool,
}

/// Where diagnostics come from beside the program.
#[derive(Args, Clone, Debug)]
pub(crate) struct LibraryArguments {
    /// Folder with more diagnostics, ID.sql each; one of a built-in's name takes
    /// its place
    #[arg(
        long = "diagnostics",
        value_name = "FOLDER",
        env = "PERISCOPE_DIAGNOSTICS",
        value_delimiter = ':'
    )]
    pub(crate) folders: Vec<PathBuf>,
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
    List {
        /// How to print the list
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
        #[command(flatten)]
        library: LibraryArguments,
    },
    /// Explain a diagnostic: what it means, what to do, and its SQL
    Show(ShowArguments),
    /// Run the cases of a folder's diagnostics: ID.toml beside each ID.sql
    Test {
        /// Folder with diagnostics and their cases
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Write a diagnostic to begin with, and its cases
    New(NewArguments),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArguments {
    /// Name of the diagnostic
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Say too what it finds in this bundle
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// Print its file and nothing else
    #[arg(long, conflicts_with = "bundle")]
    pub(crate) sql: bool,
    #[command(flatten)]
    pub(crate) library: LibraryArguments,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NewArguments {
    /// Name of the diagnostic: small letters, digits and -
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Folder to write to; made if it is not there
    #[arg(value_name = "FOLDER", default_value = "diagnostics")]
    pub(crate) folder: PathBuf,
}

/// How the list of diagnostics is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns sized to the terminal
    Table,
    /// An array of objects
    Json,
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
