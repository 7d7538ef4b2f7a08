//! Answers of several questions as one, by time.

use std::collections::HashSet;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, Row, Rows, params_from_iter};

use super::select::Level;

/// Columns of table `log` that a line has.
const COLUMNS: &str = "ts_ns, stream_id, ts, node, source, namespace, pod, container, restart, \
                       unit, path, output, level, message, partial, inferred_time";

/// One question in SQL, its lines ordered by time without a sort.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    conditions: Vec<String>,
    values: Vec<SqlValue>,
    direction: &'static str,
    /// A regular expression that column `verdict` tells of.
    pub(super) verdict: Option<String>,
}

impl Branch {
    pub(super) fn new(direction: &'static str) -> Self {
        Self { conditions: Vec::new(), values: Vec::new(), direction, verdict: None }
    }

    /// Adds a condition: what stands before its value.
    pub(super) fn add(&mut self, condition: &str, value: SqlValue) {
        self.conditions.push(format!("{condition} ?"));
        self.values.push(value);
    }

    /// The same of a copy.
    pub(super) fn and(&self, condition: &str, value: SqlValue) -> Self {
        let mut branch = self.clone();
        branch.add(condition, value);
        branch
    }

    /// The statement for these columns. `LIMIT` has table `log` give its rows in
    /// order, chunk by chunk; without it, SQLite sorts them all.
    fn sql(&self, columns: &str) -> String {
        let mut sql = format!("SELECT {columns}");
        if self.verdict.is_some() {
            sql.push_str(", message REGEXP ? AS verdict");
        }
        sql.push_str(" FROM log");
        for (at, condition) in self.conditions.iter().enumerate() {
            let word = if at == 0 { "WHERE" } else { "AND" };
            let _ = write!(sql, " {word} {condition}");
        }
        let _ = write!(sql, " ORDER BY ts_ns {} LIMIT {}", self.direction, i64::MAX);
        sql
    }

    fn values(&self) -> impl Iterator<Item = SqlValue> {
        self.verdict.clone().map(SqlValue::Text).into_iter().chain(self.values.iter().cloned())
    }
}

/// A line of a log, as it is in a bundle.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) ts_ns: i64,
    pub(super) stream_id: i64,
    pub(super) ts: String,
    pub(super) node: Option<String>,
    pub(super) source: String,
    pub(super) namespace: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) container: Option<String>,
    pub(super) restart: Option<i64>,
    pub(super) unit: Option<String>,
    pub(super) path: Option<String>,
    pub(super) output: Option<String>,
    pub(super) level: Option<String>,
    pub(super) message: Vec<u8>,
    pub(super) partial: bool,
    pub(super) inferred_time: bool,
    /// Whether it matches the branch's regular expression; true if it has none.
    pub(super) verdict: bool,
}

impl Line {
    pub(super) fn level(&self) -> Option<Level> {
        Level::parse(self.level.as_deref()?)
    }

    fn read(row: &Row<'_>, has_verdict: bool) -> rusqlite::Result<Self> {
        Ok(Self {
            ts_ns: row.get(0)?,
            stream_id: row.get(1)?,
            ts: row.get(2)?,
            node: row.get(3)?,
            source: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            namespace: row.get(5)?,
            pod: row.get(6)?,
            container: row.get(7)?,
            restart: row.get(8)?,
            unit: row.get(9)?,
            path: row.get(10)?,
            output: row.get(11)?,
            level: row.get(12)?,
            message: match row.get_ref(13)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                _ => Vec::new(),
            },
            partial: row.get::<_, Option<bool>>(14)?.unwrap_or_default(),
            inferred_time: row.get::<_, Option<bool>>(15)?.unwrap_or_default(),
            verdict: !has_verdict || row.get::<_, Option<bool>>(16)?.unwrap_or_default(),
        })
    }
}

/// Hands each line of the branches to `each`, by time, those of one time as the
/// branches stand. Of streams that are not in `streams` nothing is shown.
pub(super) fn each(
    connection: &Connection,
    branches: &[Branch],
    streams: Option<&HashSet<i64>>,
    mut each: impl FnMut(&Line) -> Result<()>,
) -> Result<()> {
    let read = |row: &Row<'_>, branch: &Branch| {
        let stream: i64 = row.get(1)?;
        if streams.is_some_and(|streams| !streams.contains(&stream)) {
            return Ok(None);
        }
        let line = Line::read(row, branch.verdict.is_some())?;
        Ok(Some((line.ts_ns, line)))
    };
    merged(connection, branches, COLUMNS, false, read, |line| each(&line).map(|()| true))
}

/// The times alone, until `each` says that it has enough.
pub(super) fn each_time(
    connection: &Connection,
    branches: &[Branch],
    streams: Option<&HashSet<i64>>,
    descending: bool,
    each: impl FnMut(i64) -> Result<bool>,
) -> Result<()> {
    let read = |row: &Row<'_>, _: &Branch| {
        let (ts_ns, stream): (i64, i64) = (row.get(0)?, row.get(1)?);
        let is_meant = streams.is_none_or(|streams| streams.contains(&stream));
        Ok(is_meant.then_some((ts_ns, ts_ns)))
    };
    merged(connection, branches, "ts_ns, stream_id", descending, read, each)
}

/// Merges the rows of all branches by their time.
fn merged<T>(
    connection: &Connection,
    branches: &[Branch],
    columns: &str,
    descending: bool,
    read: impl Fn(&Row<'_>, &Branch) -> rusqlite::Result<Option<(i64, T)>>,
    mut each: impl FnMut(T) -> Result<bool>,
) -> Result<()> {
    let prepare = |branch: &Branch| connection.prepare(&branch.sql(columns));
    let mut statements =
        branches.iter().map(prepare).collect::<rusqlite::Result<Vec<_>>>().context("asking")?;
    let mut answers: Vec<(&Branch, Rows<'_>)> = Vec::new();
    for (statement, branch) in statements.iter_mut().zip(branches) {
        answers
            .push((branch, statement.query(params_from_iter(branch.values())).context("asking")?));
    }
    let next = |(branch, rows): &mut (&Branch, Rows<'_>)| -> rusqlite::Result<Option<(i64, T)>> {
        while let Some(row) = rows.next()? {
            if let Some(item) = read(row, branch)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    };
    let mut heads = Vec::new();
    for answer in &mut answers {
        heads.push(next(answer).context("reading lines")?);
    }
    loop {
        let times = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.0, at)));
        let first =
            if descending { times.max_by_key(|(ts_ns, at)| (*ts_ns, *at)) } else { times.min() };
        let Some((_, at)) = first else { return Ok(()) };
        let following = next(&mut answers[at]).context("reading lines")?;
        let Some((_, item)) = std::mem::replace(&mut heads[at], following) else { return Ok(()) };
        if !each(item)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_one_statement() {
        let mut branch = Branch::new("ASC");
        branch.add("ts_ns >=", SqlValue::Integer(1));
        let mut branch = branch.and("level =", SqlValue::Text("error".to_owned()));
        branch.verdict = Some("x".to_owned());
        assert_eq!(
            branch.sql("ts"),
            "SELECT ts, message REGEXP ? AS verdict FROM log WHERE ts_ns >= ? AND level = ? \
             ORDER BY ts_ns ASC LIMIT 9223372036854775807"
        );
        assert_eq!(branch.values().count(), 3);
    }

    #[test]
    fn no_question_sorts_all_lines() {
        const CASE: &str = "[[case]]\nname = \"a\"\nlog = [{ unit = \"kubelet.service\", \
                            at = \"12:00:05\", message = \"Started.\" }]";
        let cases = crate::diagnose::cases::parse("a.toml", CASE).expect("a case");
        let bundle = cases[0].open().expect("a bundle");
        let text = |text: &str| SqlValue::Text(text.to_owned());
        for direction in ["ASC", "DESC"] {
            let plain = Branch::new(direction);
            let timed =
                plain.and("ts_ns >=", SqlValue::Integer(1)).and("ts_ns <=", SqlValue::Integer(9));
            let mut around = timed.clone();
            around.verdict = Some("a+".to_owned());
            for branch in [
                plain.clone(),
                timed.clone(),
                around,
                plain.and("stream_id =", SqlValue::Integer(1)),
                timed.and("message REGEXP", text("a+")).and("level =", text("error")),
                timed
                    .and("node =", text("a"))
                    .and("namespace =", text("b"))
                    .and("pod =", text("c")),
            ] {
                let sql = format!("EXPLAIN QUERY PLAN {}", branch.sql(COLUMNS));
                let mut statement = bundle.prepare(&sql).expect("sound SQL");
                let steps: Vec<String> = statement
                    .query_map(params_from_iter(branch.values()), |row| row.get(3))
                    .and_then(Iterator::collect)
                    .expect("a plan");
                assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {steps:?}");
            }
        }
    }
}
