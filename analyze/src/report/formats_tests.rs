//! Every format, written from one small bundle, and what readers of each rely on.

use clap::Parser;
use serde_json::Value;

use super::filter::Filter;
use super::model::Report;
use super::{gather, history, write};
use crate::cli::{Cli, Command, ReportFormat};
use crate::diagnose::cases;
use crate::diagnose::library;
use crate::diagnose::parse::Severity;
use crate::diagnose::run::Limits;

/// Diagnostics that find something in the bundle, that find nothing, and one that is
/// blind on a node.
const ASKED: [&str; 5] =
    ["custom-dns", "clock-skew", "outage-windows", "out-of-memory", "service-restarts"];

/// The report on the bundle, narrowed as the command line says.
fn report(options: &[&str]) -> Report {
    try_report(options, false).unwrap()
}

/// The same with what charts show.
pub(super) fn report_with_history(options: &[&str]) -> Report {
    try_report(options, true).unwrap()
}

fn try_report(options: &[&str], has_history: bool) -> anyhow::Result<Report> {
    let cases = cases::parse("sample.toml", include_str!("sample.toml")).unwrap();
    let mut opened = cases[0].open().unwrap();
    let diagnostics = library::built_in().unwrap();
    let asked = diagnostics.into_iter().filter(|one| ASKED.contains(&one.id.as_str())).collect();
    let mut report = gather(opened.bundle_mut(), asked, Limits::default())?;
    let words = ["periscope-analyze", "report", "bundle"].iter().chain(options);
    let Command::Report(arguments) = Cli::try_parse_from(words).unwrap().into_command() else {
        panic!("no report")
    };
    report.fail_on = arguments.fail_on;
    if let Some(filter) = Filter::new(&arguments)? {
        filter.apply(&mut report)?;
    }
    if has_history {
        let connection = opened.bundle_mut().connection_mut();
        report.history = Some(history::read(connection, &report, Limits::default().deadline)?);
    }
    Ok(report)
}

/// A report as text.
pub(super) fn written(report: &Report, format: ReportFormat) -> String {
    let mut out = Vec::new();
    write(report, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn each_format_of_one_bundle() {
    let report = report(&[]);
    for (name, format) in [
        ("table", ReportFormat::Table),
        ("json", ReportFormat::Json),
        ("jsonl", ReportFormat::Jsonl),
        ("markdown", ReportFormat::Markdown),
        ("sarif", ReportFormat::Sarif),
        ("junit", ReportFormat::Junit),
        ("csv", ReportFormat::Csv),
    ] {
        insta::assert_snapshot!(format!("format_{name}"), written(&report, format));
    }
}

#[test]
fn what_options_hide_is_said_in_every_format() {
    let report = report(&["--severity", "error", "--node", "node-1"]);
    assert_eq!(report.nodes, ["node-1"]);
    assert!(report.findings().iter().all(|found| found.finding.severity == Severity::Error));
    let said = report.hidden();
    assert!(said.iter().any(|text| text.ends_with("hidden by --severity error")), "{said:?}");
    assert!(said.contains(&"1 node hidden by --node node-1".to_owned()), "{said:?}");
    for format in [ReportFormat::Table, ReportFormat::Sarif, ReportFormat::Junit] {
        let text = written(&report, format);
        assert!(text.contains(&said[0]), "{format:?}: {text}");
    }
    let markdown = written(&report, ReportFormat::Markdown);
    assert!(markdown.contains("1 node hidden by"), "{markdown}");
    let json: Value = serde_json::from_str(&written(&report, ReportFormat::Json)).unwrap();
    assert_eq!(json["narrowed"]["severity"], "error");
    let lines = written(&report, ReportFormat::Jsonl);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["narrowed"], json["narrowed"]);
    let hidden: u64 =
        (0..4).filter_map(|at| json["narrowed"]["hidden"][at]["findings"].as_u64()).sum();
    let shown = json["findings"].as_array().unwrap().len() as u64;
    assert_eq!(hidden + shown, self::report(&[]).findings().len() as u64);
}

#[test]
fn a_window_keeps_what_lasted_into_it() {
    let outages = |options: &[&str]| {
        let found = report(options);
        let of = |one: &super::model::Found<'_>| one.diagnostic.id == "outage-windows";
        found.findings().iter().filter(|one| of(one)).count()
    };
    let all = outages(&[]);
    assert!(all >= 2);
    assert_eq!(outages(&["--until", "2026-11-22T11:00"]), 0, "it had not begun");
    let node = ["--node", "node-1", "--since"];
    assert_eq!(outages(&[&node[..], &["2026-11-22T12:00:45Z"]].concat()), 2);
    assert_eq!(outages(&[&node[..], &["2026-11-22T12:01:00Z"]].concat()), 1);
    assert_eq!(outages(&["--since", "2026-11-22T23:00:00Z"]), 0, "it was over");
    assert_eq!(outages(&["--since", "7d"]), all, "an age counts from the bundle's end");
}

#[test]
fn mistaken_filters_end_in_words() {
    let error = |options: &[&str]| format!("{:#}", try_report(options, false).unwrap_err());
    assert_eq!(
        error(&["--node", "aks-*"]),
        "no node of the bundle is named aks-*\nhint: it has node-1, node-2"
    );
    assert_eq!(
        error(&["--since", "1m", "--until", "2h"]).split(' ').next(),
        Some("--since"),
        "a window that ends before it begins"
    );
    assert!(error(&["--node", "["]).starts_with("\"[\" is no pattern of nodes"));
    let words = ["periscope-analyze", "report", "bundle", "--since", "soon"];
    let told = Cli::try_parse_from(words).unwrap_err().to_string();
    assert!(told.contains("hint: 2026-11-22T12:28:00Z"), "{told}");
}

/// What section 3 of SARIF 2.1.0 requires of the objects that we write.
#[test]
fn sarif_has_what_its_schema_requires() {
    let text = written(&report(&[]), ReportFormat::Sarif);
    let log: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let runs = log["runs"].as_array().unwrap();
    let [run] = runs.as_slice() else { panic!("one run") };
    assert!(run["tool"]["driver"]["name"].is_string());
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let mut ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len(), "ids of rules are unique");
    for invocation in run["invocations"].as_array().unwrap() {
        assert!(invocation["executionSuccessful"].is_boolean());
    }
    let results = run["results"].as_array().unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for result in results {
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        let (kind, level) = (result["kind"].as_str().unwrap(), result["level"].as_str().unwrap());
        // Section 3.27.10: a level is for what failed.
        assert_eq!(kind == "fail", level != "none");
        assert!(["none", "note", "warning", "error"].contains(&level));
        kinds.insert(kind);
        for location in result["locations"].as_array().unwrap() {
            assert!(location["logicalLocations"][0]["fullyQualifiedName"].is_string());
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["fail", "open"]);
}

/// Counts of suites are those of their cases, and only what is bad enough fails.
#[test]
fn junit_counts_what_it_holds() {
    let number = |text: &str, name: &str| -> usize {
        let (_, rest) = text.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    for (options, fails) in [(&[][..], true), (&["--fail-on", "error"], true)] {
        let text = written(&report(options), ReportFormat::Junit);
        let head = text.lines().nth(1).unwrap();
        assert_eq!(number(head, "tests"), text.matches("<testcase ").count());
        assert_eq!(number(head, "failures"), text.matches("<failure ").count());
        assert_eq!(number(head, "skipped"), text.matches("<skipped ").count());
        assert_eq!(number(head, "failures") > 0, fails);
        for suite in text.split("<testsuite ").skip(1) {
            let suite = format!(" {suite}");
            assert_eq!(number(&suite, "tests"), suite.matches("<testcase ").count());
            assert_eq!(number(&suite, "failures"), suite.matches("<failure ").count());
        }
    }
    let strict = written(&report(&[]), ReportFormat::Junit);
    let lenient = written(&report(&["--fail-on", "error"]), ReportFormat::Junit);
    assert!(strict.matches("<failure ").count() > lenient.matches("<failure ").count());
    assert!(lenient.contains("<system-out>warning on "), "{lenient}");
    assert!(!strict.contains("<script>"), "{strict}");
}
