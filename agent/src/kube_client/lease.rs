//! The lease by which one agent of a run reads what belongs to the whole cluster.
//!
//! Agents on all nodes begin at once, and each would read the same. So the first to
//! write its name into a Lease reads, renews the lease while it does, and writes down
//! when it has finished; the others see that and leave it alone. If the holder dies,
//! the lease stops changing, and after [`Pace::hold`] another agent takes it. As in
//! client-go, no agent trusts the clock of another: what counts is for how long this
//! agent has seen no change.
//!
//! The lease is owned by the agents' own DaemonSet, and goes with it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use periscope_store::time::{format_ns, parse_rfc3339};
use serde_json::{Map, Value, json};

use super::{Api, ApiError, Resource, Selection, up_to};
use crate::duration;
use crate::host::Host;

/// The resource.
const LEASES: Resource =
    Resource { api_version: "coordination.k8s.io/v1", kind: "Lease", plural: "leases" };

const PODS: Resource = Resource { api_version: "v1", kind: "Pod", plural: "pods" };

/// Name of the lease, to which the right to change leases is confined.
const NAME: &str = "aks-periscope-cluster-objects";

/// Label of the agents' pods, and its value.
const APP: (&str, &str) = ("app", "aks-periscope");

/// Annotation with the run that was read or is being read.
const RUN: &str = "periscope-run";

/// Annotation with the time at which the holder had read everything.
const COMPLETED: &str = "periscope-completed-at";

/// How long things take. Tests have a pace of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time for which a lease that does not change is still somebody's.
    pub(crate) hold: Duration,
    /// Time after which its holder renews it.
    pub(crate) renew: Duration,
    /// Time between two looks at a lease that somebody else holds.
    pub(crate) look: Duration,
    /// Time for which is waited for its holder.
    pub(crate) patience: Duration,
    /// Age of a reading of the same run that is as good as a new one.
    pub(crate) fresh: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            renew: Duration::from_secs(8),
            look: Duration::from_secs(8),
            patience: Duration::from_mins(8),
            fresh: Duration::from_mins(50),
        }
    }
}

/// Who asks for the lease, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Namespace of the agents.
    pub(crate) namespace: String,
    /// Node that this agent runs on, by which it is known.
    pub(crate) node_name: String,
    /// Run that it collects for.
    pub(crate) run_id: String,
    /// How long things take.
    pub(crate) pace: Pace,
}

/// What came of asking for the lease.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It is this agent's turn.
    Held(Box<Held>),
    /// Somebody else has read everything, or is still reading. The text says who.
    NotOurs(String),
}

/// The lease, held by this agent.
#[derive(Debug)]
pub(crate) struct Held {
    claim: Claim,
    /// The lease as the server has it, `None` once it was lost.
    lease: Option<Value>,
    /// `CLOCK_BOOTTIME` when it was written last.
    renewed_ns: i64,
}

/// What a lease says to an agent that looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is free, or this agent's own from before a restart.
    Free,
    /// Somebody holds it and may be alive.
    Busy(String),
    /// The run was read.
    Done(String),
}

/// When a lease last changed, as this agent saw it.
#[derive(Debug, Default)]
struct Change {
    seen: Option<(String, i64)>,
}

impl Claim {
    /// Takes the lease, or waits until its holder has finished or died.
    ///
    /// # Errors
    ///
    /// If the server does not let this agent read or write the lease.
    pub(crate) fn take(&self, api: &mut Api, host: &Host) -> Result<Turn, ApiError> {
        let began_ns = host.boottime_ns();
        let mut change = Change::default();
        loop {
            let now_ns = host.boottime_ns();
            let lease = api.get(&LEASES, Some(&self.namespace), NAME).and_then(whole);
            let holder = match lease {
                Err(ApiError::NotFound) => {
                    let lease = self.fresh_lease(api, host);
                    match api.create(&LEASES, &self.namespace, &lease).and_then(whole) {
                        Ok(lease) => return Ok(self.held(lease, host)),
                        Err(ApiError::Conflict) => continue,
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
                Ok(lease) => match self.judge(&lease, &mut change, host.now_ns(), now_ns) {
                    Verdict::Done(text) => return Ok(Turn::NotOurs(text)),
                    Verdict::Busy(holder) => holder,
                    Verdict::Free => {
                        let owner = self.owner(api);
                        let lease = self.taken(lease, owner, host);
                        let taken = api.replace(&LEASES, &self.namespace, NAME, &lease);
                        match taken.and_then(whole) {
                            Ok(lease) => return Ok(self.held(lease, host)),
                            Err(ApiError::Conflict | ApiError::NotFound) => continue,
                            Err(error) => return Err(error),
                        }
                    }
                },
            };
            if now_ns.saturating_sub(began_ns) >= duration::nanos(self.pace.patience) {
                return Ok(Turn::NotOurs(format!(
                    "the agent on {holder} reads them for the cluster, and has not finished yet"
                )));
            }
            std::thread::sleep(self.pace.look + up_to(self.pace.look / 4));
        }
    }

    fn held(&self, lease: Value, host: &Host) -> Turn {
        let (claim, renewed_ns) = (self.clone(), host.boottime_ns());
        Turn::Held(Box::new(Held { claim, lease: Some(lease), renewed_ns }))
    }

    fn judge(&self, lease: &Value, change: &mut Change, wall_ns: i64, now_ns: i64) -> Verdict {
        let annotation =
            |name: &str| lease["metadata"]["annotations"][name].as_str().unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let completed = annotation(COMPLETED);
        if !completed.is_empty() {
            let age_ns = parse_rfc3339(completed).map(|at_ns| wall_ns.saturating_sub(at_ns));
            let fresh_ns = duration::nanos(self.pace.fresh);
            let is_fresh = age_ns.is_some_and(|age_ns| age_ns.saturating_abs() < fresh_ns);
            return if annotation(RUN) == self.run_id && is_fresh {
                Verdict::Done(format!(
                    "the agent on {holder} read them for the cluster at {completed}"
                ))
            } else {
                Verdict::Free
            };
        }
        if holder.is_empty() || holder == self.node_name {
            return Verdict::Free;
        }
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        match &change.seen {
            Some((known, since_ns)) if known == version => {
                if now_ns.saturating_sub(*since_ns) >= duration::nanos(self.pace.hold) {
                    return Verdict::Free;
                }
            }
            _ => change.seen = Some((version.to_owned(), now_ns)),
        }
        Verdict::Busy(holder.to_owned())
    }

    fn fresh_lease(&self, api: &mut Api, host: &Host) -> Value {
        let lease = json!({
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {
                "name": NAME,
                "namespace": self.namespace,
                "labels": { APP.0: APP.1 },
                "annotations": {},
            },
            "spec": {},
        });
        let owner = self.owner(api);
        self.taken(lease, owner, host)
    }

    /// The lease with this agent as its holder.
    fn taken(&self, mut lease: Value, owner: Option<Value>, host: &Host) -> Value {
        let now = micro_time(host.now_ns());
        let transitions = lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default();
        lease["spec"] = json!({
            "holderIdentity": self.node_name,
            "leaseDurationSeconds": self.pace.hold.as_secs().max(1),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions + 1,
        });
        let metadata = &mut lease["metadata"];
        metadata["annotations"][RUN] = self.run_id.clone().into();
        metadata["annotations"][COMPLETED] = "".into();
        if let Some(owner) = owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        lease
    }

    /// Whoever owns the agents' pods: their DaemonSet, or a pod that somebody made
    /// by hand. Without an owner the lease stays, which does no harm.
    fn owner(&self, api: &mut Api) -> Option<Value> {
        let selection = Selection {
            resource: PODS,
            namespace: Some(self.namespace.clone()),
            fields: vec![("spec.nodeName", self.node_name.clone())],
        };
        let page = api.list(&selection, None).ok()?;
        let pods = page.items.iter().filter_map(|item| {
            let pod: Value = serde_json::from_str(item.get()).ok()?;
            (pod["metadata"]["labels"][APP.0] == APP.1).then_some(pod)
        });
        let owners = pods.map(|pod| {
            let owners = pod["metadata"]["ownerReferences"].as_array();
            let owner = owners.and_then(|owners| owners.iter().find(|o| o["controller"] == true));
            match owner {
                Some(owner) => reference(owner, &owner["apiVersion"], &owner["kind"]),
                None => reference(&pod["metadata"], &"v1".into(), &"Pod".into()),
            }
        });
        // A DaemonSet outlives a pod.
        owners.max_by_key(|owner| owner["kind"] == "DaemonSet")
    }
}

/// An owner by what garbage collection knows it by.
fn reference(named: &Value, api_version: &Value, kind: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": named["name"],
        "uid": named["uid"],
    })
}

impl Held {
    /// Renews the lease if it is time. A lease that somebody else took meanwhile is
    /// let go; what was begun goes on, as it is not wrong to read twice.
    pub(crate) fn keep(&mut self, api: &mut Api, host: &Host) {
        let now_ns = host.boottime_ns();
        if now_ns.saturating_sub(self.renewed_ns) >= duration::nanos(self.claim.pace.renew) {
            self.renewed_ns = now_ns;
            self.write(api, host, None);
        }
    }

    /// Writes down that everything was read.
    pub(crate) fn complete(mut self, api: &mut Api, host: &Host) {
        let now = format_ns(host.now_ns());
        self.write(api, host, Some(now));
    }

    fn write(&mut self, api: &mut Api, host: &Host, completed: Option<String>) {
        let Some(mut lease) = self.lease.take() else { return };
        lease["spec"]["renewTime"] = micro_time(host.now_ns()).into();
        if let Some(at) = completed {
            lease["metadata"]["annotations"][COMPLETED] = at.into();
        }
        let written = api.replace(&LEASES, &self.claim.namespace, NAME, &lease);
        self.lease = match written.and_then(whole) {
            Ok(lease) => Some(lease),
            Err(ApiError::Conflict | ApiError::NotFound) => {
                tracing::warn!("another agent has taken the lease {NAME}");
                None
            }
            Err(error) => {
                tracing::warn!("cannot renew the lease {NAME}: {error}");
                Some(lease)
            }
        };
    }
}

/// A lease that has all the parts that are written to.
fn whole(mut lease: Value) -> Result<Value, ApiError> {
    let is_object = |value: &Value| value.is_object();
    if !is_object(&lease) || !is_object(&lease["metadata"]) {
        return Err(ApiError::Damaged("no lease".to_owned()));
    }
    if !is_object(&lease["metadata"]["annotations"]) {
        lease["metadata"]["annotations"] = Value::Object(Map::new());
    }
    if !is_object(&lease["spec"]) {
        lease["spec"] = Value::Object(Map::new());
    }
    Ok(lease)
}

/// A time as leases have it, with microseconds and no more.
fn micro_time(ns: i64) -> String {
    let text = format_ns(ns);
    format!("{}Z", text.get(..26).unwrap_or(&text))
}
