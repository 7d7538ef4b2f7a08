//! `report`: what was collected and what was not, what was found, and on what
//! evidence.
//!
//! [`gather`] asks a bundle once and fills the [`model`]; a [`filter`] may narrow it;
//! every format is written from that alone, by a module of its name.

pub(crate) mod model;

mod filter;
mod fingerprint;
pub(crate) mod history;
mod when;

mod csv;
mod html;
mod json;
mod jsonl;
mod junit;
mod markdown;
mod sarif;
mod text;
pub(crate) mod written;

#[cfg(test)]
mod formats_tests;

pub(crate) use json::value;
pub(crate) use text::{to_percent, told};
pub(crate) use when::When;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::bundle::Bundle;
use rusqlite::Connection;

use crate::cli::{ReportArguments, ReportFormat};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{self, Answer, Limits, Survey};
use crate::diagnose::{kept, library};
use crate::manners;
use crate::open::{damage, open, warn_of_damage};
use crate::output::{self, Outcome};
use crate::waiting::Waiting;
use crate::{expected, fetch};

use self::filter::Filter;
use self::model::{Coverage, Reached, Report, RunOfBundle};

/// Reports on a bundle.
///
/// # Errors
///
/// If the bundle cannot be opened, or a named diagnostic or node does not exist.
pub(crate) fn run(arguments: &ReportArguments) -> Result<Outcome> {
    let diagnostics = chosen(arguments)?;
    let filter = Filter::new(arguments)?;
    let local = fetch::localise(&arguments.bundle, &arguments.choice)?;
    let mut bundle = open(&local.paths)?;
    let limits = Limits { deadline: Duration::from_secs(arguments.deadline), ..Limits::default() };
    let mut report = gather(&mut bundle, diagnostics, limits)?;
    report.fail_on = arguments.fail_on;
    let (never_reported, problems) = expected::never_reported(&local.paths, bundle.connection())?;
    problems.iter().for_each(|text| output::warning(text));
    report.never_reported = never_reported;
    report.left_out.extend(problems);
    if let Some(filter) = filter {
        filter.apply(&mut report)?;
    }
    if arguments.format == ReportFormat::Html {
        let _waiting = Waiting::start("drawing what happened when");
        report.history = Some(history::read(bundle.connection_mut(), &report, limits.deadline)?);
    }
    if let Some(path) = &arguments.output {
        let mut text = Vec::new();
        write(&report, arguments.format, &mut text)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        output::note(&format!("wrote {}", path.display()));
    } else {
        report.colored = manners::colored();
        let mut out = BufWriter::new(io::stdout().lock());
        write(&report, arguments.format, &mut out)?;
        out.flush()?;
    }
    if arguments.timings {
        tell_timings(&report);
    }
    let damaged = warn_of_damage(&bundle);
    let failed = report.diagnostics.iter().any(|(_, answer)| answer.error.is_some());
    let found = report.findings().iter().any(|found| found.finding.severity >= report.fail_on);
    Ok(if damaged || failed || !local.is_whole || !bundle.problems().is_empty() {
        Outcome::Failed
    } else if found {
        Outcome::Findings
    } else {
        Outcome::NothingFound
    })
}

/// Writes a report in one of its formats.
pub(crate) fn write(report: &Report, format: ReportFormat, out: &mut impl Write) -> Result<()> {
    match format {
        ReportFormat::Table => Ok(text::write(report, out)?),
        ReportFormat::Json => json::write(report, out),
        ReportFormat::Jsonl => jsonl::write(report, out),
        ReportFormat::Markdown => Ok(markdown::write(report, out)?),
        ReportFormat::Html => html::write(report, out),
        ReportFormat::Sarif => sarif::write(report, out),
        ReportFormat::Junit => junit::write(report, out),
        ReportFormat::Csv => csv::write(report, out),
    }
}

/// How long each diagnostic took, the slowest first, and before them what they share.
fn tell_timings(report: &Report) {
    for (name, took) in &report.shared {
        output::note(&format!("{:8.3} s  view {name}, read once for all", took.as_secs_f64()));
    }
    let mut answers: Vec<_> = report.diagnostics.iter().map(|(_, answer)| answer).collect();
    answers.sort_by_key(|answer| Reverse(answer.took));
    for answer in answers {
        output::note(&format!("{:8.3} s  {}", answer.took.as_secs_f64(), answer.diagnostic));
    }
}

fn chosen(arguments: &ReportArguments) -> Result<Vec<Diagnostic>> {
    let all = library::load(&arguments.library.folders)?;
    let mut chosen = library::choose(all, &arguments.only, &arguments.skip)?;
    for text in &arguments.param {
        set_param(&mut chosen, text)?;
    }
    Ok(chosen)
}

/// Sets what `ID.NAME=VALUE` says.
fn set_param(diagnostics: &mut [Diagnostic], text: &str) -> Result<()> {
    let parts = text.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let ((id, name), value) = parts.with_context(|| {
        format!("{text:?} sets no parameter\nhint: --param outage-windows.failures=3")
    })?;
    let diagnostic = diagnostics
        .iter_mut()
        .find(|diagnostic| diagnostic.id == id)
        .with_context(|| format!("there is no diagnostic {id} to set {name} of"))?;
    diagnostic.set_params(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
}

/// Asks a bundle everything that a report shows.
///
/// # Errors
///
/// If what was collected cannot be read. A diagnostic that fails says so in the
/// report.
pub(crate) fn gather(
    bundle: &mut Bundle,
    diagnostics: Vec<Diagnostic>,
    limits: Limits,
) -> Result<Report> {
    let waiting = Waiting::start("reading what was collected");
    let connection = bundle.connection_mut();
    let survey = Survey::read(connection).context("reading what was collected")?;
    waiting.now("working out what diagnostics share");
    let shared = kept::keep(connection, &diagnostics, limits.deadline)
        .context("reading what diagnostics share")?;
    let mut diagnostics: Vec<_> = diagnostics
        .into_iter()
        .map(|diagnostic| {
            waiting.now(&format!("asking {}", diagnostic.id));
            let answer = run::run(connection, &diagnostic, &survey, limits);
            (diagnostic, answer)
        })
        .collect();
    // What is worst comes first.
    diagnostics.sort_by_key(|(_, answer): &(Diagnostic, Answer)| {
        Reverse(answer.findings.iter().map(|finding| finding.severity).max())
    });
    waiting.now("reading what connections were like");
    let mut report = read(connection, diagnostics).context("reading the bundle")?;
    report.shared = shared;
    report.left_out =
        bundle.problems().iter().map(|problem| format!("left out: {}", problem.error)).collect();
    report.left_out.extend(damage(bundle));
    Ok(report)
}

fn read(
    connection: &Connection,
    diagnostics: Vec<(Diagnostic, Answer)>,
) -> rusqlite::Result<Report> {
    let ended_ns: Option<i64> =
        connection.query_row("SELECT max(ended_ns) FROM raw_session", [], |row| row.get(0))?;
    Ok(Report {
        runs: runs(connection)?,
        ended_ns: ended_ns.unwrap_or_default(),
        nodes: connection
            .prepare("SELECT DISTINCT name FROM raw_node ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?,
        coverage: coverage(connection)?,
        connections: connections(connection)?,
        diagnostics,
        shared: Vec::new(),
        never_reported: Vec::new(),
        left_out: Vec::new(),
        narrowed: None,
        history: None,
        fail_on: Severity::Info,
        colored: false,
    })
}

fn runs(connection: &Connection) -> rusqlite::Result<Vec<RunOfBundle>> {
    connection
        .prepare(
            "SELECT run_id, group_concat(DISTINCT cluster), count(DISTINCT node_id),
                    ts(min(started_ns)), ts(max(ended_ns))
             FROM raw_session GROUP BY run_id ORDER BY min(started_ns)",
        )?
        .query_map([], |row| {
            Ok(RunOfBundle {
                run_id: row.get(0)?,
                clusters: row.get(1)?,
                nodes: row.get(2)?,
                from: row.get(3)?,
                until: row.get(4)?,
            })
        })?
        .collect()
}

fn coverage(connection: &Connection) -> rusqlite::Result<Vec<Coverage>> {
    connection
        .prepare(
            "SELECT node, collector, outcome,
                    CASE WHEN outcome <> 'complete' THEN coalesce(
                        message,
                        issue || iif(issues > 1, format(' (and %d more)', issues - 1), ''),
                        'no batch of it in the bundle'
                    ) END,
                    CAST(coalesce(rows, 0) AS INT)
             FROM collection ORDER BY node, collector",
        )?
        .query_map([], |row| {
            Ok(Coverage {
                node: row.get(0)?,
                collector: row.get(1)?,
                outcome: row.get(2)?,
                reason: row.get(3)?,
                rows: row.get(4)?,
            })
        })?
        .collect()
}

fn connections(connection: &Connection) -> rusqlite::Result<Vec<Reached>> {
    connection
        .prepare(
            "SELECT node, target, kind, availability, coverage, ok + fail + skipped, outages,
                    blips, unknown_s, avg_ms
             FROM probe_availability
             ORDER BY availability IS NOT NULL, availability, coverage, node, target",
        )?
        .query_map([], |row| {
            Ok(Reached {
                node: row.get(0)?,
                target: row.get(1)?,
                kind: row.get(2)?,
                availability: row.get(3)?,
                coverage: row.get(4)?,
                samples: row.get(5)?,
                outages: row.get(6)?,
                blips: row.get(7)?,
                unknown_s: row.get::<_, Option<f64>>(8)?.unwrap_or_default(),
                avg_ms: row.get(9)?,
            })
        })?
        .collect()
}
