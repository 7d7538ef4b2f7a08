//! The programs on a captured tree of a node: collect, report, query, merge, and
//! what they say when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use periscope_tests::programs::{self, Finished};
use periscope_tests::target::Target;
use rusqlite::Connection;

/// A node's root folder with a little of everything.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("etc/hostname", "node-a\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/os-release", "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\n"),
        ("proc/meminfo", "MemTotal:       16384 kB\nMemAvailable:    8192 kB\n"),
        ("proc/loadavg", "0.50 0.40 0.30 1/100 4242\n"),
        ("run/systemd/resolve/resolv.conf", "nameserver 10.1.2.3\nsearch reddog.microsoft.com\n"),
        (
            "var/log/pods/kube-system_coredns-1_5f3a/coredns/0.log",
            "2026-11-22T12:28:03.000000001Z stdout F .:53\n\
             2026-11-22T12:28:04.5Z stderr P [ERROR] plugin/errors: 2 mcr.microsoft.com. A: \n\
             2026-11-22T12:28:04.5Z stderr F read udp 10.244.0.2:4->10.1.2.3:53: i/o timeout\n",
        ),
        (
            "var/log/azure/cluster-provision.log",
            "Sun Nov 22 12:20:00 UTC 2026 start\nAKS says: ok\n",
        ),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    root
}

fn collect(root: &Path, output: &Path, more: &[&str]) -> Finished {
    let config = output.join("agent.toml");
    let target = Target::start().expect("a target");
    let text = format!(
        "[[probe]]\nname = \"t\"\nkind = \"custom\"\nurl = \"{}\"\ninterval = \"1s\"\n\
         timeout = \"500ms\"\n",
        target.url()
    );
    fs::write(&config, text).expect("written");
    let mut agent = programs::agent().expect("built");
    agent.args(["collect", "--probe-for", "3s", "--run-id", "run-1", "--host-root"]).arg(root);
    agent.arg("--output").arg(output).arg("--config").arg(config).args(more);
    programs::finish(&mut agent).expect("ran")
}

fn analyze(arguments: &[&str]) -> Finished {
    programs::finish(programs::analyze().expect("built").args(arguments)).expect("ran")
}

/// A collected node, and the folder it is in.
fn bundle() -> (tempfile::TempDir, PathBuf) {
    let (root, output) = (tree(), tempfile::tempdir().expect("a folder"));
    let finished = collect(root.path(), output.path(), &["--skip", "iptables"]);
    assert!(matches!(finished.status, Some(0 | 1)), "{finished:?}");
    let path = output.path().join("run-1/node-a/node-a.db");
    assert_eq!(finished.stdout.trim(), path.display().to_string());
    (output, path)
}

#[test]
fn a_captured_tree_becomes_a_database() {
    let (output, path) = bundle();
    let path = path.display().to_string();
    let rows = analyze(&[
        "query",
        &path,
        "SELECT source, coalesce(pod, path) AS origin, output, level, ts, message
         FROM log ORDER BY source, ts",
        "--format",
        "csv",
    ]);
    assert_eq!(rows.status, Some(0), "{rows:?}");
    insta::assert_snapshot!(rows.stdout);
    let probes =
        analyze(&["query", &path, "SELECT min(ok), count(*) > 1 FROM probe", "--format=csv"]);
    assert!(probes.stdout.ends_with("\n1,1\n"), "{probes:?}");
    let left: Vec<_> = fs::read_dir(output.path().join("run-1/node-a"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["node-a.db"], "nothing partial is left");

    let report = analyze(&[&output.path().display().to_string()]);
    assert_eq!(report.status, Some(1), "custom DNS is a finding: {report:?}");
    assert!(report.stdout.contains("10.1.2.3"), "{}", report.stdout);
}

#[test]
fn collecting_again_into_the_same_run_is_refused() {
    let (output, _) = bundle();
    let again = collect(tree().path(), output.path(), &[]);
    assert_eq!(again.status, Some(2));
    assert!(again.stderr.contains("exists already\nhint: "), "{}", again.stderr);
}

#[test]
fn one_bad_file_is_labelled_and_the_rest_is_analysed() {
    let (output, path) = bundle();
    fs::write(output.path().join("broken.db"), "no database").expect("written");
    let folder = output.path().display().to_string();
    let report = analyze(&[&folder]);
    assert_eq!(report.status, Some(2), "not all could be read: {report:?}");
    assert!(report.stderr.contains("broken.db is not an SQLite database"), "{}", report.stderr);
    assert!(report.stdout.contains("10.1.2.3"), "{}", report.stdout);

    Connection::open(&path)
        .and_then(|db| db.execute("UPDATE raw_chunk SET data = x'00' WHERE kind = 'container'", []))
        .expect("damaged");
    let path = path.display().to_string();
    let rows =
        analyze(&["query", &path, "SELECT source, count(*) FROM log GROUP BY 1", "--format=csv"]);
    assert_eq!(rows.status, Some(2), "{rows:?}");
    assert!(rows.stdout.contains("file,2"), "{rows:?}");
    assert!(
        rows.stderr.contains("2 rows of container-logs on node node-a are missing"),
        "{rows:?}"
    );
}

#[test]
fn mistakes_end_in_words_and_status_2() {
    let (output, path) = bundle();
    let path = path.display().to_string();
    let empty = output.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let empty = empty.display().to_string();
    let config = output.path().join("bad.toml");
    fs::write(&config, "log_namespaces = [\"a\"]\nnamespace = \"b\"\n").expect("written");
    let config = config.display().to_string();
    let folder = output.path().display().to_string();
    let out = format!("--output={folder}");
    let mut all = String::new();
    for (program, arguments) in [
        ("analyze", vec!["report", "/nowhere"]),
        ("analyze", vec!["report", &empty]),
        ("analyze", vec!["query", &path, "SELECT message FROM logs"]),
        ("analyze", vec!["query", &path, "DELETE FROM raw_batch"]),
        ("analyze", vec!["query", &path, "SELECT nothing; SELECT 1"]),
        ("analyze", vec!["merge", &path, "-o", &path]),
        ("analyze", vec!["diagnostics", "show", "coffee"]),
        ("analyze", vec!["report", &path, "--only", "coffee"]),
        ("agent", vec!["collect", "--config", &config]),
        ("agent", vec!["collect", "--only", "coffee"]),
        ("agent", vec!["collect", "--host-root", "/nowhere", &out]),
        ("agent", vec!["collect", "--probe-for", "soon"]),
    ] {
        let mut command = match program {
            "agent" => programs::agent(),
            _ => programs::analyze(),
        }
        .expect("built");
        let finished = programs::finish(command.args(&arguments)).expect("ran");
        assert_eq!(finished.status, Some(2), "{arguments:?}: {finished:?}");
        assert_eq!(finished.stdout, "", "{arguments:?}");
        let line = format!("$ periscope-{program} {}\n{}\n", arguments.join(" "), finished.stderr);
        all.push_str(&line.replace(&folder, "DIR"));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_a_reader_does_not_want_is_no_error() {
    let (_output, path) = bundle();
    let program = programs::path("periscope-analyze").expect("built");
    let script = format!(
        "{} query {} 'SELECT * FROM log' --format csv | true",
        program.display(),
        path.display()
    );
    let finished = programs::finish(
        std::process::Command::new("bash").args(["-o", "pipefail", "-c", &script]),
    )
    .expect("ran");
    assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""));
}
