//! What the agent shall do: a TOML file, overridden by the environment,
//! overridden by flags. Every value remembers where it came from.
//!
//! [`Config::load`] is pure but for reading the one file; `--print-config` prints
//! [`Config::to_toml`], which is itself a valid configuration file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::duration;
use crate::probe::TargetConfig;

/// Namespace that is collected unless another is asked for.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment(&'static str),
    /// A flag.
    Flag(&'static str),
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    /// What holds.
    pub(crate) value: T,
    /// Who said so.
    pub(crate) origin: Origin,
}

/// What the agent shall do.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Folder where the node's root is mounted.
    pub(crate) host_root: Sourced<PathBuf>,
    /// Folder to write databases to.
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
    /// Name of the run (default: the time it starts)
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
    /// Read the journal of these units (default: docker,containerd,kubelet)
    #[arg(long, value_name = "UNIT", value_delimiter = ',')]
    pub(crate) units: Vec<String>,
    /// Read the journal this far back (default: 24h)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) journal_window: Option<Duration>,
    /// Kubeconfig on the node (default: the kubelet's)
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig: Option<String>,
    /// Sample the probes for this long (default: 60s)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) probe_for: Option<Duration>,
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
    provision_logs: Option<Vec<String>>,
    kubeconfig: Option<String>,
    probe_for: Option<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
    probe: Option<Vec<TargetConfig>>,
}

impl Config {
    /// What holds, given flags and an environment.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has a key that does not exist, or any value
    /// is not what its key takes. The text names the file and the line.
    pub(crate) fn load(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let file = flags.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let env = Environment(environment);
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
                env.path("PERISCOPE_HOST_ROOT"),
                file.host_root,
                PathBuf::from("/"),
            ),
            output: pick(
                ("--output", flags.output.clone()),
                env.path("PERISCOPE_OUTPUT"),
                file.output,
                PathBuf::from("periscope-output"),
            ),
            run_id: optional(
                ("--run-id", flags.run_id.clone()),
                env.text(&["PERISCOPE_RUN_ID", "DIAGNOSTIC_RUN_ID"]),
                file.run_id,
            ),
            node_name: optional(
                ("--node-name", flags.node_name.clone()),
                env.text(&["PERISCOPE_NODE_NAME", "HOST_NODE_NAME"]),
                file.node_name,
            ),
            only: pick(
                ("--only", list(&flags.only)),
                env.list(&["PERISCOPE_ONLY"]),
                file.only,
                vec![],
            ),
            skip: pick(
                ("--skip", list(&flags.skip)),
                env.list(&["PERISCOPE_SKIP"]),
                file.skip,
                vec![],
            ),
            log_namespaces: pick(
                ("--log-namespaces", list(&flags.log_namespaces)),
                env.list(&["PERISCOPE_LOG_NAMESPACES", "DIAGNOSTIC_CONTAINERLOGS_LIST"]),
                file.log_namespaces,
                default_namespaces(),
            ),
            object_namespaces: pick(
                ("--object-namespaces", list(&flags.object_namespaces)),
                env.list(&["PERISCOPE_OBJECT_NAMESPACES"]),
                file.object_namespaces,
                default_namespaces(),
            ),
            units: pick(
                ("--units", list(&flags.units)),
                env.list(&["PERISCOPE_UNITS"]),
                file.units,
                ["docker", "containerd", "kubelet"].map(str::to_owned).to_vec(),
            ),
            journal_window: pick(
                ("--journal-window", flags.journal_window),
                env.time("PERISCOPE_JOURNAL_WINDOW")?,
                file_time("journal_window", file.journal_window.as_ref())?,
                Duration::from_hours(24),
            ),
            provision_logs: pick(
                ("", None),
                env.list(&["PERISCOPE_PROVISION_LOGS", "DIAGNOSTIC_NODELOGS_LIST_LINUX"]),
                file.provision_logs,
                vec![],
            ),
            kubeconfig: optional(
                ("--kubeconfig", flags.kubeconfig.clone()),
                env.text(&["PERISCOPE_KUBECONFIG"]),
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
                env.text(&["PERISCOPE_PROXY", "HTTPS_PROXY", "https_proxy"]),
                file.proxy,
            ),
            no_proxy: optional(
                ("", None),
                env.text(&["PERISCOPE_NO_PROXY", "NO_PROXY", "no_proxy"]),
                file.no_proxy,
            ),
            probes: optional(("", None), None, file.probe),
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

    /// The configuration as a file that says the same, each value with where it
    /// came from. A proxy's password is left out.
    pub(crate) fn to_toml(&self) -> String {
        let mut out = String::new();
        let time = |time: &Sourced<Duration>| Sourced {
            value: Some(duration::format(time.value)),
            origin: time.origin.clone(),
        };
        let path = |path: &Sourced<PathBuf>| Sourced {
            value: Some(path.value.display().to_string()),
            origin: path.origin.clone(),
        };
        let list = |list: &Sourced<Vec<String>>| Sourced {
            value: Some(list.value.clone()),
            origin: list.origin.clone(),
        };
        line(&mut out, "host_root", &path(&self.host_root));
        line(&mut out, "output", &path(&self.output));
        line(&mut out, "run_id", &self.run_id);
        line(&mut out, "node_name", &self.node_name);
        line(&mut out, "only", &list(&self.only));
        line(&mut out, "skip", &list(&self.skip));
        line(&mut out, "log_namespaces", &list(&self.log_namespaces));
        line(&mut out, "object_namespaces", &list(&self.object_namespaces));
        line(&mut out, "units", &list(&self.units));
        line(&mut out, "journal_window", &time(&self.journal_window));
        line(&mut out, "provision_logs", &list(&self.provision_logs));
        line(&mut out, "kubeconfig", &self.kubeconfig);
        line(&mut out, "probe_for", &time(&self.probe_for));
        let proxy = Sourced {
            value: self.proxy.value.as_deref().map(without_password),
            origin: self.proxy.origin.clone(),
        };
        line(&mut out, "proxy", &proxy);
        line(&mut out, "no_proxy", &self.no_proxy);
        match &self.probes.value {
            None => {
                out.push_str("# probe: default (targets of an AKS node, discovered at start)\n");
            }
            Some(targets) => {
                for target in targets {
                    let _ = writeln!(out, "\n[[probe]] # {}", describe(&self.probes.origin));
                    out.push_str(&toml::to_string(target).unwrap_or_default());
                }
            }
        }
        out
    }
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

/// Reads environment variables; an empty one is as good as none.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn text(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.0)(name)?;
            // Older manifests put quotes around some values.
            let value = value.trim().trim_matches('"').trim();
            (!value.is_empty()).then(|| (*name, value.to_owned()))
        })
    }

    fn path(&self, name: &'static str) -> Option<(&'static str, PathBuf)> {
        self.text(&[name]).map(|(name, text)| (name, PathBuf::from(text)))
    }

    /// Words, as the manifests of the original separate them.
    fn list(&self, names: &[&'static str]) -> Option<(&'static str, Vec<String>)> {
        self.text(names).map(|(name, text)| {
            let words = text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty());
            (name, words.map(str::to_owned).collect())
        })
    }

    fn time(&self, name: &'static str) -> Result<Option<(&'static str, Duration)>> {
        self.text(&[name])
            .map(|(name, text)| {
                let time = duration::parse(&text);
                Ok((name, time.with_context(|| format!("environment variable {name}"))?))
            })
            .transpose()
    }
}

fn pick<T>(
    flag: (&'static str, Option<T>),
    environment: Option<(&'static str, T)>,
    file: Option<T>,
    default: T,
) -> Sourced<T> {
    let (value, origin) = match (flag, environment, file) {
        ((name, Some(value)), _, _) => (value, Origin::Flag(name)),
        (_, Some((name, value)), _) => (value, Origin::Environment(name)),
        (_, _, Some(value)) => (value, Origin::File),
        _ => (default, Origin::Default),
    };
    Sourced { value, origin }
}

fn optional<T>(
    flag: (&'static str, Option<T>),
    environment: Option<(&'static str, T)>,
    file: Option<T>,
) -> Sourced<Option<T>> {
    pick((flag.0, flag.1.map(Some)), environment.map(|(n, v)| (n, Some(v))), file.map(Some), None)
}

fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File => "configuration file".to_owned(),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Flag(name) => format!("flag {name}"),
    }
}

fn line<T: Clone + Into<toml::Value>>(out: &mut String, key: &str, value: &Sourced<Option<T>>) {
    let origin = describe(&value.origin);
    let _ = match &value.value {
        Some(value) => writeln!(out, "{key} = {} # {origin}", value.clone().into()),
        None => writeln!(out, "# {key} is not set"),
    };
}

/// `http://user:password@proxy` without the password.
fn without_password(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, host)))) => format!("{scheme}://‹masked›@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, file).unwrap();
        let lookup = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
        };
        Config::load(&Flags { config: Some(path), ..flags }, &lookup)
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file = "log_namespaces = [\"file\"]\nrun_id = \"file\"\nprobe_for = \"5s\"\n";
        let environment =
            [("DIAGNOSTIC_CONTAINERLOGS_LIST", "\"env other\""), ("DIAGNOSTIC_RUN_ID", "env")];
        let flags = Flags { run_id: Some("flag".to_owned()), ..Flags::default() };
        let config = load(file, &environment, flags).unwrap();
        assert_eq!(config.run_id.value.as_deref(), Some("flag"));
        assert_eq!(config.run_id.origin, Origin::Flag("--run-id"));
        assert_eq!(config.log_namespaces.value, ["env", "other"]);
        assert_eq!(
            config.log_namespaces.origin,
            Origin::Environment("DIAGNOSTIC_CONTAINERLOGS_LIST")
        );
        assert_eq!(config.probe_for.value, Duration::from_secs(5));
        assert_eq!(config.probe_for.origin, Origin::File);
        assert_eq!(config.units.origin, Origin::Default);
    }

    #[test]
    fn what_is_printed_says_the_same_again() {
        let file = "probe_for = \"90s\"\nproxy = \"http://me:hunter22@proxy:8080\"\n\
                    [[probe]]\nname = \"a\"\nkind = \"custom\"\nurl = \"tcp://127.0.0.1:1\"\n";
        let config = load(file, &[], Flags::default()).unwrap();
        let printed = config.to_toml();
        insta::assert_snapshot!(printed);
        assert!(!printed.contains("hunter22"));
        let again = load(&printed, &[], Flags::default()).unwrap();
        assert_eq!(again.probe_for.value, config.probe_for.value);
        assert_eq!(again.probes.value, config.probes.value);
    }

    #[test]
    fn mistakes_name_the_place() {
        let error = |file: &str| {
            let error = load(file, &[], Flags::default()).expect_err(file);
            format!("{error:#}")
        };
        let unknown = error("probe_for = \"5s\"\nnamespace = \"x\"\n");
        assert!(unknown.contains("agent.toml") && unknown.contains("line 2"), "{unknown}");
        assert!(unknown.contains("namespace"), "{unknown}");
        assert!(error("probe_for = \"soon\"").contains("probe_for"));
        assert!(error("only = [\"coffee\"]").contains("hint: one of container-logs"));
        assert!(error("run_id = \"../up\"").contains("run id"));
    }
}
