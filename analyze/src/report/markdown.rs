//! The report as Markdown, for tickets and pull requests.

use std::io::{self, Write};

use super::model::{Found, Report, blind, healthy, plural};
use super::text::{evidence, to_percent, told};
use super::written::{code, escaped};
use crate::diagnose::parse::Diagnostic;
use crate::diagnose::run::Answer;
use crate::manners;
use crate::output::{printable, some};

/// Findings of one diagnostic that are shown; the rest is counted.
const SHOWN_FINDINGS: usize = 100;

/// Connections that are shown: the worst first, the rest is counted.
const SHOWN_CONNECTIONS: usize = 40;

/// Longest piece of evidence that is shown whole, in characters.
const SHOWN_CHARACTERS: usize = 300;

/// Writes all of a report.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# Periscope report\n")?;
    writeln!(out, "**{}** on {}.\n", report.counts(), plural(report.nodes.len() as i64, "node"))?;
    for run in &report.runs {
        writeln!(
            out,
            "- Run {} of {} on {}, {} to {}",
            code(&run.run_id),
            run.clusters.as_deref().map_or("an unknown cluster".to_owned(), code),
            plural(run.nodes, "node"),
            told(&run.from),
            told(&run.until)
        )?;
    }
    if let Some(zone) = manners::zone_note() {
        writeln!(out, "- Times: {zone}")?;
    }
    for text in report.left_out.iter().chain(&report.hidden()) {
        writeln!(out, "- {}", escaped(text))?;
    }
    writeln!(out, "\n## Findings")?;
    for (diagnostic, answer) in &report.diagnostics {
        if !answer.findings.is_empty() {
            write_answer(diagnostic, answer, out)?;
        }
    }
    write_rest(report, out)?;
    write_connections(report, out)?;
    write_collected(report, out)
}

fn write_answer(diagnostic: &Diagnostic, answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    let (title, count) = (escaped(&diagnostic.title), answer.findings.len());
    writeln!(out, "\n### {title} ({}, {count})\n", code(&diagnostic.id))?;
    for finding in answer.findings.iter().take(SHOWN_FINDINGS) {
        let found = Found { diagnostic, finding };
        let ts = finding.ts.as_deref().map(|ts| format!(", {}", escaped(&told(ts))));
        writeln!(
            out,
            "- **{}** on {}{}: {} {}",
            finding.severity,
            escaped(found.node()),
            ts.unwrap_or_default(),
            escaped(&manners::zoned(&finding.message)),
            code(&found.id())
        )?;
        let evidence: Vec<String> =
            evidence(finding).iter().map(|pair| code(&shortened(&manners::zoned(pair)))).collect();
        if !evidence.is_empty() {
            writeln!(out, "  <br>{}", evidence.join(" "))?;
        }
    }
    let hidden = answer.findings.len().saturating_sub(SHOWN_FINDINGS);
    if hidden > 0 || answer.truncated {
        let more = if answer.truncated { "at least " } else { "" };
        writeln!(out, "- and {more}{hidden} more")?;
    }
    // What a diagnostic says is Markdown.
    writeln!(out, "\n{}", printable(&diagnostic.prose))?;
    if let Some(docs) = &diagnostic.docs {
        writeln!(out, "\n<{}>", docs.replace(['<', '>', ' ', '\n'], ""))?;
    }
    Ok(())
}

fn write_rest(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n## No findings, and what is not known\n")?;
    writeln!(out, "| diagnostic | healthy | not known | why |\n|---|--:|--:|---|")?;
    for (diagnostic, answer) in &report.diagnostics {
        let (id, healthy) = (code(&diagnostic.id), healthy(answer));
        if let Some(error) = &answer.error {
            writeln!(out, "| {id} | | {} | {} |", answer.nodes.len(), escaped(error))?;
            continue;
        }
        let blind = blind(answer);
        if blind.is_empty() && healthy > 0 {
            writeln!(out, "| {id} | {healthy} | | |")?;
        }
        for (reason, nodes) in blind {
            let why = escaped(&format!("{reason} ({})", some(&nodes)));
            writeln!(out, "| {id} | {healthy} | {} | {why} |", nodes.len())?;
        }
    }
    Ok(())
}

fn write_connections(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n## Connections\n")?;
    if report.connections.is_empty() {
        return writeln!(out, "No probe samples: nothing is known of any connection.");
    }
    writeln!(out, "| node | target | kind | available | known | outages | blips | average |")?;
    writeln!(out, "|---|---|---|--:|--:|--:|--:|--:|")?;
    for row in report.connections.iter().take(SHOWN_CONNECTIONS) {
        let percent = |share: Option<f64>| share.map_or("–".to_owned(), to_percent);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&row.node),
            escaped(&row.target),
            escaped(&row.kind),
            percent(row.availability),
            percent(row.coverage),
            row.outages,
            row.blips,
            row.avg_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"))
        )?;
    }
    let hidden = report.connections.len().saturating_sub(SHOWN_CONNECTIONS);
    if hidden > 0 {
        writeln!(out, "\nand {hidden} more that are no worse")?;
    }
    Ok(())
}

fn write_collected(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n## Collected (on how many nodes)\n")?;
    writeln!(out, "| collector | complete | partial | absent | failed | missing | rows |")?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
    for row in report.collectors() {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            escaped(&row.collector),
            row.complete,
            row.partial,
            row.absent,
            row.failed,
            row.missing,
            row.rows
        )?;
    }
    writeln!(out)?;
    for gap in report.gaps() {
        let nodes = match gap.nodes {
            1 => gap.node,
            n => format!("{n} nodes ({}, …)", gap.node),
        };
        let text = format!("{} {} on {nodes}: {}", gap.outcome, gap.collector, gap.reason);
        writeln!(out, "- {}", escaped(&text))?;
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
