//! What happened when, for formats that draw: [`read`] asks the views, each question
//! within a deadline, and bounds what it keeps. What it does not tell of is counted in
//! [`History::untold`].

pub(crate) mod latency;
pub(crate) mod spans;

mod marks;
mod targets;

pub(crate) use targets::{Share, TargetHistory};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection, ErrorCode};

use self::spans::Span;
use super::filter::Narrowed;
use super::model::Report;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// Rows that one question may give.
const MAX_ROWS: usize = 200_000;

/// How far before the sessions a chart reaches back to what logs tell: a week.
const MAX_BACK_NS: i64 = 7 * 86_400 * 1_000_000_000;

/// Different sets of name servers that are told.
const MAX_SETS: usize = 50;

/// What happened when.
#[derive(Debug)]
pub(crate) struct History {
    /// The time that is told of.
    pub(crate) time: Span,
    /// Each node of the report, in its order.
    pub(crate) nodes: Vec<NodeHistory>,
    /// Each target, by name.
    pub(crate) targets: Vec<TargetHistory>,
    /// Name servers, what most nodes have first.
    pub(crate) resolvers: Vec<Resolvers>,
    /// What was masked, the most frequent first.
    pub(crate) redactions: Vec<Masked>,
    /// What is not told of: a sentence each.
    pub(crate) untold: Vec<String>,
}

/// What happened on a node.
#[derive(Debug, Default)]
pub(crate) struct NodeHistory {
    /// Its name.
    pub(crate) node: String,
    /// When some probe told something.
    pub(crate) probed: Vec<Span>,
    /// When its logs were followed, or read afterwards.
    pub(crate) watched: Vec<Span>,
    /// What happened, by time.
    pub(crate) marks: Vec<Mark>,
}

/// Something that happened on a node.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// What.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) span: Span,
    /// What it happened to: marks of one kind and subject that nearly touch are one.
    pub(crate) subject: String,
    /// One sentence.
    pub(crate) text: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A target did not answer.
    Outage,
    /// A condition of the node was bad.
    Condition,
    /// Maintenance was announced.
    Maintenance,
    /// A service ended unplanned and started again, or did not.
    Crash,
    /// Somebody restarted a service.
    Restart,
    /// The node started.
    Boot,
    /// The kernel killed a process for want of memory.
    OomKill,
}

/// Name servers by layer, alike on some nodes.
#[derive(Debug)]
pub(crate) struct Resolvers {
    /// Names of these nodes.
    pub(crate) nodes: Vec<String>,
    /// Name of each layer, and its servers in order.
    pub(crate) layers: Vec<(String, Vec<String>)>,
}

/// What one rule masked in what one collector read.
#[derive(Debug)]
pub(crate) struct Masked {
    /// Name of the rule.
    pub(crate) rule: String,
    /// Name of the collector.
    pub(crate) collector: String,
    /// How many secrets.
    pub(crate) amount: i64,
    /// On how many nodes.
    pub(crate) nodes: usize,
    /// One of the places.
    pub(crate) source: String,
}

/// Questions that are asked within a deadline.
struct Asking<'a> {
    connection: &'a mut Connection,
    deadline: Duration,
    untold: Vec<String>,
}

impl Asking<'_> {
    /// Asks; nothing if it took too long, which is noted.
    fn ask<T: Default>(
        &mut self,
        what: &str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let end = Instant::now() + self.deadline;
        self.connection
            .progress_handler(STEPS_BETWEEN_CHECKS, Some(move || Instant::now() >= end))?;
        let answer = question(self.connection);
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        match answer {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                let seconds = self.deadline.as_secs();
                self.untold.push(format!("{what} took longer than {seconds} s and is not shown"));
                Ok(T::default())
            }
            other => other.with_context(|| format!("reading {what}")),
        }
    }

    /// All rows of a question, as many as are kept.
    fn rows<T>(
        &mut self,
        what: &str,
        sql: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let rows: Vec<T> = self.ask(what, |connection| {
            let mut statement = connection.prepare(sql)?;
            statement.query_map([], read)?.take(MAX_ROWS + 1).collect()
        })?;
        let mut rows = rows;
        if rows.len() > MAX_ROWS {
            rows.truncate(MAX_ROWS);
            self.untold.push(format!("of {what}, only the first {MAX_ROWS} are shown"));
        }
        Ok(rows)
    }
}

/// Reads what happened to the nodes of a report, in the time that it is narrowed to.
///
/// # Errors
///
/// If the bundle cannot be read. A question that takes longer than the deadline is
/// noted.
pub(super) fn read(
    connection: &mut Connection,
    report: &Report,
    deadline: Duration,
) -> Result<History> {
    let mut asking = Asking { connection, deadline, untold: Vec::new() };
    let sessions = asking.rows(
        "sessions of agents",
        "SELECT raw_node.name, started_ns, ended_ns
         FROM raw_session JOIN raw_node ON raw_node.id = raw_session.node_id",
        |row| Ok((row.get::<_, String>(0)?, Span::new(row.get(1)?, row.get(2)?))),
    )?;
    let logs = asking.rows(
        "the first log lines",
        "SELECT raw_node.name, min(first_ns)
         FROM raw_chunk_run
         JOIN raw_stream ON raw_stream.id = raw_chunk_run.stream_id
         JOIN raw_node ON raw_node.id = raw_stream.node_id
         WHERE raw_stream.kind = 'unit' AND raw_chunk_run.batch_id IS NOT NULL
         GROUP BY raw_node.name",
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let mut marks = marks::read(&mut asking)?;
    marks.retain(|(node, _)| report.nodes.binary_search(node).is_ok());
    let time = time(&sessions, &marks, report.narrowed.as_ref());
    let probed = probed(&mut asking, report)?;
    let targets = targets::read(&mut asking, report, time, &probed, &marks)?;
    let watched = watched(&sessions, &logs);
    let nodes = marks::by_node(&mut asking.untold, report, time, marks)
        .into_iter()
        .map(|(node, marks)| {
            let of_node = |((name, _), spans): (&(String, String), &Vec<Span>)| {
                (*name == node).then(|| spans.clone())
            };
            let first = (node.clone(), String::new());
            let spans: Vec<Span> = probed
                .range(first..)
                .take_while(|((name, _), _)| *name == node)
                .filter_map(of_node)
                .flatten()
                .collect();
            NodeHistory {
                probed: clipped(&spans::union(spans), time),
                watched: clipped(watched.get(&node).map_or(&[][..], Vec::as_slice), time),
                marks,
                node,
            }
        })
        .collect();
    let resolvers = resolvers(&mut asking, report)?;
    let redactions = redactions(&mut asking, report)?;
    Ok(History { time, nodes, targets, resolvers, redactions, untold: asking.untold })
}

/// From the first session, or from what logs tell before it, to the last one's end;
/// unless the report is narrowed.
fn time(
    sessions: &[(String, Span)],
    marks: &[(String, Mark)],
    narrowed: Option<&Narrowed>,
) -> Span {
    let first = sessions.iter().map(|(_, span)| span.from_ns).min().unwrap_or(0);
    let last = sessions.iter().map(|(_, span)| span.until_ns).max().unwrap_or(0);
    let told = marks
        .iter()
        .filter(|(_, mark)| mark.kind != Kind::Condition)
        .map(|(_, mark)| mark.span.from_ns)
        .min()
        .unwrap_or(first)
        .max(last.saturating_sub(MAX_BACK_NS));
    let (since, until) = narrowed.map_or((None, None), |narrowed| narrowed.window_ns);
    let from_ns = since.unwrap_or(first.min(told));
    Span::new(from_ns, until.unwrap_or(last).max(from_ns.saturating_add(1_000_000_000)))
}

/// When probes told something, by node and target.
fn probed(
    asking: &mut Asking<'_>,
    report: &Report,
) -> Result<BTreeMap<(String, String), Vec<Span>>> {
    type Row = ((String, String), Span);
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Row> {
        Ok(((row.get(0)?, row.get(1)?), Span::new(row.get(2)?, row.get(3)?)))
    };
    let all = asking.rows(
        "times of probes",
        "SELECT node, target, min(ts_ns), max(last_ns + last_duration_us * 1000)
         FROM probe_stretch WHERE outcome <> 'skipped' GROUP BY node, target",
        row,
    )?;
    let gaps = asking.rows(
        "gaps between probes",
        "SELECT node, target, ts_ns, ts_ns + CAST(seconds * 1e9 AS INT) FROM probe_gap",
        row,
    )?;
    let mut holes: BTreeMap<(String, String), Vec<Span>> = BTreeMap::new();
    for (key, gap) in gaps {
        holes.entry(key).or_default().push(gap);
    }
    let known = all
        .into_iter()
        .filter(|((node, _), _)| report.nodes.binary_search(node).is_ok())
        .map(|(key, span)| {
            let holes = holes.remove(&key).map(spans::union).unwrap_or_default();
            (key, spans::without(span, &holes))
        });
    Ok(known.collect())
}

/// When logs of nodes were followed: in sessions, and before the first one as far as
/// the logs go back.
fn watched(sessions: &[(String, Span)], logs: &[(String, i64)]) -> BTreeMap<String, Vec<Span>> {
    let mut all: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for (node, span) in sessions {
        all.entry(node.clone()).or_default().push(*span);
    }
    for (node, first_ns) in logs {
        if let Some(spans) = all.get_mut(node)
            && let Some(session) = spans.iter().map(|span| span.from_ns).min()
        {
            spans.push(Span::new((*first_ns).min(session), session));
        }
    }
    all.into_iter().map(|(node, spans)| (node, spans::union(spans))).collect()
}

fn clipped(spans: &[Span], time: Span) -> Vec<Span> {
    spans.iter().filter_map(|span| span.within(time)).collect()
}

fn resolvers(asking: &mut Asking<'_>, report: &Report) -> Result<Vec<Resolvers>> {
    let rows = asking.rows(
        "name servers",
        "SELECT node, layer, value FROM resolver ORDER BY node, layer, source, ord",
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)),
    )?;
    let mut by_node: BTreeMap<String, Vec<(String, Vec<String>)>> = BTreeMap::new();
    for (node, layer, server) in rows {
        let layers = by_node.entry(node).or_default();
        if layers.last().is_none_or(|(last, _)| *last != layer) {
            layers.push((layer, Vec::new()));
        }
        if let Some((_, servers)) = layers.last_mut()
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    let mut sets: BTreeMap<Vec<(String, Vec<String>)>, Vec<String>> = BTreeMap::new();
    for node in &report.nodes {
        let layers = by_node.remove(node).unwrap_or_default();
        sets.entry(layers).or_default().push(node.clone());
    }
    let mut all: Vec<Resolvers> =
        sets.into_iter().map(|(layers, nodes)| Resolvers { nodes, layers }).collect();
    all.sort_by_key(|set| std::cmp::Reverse(set.nodes.len()));
    if all.len() > MAX_SETS {
        let more = all.len() - MAX_SETS;
        asking.untold.push(format!("{more} more sets of name servers are not shown"));
        all.truncate(MAX_SETS);
    }
    Ok(all)
}

fn redactions(asking: &mut Asking<'_>, report: &Report) -> Result<Vec<Masked>> {
    let rows = asking.rows(
        "what was masked",
        "SELECT node, rule, collector, CAST(sum(1.0 * amount) AS INT), min(source)
         FROM redaction GROUP BY node, rule, collector",
        |row| {
            let key = (row.get::<_, String>(1)?, row.get::<_, String>(2)?);
            Ok((row.get::<_, String>(0)?, key, row.get::<_, i64>(3)?, row.get::<_, String>(4)?))
        },
    )?;
    let mut all: BTreeMap<(String, String), Masked> = BTreeMap::new();
    for (node, key, amount, source) in rows {
        if report.nodes.binary_search(&node).is_err() {
            continue;
        }
        let (rule, collector) = key.clone();
        let masked =
            all.entry(key).or_insert(Masked { rule, collector, amount: 0, nodes: 0, source });
        masked.amount = masked.amount.saturating_add(amount);
        masked.nodes += 1;
    }
    let mut all: Vec<Masked> = all.into_values().collect();
    all.sort_by_key(|masked| std::cmp::Reverse(masked.amount));
    Ok(all)
}
