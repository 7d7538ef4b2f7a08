//! Explains one diagnostic, as a page of a manual would.

use std::io::Write;

use anyhow::Result;

use super::library::Entry;
use super::parse::ParamValue;
use super::run::{Answer, State};
use crate::output::printable;
use crate::prose::{self, Spacing, write_wrapped};

const INDENT: &str = "    ";

/// Writes the page; with an answer, what it says of a bundle too.
pub(super) fn write(entry: &Entry, answer: Option<&Answer>, out: &mut impl Write) -> Result<()> {
    let diagnostic = &entry.diagnostic;
    let width = prose::width();
    writeln!(out, "NAME")?;
    write_wrapped(out, INDENT, &format!("{} - {}", diagnostic.id, diagnostic.title), width)?;
    writeln!(out, "\nFINDINGS")?;
    let category = diagnostic.category.as_deref().unwrap_or("none");
    writeln!(out, "{INDENT}severity  {}, unless a row says otherwise", diagnostic.severity)?;
    writeln!(out, "{INDENT}category  {category}")?;
    let needs = match diagnostic.needs.as_slice() {
        [] => "nothing: it is never blind".to_owned(),
        needs => format!("{}; blind on nodes without", needs.join(", ")),
    };
    write_wrapped(out, &format!("{INDENT}needs     "), &needs, width)?;
    if let Some(answer) = answer {
        write_answer(answer, width, out)?;
    }
    if !diagnostic.prose.is_empty() {
        writeln!(out, "\nDESCRIPTION")?;
        prose::write(out, INDENT, &diagnostic.prose, width, Spacing::Airy)?;
    }
    if !diagnostic.params.is_empty() {
        writeln!(out, "\nPARAMETERS")?;
        for param in &diagnostic.params {
            let (value, kind) = match &param.default {
                ParamValue::Integer(number) => (number.to_string(), "whole number"),
                ParamValue::Real(number) => (number.to_string(), "number"),
                ParamValue::Text(text) => (text.clone(), "text"),
            };
            let option = format!("--param {}.{}={value}", diagnostic.id, param.name);
            write_wrapped(out, INDENT, &format!("{option} ({kind})"), width)?;
        }
    }
    writeln!(out, "\nFILES")?;
    let file = entry.path.as_ref().map(|path| path.display().to_string());
    let file = file.unwrap_or_else(|| {
        format!(
            "built in; diagnostics show {0} --sql > FOLDER/{0}.sql copies it, and \
             --diagnostics FOLDER uses the copy in its place",
            diagnostic.id
        )
    });
    write_wrapped(out, INDENT, &file, width)?;
    if let Some(docs) = &diagnostic.docs {
        writeln!(out, "\nSEE ALSO")?;
        writeln!(out, "{INDENT}{docs}")?;
    }
    writeln!(out, "\nSQL")?;
    for line in diagnostic.sql.trim().lines() {
        writeln!(out, "{}", format!("{INDENT}{line}").trim_end())?;
    }
    Ok(())
}

/// Writes what it says of a bundle.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn write_answer(answer: &Answer, width: usize, out: &mut impl Write) -> Result<()> {
    writeln!(out, "\nIN THIS BUNDLE")?;
    if let Some(error) = &answer.error {
        write_wrapped(out, &format!("{INDENT}error: "), &printable(error), width)?;
    }
    for finding in &answer.findings {
        let node = finding.node.as_deref().unwrap_or("all nodes");
        let head = format!("{INDENT}{} on {}: ", finding.severity, printable(node));
        write_wrapped(out, &head, &printable(&finding.message), width)?;
    }
    for node in &answer.nodes {
        let text = match &node.state {
            State::Healthy => "healthy".to_owned(),
            State::Blind { reason } => format!("blind: {reason}"),
            State::Finding { .. } | State::Error { .. } => continue,
        };
        let head = format!("{INDENT}{}: ", printable(&node.node));
        write_wrapped(out, &head, &printable(&text), width)?;
    }
    Ok(())
}
