//! What the agent shall do: a TOML file, overridden by the environment and the
//! files that a cluster mounts, overridden by flags. Every value remembers where
//! it came from.
//!
//! [`Config::load`] reads that one file and the mounted ones and nothing else;
//! `--print-config` prints [`Config::to_toml`], which is itself a valid
//! configuration file.

mod sources;
mod print;
mod blob;
mod service;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::collect::journal;
use crate::probe::TargetConfig;
use crate::redact::RedactionConfig;
use crate::{duration, size};

use print::Printer;
use service::RunFile;
use sources::{Environment, optional, pick};

pub(crate) use blob::BlobConfig;
pub(crate) use service::{RunConfig, RunFlags};
pub(crate) use sources::{Origin, Sourced};

/// Namespace that is collected unless another is asked for.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// What `COLLECTOR_LIST` may hold that the agent heeds: a cluster that is only
/// connected to Azure has no AKS nodes to read.
const CONNECTED_CLUSTER: &str = "connectedCluster";

/// Collectors that such a cluster goes without, as in the original.
const NOT_CONNECTED: [&str; 4] =
    ["iptables", "kubelet-arguments", "provision-logs", "service-logs"];

/// What the agent shall do.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Folder where the node's root is mounted.
    pub(crate) host_root: Sourced<PathBuf>,
    /// Folder to write databases to; `run` keeps its state there too.
    pub(crate) output: Sourced<PathBuf>,
    /// Name of the run; `None` takes the time at which it starts.
    pub(crate) run_id: Sourced<Option<String>>,
    /// Name of the node; `None` asks the node for its host name.
    pub(crate) node_name: Sourced<Option<String>>,
    /// Collectors to run; empty runs all.
    pub(crate) only: Sourced<Vec<String>>,
    /// Collectors to leave out.
    pub(crate) skip: Sourced<Vec<String>>,
    /// Namespaces whose container logs are read: `ns`, `ns/pod-prefix` or `*`.
    pub(crate) log_namespaces: Sourced<Vec<String>>,
    /// Namespaces whose pods, services and events are read.
    pub(crate) object_namespaces: Sourced<Vec<String>>,
    /// Systemd units whose journal is read.
    pub(crate) units: Sourced<Vec<String>>,
    /// How far back the journal is read.
    pub(crate) journal_window: Sourced<Duration>,
    /// How far back logs in files are read that were there before the agent.
    pub(crate) log_window: Sourced<Duration>,
    /// Bytes of each of them that are read at most, the last ones.
    pub(crate) log_bytes: Sourced<u64>,
    /// Log files of node provisioning; empty takes those of AKS.
    pub(crate) provision_logs: Sourced<Vec<String>>,
    /// Kubeconfig on the node; `None` looks for the kubelet's.
    pub(crate) kubeconfig: Sourced<Option<String>>,
    /// How long probes are sampled.
    pub(crate) probe_for: Sourced<Duration>,
    /// Proxy that probes go through, as in `HTTPS_PROXY`.
    pub(crate) proxy: Sourced<Option<String>>,
    /// Hosts that probes reach without it, as in `NO_PROXY`.
    pub(crate) no_proxy: Sourced<Option<String>>,
    /// Targets to probe; `None` discovers those of an AKS node.
    pub(crate) probes: Sourced<Option<Vec<TargetConfig>>>,
    /// What only the continuous run needs to know.
    pub(crate) run: RunConfig,
    /// Mounted file that names the run, and that may change.
    run_id_file: PathBuf,
    /// What is masked beside secrets.
    pub(crate) redaction: Sourced<RedactionConfig>,
}

/// What flags can say. `None` and empty lists say nothing.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder where the node's root is mounted (default: /)
    #[arg(long, value_name = "DIR")]
    pub(crate) host_root: Option<PathBuf>,
    /// Folder to write to: DIR/RUN/NODE/NODE.db (default: periscope-output)
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Name of the run (default: the time it starts; `run` goes on with the last)
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    /// Name of the node (default: its host name)
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Run these collectors only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Run all collectors but these
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Read container logs of these namespaces, or * (default: kube-system)
    #[arg(long, value_name = "NS[/POD]", value_delimiter = ',')]
    pub(crate) log_namespaces: Vec<String>,
    /// Read pods, services and events of these namespaces (default: kube-system)
    #[arg(long, value_name = "NS", value_delimiter = ',')]
    pub(crate) object_namespaces: Vec<String>,
    /// Read these units' journal (default: docker,containerd,kubelet,chrony,chronyd,localdns)
    #[arg(long, value_name = "UNIT", value_delimiter = ',')]
    pub(crate) units: Vec<String>,
    /// Read the journal this far back (default: 24h)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) journal_window: Option<Duration>,
    /// Read logs that were there before the agent this far back (default: 24h)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) log_window: Option<Duration>,
    /// Read so much of each of them, from its end (default: 64MiB)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) log_bytes: Option<u64>,
    /// Kubeconfig on the node (default: the kubelet's)
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig: Option<String>,
    /// Sample the probes for this long (default: 60s)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) probe_for: Option<Duration>,
    /// Folder where a cluster mounts the ConfigMap (default: /config)
    #[arg(long, value_name = "DIR")]
    pub(crate) config_mount: Option<PathBuf>,
    /// Folder where it mounts the Secret (default: /secret)
    #[arg(long, value_name = "DIR")]
    pub(crate) secret_mount: Option<PathBuf>,
    /// What only `run` takes.
    #[arg(skip)]
    pub(crate) run: RunFlags,
}

/// What a configuration file can say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    host_root: Option<PathBuf>,
    output: Option<PathBuf>,
    run_id: Option<String>,
    node_name: Option<String>,
    only: Option<Vec<String>>,
    skip: Option<Vec<String>>,
    log_namespaces: Option<Vec<String>>,
    object_namespaces: Option<Vec<String>>,
    units: Option<Vec<String>>,
    journal_window: Option<String>,
    log_window: Option<String>,
    log_bytes: Option<String>,
    provision_logs: Option<Vec<String>>,
    kubeconfig: Option<String>,
    probe_for: Option<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
    probe: Option<Vec<TargetConfig>>,
    #[serde(default)]
    run: RunFile,
    redaction: Option<RedactionConfig>,
}

impl Config {
    /// What holds, given flags and an environment.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, has a key that does not exist, or any value
    /// is not what its key takes. The text names the file and the line.
    #[expect(clippy::too_many_lines, reason = "a table of keys, one paragraph each")]
    pub(crate) fn load(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let file = flags.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let (config_mount, secret_mount) = service::mounts(flags, environment);
        let env =
            Environment { variable: environment, config: &config_mount, secret: &secret_mount };
        let file_time = |key: &str, text: Option<&String>| -> Result<Option<Duration>> {
            text.map(|text| duration::parse(text))
                .transpose()
                .with_context(|| format!("key {key} of the configuration file"))
        };
        let list = |flag: &Vec<String>| (!flag.is_empty()).then(|| flag.clone());
        let default_namespaces = || vec![DEFAULT_NAMESPACE.to_owned()];
        let config = Self {
            host_root: pick(
                ("--host-root", flags.host_root.clone()),
                env.path("PERISCOPE_HOST_ROOT")?,
                file.host_root,
                PathBuf::from("/"),
            ),
            output: pick(
                ("--output", flags.output.clone()),
                env.path("PERISCOPE_OUTPUT")?,
                file.output,
                PathBuf::from("periscope-output"),
            ),
            run_id: optional(
                ("--run-id", flags.run_id.clone()),
                env.text(&["PERISCOPE_RUN_ID", "DIAGNOSTIC_RUN_ID"])?,
                file.run_id,
            ),
            node_name: optional(
                ("--node-name", flags.node_name.clone()),
                env.text(&["PERISCOPE_NODE_NAME", "HOST_NODE_NAME"])?,
                file.node_name,
            ),
            only: pick(
                ("--only", list(&flags.only)),
                env.list(&["PERISCOPE_ONLY"])?,
                file.only,
                vec![],
            ),
            skip: pick(
                ("--skip", list(&flags.skip)),
                env.list(&["PERISCOPE_SKIP"])?.or(connected_cluster(&env)?),
                file.skip,
                vec![],
            ),
            log_namespaces: pick(
                ("--log-namespaces", list(&flags.log_namespaces)),
                env.list(&[
                    "PERISCOPE_LOG_NAMESPACES",
                    "DIAGNOSTIC_CONTAINERLOGS_LIST",
                    "DIAGNOSTIC_CONTAINERLOGS_NAMESPACES",
                ])?,
                file.log_namespaces,
                default_namespaces(),
            ),
            object_namespaces: pick(
                ("--object-namespaces", list(&flags.object_namespaces)),
                env.list(&[
                    "PERISCOPE_OBJECT_NAMESPACES",
                    "DIAGNOSTIC_KUBEOBJECTS_LIST",
                    "DIAGNOSTIC_KUBEOBJECTS_NAMESPACES",
                ])?
                .map(|(origin, list)| (origin, namespaces_of(&list))),
                file.object_namespaces,
                default_namespaces(),
            ),
            units: pick(
                ("--units", list(&flags.units)),
                env.list(&["PERISCOPE_UNITS"])?,
                file.units,
                journal::DEFAULT_UNITS.map(str::to_owned).to_vec(),
            ),
            journal_window: pick(
                ("--journal-window", flags.journal_window),
                env.time("PERISCOPE_JOURNAL_WINDOW")?,
                file_time("journal_window", file.journal_window.as_ref())?,
                Duration::from_hours(24),
            ),
            log_window: pick(
                ("--log-window", flags.log_window),
                env.time("PERISCOPE_LOG_WINDOW")?,
                file_time("log_window", file.log_window.as_ref())?,
                Duration::from_hours(24),
            ),
            log_bytes: pick(
                ("--log-bytes", flags.log_bytes),
                env.size("PERISCOPE_LOG_BYTES")?,
                file.log_bytes
                    .map(|text| size::parse(&text))
                    .transpose()
                    .context("key log_bytes of the configuration file")?,
                64 << 20,
            ),
            provision_logs: pick(
                ("", None),
                env.list(&[
                    "PERISCOPE_PROVISION_LOGS",
                    "DIAGNOSTIC_NODELOGS_LIST_LINUX",
                    "DIAGNOSTIC_NODELOGS_LIST",
                ])?,
                file.provision_logs,
                vec![],
            ),
            kubeconfig: optional(
                ("--kubeconfig", flags.kubeconfig.clone()),
                env.text(&["PERISCOPE_KUBECONFIG"])?,
                file.kubeconfig,
            ),
            probe_for: pick(
                ("--probe-for", flags.probe_for),
                env.time("PERISCOPE_PROBE_FOR")?,
                file_time("probe_for", file.probe_for.as_ref())?,
                Duration::from_mins(1),
            ),
            proxy: optional(
                ("", None),
                env.text(&["PERISCOPE_PROXY", "HTTPS_PROXY", "https_proxy"])?,
                file.proxy,
            ),
            no_proxy: optional(
                ("", None),
                env.text(&["PERISCOPE_NO_PROXY", "NO_PROXY", "no_proxy"])?,
                file.no_proxy,
            ),
            probes: optional(("", None), None, file.probe),
            run: RunConfig::load(&flags.run, &env, file.run)?,
            run_id_file: config_mount.join("DIAGNOSTIC_RUN_ID"),
            redaction: pick(("", None), None, file.redaction, RedactionConfig::default()),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        for (what, name) in [("run id", &self.run_id.value), ("node name", &self.node_name.value)] {
            if let Some(name) = name {
                check_path_component(what, name)?;
            }
        }
        let known = crate::collect::NAMES;
        for name in self.only.value.iter().chain(&self.skip.value) {
            if !known.contains(&name.as_str()) {
                bail!("there is no collector {name}\nhint: one of {}", known.join(", "));
            }
        }
        Ok(())
    }

    /// Whether a collector shall run.
    pub(crate) fn selects(&self, collector: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == collector);
        (self.only.value.is_empty() || named(&self.only.value)) && !named(&self.skip.value)
    }

    /// Name of the run that the mounted file asks for now; `None` if it asks for
    /// none, or the run was named for good.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or what it says cannot be the name of a folder.
    pub(crate) fn asked_run_id(&self) -> Result<Option<String>> {
        let for_good = [Origin::Flag("--run-id"), Origin::Environment("PERISCOPE_RUN_ID")];
        if for_good.contains(&self.run_id.origin) {
            return Ok(None);
        }
        let asked = sources::read_mounted(&self.run_id_file)?;
        asked.as_deref().map_or(Ok(()), |name| check_path_component("run id", name))?;
        Ok(asked)
    }

    /// The configuration as a file that says the same, each value with where it
    /// came from. Passwords and keys are left out.
    pub(crate) fn to_toml(&self) -> String {
        let mut out = Printer::default();
        out.path("host_root", &self.host_root);
        out.path("output", &self.output);
        out.text("run_id", &self.run_id);
        out.text("node_name", &self.node_name);
        out.list("only", &self.only);
        out.list("skip", &self.skip);
        out.list("log_namespaces", &self.log_namespaces);
        out.list("object_namespaces", &self.object_namespaces);
        out.list("units", &self.units);
        out.time("journal_window", &self.journal_window);
        out.time("log_window", &self.log_window);
        out.size("log_bytes", &self.log_bytes);
        out.list("provision_logs", &self.provision_logs);
        out.text("kubeconfig", &self.kubeconfig);
        out.time("probe_for", &self.probe_for);
        out.proxy("proxy", &self.proxy);
        out.text("no_proxy", &self.no_proxy);
        self.run.print(&mut out);
        out.probes(&self.probes);
        out.into_text() + &self.redaction.value.to_toml()
    }
}

/// What `COLLECTOR_LIST` makes of the collectors to leave out.
fn connected_cluster(env: &Environment<'_>) -> Result<Option<(Origin, Vec<String>)>> {
    let list = env.list(&["COLLECTOR_LIST"])?;
    Ok(list
        .filter(|(_, list)| list.iter().any(|name| name == CONNECTED_CLUSTER))
        .map(|(origin, _)| (origin, NOT_CONNECTED.map(str::to_owned).to_vec())))
}

/// Namespaces of a list of objects: `ns`, `ns/resource` or `ns/resource/name`.
/// All that the agent records of a namespace is recorded of each.
fn namespaces_of(objects: &[String]) -> Vec<String> {
    let mut namespaces: Vec<String> = Vec::new();
    for object in objects {
        let namespace = object.split('/').next().unwrap_or_default();
        if !namespace.is_empty() && !namespaces.iter().any(|known| known == namespace) {
            namespaces.push(namespace.to_owned());
        }
    }
    namespaces
}

/// A name that becomes a folder or file name.
pub(crate) fn check_path_component(what: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:+".contains(c);
    if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.chars().all(is_plain) {
        bail!(
            "{what} {name:?} cannot be the name of a folder\n\
             hint: use letters, digits, dashes, dots, colons and underscores only"
        );
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<FileConfig> {
    #[expect(clippy::disallowed_methods, reason = "the configuration is not a file of the node")]
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in the configuration {}", path.display()))
}
