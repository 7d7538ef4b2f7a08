//! What the programs say of themselves: `--help` of every command, completions, pages of
//! the manual, and the words for typical mistakes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use periscope_tests::programs::{self, Finished};

const PROGRAMS: [&str; 2] = ["periscope-analyze", "periscope-agent"];

/// Runs a program of ours at a width that no terminal decides.
fn run(program: &str, arguments: &[&str]) -> Finished {
    let mut command = match program {
        "periscope-agent" => programs::agent(),
        _ => programs::analyze(),
    }
    .expect("built");
    programs::finish(command.args(arguments).env("COLUMNS", "100")).expect("ran")
}

/// Commands that a help names.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let list = list.split("\n\n").next().unwrap_or_default();
    let name = |line: &str| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned);
    let names = list.lines().filter_map(name);
    names.filter(|name| !name.is_empty() && name != "help").collect()
}

/// The help of a command and of those below it, each with its words.
fn helps(program: &str, words: &[String], all: &mut Vec<(String, String)>) {
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = run(program, &arguments);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""), "{words:?}");
    let name = [&[program.to_owned()], words].concat().join("-");
    let below = commands(&help.stdout);
    all.push((name, help.stdout));
    for command in below {
        helps(program, &[words, &[command]].concat(), all);
    }
}

#[test]
fn every_command_says_what_it_does_and_shows_examples() {
    for program in PROGRAMS {
        let mut all = Vec::new();
        helps(program, &[], &mut all);
        assert!(all.len() > 2, "{all:?}");
        for (name, help) in all {
            assert!(name == "periscope-agent" || help.contains("Examples:\n  "), "{name}: {help}");
            insta::assert_snapshot!(format!("help_{name}"), help);
        }
    }
}

#[test]
fn typical_mistakes_end_in_words_and_status_2() {
    let mut all = String::new();
    for (program, line) in [
        ("periscope-analyze", ""),
        ("periscope-analyze", "reprot bundle"),
        ("periscope-analyze", "--color never report bundle"),
        ("periscope-analyze", "report"),
        ("periscope-analyze", "report nowhere"),
        ("periscope-analyze", "report nowhere --format pdf"),
        ("periscope-analyze", "report nowhere --since yesterday"),
        ("periscope-analyze", "report nowhere --only coffee"),
        ("periscope-analyze", "report nowhere --time-zone Berlin"),
        ("periscope-analyze", "report nowhere --color sometimes"),
        ("periscope-analyze", "fetch"),
        ("periscope-analyze", "fetch http://127.0.0.1:1/container --latest --run a"),
        ("periscope-analyze", "logs nowhere"),
        ("periscope-analyze", "logs nowhere --level loud"),
        ("periscope-analyze", "logs nowhere --grep ("),
        ("periscope-analyze", "get nowhere"),
        ("periscope-analyze", "get nowhere pods"),
        ("periscope-analyze", "describe nowhere"),
        ("periscope-analyze", "describe nowhere pod/a"),
        ("periscope-analyze", "query nowhere"),
        ("periscope-analyze", "query nowhere SELECT"),
        ("periscope-analyze", "extract nowhere"),
        ("periscope-analyze", "extract nowhere -o nowhere"),
        ("periscope-analyze", "diff nowhere"),
        ("periscope-analyze", "diff nowhere nowhere"),
        ("periscope-analyze", "diff nowhere nowhere --section coffee"),
        ("periscope-analyze", "diff nowhere nowhere --node-a a"),
        ("periscope-analyze", "merge nowhere"),
        ("periscope-analyze", "merge nowhere -o nowhere.db"),
        ("periscope-analyze", "diagnostics"),
        ("periscope-analyze", "diagnostics show coffee"),
        ("periscope-analyze", "diagnostics test nowhere"),
        ("periscope-analyze", "completions tcsh"),
        ("periscope-analyze", "man /dev/null/folder"),
        ("periscope-agent", ""),
        ("periscope-agent", "colect"),
        ("periscope-agent", "collect --probe-for soon"),
        ("periscope-agent", "collect --config nowhere.toml"),
        ("periscope-agent", "run --output"),
        ("periscope-agent", "completions tcsh"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let finished = run(program, &arguments);
        assert_eq!(finished.status, Some(2), "{line}: {finished:?}");
        assert_eq!(finished.stdout, "", "{line}");
        all.extend(["$ ", program, " ", line, "\n", &finished.stderr, "\n"]);
    }
    insta::assert_snapshot!(all);
}

/// Words that bash offers after some words of a command line.
fn offered(program: &str, words: &[&str]) -> Vec<String> {
    let script = run(program, &["completions", "bash"]);
    assert_eq!((script.status, script.stderr.as_str()), (Some(0), ""), "{program}");
    let function = format!("_{}", program.replace('-', "__"));
    assert!(script.stdout.contains(&format!("{function}()")), "{}", script.stdout);
    let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let body = format!(
        "{}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n{function} {program} '{}' '{}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        script.stdout,
        line.join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().write_all(body.as_bytes()).expect("written");
    let mut bash = Command::new("bash");
    let done =
        programs::finish(bash.args(["--norc", "--noprofile"]).arg(file.path())).expect("ran");
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{program}");
    done.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let analyze = "periscope-analyze";
    assert_eq!(offered(analyze, &[analyze, "desc"]), ["describe"]);
    assert_eq!(offered(analyze, &[analyze, "diagnostics", "sh"]), ["show"]);
    assert_eq!(offered(analyze, &[analyze, "logs", "--follow"]), ["--follow-window"]);
    assert_eq!(offered(analyze, &[analyze, "diff", "--time"]), ["--time-zone"]);
    assert_eq!(offered(analyze, &[analyze, "report", "--color", ""]), ["auto", "always", "never"]);
    assert_eq!(offered("periscope-agent", &["periscope-agent", "coll"]), ["collect"]);
}

#[test]
fn other_shells_get_completions_too() {
    for program in PROGRAMS {
        for (shell, sign) in [
            ("zsh", format!("#compdef {program}")),
            ("fish", format!("complete -c {program} ")),
            ("powershell", format!("-CommandName '{program}'")),
        ] {
            let script = run(program, &["completions", shell]);
            assert_eq!(script.status, Some(0), "{script:?}");
            assert!(script.stdout.contains(&sign), "{program} {shell}");
        }
    }
}

/// What groff makes of a page; its complaints fail the test.
fn rendered(page: &Path) -> Option<String> {
    let mut groff = Command::new("groff");
    groff.args(["-Kutf8", "-man", "-Tutf8", "-ww", "-P-cbu"]).arg(page).stdin(Stdio::null());
    let Ok(done) = programs::finish(&mut groff) else {
        assert!(Command::new("groff").arg("--version").output().is_err(), "no text");
        return None;
    };
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{}", page.display());
    Some(done.stdout)
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    for program in PROGRAMS {
        let folder = tempfile::tempdir().expect("a folder");
        let pages = folder.path().join("man1");
        let done = run(program, &["man", &pages.display().to_string()]);
        assert_eq!(done.status, Some(0), "{done:?}");
        let mut all = Vec::new();
        helps(program, &[], &mut all);
        for (name, _) in &all {
            let path = pages.join(format!("{name}.1"));
            let text = std::fs::read_to_string(&path).expect(name);
            assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
            if let Some(page) = rendered(&path) {
                assert!(page.contains("DESCRIPTION"), "{name}: {page}");
            }
        }
        assert_eq!(std::fs::read_dir(&pages).expect("a folder").count(), all.len());
        let page = run(program, &["man"]);
        assert!(page.stdout.contains(".SH NAME"), "{page:?}");
    }
}
