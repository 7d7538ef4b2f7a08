//! Asks a diagnostic of an open bundle, and says for each node what came of it.
//!
//! A row is a finding, unless its `severity` is [`BLIND`]: then what the
//! diagnostic needs was collected from that node, and still tells nothing.
//!
//! The statement may come from anybody and the bundle may be crafted: an
//! authorizer lets it read and nothing else, a deadline ends it, and rows and
//! texts are bounded. Both guards belong to the connection, so they are put up
//! for one statement and taken down after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use periscope_store::time::format_ns;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, Statement};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::parse::{COLLECTED_UNTIL, Diagnostic, ParamValue, Severity};

/// Columns that every diagnostic has by name.
const REQUIRED: [&str; 3] = ["node", "ts", "message"];

/// In column `severity`: the row is no finding. Its node is blind, and `message`
/// says why.
const BLIND: &str = "blind";

/// Longest text of a finding or its evidence, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// Steps of SQLite's machine between two looks at the clock.
pub(super) const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// Functions whose answer changes from one run to the next, or which reach
/// beyond the bundle.
const REFUSED_FUNCTIONS: [&str; 6] =
    ["current_date", "current_time", "current_timestamp", "load_extension", "random", "randomblob"];

/// What a run may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time after which the statement is given up.
    pub(crate) deadline: Duration,
    /// Findings that are read; the rest is not.
    pub(crate) max_findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), max_findings: 10_000 }
    }
}

/// What every diagnostic needs to know of a bundle; read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    nodes: BTreeSet<String>,
    /// Why a collector's data is not there, `None` if it is; by node and name.
    collected: BTreeMap<(String, String), Option<String>>,
    collected_until: Option<String>,
}

impl Survey {
    /// Reads nodes, how collecting went on each, and the end of the bundle.
    ///
    /// # Errors
    ///
    /// If the bundle cannot be read.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let nodes = connection
            .prepare("SELECT name FROM raw_node")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut collected = BTreeMap::new();
        let mut statement =
            connection.prepare("SELECT node, collector, outcome, message FROM collection")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (key, reason) = read_outcome(row)?;
            // Two machines can have had one name: data of either will do.
            let known = collected.entry(key).or_insert_with(|| reason.clone());
            if reason.is_none() {
                *known = None;
            }
        }
        let until: Option<i64> =
            connection.query_row("SELECT max(ended_ns) FROM raw_session", [], |row| row.get(0))?;
        Ok(Self { nodes, collected, collected_until: until.map(format_ns) })
    }

    /// Why a diagnostic can say nothing of a node, `None` if it can.
    fn blindness(&self, node: &str, needs: &[String]) -> Option<String> {
        needs.iter().find_map(|collector| {
            match self.collected.get(&(node.to_owned(), collector.clone())) {
                None => Some(format!("{collector} was not collected")),
                Some(reason) => reason.clone(),
            }
        })
    }
}

fn read_outcome(row: &Row<'_>) -> rusqlite::Result<((String, String), Option<String>)> {
    let (node, collector): (String, String) = (row.get(0)?, row.get(1)?);
    let (outcome, message): (String, Option<String>) = (row.get(2)?, row.get(3)?);
    let because = message.map(|message| format!(": {message}")).unwrap_or_default();
    let reason = match outcome.as_str() {
        "complete" | "partial" => None,
        "missing" => Some(format!("{collector} was not collected")),
        other => Some(format!("{collector} is {other}{because}")),
    };
    Ok(((node, collector), reason))
}

/// What a diagnostic came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    /// Name of the diagnostic.
    pub(crate) diagnostic: String,
    /// What a finding of it says.
    pub(crate) title: String,
    /// Family that reports group it under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) category: Option<String>,
    /// Rows, in the order of the statement.
    pub(crate) findings: Vec<Finding>,
    /// What that means for each node of the bundle, by name.
    pub(crate) nodes: Vec<NodeState>,
    /// Why it could not be asked; then all nodes are in error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether there were more findings than the limit.
    pub(crate) truncated: bool,
    /// How long it took. Not told to programs: it differs from one run to the next.
    #[serde(skip)]
    pub(crate) took: Duration,
}

/// One row of a diagnostic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// Name of the diagnostic.
    pub(crate) diagnostic: String,
    /// The row's own, or that of the diagnostic.
    pub(crate) severity: Severity,
    /// Node that it is about; `None` if it is about no single one.
    pub(crate) node: Option<String>,
    /// When it began or was seen, as in column `ts` of views.
    pub(crate) ts: Option<String>,
    /// One sentence.
    pub(crate) message: String,
    /// Every other column by its name, in the order of the statement.
    #[serde(serialize_with = "as_map")]
    pub(crate) evidence: Vec<(String, Value)>,
}

/// What a diagnostic says of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodeState {
    /// Name of the node.
    pub(crate) node: String,
    /// One of four.
    #[serde(flatten)]
    pub(crate) state: State,
}

/// The four things that a diagnostic can say of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum State {
    /// There are findings.
    Finding {
        /// How many.
        findings: usize,
    },
    /// There are none, and what it needs was collected.
    Healthy,
    /// There are none, and that proves nothing.
    Blind {
        /// What is missing.
        reason: String,
    },
    /// It could not be asked.
    Error {
        /// Why.
        message: String,
    },
}

fn as_map<S: Serializer>(pairs: &[(String, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Asks one diagnostic. Never fails: what goes wrong is in the answer.
pub(crate) fn run(
    connection: &mut Connection,
    diagnostic: &Diagnostic,
    survey: &Survey,
    limits: Limits,
) -> Answer {
    let began = Instant::now();
    let rows = guarded(connection, limits.deadline, |connection| {
        read_rows(connection, diagnostic, survey, limits.max_findings)
    });
    let (rows, error) = match rows {
        Ok(rows) => (rows, None),
        Err(failure) => (Rows::default(), Some(failure.text(diagnostic, limits.deadline))),
    };
    let state = |node: &String| match &error {
        Some(message) => State::Error { message: message.clone() },
        None => state(node, diagnostic, &rows, survey),
    };
    let nodes =
        survey.nodes.iter().map(|node| NodeState { node: node.clone(), state: state(node) });
    Answer {
        diagnostic: diagnostic.id.clone(),
        title: diagnostic.title.clone(),
        category: diagnostic.category.clone(),
        nodes: nodes.collect(),
        findings: rows.findings,
        error,
        truncated: rows.truncated,
        took: began.elapsed(),
    }
}

fn state(node: &str, diagnostic: &Diagnostic, rows: &Rows, survey: &Survey) -> State {
    let is_here = |finding: &&Finding| finding.node.as_deref() == Some(node);
    let count = rows.findings.iter().filter(is_here).count();
    if count > 0 {
        State::Finding { findings: count }
    } else if let Some(reason) = survey.blindness(node, &diagnostic.needs) {
        State::Blind { reason }
    } else if let Some(reason) = rows.blind.get(node) {
        State::Blind { reason: reason.clone() }
    } else if rows.truncated {
        let count = rows.findings.len();
        State::Blind { reason: format!("only the first {count} findings were read") }
    } else {
        State::Healthy
    }
}

/// Why a statement gave no findings.
enum Failure {
    /// SQLite refused or gave up.
    Sqlite(rusqlite::Error),
    /// The result is not what a diagnostic has to give.
    Shape { problem: String, hint: String },
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    fn text(self, diagnostic: &Diagnostic, deadline: Duration) -> String {
        let place = format!("{}:{}", diagnostic.file, diagnostic.sql_line);
        match self {
            Self::Shape { problem, hint } => format!("{place}: {problem}\nhint: {hint}"),
            Self::Sqlite(error) if is_interrupted(&error) => format!(
                "{}: took longer than {} s and was given up",
                diagnostic.file,
                deadline.as_secs_f64()
            ),
            Self::Sqlite(error) => {
                let reason = reason(&error);
                // Only the text tells a refused function from other errors.
                let hint = if reason.starts_with("not authorized") {
                    "\nhint: a diagnostic only reads: no PRAGMA, CURRENT_TIMESTAMP or random()"
                } else {
                    ""
                };
                format!("{place}: {reason}{hint}")
            }
        }
    }
}

fn is_interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// SQLite's own words, without those of the binding.
fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// Runs `work` behind the authorizer and the deadline, and takes both down.
fn guarded<T>(
    connection: &mut Connection,
    deadline: Duration,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + deadline;
    connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(move || Instant::now() >= end))?;
    connection.authorizer(Some(read_only))?;
    let done = work(connection);
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    done
}

/// Reading is allowed, and nothing else is; an authorizer.
pub(crate) fn read_only(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            !REFUSED_FUNCTIONS.iter().any(|refused| refused.eq_ignore_ascii_case(function_name))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// What a statement gave.
#[derive(Default)]
struct Rows {
    findings: Vec<Finding>,
    /// Nodes of which it says that it knows nothing, and why.
    blind: BTreeMap<String, String>,
    /// Whether there are more findings than were read.
    truncated: bool,
}

fn read_rows(
    connection: &Connection,
    diagnostic: &Diagnostic,
    survey: &Survey,
    max_findings: usize,
) -> Result<Rows, Failure> {
    let mut statement = connection.prepare(&diagnostic.sql)?;
    check_columns(&statement)?;
    bind(&mut statement, diagnostic, survey)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let severity = columns.iter().position(|column| column == "severity");
    let mut rows = statement.raw_query();
    let mut read = Rows::default();
    while let Some(row) = rows.next()? {
        let is_blind = match severity {
            Some(column) => row.get_ref(column)? == ValueRef::Text(BLIND.as_bytes()),
            None => false,
        };
        if is_blind {
            let node = text(value(row.get_ref("node")?));
            // A bundle has so many nodes, whatever the statement says.
            if let Some(node) = node.filter(|node| survey.nodes.contains(node)) {
                let reason = text(value(row.get_ref("message")?)).unwrap_or_default();
                read.blind.entry(node).or_insert(reason);
            }
        } else if read.findings.len() == max_findings {
            read.truncated = true;
            break;
        } else {
            read.findings.push(finding(row, &columns, diagnostic)?);
        }
    }
    Ok(read)
}

fn check_columns(statement: &Statement<'_>) -> Result<(), Failure> {
    let names: Vec<&str> = statement.column_names().collect();
    match REQUIRED.iter().find(|required| !names.contains(required)) {
        None => Ok(()),
        Some(missing) => Err(Failure::Shape {
            problem: format!("the statement has no column {missing}"),
            hint: format!("name it with AS {missing}"),
        }),
    }
}

fn bind(
    statement: &mut Statement<'_>,
    diagnostic: &Diagnostic,
    survey: &Survey,
) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default().trim_start_matches(':');
        let value = if name == COLLECTED_UNTIL {
            survey.collected_until.clone().map_or(SqlValue::Null, SqlValue::Text)
        } else {
            let param = diagnostic.params.iter().find(|param| param.name == name);
            match param.map(|param| &param.default) {
                Some(ParamValue::Integer(number)) => SqlValue::Integer(*number),
                Some(ParamValue::Real(number)) => SqlValue::Real(*number),
                Some(ParamValue::Text(text)) => SqlValue::Text(text.clone()),
                None => SqlValue::Null,
            }
        };
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

fn finding(row: &Row<'_>, columns: &[String], diagnostic: &Diagnostic) -> Result<Finding, Failure> {
    let mut found = Finding {
        diagnostic: diagnostic.id.clone(),
        severity: diagnostic.severity,
        node: None,
        ts: None,
        message: String::new(),
        evidence: Vec::new(),
    };
    for (index, column) in columns.iter().enumerate() {
        let value = value(row.get_ref(index)?);
        match column.as_str() {
            "node" => found.node = text(value),
            "ts" => found.ts = text(value),
            "message" => found.message = text(value).unwrap_or_default(),
            "severity" => found.severity = row_severity(value, diagnostic.severity)?,
            _ => found.evidence.push((column.clone(), value)),
        }
    }
    Ok(found)
}

fn row_severity(value: Value, default: Severity) -> Result<Severity, Failure> {
    let Some(text) = text(value) else { return Ok(default) };
    Severity::parse(&text).ok_or_else(|| Failure::Shape {
        problem: format!("a row has severity {text:?}"),
        hint: "column severity is error, warning, info, blind or NULL".to_owned(),
    })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) => cut(&String::from_utf8_lossy(bytes)).into(),
        ValueRef::Blob(bytes) => format!("blob of {} bytes", bytes.len()).into(),
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    format!("{}… ({} bytes)", &text[..end], text.len())
}
