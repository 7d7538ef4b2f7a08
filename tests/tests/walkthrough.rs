//! The commands of `docs/walkthrough.md`, run one after another on a recording, and what
//! stands below them.
//!
//! `…` on a line of its own stands for any lines, and at the end of one for the rest of
//! it. With Azurite the recording is fetched as the document says; without, it lies where
//! the fetch would have put it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use periscope_tests::{programs, recordings};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A command, and the lines that are shown below it.
#[derive(Debug)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// What a document says to type: indented lines that begin with `$`.
fn steps(document: &str) -> Vec<Step> {
    let mut all: Vec<Step> = Vec::new();
    let mut is_open = false;
    for (at, line) in document.lines().enumerate() {
        match line.strip_prefix("    ") {
            Some(text) if text.starts_with("$ ") => {
                let command = text[2..].to_owned();
                all.push(Step { line: at + 1, command, shown: Vec::new() });
                is_open = true;
            }
            Some(text) if is_open => all.extend_last(text),
            None if is_open && line.is_empty() => all.extend_last(""),
            _ => is_open = false,
        }
    }
    for step in &mut all {
        while step.shown.last().is_some_and(String::is_empty) {
            step.shown.pop();
        }
    }
    all
}

trait Shown {
    fn extend_last(&mut self, text: &str);
}

impl Shown for Vec<Step> {
    fn extend_last(&mut self, text: &str) {
        if let Some(step) = self.last_mut() {
            step.shown.push(text.to_owned());
        }
    }
}

/// Whether lines are those that are shown.
fn is_like(shown: &[String], lines: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return lines.is_empty() };
    if first == "…" {
        return (0..=lines.len()).any(|skipped| is_like(rest, &lines[skipped..]));
    }
    let is_line = |line: &&str| match first.strip_suffix('…') {
        Some(beginning) => line.starts_with(beginning),
        None => line == first,
    };
    lines.first().is_some_and(is_line) && is_like(rest, &lines[1..])
}

/// The URL to fetch from, and who answers there; `None` where the files lie already.
#[cfg(feature = "azurite")]
fn serve(folder: &Path) -> (Option<String>, periscope_tests::azurite::Azurite) {
    use periscope_tests::azurite::{Azurite, Right};

    let azurite = Azurite::start().expect("azurite");
    azurite.container("shop").expect("a container");
    let from = folder.join("recorded");
    recordings::unpack(&from).expect("unpacked");
    // RUN/NODE/NODE.db, as an agent names its blobs.
    let below = |folder: PathBuf| {
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path())
    };
    let blobs: Vec<(String, Vec<u8>)> = below(from.clone())
        .flat_map(below)
        .flat_map(below)
        .map(|path: PathBuf| {
            let name = path.strip_prefix(&from).expect("below").display().to_string();
            (name, fs::read(&path).expect("a file"))
        })
        .collect();
    assert_eq!(blobs.len(), 3);
    azurite.put_all("shop", &blobs, "").expect("put");
    fs::remove_dir_all(&from).expect("removed");
    let url = azurite.url("shop", &Right::to("rl")).expect("a token");
    (Some(url), azurite)
}

#[cfg(not(feature = "azurite"))]
fn serve(folder: &Path) -> (Option<String>, ()) {
    recordings::unpack(&folder.join("bundle")).expect("unpacked");
    (None, ())
}

#[test]
fn the_walk_through_leads_where_it_says() {
    const URL: &str = "https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS";
    let document = fs::read_to_string(root("docs/walkthrough.md")).expect("the document");
    let steps = steps(&document);
    assert!(steps.len() >= 12, "{steps:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let (url, _service) = serve(folder.path());
    let programs_folder = programs::path("").expect("built").display().to_string();
    let paths = std::env::var("PATH").unwrap_or_default();
    for step in &steps {
        let mut command = step.command.clone();
        if command.contains(" fetch ") {
            let Some(url) = &url else { continue };
            command = command.replace(URL, url);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(folder.path());
        shell.env("PATH", format!("{programs_folder}:{paths}"));
        shell.env("COLUMNS", "100").env_remove("NO_COLOR");
        let finished = programs::finish(&mut shell).expect("ran");
        let place = format!("docs/walkthrough.md:{}: {}", step.line, step.command);
        assert!(matches!(finished.status, Some(0 | 1)), "{place}\n{finished:?}");
        let text = finished.stdout + &finished.stderr;
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        assert!(is_like(&step.shown, &lines), "{place}\nprinted\n{text}");
    }
}

#[test]
fn what_is_shown_must_be_printed() {
    let check = |shown: &[&str], printed: &[&str]| {
        let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
        is_like(&shown, printed)
    };
    assert!(check(&["a", "…", "d"], &["a", "b", "c", "d"]));
    assert!(check(&["a", "…"], &["a"]));
    assert!(check(&["a b…"], &["a bc"]));
    assert!(!check(&["a"], &["a", "b"]));
    assert!(!check(&["a", "…", "x"], &["a", "b"]));
    assert!(!check(&["a…"], &["b"]));
    let found = steps("text\n    $ one\n    two\n\n    three\n\ntext\n    no\n    $ four\n");
    let shown: Vec<_> =
        found.iter().map(|step| (step.command.as_str(), step.shown.len())).collect();
    assert_eq!(shown, [("one", 3), ("four", 0)]);
}
