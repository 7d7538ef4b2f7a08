//! Cases of a diagnostic: small bundles, and what it must say of each.
//!
//! A file of cases is TOML, a table `[[case]]` each: its `name`, what the bundle
//! holds as [`notation`](super::notation) says, what to `expect`, and which nodes
//! must be `blind`. Ours are in `sql/cases`, a user's beside the diagnostic.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::Value;

use super::fixture::{self, Opened};
use super::parse::Diagnostic;
use super::run::{Answer, Limits, State, Survey, run};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// A bundle, and what the diagnostic must say of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) name: String,
    /// Findings in order; columns that are not named may be anything.
    #[serde(default)]
    expect: Vec<toml::Table>,
    /// Nodes on which it must be blind.
    #[serde(default)]
    blind: Vec<String>,
    #[serde(flatten)]
    bundle: toml::Table,
}

/// Cases of a file's text.
///
/// # Errors
///
/// If it is no file of cases; the error names the file and the place.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Case>> {
    let cases: Cases = toml::from_str(text).map_err(|error| anyhow!("{file}: {error}"))?;
    Ok(cases.case)
}

/// Which of the three kinds of cases is not there; each proves something that the
/// others do not.
pub(crate) fn uncovered(cases: &[Case]) -> Vec<&'static str> {
    let has = |is: fn(&Case) -> bool| cases.iter().any(is);
    let mut lacks = Vec::new();
    if !has(|case| !case.expect.is_empty()) {
        lacks.push("no case fires");
    }
    if !has(|case| case.expect.is_empty() && case.blind.is_empty()) {
        lacks.push("no case stays quiet");
    }
    if !has(|case| !case.blind.is_empty()) {
        lacks.push("no case is blind");
    }
    lacks
}

impl Case {
    /// Makes the bundle and asks the diagnostic of it.
    ///
    /// # Errors
    ///
    /// If the case describes no bundle.
    pub(crate) fn ask(&self, diagnostic: &Diagnostic) -> Result<Answer> {
        let mut connection = self.open()?;
        let survey = Survey::read(&connection).context("reading what was collected")?;
        Ok(run(&mut connection, diagnostic, &survey, Limits::default()))
    }

    /// Makes the bundle.
    ///
    /// # Errors
    ///
    /// If the case describes none.
    pub(crate) fn open(&self) -> Result<Opened> {
        fixture::make(&toml::Value::Table(self.bundle.clone()).try_into()?)
    }

    /// What is wrong with an answer: a sentence each.
    pub(crate) fn complaints(&self, answer: &Answer) -> Vec<String> {
        let mut wrong: Vec<String> = answer.error.iter().cloned().collect();
        if answer.findings.len() != self.expect.len() {
            let (found, expected) = (answer.findings.len(), self.expect.len());
            wrong.push(format!("{found} findings, expected {expected}"));
        }
        for (index, (finding, expected)) in answer.findings.iter().zip(&self.expect).enumerate() {
            let found = serde_json::to_value(finding).unwrap_or_default();
            for (column, value) in expected {
                let value = serde_json::to_value(value).unwrap_or_default();
                let at = found.get(column).or_else(|| found["evidence"].get(column));
                if !is_same(at, &value) {
                    let at = at.map_or_else(|| "not there".to_owned(), Value::to_string);
                    wrong.push(format!("finding {index}: {column} is {at}, expected {value}"));
                }
            }
        }
        for node in &answer.nodes {
            let is_blind = matches!(node.state, State::Blind { .. });
            if is_blind != self.blind.contains(&node.node) {
                wrong.push(format!("{} is {}", node.node, tell(&node.state)));
            }
        }
        wrong
    }
}

/// A state in words.
fn tell(state: &State) -> String {
    match state {
        State::Finding { findings } => format!("not blind: it has {findings} findings"),
        State::Healthy => "not blind: it is healthy".to_owned(),
        State::Blind { reason } => format!("blind: {reason}"),
        State::Error { message } => format!("in error: {message}"),
    }
}

/// `""` stands for NULL, which TOML lacks; numbers compare as numbers.
fn is_same(found: Option<&Value>, expected: &Value) -> bool {
    let Some(found) = found else { return false };
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
        _ => found == expected || (found.is_null() && expected == ""),
    }
}
