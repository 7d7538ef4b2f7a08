//! The report as text, sized to the terminal.

use std::cmp::Reverse;
use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::model::{Gap, Reached, Report, blind, healthy, plural};
use crate::diagnose::parse::{Diagnostic, Severity};
use crate::diagnose::run::{Answer, Finding};
use crate::manners;
use crate::output::{printable, some, table};
use crate::prose::{self, Spacing, write_wrapped};

/// Findings of one diagnostic that are shown; the rest is counted.
const SHOWN_FINDINGS: usize = 100;

/// Connections that are shown: the worst first, the rest is counted.
const SHOWN_CONNECTIONS: usize = 40;

/// Writes all of a report.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let width = prose::width();
    write_head(report, width, out)?;
    write_collected(report, width, out)?;
    write_connections(report, out)?;
    write_findings(report, width, out)?;
    write_rest(report, width, out)
}

fn write_head(report: &Report, width: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "PERISCOPE REPORT\n")?;
    write_wrapped(
        out,
        "Nodes    ",
        &format!("{} ({})", report.nodes.len(), some(&report.nodes)),
        width,
    )?;
    for run in &report.runs {
        let cluster = run.clusters.as_deref().unwrap_or("a cluster without a known API server");
        let nodes = plural(run.nodes, "node");
        let text = format!(
            "{} of {} on {nodes}, {} to {}",
            run.run_id,
            cluster,
            told(&run.from),
            told(&run.until)
        );
        write_wrapped(out, "Run      ", &text, width)?;
    }
    if let Some(zone) = manners::zone_note() {
        writeln!(out, "Times    {zone}")?;
    }
    for missing in &report.never_reported {
        let text = format!("{} (run {})", some(&missing.nodes), printable(&missing.run_id));
        write_wrapped(out, "Never reported: ", &text, width)?;
    }
    for text in report.hidden() {
        write_wrapped(out, "Hidden   ", &printable(&text), width)?;
    }
    Ok(())
}

fn write_collected(report: &Report, width: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nCOLLECTED (on how many nodes)\n")?;
    let mut collected =
        table(["collector", "complete", "partial", "absent", "failed", "missing", "rows"]);
    for row in report.collectors() {
        let count = |n: i64| if n == 0 { "·".to_owned() } else { n.to_string() };
        collected.add_row([
            row.collector.clone(),
            count(row.complete),
            count(row.partial),
            count(row.absent),
            count(row.failed),
            count(row.missing),
            row.rows.to_string(),
        ]);
    }
    align_right(&mut collected, 1..7);
    writeln!(out, "{collected}")?;
    for gap in &report.gaps() {
        write_gap(gap, width, out)?;
    }
    Ok(())
}

fn write_gap(gap: &Gap, width: usize, out: &mut impl Write) -> io::Result<()> {
    let nodes = match gap.nodes {
        1 => gap.node.clone(),
        n => format!("{n} nodes ({}, …)", gap.node),
    };
    let text = printable(&format!("on {nodes}: {}", gap.reason));
    write_hinted(out, &format!("  {} {} ", gap.outcome, gap.collector), &text, width)
}

fn write_connections(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nCONNECTIONS\n")?;
    if report.connections.is_empty() {
        writeln!(out, "No probe samples: nothing is known of any connection.")?;
        return Ok(());
    }
    let mut rows = table([
        "node",
        "target",
        "kind",
        "available",
        "known",
        "samples",
        "outages",
        "blips",
        "unknown",
        "average",
    ]);
    for row in report.connections.iter().take(SHOWN_CONNECTIONS) {
        rows.add_row(connection_cells(row));
    }
    align_right(&mut rows, 3..10);
    writeln!(out, "{rows}")?;
    let hidden = report.connections.len().saturating_sub(SHOWN_CONNECTIONS);
    if hidden > 0 {
        writeln!(out, "and {hidden} more that are no worse: SELECT * FROM probe_availability")?;
    }
    Ok(())
}

fn connection_cells(row: &Reached) -> [String; 10] {
    let percent = |share: Option<f64>| share.map_or("–".to_owned(), to_percent);
    [
        printable(&row.node),
        printable(&row.target),
        printable(&row.kind),
        percent(row.availability),
        percent(row.coverage),
        row.samples.to_string(),
        row.outages.to_string(),
        row.blips.to_string(),
        format!("{:.0} s", row.unknown_s),
        row.avg_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms")),
    ]
}

/// A share in percent that says 100 only if it is whole.
pub(crate) fn to_percent(share: f64) -> String {
    let percent = (share * 1000.0).floor() / 10.0;
    format!("{percent:.1} %")
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for at in columns {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn write_findings(report: &Report, width: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nFINDINGS: {}", report.counts())?;
    for (diagnostic, answer) in &report.diagnostics {
        if !answer.findings.is_empty() {
            write_answer(report, (diagnostic, answer), width, out)?;
        }
    }
    Ok(())
}

fn write_answer(
    report: &Report,
    (diagnostic, answer): (&Diagnostic, &Answer),
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "\n{}: {} ({})", diagnostic.id, diagnostic.title, answer.findings.len())?;
    for finding in answer.findings.iter().take(SHOWN_FINDINGS) {
        write_finding(finding, report.colored, width, out)?;
    }
    let hidden = answer.findings.len().saturating_sub(SHOWN_FINDINGS);
    if hidden > 0 || answer.truncated {
        let more = if answer.truncated { "at least " } else { "" };
        writeln!(out, "\n  and {more}{hidden} more")?;
    }
    writeln!(out)?;
    prose::write(out, "  ", &diagnostic.prose, width, Spacing::Dense)?;
    if let Some(docs) = &diagnostic.docs {
        writeln!(out, "  {docs}")?;
    }
    Ok(())
}

fn write_finding(
    finding: &Finding,
    colored: bool,
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let node = finding.node.as_deref().unwrap_or("all nodes");
    let (is_painted, color) = match finding.severity {
        Severity::Error => (colored, "31"),
        Severity::Warning => (colored, "33"),
        Severity::Info => (false, ""),
    };
    let severity = manners::painted(is_painted, color, &finding.severity.to_string());
    let head = format!("\n  {severity} on {}: ", printable(node));
    write_wrapped(out, &head, &manners::zoned(&printable(&finding.message)), width)?;
    write_wrapped(out, "      ", &manners::zoned(&evidence(finding).join("  ")), width)
}

/// What there is of the evidence: `name=value` each.
pub(super) fn evidence(finding: &Finding) -> Vec<String> {
    let pair = |(name, value): &(String, Value)| match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{name}={}", printable(text))),
        other => Some(format!("{name}={other}")),
    };
    finding.evidence.iter().filter_map(pair).collect()
}

/// Why nothing is known, and of which nodes.
type Unknown<'a> = (&'a str, Vec<&'a str>);

/// What is healthy, what nobody looked at, and what could not be asked.
fn write_rest(report: &Report, width: usize, out: &mut impl Write) -> io::Result<()> {
    let answers = || report.diagnostics.iter().map(|(_, answer)| answer);
    let mut well: Vec<(usize, Vec<&str>)> = Vec::new();
    for answer in answers() {
        match (healthy(answer), &answer.diagnostic) {
            (0, _) => {}
            (count, id) => add(&mut well, count, id),
        }
    }
    well.sort_by_key(|(count, _)| Reverse(*count));
    writeln!(out, "\nNO FINDINGS (healthy)\n")?;
    for (count, ids) in &well {
        let head = format!("  on {}: ", plural(*count as i64, "node"));
        write_wrapped(out, &head, &ids.join(", "), width)?;
    }
    if well.is_empty() {
        writeln!(out, "  nothing is known to be healthy")?;
    }

    // Most of what is not known has few reasons.
    let mut unknown: Vec<(Unknown<'_>, Vec<&str>)> = Vec::new();
    for answer in answers() {
        for key in blind(answer) {
            add(&mut unknown, key, &answer.diagnostic);
        }
    }
    if !unknown.is_empty() || !report.never_reported.is_empty() {
        writeln!(out, "\nNOT KNOWN (blind)")?;
    }
    for missing in &report.never_reported {
        let text = format!("on {}: never reported in run {}", some(&missing.nodes), missing.run_id);
        write_hinted(out, "\n  ", &printable(&text), width)?;
        writeln!(out, "      all diagnostics")?;
    }
    for ((reason, nodes), ids) in &unknown {
        let text = printable(&format!("on {}: {reason}", some(nodes)));
        write_hinted(out, "\n  ", &text, width)?;
        write_wrapped(out, "      ", &ids.join(", "), width)?;
    }

    let errors = || answers().filter_map(|answer| Some((answer, answer.error.as_deref()?)));
    if errors().next().is_some() {
        writeln!(out, "\nNOT ASKED (error)")?;
    }
    for (answer, error) in errors() {
        let text = printable(&format!("{}: {error}", answer.diagnostic));
        write_hinted(out, "\n  ", &text, width)?;
    }
    Ok(())
}

/// Puts a name to those of the same key.
fn add<'a, K: PartialEq>(groups: &mut Vec<(K, Vec<&'a str>)>, key: K, name: &'a str) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, names)) => names.push(name),
        None => groups.push((key, vec![name])),
    }
}

/// Writes a text after a head, a hint on a line of its own.
fn write_hinted(out: &mut impl Write, head: &str, text: &str, width: usize) -> io::Result<()> {
    let (text, hint) = text.split_once("\nhint: ").unwrap_or((text, ""));
    write_wrapped(out, head, text, width)?;
    if !hint.is_empty() {
        write_wrapped(out, "      hint: ", hint, width)?;
    }
    Ok(())
}

/// A time of the bundle without its nanoseconds.
pub(super) fn to_second(ts: &str) -> String {
    ts.get(..19).map_or_else(|| ts.to_owned(), |text| format!("{text}Z"))
}

/// The same in the zone that was chosen, for people.
pub(crate) fn told(ts: &str) -> String {
    manners::zone().time(&to_second(ts)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_is_a_hundred_percent() {
        assert_eq!(to_percent(1.0), "100.0 %");
        assert_eq!(to_percent(0.999_99), "99.9 %");
        assert_eq!(to_percent(0.0), "0.0 %");
    }
}
