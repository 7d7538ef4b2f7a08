//! `report`: what was collected and what was not, what was found, and on what
//! evidence.
//!
//! [`gather`] asks a bundle once and fills the [`model`]; every format is written
//! from that alone.

pub(crate) mod model;

mod json;
mod text;

pub(crate) use json::value;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::bundle::Bundle;
use rusqlite::Connection;

use crate::cli::{ReportArguments, ReportFormat};
use crate::diagnose::library;
use crate::diagnose::parse::Diagnostic;
use crate::diagnose::run::{self, Answer, Limits, Survey};
use crate::open::{damage, open, warn_of_damage};
use crate::output::{self, Outcome};

use self::model::{Collected, Gap, Reached, Report, RunOfBundle};

/// Reports on a bundle.
///
/// # Errors
///
/// If the bundle cannot be opened, or a named diagnostic does not exist.
pub(crate) fn run(arguments: &ReportArguments) -> Result<Outcome> {
    let diagnostics = chosen(arguments)?;
    let mut bundle = open(&arguments.bundle)?;
    let limits = Limits { deadline: Duration::from_secs(arguments.deadline), ..Limits::default() };
    let report = gather(&mut bundle, diagnostics, limits)?;
    if let Some(path) = &arguments.output {
        let mut text = Vec::new();
        write(&report, arguments.format, &mut text)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        output::note(&format!("wrote {}", path.display()));
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        write(&report, arguments.format, &mut out)?;
        out.flush()?;
    }
    if arguments.timings {
        tell_timings(&report);
    }
    let damaged = warn_of_damage(&bundle);
    let failed = report.diagnostics.iter().any(|(_, answer)| answer.error.is_some());
    let found = report.diagnostics.iter().any(|(_, answer)| !answer.findings.is_empty());
    Ok(if damaged || failed || !bundle.problems().is_empty() {
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
    }
}

/// How long each diagnostic took, the slowest first.
fn tell_timings(report: &Report) {
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
    let connection = bundle.connection_mut();
    let survey = Survey::read(connection).context("reading what was collected")?;
    let mut diagnostics: Vec<_> = diagnostics
        .into_iter()
        .map(|diagnostic| {
            let answer = run::run(connection, &diagnostic, &survey, limits);
            (diagnostic, answer)
        })
        .collect();
    // What is worst comes first.
    diagnostics.sort_by_key(|(_, answer): &(Diagnostic, Answer)| {
        Reverse(answer.findings.iter().map(|finding| finding.severity).max())
    });
    let mut report = read(connection, diagnostics).context("reading the bundle")?;
    report.left_out =
        bundle.problems().iter().map(|problem| format!("left out: {}", problem.error)).collect();
    report.left_out.extend(damage(bundle));
    Ok(report)
}

fn read(
    connection: &Connection,
    diagnostics: Vec<(Diagnostic, Answer)>,
) -> rusqlite::Result<Report> {
    Ok(Report {
        runs: runs(connection)?,
        nodes: connection
            .prepare("SELECT DISTINCT name FROM raw_node ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?,
        collectors: collectors(connection)?,
        gaps: gaps(connection)?,
        connections: connections(connection)?,
        diagnostics,
        left_out: Vec::new(),
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

fn collectors(connection: &Connection) -> rusqlite::Result<Vec<Collected>> {
    connection
        .prepare(
            "SELECT collector,
                    count(*) FILTER (WHERE outcome = 'complete'),
                    count(*) FILTER (WHERE outcome = 'partial'),
                    count(*) FILTER (WHERE outcome = 'absent'),
                    count(*) FILTER (WHERE outcome = 'failed'),
                    count(*) FILTER (WHERE outcome = 'missing'),
                    CAST(sum(1.0 * rows) AS INT)
             FROM collection GROUP BY collector ORDER BY collector",
        )?
        .query_map([], |row| {
            Ok(Collected {
                collector: row.get(0)?,
                complete: row.get(1)?,
                partial: row.get(2)?,
                absent: row.get(3)?,
                failed: row.get(4)?,
                missing: row.get(5)?,
                rows: row.get(6)?,
            })
        })?
        .collect()
}

fn gaps(connection: &Connection) -> rusqlite::Result<Vec<Gap>> {
    connection
        .prepare(
            "SELECT collector, outcome,
                    coalesce(message,
                             issue || iif(issues > 1, format(' (and %d more)', issues - 1), ''),
                             'no batch of it in the bundle') AS reason,
                    count(*), min(node)
             FROM collection WHERE outcome <> 'complete'
             GROUP BY collector, outcome, reason
             ORDER BY outcome IN ('absent'), collector, outcome, reason",
        )?
        .query_map([], |row| {
            Ok(Gap {
                collector: row.get(0)?,
                outcome: row.get(1)?,
                reason: row.get(2)?,
                nodes: row.get(3)?,
                node: row.get(4)?,
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
