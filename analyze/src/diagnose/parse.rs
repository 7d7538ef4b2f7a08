//! The grammar of a diagnostic's file, and the checks that need no database.
//!
//! ```sql
//! -- title: Outbound connection was down
//! -- severity: error
//! -- needs: probe
//! -- param: failures = 2
//! --
//! -- What it means, in Markdown, and what to do next, with a link.
//! SELECT node, ts, message, … FROM …
//! ```
//!
//! A row of the statement is a finding. It may have a `severity` of its own, and
//! `'blind'` makes it none: then the node is one of which nothing is known, and
//! `message` says why.
//!
//! A verdict must not change with the day on which the bundle is read, so a
//! statement that asks the clock is refused here where its text shows it
//! (`'now'`, `date()`, `'localtime'`), and by [`run`](super::run) where SQLite
//! tells (`CURRENT_TIMESTAMP`). A time made up of pieces is not found out; it
//! fools nobody but its author.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::token::{Kind, Token, tokens};

/// Parameter that every statement may use without declaring it: when the newest
/// session of the bundle last wrote, as a time in the form of `ts`.
pub(crate) const COLLECTED_UNTIL: &str = "collected_until";

const KEYS: &str = "title, severity, needs, category, param, docs";

/// One question, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Diagnostic {
    /// Name of its file without `.sql`.
    pub(crate) id: String,
    /// File that it comes from, for messages.
    pub(crate) file: String,
    /// What a finding of it says, in a few words.
    pub(crate) title: String,
    /// Severity of its findings, unless a row has one of its own.
    pub(crate) severity: Severity,
    /// Collectors without which it is blind on a node.
    pub(crate) needs: Vec<String>,
    /// Family that reports group it under.
    pub(crate) category: Option<String>,
    /// Parameters with their defaults, in the order of the file.
    pub(crate) params: Vec<Param>,
    /// Page that says more.
    pub(crate) docs: Option<String>,
    /// What it means and what to do next, in Markdown.
    pub(crate) prose: String,
    /// The statement.
    pub(crate) sql: String,
    /// Line of the file, from 1, on which the statement starts.
    pub(crate) sql_line: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// Likely to cause trouble.
    Warning,
    /// Trouble.
    Error,
}

impl Severity {
    /// Severity of its text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "info" => Some(Self::Info),
            "warning" => Some(Self::Warning),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A parameter that users may set: `:failures` in the statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    /// Name without its colon.
    pub(crate) name: String,
    /// Value if users set none.
    pub(crate) default: ParamValue,
}

/// Value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ParamValue {
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// Anything else.
    Text(String),
}

impl ParamValue {
    /// Value of a text: a number if it reads as one, quotes taken off otherwise.
    pub(crate) fn parse(text: &str) -> Self {
        let unquoted = || text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
        if let Ok(number) = text.parse() {
            Self::Integer(number)
        } else if let Some(number) = text.parse().ok().filter(|n: &f64| n.is_finite()) {
            Self::Real(number)
        } else {
            Self::Text(unquoted().unwrap_or(text).to_owned())
        }
    }
}

impl Diagnostic {
    /// Puts values that a user gave in the place of defaults.
    ///
    /// # Errors
    ///
    /// If the diagnostic has no parameter of a name.
    pub(crate) fn set_params(&mut self, given: &BTreeMap<String, String>) -> anyhow::Result<()> {
        for (name, text) in given {
            let Some(param) = self.params.iter_mut().find(|param| param.name == *name) else {
                let names: Vec<_> = self.params.iter().map(|param| param.name.as_str()).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                anyhow::bail!("{} has no parameter {name}\nhint: it has: {known}", self.id);
            };
            param.default = ParamValue::parse(text);
        }
        Ok(())
    }
}

/// Why a file is no diagnostic.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}\nhint: {hint}")]
pub(crate) struct ParseError {
    /// File as it was named.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) hint: String,
}

/// What is wrong, on which line, and what to write instead.
type Problem = (usize, String, String);

/// Takes a file apart and checks it.
///
/// # Errors
///
/// If the header lacks or repeats a key or has an unknown one, or if the
/// statement is not a single `SELECT`, asks the clock, or uses a parameter that
/// the header does not declare.
pub(crate) fn parse(id: &str, file: &str, text: &str) -> Result<Diagnostic, ParseError> {
    read(id, file, text).map_err(|(line, problem, hint)| ParseError {
        file: file.to_owned(),
        line,
        problem,
        hint,
    })
}

fn read(id: &str, file: &str, text: &str) -> Result<Diagnostic, Problem> {
    let comment = |line: &&str| line.starts_with("--");
    let header_lines = text.lines().take_while(comment).count();
    let keys: Vec<&str> =
        text.lines().take(header_lines).take_while(|line| line.trim_end() != "--").collect();
    let prose: Vec<&str> = text
        .lines()
        .take(header_lines)
        .skip(keys.len() + 1)
        .map(|line| line.strip_prefix("-- ").unwrap_or(&line[2..]).trim_end())
        .collect();
    let header = read_header(&keys)?;
    let sql: String = text.split_inclusive('\n').skip(header_lines).collect();
    check_statement(&sql, header_lines, &header.params)?;
    let missing = |key: &str, example: &str| {
        (1, format!("the header has no {key}"), format!("add a line: -- {key}: {example}"))
    };
    Ok(Diagnostic {
        id: id.to_owned(),
        file: file.to_owned(),
        title: header.title.ok_or_else(|| missing("title", "What a finding says"))?,
        severity: header.severity.ok_or_else(|| missing("severity", "warning"))?,
        needs: header.needs.unwrap_or_default(),
        category: header.category,
        params: header.params,
        docs: header.docs,
        prose: prose.join("\n").trim().to_owned(),
        sql_line: header_lines + 1 + leading_lines(&sql),
        sql,
    })
}

/// Empty lines before the statement.
fn leading_lines(sql: &str) -> usize {
    sql.lines().take_while(|line| line.trim().is_empty()).count()
}

#[derive(Default)]
struct Header {
    title: Option<String>,
    severity: Option<Severity>,
    needs: Option<Vec<String>>,
    category: Option<String>,
    params: Vec<Param>,
    docs: Option<String>,
}

fn read_header(lines: &[&str]) -> Result<Header, Problem> {
    let mut header = Header::default();
    for (index, line) in lines.iter().enumerate() {
        let at = index + 1;
        let body = line[2..].trim();
        let (key, value) = body
            .split_once(':')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| {
                let problem = format!("{body:?} is not `key: value`");
                (at, problem, "an empty line -- ends the keys, text goes below it".to_owned())
            })?;
        let repeated = match key {
            "title" => header.title.replace(value.to_owned()).is_some(),
            "category" => header.category.replace(value.to_owned()).is_some(),
            "docs" => header.docs.replace(value.to_owned()).is_some(),
            "needs" => {
                let names = value.split(',').map(|name| name.trim().to_owned()).collect();
                header.needs.replace(names).is_some()
            }
            "severity" => {
                let severity = Severity::parse(value).ok_or_else(|| {
                    let problem = format!("{value:?} is no severity");
                    (at, problem, "write error, warning or info".to_owned())
                })?;
                header.severity.replace(severity).is_some()
            }
            "param" => {
                let param = read_param(value).ok_or_else(|| {
                    let problem = format!("{value:?} is no parameter");
                    (at, problem, "write it as: -- param: failures = 2".to_owned())
                })?;
                let known = header.params.iter().any(|known| known.name == param.name);
                header.params.push(param);
                known
            }
            _ => {
                let problem = format!("the header has no key {key:?}");
                return Err((at, problem, format!("the keys are: {KEYS}")));
            }
        };
        if repeated {
            return Err((at, format!("{key} is there twice"), "leave one of them".to_owned()));
        }
    }
    Ok(header)
}

fn read_param(text: &str) -> Option<Param> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut chars = name.chars();
    let is_name = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && name != COLLECTED_UNTIL && !value.is_empty())
        .then(|| Param { name: name.to_owned(), default: ParamValue::parse(value) })
}

fn check_statement(sql: &str, lines_before: usize, params: &[Param]) -> Result<(), Problem> {
    let tokens = tokens(sql);
    let line = |token: &Token<'_>| lines_before + 1 + sql[..token.at].matches('\n').count();
    let Some(first) = tokens.first() else {
        let hint = "write SELECT node, ts, message FROM … below the header".to_owned();
        return Err((lines_before + 1, "there is no statement".to_owned(), hint));
    };
    if !["SELECT", "WITH"].iter().any(|word| first.text.eq_ignore_ascii_case(word)) {
        let problem = format!("the statement starts with {:?}", first.text);
        return Err((line(first), problem, "start it with SELECT or WITH".to_owned()));
    }
    let end = tokens.iter().position(|token| is_sign(token, ";")).unwrap_or(tokens.len());
    if let Some(second) = tokens.get(end + 1) {
        let problem = "there is a second statement".to_owned();
        return Err((line(second), problem, "make another file of it".to_owned()));
    }
    if let Some((at, problem)) = find_clock(&tokens) {
        let hint = "an old bundle keeps its verdict: compare with :collected_until".to_owned();
        return Err((line(at), problem, hint));
    }
    for token in tokens.iter().filter(|token| token.kind == Kind::Variable) {
        let declared = token.text.strip_prefix(':').is_some_and(|name| {
            name == COLLECTED_UNTIL || params.iter().any(|param| param.name == name)
        });
        if !declared {
            let problem = format!("the header declares no parameter {}", token.text);
            let name = token.text.trim_start_matches([':', '@', '$', '?']);
            return Err((line(token), problem, format!("add a line: -- param: {name} = …")));
        }
    }
    let is_used = |param: &&Param| {
        tokens.iter().any(|t| t.kind == Kind::Variable && t.text[1..] == param.name)
    };
    match params.iter().find(|param| !is_used(param)) {
        Some(unused) => {
            let problem = format!("parameter {} is never used", unused.name);
            Err((1, problem, format!("use it as :{} or leave it out", unused.name)))
        }
        None => Ok(()),
    }
}

fn is_sign(token: &Token<'_>, sign: &str) -> bool {
    token.kind == Kind::Sign && token.text == sign
}

/// First token that makes the statement read the clock or the time zone of the
/// machine it runs on.
fn find_clock<'a, 'b>(tokens: &'b [Token<'a>]) -> Option<(&'b Token<'a>, String)> {
    let is_any = |text: &str, of: &[&str]| of.iter().any(|name| text.eq_ignore_ascii_case(name));
    tokens.iter().enumerate().find_map(|(index, token)| {
        if token.kind == Kind::Text && is_any(token.text.trim(), &["now", "localtime"]) {
            return Some((token, format!("'{}' is not the bundle's time", token.text)));
        }
        let is_name = matches!(token.kind, Kind::Word | Kind::QuotedName);
        let reads_one = ["date", "time", "datetime", "julianday", "unixepoch"];
        let needed = match token.text {
            name if is_name && is_any(name, &reads_one) => 1,
            name if is_name && is_any(name, &["strftime"]) => 2,
            _ => return None,
        };
        let given = arguments(tokens.get(index + 1..)?)?;
        let is_clock = given.len() < needed
            || given.get(needed - 1).is_some_and(|first| {
                first.kind == Kind::Text && is_any(first.text, &["subsec", "subsecond"])
            });
        is_clock.then(|| (token, format!("{}() without a time reads the clock", token.text)))
    })
}

/// First token of each argument of a call whose name stands before `rest`,
/// `None` if this is no call.
fn arguments<'a, 'b>(rest: &'b [Token<'a>]) -> Option<Vec<&'b Token<'a>>> {
    rest.first().filter(|token| is_sign(token, "("))?;
    let mut found = Vec::new();
    let (mut depth, mut starts) = (0, true);
    for token in rest {
        let opens = is_sign(token, "(");
        if depth == 1 && is_sign(token, ",") {
            starts = true;
        } else if is_sign(token, ")") {
            depth -= 1;
            if depth == 0 {
                break;
            }
        } else if depth >= 1 && starts {
            found.push(token);
            starts = false;
        }
        depth += i32::from(opens);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "-- title: T\n-- severity: info\n";

    fn problem(text: &str) -> String {
        parse("x", "x.sql", text).expect_err(text).to_string()
    }

    #[test]
    fn a_file_comes_apart() {
        let text = "-- title: It was down: badly\n-- severity: error\n-- needs: probe, dns-node\n\
            -- param: failures = 2\n-- param: share = 0.5\n-- param: unit = 'kubelet'\n\
            -- docs: https://learn.microsoft.com/\n-- category: network\n--\n\
            -- What it means.\n--\n--     code\n\nSELECT :failures, :share, :unit;\n";
        let found = parse("down", "down.sql", text).unwrap();
        assert_eq!(found.title, "It was down: badly");
        assert_eq!(found.severity, Severity::Error);
        assert_eq!(found.needs, ["probe", "dns-node"]);
        let values: Vec<_> = found.params.into_iter().map(|param| param.default).collect();
        let text = ParamValue::Text("kubelet".to_owned());
        assert_eq!(values, [ParamValue::Integer(2), ParamValue::Real(0.5), text]);
        assert_eq!(found.docs.as_deref(), Some("https://learn.microsoft.com/"));
        assert_eq!(found.category.as_deref(), Some("network"));
        assert_eq!(found.prose, "What it means.\n\n    code");
        assert_eq!(found.sql.trim(), "SELECT :failures, :share, :unit;");
        assert_eq!(found.sql_line, 14);
    }

    #[test]
    fn a_header_says_what_is_wrong_with_it() {
        let check = |text: &str, expected: &str| {
            let found = problem(text);
            assert_eq!(found.lines().next(), Some(expected), "{found}");
        };
        check("SELECT 1", "x.sql:1: the header has no title");
        check("-- title: T\nSELECT 1", "x.sql:1: the header has no severity");
        check("-- title: T\n-- severity: bad\nSELECT 1", "x.sql:2: \"bad\" is no severity");
        check("-- title: T\n-- titel: U\nSELECT 1", "x.sql:2: the header has no key \"titel\"");
        check("-- title: T\n-- title: U\nSELECT 1", "x.sql:2: title is there twice");
        check("-- title: T\n-- Some text\nSELECT 1", "x.sql:2: \"Some text\" is not `key: value`");
        check("-- param: 2 = 2\nSELECT 1", "x.sql:1: \"2 = 2\" is no parameter");
        check(
            "-- param: collected_until = 2\n",
            "x.sql:1: \"collected_until = 2\" is no parameter",
        );
    }

    #[test]
    fn an_error_names_the_place_and_the_way_out() {
        assert_eq!(
            problem(&format!("{HEADER}--\n-- Prose.\nSELECT\n    :limit\n")),
            "x.sql:6: the header declares no parameter :limit\n\
             hint: add a line: -- param: limit = …"
        );
    }

    #[test]
    fn a_statement_is_one_select() {
        let check = |sql: &str, expected: &str| {
            let found = problem(&format!("{HEADER}{sql}"));
            assert!(found.starts_with(expected), "{found}");
        };
        check("", "x.sql:3: there is no statement");
        check("-- only a comment", "x.sql:3: \"only a comment\" is not `key: value`");
        check("DELETE FROM probe", "x.sql:3: the statement starts with \"DELETE\"");
        check("SELECT 1;\nSELECT 2", "x.sql:4: there is a second statement");
        check("SELECT ?1", "x.sql:3: the header declares no parameter ?1");
        let unused = format!("-- param: failures = 2\n{HEADER}SELECT 1");
        assert!(problem(&unused).starts_with("x.sql:1: parameter failures is never used"));
        for fine in ["SELECT ';'", "with a as (select 1) select * from a; -- done", "SELECT 1;\n"] {
            parse("x", "x.sql", &format!("{HEADER}{fine}")).expect(fine);
        }
    }

    #[test]
    fn the_clock_is_not_read() {
        for sql in [
            "SELECT datetime('now')",
            "SELECT ' NOW '",
            "SELECT date ( )",
            "SELECT \"unixepoch\"()",
            "SELECT unixepoch('subsec')",
            "SELECT strftime('%s')",
            "SELECT datetime(ts, 'localtime') FROM probe",
        ] {
            assert!(problem(&format!("{HEADER}{sql}")).contains("hint: an old bundle"), "{sql}");
        }
        for sql in [
            "SELECT date(ts), time FROM (SELECT ts, 1 AS time FROM probe)",
            "SELECT strftime('%s', ts) FROM probe",
            "SELECT unixepoch(max(ts, '2026'), 'subsec') FROM probe",
            "SELECT julianday(:collected_until)",
        ] {
            parse("x", "x.sql", &format!("{HEADER}{sql}")).expect(sql);
        }
    }

    #[test]
    fn users_set_parameters_that_exist() {
        let text = format!("-- param: failures = 2\n{HEADER}SELECT :failures");
        let mut found = parse("x", "x.sql", &text).unwrap();
        found.set_params(&BTreeMap::from([("failures".to_owned(), "5".to_owned())])).unwrap();
        assert_eq!(found.params[0].default, ParamValue::Integer(5));
        let error = found.set_params(&BTreeMap::from([("fails".to_owned(), "5".to_owned())]));
        assert_eq!(
            error.unwrap_err().to_string(),
            "x has no parameter fails\nhint: it has: failures"
        );
    }
}
