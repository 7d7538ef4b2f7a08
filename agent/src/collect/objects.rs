//! Kubernetes objects: pods, services and events of chosen namespaces, the node
//! itself and the events about it.
//!
//! A kubelet's credentials end at its own node, so on a node without a service
//! account the pods are those of this node, and an issue says so. Secrets are
//! never asked for.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, Issue, IssueKind, Object, Redaction};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Collector, Progress};
use crate::host::Host;
use crate::kube_client::{Api, ApiError, Connection, KubeAccess, Limits, Resource, Selection};
use crate::redact::redact_object;

#[cfg(test)]
mod tests;

const PODS: Resource = Resource { api_version: "v1", kind: "Pod", plural: "pods" };
const SERVICES: Resource = Resource { api_version: "v1", kind: "Service", plural: "services" };
const EVENTS: Resource = Resource { api_version: "v1", kind: "Event", plural: "events" };
const NODES: Resource = Resource { api_version: "v1", kind: "Node", plural: "nodes" };

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

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let mut poll = match self.poll.take() {
            Some(poll) => poll,
            None => match Api::connect(&self.access, host, self.limits)? {
                Connection::Api(api) => Poll::new(api, &self.namespaces, &self.node_name),
                Connection::Absent(reason) => return Ok(Progress::Absent(reason)),
            },
        };
        let progress = poll.run(batch)?;
        if progress == Progress::More {
            self.poll = Some(poll);
        }
        Ok(progress)
    }
}

/// Something to ask the API server for.
#[derive(Debug)]
enum Step {
    /// All objects of a selection.
    List(Selection),
    /// This node's pods, if the pods of a namespace were refused.
    OwnPods,
    /// The node itself.
    Node,
}

/// A list that is being read.
#[derive(Debug)]
struct Listing {
    selection: Selection,
    next: Option<String>,
    restarted: bool,
    /// Namespaces to keep objects of; empty for all.
    keep: Vec<String>,
    items: VecDeque<Box<RawValue>>,
    remaining: Option<u64>,
}

impl Listing {
    fn new(selection: Selection, keep: Vec<String>) -> Self {
        let items = VecDeque::new();
        Self { selection, next: None, restarted: false, keep, items, remaining: None }
    }

    /// Whether this list stands in for pods that were refused.
    fn is_own_pods(&self) -> bool {
        !self.keep.is_empty()
    }
}

/// One poll, which may take more batches than one.
struct Poll {
    api: Box<Api>,
    node_name: String,
    steps: VecDeque<Step>,
    listing: Option<Listing>,
    /// Namespaces whose pods were refused and came from nowhere else yet.
    refused_pods: Vec<(String, ApiError)>,
    seen: HashSet<String>,
    record: Record,
}

impl Poll {
    fn new(api: Box<Api>, namespaces: &[String], node_name: &str) -> Self {
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
        let steps = each(PODS)
            .chain([Step::OwnPods])
            .chain(each(SERVICES))
            .chain([Step::Node])
            .chain(each(EVENTS))
            .chain([Step::List(about_node)]);
        Self {
            api,
            node_name: node_name.to_owned(),
            steps: steps.collect(),
            listing: None,
            refused_pods: Vec::new(),
            seen: HashSet::new(),
            record: Record::default(),
        }
    }

    fn run(&mut self, batch: &mut Batch) -> Result<Progress> {
        loop {
            if let Some(progress) = self.push_items(batch) {
                return Ok(progress);
            }
            if let Some(listing) = self.listing.take_if(|listing| listing.next.is_some()) {
                self.read_page(listing, batch);
            } else {
                self.listing = None;
                match self.steps.pop_front() {
                    Some(step) => self.take(step, batch),
                    None => break,
                }
            }
            if self.record.is_silent() {
                break;
            }
        }
        for (namespace, refusal) in std::mem::take(&mut self.refused_pods) {
            self.fail(&refusal, &pods_of(namespace).to_string(), batch);
        }
        self.record.finish()
    }

    /// Moves objects of the current page into the batch, until it is full.
    fn push_items(&mut self, batch: &mut Batch) -> Option<Progress> {
        let mut listing = self.listing.take()?;
        while let Some(item) = listing.items.pop_front() {
            if self.seen.len() >= self.api.limits().objects {
                let more = 1 + listing.items.len() as u64 + listing.remaining.unwrap_or_default();
                batch.issue(Issue {
                    source: listing.selection.to_string(),
                    kind: IssueKind::Truncated,
                    amount: Some(more),
                    unit: Some("objects"),
                    message: format!(
                        "a poll reads {} objects at most; this list and what would have come \
                         after it are cut",
                        self.api.limits().objects
                    ),
                });
                self.steps.clear();
                return None;
            }
            if !self.push(&item, &listing, batch) {
                batch.issue(Issue {
                    source: listing.selection.to_string(),
                    kind: IssueKind::Damaged,
                    amount: Some(1 + listing.items.len() as u64),
                    unit: Some("objects"),
                    message: "an item of the list is no JSON object; the page ends there"
                        .to_owned(),
                });
                listing.items.clear();
            }
            if batch.is_full() {
                self.listing = Some(listing);
                return Some(Progress::More);
            }
        }
        self.listing = Some(listing);
        None
    }

    /// Moves one object into the batch, unless it is there or not wanted; `false`
    /// if it is no object.
    fn push(&mut self, item: &RawValue, listing: &Listing, batch: &mut Batch) -> bool {
        let resource = listing.selection.resource;
        let Ok(Value::Object(object)) = serde_json::from_str(item.get()) else { return false };
        let namespace = metadata(&object, "namespace").unwrap_or_default();
        let kept = listing.keep.is_empty() || listing.keep.iter().any(|keep| keep == namespace);
        let name = metadata(&object, "name").unwrap_or_default();
        if kept && self.seen.insert(format!("{} {namespace}/{name}", resource.kind)) {
            push_object(&resource, object, batch);
        }
        true
    }

    fn take(&mut self, step: Step, batch: &mut Batch) {
        match step {
            Step::List(selection) => self.read_page(Listing::new(selection, Vec::new()), batch),
            Step::OwnPods if self.refused_pods.is_empty() => {}
            Step::OwnPods => {
                let own = Selection {
                    resource: PODS,
                    namespace: None,
                    fields: vec![("spec.nodeName", self.node_name.clone())],
                };
                let keep = self.refused_pods.iter().map(|(namespace, _)| namespace.clone());
                self.read_page(Listing::new(own, keep.collect()), batch);
            }
            Step::Node => match self.api.get(&NODES, None, &self.node_name) {
                Ok(Value::Object(node)) => {
                    self.record.read();
                    self.seen.insert(format!("{} /{}", NODES.kind, self.node_name));
                    push_object(&NODES, node, batch);
                }
                Ok(_) => self.fail(&ApiError::Damaged("no object".to_owned()), "node", batch),
                Err(error) => self.fail(&error, &format!("node {}", self.node_name), batch),
            },
        }
    }

    /// Reads the page that a list has come to.
    fn read_page(&mut self, mut listing: Listing, batch: &mut Batch) {
        match self.api.list(&listing.selection, listing.next.as_deref()) {
            Ok(page) => {
                self.record.read();
                if listing.is_own_pods() {
                    self.note_own_pods(batch);
                }
                listing.items = page.items.into();
                listing.next = page.next;
                listing.remaining = page.remaining;
                self.listing = Some(listing);
            }
            Err(ApiError::Gone) if listing.next.is_some() && !listing.restarted => {
                listing.next = None;
                listing.restarted = true;
                self.read_page(listing, batch);
            }
            Err(error) if listing.is_own_pods() => {
                // Refused like the rest: the refusals say all there is to say.
                let is_told = matches!(error, ApiError::Refused { .. });
                if self.refused_pods.is_empty() || !is_told {
                    self.fail(&error, &listing.selection.to_string(), batch);
                }
            }
            Err(error) => match listing.selection {
                Selection { resource: PODS, namespace: Some(namespace), .. }
                    if matches!(error, ApiError::Refused { .. }) =>
                {
                    self.refused_pods.push((namespace, error));
                }
                selection => self.fail(&error, &selection.to_string(), batch),
            },
        }
    }

    /// Notes that pods of other nodes are missing, and why.
    fn note_own_pods(&mut self, batch: &mut Batch) {
        for (namespace, refusal) in std::mem::take(&mut self.refused_pods) {
            batch.issue(Issue {
                source: pods_of(namespace).to_string(),
                kind: IssueKind::Truncated,
                amount: None,
                unit: Some("objects"),
                message: format!(
                    "only the pods of this node were readable: API server {} {refusal}",
                    self.api.server()
                ),
            });
        }
    }

    fn fail(&mut self, error: &ApiError, source: &str, batch: &mut Batch) {
        self.record.fail(&self.api, error, source, batch);
        if error.ends_poll() {
            self.steps.clear();
        }
    }
}

fn pods_of(namespace: String) -> Selection {
    Selection { resource: PODS, namespace: Some(namespace), fields: Vec::new() }
}

/// How the requests of a poll went.
#[derive(Debug, Default)]
pub(super) struct Record {
    read: usize,
    refused: usize,
    failed: usize,
    first: Option<String>,
    silent: bool,
}

impl Record {
    /// A request was answered as it should, or the thing asked for does not exist.
    pub(super) fn read(&mut self) {
        self.read += 1;
    }

    /// A request brought nothing: notes the loss, unless there is no server at
    /// all, which is an outcome of its own.
    pub(super) fn fail(&mut self, api: &Api, error: &ApiError, source: &str, batch: &mut Batch) {
        let message = format!("API server {} {error}", api.server());
        self.first.get_or_insert_with(|| message.clone());
        if !api.has_answered() && error.is_silence() {
            self.silent = true;
            return;
        }
        self.failed += 1;
        self.refused += usize::from(matches!(error, ApiError::Refused { .. }));
        let kind = match error {
            ApiError::Damaged(_) => IssueKind::Damaged,
            error if error.ends_poll() => IssueKind::Truncated,
            _ => IssueKind::Unreadable,
        };
        let source = source.to_owned();
        batch.issue(Issue { source, kind, amount: None, unit: None, message });
    }

    /// Whether no server is there to be asked more.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// What the poll came to.
    ///
    /// # Errors
    ///
    /// If requests were answered and not one of them as it should.
    pub(super) fn finish(&self) -> Result<Progress> {
        match &self.first {
            Some(first) if self.silent => {
                Ok(Progress::Absent(format!("no API server in reach: {first}")))
            }
            Some(first) if self.read == 0 && self.refused == self.failed => bail!(
                "every request was refused, the first so: {first}\nhint: the agent's service \
                 account needs the role that comes with the agent"
            ),
            Some(first) if self.read == 0 => bail!("every request failed, the first so: {first}"),
            _ => Ok(Progress::Done),
        }
    }
}

/// Text of a field of an object's metadata.
fn metadata<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

/// Puts an object into the batch, without its secrets.
pub(super) fn push_object(resource: &Resource, fields: Map<String, Value>, batch: &mut Batch) {
    let (object, masked) = whole_object(resource, fields);
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let source = format!("{} {namespace}/{}", object.kind, object.name);
    for rule in masked {
        let (rule, source) = (rule.to_owned(), source.clone());
        batch.redaction(Redaction { rule, source, amount: 1 });
    }
    batch.object(object);
}

/// An object as it is stored: version and kind in front, where items of lists
/// have none, and what its structure gives away masked by the rules returned.
fn whole_object(resource: &Resource, fields: Map<String, Value>) -> (Object, Vec<&'static str>) {
    let mut whole = Map::with_capacity(fields.len() + 2);
    whole.insert("apiVersion".to_owned(), resource.api_version.into());
    whole.insert("kind".to_owned(), resource.kind.into());
    whole.extend(fields);
    let text = |field| metadata(&whole, field).map(str::to_owned);
    let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
    let mut whole = Value::Object(whole);
    let mut masked = Vec::new();
    redact_object(&mut whole, &mut |rule| masked.push(rule));
    let object = Object {
        api_version: resource.api_version.to_owned(),
        kind: resource.kind.to_owned(),
        namespace,
        name: name.unwrap_or_default(),
        uid,
        json: whole.to_string(),
    };
    (object, masked)
}
