//! Writes files of many nodes and hours as agents would have written them.

use std::path::Path;

use anyhow::{Context, Result};
use periscope_store::batch::{
    Batch, HostSample, Object, Outcome, ProbeOutcome, ProbeSample, ProbeTarget, Stream,
};
use periscope_store::writer::{Node, Poll, Session, Writer};
use serde_json::{Value, json};

use crate::template::{Line, Snapshot, Template};

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;

/// Time between two polls of a log, as the agent has it.
const FOLLOW_NS: i64 = 10 * SECOND_NS;

/// Time between two polls of the host's counters.
const HOST_NS: i64 = 30 * SECOND_NS;

/// Time between two polls of what seldom changes.
const SNAPSHOT_NS: i64 = 300 * SECOND_NS;

/// Time between two samples of a target.
const PROBE_NS: i64 = 5 * SECOND_NS;

/// Collectors that follow logs.
const LOGS: [&str; 3] = ["container-logs", "service-logs", "provision-logs"];

/// Collectors that are asked once an hour.
const HOURLY: [&str; 2] = ["certificates", "cluster-objects"];

/// Names and kinds of the targets.
const TARGETS: [(&str, &str); 8] = [
    ("api-server", "api-server"),
    ("kubernetes-service", "api-server"),
    ("mcr", "mcr"),
    ("acr", "acr"),
    ("entra-id", "internet"),
    ("resource-manager", "internet"),
    ("packages", "internet"),
    ("bing", "internet"),
];

/// How large a bundle is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Number of nodes.
    pub nodes: usize,
    /// Hours of each.
    pub hours: i64,
}

/// A cluster that is written node by node.
#[derive(Debug)]
pub struct Cluster {
    templates: Vec<Template>,
    size: Size,
    /// End of the bundle, nanoseconds since 1970.
    ended_ns: i64,
    /// Last instant of a log line of each template, and how long its lines go on.
    spans: Vec<(i64, i64)>,
}

/// One node while it is written.
struct Making<'a> {
    cluster: &'a Cluster,
    template: &'a Template,
    number: usize,
    name: String,
    targets: Vec<ProbeTarget>,
    /// Number of the next batch by collector.
    seq: std::collections::HashMap<String, u64>,
    lines: u64,
    writer: Writer,
}

impl Cluster {
    /// A cluster out of recorded nodes: the last template is that of most.
    #[must_use]
    pub fn new(templates: Vec<Template>, size: Size) -> Self {
        let ended_ns = templates.iter().map(|template| template.ended_ns).max().unwrap_or(0);
        let span = |template: &Template| {
            let first = template.lines.first().map_or(0, |line| line.ts_ns);
            let last = template.lines.last().map_or(0, |line| line.ts_ns);
            (last, (last - first).max(60 * SECOND_NS))
        };
        let spans = templates.iter().map(span).collect();
        Self { templates, size, ended_ns, spans }
    }

    /// Writes the files of one node, one for each hour, and tells how many log lines
    /// are in them.
    ///
    /// # Errors
    ///
    /// If a file exists or cannot be written.
    pub fn write_node(&self, number: usize, output: &Path) -> Result<u64> {
        let at = number.min(self.templates.len() - 1);
        let template = &self.templates[at];
        let name = node_name(number);
        let node = Node { name: name.clone(), machine_id: format!("{number:032x}") };
        let started_ns = self.ended_ns - self.size.hours * HOUR_NS;
        let session = Session {
            run_id: "scale".to_owned(),
            cluster: template.cluster.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: format!("{number:08x}-0000-4000-8000-000000000000"),
            started_ns,
            process: 1,
            config: template.config.clone(),
        };
        let folder = output.join(&name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("making the folder {}", folder.display()))?;
        let path = |hour: i64| folder.join(format!("{name}-{hour:04}.db"));
        let target = |(name, kind): (&str, &str)| ProbeTarget {
            name: name.to_owned(),
            kind: kind.to_owned(),
            url: format!("https://{name}.example/"),
            interval_ns: PROBE_NS,
            timeout_ns: 3 * SECOND_NS,
        };
        let mut making = Making {
            cluster: self,
            template,
            number,
            name: name.clone(),
            targets: TARGETS.map(target).to_vec(),
            seq: std::collections::HashMap::new(),
            lines: 0,
            writer: Writer::create(&path(0), &node, &session)?,
        };
        for hour in 0..self.size.hours {
            if hour > 0 {
                let next = making.writer.begin_next(&path(hour), &node, &session)?;
                std::mem::replace(&mut making.writer, next).seal()?;
            }
            let from = started_ns + hour * HOUR_NS;
            making.hour(from, self.spans[at])?;
        }
        making.writer.seal()?;
        Ok(making.lines)
    }
}

impl Making<'_> {
    /// All polls of an hour, in order of their time.
    fn hour(&mut self, from: i64, span: (i64, i64)) -> Result<()> {
        for tick in 0..HOUR_NS / FOLLOW_NS {
            let at = from + tick * FOLLOW_NS;
            for collector in LOGS {
                let batch = self.logs(collector, at, span);
                self.commit(batch, at, Outcome::Complete, None)?;
            }
            if (at - from) % HOST_NS == 0 {
                let batch = self.host(at);
                self.commit(batch, at, Outcome::Complete, None)?;
            }
            if (at - from) % SNAPSHOT_NS == 0 {
                for snapshot in &self.template.snapshots {
                    let is_hourly = HOURLY.contains(&snapshot.collector.as_str());
                    if !is_hourly || at == from {
                        self.snapshot(snapshot, at)?;
                    }
                }
            }
        }
        let batch = self.probes(from);
        self.commit(batch, from, Outcome::Complete, None)
    }

    fn commit(
        &mut self,
        batch: Batch,
        started_ns: i64,
        outcome: Outcome,
        message: Option<String>,
    ) -> Result<()> {
        let seq = self.seq.entry(batch.collector().to_owned()).or_default();
        let ended_ns = match batch.collector() {
            "probe" => started_ns + HOUR_NS,
            _ => started_ns + SECOND_NS / 4,
        };
        let poll = Poll { seq: *seq, round: *seq, started_ns, ended_ns, outcome, message };
        *seq += 1;
        Ok(self.writer.commit(batch, &poll)?)
    }

    /// Lines that came in since the poll before.
    fn logs(&mut self, collector: &str, at: i64, (last, span): (i64, i64)) -> Batch {
        let mut batch = Batch::new(collector);
        let lines = &self.template.lines;
        // Repetitions go back from the end of the recording; a poll lies in one or two.
        let end = self.cluster.ended_ns;
        let back = |ts: i64| (end - ts).div_euclid(span);
        for repetition in back(at)..=back(at - FOLLOW_NS) {
            let shift = end - last - repetition * span;
            let first = lines.partition_point(|line| line.ts_ns + shift < at - FOLLOW_NS);
            for line in lines[first..].iter().take_while(|line| line.ts_ns + shift < at) {
                if line.collector == collector {
                    let stream = batch.stream(self.stream(line));
                    let message = self.renamed(&line.message);
                    batch.log(stream, line.ts_ns + shift, line.flags, &message);
                    self.lines += 1;
                }
            }
        }
        batch
    }

    /// A pod of one node is not one of another.
    fn stream(&self, line: &Line) -> Stream {
        let mut stream = line.stream.clone();
        let Ok(Value::Object(mut attributes)) = serde_json::from_str(&stream.attributes) else {
            return stream;
        };
        for key in ["pod", "pod_uid"] {
            if let Some(Value::String(text)) = attributes.get_mut(key) {
                stream.name = stream.name.replace(text.as_str(), &self.own(text));
                *text = self.own(text);
            }
        }
        stream.attributes = Value::Object(attributes).to_string();
        stream
    }

    fn own(&self, text: &str) -> String {
        format!("{text}-{}", self.number)
    }

    fn renamed(&self, message: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(message) {
            Ok(text) => text.replace(&self.template.node, &self.name).into_bytes(),
            Err(_) => message.to_vec(),
        }
    }

    fn host(&self, at: i64) -> Batch {
        let mut batch = Batch::new("host-samples");
        for (place, value) in self.template.host.iter().enumerate() {
            let stream = batch.stream(Stream::host(&value.family));
            let noise = (dice(self.number, place, at) % 1_000) as f64 / 1e5;
            batch.sample(
                stream,
                &HostSample {
                    ts_ns: at,
                    name: value.name.clone(),
                    value: (value.value * (1.0 + noise)).trunc(),
                },
            );
        }
        batch
    }

    fn snapshot(&mut self, snapshot: &Snapshot, at: i64) -> Result<()> {
        let mut batch = Batch::new(&snapshot.collector);
        let (mut outcome, mut message) = (snapshot.outcome, snapshot.message.clone());
        if snapshot.collector == "cluster-objects" {
            if self.number == 0 {
                self.cluster_nodes(&mut batch);
            } else {
                outcome = Outcome::Absent;
                message = Some(format!("the agent on {} read them", node_name(0)));
            }
        }
        if outcome != Outcome::Absent {
            snapshot.issues.iter().for_each(|issue| batch.issue(issue.clone()));
            snapshot.chains.iter().for_each(|chain| batch.iptables_chain(chain.clone()));
            snapshot.rules.iter().for_each(|rule| batch.iptables_rule(rule.clone()));
            snapshot.certificates.iter().for_each(|one| batch.certificate(one.clone()));
            for setting in &snapshot.settings {
                let mut setting = setting.clone();
                let renamed = |text: String| text.replace(&self.template.node, &self.name);
                setting.value = setting.value.map(renamed);
                batch.setting(setting);
            }
            for object in &snapshot.objects {
                if let Some(object) = self.object(object) {
                    batch.object(object);
                }
            }
        }
        self.commit(batch, at, outcome, message)
    }

    /// All nodes of the cluster, made of those that were recorded.
    fn cluster_nodes(&self, batch: &mut Batch) {
        for number in 0..self.cluster.size.nodes {
            let at = number.min(self.cluster.templates.len() - 1);
            let template = &self.cluster.templates[at];
            let is_own = |object: &&Object| object.kind == "Node" && object.name == template.node;
            let objects = template.snapshots.iter().flat_map(|snapshot| &snapshot.objects);
            if let Some(object) = objects.into_iter().find(is_own) {
                let mut object = object.clone();
                object.name = node_name(number);
                object.json = object.json.replace(&template.node, &object.name);
                batch.object(object);
            }
        }
    }

    /// The same object as this node has it; none for other nodes.
    fn object(&self, object: &Object) -> Option<Object> {
        let mut object = object.clone();
        let own = object.name == self.template.node;
        if object.kind == "Node" {
            object.name.clone_from(&self.name);
            object.json = object.json.replace(&self.template.node, &self.name);
            return own.then_some(object);
        }
        if !["Pod", "Event"].contains(&object.kind.as_str()) {
            return Some(object);
        }
        let text = object.json.replace(&self.template.node, &self.name);
        let mut value: Value = serde_json::from_str(&text).ok()?;
        object.name = self.own(&object.name);
        object.uid = object.uid.map(|uid| self.own(&uid));
        value["metadata"]["name"] = json!(object.name);
        value["metadata"]["uid"] = json!(object.uid);
        if value["involvedObject"]["kind"] == "Pod" {
            for key in ["name", "uid"] {
                let text = value["involvedObject"][key].as_str().map(|text| self.own(text));
                value["involvedObject"][key] = json!(text);
            }
        }
        object.json = value.to_string();
        Some(object)
    }

    /// An hour of samples.
    fn probes(&self, from: i64) -> Batch {
        let mut batch = Batch::new("probe");
        let started = self.cluster.ended_ns - self.cluster.size.hours * HOUR_NS;
        for tick in 0..HOUR_NS / PROBE_NS {
            for (place, target) in self.targets.iter().enumerate() {
                let at = from + tick * PROBE_NS + place as i64 * (PROBE_NS / 10);
                let stream = batch.stream(Stream::probe(target));
                let number = (from - started) / PROBE_NS + tick;
                batch.probe(stream, &self.probe(place, at, number as u64, at - started));
            }
        }
        batch
    }

    fn probe(&self, place: usize, at: i64, seq: u64, since: i64) -> ProbeSample {
        let dice = dice(self.number, place, at);
        let mut sample = ProbeSample {
            seq,
            ts_ns: at + (dice % 4_000_000) as i64,
            mono_ns: HOUR_NS + since + (dice % 4_000_000) as i64,
            address: format!("203.0.113.{place}:443"),
            ..ProbeSample::default()
        };
        let Some((phase, class)) = self.failure(place, since, dice) else {
            let jitter = dice % 9_000;
            sample.status = Some(200);
            sample.dns_us = Some(800 + jitter / 3);
            sample.tcp_us = Some(1_500 + jitter / 2);
            sample.tls_us = Some(6_000 + jitter);
            sample.http_us = Some(9_000 + jitter * 2);
            sample.duration_us = 17_300 + jitter * 3 + jitter / 3 + jitter / 2;
            return sample;
        };
        sample.outcome = ProbeOutcome::Fail;
        phase.clone_into(&mut sample.phase);
        class.clone_into(&mut sample.error_class);
        sample.error = format!("{phase}: {class}");
        sample.duration_us = 3_000_000;
        if phase == "dns" {
            sample.address.clear();
        } else {
            sample.dns_us = Some(900);
        }
        sample
    }

    /// Outages: each tenth node loses all targets for 90 s, all nodes lose the registry
    /// for half a minute, one node in 25 resolves names now and then for ten minutes,
    /// and one sample in two thousand fails by itself.
    fn failure(&self, place: usize, since: i64, dice: u64) -> Option<(&'static str, &'static str)> {
        let whole = self.cluster.size.hours * HOUR_NS;
        let within = |from: i64, seconds: i64| (from..from + seconds * SECOND_NS).contains(&since);
        let own = (self.number as i64 % 10) * 60 * SECOND_NS;
        if self.number % 10 == 3 && within(whole / 3 + own, 90) {
            Some(("tcp", "timeout"))
        } else if TARGETS[place].1 == "acr" && within(whole / 2, 30) {
            Some(("tcp", "refused"))
        } else if self.number % 25 == 7 && within(whole * 3 / 4, 600) && dice.is_multiple_of(3) {
            Some(("dns", "timeout"))
        } else if dice.is_multiple_of(2_000) {
            Some(("tls", "timeout"))
        } else {
            None
        }
    }
}

/// Name of a node as AKS gives them: `…vmss00000a`, in base 36.
fn node_name(number: usize) -> String {
    let digit = |at: usize| char::from_digit((at % 36) as u32, 36).unwrap_or('0');
    format!("aks-nodepool1-10000000-vmss0000{}{}", digit(number / 36), digit(number))
}

/// A number that looks like chance and is the same each time.
fn dice(node: usize, place: usize, at: i64) -> u64 {
    let mut mixed = (node as u64) << 40 ^ (place as u64) << 56 ^ at as u64;
    for _ in 0..2 {
        mixed = (mixed ^ mixed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed ^ mixed >> 29
}
