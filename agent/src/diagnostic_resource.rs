//! The node's `Diagnostic` object: what `az aks kanalyze` and `kubectl get apd` show
//! of a node.
//!
//! A [`Summary`] is what a file that was just sealed answers to the questions of
//! `sql/resources`, one for each field; a [`Desk`] puts it on the API server. When
//! that is done is decided in `run/publishing.rs`. The object is small, holds what
//! is masked already, and nothing reads it back: the database is the evidence.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use periscope_analyze::embed::Reading;
use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::kube_client::{Api, ApiError, Connection, KubeAccess, Limits, Resource};
use crate::outbox::Name;

const DIAGNOSTICS: Resource = Resource {
    api_version: "aks-periscope.azure.github.com/v1",
    kind: "Diagnostic",
    plural: "diagnostics",
};

const NODES: Resource = Resource { api_version: "v1", kind: "Node", plural: "nodes" };

/// Fields of `spec`, and the questions that they answer. Each question gives one
/// row: `json`, the field, and `looked`, whether the file knows anything of it.
const FIELDS: [(&str, &str); 3] = [
    ("networkconfig", include_str!("../../sql/resources/networkconfig.sql")),
    ("networkoutbound", include_str!("../../sql/resources/networkoutbound.sql")),
    ("dns", include_str!("../../sql/resources/dns.sql")),
];

/// Largest field. An object of the API server may have some 1.5 MiB, and thousands
/// of nodes have one each.
const FIELD_BYTES: usize = 64 << 10;

/// Annotations with the run and the file that an object was made of.
const RUN: &str = "periscope-run";
const FILE: &str = "periscope-file";

/// A handful of small requests, which thousands of nodes may make at once.
const LIMITS: Limits = Limits {
    request: Duration::from_secs(10),
    overall: Duration::from_secs(45),
    page_objects: 1,
    objects: 1,
    bytes: 2 << 20,
    tries: 3,
    pause: Duration::from_secs(2),
    spread: Duration::from_secs(10),
};

/// What a sealed file says of its node, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    run_id: String,
    file: String,
    fields: [Field; FIELDS.len()],
}

/// A field, in the order of [`FIELDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// Whether the file holds what the field is made of.
    looked: bool,
    json: String,
}

impl Summary {
    /// Asks a sealed file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or an answer is not what the object takes.
    pub(crate) fn of(name: &Name, path: &Path) -> Result<Self> {
        let mut reading = Reading::open(&[path.to_owned()])?;
        let mut fields = Vec::with_capacity(FIELDS.len());
        for (field, sql) in FIELDS {
            let rows = reading.rows(sql).with_context(|| format!("asking for {field}"))?;
            let [row] = rows.as_slice() else { bail!("{field} has {} rows", rows.len()) };
            fields.push(Field::of(row).with_context(|| format!("field {field}"))?);
        }
        let fields = <[Field; FIELDS.len()]>::try_from(fields);
        let Ok(fields) = fields else { bail!("not every field has an answer") };
        Ok(Self { run_id: name.run_id.clone(), file: name.file_name(), fields })
    }

    /// This summary, with what an earlier file of the same run knew where this one
    /// holds nothing: a file that follows the first has no snapshots.
    #[must_use]
    pub(crate) fn after(mut self, earlier: Option<&Self>) -> Self {
        if let Some(earlier) = earlier.filter(|earlier| earlier.run_id == self.run_id) {
            for (field, known) in self.fields.iter_mut().zip(&earlier.fields) {
                if !field.looked && known.looked {
                    field.clone_from(known);
                }
            }
        }
        self
    }

    /// Whether an object of the API server says just this.
    fn is_said_by(&self, object: &Value) -> bool {
        object["spec"] == self.spec()
            && object["metadata"]["annotations"][RUN] == self.run_id.as_str()
    }

    fn spec(&self) -> Value {
        let fields = FIELDS.iter().zip(&self.fields);
        Value::Object(
            fields.map(|((name, _), field)| ((*name).to_owned(), json!(field.json))).collect(),
        )
    }
}

impl Field {
    fn of(row: &Map<String, Value>) -> Result<Self> {
        let json = row.get("json").and_then(Value::as_str).context("there is no text json")?;
        let looked = row.get("looked").and_then(Value::as_i64).context("no number looked")?;
        ensure!(
            json.len() <= FIELD_BYTES,
            "{} bytes are more than the {FIELD_BYTES} that a field may have",
            json.len()
        );
        Ok(Self { looked: looked != 0, json: json.to_owned() })
    }
}

/// What had to be done to have the object on the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// There was none.
    Made,
    /// It said something else.
    Changed,
    /// Nothing.
    Same,
}

/// Where this node's object is.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    access: KubeAccess,
    namespace: String,
    node_name: String,
    limits: Limits,
}

impl Desk {
    /// The object of a node, in the agents' namespace.
    pub(crate) fn new(access: KubeAccess, namespace: String, node_name: String) -> Self {
        Self { access, namespace, node_name, limits: LIMITS }
    }

    /// Makes the object say what a summary says. Makes it if it is not there, as
    /// when it went with its definition while that was made anew.
    ///
    /// # Errors
    ///
    /// If the API server cannot be reached, refuses, or does not know such objects.
    pub(crate) fn write(&self, host: &Host, summary: &Summary) -> Result<Written> {
        let mut api = match Api::connect(&self.access, host, self.limits)? {
            Connection::Api(api) => api,
            Connection::Absent(reason) => bail!(reason),
        };
        self.put(&mut api, summary).map_err(|error| match error {
            ApiError::NotFound => anyhow::anyhow!(
                "the API server knows no {} in namespace {}\nhint: apply the definition of the \
                 resource, which comes with the agent",
                DIAGNOSTICS.plural,
                self.namespace
            ),
            ApiError::Refused { .. } => anyhow::anyhow!(
                "{error}\nhint: the agent's service account needs the role that comes with the agent"
            ),
            error => anyhow::anyhow!("API server {} {error}", api.server()),
        })
    }

    fn put(&self, api: &mut Api, summary: &Summary) -> Result<Written, ApiError> {
        let (namespace, name) = (self.namespace.as_str(), self.name());
        match api.get(&DIAGNOSTICS, Some(namespace), &name) {
            Ok(found) if summary.is_said_by(&found) => Ok(Written::Same),
            Ok(found) => {
                let object = changed(found, summary)?;
                api.replace(&DIAGNOSTICS, namespace, &name, &object)?;
                Ok(Written::Changed)
            }
            Err(ApiError::NotFound) => {
                let object = self.object(api, summary);
                api.create(&DIAGNOSTICS, namespace, &object)?;
                Ok(Written::Made)
            }
            Err(error) => Err(error),
        }
    }

    fn name(&self) -> String {
        format!("aks-periscope-diagnostic-{}", self.node_name)
    }

    fn object(&self, api: &mut Api, summary: &Summary) -> Value {
        let mut object = json!({
            "apiVersion": DIAGNOSTICS.api_version,
            "kind": DIAGNOSTICS.kind,
            "metadata": {
                "name": self.name(),
                "namespace": self.namespace,
                "labels": { "app": "aks-periscope" },
                "annotations": { RUN: summary.run_id, FILE: summary.file },
            },
            "spec": summary.spec(),
        });
        // The object of a node that is removed goes with it. Without an owner it
        // stays until the definition goes, which does no harm.
        if let Ok(node) = api.get(&NODES, None, &self.node_name)
            && let Some(uid) = node["metadata"]["uid"].as_str()
        {
            object["metadata"]["ownerReferences"] = json!([{
                "apiVersion": NODES.api_version,
                "kind": NODES.kind,
                "name": self.node_name,
                "uid": uid,
            }]);
        }
        object
    }
}

/// An object of the API server that says what a summary says, all else as it was.
fn changed(mut found: Value, summary: &Summary) -> Result<Value, ApiError> {
    let Some(object) = found.as_object_mut() else {
        return Err(ApiError::Damaged("no object".to_owned()));
    };
    object.insert("spec".to_owned(), summary.spec());
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(ApiError::Damaged("an object without metadata".to_owned()));
    };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if !annotations.is_object() {
        *annotations = json!({});
    }
    annotations[RUN] = json!(summary.run_id);
    annotations[FILE] = json!(summary.file);
    Ok(found)
}
