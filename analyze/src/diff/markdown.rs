//! Differences as Markdown, for tickets and pull requests.

use std::io::{self, Write};

use super::Style;
use super::model::{Change, Connection, Differences, Findings, Named, Section};
use super::text::{cells, counts, on, values};
use crate::manners;
use crate::output::some;
use crate::report::{told, written};

/// Writes all differences.
pub(super) fn write(all: &Differences, style: Style, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# Periscope diff\n")?;
    side("A", &all.a, out)?;
    side("B", &all.b, out)?;
    for (name, nodes) in [("A", &all.nodes.only_a), ("B", &all.nodes.only_b)] {
        if !nodes.is_empty() {
            writeln!(out, "- Only in {name}: {}", written::escaped(&some(nodes)))?;
        }
    }
    if let Some(zone) = manners::zone_note() {
        writeln!(out, "- Times: {zone}")?;
    }
    if let Some(found) = &all.findings {
        findings(found, style, out)?;
    }
    for answer in &all.sections {
        section(answer, all.nodes.compared.len(), style, out)?;
    }
    match &all.connections {
        Some(rows) => connections(rows, style, out),
        None => Ok(()),
    }
}

fn side(name: &str, side: &Named, out: &mut impl Write) -> io::Result<()> {
    let time = |time: &Option<String>| time.as_deref().map_or("–".to_owned(), told);
    writeln!(
        out,
        "- {name}: {}, nodes: {}, run {}, {} to {}",
        written::code(&side.bundle),
        side.nodes,
        written::escaped(&some(&side.runs)),
        time(&side.from),
        time(&side.until)
    )?;
    side.left_out.iter().try_for_each(|text| writeln!(out, "- {name}: {}", written::escaped(text)))
}

fn findings(findings: &Findings, style: Style, out: &mut impl Write) -> io::Result<()> {
    let states = findings.changes.iter().map(|change| change.state);
    writeln!(out, "\n## Findings\n\n{}, {} alike.\n", counts(&states), findings.alike)?;
    for change in findings.changes.iter().take(style.shown) {
        let message = |said: &Option<super::model::Said>| {
            said.as_ref().map(|said| written::escaped(&manners::zoned(&said.message)))
        };
        let (before, after) = (message(&change.before), message(&change.after));
        let text = match (before, after) {
            (Some(before), Some(after)) => format!("{after}<br>before: {before}"),
            (before, after) => after.or(before).unwrap_or_default(),
        };
        let why = change.unknown.as_ref().map_or_else(String::new, |unsure| {
            format!("<br>not known in {}: {}", unsure.side, written::escaped(&unsure.reason))
        });
        writeln!(
            out,
            "- {} **{}** {} on {}: {text}{why}",
            change.state.name(),
            change.severity,
            written::code(&change.diagnostic),
            written::escaped(change.node.as_deref().unwrap_or("all nodes"))
        )?;
    }
    more(findings.changes.len().saturating_sub(style.shown), out)
}

fn section(
    section: &Section,
    compared: usize,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let states = section.changes.iter().map(|change| change.state);
    writeln!(out, "\n## {}\n\n{}, {} alike.\n", section.title, counts(&states), section.alike)?;
    for change in section.changes.iter().take(style.shown) {
        writeln!(out, "- {}", line(change, compared))?;
    }
    more(section.changes.len().saturating_sub(style.shown) + section.more, out)?;
    for unknown in &section.unknown {
        writeln!(
            out,
            "- not known in {}: {} that the other side has, as {}{}",
            unknown.unsure.side,
            unknown.items,
            written::escaped(&unknown.unsure.reason),
            written::escaped(&on(&unknown.nodes, compared))
        )?;
    }
    Ok(())
}

fn line(change: &Change, compared: usize) -> String {
    let nodes = written::escaped(&on(&change.nodes, compared));
    let values = match values(change) {
        text if text.is_empty() => text,
        text => format!(": {}", written::code(&text)),
    };
    format!("{}: {}{values}{nodes}", change.state.name(), written::code(&change.item))
}

fn connections(rows: &[Connection], style: Style, out: &mut impl Write) -> io::Result<()> {
    let count = rows.iter().filter(|row| row.differs).count();
    writeln!(out, "\n## Connections\n\n{count} of {} differ.\n", rows.len())?;
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "| | node | target | available A | B | outages A | B | median A | B |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|"
    )?;
    for row in rows.iter().take(style.shown) {
        let ([share_a, out_a, median_a], [share_b, out_b, median_b]) = (cells(row.a), cells(row.b));
        writeln!(
            out,
            "| {} | {} | {} | {share_a} | {share_b} | {out_a} | {out_b} | {median_a} | {median_b} |",
            if row.differs { "changed" } else { "" },
            written::escaped(&row.node),
            written::escaped(&row.target)
        )?;
    }
    more(rows.len().saturating_sub(style.shown), out)
}

fn more(count: usize, out: &mut impl Write) -> io::Result<()> {
    if count == 0 { Ok(()) } else { writeln!(out, "- and {count} more") }
}
