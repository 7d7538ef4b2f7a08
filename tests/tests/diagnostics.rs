//! `diagnostics list|show|test|new` as a person meets them: help, a diagnostic of
//! one's own from its first line to its tests, and what mistakes are answered with.

use std::fs;
use std::path::Path;

use periscope_tests::programs::{self, Finished};

fn diagnostics(arguments: &[&str]) -> Finished {
    let mut command = programs::analyze().expect("built");
    programs::finish(command.arg("diagnostics").args(arguments)).expect("ran")
}

/// What a person sees: the command, its output, its errors and its status.
fn transcript(commands: &[Vec<&str>], folder: &Path) -> String {
    let folder = folder.display().to_string();
    let mut all = String::new();
    for arguments in commands {
        let Finished { status, stdout, stderr } = diagnostics(arguments);
        let status = status.expect("ended by itself");
        let words = arguments.join(" ");
        let seen = format!("{stdout}{stderr}status {status}\n\n");
        all.push_str(&["$ periscope-analyze diagnostics ", &words, "\n", &seen].concat());
    }
    all.replace(&folder, "DIR")
}

#[test]
fn help_says_what_each_is_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let commands = [
        vec!["--help"],
        vec!["list", "--help"],
        vec!["show", "--help"],
        vec!["test", "--help"],
        vec!["new", "--help"],
    ];
    insta::assert_snapshot!(transcript(&commands, folder.path()));
}

#[test]
fn a_new_diagnostic_passes_its_own_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own").display().to_string();
    let commands = [
        vec!["new", "lost-lease", &own],
        vec!["test", &own],
        vec!["list", "--diagnostics", &own, "--format", "json"],
        vec!["new", "lost-lease", &own],
    ];
    let seen = transcript(&commands, folder.path());
    let (before, listed) = seen.split_once("--format json\n").expect("a list");
    let (listed, after) = listed.split_once("status").expect("a status");
    let listed: serde_json::Value = serde_json::from_str(listed).expect("JSON");
    let ids: Vec<_> = listed.as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert!(ids.contains(&&serde_json::json!("lost-lease")), "{ids:?}");
    assert!(ids.contains(&&serde_json::json!("outage-windows")), "{ids:?}");
    insta::assert_snapshot!(format!("{before}…\n{after}"));
}

/// What is wrong with a file, or with the words for it.
#[test]
fn mistakes_name_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let head = "-- title: T\n-- severity: error\n-- needs: probe\n";
    for (name, sql) in [
        ("unknown-key", "-- title: T\n-- severity: error\n-- colour: red\nSELECT 1"),
        ("two-statements", &format!("{head}SELECT 1 AS node;\nSELECT 2")),
        ("no-message", &format!("{head}SELECT 'n' AS node, NULL AS ts")),
        ("no-cases", &format!("{head}SELECT 'n' AS node, NULL AS ts, 'm' AS message")),
        ("writes", &format!("{head}DELETE FROM raw_node")),
    ] {
        fs::create_dir(path(name)).expect("made");
        fs::write(format!("{}/{name}.sql", path(name)), sql).expect("written");
    }
    let quiet = "\n[[case]]\nname = \"quiet\"\nlog = []\n";
    fs::write(format!("{}/no-message.toml", path("no-message")), quiet).expect("written");
    fs::create_dir(path("wrong-case")).expect("made");
    let wrong = path("wrong-case");
    assert_eq!(diagnostics(&["new", "wrong-case", &wrong]).status, Some(0));
    let cases = format!("{wrong}/wrong-case.toml");
    let text = fs::read_to_string(&cases).expect("read").replace("times = 3", "times = 4");
    fs::write(&cases, text).expect("written");
    fs::create_dir(path("empty")).expect("made");
    let names = ["empty", "unknown-key", "two-statements", "no-message", "no-cases", "writes"];
    let folders: Vec<String> = names.into_iter().chain(["wrong-case"]).map(path).collect();
    let mut commands: Vec<Vec<&str>> = folders.iter().map(|at| vec!["test", at]).collect();
    let nowhere = path("nowhere");
    commands.extend([
        vec!["test", &nowhere],
        vec!["show", "coffee"],
        vec!["show", "custom-dns", &nowhere],
        vec!["list", "--diagnostics", &nowhere],
        vec!["new", "Lost Lease", &nowhere],
    ]);
    for arguments in &commands {
        assert_eq!(diagnostics(arguments).status, Some(2), "{arguments:?}");
    }
    insta::assert_snapshot!(transcript(&commands, folder.path()));
}

#[test]
fn every_page_is_whole_and_fits_a_terminal() {
    let list = diagnostics(&["list", "--format", "json"]);
    assert_eq!(list.status, Some(0), "{list:?}");
    let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON");
    let list = list.as_array().expect("a list");
    assert!(list.len() >= 30, "{}", list.len());
    for one in list {
        let id = one["id"].as_str().expect("a name");
        let page = diagnostics(&["show", id]);
        assert_eq!((page.status, page.stderr.as_str()), (Some(0), ""), "{id}");
        let mut at = 0;
        for part in ["NAME", "FINDINGS", "DESCRIPTION", "FILES", "SEE ALSO", "SQL"] {
            let begins = page.stdout[at..].find(&format!("{part}\n")).expect(part);
            at += begins;
        }
        let prose = &page.stdout[..at];
        let long = prose.lines().find(|line| line.chars().count() > 100);
        assert!(long.is_none_or(|line| line.contains("https://")), "{id}: {long:?}");
        let file = diagnostics(&["show", id, "--sql"]);
        assert!(file.stdout.starts_with("-- title: "), "{id}: {}", file.stdout);
    }
}
