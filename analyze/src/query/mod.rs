//! `query`: questions in SQL, their rows in the form that is wanted.
//!
//! Whatever the size of the answer, one row of it is held: but for a table, which has
//! to know how wide its columns are and so shows no more than some rows.

pub(crate) mod format;
mod parquet;
pub(crate) mod progress;
pub(crate) mod text;

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, Statement};

use crate::cli::QueryArguments;
use crate::manners;
use crate::open::{open_for, warn_of_damage};
use crate::output::Outcome;

use self::progress::Progress;

pub(crate) use self::format::Format;

/// Bytes of SQL that are read; a question has a few hundred.
pub(crate) const MOST_SQL_BYTES: u64 = 1 << 20;

/// Asks and prints.
///
/// # Errors
///
/// If the bundle cannot be opened, or the SQL is wrong or would change
/// something.
pub(crate) fn run(arguments: &QueryArguments) -> Result<Outcome> {
    let (paths, sql) = question(arguments)?;
    let params =
        arguments.param.iter().map(|text| Param::parse(text)).collect::<Result<Vec<Param>>>()?;
    ensure!(
        !(arguments.format.is_file() && io::stdout().is_terminal()),
        "a terminal cannot show that format\nhint: > FILE writes it to a file"
    );
    let mut bundle = open_for(&paths, &sql)?;
    bundle.connection_mut().authorizer(Some(read_only))?;
    let progress = Progress::start(bundle.watch(), manners::progress(), io::stdout().is_terminal());
    let mut out = BufWriter::new(io::stdout());
    print(bundle.connection(), &sql, &params, arguments.format, &progress, &mut out)?;
    out.flush()?;
    drop(progress);
    let damaged = warn_of_damage(&bundle);
    let whole = bundle.problems().is_empty() && !damaged;
    Ok(if whole { Outcome::NothingFound } else { Outcome::Failed })
}

/// The bundle and the SQL, wherever they are given.
fn question(arguments: &QueryArguments) -> Result<(Vec<PathBuf>, String)> {
    let all = &arguments.bundle_and_sql;
    if let Some(path) = &arguments.file {
        let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let sql = read_sql(file).with_context(|| format!("reading {}", path.display()))?;
        return Ok((all.iter().map(Into::into).collect(), sql));
    }
    let (sql, bundle) = all.split_last().context("no SQL was given")?;
    ensure!(
        !bundle.is_empty(),
        "no SQL was given\nhint: query BUNDLE \"SELECT …\", or -f FILE, or - to read standard input"
    );
    let sql = if sql == "-" {
        read_sql(io::stdin()).context("reading SQL from standard input")?
    } else {
        sql.clone()
    };
    Ok((bundle.iter().map(Into::into).collect(), sql))
}

/// Reads SQL, if it is not absurdly long.
///
/// # Errors
///
/// If it is, or is no text.
pub(crate) fn read_sql(from: impl Read) -> Result<String> {
    let mut text = String::new();
    from.take(MOST_SQL_BYTES + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= MOST_SQL_BYTES, "it is longer than {MOST_SQL_BYTES} bytes");
    Ok(text)
}

/// A value that a question names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    /// Its name, without the `:` before it.
    pub(crate) name: String,
    /// What stands for it.
    pub(crate) value: SqlValue,
}

impl Param {
    /// Reads `name=value`. A value that looks like a number is one, unless it is
    /// quoted.
    ///
    /// # Errors
    ///
    /// If it is not of that form.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.with_context(|| {
            format!("{text:?} sets no parameter\nhint: -p pod=coredns is :pod in the SQL")
        })?;
        let quoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let value = if let Some(text) = quoted {
            SqlValue::Text(text.to_owned())
        } else if let Ok(number) = value.parse() {
            SqlValue::Integer(number)
        } else if let Some(number) = value.parse().ok().filter(|number: &f64| number.is_finite()) {
            SqlValue::Real(number)
        } else {
            SqlValue::Text(value.to_owned())
        };
        Ok(Self { name: name.trim_start_matches([':', '@', '$']).to_owned(), value })
    }
}

/// Runs all statements and prints their rows, an empty line between.
///
/// # Errors
///
/// If a statement is wrong or would change something, or cannot be printed.
pub(crate) fn print(
    connection: &Connection,
    sql: &str,
    params: &[Param],
    format: Format,
    progress: &Progress,
    out: &mut (impl Write + Send),
) -> Result<()> {
    let statements = text::statements(sql);
    ensure!(
        !format.is_file() || statements.len() == 1,
        "that format holds the answer of one statement\nhint: write one SELECT"
    );
    ensure!(!statements.is_empty(), "the SQL is no question\nhint: write one SELECT");
    for (nth, range) in statements.into_iter().enumerate() {
        let mut statement = prepare(connection, sql, range)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        ensure!(!names.is_empty(), "the SQL is no question\nhint: write one SELECT");
        bind(&mut statement, params)?;
        if nth > 0 && format.parts_answers() {
            writeln!(out)?;
        }
        format::print(&mut statement, &names, format, progress, out)?;
    }
    Ok(())
}

/// Gives the parameters of a statement their values.
fn bind(statement: &mut Statement<'_>, params: &[Param]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or("?").to_owned();
        let bare = name.trim_start_matches([':', '@', '$']);
        let param = params.iter().find(|param| param.name == bare).with_context(|| {
            format!(
                "parameter {name} has no value\nhint: -p {bare}=VALUE, named :{bare} in the SQL"
            )
        })?;
        statement.raw_bind_parameter(index, &param.value).context("setting a parameter")?;
    }
    Ok(())
}

/// Lets a statement read, and look at how tables are made; nothing else.
pub(crate) fn read_only(context: AuthContext<'_>) -> Authorization {
    let is_look = |pragma: &str| {
        ["table_info", "table_xinfo", "table_list", "function_list", "database_list"]
            .contains(&pragma.to_ascii_lowercase().as_str())
    };
    match context.action {
        AuthAction::Function { function_name: "load_extension" } => Authorization::Deny,
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

/// Prepares the statement that is at `range`.
///
/// # Errors
///
/// If it is wrong, with its place; or if it would change something.
pub(crate) fn prepare<'a>(
    connection: &'a Connection,
    sql: &str,
    range: std::ops::Range<usize>,
) -> Result<Statement<'a>> {
    let begin = range.start;
    match connection.prepare(&sql[range]) {
        Ok(statement) => Ok(statement),
        Err(rusqlite::Error::SqlInputError { msg, offset, .. }) => {
            let offset = begin + usize::try_from(offset).unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_with(sql: &str, params: &[&str], format: Format) -> Result<String> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE t (a, b);
             INSERT INTO t VALUES (1, 'x,\"y|<b>'), (NULL, x'00ff'), (0.5, CAST(x'61ff' AS TEXT));",
        )?;
        connection.authorizer(Some(read_only))?;
        let params = params.iter().map(|text| Param::parse(text)).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::new();
        print(&connection, sql, &params, format, &Progress::none(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn ask(sql: &str, format: Format) -> Result<String> {
        ask_with(sql, &[], format)
    }

    #[test]
    fn rows_in_every_format() {
        let all = <Format as clap::ValueEnum>::value_variants()
            .iter()
            .filter(|format| !format.is_file())
            .map(|format| ask("SELECT * FROM t", *format).expect("rows"))
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!(all);
        assert_eq!(ask("SELECT 1 AS x WHERE false", Format::Json).expect("none"), "[]\n");
    }

    #[test]
    fn parameters_have_the_type_that_they_look_like() {
        let sql = "SELECT typeof(:a) AS t, $a AS v; SELECT typeof(@b) AS t";
        let answer = ask_with(sql, &["a=12", "b='12'"], Format::Csv).expect("rows");
        assert_eq!(answer, "t,v\ninteger,12\n\nt\ntext\n");
        let answer = ask_with(sql, &["a=1.5", "b=x=y"], Format::Jsonl).expect("rows");
        assert_eq!(answer, "{\"t\":\"real\",\"v\":1.5}\n{\"t\":\"text\"}\n");
        let error = ask_with(sql, &["a=1"], Format::Csv).expect_err("no value of b");
        assert!(error.to_string().starts_with("parameter @b has no value\nhint: "), "{error}");
        assert!(Param::parse("=1").is_err() && Param::parse("a").is_err());
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let errors = [
            "SELECT a\nFROM t WHERE c = 1",
            "SELECT * FROM nowhere",
            "SELEC 1",
            "SELECT 1;\nSELECT c FROM t",
            "DELETE FROM t",
            "CREATE TABLE u (x)",
            "ATTACH 'x.db' AS x",
            "PRAGMA writable_schema = ON",
            "-- nothing",
            "",
        ]
        .map(|sql| format!("{sql}\n→ {:#}", ask(sql, Format::Csv).expect_err(sql)))
        .join("\n\n");
        insta::assert_snapshot!(errors);
    }
}
