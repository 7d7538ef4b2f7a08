//! `query`: one question in SQL, its rows as a table, CSV or JSON.

use std::io::{self, BufWriter, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement};
use serde_json::Value;

use crate::cli::{Format, QueryArguments};
use crate::open::{open_for, warn_of_damage};
use crate::output::{self, Outcome};

/// Rows that a table shows; more than anyone reads, and little enough to hold
/// in memory. CSV and JSON have no such limit.
const TABLE_ROWS: usize = 10_000;

/// Asks and prints.
///
/// # Errors
///
/// If the bundle cannot be opened, or the SQL is wrong or would change
/// something.
pub(crate) fn run(arguments: &QueryArguments) -> Result<Outcome> {
    let (sql, bundle) = arguments.bundle_and_sql.split_last().context("no SQL was given")?;
    let sql = if sql == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("reading SQL from standard input")?;
        text
    } else {
        sql.clone()
    };
    let paths: Vec<_> = bundle.iter().map(Into::into).collect();
    let mut bundle = open_for(&paths, &sql)?;
    bundle.connection_mut().authorizer(Some(read_only))?;
    let mut out = BufWriter::new(io::stdout().lock());
    print(bundle.connection(), &sql, arguments.format, &mut out)?;
    out.flush()?;
    let damaged = warn_of_damage(&bundle);
    let whole = bundle.problems().is_empty() && !damaged;
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// Lets a statement read, and look at how tables are made; nothing else.
fn read_only(context: AuthContext<'_>) -> Authorization {
    let is_look = |pragma: &str| {
        ["table_info", "table_xinfo", "table_list", "function_list", "database_list"]
            .contains(&pragma.to_ascii_lowercase().as_str())
    };
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Pragma { pragma_name, pragma_value: _ } if is_look(pragma_name) => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

/// Runs one statement and prints its rows.
fn print(connection: &Connection, sql: &str, format: Format, out: &mut impl Write) -> Result<()> {
    let mut statement = prepare(connection, sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    ensure!(!names.is_empty(), "the SQL is no question\nhint: write one SELECT");
    match format {
        Format::Table => print_table(&mut statement, &names, out),
        Format::Csv => print_csv(&mut statement, &names, out),
        Format::Json => print_json(&mut statement, &names, out),
    }
}

fn prepare<'a>(connection: &'a Connection, sql: &str) -> Result<Statement<'a>> {
    match connection.prepare(sql) {
        Ok(statement) => Ok(statement),
        Err(rusqlite::Error::MultipleStatement) => {
            bail!("more than one statement\nhint: ask one question at a time")
        }
        Err(rusqlite::Error::SqlInputError { msg, offset, .. }) => {
            let offset = usize::try_from(offset).unwrap_or(0);
            bail!("{msg}{}\nhint: {}", mark(sql, offset), hint(&msg))
        }
        Err(rusqlite::Error::SqliteFailure(code, message))
            if code.code == rusqlite::ErrorCode::AuthorizationForStatementDenied =>
        {
            let message = message.unwrap_or_else(|| "not authorized".to_owned());
            bail!(
                "{message}: a bundle can be read only\n\
                 hint: write one SELECT; to work on a copy, use merge and sqlite3"
            )
        }
        Err(rusqlite::Error::SqliteFailure(_, Some(message))) => {
            bail!("{message}\nhint: {}", hint(&message))
        }
        Err(error) => Err(error).context("preparing the SQL"),
    }
}

/// The line of the SQL that a mistake is in, with a mark below it.
fn mark(sql: &str, offset: usize) -> String {
    let Some(before) = sql.get(..offset) else { return String::new() };
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = sql[start..].lines().next().unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let column = sql[start..offset].chars().count();
    format!("\n  at line {number}, column {}:\n  {line}\n  {:column$}^", column + 1, "")
}

fn hint(message: &str) -> &'static str {
    if message.starts_with("no such table") {
        "SELECT name FROM sqlite_schema UNION SELECT name FROM virtual_table shows all tables"
    } else if message.starts_with("no such column") {
        "SELECT name FROM pragma_table_info('log') shows the columns of log; texts take single quotes"
    } else {
        "SQLite's SQL is described at https://sqlite.org/lang_select.html"
    }
}

fn print_table(
    statement: &mut Statement<'_>,
    names: &[String],
    out: &mut impl Write,
) -> Result<()> {
    let mut table = output::table(names);
    let mut rows = statement.query([]).context("asking")?;
    let mut shown = 0;
    while let Some(row) = rows.next().context("asking")? {
        if shown == TABLE_ROWS {
            output::warning(&format!(
                "only the first {TABLE_ROWS} rows are shown\nhint: --format csv prints all"
            ));
            break;
        }
        let cells: rusqlite::Result<Vec<String>> = (0..names.len())
            .map(|at| Ok(output::printable(&text(row.get_ref(at)?).unwrap_or_default())))
            .collect();
        table.add_row(cells.context("reading a row")?);
        shown += 1;
    }
    writeln!(out, "{table}")?;
    Ok(())
}

fn print_csv(statement: &mut Statement<'_>, names: &[String], out: &mut impl Write) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(names)?;
    let mut rows = statement.query([]).context("asking")?;
    while let Some(row) = rows.next().context("asking")? {
        for at in 0..names.len() {
            csv.write_field(bytes(row, at)?)?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    csv.flush()?;
    Ok(())
}

fn print_json(statement: &mut Statement<'_>, names: &[String], out: &mut impl Write) -> Result<()> {
    let mut rows = statement.query([]).context("asking")?;
    let mut separator = "[";
    while let Some(row) = rows.next().context("asking")? {
        let mut object = serde_json::Map::new();
        for (at, name) in names.iter().enumerate() {
            object.insert(name.clone(), json(row.get_ref(at)?));
        }
        write!(out, "{separator}\n  {}", Value::Object(object))?;
        separator = ",";
    }
    writeln!(out, "{}", if separator == "[" { "[]" } else { "\n]" })?;
    Ok(())
}

/// A value as text for people, `None` for NULL.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(hex(bytes)),
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
pub(crate) fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => hex(bytes).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sql: &str, format: Format) -> Result<String> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE t (a, b);
             INSERT INTO t VALUES (1, 'x,\"y'), (NULL, x'00ff'), (0.5, CAST(x'61ff' AS TEXT));",
        )?;
        connection.authorizer(Some(read_only))?;
        let mut out = Vec::new();
        print(&connection, sql, format, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn rows_in_every_format() {
        let all = [Format::Table, Format::Csv, Format::Json]
            .map(|format| ask("SELECT * FROM t", format).expect("rows"))
            .join("\n");
        insta::assert_snapshot!(all);
        assert_eq!(ask("SELECT 1 AS x WHERE false", Format::Json).expect("none"), "[]\n");
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let errors = [
            "SELECT a\nFROM t WHERE c = 1",
            "SELECT * FROM nowhere",
            "SELEC 1",
            "SELECT 1; SELECT 2",
            "DELETE FROM t",
            "CREATE TABLE u (x)",
            "ATTACH 'x.db' AS x",
            "PRAGMA writable_schema = ON",
            "",
        ]
        .map(|sql| format!("{sql}\n→ {:#}", ask(sql, Format::Csv).expect_err(sql)))
        .join("\n\n");
        insta::assert_snapshot!(errors);
    }
}
