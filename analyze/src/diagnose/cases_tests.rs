//! Runs every case of `sql/cases` and compares what is found with what is
//! expected; a snapshot shows the findings as users see them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::cases::{Case, parse, uncovered};
use super::kept::{KEPT, keep};
use super::library::{FILES, built_in};
use super::run::{Answer, Limits, Survey, run};

fn cases(id: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../sql/cases/{id}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{id} has no cases ({}: {error})", path.display());
    });
    parse(id, &text).unwrap()
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
            let place = format!("{}: {}", diagnostic.id, case.name);
            let answer = case.ask(&diagnostic).unwrap_or_else(|error| panic!("{place}: {error:#}"));
            wrong.extend(case.complaints(&answer).iter().map(|w| format!("{place}: {w}")));
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
fn views_that_are_kept_change_no_answer() {
    let mut kept = BTreeSet::new();
    for diagnostic in built_in().unwrap() {
        for case in cases(&diagnostic.id) {
            let place = format!("{}: {}", diagnostic.id, case.name);
            let expected = case.ask(&diagnostic).unwrap();
            let mut connection = case.open().unwrap();
            let survey = Survey::read(&connection).unwrap();
            let limits = Limits::default();
            let twice = [diagnostic.clone(), diagnostic.clone()];
            let names = keep(&mut connection, &twice, limits.deadline).unwrap();
            kept.extend(names.into_iter().map(|(name, _)| name));
            let answer = run(&mut connection, &diagnostic, &survey, limits);
            assert_eq!(answer.error, None, "{place}");
            assert_eq!(answer.findings, expected.findings, "{place}");
            assert_eq!(answer.nodes, expected.nodes, "{place}");
        }
    }
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), sorted(KEPT));
}

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[test]
fn every_diagnostic_fires_stays_quiet_and_is_blind() {
    for (id, _) in FILES {
        assert_eq!(uncovered(&cases(id)), [""; 0], "{id}");
    }
}

#[test]
fn a_case_complains_of_what_differs() {
    let diagnostic = built_in().unwrap().into_iter().find(|d| d.id == "outage-windows").unwrap();
    let text = r#"
        [[case]]
        name = "wrong on purpose"
        blind = ["node-1"]
        expect = [{ target = "acr", fails = 2, nothing = 1 }, {}]
        probe = [{ pattern = "offo" }]
    "#;
    let case = parse("x.toml", text).unwrap().remove(0);
    assert_eq!(
        case.complaints(&case.ask(&diagnostic).unwrap()),
        [
            "1 findings, expected 2",
            "finding 0: nothing is not there, expected 1",
            "finding 0: target is \"mcr\", expected \"acr\"",
            "node-1 is not blind: it has 1 findings",
        ]
    );
}

#[test]
fn a_case_that_no_agent_could_have_seen_is_an_error() {
    let diagnostic = built_in().unwrap().remove(0);
    let error = |bundle: &str| {
        let case = parse("x.toml", &format!("[[case]]\nname = 'x'\n{bundle}")).unwrap().remove(0);
        format!("{:#}", case.ask(&diagnostic).expect_err(bundle))
    };
    insta::assert_snapshot!(
        [
            "log = [{ at = '12', unit = 'kubelet', message = 'm' }]",
            "log = [{ at = '12:00:00', message = 'm' }]",
            "log = [{ at = '12:00:00', container = 'a/b', message = 'm' }]",
            "log = [{ at = '12:00:00', unit = 'u', message = 'm', node = 'other' }]",
            "probe = [{ pattern = 'oox' }]",
            "probe = [{ pattern = 'oo', interval = '10' }]",
            "probe = [{ pattern = 'oo', interval = '0s' }]",
            "setting = [{ scope = 'x', name = 'n', value = 'v', source = 's' }]",
            "object = [{ json = '{}' }]",
            "object = [{ json = '[' }]",
            "collection = [{ collector = 'x', outcome = 'failed' }]",
            "collection = [{ collector = 'probe', outcome = 'x' }]",
            "nothing = 1",
        ]
        .map(|bundle| format!("{bundle}\n    {}", error(bundle).replace('\n', "\n    ")))
        .join("\n")
    );
}
