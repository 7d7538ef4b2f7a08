//! Streams: where the rows of a chunk come from.

use serde_json::{Map, Value, json};

/// What the rows of a stream are, and so how its chunks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// Log of one container, one restart of it.
    Container,
    /// Journal entries of one systemd unit, or of the kernel.
    Unit,
    /// Lines of one log file.
    File,
    /// Samples of one probe target.
    Probe,
    /// Samples of one family of host counters.
    Host,
}

impl StreamKind {
    /// Text in column `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Unit => "unit",
            Self::File => "file",
            Self::Probe => "probe",
            Self::Host => "host",
        }
    }

    /// Kind of a text, `None` if it names none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Container, Self::Unit, Self::File, Self::Probe, Self::Host]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Where rows come from. Two streams are the same if all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// What its rows are.
    pub kind: StreamKind,
    /// Short name within its kind.
    pub name: String,
    /// JSON object with what else tells it apart; keys in the order given below.
    pub attributes: String,
}

impl Stream {
    fn new(kind: StreamKind, name: &str, attributes: &Value) -> Self {
        Self { kind, name: name.to_owned(), attributes: attributes.to_string() }
    }

    /// Log of restart number `restart` of a container.
    #[must_use]
    pub fn container(namespace: &str, pod: &str, uid: &str, container: &str, restart: u32) -> Self {
        let attributes = json!({
            "namespace": namespace, "pod": pod, "pod_uid": uid,
            "container": container, "restart": restart,
        });
        Self::new(StreamKind::Container, &format!("{namespace}/{pod}/{container}"), &attributes)
    }

    /// Journal entries of a unit, such as `kubelet.service`; `kernel` for the
    /// kernel's own messages.
    #[must_use]
    pub fn unit(name: &str) -> Self {
        Self::new(StreamKind::Unit, name, &json!({ "unit": name }))
    }

    /// Lines of a log file, by its path on the node.
    #[must_use]
    pub fn file(path: &str) -> Self {
        Self::new(StreamKind::File, path, &json!({ "path": path }))
    }

    /// Samples of a probe target. A target with another URL, interval or
    /// timeout is another stream.
    #[must_use]
    pub fn probe(target: &ProbeTarget) -> Self {
        let attributes = json!({
            "kind": target.kind, "url": target.url,
            "interval_ns": target.interval_ns, "timeout_ns": target.timeout_ns,
        });
        Self::new(StreamKind::Probe, &target.name, &attributes)
    }

    /// Time from one probe sample to the next, 0 if the stream does not say.
    pub(crate) fn interval_ns(&self) -> i64 {
        interval_ns(&self.attributes)
    }

    /// Samples of a family of host counters, such as `memory`.
    #[must_use]
    pub fn host(family: &str) -> Self {
        Self::new(StreamKind::Host, family, &Value::Object(Map::new()))
    }
}

/// Time from one probe sample to the next, by the attributes of a stream.
pub(crate) fn interval_ns(attributes: &str) -> i64 {
    let attributes: Option<Value> = serde_json::from_str(attributes).ok();
    attributes.and_then(|attributes| attributes.get("interval_ns")?.as_i64()).unwrap_or(0)
}

/// What a probe connects to, how often and how patiently.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// Name that findings call it by.
    pub name: String,
    /// `internet`, `api-server`, `tunnel`, `acr`, `mcr` or `custom`.
    pub kind: String,
    /// `https://host/path`, `http://host/path`, `tls://host:port` or `tcp://host:port`.
    pub url: String,
    /// Time from one sample to the next, in nanoseconds.
    pub interval_ns: i64,
    /// Time after which a sample has failed, in nanoseconds; shorter than the interval.
    pub timeout_ns: i64,
}
