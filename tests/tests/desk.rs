//! What an analyst types: logs, queries, objects and files of one node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use periscope_tests::programs::{self, Finished};

const LINES: usize = 600;

/// A node with two containers that speak by turns, and a file.
fn bundle() -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("etc/hostname", "node-a\n");
    write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write("var/log/azure/cluster-provision.log", "Sun Nov 22 12:20:00 UTC 2026 timeout of ours\n");
    write("run/systemd/resolve/resolv.conf", "nameserver 10.1.2.3\n");
    for (at, pod) in ["coredns-1", "coredns-2"].into_iter().enumerate() {
        let mut text = String::new();
        for number in 0..LINES {
            let ms = number * 10 + at;
            let word = if number % 100 == 7 { "[ERROR] i/o Timeout" } else { "fine" };
            let (s, ms) = (ms / 1000, ms % 1000);
            let line =
                format!("2026-11-22T12:28:{s:02}.{ms:03}Z stdout F {word} {number} of {pod}");
            text.push_str(&line);
            text.push('\n');
        }
        write(&format!("var/log/pods/kube-system_{pod}_5f3a/coredns/0.log"), &text);
    }
    let output = tempfile::tempdir().expect("a folder");
    let config = output.path().join("agent.toml");
    fs::write(&config, "log_namespaces = [\"kube-system\"]\n").expect("written");
    let mut agent = programs::agent().expect("built");
    agent.args([
        "collect",
        "--probe-for",
        "1s",
        "--run-id",
        "run-1",
        "--skip",
        "iptables",
        "--host-root",
    ]);
    agent.arg(root.path()).arg("--output").arg(output.path()).arg("--config").arg(config);
    let finished = programs::finish(&mut agent).expect("ran");
    assert!(matches!(finished.status, Some(0 | 1)), "{finished:?}");
    let path = output.path().join("run-1/node-a/node-a.db").display().to_string();
    (output, path)
}

fn analyze(arguments: &[&str]) -> Finished {
    programs::finish(programs::analyze().expect("built").args(arguments)).expect("ran")
}

fn logs(path: &str, more: &[&str]) -> Vec<String> {
    let finished = analyze(&[&["logs", path][..], more].concat());
    assert_eq!(finished.status, Some(0), "{finished:?}");
    finished.stdout.lines().map(str::to_owned).collect()
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn lines_of_all_streams_come_by_time() {
    let (_folder, path) = bundle();
    let all = logs(&path, &["--namespace", "kube-system"]);
    assert_eq!(all.len(), 2 * LINES);
    let times: Vec<&str> = all.iter().map(|line| &line[..24]).collect();
    assert!(times.is_sorted(), "{all:?}");
    assert_eq!(
        &all[..3],
        [
            "2026-11-22T12:28:00.000Z node-a kube-system/coredns-1/coredns: fine 0 of coredns-1",
            "2026-11-22T12:28:00.001Z node-a kube-system/coredns-2/coredns: fine 0 of coredns-2",
            "2026-11-22T12:28:00.010Z node-a kube-system/coredns-1/coredns: fine 1 of coredns-1",
        ]
    );
    assert_eq!(logs(&path, &[]).len(), 2 * LINES + 1, "and the file");
    assert_eq!(logs(&path, &["--pod", "*-2", "--output", "raw"])[1], "fine 1 of coredns-2");
    let narrowed = ["--since", "2026-11-22T12:28:01", "--until", "2026-11-22T12:28:01"];
    assert_eq!(logs(&path, &narrowed).len(), 200);
    assert_eq!(logs(&path, &["--level", "error"]).len(), 12);
    assert_eq!(logs(&path, &["--grep", "timeout"]).len(), 1);
    assert_eq!(logs(&path, &["--grep", "timeout", "-i"]).len(), 13);
}

#[test]
fn the_last_lines_and_those_around_a_match_are_shown() {
    let (_folder, path) = bundle();
    let all = logs(&path, &["-n", "kube-system"]);
    for count in [1, 5, 2000] {
        let tail = logs(&path, &["-n", "kube-system", "--tail", &count.to_string()]);
        assert_eq!(tail, all[all.len().saturating_sub(count)..]);
    }
    let around = logs(&path, &["--pod", "coredns-1", "--grep", " [15]07 ", "-B", "2", "-A", "1"]);
    let texts: Vec<_> = around.iter().map(|l| l.split("/coredns").last().unwrap_or(l)).collect();
    assert_eq!(
        texts,
        [
            "- fine 105 of coredns-1",
            "- fine 106 of coredns-1",
            ": [ERROR] i/o Timeout 107 of coredns-1",
            "- fine 108 of coredns-1",
            "--",
            "- fine 505 of coredns-1",
            "- fine 506 of coredns-1",
            ": [ERROR] i/o Timeout 507 of coredns-1",
            "- fine 508 of coredns-1",
        ]
    );
}

#[test]
fn colours_are_used_when_they_are_wanted() {
    let (_folder, path) = bundle();
    let colored = logs(&path, &["--tail", "1", "--grep", "fine", "--color", "always"]);
    assert!(colored[0].contains("\u{1b}[1;7mfine\u{1b}[0"), "{colored:?}");
    assert!(!logs(&path, &["--tail", "1"])[0].contains('\u{1b}'));
}

#[test]
fn extracted_files_hold_the_same_lines() {
    let (folder, path) = bundle();
    let output = folder.path().join("files");
    let output_text = output.display().to_string();
    let done = analyze(&["extract", &path, "-o", &output_text]);
    assert_eq!(done.status, Some(0), "{done:?}");
    let mut found = Vec::new();
    for path in files(&output).iter().filter(|path| path.extension().is_some_and(|e| e == "log")) {
        let text = fs::read_to_string(path).expect("a log");
        let is_meant = |line: &&str| line.to_lowercase().contains("timeout");
        found.extend(text.lines().filter(is_meant).map(|l| l[31..].to_owned()));
    }
    let mut grepped = logs(&path, &["--grep", "timeout", "-i", "--output", "raw"]);
    found.sort();
    grepped.sort();
    assert_eq!(found.len(), 13);
    assert_eq!(grepped, found);
    let again = analyze(&["extract", &path, "-o", &output_text]);
    assert_eq!(again.status, Some(2), "{again:?}");
    assert!(again.stderr.contains("holds something already\nhint: "), "{again:?}");
}

#[test]
fn a_reader_that_has_enough_is_no_mistake() {
    let (_folder, path) = bundle();
    let numbers = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 200000)
                   SELECT n FROM t";
    let query = |format| vec!["query", &path, numbers, "--format", format];
    for words in ["csv", "json", "jsonl", "markdown", "html"].map(query) {
        let mut command = programs::analyze().expect("built");
        command.args(&words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_ref()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn questions_may_be_in_a_file_with_parameters() {
    let (folder, path) = bundle();
    let sql = folder.path().join("q.sql");
    fs::write(&sql, "SELECT count(*) AS n FROM log WHERE pod = :pod; SELECT 2 AS n;").expect("ok");
    let file = sql.display().to_string();
    let arguments = ["query", &path, "-f", &file, "-p", "pod=coredns-1", "--format", "jsonl"];
    let finished = analyze(&arguments);
    assert_eq!(finished.stdout, format!("{{\"n\":{LINES}}}\n{{\"n\":2}}\n"), "{finished:?}");
}

#[test]
fn mistakes_of_an_analyst_end_in_hints() {
    let (_folder, path) = bundle();
    for arguments in [
        &["logs", &path, "--pod", "nothing"][..],
        &["logs", &path, "--grep", "("],
        &["logs", &path, "--since", "yesterday"],
        &["logs", &path, "--since", "2026-11-23", "--until", "2026-11-22"],
        &["logs", &path, "-C", "3"],
        &["logs", &path, "--follow-window", "no-such-finding"],
        &["get", &path, "pods"],
        &["describe", &path, "svc/kube-dns", "-n", "kube-system"],
        &["query", &path, "SELECT :pod"],
        &["query", &path],
    ] {
        let finished = analyze(arguments);
        assert_eq!(finished.status, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.starts_with("error: "), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("\nhint: "), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn times_are_told_in_a_zone_and_taken_in_it() {
    let (_folder, path) = bundle();
    let zone = ["--time-zone", "Asia/Kolkata"];
    let all = logs(&path, &[&["--pod", "coredns-1"][..], &zone].concat());
    assert!(all[0].starts_with("2026-11-22T17:58:00.000+05:30 node-a "), "{}", all[0]);
    let minute = ["--pod", "coredns-1", "--since", "2026-11-22T17:58:01"];
    assert_eq!(logs(&path, &[&minute[..], &zone].concat()).len(), 500);
    assert_eq!(logs(&path, &minute).len(), 0, "in UTC it is later than all lines");
    let json = logs(&path, &[&["--tail", "1", "--output", "json"][..], &zone].concat());
    assert!(json[0].contains("\"ts\":\"2026-11-22T12:28:05.991"), "{}", json[0]);

    let report = analyze(&[&["report", &path][..], &zone].concat());
    assert!(report.stdout.contains("\nTimes    Asia/Kolkata\n"), "{}", report.stdout);
    assert!(report.stdout.contains("+05:30"), "{}", report.stdout);
    let plain = analyze(&["report", &path]);
    assert!(!plain.stdout.contains("\nTimes "), "{}", plain.stdout);
    let json = analyze(&[&["report", &path, "--format", "json"][..], &zone].concat());
    assert_eq!(json.stdout, analyze(&["report", &path, "--format", "json"]).stdout);
}

#[test]
fn colours_go_to_terminals_and_to_who_asks() {
    let (folder, path) = bundle();
    let colored = analyze(&["report", &path, "--color", "always"]);
    assert!(colored.stdout.contains("\u{1b}[33mwarning\u{1b}[0m on node-a"), "{colored:?}");
    assert!(!analyze(&["report", &path]).stdout.contains('\u{1b}'));
    let file = folder.path().join("report.txt").display().to_string();
    analyze(&["report", &path, "--color", "always", "-o", &file]);
    assert!(!fs::read_to_string(&file).expect("a report").contains('\u{1b}'));
}

#[test]
fn two_files_are_compared_as_diff_does() {
    let ((_first, a), (_second, b)) = (bundle(), bundle());
    let same = analyze(&["diff", &a, &a]);
    assert_eq!(same.status, Some(0), "{same:?}");
    assert!(same.stdout.contains("FINDINGS: no difference"), "{same:?}");

    let sql = "UPDATE raw_setting SET value = '10.9.9.9' WHERE name = 'nameserver'";
    let changed = rusqlite::Connection::open(&b).and_then(|db| db.execute(sql, []));
    assert!(changed.expect("crafted") > 0);
    let other = analyze(&["diff", &a, &b, "--section", "setting,resolver", "--format", "json"]);
    assert_eq!(other.status, Some(1), "{other:?}");
    let json: serde_json::Value = serde_json::from_str(&other.stdout).expect("JSON");
    assert_eq!(json["schema"], "periscope-diff/1");
    assert!(other.stdout.contains("\"after\": \"10.9.9.9\""), "{other:?}");

    let failed = analyze(&["diff", &a, "/nowhere"]);
    assert_eq!(failed.status, Some(2), "{failed:?}");
}
