//! `diagnostics list|show|test|new`: what can be found, what it means, and how to
//! write one more.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::library::{self, Entry};
use super::run::{Answer, Limits, Survey, run as ask};
use super::{cases, show};
use crate::cli::{
    DiagnosticsAction, DiagnosticsArguments, ListFormat, NewArguments, ShowArguments,
};
use crate::open::open;
use crate::output::{self, Outcome, table};

/// What `new` writes: a diagnostic that works, and cases that it passes.
const TEMPLATE_SQL: &str = include_str!("template.sql");
const TEMPLATE_CASES: &str = include_str!("template.toml");

/// Lists, explains, tests or begins diagnostics.
///
/// # Errors
///
/// If a folder or a file of it is not what it should be.
pub(crate) fn run(arguments: &DiagnosticsArguments) -> Result<Outcome> {
    match &arguments.action {
        DiagnosticsAction::List { format, library } => {
            list(&library::load(&library.folders)?, *format)
        }
        DiagnosticsAction::Show(arguments) => show(arguments),
        DiagnosticsAction::Test { folder } => test(folder),
        DiagnosticsAction::New(arguments) => new(arguments),
    }
}

/// A line of the list, for programs.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    severity: String,
    category: Option<&'a str>,
    needs: &'a [String],
    title: &'a str,
    file: &'a str,
}

fn list(entries: &[Entry], format: ListFormat) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    let listed = entries.iter().map(|Entry { diagnostic, .. }| Listed {
        id: &diagnostic.id,
        severity: diagnostic.severity.to_string(),
        category: diagnostic.category.as_deref(),
        needs: &diagnostic.needs,
        title: &diagnostic.title,
        file: &diagnostic.file,
    });
    match format {
        ListFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &listed.collect::<Vec<_>>())?;
            writeln!(out)?;
        }
        ListFormat::Table => {
            let mut rows = table(["id", "severity", "needs", "title"]);
            for one in listed {
                let needs = one.needs.join(", ");
                rows.add_row([one.id, &one.severity, &needs, one.title]);
            }
            writeln!(out, "{rows}")?;
        }
    }
    Ok(Outcome::NothingFound)
}

fn show(arguments: &ShowArguments) -> Result<Outcome> {
    let entries = library::load(&arguments.library.folders)?;
    let entry = library::find(&entries, &arguments.id)?;
    let mut out = io::stdout().lock();
    if arguments.sql {
        write!(out, "{}", entry.text)?;
        return Ok(Outcome::NothingFound);
    }
    let answer = match arguments.bundle.as_slice() {
        [] => None,
        bundle => Some(answer(entry, bundle)?),
    };
    show::write(entry, answer.as_ref(), &mut out)?;
    Ok(match answer {
        Some(answer) if answer.error.is_some() => Outcome::Failed,
        Some(answer) if !answer.findings.is_empty() => Outcome::Findings,
        _ => Outcome::NothingFound,
    })
}

/// What a diagnostic says of a bundle.
fn answer(entry: &Entry, paths: &[std::path::PathBuf]) -> Result<Answer> {
    let mut bundle = open(paths)?;
    let survey = Survey::read(bundle.connection()).context("reading what was collected")?;
    let limits = Limits { deadline: Duration::from_mins(1), ..Limits::default() };
    Ok(ask(bundle.connection_mut(), &entry.diagnostic, &survey, limits))
}

/// Runs the cases of every diagnostic of a folder.
fn test(folder: &Path) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for entry in library::read_folder(folder)? {
        let id = &entry.diagnostic.id;
        let path = folder.join(format!("{id}.toml"));
        let cases = match fs::read_to_string(&path) {
            Ok(text) => cases::parse(&path.display().to_string(), &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        for case in &cases {
            let complaints = match case.ask(&entry.diagnostic) {
                Ok(answer) => case.complaints(&answer),
                Err(error) => vec![format!("{error:#}")],
            };
            if complaints.is_empty() {
                passed += 1;
                writeln!(out, "ok      {id}: {}", case.name)?;
            } else {
                failed += 1;
                writeln!(out, "FAILED  {id}: {}", case.name)?;
            }
            for complaint in complaints {
                writeln!(out, "        {}", complaint.replace('\n', "\n        "))?;
            }
        }
        for lack in cases::uncovered(&cases) {
            failed += 1;
            writeln!(out, "FAILED  {id}: {lack} ({})", path.display())?;
        }
    }
    writeln!(out, "\n{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { Outcome::NothingFound } else { Outcome::Failed })
}

/// Writes a diagnostic to begin with, and its cases.
fn new(arguments: &NewArguments) -> Result<Outcome> {
    let (id, folder) = (&arguments.id, &arguments.folder);
    library::check_id(id)?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for (extension, text) in [("sql", TEMPLATE_SQL), ("toml", TEMPLATE_CASES)] {
        let path = folder.join(format!("{id}.{extension}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        match file {
            Ok(mut file) => file
                .write_all(text.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} is there already\nhint: choose another name", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("writing {}", path.display())),
        }
        output::note(&format!("wrote {}", path.display()));
    }
    let folder = folder.display();
    output::note(&format!(
        "next: change both, then\n  periscope-analyze diagnostics test {folder}\n  \
         periscope-analyze BUNDLE --diagnostics {folder} --only {id}"
    ));
    Ok(Outcome::NothingFound)
}
