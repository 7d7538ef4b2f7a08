//! What the agent wrote, against what other programs say of the same node.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use periscope_store::bundle::Bundle;
use periscope_tests::lab::Lab;
use periscope_tests::programs;
use serde_json::Value;

use super::{files_below, query, texts};

/// Entries of the kubelet, against journalctl: same number, same text.
pub(crate) fn journal_is_equal(lab: &Lab, node: &str, bundle: &[PathBuf]) {
    let before_ns = started_ns(bundle, "service-logs");
    let journal = programs::stdout_of(
        Command::new("journalctl").arg("-D").arg(lab.var_log(node).join("journal")).args([
            "-o",
            "json",
            "--all",
            "--no-pager",
            "SYSLOG_IDENTIFIER=kubelet",
        ]),
    )
    .expect("journalctl");
    let mut expected: Vec<(i64, String)> = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|entry| {
            let stamp = entry["__REALTIME_TIMESTAMP"].as_str().expect("a time");
            let message = entry["MESSAGE"].as_str().expect("text").to_owned();
            (stamp.parse::<i64>().expect("a number") * 1000, message)
        })
        .filter(|(ns, _)| *ns < before_ns)
        .collect();
    let rows = query(
        bundle,
        &format!(
            "SELECT ts_ns, message FROM log
             WHERE unit = 'kubelet.service' AND ts_ns < {before_ns}"
        ),
    );
    let mut actual: Vec<(i64, String)> = rows
        .iter()
        .map(|row| {
            let message = row["message"].as_str().expect("text").to_owned();
            (row["ts_ns"].as_i64().expect("a number"), message)
        })
        .collect();
    expected.sort_by_key(|(ns, _)| *ns);
    actual.sort_by_key(|(ns, _)| *ns);
    assert!(expected.len() > 20, "the kubelet says little: {}", expected.len());
    assert_eq!(actual.len(), expected.len());
    let differ: Vec<_> =
        actual.iter().zip(&expected).filter(|(ours, theirs)| ours != theirs).collect();
    // The kubelet prints one flag with a password: its default, root.
    for (ours, theirs) in &differ {
        assert!(ours.1.contains("‹password:") && theirs.1.contains("-password="), "{ours:?}");
    }
    assert!(differ.len() <= 2, "{differ:?}");
}

/// Lines of containers, against their files read in another way.
pub(crate) fn container_logs_are_equal(lab: &Lab, node: &str, bundle: &[PathBuf]) {
    let pods = lab.var_log(node).join("pods");
    let mut expected: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for path in files_below(&pods) {
        let relative = path.strip_prefix(&pods).expect("below").display().to_string();
        let parts: Vec<&str> = relative.split('/').collect();
        let names: Vec<&str> = parts[0].split('_').collect();
        if names[0] != "kube-system" || !["chatter", "crasher"].contains(&names[1]) {
            continue;
        }
        let restart = parts[2].split('.').next().expect("a number").to_owned();
        let text = if path.extension().is_some_and(|extension| extension == "gz") {
            programs::stdout_of(Command::new("zcat").arg(&path)).expect("zcat")
        } else {
            fs::read_to_string(&path).expect("a file")
        };
        let lines = expected.entry((names[1].to_owned(), restart)).or_default();
        let mut parts = BTreeMap::<String, String>::new();
        for line in text.lines() {
            let mut fields = line.splitn(4, ' ').skip(1);
            let output = fields.next().expect("stream").to_owned();
            let tag = fields.next().expect("tag");
            let part = parts.entry(output.clone()).or_default();
            part.push_str(fields.next().unwrap_or_default());
            if tag == "F" {
                lines.push(format!("{output} {}", std::mem::take(part)));
            }
        }
    }
    let mut actual: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let rows = query(
        bundle,
        "SELECT pod, restart, output, message FROM log
         WHERE source = 'container' AND namespace = 'kube-system'
               AND pod IN ('chatter', 'crasher')",
    );
    for row in &rows {
        let text = |column: &str| row[column].as_str().unwrap_or_default();
        let key = (text("pod").to_owned(), row["restart"].to_string());
        actual.entry(key).or_default().push(format!("{} {}", text("output"), text("message")));
    }
    // A container may restart once more, or lose its oldest log, meanwhile.
    let common: Vec<_> = expected.keys().filter(|key| actual.contains_key(*key)).cloned().collect();
    let has_chatter = common.iter().any(|(pod, _)| pod == "chatter");
    assert!(has_chatter, "{:?} {:?}", expected.keys(), actual.keys());
    for key in common {
        let (mut expected, mut actual) = (expected[&key].clone(), actual[&key].clone());
        if key.0 == "chatter" {
            assert_eq!(expected.len(), 2502, "all its lines are in its files");
        }
        expected.sort_unstable();
        actual.sort_unstable();
        assert_eq!(actual, expected, "{key:?}");
    }
    let errors =
        query(bundle, "SELECT DISTINCT level FROM log WHERE pod = 'crasher' AND output = 'stderr'");
    assert_eq!(texts(&errors, "level"), ["error"]);
}

/// Rules, against iptables-save. Counters move, so they are left out.
pub(crate) fn iptables_are_equal(node: &str, bundle: &[PathBuf]) {
    for (family, program) in [("ipv4", "iptables-save"), ("ipv6", "ip6tables-save")] {
        let saved = programs::stdout_of(Command::new("ip").args(["netns", "exec", node, program]))
            .expect(program);
        let mut expected: Vec<&str> =
            saved.lines().filter(|line| line.starts_with("-A ")).collect();
        let rows =
            query(bundle, &format!("SELECT rule FROM iptables_rule WHERE family = '{family}'"));
        let mut actual = texts(&rows, "rule");
        expected.sort_unstable();
        actual.sort_unstable();
        assert_eq!(actual, expected, "{family}");
    }
}

fn started_ns(bundle: &[PathBuf], collector: &str) -> i64 {
    let bundle = Bundle::open(bundle).expect("a bundle");
    bundle
        .connection()
        .query_row(
            "SELECT min(started_ns) FROM raw_batch WHERE collector = ?",
            [collector],
            |row| row.get(0),
        )
        .expect("a batch")
}
