//! What came of the requests of a poll, and objects as they are stored.

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, Issue, IssueKind, Object, Redaction};
use serde_json::{Map, Value};

use crate::collect::Progress;
use crate::kube_client::{Api, ApiError, Resource};
use crate::redact::redact_object;

/// How the requests of a poll went.
#[derive(Debug, Default)]
pub(in crate::collect) struct Record {
    read: usize,
    refused: usize,
    failed: usize,
    first: Option<String>,
    silent: bool,
}

impl Record {
    /// A request was answered as it should, or the thing asked for does not exist.
    pub(in crate::collect) fn read(&mut self) {
        self.read += 1;
    }

    /// A request brought nothing: notes the loss, unless there is no server at
    /// all, which is an outcome of its own.
    pub(in crate::collect) fn fail(
        &mut self,
        api: &Api,
        error: &ApiError,
        source: &str,
        batch: &mut Batch,
    ) {
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
    pub(in crate::collect) fn is_silent(&self) -> bool {
        self.silent
    }

    /// What the poll came to.
    ///
    /// # Errors
    ///
    /// If requests were answered and not one of them as it should.
    pub(in crate::collect) fn finish(&self) -> Result<Progress> {
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
pub(super) fn metadata<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

/// Puts an object into the batch, without its secrets.
pub(in crate::collect) fn push_object(
    resource: &Resource,
    fields: Map<String, Value>,
    batch: &mut Batch,
) {
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
pub(super) fn whole_object(
    resource: &Resource,
    fields: Map<String, Value>,
) -> (Object, Vec<&'static str>) {
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
