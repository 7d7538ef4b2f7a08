//! What is read from a node: one file a collector, one line each in [`all`].
//!
//! A collector is read, parse, push. It reads through [`Host`] only, parses
//! with pure functions, and pushes rows into the [`Batch`] it is given. Time,
//! deadlines, panics, retries and writing are the runner's (`run.rs`).

mod lines;
mod stamp;
mod level;
mod cri;
mod patterns;
mod log_file;
mod reading;
mod container_names;
mod container_lines;
mod containers;
mod journal;
mod files;

mod flatten;
mod facts;
pub(crate) mod resolv_conf;
mod provision;
mod iptables;
mod dns;
mod cluster_dns;
pub(crate) mod kubelet;
mod objects;

mod host_samples;

#[cfg(test)]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use periscope_store::batch::Batch;

use crate::config::Config;
use crate::host::Host;
use crate::kube_client::KubeAccess;

use cluster_dns::ClusterDns;
use containers::ContainerLogs;
use dns::{NodeDns, PodDns};
use files::ProvisionLogs;
use host_samples::HostSamples;
use iptables::Iptables;
use journal::ServiceLogs;
use kubelet::KubeletArguments;
use objects::Objects;
use provision::Provision;

/// What a poll came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All there was is in the batch, or in an issue of the batch.
    Done,
    /// The batch is full; call again at once, with an empty one.
    More,
    /// The node has no such thing. The text says what was looked for and where.
    Absent(String),
}

/// Reads one kind of thing from the node.
///
/// The runner gives each collector a thread and calls [`collect`] once per
/// interval, again and again while it answers [`Progress::More`]. An error
/// makes the poll `failed` with the error's text; what earlier batches of the
/// poll held is kept. A panic or a missed deadline is a failure too, and costs
/// no other collector anything.
///
/// It must not write to the node, start threads, or keep a file open between
/// polls. What it cannot read of several sources it notes as an issue and goes
/// on with the rest.
///
/// [`collect`]: Collector::collect
pub(crate) trait Collector: Send {
    /// Name in column `collector`, as users select it: `container-logs`.
    fn name(&self) -> &'static str;

    /// Time from the start of one poll to the next.
    #[expect(dead_code, reason = "one collection polls once; the contract is for any number")]
    fn interval(&self) -> Duration;

    /// Time after which a call of [`Collector::collect`] is given up.
    fn deadline(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// Reads what there is and pushes it. Checks [`Batch::is_full`] where much
    /// can come.
    ///
    /// # Errors
    ///
    /// If nothing could be read of what exists.
    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress>;
}

/// Names of all collectors, in the order of [`all`], and the probes'.
pub(crate) const NAMES: &[&str] = &[
    "container-logs",
    "service-logs",
    "provision-logs",
    "provision",
    "iptables",
    "dns-node",
    "dns-pod",
    "dns-cluster",
    "kubelet-arguments",
    "kubernetes-objects",
    "host-samples",
    crate::probe::NAME,
];

/// What several collectors need to know of where the agent runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Name of the node in Kubernetes.
    pub(crate) node_name: String,
    /// Root folder of the agent's own pod, `None` if it runs in none.
    pub(crate) pod: Option<Arc<Host>>,
    /// Kubeconfig that the kubelet was started with, as a path on the node.
    pub(crate) kubelet_kubeconfig: Option<String>,
}

/// Every collector that the configuration selects.
pub(crate) fn all(config: &Config, place: &Place) -> Vec<Box<dyn Collector>> {
    let access = KubeAccess {
        in_pod: place.pod.is_some(),
        kubeconfig: config.kubeconfig.value.clone(),
        kubelet_kubeconfig: place.kubelet_kubeconfig.clone(),
    };
    let namespaces = &config.object_namespaces.value;
    let all: Vec<Box<dyn Collector>> = vec![
        Box::new(ContainerLogs::new(config.log_namespaces.value.clone())),
        Box::new(
            ServiceLogs::new(config.units.value.clone()).with_window(config.journal_window.value),
        ),
        Box::new(ProvisionLogs::new(config.provision_logs.value.clone())),
        Box::new(Provision),
        Box::new(Iptables),
        Box::new(NodeDns),
        Box::new(PodDns::new(place.pod.clone())),
        Box::new(ClusterDns::new(access.clone())),
        Box::new(KubeletArguments),
        Box::new(Objects::new(access, namespaces.clone(), place.node_name.clone())),
        Box::new(HostSamples),
    ];
    all.into_iter().filter(|collector| config.selects(collector.name())).collect()
}
