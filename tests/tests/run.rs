//! `periscope-agent run` on a captured tree of a node: runs, restarts, crashes,
//! and disks without room. Probes go to loopback only.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use periscope_tests::agent::Agent;
use periscope_tests::database::{self, databases, files};
use periscope_tests::node::{Node, free_port, get, outcome};

/// Lines of the container's log.
const LINES: usize = 2_000;

/// A node with a log of [`LINES`] lines.
fn node() -> Node {
    let mut log = String::new();
    for line in 0..LINES {
        let _ = writeln!(log, "2026-11-22T12:28:03.{line:09}Z stdout F line {line}");
    }
    Node::new(&[("root/var/log/pods/kube-system_web-1_5f3a/web/0.log", &log)]).expect("a node")
}

/// First column of a query over files.
fn query(files: &[PathBuf], sql: &str) -> Vec<String> {
    database::column(files, sql).expect("rows")
}

const NOTES: &str = "SELECT issue.kind || ' ' || issue.message
    FROM raw_issue AS issue JOIN raw_batch AS batch ON batch.id = issue.batch_id
    WHERE batch.collector = 'agent' ORDER BY batch.seq, issue.ord";

/// How many different lines of the container there are.
fn lines(files: &[PathBuf]) -> usize {
    query(files, "SELECT message FROM log WHERE source = 'container'")
        .into_iter()
        .collect::<BTreeSet<_>>()
        .len()
}

/// Rows that an agent has written, as it says itself.
fn rows_written(port: u16) -> usize {
    let metrics = get(port, "/metrics");
    let rows = metrics.lines().find_map(|line| line.strip_prefix("periscope_rows_total "));
    rows.and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

#[test]
fn sigterm_seals_what_there_is_and_ends_well() {
    let node = node();
    let port = free_port().expect("a port");
    let mut agent =
        node.start(&["--run-id", "r", "--health", &format!("127.0.0.1:{port}")]).expect("started");
    agent.wait_until("it is ready", || get(port, "/readyz").contains("200 OK")).expect("ready");
    assert!(get(port, "/healthz").contains("200 OK"));
    agent
        .wait_until("the metrics say so", || get(port, "/metrics").contains("periscope_complete 1"))
        .expect("complete");
    let metrics = get(port, "/metrics");
    for line in [
        "periscope_writable 1",
        "periscope_collector_outcome{collector=\"dns-node\",outcome=\"complete\"} 1",
        "periscope_collector_outcome{collector=\"service-logs\",outcome=\"absent\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert!(get(port, "/nothing").contains("404 Not Found"));
    agent.wait_until("it is sealed", || node.sealed("r").len() == 1).expect("sealed");
    let status = agent.terminate().expect("ended");
    assert_eq!(status.code(), Some(0));

    let sealed = node.sealed("r");
    assert_eq!(sealed.len(), 2, "one when the run was complete, one at the end: {sealed:?}");
    assert_eq!(lines(&sealed), LINES);
    let probes = query(&sealed, "SELECT CAST(count(*) AS TEXT) FROM probe WHERE ok");
    assert!(probes[0].parse::<u32>().expect("a count") >= 2, "{probes:?}");
    let one_session = query(&sealed, "SELECT CAST(count(*) AS TEXT) FROM raw_session");
    assert_eq!(one_session, ["1"], "an outage may go from one file into the next");
    let log = fs::read_to_string(node.path("log")).expect("a log");
    for what in ["run is complete and goes on", "run has ended", "the agent ends"] {
        assert_eq!(log.matches(what).count(), 1, "{log}");
    }
    assert_eq!(files(&node.path("own/live/r")).len(), 1, "the file that knows the positions");
}

#[test]
fn another_run_id_makes_another_set_of_files() {
    let node = node();
    node.write("config/DIAGNOSTIC_RUN_ID", "\"first\"\n").expect("written");
    let share = node.path("share");
    let mut agent = node.start(&["--export-dir", &share.display().to_string()]).expect("started");
    let exported = |run: &str| databases(&share.join(run).join("node-a"));
    agent.wait_until("the first is complete", || exported("first").len() == 1).expect("sealed");
    node.write("root/run/systemd/resolve/resolv.conf", "nameserver 10.9.9.9\n").expect("written");
    node.write("config/DIAGNOSTIC_RUN_ID", "second").expect("written");
    agent.wait_until("the second is complete", || !exported("second").is_empty()).expect("sealed");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));

    let sql = "SELECT DISTINCT value FROM raw_setting WHERE value LIKE '10._._._' ORDER BY 1";
    assert_eq!(query(&exported("first"), sql), ["10.1.2.3"]);
    assert_eq!(query(&exported("second"), sql), ["10.9.9.9"], "a snapshot of its own");
    let runs = query(&exported("second"), "SELECT run_id FROM raw_session");
    assert_eq!(runs, ["second"]);
    assert!(node.sealed("first").is_empty() && node.sealed("second").is_empty());
    for run in ["first", "second"] {
        let others: Vec<_> = files(&share.join(run).join("node-a"))
            .into_iter()
            .filter(|path| !exported(run).contains(path))
            .collect();
        assert_eq!(others, [share.join(run).join("node-a/node-a.zip")], "nothing is left over");
    }
}

#[test]
fn nothing_is_lost_to_a_kill_and_the_run_goes_on() {
    let node = node();
    let secret = "2026-11-22T12:28:03Z login with password=hunter2hunter2 was refused\n";
    node.write("root/var/log/azure-vnet.log", secret).expect("written");
    let mut agent = node.start(&["--run-id", "r", "--probe-for", "1h"]).expect("started");
    let live = || files(&node.path("own/live/r"));
    // The samples of the first seconds are in the write-ahead log by then.
    agent
        .wait_until("samples are written", || {
            let live: Vec<_> = live()
                .into_iter()
                .filter(|p| p.extension().is_some_and(|e| e == "partial"))
                .collect();
            live.first().is_some_and(|path| samples(path) >= 5)
        })
        .expect("written");
    let begun: Vec<_> = live();
    agent.kill().expect("killed");

    // Without a word about runs it goes on with the one that it was in.
    node.write("root/var/log/azure-vnet.log", &secret.repeat(2)).expect("written");
    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let mut agent = node.start(&["--probe-for", "1h", "--health", &health]).expect("started");
    let has_read = || outcome(port, "provision-logs").is_some();
    agent.wait_until("it has read the second line", has_read).expect("read");
    agent.wait_until("the old file is sealed", || node.sealed("r").len() == 1).expect("sealed");
    let left = node.sealed("r");
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(name(&left[0]) + ".partial", name(&begun[0]));
    assert_eq!(lines(&left), LINES, "read before the kill");
    let count = query(&left, "SELECT CAST(count(*) AS TEXT) FROM probe");
    assert!(count[0].parse::<u32>().expect("a count") >= 5, "{count:?}");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    let all = node.sealed("r");
    assert_eq!(all.len(), 2);
    assert_eq!(query(&all, "SELECT CAST(count(*) AS TEXT) FROM raw_session"), ["2"]);
    let told = query(&all, "SELECT message FROM log WHERE message LIKE '%login%'");
    assert!(told.len() == 2 && told[0].contains("‹password:"), "{told:?}");
    assert_eq!(told[0], told[1], "one mask, before and after");
    for path in &all {
        database::check(path).expect("whole");
    }
}

/// Samples of a file that is written to, as a reader sees it.
fn samples(path: &Path) -> u64 {
    rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|db| {
            db.query_row(
                "SELECT coalesce(sum(row_count), 0) FROM raw_chunk WHERE kind = 'probe'",
                [],
                |row| row.get::<_, i64>(0),
            )
        })
        .map_or(0, i64::unsigned_abs)
}

#[test]
fn a_file_that_somebody_removes_is_replaced_and_told() {
    let node = node();
    let mut agent = node.start(&["--run-id", "r"]).expect("started");
    agent.wait_until("it is complete", || node.sealed("r").len() == 1).expect("sealed");
    fs::remove_dir_all(node.path("own/live/r")).expect("removed");
    let is_told = || {
        fs::read_to_string(node.path("log")).is_ok_and(|log| log.contains("somebody removed it"))
    };
    agent.wait_until("it is told", is_told).expect("told");
    assert!(!files(&node.path("own/live/r")).is_empty(), "there is another one");
    // The file has it within a tick or two; samples come later than that.
    let until = Instant::now() + Duration::from_secs(2);
    agent.wait_until("time passes", || Instant::now() > until).expect("alive");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    let sealed = node.sealed("r");
    assert_eq!(sealed.len(), 2);
    let notes = query(&sealed, NOTES);
    let told = "dropped somebody removed it while it was written to";
    assert!(notes.iter().any(|note| note == told), "{notes:?}");
}

#[test]
fn the_oldest_go_when_the_folder_reaches_its_cap() {
    let node = node();
    let mut agent = node
        .start(&[
            "--run-id",
            "r",
            "--seal-after",
            "1s",
            "--seal-bytes",
            "256KiB",
            "--folder-bytes",
            "768KiB",
        ])
        .expect("started");
    agent
        .wait_until("the oldest are removed", || {
            fs::read_to_string(node.path("log"))
                .is_ok_and(|log| log.matches("its cap of").count() >= 3)
        })
        .expect("removed");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    let sealed = node.sealed("r");
    let bytes: u64 = sealed.iter().map(|path| path.metadata().expect("a size").len()).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    let notes = query(&sealed, NOTES);
    let is_told = |note: &String| {
        note.starts_with(
            "dropped removed as the oldest of a folder that reached its cap of 768.0 KiB",
        )
    };
    assert!(notes.iter().any(is_told), "{notes:?}");
}

#[test]
fn a_full_disk_costs_no_samples_and_is_told_when_there_is_room() {
    if !is_root() {
        eprintln!("skipped: a file system of a few megabytes needs root to mount it");
        return;
    }
    let node = node();
    let (small, share) = (node.path("small"), node.path("share"));
    fs::create_dir(&small).expect("made");
    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let more = ["--run-id", "r", "--probe-for", "1h", "--health", &health];
    let agent = node.command(&small.join("own"), &more).expect("built");
    // In a mount namespace of its own, which ends with the agent.
    let mut command = Command::new("unshare");
    command
        .args(["-m", "bash", "-c"])
        .arg(format!("mount -t tmpfs -o size=2m none {} && exec \"$@\"", small.display()));
    command.arg("bash").arg(agent.get_program()).args(agent.get_args());
    command.arg("--export-dir").arg(&share);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut agent = Agent::start(&mut command, &node.path("log")).expect("started");

    let inside = PathBuf::from(format!("/proc/{}/root", agent.id()))
        .join(small.strip_prefix("/").expect("absolute"));
    agent.wait_until("it writes", || rows_written(port) > LINES + 10).expect("written");
    let filler = inside.join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    for byte in std::iter::repeat_n([0], 4096) {
        if file.write_all(&byte).is_err() {
            break;
        }
    }
    agent
        .wait_until("the disk is full", || {
            fs::read_to_string(node.path("log")).is_ok_and(|log| log.contains("full"))
        })
        .expect("full");
    let full_until = Instant::now() + Duration::from_secs(7);
    agent.wait_until("time passes", || Instant::now() > full_until).expect("alive");
    drop(file);
    fs::remove_file(&filler).expect("removed");
    agent
        .wait_until("it is told", || {
            fs::read_to_string(node.path("log"))
                .is_ok_and(|log| log.contains("samples waited in memory"))
        })
        .expect("told");
    let written_until = Instant::now() + Duration::from_secs(7);
    agent.wait_until("samples follow", || Instant::now() > written_until).expect("alive");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));

    let exported = databases(&share.join("r/node-a"));
    assert_eq!(exported.len(), 1, "{}", fs::read_to_string(node.path("log")).expect("a log"));
    let notes = query(&exported, NOTES);
    assert!(notes.iter().any(|note| note.contains("could not be written")), "{notes:?}");
    assert_eq!(lines(&exported), LINES);
    let gap = query(
        &exported,
        "SELECT CAST(max(gap) / 1000000 AS TEXT)
         FROM (SELECT ts_ns - lag(ts_ns) OVER (ORDER BY ts_ns) AS gap FROM probe)",
    );
    let gap: u64 = gap[0].parse().expect("milliseconds");
    assert!(gap < 5_000, "{gap} ms without a sample");
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("this process");
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
