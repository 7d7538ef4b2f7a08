//! Makes the bundle that a case describes: files as an agent writes them, one
//! for each of its sessions, opened as the program opens them.

mod pattern;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use periscope_store::batch::{
    self, Batch, CertificateOrigin, HostSample, Issue, IssueKind, Level, LineFlags, Outcome, Stream,
};
use periscope_store::bundle;
use periscope_store::time::parse_rfc3339;
use periscope_store::writer::{Node, Poll, Session, Writer};
use rusqlite::Connection;
use tempfile::TempDir;

use super::notation::{
    Bundle, Certificate, Collection, Iptables, Line, Loss, Object, Sample, Setting,
};
use super::views;

/// Wall clock at the first slot of every pattern.
pub(super) const START: &str = "2026-11-22T12:00:00Z";

/// Nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;

/// Collectors of the agent, by name.
pub(super) const COLLECTORS: [&str; 15] = [
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
    "probe",
];

/// An open bundle, and the folder that its chunks are read from.
#[derive(Debug)]
pub(crate) struct Opened {
    bundle: bundle::Bundle,
    #[cfg_attr(not(test), expect(dead_code, reason = "it is removed when this is dropped"))]
    folder: TempDir,
}

impl Opened {
    /// The bundle, and the folder that goes with it.
    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (bundle::Bundle, TempDir) {
        (self.bundle, self.folder)
    }

    /// The bundle, for who asks more of it than SQL.
    #[cfg(test)]
    pub(crate) fn bundle_mut(&mut self) -> &mut bundle::Bundle {
        &mut self.bundle
    }
}

impl Deref for Opened {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.bundle.connection()
    }
}

impl DerefMut for Opened {
    fn deref_mut(&mut self) -> &mut Connection {
        self.bundle.connection_mut()
    }
}

/// Makes and opens the bundle that a case describes.
///
/// # Errors
///
/// If the case says something that no agent could have seen, or there is no room.
pub(super) fn make(bundle: &Bundle) -> Result<Opened> {
    make_with(|folder| write(bundle, folder).map(drop))
}

/// Opens all files that `write` puts into a folder.
fn make_with(write: impl FnOnce(&Path) -> Result<()>) -> Result<Opened> {
    // Files that are thrown away at once need not reach a disk.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.context("making a folder for the case")?;
    write(folder.path())?;
    let bundle = bundle::Bundle::open(&[folder.path().to_owned()])?;
    if let Some(problem) = bundle.problems().first() {
        bail!("{}", problem.error);
    }
    views::create(bundle.connection()).context("creating the views")?;
    Ok(Opened { bundle, folder })
}

/// [`make`] of a case that is known to be sound.
#[cfg(test)]
pub(super) fn open(bundle: &Bundle) -> Opened {
    make(bundle).unwrap()
}

/// The same, after `sql` has been run on each of its files.
#[cfg(test)]
pub(super) fn open_crafted(bundle: &Bundle, sql: &str) -> Opened {
    open_files(|folder| {
        for path in write(bundle, folder).unwrap() {
            Connection::open(path).unwrap().execute_batch(sql).unwrap();
        }
    })
}

/// Opens all files that `write` puts into a folder.
#[cfg(test)]
pub(super) fn open_files(write: impl FnOnce(&Path)) -> Opened {
    make_with(|folder| {
        write(folder);
        Ok(())
    })
    .unwrap()
}

/// A node by its name, as every file of it says it.
pub(super) fn node(name: &str) -> Node {
    Node { name: name.to_owned(), machine_id: format!("machine of {name}") }
}

/// Session of a node that begins at a time.
pub(super) fn session(number: u32, boot: u32, started_ns: i64) -> Session {
    Session {
        run_id: "run-1".to_owned(),
        cluster: None,
        agent_version: "0.1.0".to_owned(),
        boot_id: format!("boot-{boot}"),
        started_ns,
        process: 100 + number,
        config: "{}".to_owned(),
    }
}

/// Writes the files of a bundle.
///
/// # Errors
///
/// As [`make`].
pub(super) fn write(bundle: &Bundle, folder: &Path) -> Result<Vec<PathBuf>> {
    let start = parse_rfc3339(START).context("the first slot has a time")?;
    let mut seen = Seen { start, ..Seen::default() };
    for node in &bundle.nodes {
        seen.lives.insert((node.clone(), 0), Life { boot: 0, from: seen.start, ..Life::default() });
    }
    bundle.probe.iter().try_for_each(|probe| seen.probe(probe))?;
    bundle.log.iter().try_for_each(|line| seen.log(line))?;
    bundle.sample.iter().try_for_each(|sample| seen.host_sample(sample))?;
    bundle.setting.iter().try_for_each(|setting| seen.setting(setting))?;
    bundle.object.iter().try_for_each(|object| seen.object(object))?;
    bundle.certificate.iter().try_for_each(|certificate| seen.certificate(certificate))?;
    bundle.iptables.iter().try_for_each(|table| seen.iptables(table))?;
    bundle.issue.iter().try_for_each(|loss| seen.issue(loss))?;
    bundle.collection.iter().try_for_each(|collection| seen.collection(collection))?;
    seen.lives
        .into_iter()
        .map(|((name, number), life)| {
            let path = folder.join(format!("{name}-{number}.db"));
            life.write(&path, &node(&name), number)?;
            Ok(path)
        })
        .collect()
}

/// What the agents saw, by node and number of the session.
#[derive(Default)]
struct Seen {
    start: i64,
    lives: BTreeMap<(String, u32), Life>,
}

/// What one session of an agent saw, by collector.
#[derive(Default)]
struct Life {
    boot: u32,
    from: i64,
    rounds: BTreeMap<&'static str, Round>,
}

/// The only round of a collector.
struct Round {
    batch: Batch,
    from: i64,
    until: i64,
    outcome: Outcome,
    message: Option<String>,
}

impl Life {
    fn write(self, path: &Path, node: &Node, number: u32) -> Result<()> {
        let session = session(number, self.boot, self.from);
        let mut writer = Writer::create(path, node, &session)?;
        for round in self.rounds.into_values() {
            let poll = Poll {
                seq: 0,
                round: 0,
                started_ns: round.from,
                ended_ns: round.until,
                outcome: round.outcome,
                message: round.message,
            };
            writer.commit(round.batch, &poll)?;
        }
        writer.seal()?;
        Ok(())
    }

    fn round(&mut self, collector: &'static str, from: i64, until: i64) -> &mut Round {
        let round = self.rounds.entry(collector).or_insert_with(|| Round {
            batch: Batch::new(collector),
            from,
            until,
            outcome: Outcome::Complete,
            message: None,
        });
        round.from = round.from.min(from);
        round.until = round.until.max(until);
        round
    }
}

impl Seen {
    /// The collector's round in the first session of a node.
    fn round(&mut self, node: &str, collector: &'static str, from: i64) -> Result<&mut Round> {
        let life = self.lives.get_mut(&(node.to_owned(), 0));
        let life = life.with_context(|| format!("nodes does not name {node:?}"))?;
        Ok(life.round(collector, from, from + SECOND))
    }

    fn log(&mut self, line: &Line) -> Result<()> {
        let (collector, stream) = match (&line.unit, &line.path, &line.container) {
            (Some(unit), None, None) => ("service-logs", Stream::unit(unit)),
            (None, Some(path), None) => ("provision-logs", Stream::file(path)),
            (None, None, Some(name)) => {
                let names: Vec<&str> = name.split('/').collect();
                let &[namespace, pod, container] = names.as_slice() else {
                    bail!("container {name:?} is not namespace/pod/container");
                };
                ("container-logs", Stream::container(namespace, pod, "uid", container, 0))
            }
            _ => bail!("a line has one of unit, path and container: {}", line.message),
        };
        let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Fatal];
        let level = match line.level.as_deref() {
            None => Level::None,
            Some(text) => levels
                .into_iter()
                .find(|level| level.as_str() == Some(text))
                .with_context(|| format!("there is no level {text:?}"))?,
        };
        let over = line.over.as_deref().map_or(Ok(0), nanoseconds)?;
        let from = at(&line.at)?;
        let batch = &mut self.round(&line.node, collector, from)?.batch;
        let stream = batch.stream(stream);
        let flags = LineFlags { level, ..LineFlags::default() };
        for n in 0..i64::from(line.times) {
            let ts_ns = from + over / i64::from(line.times) * n;
            batch.log(stream, ts_ns, flags, line.message.as_bytes());
        }
        Ok(())
    }

    fn host_sample(&mut self, sample: &Sample) -> Result<()> {
        let ts_ns = at(&sample.at)?;
        let batch = &mut self.round(&sample.node, "host-samples", ts_ns)?.batch;
        let stream = batch.stream(Stream::host(&sample.family));
        batch.sample(stream, &HostSample { ts_ns, name: sample.name.clone(), value: sample.value });
        Ok(())
    }

    fn setting(&mut self, setting: &Setting) -> Result<()> {
        let collector = match setting.scope.as_str() {
            "dns.node" | "dns.localdns" | "dns.hosts" => "dns-node",
            "dns.pod" => "dns-pod",
            "dns.cluster" => "dns-cluster",
            "kubelet" => "kubelet-arguments",
            "provision" | "os" | "azure" => "provision",
            "sysctl" | "containerd" | "containerd.registry" | "service" | "aks" | "boot" => {
                "node-settings"
            }
            other => bail!("no collector reads scope {other:?}"),
        };
        self.round(&setting.node, collector, self.start)?.batch.setting(batch::Setting {
            scope: setting.scope.clone(),
            name: setting.name.clone(),
            value: Some(setting.value.clone()),
            source: setting.source.clone(),
        });
        Ok(())
    }

    fn object(&mut self, object: &Object) -> Result<()> {
        let json: serde_json::Value = serde_json::from_str(&object.json)
            .with_context(|| format!("object {}", object.json))?;
        let text = |path: &str| Some(json.pointer(path)?.as_str()?.to_owned());
        let has = |path: &str| {
            text(path).with_context(|| format!("object {} has no {path}", object.json))
        };
        let from = object.at.as_deref().map_or(Ok(self.start), at)?;
        self.round(&object.node, "kubernetes-objects", from)?.batch.object(batch::Object {
            api_version: text("/apiVersion").unwrap_or_else(|| "v1".to_owned()),
            kind: has("/kind")?,
            namespace: text("/metadata/namespace"),
            name: has("/metadata/name")?,
            uid: text("/metadata/uid"),
            json: object.json.clone(),
        });
        Ok(())
    }

    fn certificate(&mut self, seen: &Certificate) -> Result<()> {
        let (origin, collector) = match seen.verified {
            Some(_) => (CertificateOrigin::Server, "probe"),
            None => (CertificateOrigin::File, "certificates"),
        };
        let time = |text: &str| parse_rfc3339(text).with_context(|| format!("{text:?} is no time"));
        let round = self.round(&seen.node, collector, self.start)?;
        round.batch.certificate(batch::Certificate {
            origin,
            source: seen.source.clone(),
            position: 1,
            subject: seen.subject.clone(),
            issuer: "CN=ca".to_owned(),
            serial: "01".to_owned(),
            not_before_ns: time(&seen.not_before)?,
            not_after_ns: time(&seen.not_after)?,
            alternative_names: vec!["a.example".to_owned()],
            is_authority: false,
            public_key: "RSA 2048".to_owned(),
            fingerprint: "ab".to_owned(),
            verified: seen.verified,
            untrusted: seen.verification.clone(),
        });
        Ok(())
    }

    fn iptables(&mut self, seen: &Iptables) -> Result<()> {
        let batch = &mut self.round(&seen.node, "iptables", self.start)?.batch;
        for chain in &seen.chains {
            batch.iptables_chain(batch::IptablesChain {
                family: "ipv4",
                backend: "nf_tables",
                table: seen.table.clone(),
                chain: chain.clone(),
                ..batch::IptablesChain::default()
            });
        }
        for (position, rule) in (1..).zip(&seen.rules) {
            let words: Vec<_> = rule.split(' ').collect();
            let after = |flag: &str| {
                let at = words.iter().position(|word| *word == flag)?;
                words.get(at + 1).map(|word| (*word).to_owned())
            };
            batch.iptables_rule(batch::IptablesRule {
                family: "ipv4",
                backend: "nf_tables",
                table: seen.table.clone(),
                chain: after("-A").with_context(|| format!("rule {rule:?} has no -A"))?,
                position,
                destination: after("-d"),
                destination_port: after("--dport"),
                target: after("-j"),
                rule: rule.clone(),
                ..batch::IptablesRule::default()
            });
        }
        Ok(())
    }

    fn issue(&mut self, loss: &Loss) -> Result<()> {
        let kinds = [
            IssueKind::Absent,
            IssueKind::Excluded,
            IssueKind::Unreadable,
            IssueKind::Truncated,
            IssueKind::Dropped,
            IssueKind::Damaged,
        ];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == loss.kind);
        let kind = kind.with_context(|| format!("there is no issue of kind {:?}", loss.kind))?;
        let round = self.round(&loss.node, collector(&loss.collector)?, self.start)?;
        round.batch.issue(Issue {
            source: loss.source.clone(),
            kind,
            amount: loss.amount,
            unit: loss.amount.map(|_| "lines"),
            message: loss.message.clone(),
        });
        Ok(())
    }

    fn collection(&mut self, collection: &Collection) -> Result<()> {
        let round = self.round(&collection.node, collector(&collection.collector)?, self.start)?;
        round.outcome = outcome(&collection.outcome)?;
        round.message.clone_from(&collection.message);
        Ok(())
    }
}

/// Name of a collector that there is.
fn collector(name: &str) -> Result<&'static str> {
    let known = COLLECTORS.into_iter().find(|known| *known == name);
    known.with_context(|| format!("nothing is collected by {name:?}"))
}

/// Outcome of its text.
pub(super) fn outcome(text: &str) -> Result<Outcome> {
    let all = [Outcome::Complete, Outcome::Partial, Outcome::Absent, Outcome::Failed];
    let known = all.into_iter().find(|outcome| outcome.as_str() == text);
    known.with_context(|| format!("no collector comes to outcome {text:?}"))
}

/// Nanoseconds of `12:00:10` on the day of [`START`].
fn at(time: &str) -> Result<i64> {
    let (day, _) = START.split_once('T').unwrap_or_default();
    let ns = parse_rfc3339(&format!("{day}T{time}Z"));
    ns.with_context(|| format!("{time:?} is no time of the day\nhint: at = \"12:00:10\""))
}

/// Nanoseconds of `10s`, `1.5s` or `-3600s`.
fn nanoseconds(text: &str) -> Result<i64> {
    let seconds: Option<f64> = text.strip_suffix('s').and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| seconds.abs() < 1e9);
    let seconds = seconds.with_context(|| format!("{text:?} is no time in seconds, as 10s is"))?;
    Ok((seconds * SECOND as f64) as i64)
}
