//! The report as one HTML page, which loads nothing and sends nothing.
//!
//! Texts of a bundle are anybody's: a template that is compiled escapes all of them,
//! and the page's own policy forbids any script and style but the two within it, which
//! it names by their hashes. So the page has no `style` attribute; what is drawn is
//! SVG with attributes and classes ([`chart`]).

mod chart;
mod findings;
mod prose;

use std::io::Write;

use anyhow::Result;
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use self::chart::{Figure, Tick, Timeline};
use self::findings::Group;
use super::history::History;
use super::model::{Report, blind, healthy, plural};
use super::text::{to_percent, to_second};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::Answer;
use crate::output::{printable, some};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Connections that are shown: the worst first, the rest is counted.
const SHOWN_CONNECTIONS: usize = 1_000;

/// Names of nodes that one cell lists.
const SHOWN_NAMES: usize = 1_000;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    policy: String,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    counts: [Count; 3],
    nodes: String,
    node_names: Vec<String>,
    runs: Vec<String>,
    notes: Vec<String>,
    groups: Vec<Group>,
    hidden_findings: usize,
    rest: Vec<Rest>,
    timeline: Timeline,
    ticks: Vec<Tick>,
    figures: Vec<Figure>,
    connections: Vec<Connection>,
    hidden_connections: usize,
    resolvers: Vec<ResolverRow>,
    collectors: Vec<String>,
    coverage: Vec<CoverageRow>,
    gaps: Vec<String>,
    history: &'a History,
}

struct Count {
    class: &'static str,
    number: usize,
    label: &'static str,
}

/// What a diagnostic says of nodes without findings.
struct Rest {
    id: String,
    title: String,
    findings: usize,
    healthy: usize,
    /// Reason, how many nodes, which.
    blind: Vec<(String, usize, String)>,
    error: Option<String>,
}

struct Connection {
    node: String,
    target: String,
    kind: String,
    available: String,
    known: String,
    samples: i64,
    outages: i64,
    blips: i64,
    unknown: String,
    average: String,
}

struct ResolverRow {
    nodes: String,
    names: String,
    layers: Vec<(String, String)>,
}

struct CoverageRow {
    node: String,
    cells: Vec<Cell>,
}

struct Cell {
    class: String,
    sign: &'static str,
    title: String,
}

/// Writes the page.
pub(super) fn write(report: &Report, out: &mut impl Write) -> Result<()> {
    let history = report.history.as_ref();
    let history = history.ok_or_else(|| anyhow::anyhow!("a page needs what happened when"))?;
    let (groups, hidden_findings) = findings::groups(report);
    let (collectors, coverage) = coverage(report);
    let notes = report.left_out.iter().cloned().chain(report.hidden());
    let page = Page {
        policy: policy(),
        style: STYLE,
        script: SCRIPT,
        version: env!("CARGO_PKG_VERSION"),
        counts: [
            (Severity::Error, "error", "errors"),
            (Severity::Warning, "warning", "warnings"),
            (Severity::Info, "info", "info"),
        ]
        .map(|(severity, class, label)| Count {
            class,
            number: report.count(severity),
            label,
        }),
        nodes: plural(report.nodes.len() as i64, "node"),
        node_names: report.nodes.iter().map(|node| printable(node)).collect(),
        runs: runs(report),
        notes: notes.chain(history.untold.iter().cloned()).map(|text| printable(&text)).collect(),
        groups,
        hidden_findings,
        rest: rest(report),
        timeline: chart::timeline(history),
        ticks: chart::ticks(history.time),
        figures: chart::figures(history),
        connections: connections(report),
        hidden_connections: report.connections.len().saturating_sub(SHOWN_CONNECTIONS),
        resolvers: resolvers(history),
        collectors,
        coverage,
        gaps: gaps(report),
        history,
    };
    page.write_into(out)?;
    Ok(())
}

/// Nothing is allowed but the style and the script of this very page.
fn policy() -> String {
    let hash = |text: &str| {
        let bytes: [u8; 32] = Sha256::digest(text).into();
        format!("'sha256-{}'", STANDARD.encode(bytes))
    };
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn runs(report: &Report) -> Vec<String> {
    let run = |run: &super::model::RunOfBundle| {
        printable(&format!(
            "{} of {} on {}, {} to {}",
            run.run_id,
            run.clusters.as_deref().unwrap_or("a cluster without a known API server"),
            plural(run.nodes, "node"),
            to_second(&run.from),
            to_second(&run.until)
        ))
    };
    report.runs.iter().map(run).collect()
}

fn rest(report: &Report) -> Vec<Rest> {
    let rest = |(diagnostic, answer): &(Diagnostic, Answer)| {
        let why =
            |(reason, nodes): (&str, Vec<&str>)| (printable(reason), nodes.len(), some(&nodes));
        Rest {
            id: diagnostic.id.clone(),
            title: printable(&diagnostic.title),
            findings: answer.findings.len(),
            healthy: healthy(answer),
            blind: blind(answer).into_iter().map(why).collect(),
            error: answer.error.as_deref().map(printable),
        }
    };
    report.diagnostics.iter().map(rest).collect()
}

fn connections(report: &Report) -> Vec<Connection> {
    let percent = |share: Option<f64>| share.map_or("–".to_owned(), to_percent);
    let row = |row: &super::model::Reached| Connection {
        node: printable(&row.node),
        target: printable(&row.target),
        kind: printable(&row.kind),
        available: percent(row.availability),
        known: percent(row.coverage),
        samples: row.samples,
        outages: row.outages,
        blips: row.blips,
        unknown: format!("{:.0} s", row.unknown_s),
        average: row.avg_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms")),
    };
    report.connections.iter().take(SHOWN_CONNECTIONS).map(row).collect()
}

fn resolvers(history: &History) -> Vec<ResolverRow> {
    let row = |set: &super::history::Resolvers| ResolverRow {
        nodes: match set.nodes.as_slice() {
            [node] => printable(node),
            nodes => plural(nodes.len() as i64, "node"),
        },
        names: names(&set.nodes),
        layers: set
            .layers
            .iter()
            .map(|(layer, servers)| (printable(layer), printable(&servers.join(" "))))
            .collect(),
    };
    history.resolvers.iter().map(row).collect()
}

/// Names of nodes, as many as one can bear.
fn names(nodes: &[String]) -> String {
    let mut text = nodes.iter().take(SHOWN_NAMES).cloned().collect::<Vec<_>>().join(", ");
    if nodes.len() > SHOWN_NAMES {
        text.push_str(", …");
    }
    printable(&text)
}

/// Names of collectors, and for each node a cell for each of them.
fn coverage(report: &Report) -> (Vec<String>, Vec<CoverageRow>) {
    let names: Vec<String> = report.collectors().into_iter().map(|one| one.collector).collect();
    let mut rows: Vec<CoverageRow> = Vec::new();
    for one in &report.coverage {
        let node = printable(&one.node);
        if rows.last().is_none_or(|row| row.node != node) {
            rows.push(CoverageRow { node, cells: Vec::new() });
        }
        let (class, sign) = match one.outcome.as_str() {
            "complete" => ("complete", "●"),
            "partial" => ("partial", "◐"),
            "absent" => ("absent", "–"),
            "failed" => ("failed", "✕"),
            _ => ("missing", "?"),
        };
        let why = one.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let title = format!("{} is {}{why}", one.collector, one.outcome);
        if let Some(row) = rows.last_mut() {
            row.cells.push(Cell { class: class.to_owned(), sign, title: printable(&title) });
        }
    }
    (names.iter().map(|name| printable(name)).collect(), rows)
}

fn gaps(report: &Report) -> Vec<String> {
    let gap = |gap: super::model::Gap| {
        let nodes = match gap.nodes {
            1 => gap.node,
            n => format!("{n} nodes ({}, …)", gap.node),
        };
        printable(&format!("{} {} on {nodes}: {}", gap.outcome, gap.collector, gap.reason))
    };
    report.gaps().into_iter().map(gap).collect()
}

#[cfg(test)]
mod tests {
    use super::super::formats_tests::report_with_history;
    use super::*;
    use crate::cli::ReportFormat;
    use crate::report::formats_tests::written;

    #[test]
    fn the_page_has_no_markup_but_its_own() {
        let page = written(&report_with_history(&[]), ReportFormat::Html);
        let own = page.replace(STYLE, "STYLE").replace(SCRIPT, "SCRIPT");
        let (before, rest) = own.split_once("Policy\" content=\"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        insta::assert_snapshot!("format_html", format!("{before}Policy\" content=\"{after}"));
        assert_eq!(own.matches("<script").count(), 1);
        assert!(!own.contains(" style="), "the policy forbids it");
        assert!(!own.contains("<img"), "text stays text");
        assert!(own.contains("&#60;script&#62;alert(1)"), "and is shown");
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_as_they_are() {
        let page = written(&report_with_history(&[]), ReportFormat::Html);
        let between = |from: &str, to: &str| {
            let (_, rest) = page.split_once(from).unwrap();
            rest.split_once(to).unwrap().0.to_owned()
        };
        assert_eq!(between("<script>", "</script>"), SCRIPT);
        assert_eq!(between("<style>", "</style>"), STYLE);
        assert!(page.contains("default-src &#39;none&#39;"), "escaped as an attribute is");
    }
}
