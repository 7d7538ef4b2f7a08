//! Dot commands: what is about the shell, and not about the bundle.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rusqlite::types::Value;

use super::{Flow, Session, guard, plan};
use crate::diagnose::run::{self, Answer, Limits, State, Survey};
use crate::diagnose::{library, show};
use crate::output::{self, one_line, table};
use crate::prose;
use crate::query::{Format, Param};

/// A diagnostic is given up after this time.
const DEADLINE: Duration = Duration::from_mins(1);

/// What stands for an argument of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// None, or one that nothing is known of.
    Any,
    /// A table or a view.
    Object,
    /// A way to print rows.
    Format,
    /// A file.
    File,
    /// A diagnostic.
    Diagnostic,
    /// `on` or `off`.
    Switch,
    /// A command.
    Command,
    /// SQL.
    Sql,
}

/// A command and what one should know of it.
pub(super) struct Command {
    /// Its name, without the dot.
    pub(super) name: &'static str,
    /// How its arguments are written.
    usage: &'static str,
    /// What completes an argument.
    pub(super) argument: Argument,
    /// What it does, in a line.
    help: &'static str,
    /// What else there is to know, and an example.
    more: &'static str,
    /// Does it, with all that follows its name.
    run: fn(&mut Session, &str) -> Result<Flow>,
}

impl Command {
    /// What one types of it before its arguments, without the dot.
    pub(super) fn begun(&self) -> String {
        let blank = if self.usage.is_empty() { "" } else { " " };
        format!("{}{blank}", self.name)
    }
}

/// Every command, by name. A beginning that fits one alone is enough.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "diagnose",
        usage: "[ID]",
        argument: Argument::Diagnostic,
        help: "ask one diagnostic, or all in short",
        more: "What each means and what to do about it: periscope-analyze diagnostics show ID.",
        run: diagnose,
    },
    Command {
        name: "exit",
        usage: "",
        argument: Argument::Any,
        help: "end the shell",
        more: "As .quit and Ctrl-D.",
        run: |_, _| Ok(Flow::Quit),
    },
    Command {
        name: "explain",
        usage: "SQL",
        argument: Argument::Sql,
        help: "show how a statement would be answered",
        more: "A line below SCAN log tells what of the statement chooses chunks; see .schema log.\n\
               Example: .explain SELECT * FROM log WHERE node = 'a' AND message MATCH 'timeout'",
        run: explain,
    },
    Command {
        name: "help",
        usage: "[COMMAND]",
        argument: Argument::Command,
        help: "list commands, or tell more of one",
        more: "Statements of SQL end with ; and may take several lines.",
        run: help,
    },
    Command {
        name: "mode",
        usage: "[FORMAT]",
        argument: Argument::Format,
        help: "say how rows are printed",
        more: "A table shows the first 10,000 rows; the other formats all of them.\n\
               Example: .mode csv",
        run: mode,
    },
    Command {
        name: "once",
        usage: "FILE",
        argument: Argument::File,
        help: "write the next answer to a file",
        more: "A file that is there is written over, unless it is one of the bundle.\n\
               Example: .once lines.csv",
        run: |session, rest| {
            let path = one(rest)?.context("once takes the name of a file")?;
            session.target.once(&path, session.bundle.files())?;
            Ok(Flow::GoOn)
        },
    },
    Command {
        name: "output",
        usage: "[FILE]",
        argument: Argument::File,
        help: "write all answers to a file; without one, show them again",
        more: "A file that is there is written over, unless it is one of the bundle.",
        run: |session, rest| {
            session.target.set(one(rest)?.as_deref(), session.bundle.files())?;
            Ok(Flow::GoOn)
        },
    },
    Command {
        name: "param",
        usage: "[NAME=VALUE]",
        argument: Argument::Any,
        help: "give :NAME in statements a value, or list all values",
        more: "What looks like a number is one, unless it is in single quotes. .param NAME= with\n\
               nothing behind it takes the value away.\n\
               Example: .param pod=coredns-1",
        run: param,
    },
    Command {
        name: "quit",
        usage: "",
        argument: Argument::Any,
        help: "end the shell",
        more: "As .exit and Ctrl-D.",
        run: |_, _| Ok(Flow::Quit),
    },
    Command {
        name: "read",
        usage: "FILE",
        argument: Argument::File,
        help: "answer the statements and commands of a file",
        more: "What goes wrong is told with the file's name and line, and the rest is read.",
        run: |session, rest| {
            let path = one(rest)?.context("read takes the name of a file")?;
            session.read_file(&path)
        },
    },
    Command {
        name: "schema",
        usage: "[NAME]",
        argument: Argument::Object,
        help: "show how tables and views are made, each column with a comment",
        more: "* and % stand for any letters.\n\
               Example: .schema probe_*",
        run: schema,
    },
    Command {
        name: "tables",
        usage: "[PATTERN]",
        argument: Argument::Object,
        help: "list tables and views",
        more: "* and % stand for any letters. Those that begin with raw_ are as files have them.",
        run: tables,
    },
    Command {
        name: "timer",
        usage: "[on|off]",
        argument: Argument::Switch,
        help: "say how long each answer takes",
        more: "On standard error, after the answer.",
        run: timer,
    },
];

/// Does what a line says that begins with a dot.
///
/// # Errors
///
/// If there is no such command, or it cannot be done.
pub(super) fn run(session: &mut Session, line: &str) -> Result<Flow> {
    let line = line.trim_start_matches('.');
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (find(name)?.run)(session, rest.trim())
}

/// The command that a name, or the beginning of one, means.
///
/// # Errors
///
/// If there is none, or more than one.
pub(super) fn find(name: &str) -> Result<&'static Command> {
    let name = name.trim_start_matches('.');
    let found: Vec<_> =
        COMMANDS.iter().filter(|c| !name.is_empty() && c.name.starts_with(name)).collect();
    match found[..] {
        [command] => Ok(command),
        [] => bail!("there is no command .{name}\nhint: .help lists all"),
        _ => {
            let names: Vec<_> = found.iter().map(|command| command.name).collect();
            bail!(".{name} may be .{}\nhint: .help lists all", names.join(" or ."))
        }
    }
}

/// The one argument, if there is one; quotes around it are taken off.
fn one(rest: &str) -> Result<Option<String>> {
    if rest.is_empty() {
        return Ok(None);
    }
    for quote in ['\'', '"'] {
        if let Some(inner) = rest.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Ok(Some(inner.to_owned()));
        }
    }
    if rest.contains(char::is_whitespace) {
        bail!("{rest:?} is more than one argument\nhint: names with blanks take quotes");
    }
    Ok(Some(rest.to_owned()))
}

fn help(session: &mut Session, rest: &str) -> Result<Flow> {
    let mut out = session.target.open()?;
    if let Some(name) = one(rest)? {
        let command = find(&name)?;
        let usage = format!(".{} {}", command.name, command.usage);
        writeln!(out, "{}\n  {}\n", usage.trim_end(), command.help)?;
        for line in command.more.lines() {
            writeln!(out, "  {line}")?;
        }
    } else {
        for command in COMMANDS {
            let usage = format!(".{} {}", command.name, command.usage);
            writeln!(out, "{usage:22} {}", command.help)?;
        }
    }
    out.flush()?;
    Ok(Flow::GoOn)
}

fn mode(session: &mut Session, rest: &str) -> Result<Flow> {
    let all: Vec<_> = Format::value_variants()
        .iter()
        .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
        .collect();
    if let Some(name) = one(rest)? {
        let format = Format::from_str(&name, true);
        session.format = format.map_err(anyhow::Error::msg).with_context(|| {
            format!("there is no format {name}\nhint: one of {}", all.join(", "))
        })?;
    } else {
        let name = session.format.to_possible_value();
        output::line(name.as_ref().map_or("", |name| name.get_name()))?;
    }
    Ok(Flow::GoOn)
}

fn param(session: &mut Session, rest: &str) -> Result<Flow> {
    if rest.is_empty() {
        let mut out = session.target.open()?;
        for Param { name, value } in &session.params {
            let value = match value {
                Value::Null => "NULL".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => format!("'{}'", one_line(text)),
                Value::Blob(bytes) => format!("blob of {} bytes", bytes.len()),
            };
            writeln!(out, "{name}={value}")?;
        }
        out.flush()?;
        return Ok(Flow::GoOn);
    }
    let param = Param::parse(rest)?;
    session.params.retain(|other| other.name != param.name);
    if param.value != Value::Text(String::new()) || rest.ends_with("''") {
        session.params.push(param);
    }
    Ok(Flow::GoOn)
}

fn timer(session: &mut Session, rest: &str) -> Result<Flow> {
    match rest {
        "on" => session.has_timer = true,
        "off" => session.has_timer = false,
        "" => output::line(if session.has_timer { "on" } else { "off" })?,
        _ => bail!("timer is on or off"),
    }
    Ok(Flow::GoOn)
}

fn explain(session: &mut Session, rest: &str) -> Result<Flow> {
    let tree = plan::explain(session.bundle.connection(), rest)?;
    let mut out = session.target.open()?;
    out.write_all(tree.as_bytes())?;
    out.flush()?;
    Ok(Flow::GoOn)
}

fn tables(session: &mut Session, rest: &str) -> Result<Flow> {
    let pattern = one(rest)?.unwrap_or_else(|| "*".to_owned());
    let found = session.names.like(&pattern)?;
    let names: Vec<&str> = found.iter().map(|object| object.name.as_str()).collect();
    let widest = names.iter().map(|name| name.len()).max().unwrap_or(0) + 2;
    let columns = (prose::width() / widest).max(1);
    let lines = names.len().div_ceil(columns);
    let mut out = session.target.open()?;
    for line in 0..lines {
        let mut cells = String::new();
        for name in names.iter().skip(line).step_by(lines) {
            // Writing to a String cannot fail.
            let _ = std::fmt::Write::write_fmt(&mut cells, format_args!("{name:widest$}"));
        }
        writeln!(out, "{}", cells.trim_end())?;
    }
    out.flush()?;
    Ok(Flow::GoOn)
}

fn schema(session: &mut Session, rest: &str) -> Result<Flow> {
    let pattern = one(rest)?.unwrap_or_else(|| "*".to_owned());
    let mut out = session.target.open()?;
    for object in session.names.like(&pattern)? {
        writeln!(out, "{};", object.sql.trim().trim_end_matches(';'))?;
    }
    out.flush()?;
    Ok(Flow::GoOn)
}

fn diagnose(session: &mut Session, rest: &str) -> Result<Flow> {
    let id = one(rest)?;
    let asked = match id {
        Some(id) => diagnose_one(session, &id),
        None => diagnose_all(session),
    };
    // Each diagnostic takes down the guard that it ran under.
    guard(&mut session.bundle)?;
    session.tell_damage();
    asked.map(|()| Flow::GoOn)
}

fn diagnose_one(session: &mut Session, id: &str) -> Result<()> {
    let limits = Limits { deadline: DEADLINE, ..Limits::default() };
    let survey = Survey::read(session.bundle.connection()).context("reading what was collected")?;
    let entry = library::find(&session.library, id)?;
    let answer = run::run(session.bundle.connection_mut(), &entry.diagnostic, &survey, limits);
    ensure!(!session.bundle.watch().is_over(), "interrupted");
    let mut out = session.target.open()?;
    show::write_answer(&answer, prose::width(), &mut out)?;
    out.flush()?;
    Ok(())
}

fn diagnose_all(session: &mut Session) -> Result<()> {
    let limits = Limits { deadline: DEADLINE, ..Limits::default() };
    let survey = Survey::read(session.bundle.connection()).context("reading what was collected")?;
    let mut rows = table(["id", "outcome", "title"]);
    for entry in &session.library {
        let answer = run::run(session.bundle.connection_mut(), &entry.diagnostic, &survey, limits);
        ensure!(!session.bundle.watch().is_over(), "interrupted");
        rows.add_row([
            entry.diagnostic.id.clone(),
            outcome(&answer),
            entry.diagnostic.title.clone(),
        ]);
    }
    let mut out = session.target.open()?;
    writeln!(out, "{rows}")?;
    out.flush()?;
    Ok(())
}

/// An answer in a few words.
fn outcome(answer: &Answer) -> String {
    let blind =
        answer.nodes.iter().filter(|node| matches!(node.state, State::Blind { .. })).count();
    match (&answer.error, answer.findings.len()) {
        (Some(error), _) => format!("error: {}", one_line(error)),
        (None, 1) => "1 finding".to_owned(),
        (None, 2..) => format!("{} findings", answer.findings.len()),
        (None, 0) if blind > 0 => format!("blind on {blind} of {} nodes", answer.nodes.len()),
        (None, 0) => "healthy".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_enough() {
        assert_eq!(find("q").map(|command| command.name).expect("found"), "quit");
        assert_eq!(find(".mode").map(|command| command.name).expect("found"), "mode");
        let error = |name| find(name).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error("ex"), ".ex may be .exit or .explain\nhint: .help lists all");
        assert_eq!(error("load"), "there is no command .load\nhint: .help lists all");
        assert!(error("").starts_with("there is no command ."));
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn an_argument_may_be_quoted() {
        let check = |rest, expected: Option<&str>| {
            assert_eq!(one(rest).expect(rest).as_deref(), expected);
        };
        check("", None);
        check("a.csv", Some("a.csv"));
        check("'a b.csv'", Some("a b.csv"));
        check("\"a'b\"", Some("a'b"));
        assert!(one("a b").is_err());
    }
}
