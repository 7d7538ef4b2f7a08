//! Which lines are meant, and how a bundle is asked for them.
//!
//! What narrows lines reaches table `log`: time, text, level, and what all chosen
//! streams have in common. A question is asked in branches that each come ordered by
//! time without a sort: SQLite would hold or spill all lines before the first.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use globset::{Glob, GlobMatcher};
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use serde_json::Value;

use super::merge::{self, Branch, Line};

/// Streams that are asked for one by one; of more, what they have in common is.
const MOST_ALONE: usize = 4;

/// Which lines are shown. `*` and `?` stand for any letters and any letter.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Show containers of this namespace; * stands for any letters, here and below
    #[arg(long, short = 'n', value_name = "NAME", value_delimiter = ',')]
    pub(super) namespace: Vec<String>,
    /// Show containers of this pod
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    pub(super) pod: Vec<String>,
    /// Show containers of this name
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    pub(super) container: Vec<String>,
    /// Show the journal of this unit; .service may be left out
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    pub(super) unit: Vec<String>,
    /// Show this file of the node
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub(super) path: Vec<String>,
    /// Show lines of this node
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) node: Vec<String>,
    /// Show lines of this level or worse
    #[arg(long, short, value_enum)]
    pub(super) level: Option<Level>,
}

/// Level of a line, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
}

impl Level {
    const ALL: [(&'static str, Self); 5] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("fatal", Self::Fatal),
    ];

    /// The level that table `log` calls so.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }

    /// Names of this level and of those that are worse.
    fn and_worse(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(_, level)| *level >= self).map(|(name, _)| name)
    }
}

/// Times from the first to the last nanosecond, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ns: i64,
    pub(super) until_ns: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self { from_ns: i64::MIN, until_ns: i64::MAX }
    }
}

impl Span {
    pub(super) fn within(self, other: Self) -> Self {
        Self {
            from_ns: self.from_ns.max(other.from_ns),
            until_ns: self.until_ns.min(other.until_ns),
        }
    }
}

/// A stream as columns of table `log` tell it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    id: i64,
    columns: BTreeMap<&'static str, String>,
}

/// The streams that are meant.
#[derive(Debug)]
pub(super) struct Streams {
    chosen: Vec<Stream>,
    /// Whether they are all there are.
    all: bool,
}

/// Finds the streams that are meant.
///
/// # Errors
///
/// If there are none, which is a slip of the pen more often than not.
pub(super) fn streams(connection: &Connection, choice: &Choice) -> Result<Streams> {
    let known = known(connection).context("reading which streams there are")?;
    let unit = |pattern: &String| {
        if pattern.contains('.') || pattern == "kernel" {
            pattern.clone()
        } else {
            format!("{{{pattern},{pattern}.service}}")
        }
    };
    let units: Vec<String> = choice.unit.iter().map(unit).collect();
    let mut conditions = Vec::new();
    for (column, patterns) in [
        ("namespace", &choice.namespace),
        ("pod", &choice.pod),
        ("container", &choice.container),
        ("unit", &units),
        ("path", &choice.path),
        ("node", &choice.node),
    ] {
        if !patterns.is_empty() {
            let globs = patterns.iter().map(|pattern| glob(pattern));
            conditions.push((column, globs.collect::<Result<Vec<_>>>()?));
        }
    }
    // Pods and units exclude each other: who names both wants either.
    let (of_nodes, of_streams): (Vec<_>, Vec<_>) =
        conditions.iter().partition(|(column, _)| *column == "node");
    let holds = |stream: &Stream, (column, globs): &&(&'static str, Vec<GlobMatcher>)| {
        stream.columns.get(column).is_some_and(|text| globs.iter().any(|g| g.is_match(text)))
    };
    let groups = [&["namespace", "pod", "container"][..], &["unit"], &["path"]];
    let is_meant = |stream: &Stream| {
        of_nodes.iter().all(|condition| holds(stream, condition))
            && (of_streams.is_empty()
                || groups.iter().any(|group| {
                    let mut ours =
                        of_streams.iter().filter(|(column, _)| group.contains(column)).peekable();
                    ours.peek().is_some() && ours.all(|condition| holds(stream, condition))
                }))
    };
    let count = known.len();
    let chosen: Vec<_> = known.into_iter().filter(is_meant).collect();
    ensure!(
        !chosen.is_empty() || conditions.is_empty(),
        "no log of the bundle is of these\n\
         hint: query BUNDLE \"SELECT node, source, name, lines FROM log_volume\" lists all logs"
    );
    Ok(Streams { all: chosen.len() == count, chosen })
}

fn glob(pattern: &str) -> Result<GlobMatcher> {
    let glob = Glob::new(pattern).with_context(|| format!("{pattern:?} is no pattern"))?;
    Ok(glob.compile_matcher())
}

fn known(connection: &Connection) -> rusqlite::Result<Vec<Stream>> {
    connection
        .prepare(
            "SELECT DISTINCT raw_stream.id, raw_node.name, raw_stream.kind, raw_stream.attributes
             FROM raw_stream JOIN raw_node ON raw_node.id = raw_stream.node_id
             WHERE raw_stream.kind IN ('container', 'unit', 'file') ORDER BY raw_stream.id",
        )?
        .query_map([], |row| {
            let attributes: String = row.get(3)?;
            let attributes: Value = serde_json::from_str(&attributes).unwrap_or_default();
            let names = ["namespace", "pod", "container", "unit", "path"];
            let mut columns: BTreeMap<&'static str, String> = names
                .into_iter()
                .filter_map(|name| Some((name, attributes[name].as_str()?.to_owned())))
                .collect();
            columns.insert("node", row.get(1)?);
            columns.insert("source", row.get(2)?);
            Ok(Stream { id: row.get(0)?, columns })
        })?
        .collect()
}

/// What is asked of a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) streams: &'a Streams,
    pub(super) level: Option<Level>,
    pub(super) pattern: Option<&'a str>,
    pub(super) span: Span,
}

/// Where the last lines begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) span: Span,
    /// Lines at the beginning that are too many.
    pub(super) skip: u64,
}

impl Question<'_> {
    pub(super) fn within(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// Hands every line that is asked for to `each`, by time.
    pub(super) fn each(
        self,
        connection: &Connection,
        each: impl FnMut(&Line) -> Result<()>,
    ) -> Result<()> {
        let branches = self.branches(self.level, self.pattern, "ASC");
        merge::each(connection, &branches, self.stream_ids().as_ref(), each)
    }

    /// Every line of the streams, and whether it is one that is asked for.
    pub(super) fn each_with_verdict(
        self,
        connection: &Connection,
        mut each: impl FnMut(&Line, bool) -> Result<()>,
    ) -> Result<()> {
        let mut branches = self.branches(None, None, "ASC");
        if let Some(pattern) = self.pattern {
            for branch in &mut branches {
                // Columns stand before conditions, and so do their values.
                branch.verdict = Some(pattern.to_owned());
            }
        }
        merge::each(connection, &branches, self.stream_ids().as_ref(), |line| {
            let is_bad = self.level.is_none_or(|least| line.level() >= Some(least));
            each(line, is_bad && line.verdict)
        })
    }

    /// Where the last `count` lines begin, `None` if there are none.
    pub(super) fn tail(self, connection: &Connection, count: u64) -> Result<Option<Tail>> {
        let ids = self.stream_ids();
        let branches = self.branches(self.level, self.pattern, "DESC");
        let (mut taken, mut first_ns, mut alike) = (0, 0, 0);
        merge::each_time(connection, &branches, ids.as_ref(), true, |ts_ns| {
            if taken == count {
                // Of lines of one time, those that come last are wanted.
                if ts_ns == first_ns {
                    alike += 1;
                }
                return Ok(taken > 0 && ts_ns == first_ns);
            }
            taken += 1;
            first_ns = ts_ns;
            Ok(true)
        })?;
        let span = Span { from_ns: first_ns, ..self.span };
        Ok((taken > 0).then_some(Tail { span, skip: alike }))
    }

    fn stream_ids(&self) -> Option<HashSet<i64>> {
        (!self.streams.all).then(|| self.streams.chosen.iter().map(|stream| stream.id).collect())
    }

    /// The questions in SQL whose answers, merged by time, hold all lines.
    fn branches(
        self,
        level: Option<Level>,
        pattern: Option<&str>,
        direction: &'static str,
    ) -> Vec<Branch> {
        let mut common = Branch::new(direction);
        if self.span.from_ns > i64::MIN {
            common.add("ts_ns >=", SqlValue::Integer(self.span.from_ns));
        }
        if self.span.until_ns < i64::MAX {
            common.add("ts_ns <=", SqlValue::Integer(self.span.until_ns));
        }
        if let Some(pattern) = pattern {
            common.add("message REGEXP", SqlValue::Text(pattern.to_owned()));
        }
        let chosen = &self.streams.chosen;
        let by_stream = if self.streams.all {
            vec![common]
        } else if chosen.len() <= MOST_ALONE {
            let alone = |stream: &Stream| common.and("stream_id =", SqlValue::Integer(stream.id));
            chosen.iter().map(alone).collect()
        } else {
            for (column, value) in shared(chosen) {
                common.add(&format!("{column} ="), SqlValue::Text(value));
            }
            vec![common]
        };
        match level {
            None => by_stream,
            Some(level) => level
                .and_worse()
                .flat_map(|name| {
                    by_stream
                        .iter()
                        .map(move |branch| branch.and("level =", SqlValue::Text(name.to_owned())))
                })
                .collect(),
        }
    }
}

/// What all streams have in common.
fn shared(streams: &[Stream]) -> BTreeMap<&'static str, String> {
    let Some((first, rest)) = streams.split_first() else { return BTreeMap::new() };
    let is_shared = |column: &&'static str, value: &String| {
        rest.iter().all(|stream| stream.columns.get(column) == Some(value))
    };
    first
        .columns
        .iter()
        .filter(|(column, value)| is_shared(column, value))
        .map(|(column, value)| (*column, value.clone()))
        .collect()
}
