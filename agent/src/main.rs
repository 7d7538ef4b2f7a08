//! The Periscope agent: writes what a node saw into one compressed database.

mod heap;
mod duration;
mod size;

mod config;

mod host;
mod certificate;
mod kube_client;

mod collect;
mod probe;
mod redact;
mod setup;

mod outbox;
mod digest;
mod export;
mod diagnostic_resource;
mod run;
mod health;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use periscope_analyze::manual;

use config::{Config, Flags, RunFlags};
use run::Run;
use setup::Setup;

/// Writes what an AKS node saw into one compressed SQLite database.
///
/// It changes nothing on the node beyond its output folder.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// How the log on standard error is written
    #[arg(long, global = true, env = "PERISCOPE_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every collector once, sample the probes, and seal one database
    ///
    /// Exit status: 0 all was collected, 1 some of it (the summary says what),
    /// 2 nothing could be written.
    #[command(after_help = "Examples:\n  \
        periscope-agent collect --host-root / --output bundle --probe-for 60s\n  \
        periscope-agent collect --config agent.toml --print-config")]
    Collect {
        #[command(flatten)]
        flags: Box<Flags>,
        /// Show the configuration that holds, and where each value comes from
        #[arg(long)]
        print_config: bool,
    },
    /// Read the node without end, seal files by age and size, and export them
    ///
    /// SIGTERM seals and exports what there is; what is not done by then goes on at
    /// the next start. Exit status: 0 it was asked to end, 2 it could not begin.
    #[command(after_help = "Examples:\n  \
        periscope-agent run --host-root / --output /var/lib/periscope --export-dir /share\n  \
        periscope-agent run --config agent.toml --print-config")]
    Run {
        #[command(flatten)]
        flags: Box<Flags>,
        #[command(flatten)]
        run: Box<RunFlags>,
        /// Show the configuration that holds, and where each value comes from
        #[arg(long)]
        print_config: bool,
    },
    /// Enter a folder as root and become one of the node's programs
    #[command(name = host::EXEC_IN_ROOT, hide = true)]
    ExecInRoot { root: PathBuf, program: String },
    /// Print what a shell needs to complete these commands
    #[command(hide = true)]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: manual::Shell,
    },
    /// Print the page of the manual, or write the pages of all commands to a folder
    #[command(hide = true)]
    Man {
        /// Folder to write to; made if it is not there
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Say what a sealed file says
    #[command(name = digest::DIGEST, hide = true)]
    Digest { file: PathBuf },
}

fn main() -> ExitCode {
    let Cli { log_format, command } = Cli::parse();
    start_logging(log_format, matches!(command, Command::Run { .. }));
    heap::bound();
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            let text = periscope_store::tell(causes.iter().map(String::as_str));
            let _ = writeln!(std::io::stderr().lock(), "error: {text}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Collect { flags, print_config } => {
            let config = load(&flags)?;
            if print_config { print(&config) } else { collect(&config) }
        }
        Command::Run { flags, run, print_config } => {
            let flags = Flags { run: *run, ..*flags };
            if print_config {
                return print(&load(&flags)?);
            }
            run::service::run(Box::new(move || load(&flags)), stop_on_signal()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ExecInRoot { root, program } => {
            host::exec_in_root(&root, &program)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            manual::completions(&mut Cli::command(), shell)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder } => {
            for path in manual::man(Cli::command(), folder.as_deref())? {
                writeln!(std::io::stderr().lock(), "wrote {}", path.display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Digest { file } => {
            digest::print(&file)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn load(flags: &Flags) -> Result<Config> {
    Config::load(flags, &|name| std::env::var(name).ok())
}

fn print(config: &Config) -> Result<ExitCode> {
    std::io::stdout().lock().write_all(config.to_toml().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// One collection, from the configuration to the summary.
fn collect(config: &Config) -> Result<ExitCode> {
    let setup = Setup::new(config)?;
    let (session, prober) = setup.session_and_prober(setup::run_id(config, &setup.host))?;
    let run = Run {
        folder: config.output.value.join(&session.run_id).join(&setup.node.name),
        collectors: setup.collectors(&session.run_id),
        prober,
        probe_for: config.probe_for.value,
        mask: Arc::new(redact::Redactor::of_run(
            &config.redaction.value,
            &session.run_id,
            redact::random_salt,
        )?),
        stop: stop_on_signal()?,
        host: setup.host,
        node: setup.node,
        session,
    };
    let summary = run.collect_once()?;
    let mut err = std::io::stderr().lock();
    write!(err, "{}", summary.to_text())?;
    writeln!(std::io::stdout().lock(), "{}", summary.path.display())?;
    Ok(ExitCode::from(u8::from(summary.has_failures())))
}

/// A flag that SIGINT and SIGTERM set: what was collected is sealed, then the
/// process ends. A second signal ends it at once.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 2, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .context("registering for signals")?;
    }
    Ok(stop)
}

/// The log goes to standard error. `run` tells what it does, because nobody sees
/// its summary; `PERISCOPE_LOG` says otherwise.
fn start_logging(format: LogFormat, runs: bool) {
    use tracing_subscriber::EnvFilter;
    let default = if runs { "periscope_agent=info,warn" } else { "warn" };
    let filter =
        EnvFilter::try_from_env("PERISCOPE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
