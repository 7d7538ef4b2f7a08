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
mod mark;
mod source;
mod plan;
mod turn;
mod reading;
mod container_names;
mod container_lines;
mod containers;
pub(crate) mod journal;
mod files;

mod flatten;
mod facts;
pub(crate) mod resolv_conf;
mod provision;
mod node_settings;
mod certificates;
mod iptables;
mod dns;
mod cluster_dns;
pub(crate) mod kubelet;
mod objects;
mod cluster_objects;

mod host_samples;

#[cfg(test)]
mod recorder;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod fault_tests;

use std::sync::Arc;
use std::time::Duration;

use periscope_store::batch::Batch;
use periscope_store::positions::Positions;

use crate::config::Config;
use crate::host::Host;
use crate::kube_client::KubeAccess;

use certificates::Certificates;
use cluster_dns::ClusterDns;
use cluster_objects::ClusterObjects;
use containers::ContainerLogs;
use dns::{NodeDns, PodDns};
use files::ProvisionLogs;
use host_samples::HostSamples;
use iptables::Iptables;
use journal::ServiceLogs;
use kubelet::KubeletArguments;
use node_settings::NodeSettings;
use objects::Objects;
use provision::Provision;
use source::Backfill;

/// Time from one look at a log that is followed to the next. A log that is rotated
/// more often than kubelet keeps files meanwhile loses lines.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(10);

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
/// interval, again and again while it answers [`Progress::More`], and not before
/// the batch before is dealt with. An error makes the poll `failed` with the
/// error's text; what earlier batches of the poll held is kept. A panic or a
/// missed deadline is a failure too, and costs no other collector anything. One
/// that hangs is not called again until it answers; each round it misses is
/// written down. A new run has new collectors.
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
    fn interval(&self) -> Duration;

    /// Time after which a call of [`Collector::collect`] is given up.
    fn deadline(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// Time over which agents of many nodes spread their first poll, for what asks
    /// a server that all of them share.
    fn spread(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether what is not read now can be read later, as lines of a log file can.
    /// Such a collector waits while the disk has no room.
    fn follows(&self) -> bool {
        false
    }

    /// Goes on from what is committed, as an earlier process or this one left it,
    /// and follows what it reads from here on: a poll gives what is new. The
    /// runner calls it before the first poll, and again before the next one
    /// whenever a batch of this collector was not committed, be it that it could
    /// not be written, that its poll was given up, or that it panicked. A
    /// collector that was never told reads everything in every poll, as most
    /// always do.
    fn resume(&mut self, _: &Positions) {}

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
    "node-settings",
    "certificates",
    "iptables",
    "dns-node",
    "dns-pod",
    "dns-cluster",
    "kubelet-arguments",
    "kubernetes-objects",
    "cluster-objects",
    "host-samples",
    crate::probe::NAME,
];

/// What several collectors need to know of where the agent runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Name of the node in Kubernetes.
    pub(crate) node_name: String,
    /// Name of the run.
    pub(crate) run_id: String,
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
    let backfill = Backfill { window: config.log_window.value, bytes: config.log_bytes.value };
    let all: Vec<Box<dyn Collector>> = vec![
        Box::new(ContainerLogs::new(config.log_namespaces.value.clone()).with_backfill(backfill)),
        Box::new(
            ServiceLogs::new(config.units.value.clone()).with_window(config.journal_window.value),
        ),
        Box::new(ProvisionLogs::new(config.provision_logs.value.clone()).with_backfill(backfill)),
        Box::new(Provision),
        Box::new(NodeSettings),
        Box::new(Certificates),
        Box::new(Iptables),
        Box::new(NodeDns),
        Box::new(PodDns::new(place.pod.clone())),
        Box::new(ClusterDns::new(access.clone())),
        Box::new(KubeletArguments),
        Box::new(Objects::new(access.clone(), namespaces.clone(), place.node_name.clone())),
        Box::new(ClusterObjects::new(
            access,
            place.pod.clone(),
            place.node_name.clone(),
            place.run_id.clone(),
        )),
        Box::<HostSamples>::default(),
    ];
    all.into_iter().filter(|collector| config.selects(collector.name())).collect()
}
