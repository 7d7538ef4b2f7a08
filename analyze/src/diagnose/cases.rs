//! Runs every case of `sql/cases` and compares what is found with what is
//! expected; a snapshot shows the findings as users see them.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use super::library::built_in;
use super::parse::Diagnostic;
use super::run::{Answer, Limits, State, Survey, run};
use super::{fixture, library};

/// A file of cases: `sql/cases/<diagnostic>.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// A bundle, and what the diagnostic must say of it.
#[derive(Debug, Deserialize)]
struct Case {
    /// What it shows.
    name: String,
    /// Findings in order; columns that are not named may be anything.
    #[serde(default)]
    expect: Vec<toml::Table>,
    /// Nodes on which it must be blind.
    #[serde(default)]
    blind: Vec<String>,
    #[serde(flatten)]
    bundle: toml::Table,
}

fn cases(id: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../sql/cases/{id}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{id} has no cases ({}: {error})", path.display());
    });
    toml::from_str::<Cases>(&text).unwrap_or_else(|error| panic!("{id}: {error}")).case
}

fn ask(diagnostic: &Diagnostic, case: &Case) -> Answer {
    let bundle = toml::Value::Table(case.bundle.clone())
        .try_into()
        .unwrap_or_else(|error| panic!("{}: {}: {error}", diagnostic.id, case.name));
    let mut connection = fixture::open(&bundle);
    let survey = Survey::read(&connection).unwrap();
    run(&mut connection, diagnostic, &survey, Limits::default())
}

/// What a case finds wrong with an answer.
fn complaints(case: &Case, answer: &Answer) -> Vec<String> {
    let mut wrong: Vec<String> = answer.error.iter().cloned().collect();
    if answer.findings.len() != case.expect.len() {
        let (found, expected) = (answer.findings.len(), case.expect.len());
        wrong.push(format!("{found} findings, expected {expected}"));
    }
    for (index, (finding, expected)) in answer.findings.iter().zip(&case.expect).enumerate() {
        let found = serde_json::to_value(finding).unwrap();
        for (column, value) in expected {
            let value = serde_json::to_value(value).unwrap();
            let at = found.get(column).or_else(|| found["evidence"].get(column));
            if !is_same(at, &value) {
                wrong.push(format!("finding {index}: {column} is {at:?}, expected {value}"));
            }
        }
    }
    for node in &answer.nodes {
        let is_blind = matches!(node.state, State::Blind { .. });
        if is_blind != case.blind.contains(&node.node) {
            wrong.push(format!("{}: {:?}", node.node, node.state));
        }
    }
    wrong
}

/// `""` stands for NULL, which TOML lacks; numbers compare as numbers.
fn is_same(found: Option<&serde_json::Value>, expected: &serde_json::Value) -> bool {
    let Some(found) = found else { return false };
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
        _ => found == expected || (found.is_null() && expected == ""),
    }
}

fn show(text: &mut String, case: &Case, answer: &Answer) {
    writeln!(text, "# {}", case.name).unwrap();
    for node in &answer.nodes {
        let state = serde_json::to_string(&node.state).unwrap();
        writeln!(text, "{}: {state}", node.node).unwrap();
    }
    for finding in &answer.findings {
        let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let (node, ts) = (of(&finding.node), of(&finding.ts));
        writeln!(text, "- {} {node} {ts}", finding.severity).unwrap();
        writeln!(text, "  {}", finding.message).unwrap();
        for (name, value) in finding.evidence.iter().filter(|(_, value)| !value.is_null()) {
            writeln!(text, "    {name} = {value}").unwrap();
        }
    }
    text.push('\n');
}

#[test]
fn every_case_is_as_expected() {
    let (mut wrong, mut snapshots) = (Vec::new(), Vec::new());
    for diagnostic in built_in().unwrap() {
        let mut text = String::new();
        for case in cases(&diagnostic.id) {
            let answer = ask(&diagnostic, &case);
            let found = complaints(&case, &answer);
            wrong.extend(found.iter().map(|w| format!("{}: {}: {w}", diagnostic.id, case.name)));
            show(&mut text, &case, &answer);
        }
        snapshots.push((diagnostic.id, text));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        for (id, text) in snapshots {
            insta::assert_snapshot!(id.as_str(), text);
        }
    });
}

#[test]
fn every_diagnostic_fires_stays_quiet_and_is_blind() {
    for (id, _) in library::FILES {
        let cases = cases(id);
        let has = |what: &str, is: fn(&Case) -> bool| {
            assert!(cases.iter().any(is), "no case of {id} {what}");
        };
        has("fires", |case| !case.expect.is_empty());
        has("stays quiet", |case| case.expect.is_empty() && case.blind.is_empty());
        has("is blind", |case| !case.blind.is_empty());
    }
}

#[test]
fn a_case_complains_of_what_differs() {
    let diagnostic = built_in().unwrap().into_iter().find(|d| d.id == "outage-windows").unwrap();
    let text = r#"
        [[case]]
        name = "wrong on purpose"
        blind = ["node-1"]
        expect = [{ target = "acr", fails = 2 }, {}]
        probe = [{ pattern = "offo" }]
    "#;
    let case = toml::from_str::<Cases>(text).unwrap().case.remove(0);
    assert_eq!(
        complaints(&case, &ask(&diagnostic, &case)),
        [
            "1 findings, expected 2",
            "finding 0: target is Some(String(\"mcr\")), expected \"acr\"",
            "node-1: Finding { findings: 1 }",
        ]
    );
}
