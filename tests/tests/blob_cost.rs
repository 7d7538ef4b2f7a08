//! What sending and fetching half a gigabyte costs beside `curl` with the same bytes, by
//! turns in one run; and that memory stays bounded. Prints a table.
//!
//! The service is Azurite on the same machine, which bounds the time of all.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use periscope_blob::{Content, Fetched, Uploaded};
use periscope_tests::azurite::{Azurite, Right, block_on};
use periscope_tests::programs;

/// Bytes of the file.
const BYTES: usize = 500_000_000;

/// What a transfer may have in memory above what the process had before.
const MEMORY_KIB: u64 = 64 << 10;

/// Times that each is measured; the least counts.
const ROUNDS: usize = 3;

const CONTAINER: &str = "shop";

/// Wall time, and processor time of this process and of those it waited for.
#[derive(Clone, Copy)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
}

/// A field of a process's status, in KiB.
fn status_kib(pid: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Seconds of processor time of this process, and of the children it waited for.
fn cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("a process");
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11..15].iter().filter_map(|text| text.parse::<f64>().ok()).sum();
    // A tick is 10 ms on Linux, whatever its timer does.
    ticks / 100.0
}

fn cost(work: impl FnOnce()) -> Cost {
    let (began, before) = (Instant::now(), cpu_s());
    work();
    Cost { wall_s: began.elapsed().as_secs_f64(), cpu_s: cpu_s() - before }
}

/// The same, and the most that was in memory above what was there before, in KiB.
fn cost_and_memory(work: impl FnOnce()) -> (Cost, u64) {
    let idle = status_kib("self", "VmRSS:");
    // Forgets the peak so far (proc(5)).
    fs::write("/proc/self/clear_refs", "5").expect("a new peak");
    let cost = cost(work);
    (cost, status_kib("self", "VmHWM:").saturating_sub(idle))
}

fn curl(words: &[&str]) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(words);
    programs::stdout_of(&mut command).expect("curl");
}

fn least(costs: &[Cost]) -> Cost {
    let least = |of: fn(&Cost) -> f64| costs.iter().map(of).fold(f64::INFINITY, f64::min);
    Cost { wall_s: least(|cost| cost.wall_s), cpu_s: least(|cost| cost.cpu_s) }
}

fn write_file(path: &Path) {
    let mut seed = 1_u64;
    let mut content = Vec::with_capacity(BYTES + 8);
    while content.len() < BYTES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        content.extend_from_slice(&seed.to_le_bytes());
    }
    content.truncate(BYTES);
    fs::write(path, content).expect("written");
}

#[test]
fn half_a_gigabyte_in_64_mebibytes() {
    let azurite = Azurite::start().expect("azurite");
    let container = azurite.container(CONTAINER).expect("a container");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, target) = (folder.path().join("sent.db"), folder.path().join("fetched.db"));
    write_file(&file);
    let file_text = file.display().to_string();
    let target_text = target.display().to_string();
    let sas = Right::to("rwc").account_sas().expect("a token");
    let url = |name: &str| format!("{}/{CONTAINER}/{name}?{sas}", azurite.endpoint());
    let (mut sent, mut put, mut fetched, mut got) = (vec![], vec![], vec![], vec![]);
    let (mut up_kib, mut down_kib) = (0, 0);
    for round in 0..ROUNDS {
        let name = format!("run/node/node-{round}.db");
        let blob = container.blob(&name);
        let (cost_up, kib) = cost_and_memory(|| {
            let upload = async {
                blob.upload(Content::File(&file), "application/vnd.sqlite3", &HashMap::new()).await
            };
            let done = block_on(upload).expect("a runtime").expect("sent");
            assert_eq!(done, Uploaded::Sent { bytes: BYTES as u64, verified: true });
        });
        sent.push(cost_up);
        up_kib = up_kib.max(kib);
        put.push(cost(|| {
            let kind = "x-ms-blob-type: BlockBlob";
            let version = "x-ms-version: 2021-12-02";
            let to = url(&format!("curl-{round}"));
            curl(&["--header", kind, "--header", version, "--upload-file", &file_text, &to]);
        }));
        fs::remove_file(&target).ok();
        let (cost_down, kib) = cost_and_memory(|| {
            let download = async { blob.download(&target, &|_| {}).await };
            let done = block_on(download).expect("a runtime").expect("fetched");
            assert!(matches!(done, Fetched::New { bytes, .. } if bytes == BYTES as u64));
        });
        fetched.push(cost_down);
        down_kib = down_kib.max(kib);
        fs::remove_file(&target).expect("fetched");
        got.push(cost(|| curl(&["--output", &target_text, &url(&name)])));
    }
    let program_kib = program(&azurite, folder.path());
    let row = |what: &str, ours: Cost, curls: Cost, kib: u64| {
        println!(
            "{what}: {:.2} s ({:.2} of curl's {:.2}), CPU {:.2} s (curl {:.2}), {} MiB above idle",
            ours.wall_s,
            ours.wall_s / curls.wall_s,
            curls.wall_s,
            ours.cpu_s,
            curls.cpu_s,
            kib >> 10
        );
    };
    row("upload", least(&sent), least(&put), up_kib);
    row("download", least(&fetched), least(&got), down_kib);
    println!("periscope-analyze fetch, 3 files: {} MiB at its peak", program_kib >> 10);
    assert!(up_kib < MEMORY_KIB, "{up_kib} KiB");
    assert!(down_kib < MEMORY_KIB, "{down_kib} KiB");
    assert!(program_kib > 0 && program_kib < MEMORY_KIB + (24 << 10), "{program_kib} KiB");
}

/// Fetches all rounds' files with the program. Its peak, in KiB.
fn program(azurite: &Azurite, folder: &Path) -> u64 {
    let mut command = programs::analyze().expect("built");
    command.args(["fetch", &azurite.url(CONTAINER, &Right::to("rl")).expect("a token")]);
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("started");
    let pid = child.id().to_string();
    let mut peak = 0;
    loop {
        peak = peak.max(status_kib(&pid, "VmHWM:"));
        if let Some(status) = child.try_wait().expect("waited") {
            assert!(status.success(), "{status}");
            return peak;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
