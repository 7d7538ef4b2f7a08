//! `docs/walkthrough.md` is true: its commands are run one after another, from the
//! fetching of a recorded bundle on, and say what the document shows.
//!
//! A line of `…` in the document stands for any number of lines, one at the end of a line
//! for its rest. `PERISCOPE_SHOW=1` prints all that the commands say, for who writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use periscope_tests::azurite::{Azurite, Right};
use periscope_tests::programs;

const CONTAINER: &str = "shop";

/// A command of the document, and what it says there.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All commands: what follows `$ ` in blocks marked `console`.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in document.lines() {
        match line {
            "```console" => is_inside = true,
            "```" => is_inside = false,
            _ if !is_inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                }
                // A command that goes on in the next line.
                (None, Some(step)) if step.command.ends_with('\\') && step.shown.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(line);
                }
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("no command before {line:?}"),
            },
        }
    }
    steps
}

/// Whether lines are what the document shows of them.
fn is_as_shown(shown: &[String], said: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return said.is_empty() };
    if first.trim() == "…" {
        return (0..=said.len()).any(|at| is_as_shown(rest, &said[at..]));
    }
    let is_line = |line: &&&str| match first.strip_suffix('…') {
        Some(begin) => line.starts_with(begin),
        None => **line == first,
    };
    said.first().is_some_and(|line| is_line(&line)) && is_as_shown(rest, &said[1..])
}

/// Puts the recording into a container, as agents do.
fn send(azurite: &Azurite) {
    azurite.container(CONTAINER).expect("a container");
    let folder = root().join("tests/recordings");
    let mut files = Vec::new();
    for run in ["shop-1"] {
        for node in fs::read_dir(folder.join(run)).expect("a recording") {
            let node = node.expect("an entry").file_name().into_string().expect("a name");
            let name = format!("{run}/{node}/{node}.db");
            files.push((name.clone(), fs::read(folder.join(name)).expect("a node file")));
        }
    }
    azurite.put_all(CONTAINER, &files, "").expect("sent");
}

#[test]
fn every_command_says_what_the_document_shows() {
    let azurite = Azurite::start().expect("azurite");
    send(&azurite);
    let analyze = programs::path("periscope-analyze").expect("built");
    let programs = analyze.parent().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = std::env::join_paths(
        std::iter::once(programs.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let document = fs::read_to_string(root().join("docs/walkthrough.md")).expect("the document");
    let steps = steps(&document);
    assert!(steps.len() > 10, "{}", steps.len());
    let mut wrong = String::new();
    for Step { command, shown } in &steps {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(format!("exec 2>&1; {command}")).current_dir(folder.path());
        shell.env("PATH", path.as_ref().expect("a path"));
        shell.env("URL", azurite.url(CONTAINER, &Right::to("rl")).expect("a token"));
        let said = programs::finish(&mut shell).expect("ran").stdout;
        assert!(!said.contains("sig="), "{said}");
        let said = said.replace(&azurite.port().to_string(), "PORT");
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        let shown: Vec<String> = shown.iter().map(|line| line.trim_end().to_owned()).collect();
        if std::env::var_os("PERISCOPE_SHOW").is_some() {
            println!("$ {command}\n{said}");
        }
        if !is_as_shown(&shown, &lines) {
            wrong += &format!("$ {command}\n--- shown\n{}\n--- said\n{said}\n", shown.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "docs/walkthrough.md is not what happens:\n{wrong}");
}

#[test]
fn dots_stand_for_anything() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(is_as_shown(&shown("a\n…\nd"), &["a", "b", "c", "d"]));
    assert!(is_as_shown(&shown("…"), &[]));
    assert!(is_as_shown(&shown("ab…\n…\n"), &["abc"]));
    assert!(!is_as_shown(&shown("a\n…\nd"), &["a", "b"]));
    assert!(!is_as_shown(&shown("a"), &["a", "b"]));
    assert!(!is_as_shown(&shown("ab…"), &["b"]));
}
