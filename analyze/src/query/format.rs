//! Rows in the form that is wanted.

use std::io::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use data_encoding::HEXLOWER;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};
use serde_json::{Map, Value};

use super::parquet;
use super::progress::Progress;
use crate::output;

/// Rows that a table shows; more than anyone reads, and little enough to hold
/// in memory. The other formats have no such limit.
const TABLE_ROWS: usize = 10_000;

/// Bytes of all cells of a table, for the same reason.
const TABLE_BYTES: usize = 64 << 20;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns sized to the terminal
    Table,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// An array of objects
    Json,
    /// One object a line
    Jsonl,
    /// A table in Markdown
    Markdown,
    /// A table in HTML
    Html,
    /// A Parquet file, for programs that read columns
    Parquet,
}

impl Format {
    /// Whether a file holds one answer and nothing else, and no terminal can show it.
    pub(crate) fn is_file(self) -> bool {
        self == Self::Parquet
    }

    /// Whether there is an empty line between two answers. One object a line has
    /// none.
    pub(crate) fn parts_answers(self) -> bool {
        self != Self::Jsonl
    }
}

/// Prints the rows of a statement whose parameters are set.
pub(crate) fn print(
    statement: &mut Statement<'_>,
    names: &[String],
    format: Format,
    progress: &Progress,
    out: &mut (impl Write + Send),
) -> Result<()> {
    let count = names.len();
    match format {
        Format::Table => print_table(statement, names, progress, out),
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(names)?;
            each(statement, progress, |row| {
                for at in 0..count {
                    csv.write_field(bytes(row, at)?)?;
                }
                Ok(csv.write_record(None::<&[u8]>)?)
            })?;
            Ok(csv.flush()?)
        }
        Format::Json => {
            let mut separator = "[";
            each(statement, progress, |row| {
                write!(out, "{separator}\n  {}", object(row, names)?)?;
                separator = ",";
                Ok(())
            })?;
            Ok(writeln!(out, "{}", if separator == "[" { "[]" } else { "\n]" })?)
        }
        Format::Jsonl => {
            each(statement, progress, |row| Ok(writeln!(out, "{}", object(row, names)?)?))
        }
        Format::Markdown => {
            let cells: Vec<_> = names.iter().map(|name| markdown(name)).collect();
            writeln!(out, "| {} |", cells.join(" | "))?;
            writeln!(out, "|{}", " --- |".repeat(count))?;
            each(statement, progress, |row| {
                let cells: Vec<_> = cells_of(row, count)?.iter().map(|c| markdown(c)).collect();
                Ok(writeln!(out, "| {} |", cells.join(" | "))?)
            })
        }
        Format::Html => {
            writeln!(out, "<table>\n<thead><tr>{}</tr></thead>\n<tbody>", html("th", names))?;
            each(statement, progress, |row| {
                Ok(writeln!(out, "<tr>{}</tr>", html("td", &cells_of(row, count)?))?)
            })?;
            Ok(writeln!(out, "</tbody>\n</table>")?)
        }
        Format::Parquet => parquet::print(statement, names, progress, out),
    }
}

/// Hands over each row.
fn each(
    statement: &mut Statement<'_>,
    progress: &Progress,
    mut each: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().context("asking")? {
        progress.row_shown();
        each(row)?;
    }
    Ok(())
}

fn print_table(
    statement: &mut Statement<'_>,
    names: &[String],
    progress: &Progress,
    out: &mut impl Write,
) -> Result<()> {
    let mut table = output::table(names);
    let mut rows = statement.raw_query();
    let (mut shown, mut held) = (0, 0);
    while let Some(row) = rows.next().context("asking")? {
        if shown == TABLE_ROWS || held > TABLE_BYTES {
            output::warning(&format!(
                "only the first {shown} rows are shown\nhint: --format csv prints all"
            ));
            break;
        }
        let cells: Vec<String> =
            cells_of(row, names.len())?.iter().map(|cell| output::printable(cell)).collect();
        held += cells.iter().map(String::len).sum::<usize>();
        table.add_row(cells);
        shown += 1;
        progress.row_held();
    }
    progress.hide();
    writeln!(out, "{table}")?;
    Ok(())
}

fn cells_of(row: &Row<'_>, count: usize) -> Result<Vec<String>> {
    let cells: rusqlite::Result<_> =
        (0..count).map(|at| Ok(text(row.get_ref(at)?).unwrap_or_default())).collect();
    cells.context("reading a row")
}

fn object(row: &Row<'_>, names: &[String]) -> Result<Value> {
    let mut object = Map::new();
    for (at, name) in names.iter().enumerate() {
        object.insert(name.clone(), json(row.get_ref(at)?));
    }
    Ok(Value::Object(object))
}

/// A cell of a table in Markdown: on one line, and no markup of its own.
fn markdown(text: &str) -> String {
    let mut cell = String::new();
    for c in output::printable(text).chars() {
        match c {
            '\n' => cell.push_str("<br>"),
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                cell.push('\\');
                cell.push(c);
            }
            _ => cell.push(c),
        }
    }
    cell
}

/// Cells of a row in HTML, everything escaped.
fn html(tag: &str, cells: &[String]) -> String {
    use std::fmt::Write;
    cells.iter().fold(String::new(), |mut row, cell| {
        let escaped = output::printable(cell)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        let _ = write!(row, "<{tag}>{escaped}</{tag}>");
        row
    })
}

/// A value as text for people, `None` for NULL.
pub(super) fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(HEXLOWER.encode(bytes)),
    }
}

/// A value as CSV holds it: texts as they are, whatever their bytes.
fn bytes(row: &Row<'_>, at: usize) -> Result<Vec<u8>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Text(bytes) => bytes.to_vec(),
        other => text(other).unwrap_or_default().into_bytes(),
    })
}

/// A value as JSON; bytes that are no text are replaced, blobs are hexadecimal.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => HEXLOWER.encode(bytes).into(),
    }
}
