//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::describe::{DescribeArguments, GetArguments};
use crate::diagnose::parse::Severity;
use crate::diff::DiffArguments;
use crate::extract::ExtractArguments;
use crate::logs::LogsArguments;
use crate::manners::Manners;
use crate::manual::Shell;
use crate::query::Format;
use crate::report::When;
use crate::shell::ShellArguments;

/// Reads Periscope bundles offline.
///
/// A bundle is a folder of .db files that periscope-agent wrote, or the files
/// themselves. Nothing in it is changed, and nothing is sent anywhere: only fetch, and
/// report with a URL, use the network.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Exit status: 0 nothing found, 1 findings (report, see --fail-on) or differences (diff), \
                  2 could not do all of it; only 2 and 0 for other commands.\n\n\
                  Examples:\n  \
                  periscope-analyze bundle/\n  \
                  periscope-analyze report bundle/ --format html -o report.html\n  \
                  periscope-analyze fetch 'https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS' --latest\n  \
                  periscope-analyze query bundle/ \"SELECT ts, message FROM log WHERE level = 'error'\"\n  \
                  periscope-analyze merge bundle/ -o cluster.db"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    pub(crate) manners: Manners,
}

impl Cli {
    /// That the name of a command is not taken for a bundle, as it is behind an option.
    ///
    /// # Errors
    ///
    /// If it is.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let first = self.report.bundle.first().filter(|path| !path.exists());
        let name = first.and_then(|path| path.to_str()).unwrap_or_default();
        anyhow::ensure!(
            self.command.is_some() || Self::command().find_subcommand(name).is_none(),
            "there is no bundle {name}\nhint: options stand behind the command: periscope-analyze {name} …"
        );
        Ok(())
    }

    /// The command; a report if none was named.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Report(self.report))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what was collected, what was found, and on what evidence (default)
    Report(ReportArguments),
    /// Bring the files of a run from a storage account
    Fetch(FetchArguments),
    /// Show log lines of all nodes, merged by time
    Logs(LogsArguments),
    /// List recorded objects, as kubectl get does
    Get(GetArguments),
    /// Show all of recorded objects, with events, as kubectl describe does
    Describe(DescribeArguments),
    /// Ask a question in SQL
    Query(QueryArguments),
    /// Ask many, line by line
    Shell(ShellArguments),
    /// Write logs, objects, rules and settings as plain files
    Extract(ExtractArguments),
    /// Compare two bundles, or two nodes
    Diff(Box<DiffArguments>),
    /// Make one database of many
    Merge(MergeArguments),
    /// List, explain, test and begin diagnostics
    Diagnostics(DiagnosticsArguments),
    /// Print what a shell needs to complete these commands
    #[command(after_help = "Examples:\n  \
        periscope-analyze completions bash > ~/.local/share/bash-completion/completions/periscope-analyze\n  \
        periscope-analyze completions zsh > \"${fpath[1]}/_periscope-analyze\"\n  \
        periscope-analyze completions fish > ~/.config/fish/completions/periscope-analyze.fish\n  \
        periscope-analyze completions powershell >> $PROFILE")]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the page of the manual, or write the pages of all commands to a folder
    #[command(after_help = "Examples:\n  \
        periscope-analyze man | man -l -\n  \
        periscope-analyze man ~/.local/share/man/man1")]
    Man {
        /// Folder to write to; made if it is not there
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit status: 0 nothing found, 1 findings as bad as --fail-on, 2 could not do all of it.\n\n\
    Examples:\n  \
    periscope-analyze report bundle/\n  \
    periscope-analyze report bundle/ --format html -o report.html\n  \
    periscope-analyze report bundle/ --only 'dns-*' --node aks-nodepool1-0 --since 2h\n  \
    periscope-analyze report bundle/ --format junit -o report.xml --fail-on error"
)]
pub(crate) struct ReportArguments {
    /// Folder with .db files, or the files; or the URL of a container with a SAS, whose
    /// files are then fetched first
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
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
    /// Show findings that are as bad as this, or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) severity: Option<Severity>,
    /// Show these nodes only; * stands for any letters
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) node: Vec<String>,
    /// Show findings that lasted beyond this time; as 2026-11-22T12:28:00Z, or as
    /// 2h before the end of the bundle
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// Show findings that began by this time; as for --since
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// End with status 1 if a finding that is shown is as bad as this, or worse
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = Severity::Info)]
    pub(crate) fail_on: Severity,
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

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Without ?SAS in the URL, AZURE_STORAGE_SAS_TOKEN is asked for one, then the variables of a \
                  workload identity, then az. A SAS needs sp=rl. Proxies are those of HTTPS_PROXY.\n\n\
                  Exit status: 0 all is here, 2 not all of it; the same command goes on where it ended.\n\n\
                  Examples:\n  \
                  periscope-analyze fetch 'https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS' --latest\n  \
                  periscope-analyze fetch --account ACCOUNT --container CONTAINER DIR --run 2026-11-22T12-00-00Z"
)]
pub(crate) struct FetchArguments {
    /// URL of a container, a run may follow; then a folder [default: .], in which the
    /// run gets a folder of its own
    #[arg(num_args = 0..=2, value_names = ["URL", "DIR"])]
    pub(crate) place: Vec<String>,
    /// Storage account, instead of a URL
    #[arg(long, value_name = "NAME", requires = "container")]
    pub(crate) account: Option<String>,
    /// Container of that account
    #[arg(long, value_name = "NAME", requires = "account")]
    pub(crate) container: Option<String>,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    /// Fetch the files of this node only; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) node: Vec<String>,
}

/// Which run of a container is fetched.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ChoiceArguments {
    /// Fetch this run
    #[arg(long, value_name = "ID", conflicts_with = "latest")]
    pub(crate) run: Option<String>,
    /// Fetch the run that began to arrive last
    #[arg(long)]
    pub(crate) latest: bool,
}

impl ChoiceArguments {
    /// Whether anything was chosen.
    pub(crate) fn is_made(&self) -> bool {
        self.run.is_some() || self.latest
    }
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
    /// The same for programs that read a line at a time
    Jsonl,
    /// Text for tickets and pull requests
    Markdown,
    /// One page with charts, for browsers and printers; loads nothing
    Html,
    /// SARIF 2.1.0, for code scanning and its viewers
    Sarif,
    /// `JUnit` XML, for the test pages of CI
    Junit,
    /// Findings for spreadsheets
    Csv,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Tables: log, probe, sample, node, collection, setting, iptables_rule, object, \
                  pod, container, service, event, probe_outage, probe_availability, …\n  \
                  periscope-analyze query BUNDLE \"SELECT sql FROM sqlite_schema UNION ALL \
                  SELECT sql FROM virtual_table\" --format csv shows all, each column with a comment.\n\n\
                  Examples:\n  \
                  periscope-analyze query bundle/ \"SELECT node, ts, message FROM log WHERE level = 'error'\"\n  \
                  periscope-analyze query bundle/ \"SELECT * FROM pod WHERE namespace = :ns\" -p ns=shop\n  \
                  periscope-analyze query bundle/ -f questions.sql --format json"
)]
pub(crate) struct QueryArguments {
    /// Folder with .db files, or the files; then SELECT statements with ; between, or
    /// - to read them from standard input
    #[arg(required = true, value_names = ["BUNDLE", "SQL"])]
    pub(crate) bundle_and_sql: Vec<String>,
    /// Read the statements from this file instead
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Give :NAME in the SQL a value; a number unless in single quotes
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// How to print rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze merge bundle/ -o cluster.db\n  \
    periscope-analyze merge monday.db tuesday.db -o both.db")]
pub(crate) struct MergeArguments {
    /// Folder with .db files, or the files
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundle: Vec<PathBuf>,
    /// File to make; must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze diagnostics list\n  \
    periscope-analyze diagnostics show outage-windows bundle/\n  \
    periscope-analyze diagnostics new pods-on-old-image diagnostics\n  \
    periscope-analyze diagnostics test diagnostics")]
pub(crate) struct DiagnosticsArguments {
    #[command(subcommand)]
    pub(crate) action: DiagnosticsAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DiagnosticsAction {
    /// List all diagnostics
    #[command(after_help = "Examples:\n  periscope-analyze diagnostics list --format json")]
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
    #[command(after_help = "Examples:\n  periscope-analyze diagnostics test diagnostics")]
    Test {
        /// Folder with diagnostics and their cases
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Write a diagnostic to begin with, and its cases
    New(NewArguments),
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    periscope-analyze diagnostics show dns-timeouts\n  \
    periscope-analyze diagnostics show dns-timeouts bundle/\n  \
    periscope-analyze diagnostics show dns-timeouts --sql > mine.sql")]
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
#[command(after_help = "Examples:\n  periscope-analyze diagnostics new pods-on-old-image")]
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
