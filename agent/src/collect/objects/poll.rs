//! One poll of the API server: a list of things to ask for, page by page, batch
//! by batch.

use std::collections::{HashSet, VecDeque};

use anyhow::Result;
use periscope_store::batch::{Batch, Issue, IssueKind};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::record::{Record, metadata, push_object};
use super::{NODES, PODS};
use crate::collect::Progress;
use crate::host::Host;
use crate::kube_client::lease::Held;
use crate::kube_client::{Api, ApiError, Resource, Selection};

/// Something to ask the API server for.
#[derive(Debug)]
pub(in crate::collect) enum Step {
    /// All objects of a selection.
    List(Selection),
    /// All objects of a selection, as far as diagnoses need them, if the server
    /// has such objects at all.
    ListSlim(Selection),
    /// One object, if there is one of that name.
    Get(Resource, &'static str, &'static str),
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
    /// Whether what no diagnosis needs is left out.
    slim: bool,
    items: VecDeque<Box<RawValue>>,
    remaining: Option<u64>,
}

impl Listing {
    fn new(selection: Selection, keep: Vec<String>) -> Self {
        let items = VecDeque::new();
        let (next, remaining) = (None, None);
        Self { selection, next, restarted: false, keep, slim: false, items, remaining }
    }

    /// Whether this list stands in for pods that were refused.
    fn is_own_pods(&self) -> bool {
        !self.keep.is_empty()
    }
}

/// One poll, which may take more batches than one.
pub(in crate::collect) struct Poll {
    api: Box<Api>,
    node_name: String,
    steps: VecDeque<Step>,
    listing: Option<Listing>,
    /// Namespaces whose pods were refused and came from nowhere else yet.
    refused_pods: Vec<(String, ApiError)>,
    seen: HashSet<String>,
    record: Record,
    /// Held while the poll lasts.
    lease: Option<Box<Held>>,
}

impl Poll {
    /// A poll of these steps, whose objects of this node have its name.
    pub(in crate::collect) fn new(api: Box<Api>, node_name: &str, steps: VecDeque<Step>) -> Self {
        Self {
            api,
            node_name: node_name.to_owned(),
            steps,
            listing: None,
            refused_pods: Vec::new(),
            seen: HashSet::new(),
            record: Record::default(),
            lease: None,
        }
    }

    /// The same, for the whole cluster, by the agent that holds the lease if it
    /// takes one.
    pub(in crate::collect) fn of_cluster(
        api: Box<Api>,
        steps: VecDeque<Step>,
        lease: Option<Box<Held>>,
    ) -> Self {
        Self { lease, ..Self::new(api, "", steps) }
    }

    /// Reads until the batch is full or all has been asked for.
    ///
    /// # Errors
    ///
    /// If nothing that was asked for could be read.
    pub(in crate::collect) fn run(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        loop {
            if let Some(lease) = &mut self.lease {
                lease.keep(&mut self.api, host);
            }
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
        if let Some(lease) = self.lease.take() {
            lease.complete(&mut self.api, host);
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
        let Ok(Value::Object(mut object)) = serde_json::from_str(item.get()) else { return false };
        if listing.slim {
            slim(&mut object);
        }
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
            Step::ListSlim(selection) => {
                let listing = Listing::new(selection, Vec::new());
                self.read_page(Listing { slim: true, ..listing }, batch);
            }
            Step::Get(resource, namespace, name) => {
                match self.api.get(&resource, Some(namespace), name) {
                    Ok(Value::Object(object)) => {
                        self.record.read();
                        push_object(&resource, object, batch);
                    }
                    Ok(_) => self.fail(&ApiError::Damaged("no object".to_owned()), name, batch),
                    Err(ApiError::NotFound) => self.record.read(),
                    Err(error) => {
                        let source = format!("{} {namespace}/{name}", resource.kind);
                        self.fail(&error, &source, batch);
                    }
                }
            }
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
            Err(ApiError::NotFound) if listing.slim => {
                self.record.read();
                batch.issue(Issue {
                    source: listing.selection.to_string(),
                    kind: IssueKind::Absent,
                    amount: None,
                    unit: None,
                    message: format!("API server {} does not serve them", self.api.server()),
                });
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

/// Leaves out the images that each node has: they are half of a node's object,
/// and containers name those that matter.
fn slim(object: &mut Map<String, Value>) {
    if let Some(Value::Object(status)) = object.get_mut("status") {
        status.shift_remove("images");
    }
}
