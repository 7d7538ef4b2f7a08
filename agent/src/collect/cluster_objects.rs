//! What belongs to the whole cluster, read by one agent of a run: nodes, services,
//! workloads, disruption budgets, endpoints, DNS configuration, pods that are
//! placed nowhere, warnings, and metrics if they are served.
//!
//! Which agent that is, a lease decides (`kube_client/lease.rs`); the others are
//! `absent` and say who reads. Secrets are never asked for: what Helm installed is
//! told by the labels and annotations of the objects themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::Batch;

use super::objects::{EVENTS, NODES, PODS, Poll, SERVICES, Step};
use super::{Collector, Progress};
use crate::host::Host;
use crate::kube_client::lease::{Claim, Pace, Turn};
use crate::kube_client::{
    Api, ApiError, Connection, KubeAccess, Limits, Resource, Selection, pod_namespace,
};

#[cfg(test)]
mod tests;

const CONFIG_MAPS: Resource =
    Resource { api_version: "v1", kind: "ConfigMap", plural: "configmaps" };

/// Lists beside nodes, services, pods and events. One that the server does not serve
/// is absent.
const LISTS: [Resource; 6] = [
    Resource { api_version: "apps/v1", kind: "Deployment", plural: "deployments" },
    Resource { api_version: "apps/v1", kind: "DaemonSet", plural: "daemonsets" },
    Resource {
        api_version: "policy/v1",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
    },
    Resource {
        api_version: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
    },
    Resource { api_version: "metrics.k8s.io/v1beta1", kind: "NodeMetrics", plural: "nodes" },
    Resource { api_version: "metrics.k8s.io/v1beta1", kind: "PodMetrics", plural: "pods" },
];

/// Where CoreDNS keeps its configuration, and customers theirs.
const DNS_MAPS: [&str; 2] = ["coredns", "coredns-custom"];

/// What a cluster of 5,000 nodes needs: pages small enough for the agent's memory,
/// and time enough for a server that asks for patience.
const LIMITS: Limits = Limits {
    request: Duration::from_secs(20),
    overall: Duration::from_mins(9),
    page_objects: 200,
    objects: 100_000,
    bytes: 512 << 20,
    tries: 6,
    pause: Duration::from_secs(1),
    spread: Duration::from_secs(5),
};

/// Reads what belongs to the cluster, if it is this agent's turn.
pub(crate) struct ClusterObjects {
    access: KubeAccess,
    /// Root folder of the agent's own pod.
    pod: Option<Arc<Host>>,
    node_name: String,
    run_id: String,
    limits: Limits,
    pace: Pace,
    poll: Option<Poll>,
}

impl ClusterObjects {
    /// Objects of the cluster for a run, read by the agent on this node if it gets
    /// the lease. An agent that is in no pod has no others beside it and takes none.
    pub(crate) fn new(
        access: KubeAccess,
        pod: Option<Arc<Host>>,
        node_name: String,
        run_id: String,
    ) -> Self {
        let (limits, pace) = (LIMITS, Pace::default());
        Self { access, pod, node_name, run_id, limits, pace, poll: None }
    }

    /// A poll, or why there is none.
    fn begin(&self, host: &Host) -> Result<Result<Poll, String>> {
        if !self.access.in_pod && self.access.kubeconfig.is_none() {
            let text = "this agent is in no pod, and a kubelet's credentials end at its own node\n\
                        hint: name a kubeconfig that may read the cluster";
            return Ok(Err(text.to_owned()));
        }
        let mut api = match Api::connect(&self.access, host, self.limits)? {
            Connection::Api(api) => api,
            Connection::Absent(reason) => return Ok(Err(reason)),
        };
        let Some(namespace) = self.namespace() else {
            return Ok(Ok(Poll::of_cluster(api, steps(), None)));
        };
        let (node_name, run_id) = (self.node_name.clone(), self.run_id.clone());
        let claim = Claim { namespace, node_name, run_id, pace: self.pace };
        match claim.take(&mut api, host) {
            Ok(Turn::Held(lease)) => {
                api.restart();
                Ok(Ok(Poll::of_cluster(api, steps(), Some(lease))))
            }
            Ok(Turn::NotOurs(reason)) => Ok(Err(reason)),
            Err(error) if error.is_silence() && !api.has_answered() => {
                Ok(Err(format!("no API server in reach: API server {} {error}", api.server())))
            }
            Err(error @ ApiError::Refused { .. }) => bail!(
                "cannot take the lease by which one agent reads the cluster: {error}\nhint: the \
                 agent's service account needs the role that comes with the agent"
            ),
            Err(error) => {
                bail!("cannot take the lease by which one agent reads the cluster: {error}")
            }
        }
    }

    /// Namespace of the agent's pod; `None` if it uses no service account.
    fn namespace(&self) -> Option<String> {
        if self.access.kubeconfig.is_some() {
            return None;
        }
        pod_namespace(self.pod.as_ref()?)
    }
}

impl Collector for ClusterObjects {
    fn name(&self) -> &'static str {
        "cluster-objects"
    }

    fn interval(&self) -> Duration {
        Duration::from_hours(1)
    }

    /// Long enough to wait for the holder of the lease and to follow it if it dies.
    fn deadline(&self) -> Duration {
        Duration::from_mins(10)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let mut poll = match self.poll.take() {
            Some(poll) => poll,
            None => match self.begin(host)? {
                Ok(poll) => poll,
                Err(reason) => return Ok(Progress::Absent(reason)),
            },
        };
        let progress = poll.run(host, batch)?;
        if progress == Progress::More {
            self.poll = Some(poll);
        }
        Ok(progress)
    }
}

/// What is asked for; what diagnoses need most comes first.
fn steps() -> VecDeque<Step> {
    let all = |resource, fields| Selection { resource, namespace: None, fields };
    let dns = DNS_MAPS.map(|name| Step::Get(CONFIG_MAPS, "kube-system", name));
    let pending = vec![("status.phase", "Pending".to_owned())];
    let warnings = vec![("type", "Warning".to_owned())];
    [NODES, SERVICES]
        .map(|resource| Step::ListSlim(all(resource, Vec::new())))
        .into_iter()
        .chain(dns)
        .chain([Step::ListSlim(all(PODS, pending)), Step::ListSlim(all(EVENTS, warnings))])
        .chain(LISTS.map(|resource| Step::ListSlim(all(resource, Vec::new()))))
        .collect()
}
