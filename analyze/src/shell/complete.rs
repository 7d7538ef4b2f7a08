//! What Tab offers.

use std::collections::HashSet;
use std::rc::Rc;

use clap::ValueEnum;
use rustyline::completion::{Candidate, Completer, FilenameCompleter};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Result};

use super::commands::{self, Argument, COMMANDS};
use super::names::Names;
use crate::query::Format;

/// Words of SQL that a question may have.
const KEYWORDS: &[&str] = &[
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLLATE",
    "COUNT",
    "CROSS",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "FROM",
    "GLOB",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MATCH",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "RECURSIVE",
    "REGEXP",
    "SELECT",
    "THEN",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Knows all names, and what was typed on the lines before.
pub(super) struct Helper {
    names: Rc<Names>,
    diagnostics: Vec<String>,
    files: FilenameCompleter,
    /// The statement so far.
    pub(super) before: String,
}

impl Helper {
    /// Offers these names.
    pub(super) fn new(names: Rc<Names>, diagnostics: Vec<String>) -> Self {
        Self { names, diagnostics, files: FilenameCompleter::new(), before: String::new() }
    }

    /// What completes the argument of a command that begins at `start`.
    fn argument(&self, argument: Argument, line: &str, pos: usize) -> Result<(usize, Vec<String>)> {
        let start = line[..pos].rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &line[start..pos];
        let of = |all: &mut dyn Iterator<Item = &str>| {
            let fits = all.filter(|name| name.starts_with(word)).map(str::to_owned);
            Ok((start, fits.collect()))
        };
        match argument {
            Argument::Any => Ok((start, Vec::new())),
            Argument::Sql => Ok(sql(&self.names, "", line, pos)),
            Argument::Object => of(&mut self.names.objects.iter().map(|o| o.name.as_str())),
            Argument::Diagnostic => of(&mut self.diagnostics.iter().map(String::as_str)),
            Argument::Switch => of(&mut ["on", "off"].into_iter()),
            Argument::Command => of(&mut COMMANDS.iter().map(|command| command.name)),
            Argument::Format => {
                let all = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
                let all: Vec<_> = all.map(|value| value.get_name().to_owned()).collect();
                of(&mut all.iter().map(String::as_str))
            }
            Argument::File => {
                let (start, found) = self.files.complete_path(line, pos)?;
                Ok((start, found.iter().map(|pair| pair.replacement().to_owned()).collect()))
            }
        }
    }
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        let is_command = self.before.is_empty() && line.starts_with('.');
        if !is_command {
            return Ok(sql(&self.names, &self.before, line, pos));
        }
        let typed = &line[1..pos.max(1)];
        match typed.split_once(char::is_whitespace) {
            None => {
                let fits = COMMANDS.iter().filter(|command| command.name.starts_with(typed));
                Ok((1, fits.map(commands::Command::begun).collect()))
            }
            Some((name, _)) => match commands::find(name) {
                Ok(command) => self.argument(command.argument, line, pos),
                Err(_) => Ok((pos, Vec::new())),
            },
        }
    }
}

impl Hinter for Helper {
    type Hint = String;
}
impl Highlighter for Helper {}
impl Validator for Helper {}
impl rustyline::Helper for Helper {}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What completes a word of SQL at `pos`: behind a `.` columns, behind FROM and JOIN
/// tables, else columns of the tables that the statement names, functions and keywords.
fn sql(names: &Names, before: &str, line: &str, pos: usize) -> (usize, Vec<String>) {
    let head = &line[..pos];
    let start =
        pos - head.chars().rev().take_while(|c| is_of_word(*c)).map(char::len_utf8).sum::<usize>();
    let (lead, typed) = head.split_at(start);
    let word = typed.to_lowercase();
    let fits = |name: &&str| name.to_lowercase().starts_with(&word);
    let tables = names.objects.iter().map(|object| object.name.as_str()).filter(fits);
    let mut found: Vec<String> =
        if let Some(lead) = lead.strip_suffix('.') {
            let owner = last_word(lead);
            let of_owner = columns(names, |name| name == owner);
            // An alias may stand for any of the tables.
            let all = if of_owner.is_empty() { columns_of(names, before, line) } else { of_owner };
            all.into_iter().filter(fits).map(str::to_owned).collect()
        } else if ["from", "join"].contains(&last_word(&format!("{before} {lead}")).as_str()) {
            tables.map(str::to_owned).collect()
        } else {
            let columns = columns_of(names, before, line).into_iter().filter(fits);
            let mut found: Vec<String> = columns.map(str::to_owned).collect();
            if !word.is_empty() {
                found.extend(tables.map(str::to_owned));
                let functions = names.functions.iter().map(String::as_str).filter(fits);
                found.extend(functions.map(|name| format!("{name}(")));
                let is_small = typed.chars().all(char::is_lowercase);
                found.extend(KEYWORDS.iter().copied().filter(fits).map(|keyword| {
                    if is_small { keyword.to_lowercase() } else { keyword.to_owned() }
                }));
            }
            found
        };
    found.sort_unstable();
    found.dedup();
    (start, found)
}

/// The last word of a text, in small letters.
fn last_word(text: &str) -> String {
    let words = text.trim_end().rsplit(|c| !is_of_word(c));
    words.into_iter().next().unwrap_or_default().to_lowercase()
}

/// Columns of the tables that a statement names.
fn columns_of<'a>(names: &'a Names, before: &str, line: &str) -> Vec<&'a str> {
    let statement = format!("{before}{line}").to_lowercase();
    let words: HashSet<&str> = statement.split(|c| !is_of_word(c)).collect();
    columns(names, |name| words.contains(name))
}

fn columns(names: &Names, is_meant: impl Fn(&str) -> bool) -> Vec<&str> {
    let meant = names.objects.iter().filter(|object| is_meant(&object.name));
    meant.flat_map(|object| object.columns.iter().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::names::Object;
    use super::*;

    fn helper(before: &str) -> Helper {
        let object = |name: &str, columns: &[&str]| Object {
            name: name.to_owned(),
            sql: String::new(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
        };
        let names = Names {
            objects: vec![
                object("log", &["node", "ts", "message"]),
                object("probe", &["node", "target", "outcome"]),
                object("probe_outage", &["target", "began"]),
            ],
            functions: vec!["max".to_owned(), "match".to_owned()],
        };
        let mut helper = Helper::new(Rc::new(names), vec!["dns-drift".to_owned()]);
        before.clone_into(&mut helper.before);
        helper
    }

    fn check(before: &str, line: &str, expected: &[&str]) {
        let history = rustyline::history::MemHistory::new();
        let found = helper(before).complete(line, line.len(), &Context::new(&history));
        assert_eq!(found.expect("names").1, expected, "{before:?} {line:?}");
    }

    #[test]
    fn names_fit_their_place() {
        check("", "SELECT * FROM pro", &["probe", "probe_outage"]);
        check("", "SELECT * FROM ", &["log", "probe", "probe_outage"]);
        check("SELECT *\nFROM\n", "lo", &["log"]);
        check("", "SELECT count(*) FROM log WHERE me", &["message"]);
        check("SELECT 1\nFROM probe\n", "WHERE t", &["target", "then"]);
        check("", "SELECT probe.", &["node", "outcome", "target"]);
        check("", "SELECT * FROM log AS l JOIN probe AS p ON l.n", &["node"]);
        check("", "SELECT ma", &["match", "match(", "max("]);
        check("", "SELECT * FROM log WH", &["WHEN", "WHERE"]);
        check("", "SELECT 'ü' FROM log WHERE ts", &["ts"]);
        check("", "SELECT nowhere.", &[]);
    }

    #[test]
    fn commands_and_their_arguments() {
        check("", ".t", &["tables ", "timer "]);
        check("", ".q", &["quit"]);
        check("", ".mode js", &["json", "jsonl"]);
        check("", ".schema probe_", &["probe_outage"]);
        check("", ".diagnose d", &["dns-drift"]);
        check("", ".timer ", &["on", "off"]);
        check("", ".explain SELECT * FROM l", &["log"]);
        check("", ".param a", &[]);
        check("", ".nothing a", &[]);
        check("SELECT\n", ".5", &[]);
    }
}
