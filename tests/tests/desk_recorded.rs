//! What an analyst does with a recording of real nodes: the same lines by `logs` and by
//! grep over plain files, files that their own tools read back, lines around a finding.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use periscope_tests::{programs, recordings};
use serde_json::Value;

/// The recording, and its plain files.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    // Tests share it and none is the last: what the run before left is taken away.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("desk-recorded");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("removed");
    }
    recordings::unpack(&folder.join("bundle")).expect("unpacked");
    let files = folder.join("files").display().to_string();
    let bundle = folder.join("bundle").display().to_string();
    let mut command = programs::analyze().expect("built");
    programs::stdout_of(command.args(["extract", &bundle, "-o", &files])).expect("extracted");
    folder
});

fn analyze(command: &str, more: &[&str]) -> String {
    let bundle = FOLDER.join("bundle").display().to_string();
    let mut program = programs::analyze().expect("built");
    programs::stdout_of(program.arg(command).arg(bundle).args(more)).expect("done")
}

/// Rows of a question, as JSON.
fn rows(sql: &str) -> Vec<Value> {
    serde_json::from_str(&analyze("query", &[sql, "--format", "json"])).expect("JSON")
}

/// Plain files of some ending, anywhere in a folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.extension().is_some_and(|e| e == ending) => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn logs_finds_the_lines_that_grep_finds_in_plain_files() {
    let logs = files(&FOLDER.join("files"), "log");
    assert!(logs.len() >= 8, "{logs:?}");
    for pattern in
        ["Killed process", "[Ff]ailed to (pull|sync)", "dial tcp .*refused", "line 59[0-9]{3}"]
    {
        let mut grep = Command::new("grep");
        // Lines begin with their time, 30 bytes, and a blank.
        grep.args(["-hE", &format!("^.{{31}}.*({pattern})")]).args(&logs).env("LC_ALL", "C");
        let expected = programs::finish(&mut grep).expect("grep");
        let expected = sorted(expected.stdout.lines().map(|line| line[31..].to_owned()));
        let found = analyze("logs", &["--grep", pattern, "--output", "raw"]);
        let found = sorted(found.lines().map(str::to_owned));
        assert!(pattern.starts_with("line") || !found.is_empty(), "{pattern}");
        assert_eq!(found.len(), expected.len(), "{pattern}");
        assert_eq!(found, expected, "{pattern}");
    }
}

#[test]
fn every_line_is_in_the_plain_files_once() {
    let logs = files(&FOLDER.join("files"), "log");
    let lines: usize =
        logs.iter().map(|path| fs::read(path).expect("a log")).map(|text| count(&text)).sum();
    assert_eq!(rows("SELECT count(*) AS n FROM log")[0]["n"], lines);
}

fn count(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).matches('\n').count()
}

#[test]
fn objects_are_read_back_from_their_yaml() {
    let objects = rows("SELECT kind, namespace, name, json FROM object");
    let yaml = files(&FOLDER.join("files/objects"), "yaml");
    assert_eq!(yaml.len(), objects.len());
    let read: BTreeSet<String> = yaml
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("YAML");
            let value: Value = serde_saphyr::from_str(&text).expect("sound YAML");
            value.to_string()
        })
        .collect();
    for object in &objects {
        let json: Value = match &object["json"] {
            Value::String(text) => serde_json::from_str(text).expect("JSON"),
            other => other.clone(),
        };
        assert!(read.contains(&json.to_string()), "{} {}", object["kind"], object["name"]);
    }
}

#[test]
fn rules_are_written_as_iptables_save_does() {
    let saved = files(&FOLDER.join("files"), "save");
    assert!(saved.len() >= 3, "{saved:?}");
    let mut found = Vec::new();
    for path in &saved {
        let (mut table, mut has_rules) = (None, false);
        for line in fs::read_to_string(path).expect("rules").lines() {
            if let Some(name) = line.strip_prefix('*') {
                assert!(table.is_none(), "{}: {line}", path.display());
                (table, has_rules) = (Some(name.to_owned()), false);
            } else if line == "COMMIT" {
                assert!(table.take().is_some(), "{}: {line}", path.display());
            } else if let Some((counters, rule)) = line.split_once("] ") {
                assert!(table.is_some() && counters.starts_with('['), "{}: {line}", path.display());
                has_rules = true;
                found.push(format!("{} {rule}", table.as_deref().unwrap_or_default()));
            } else {
                // Chains stand before rules, each with a policy and counters.
                assert!(line.starts_with(':') && !has_rules, "{}: {line}", path.display());
            }
        }
        assert!(table.is_none(), "{}: no end", path.display());
    }
    let rules = rows("SELECT table_name || ' ' || rule AS rule FROM iptables_rule");
    let rules = rules.iter().map(|row| row["rule"].as_str().expect("a rule").to_owned());
    assert_eq!(sorted(found.into_iter()), sorted(rules));
}

#[test]
fn lines_around_a_finding_are_those_of_its_time() {
    let report = analyze_findings("image-pull-failures");
    let finding = &report["findings"][0];
    let id = finding["id"].as_str().expect("an id");
    let around = analyze("logs", &["--follow-window", id, "--output", "json"]);
    let times: Vec<String> = around
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| line["ts"].as_str().expect("a time").to_owned())
        .collect();
    let last = finding["evidence"]["last"].as_str().expect("a time");
    assert_eq!(
        (&finding["ts"].as_str().expect("a time")[..16], &last[..16]),
        ("2026-11-23T01:22", "2026-11-23T01:23")
    );
    // Five minutes more on either side.
    let expected = rows(
        "SELECT count(*) AS n FROM log
         WHERE ts >= '2026-11-23T01:17:54' AND ts < '2026-11-23T01:28:32.000000001Z'",
    );
    assert_eq!(expected[0]["n"], times.len());
    assert!(times.is_sorted() && times.len() > 1_000, "{}", times.len());
    assert!(around.contains("shop/wbe:1"), "the kubelet's own words are among them");
}

fn analyze_findings(diagnostic: &str) -> Value {
    let bundle = FOLDER.join("bundle").display().to_string();
    let mut program = programs::analyze().expect("built");
    program.args(["report", &bundle, "--only", diagnostic, "--format", "json"]);
    let finished = programs::finish(&mut program).expect("ran");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// A program that keeps what it is given and how it was called.
fn pager(folder: &Path) -> PathBuf {
    let path = folder.join("pager");
    let mut file = fs::File::create(&path).expect("made");
    let text = format!(
        "#!/bin/sh\necho \"$LESS $*\" >'{0}/how'\nexec cat >'{0}/text'\n",
        folder.display()
    );
    file.write_all(text.as_bytes()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
    path
}

#[test]
fn a_pager_gets_what_a_terminal_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let pager = pager(folder.path());
    let bundle = FOLDER.join("bundle");
    let program = programs::path("periscope-analyze").expect("built");
    let on_terminal = |words: &str| {
        for name in ["how", "text"] {
            // What a run before has left.
            let _ = fs::remove_file(folder.path().join(name));
        }
        let mut script = Command::new("script");
        let command = format!("{} {words}", program.display())
            .replace("BUNDLE", &bundle.display().to_string());
        script.args(["-qec", &command, "/dev/null"]);
        script.env("PAGER", format!("{} --flag", pager.display()));
        script.env_remove("LESS").env_remove("NO_COLOR");
        let finished = programs::finish(&mut script).expect("script, of util-linux");
        (finished, fs::read_to_string(folder.path().join("text")).ok())
    };
    let (finished, text) = on_terminal("logs BUNDLE --pod crash");
    assert_eq!((finished.status, finished.stdout.as_str()), (Some(0), ""));
    let text = text.expect("the pager ran");
    assert!(text.contains("\u{1b}[0mcannot open the database\u{1b}[0m\n"), "{text:?}");
    let how = fs::read_to_string(folder.path().join("how")).expect("the pager ran");
    assert_eq!(how, "FRX --flag\n");

    let (_, text) = on_terminal("logs BUNDLE --pod crash --color never");
    assert!(!text.expect("the pager ran").contains('\u{1b}'));
    let (_, text) = on_terminal("describe BUNDLE pod/crash -n faults");
    assert!(text.expect("the pager ran").starts_with("Name:"), "describe is paged too");
    let (finished, text) = on_terminal("logs BUNDLE --pod crash --no-pager");
    assert!(text.is_none() && finished.stdout.contains("cannot open the database"), "{finished:?}");
    let (finished, text) = on_terminal("get BUNDLE pods");
    assert!(text.is_none() && finished.stdout.contains("crash"), "{finished:?}");
}
