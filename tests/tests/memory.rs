//! Memory stays bounded however much a node has logged.
//!
//! Slow without optimisation, so `.ci/run long` runs it optimised.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::time::Duration;

use periscope_tests::programs;

const LIMIT_KIB: u64 = 128 * 1024;
const FILES: usize = 20;
const FILE_BYTES: usize = 52_000_000;

/// A gigabyte of container logs, no two lines alike.
fn write_logs(root: &std::path::Path) -> u64 {
    fs::create_dir_all(root.join("etc")).expect("made");
    fs::write(root.join("etc/hostname"), "node-a\n").expect("written");
    let mut lines = 0;
    for file in 0..FILES {
        let folder = root.join(format!("var/log/pods/kube-system_pod-{file}_uid/main"));
        fs::create_dir_all(&folder).expect("made");
        let mut out = BufWriter::new(fs::File::create(folder.join("0.log")).expect("a file"));
        let (mut written, mut seed) = (0, file as u64 + 1);
        let mut line = String::new();
        while written < FILE_BYTES {
            // A linear congruential generator: random enough not to compress away.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            line.clear();
            let ns = lines % 1_000_000_000;
            let _ = writeln!(
                line,
                "2026-11-22T12:28:03.{ns:09}Z stdout F request {seed:016x} from 10.244.{}.{} took {} ms",
                seed >> 40 & 255,
                seed >> 48 & 255,
                seed >> 56
            );
            out.write_all(line.as_bytes()).expect("written");
            written += line.len();
            lines += 1;
        }
    }
    lines
}

#[test]
fn a_gigabyte_of_logs_in_128_mebibytes() {
    let root = tempfile::tempdir().expect("a folder");
    let lines = write_logs(root.path());
    let output = tempfile::tempdir().expect("a folder");
    let mut agent = programs::agent().expect("built");
    agent.args(["collect", "--only", "container-logs", "--run-id", "r", "--host-root"]);
    agent.arg(root.path()).arg("--output").arg(output.path());
    let mut agent = agent.spawn().expect("started");
    let status = format!("/proc/{}/status", agent.id());
    let mut peak_kib = 0;
    let ended = loop {
        // VmHWM is the peak of resident memory so far.
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            peak_kib = peak_kib.max(kib.unwrap_or(0));
        }
        if let Some(status) = agent.try_wait().expect("waited") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(ended.code(), Some(0));
    let path = output.path().join("r/node-a/node-a.db");
    let count =
        programs::stdout_of(programs::analyze().expect("built").arg("query").arg(&path).args([
            "SELECT sum(row_count) FROM raw_chunk",
            "--format",
            "csv",
        ]))
        .expect("counted");
    assert!(count.ends_with(&format!("\n{lines}\n")), "{count} of {lines}");
    println!("{lines} lines, peak of {peak_kib} KiB");
    assert!(peak_kib > 0 && peak_kib < LIMIT_KIB, "{peak_kib} KiB");
}
