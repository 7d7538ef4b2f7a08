//! The Periscope agent: writes what a node saw into one compressed database.

mod duration;

mod config;

mod host;
mod kube_client;

mod collect;
mod probe;
mod redact;

mod run;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use periscope_store::batch::Issue;
use periscope_store::writer::{Node, Session};

use collect::Place;
use config::{Config, Flags};
use host::Host;
use probe::Prober;
use run::Run;

/// Writes what an AKS node saw into one compressed SQLite database.
///
/// It changes nothing on the node beyond its output folder.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every collector once, sample the probes, and seal one database
    ///
    /// Exit status: 0 all was collected, 1 some of it (the summary says what),
    /// 2 nothing could be written.
    Collect {
        #[command(flatten)]
        flags: Box<Flags>,
        /// Show the configuration that holds, and where each value comes from
        #[arg(long)]
        print_config: bool,
    },
    /// Enter a folder as root and become one of the node's programs
    #[command(name = host::EXEC_IN_ROOT, hide = true)]
    ExecInRoot { root: PathBuf, program: String },
}

fn main() -> ExitCode {
    start_logging();
    match run(Cli::parse().command) {
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
            let config = Config::load(&flags, &|name| std::env::var(name).ok())?;
            if print_config {
                std::io::stdout().lock().write_all(config.to_toml().as_bytes())?;
                return Ok(ExitCode::SUCCESS);
            }
            collect(&config)
        }
        Command::ExecInRoot { root, program } => {
            host::exec_in_root(&root, &program)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One collection, from the configuration to the summary.
fn collect(config: &Config) -> Result<ExitCode> {
    let host = Arc::new(Host::open(&config.host_root.value)?);
    let node = node(config, &host)?;
    let place = place(&host, &node.name)?;
    let kubeconfig = config.kubeconfig.value.as_ref().or(place.kubelet_kubeconfig.as_ref());
    let defaults = probe::discover(
        &host,
        &probe::Facts {
            kubeconfig: kubeconfig.map(String::as_str),
            images: &[],
            in_pod: place.pod.is_some(),
        },
    );
    let session = session(config, &host, defaults.api_server.clone());
    let run = Run {
        folder: config.output.value.join(&session.run_id).join(&node.name),
        collectors: collect::all(config, &place),
        prober: prober(config, &host, &place, defaults)?,
        probe_for: config.probe_for.value,
        mask: Arc::new(redact::Redactor::with_random_salt()?),
        stop: stop_on_signal()?,
        host,
        node,
        session,
    };
    let summary = run.collect_once()?;
    let mut err = std::io::stderr().lock();
    write!(err, "{}", summary.to_text())?;
    writeln!(std::io::stdout().lock(), "{}", summary.path.display())?;
    Ok(ExitCode::from(u8::from(summary.has_failures())))
}

fn node(config: &Config, host: &Host) -> Result<Node> {
    let name = match &config.node_name.value {
        Some(name) => name.clone(),
        None => host
            .read_text("/etc/hostname", 4096)
            .context("reading the node's name from /etc/hostname\nhint: pass --node-name")?
            .trim()
            .to_owned(),
    };
    config::check_path_component("node name", &name)?;
    let machine_id = host.read_text("/etc/machine-id", 4096).unwrap_or_default();
    Ok(Node { name, machine_id: machine_id.trim().to_owned() })
}

fn place(host: &Host, node_name: &str) -> Result<Place> {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let pod = in_pod.then(|| Host::open(Path::new("/")).map(Arc::new)).transpose()?;
    Ok(Place {
        node_name: node_name.to_owned(),
        pod,
        kubelet_kubeconfig: collect::kubelet::kubelet_flag(host, "--kubeconfig"),
    })
}

/// The probes that are configured, else those that were discovered.
fn prober(
    config: &Config,
    host: &Arc<Host>,
    place: &Place,
    defaults: probe::Defaults,
) -> Result<Option<(Prober, Vec<Issue>)>> {
    if !config.selects(probe::NAME) {
        return Ok(None);
    }
    let (targets, mut issues) = match &config.probes.value {
        Some(targets) => (probe::targets(targets)?, Vec::new()),
        None => (probe::targets(&defaults.targets)?, defaults.issues),
    };
    let proxy = config.proxy.value.as_deref().unwrap_or_default();
    let no_proxy = config.no_proxy.value.as_deref().unwrap_or_default();
    let proxies = probe::Proxies::new(proxy, proxy, no_proxy)?;
    let (prober, more) =
        Prober::new(targets, host.clone(), place.pod.clone(), proxies, &place.node_name)?;
    issues.extend(more);
    Ok(Some((prober, issues)))
}

fn session(config: &Config, host: &Host, cluster: Option<String>) -> Session {
    let started_ns = host.now_ns();
    let boot_id = host.read_text("/proc/sys/kernel/random/boot_id", 4096).unwrap_or_default();
    Session {
        run_id: config.run_id.value.clone().unwrap_or_else(|| run::run_id_at(started_ns)),
        cluster,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id.trim().to_owned(),
        started_ns,
        process: std::process::id(),
        config: serde_json::json!({ "toml": config.to_toml() }).to_string(),
    }
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

fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("PERISCOPE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
