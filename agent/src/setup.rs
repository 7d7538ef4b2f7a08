//! What a configuration makes of a node: who it is, what is read of it, and what
//! is probed from it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use periscope_store::batch::Issue;
use periscope_store::writer::{Node, Session};

use crate::collect::{self, Collector, Place};
use crate::config::{self, Config};
use crate::diagnostic_resource::Desk;
use crate::host::Host;
use crate::kube_client::{KubeAccess, pod_namespace};
use crate::probe::{self, Prober};
use crate::run;

/// Probes to sample, and what they lack.
pub(crate) type Probes = Option<(Prober, Vec<Issue>)>;

/// The node, as a configuration sees it.
pub(crate) struct Setup {
    /// Door to the node.
    pub(crate) host: Arc<Host>,
    /// Who it is.
    pub(crate) node: Node,
    place: Place,
    config: Config,
}

impl Setup {
    /// Finds out who the node is.
    ///
    /// # Errors
    ///
    /// If the root folder does not exist or says no name.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let host = Arc::new(Host::open(&config.host_root.value)?);
        let node = node(config, &host)?;
        let place = place(&host, &node.name)?;
        Ok(Self { host, node, place, config: config.clone() })
    }

    /// The collectors that are selected, each as if nothing had been read.
    pub(crate) fn collectors(&self, run_id: &str) -> Vec<Box<dyn Collector>> {
        let place = Place { run_id: run_id.to_owned(), ..self.place.clone() };
        collect::all(&self.config, &place)
    }

    /// Where this node's object on the API server is; `None` for an agent that is in
    /// no pod, or has a kubeconfig that is somebody else's.
    pub(crate) fn desk(&self) -> Option<Desk> {
        if self.config.kubeconfig.value.is_some() {
            return None;
        }
        let namespace = pod_namespace(self.place.pod.as_ref()?)?;
        let access = KubeAccess { in_pod: true, ..KubeAccess::default() };
        Some(Desk::new(access, namespace, self.node.name.clone()))
    }

    /// What a session is called, and its probes: those that are configured, else
    /// those that are discovered now.
    ///
    /// # Errors
    ///
    /// If a configured probe makes no sense, or TLS cannot be set up.
    pub(crate) fn session_and_prober(&self, run_id: String) -> Result<(Session, Probes)> {
        let Self { host, place, config, .. } = self;
        let defaults = self.defaults();
        let session = session(config, host, run_id, defaults.api_server.clone());
        Ok((session, prober(config, host, place, defaults)?))
    }

    /// Host of the cluster's API server, as the node knows it.
    pub(crate) fn api_server(&self) -> Option<String> {
        self.defaults().api_server
    }

    fn defaults(&self) -> probe::Defaults {
        let Self { host, place, config, .. } = self;
        let kubeconfig = config.kubeconfig.value.as_ref().or(place.kubelet_kubeconfig.as_ref());
        probe::discover(
            host,
            &probe::Facts {
                kubeconfig: kubeconfig.map(String::as_str),
                images: &[],
                in_pod: place.pod.is_some(),
            },
        )
    }
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
        run_id: String::new(),
        pod,
        kubelet_kubeconfig: collect::kubelet::kubelet_flag(host, "--kubeconfig"),
    })
}

fn prober(
    config: &Config,
    host: &Arc<Host>,
    place: &Place,
    defaults: probe::Defaults,
) -> Result<Probes> {
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

fn session(config: &Config, host: &Host, run_id: String, cluster: Option<String>) -> Session {
    let boot_id = host.read_text("/proc/sys/kernel/random/boot_id", 4096).unwrap_or_default();
    Session {
        run_id,
        cluster,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id.trim().to_owned(),
        started_ns: host.now_ns(),
        process: std::process::id(),
        config: serde_json::json!({ "toml": config.to_toml() }).to_string(),
    }
}

/// Name of the run that is configured, else the time.
pub(crate) fn run_id(config: &Config, host: &Host) -> String {
    config.run_id.value.clone().unwrap_or_else(|| run::run_id_at(host.now_ns()))
}
