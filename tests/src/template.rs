//! What one recorded node file holds, to be written again for other nodes and times.

use std::path::Path;

use anyhow::{Context, Result, bail};
use periscope_store::batch::{
    Certificate, CertificateOrigin, IptablesChain, IptablesRule, Issue, IssueKind, Level,
    LineFlags, Object, Outcome, Setting, Stream, StreamKind,
};
use periscope_store::bundle::Bundle;
use rusqlite::{Connection, Row};

/// A node file, in memory.
#[derive(Debug)]
pub struct Template {
    /// Name of the node.
    pub node: String,
    /// Host name of the API server.
    pub cluster: Option<String>,
    /// JSON of the agent's configuration.
    pub config: String,
    /// When the newest batch ended, nanoseconds since 1970.
    pub ended_ns: i64,
    /// Last poll of each collector that gives no chunks.
    pub snapshots: Vec<Snapshot>,
    /// All log lines, by time.
    pub lines: Vec<Line>,
    /// Values of the last poll of the host.
    pub host: Vec<Value>,
}

/// A poll that gives the same each time, but for its time.
#[derive(Debug)]
pub struct Snapshot {
    /// Name of the collector.
    pub collector: String,
    /// How it went.
    pub outcome: Outcome,
    /// Why it is absent or failed.
    pub message: Option<String>,
    /// What is missing.
    pub issues: Vec<Issue>,
    /// Settings.
    pub settings: Vec<Setting>,
    /// Chains of iptables.
    pub chains: Vec<IptablesChain>,
    /// Rules of iptables.
    pub rules: Vec<IptablesRule>,
    /// Kubernetes objects.
    pub objects: Vec<Object>,
    /// Certificates.
    pub certificates: Vec<Certificate>,
}

/// A log line.
#[derive(Debug)]
pub struct Line {
    /// Collector that read it.
    pub collector: String,
    /// Where it was read.
    pub stream: Stream,
    /// Its time, nanoseconds since 1970.
    pub ts_ns: i64,
    /// What else is known of it.
    pub flags: LineFlags,
    /// Its text.
    pub message: Vec<u8>,
}

/// A value of the host.
#[derive(Debug)]
pub struct Value {
    /// Family of counters.
    pub family: String,
    /// Name with its unit.
    pub name: String,
    /// The value.
    pub value: f64,
}

impl Template {
    /// Reads a file of one node.
    ///
    /// # Errors
    ///
    /// If it is none, or holds what no agent writes.
    pub fn read(path: &Path) -> Result<Self> {
        let bundle = Bundle::open(&[path.to_owned()])?;
        let connection = bundle.connection();
        let (node, cluster, config, ended_ns) = connection
            .query_row(
                "SELECT node.name, session.cluster, session.config, max(session.ended_ns)
                 FROM raw_session AS session JOIN raw_node AS node ON node.id = session.node_id",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .with_context(|| format!("{} holds no session", path.display()))?;
        Ok(Self {
            node,
            cluster,
            config,
            ended_ns,
            snapshots: snapshots(connection)?,
            lines: lines(connection)?,
            host: host(connection)?,
        })
    }
}

/// Rows of a query, each turned into a value.
fn all<T>(
    connection: &Connection,
    sql: &str,
    batch: Option<i64>,
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(batch))?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(row)?);
    }
    Ok(values)
}

/// Last polls. Their batches go into one, as they are small.
fn snapshots(connection: &Connection) -> Result<Vec<Snapshot>> {
    let batches = all(
        connection,
        "SELECT id, collector, outcome, message FROM raw_batch
         WHERE collector NOT IN ('probe', 'host-samples', 'agent')
             AND collector NOT LIKE '%-logs'
         ORDER BY collector, started_ns",
        None,
        |row| {
            let (id, outcome): (i64, String) = (row.get(0)?, row.get(2)?);
            Ok((id, row.get::<_, String>(1)?, outcome_of(&outcome)?, row.get(3)?))
        },
    )?;
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for (id, collector, outcome, message) in batches {
        let mut snapshot = read_snapshot(connection, id, collector, outcome, message)?;
        match snapshots.iter_mut().find(|known| known.collector == snapshot.collector) {
            None => snapshots.push(snapshot),
            Some(known) => {
                known.issues.append(&mut snapshot.issues);
                known.settings.append(&mut snapshot.settings);
                known.chains.append(&mut snapshot.chains);
                known.rules.append(&mut snapshot.rules);
                known.objects.append(&mut snapshot.objects);
                known.certificates.append(&mut snapshot.certificates);
            }
        }
    }
    Ok(snapshots)
}

fn read_snapshot(
    connection: &Connection,
    id: i64,
    collector: String,
    outcome: Outcome,
    message: Option<String>,
) -> Result<Snapshot> {
    let of = |table: &str| format!("SELECT * FROM {table} WHERE batch_id = ? ORDER BY ord");
    let id = Some(id);
    Ok(Snapshot {
        collector,
        outcome,
        message,
        issues: all(connection, &of("raw_issue"), id, issue)?,
        settings: all(connection, &of("raw_setting"), id, |row| {
            Ok(Setting {
                scope: row.get("scope")?,
                name: row.get("name")?,
                value: row.get("value")?,
                source: row.get("source")?,
            })
        })?,
        chains: all(connection, &of("raw_iptables_chain"), id, chain)?,
        rules: all(connection, &of("raw_iptables_rule"), id, rule)?,
        objects: all(connection, &of("raw_object"), id, |row| {
            Ok(Object {
                api_version: row.get("api_version")?,
                kind: row.get("kind")?,
                namespace: row.get("namespace")?,
                name: row.get("name")?,
                uid: row.get("uid")?,
                json: row.get("json")?,
            })
        })?,
        certificates: all(connection, &of("raw_certificate"), id, certificate)?,
    })
}

fn issue(row: &Row<'_>) -> Result<Issue> {
    let kinds = [
        IssueKind::Absent,
        IssueKind::Unreadable,
        IssueKind::Excluded,
        IssueKind::Truncated,
        IssueKind::Dropped,
        IssueKind::Damaged,
    ];
    let kind: String = row.get("kind")?;
    let unit: Option<String> = row.get("unit")?;
    Ok(Issue {
        source: row.get("source")?,
        kind: kinds.into_iter().find(|known| known.as_str() == kind).context("a new issue")?,
        amount: amount(row, "amount")?,
        unit: unit.map(|unit| known(&unit, &["bytes", "lines", "rules", "entries", "objects"])),
        message: row.get("message")?,
    })
}

fn chain(row: &Row<'_>) -> Result<IptablesChain> {
    Ok(IptablesChain {
        family: known(&row.get::<_, String>("family")?, &["ipv4", "ipv6"]),
        backend: known(&row.get::<_, String>("backend")?, &["nf_tables", "legacy"]),
        table: row.get("table_name")?,
        chain: row.get("chain")?,
        policy: row.get("policy")?,
        packets: amount(row, "packets")?,
        bytes: amount(row, "bytes")?,
    })
}

fn rule(row: &Row<'_>) -> Result<IptablesRule> {
    Ok(IptablesRule {
        family: known(&row.get::<_, String>("family")?, &["ipv4", "ipv6"]),
        backend: known(&row.get::<_, String>("backend")?, &["nf_tables", "legacy"]),
        table: row.get("table_name")?,
        chain: row.get("chain")?,
        position: row.get("position")?,
        packets: amount(row, "packets")?,
        bytes: amount(row, "bytes")?,
        source: row.get("source")?,
        destination: row.get("destination")?,
        protocol: row.get("protocol")?,
        in_interface: row.get("in_interface")?,
        out_interface: row.get("out_interface")?,
        destination_port: row.get("destination_port")?,
        target: row.get("target")?,
        comment: row.get("comment")?,
        rule: row.get("rule")?,
    })
}

fn certificate(row: &Row<'_>) -> Result<Certificate> {
    let origin: String = row.get("origin")?;
    let names: String = row.get("alternative_names")?;
    Ok(Certificate {
        origin: if origin == "file" { CertificateOrigin::File } else { CertificateOrigin::Server },
        source: row.get("source")?,
        position: row.get("position")?,
        subject: row.get("subject")?,
        issuer: row.get("issuer")?,
        serial: row.get("serial")?,
        not_before_ns: row.get("not_before_ns")?,
        not_after_ns: row.get("not_after_ns")?,
        alternative_names: serde_json::from_str(&names).context("names of a certificate")?,
        is_authority: row.get("is_authority")?,
        public_key: row.get("public_key")?,
        fingerprint: row.get("fingerprint")?,
        verified: row.get("verified")?,
        untrusted: row.get("verification")?,
    })
}

fn lines(connection: &Connection) -> Result<Vec<Line>> {
    let sql = "SELECT batch.collector, stream.kind, stream.name, stream.attributes, log.ts_ns,
            log.output IS 'stderr', log.partial, log.inferred_time, log.level, log.message
        FROM log
        JOIN raw_batch AS batch ON batch.id = log.batch_id
        JOIN raw_stream AS stream ON stream.id = log.stream_id
        ORDER BY log.ts_ns, log.stream_id";
    all(connection, sql, None, |row| {
        let kind: String = row.get(1)?;
        let level: Option<String> = row.get(8)?;
        let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Fatal];
        let level = levels.into_iter().find(|known| known.as_str() == level.as_deref());
        Ok(Line {
            collector: row.get(0)?,
            stream: Stream {
                kind: StreamKind::parse(&kind).context("a new kind of stream")?,
                name: row.get(2)?,
                attributes: row.get(3)?,
            },
            ts_ns: row.get(4)?,
            flags: LineFlags {
                stderr: row.get(5)?,
                partial: row.get(6)?,
                inferred_time: row.get(7)?,
                level: level.unwrap_or_default(),
            },
            message: row.get_ref(9)?.as_bytes()?.to_vec(),
        })
    })
}

fn host(connection: &Connection) -> Result<Vec<Value>> {
    let sql = "SELECT family, name, value FROM sample
        WHERE batch_id = (
            SELECT id FROM raw_batch WHERE collector = 'host-samples'
            ORDER BY started_ns DESC LIMIT 1
        )";
    all(connection, sql, None, |row| {
        Ok(Value { family: row.get(0)?, name: row.get(1)?, value: row.get(2)? })
    })
}

/// A count that is never negative.
fn amount(row: &Row<'_>, column: &str) -> Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|amount| u64::try_from(amount).ok()))
}

fn outcome_of(text: &str) -> Result<Outcome> {
    let all = [Outcome::Complete, Outcome::Partial, Outcome::Absent, Outcome::Failed];
    match all.into_iter().find(|outcome| outcome.as_str() == text) {
        Some(outcome) => Ok(outcome),
        None => bail!("a batch has the outcome {text}"),
    }
}

/// One of the words that an agent writes there, else `unknown`.
fn known(text: &str, words: &[&'static str]) -> &'static str {
    words.iter().find(|word| **word == text).copied().unwrap_or("unknown")
}
