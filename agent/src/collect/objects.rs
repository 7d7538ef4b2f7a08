//! Kubernetes objects: pods, services and events of chosen namespaces, the node
//! itself and the events about it.
//!
//! A kubelet's credentials end at its own node, so on a node without a service
//! account the pods are those of this node, and an issue says so. Secrets are
//! never asked for.

mod record;
mod poll;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use periscope_store::batch::Batch;

use super::{Collector, Progress};
use crate::host::Host;
use crate::kube_client::{Api, Connection, KubeAccess, Limits, Resource, Selection};

pub(super) use poll::{Poll, Step};
pub(super) use record::{Record, push_object};

pub(super) const PODS: Resource = Resource { api_version: "v1", kind: "Pod", plural: "pods" };
pub(super) const SERVICES: Resource =
    Resource { api_version: "v1", kind: "Service", plural: "services" };
pub(super) const EVENTS: Resource = Resource { api_version: "v1", kind: "Event", plural: "events" };
pub(super) const NODES: Resource = Resource { api_version: "v1", kind: "Node", plural: "nodes" };

/// Reads what the API server knows of chosen namespaces and of this node.
pub(crate) struct Objects {
    access: KubeAccess,
    namespaces: Vec<String>,
    node_name: String,
    limits: Limits,
    poll: Option<Poll>,
}

impl Objects {
    /// Objects of these namespaces, and of the node that Kubernetes calls
    /// `node_name`.
    pub(crate) fn new(access: KubeAccess, namespaces: Vec<String>, node_name: String) -> Self {
        Self { access, namespaces, node_name, limits: Limits::default(), poll: None }
    }
}

impl Collector for Objects {
    fn name(&self) -> &'static str {
        "kubernetes-objects"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn spread(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let mut poll = match self.poll.take() {
            Some(poll) => poll,
            None => match Api::connect(&self.access, host, self.limits)? {
                Connection::Api(api) => {
                    Poll::new(api, &self.node_name, steps(&self.namespaces, &self.node_name))
                }
                Connection::Absent(reason) => return Ok(Progress::Absent(reason)),
            },
        };
        let progress = poll.run(host, batch)?;
        if progress == Progress::More {
            self.poll = Some(poll);
        }
        Ok(progress)
    }
}

/// What is asked for, in this order.
fn steps(namespaces: &[String], node_name: &str) -> VecDeque<Step> {
    let each = |resource| {
        namespaces.iter().map(move |namespace| {
            Step::List(Selection {
                resource,
                namespace: Some(namespace.clone()),
                fields: Vec::new(),
            })
        })
    };
    let about_node = Selection {
        resource: EVENTS,
        namespace: None,
        fields: vec![
            ("involvedObject.kind", "Node".to_owned()),
            ("involvedObject.name", node_name.to_owned()),
        ],
    };
    each(PODS)
        .chain([Step::OwnPods])
        .chain(each(SERVICES))
        .chain([Step::Node])
        .chain(each(EVENTS))
        .chain([Step::List(about_node)])
        .collect()
}
