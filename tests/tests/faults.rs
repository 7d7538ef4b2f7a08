//! What breaks around an agent: an API server, a mount, files, the clock. Each costs what
//! it must, says so, and costs the rest nothing.
//!
//! Faults of logs have tests of their own where they are read (`agent/src/collect`), full
//! disks in `run.rs`, kills in `kills.rs`, a log that grows too fast in `ceilings.rs`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use periscope_tests::agent::Agent;
use periscope_tests::api::{ApiServer, Fault, kubeconfig};
use periscope_tests::database;
use periscope_tests::node::{Node, free_port, get, outcome};
use periscope_tests::programs;

const LOG: (&str, &str) = (
    "root/var/log/pods/kube-system_web-1_5f3a/web/0.log",
    "2026-11-22T12:28:03.000000001Z stdout F one\n2026-11-22T12:28:03.000000002Z stdout F two\n",
);

const OUTCOMES: &str =
    "SELECT collector || ' ' || outcome || coalesce(' ' || message, '') FROM collection";

/// One collection against an API server with a fault: outcomes by collector, and how
/// long it took.
fn collect(fault: Fault) -> (Vec<String>, Duration, u32) {
    let server = ApiServer::start(fault).expect("a server");
    let (said, took) = collect_by(&server.kubeconfig(), |agent| agent);
    (said, took, server.asked())
}

/// One collection by this kubeconfig and this command that leads to the agent.
fn collect_by(kubeconfig: &str, lead: impl FnOnce(Command) -> Command) -> (Vec<String>, Duration) {
    let node = Node::new(&[LOG, ("root/kubeconfig", kubeconfig)]).expect("a node");
    let mut agent = programs::agent().expect("built");
    let only = "container-logs,dns-node,kubernetes-objects";
    agent.args(["collect", "--run-id", "r", "--kubeconfig", "/kubeconfig", "--only", only]);
    agent.arg("--host-root").arg(node.path("root")).arg("--output").arg(node.path("own"));
    let begun = Instant::now();
    let finished = programs::finish(&mut lead(agent)).expect("ran");
    assert!(matches!(finished.status, Some(0 | 1)), "{finished:?}");
    let took = begun.elapsed();
    let files = [node.path("own/r/node-a/node-a.db")];
    let issues = "SELECT collector || ' issue ' || message FROM issue";
    let mut said = database::texts(&files, OUTCOMES).expect("outcomes");
    said.extend(database::texts(&files, issues).expect("issues"));
    (said, took)
}

/// Whether only the collector that asks the API server says that it failed, and why.
fn only_its_collector_says(said: &[String], expected: &str) {
    for other in ["container-logs complete", "dns-node complete"] {
        assert!(said.iter().any(|line| line.starts_with(other)), "{expected}: {said:?}");
    }
    let of_it: Vec<_> = said.iter().filter(|line| line.starts_with("kubernetes-objects")).collect();
    assert!(of_it.iter().any(|line| line.contains(expected)), "{expected}: {said:?}");
    assert!(!of_it.iter().any(|line| line.contains(" complete")), "{expected}: {said:?}");
}

#[test]
fn an_api_server_that_fails_costs_only_what_it_was_asked_for() {
    programs::path("periscope-agent").expect("built");
    let faults = [
        (Fault::Slow, "no answer within"),
        (Fault::Status(403), "refused with status 403: because of a test"),
        (Fault::Status(429), "failed with status 429: because of a test"),
        (Fault::Status(500), "failed with status 500: because of a test"),
        (Fault::Cut, "cannot be reached"),
        (Fault::Down, "cannot be reached"),
    ];
    let runs = faults
        .map(|(fault, expected)| (fault, expected, std::thread::spawn(move || collect(fault))));
    for (fault, expected, run) in runs {
        let (said, took, _) = run.join().expect("collected");
        only_its_collector_says(&said, expected);
        assert!(took < Duration::from_secs(90), "{fault:?}: {took:?}");
    }
}

/// What a network of its own needs to drop all that is sent to the API server, as a
/// firewall does that says nothing.
const FIREWALL: &str = "ip link set lo up && \
    iptables -I INPUT -p tcp --dport 6443 -j DROP && exec \"$@\"";

#[test]
fn an_api_server_behind_a_firewall_costs_only_what_it_was_asked_for() {
    programs::path("periscope-agent").expect("built");
    let walled = |agent: &Command| {
        let mut command = Command::new("unshare");
        command.args(["-n", "bash", "-c", FIREWALL, "bash"]).arg(agent.get_program());
        command.args(agent.get_args()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    if !walled(&Command::new("true")).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: a network of its own and a rule in it need root and iptables");
        return;
    }
    let kubeconfig = kubeconfig("127.0.0.1:6443");
    let (said, took) = collect_by(&kubeconfig, |agent| walled(&agent));
    only_its_collector_says(&said, "cannot be reached: deadline has elapsed");
    assert!(took < Duration::from_secs(90), "{took:?}");
}

#[test]
fn a_busy_api_server_is_asked_again_when_it_says() {
    let (said, took, asked) = collect(Fault::Busy(2));
    assert!(said.iter().any(|line| line == "kubernetes-objects complete"), "{said:?}");
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(asked > 3, "{asked}");
}

/// A mount whose server never answers: whoever looks into it waits.
struct DeadMount {
    holder: Child,
    folder: PathBuf,
}

impl DeadMount {
    /// `None` if this machine lets nobody mount one.
    fn on(folder: &Path) -> Option<Self> {
        let script = "exec 3<>/dev/fuse && \
            mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none \"$1\" && \
            echo mounted && exec sleep 1000000";
        let mut command = Command::new("bash");
        command.args(["-c", script, "mount"]).arg(folder).stdin(Stdio::null());
        let mut holder = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut said = std::io::BufReader::new(holder.stdout.take()?);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).ok()?;
        let is_mounted = line == "mounted\n";
        let mount = Self { holder, folder: folder.to_owned() };
        is_mounted.then_some(mount)
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
        Command::new("umount").arg("-l").arg(&self.folder).stderr(Stdio::null()).status().ok();
    }
}

#[test]
fn a_dead_mount_holds_up_who_looks_into_it_and_nobody_else() {
    let node = Node::new(&[LOG]).expect("a node");
    let folder = node.path("root/var/log/azure/share");
    fs::create_dir_all(&folder).expect("made");
    let Some(mount) = DeadMount::on(&folder) else {
        eprintln!("skipped: a mount without a server needs root and /dev/fuse");
        return;
    };
    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let mut agent = node.start(&["--run-id", "r", "--health", &health]).expect("started");
    let others = ["container-logs", "dns-node", "node-settings", "host-samples"];
    agent
        .wait_until("the others have ended", || {
            others.iter().all(|other| outcome(port, other).is_some())
        })
        .expect("ended");
    assert_eq!(outcome(port, "provision-logs"), None, "it hangs");
    // What is written after the mount died is read all the same.
    let log = node.path(LOG.0);
    let mut file = fs::File::options().append(true).open(log).expect("a log");
    writeln!(file, "2026-11-22T12:28:04.000000003Z stdout F three").expect("written");
    let rows = || get(port, "/metrics");
    let late = "it gave no answer within";
    agent
        .wait_until("it is told", || rows().contains("provision-logs\",outcome=\"failed\"} 1"))
        .expect("told");
    // It has taken longer than the interval of logs by then.
    let begun = Instant::now();
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(26), "{:?}", begun.elapsed());
    drop(mount);

    let sealed = node.sealed("r");
    let lines: Vec<String> =
        database::column(&sealed, "SELECT message FROM log ORDER BY ts_ns").expect("lines");
    assert_eq!(lines, ["one", "two", "three"]);
    let told: Vec<String> = database::column(
        &sealed,
        "SELECT message FROM raw_batch WHERE collector = 'provision-logs' ORDER BY seq",
    )
    .expect("told");
    assert!(told[0].starts_with(late), "{told:?}");
}

#[test]
fn odd_files_are_bounded_and_labelled_and_the_rest_is_read() {
    let node = Node::new(&[LOG]).expect("a node");
    let logs = |pod: &str| node.logs(pod, "c").expect("a folder");
    let mut long = b"2026-11-22T12:28:03.000000001Z stdout F ".to_vec();
    long.resize(100_000_000, b'x');
    fs::write(logs("long").join("0.log"), &long).expect("written");
    let nul = b"2026-11-22T12:28:03.000000001Z stdout F \0and \xff\xfe\n\0\0\0\n";
    fs::write(logs("nul").join("0.log"), nul).expect("written");
    fs::create_dir(logs("folder").join("0.log")).expect("made");
    symlink("1.log", logs("loop").join("0.log")).expect("a link");
    symlink("0.log", logs("loop").join("1.log")).expect("a link");
    let fifo = Command::new("mkfifo").arg(logs("pipe").join("0.log")).status().expect("mkfifo");
    assert!(fifo.success());
    symlink(logs("pipe").join("0.log"), logs("linked").join("0.log")).expect("a link");

    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let mut flags = vec!["--run-id", "r", "--only", "container-logs", "--health", &health];
    flags.extend(["--log-bytes", "1GiB"]);
    let mut agent = node.start(&flags).expect("started");
    agent.wait_until("it has read", || outcome(port, "container-logs").is_some()).expect("read");
    let peak = fs::read_to_string(format!("/proc/{}/status", agent.id())).expect("alive");
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));
    assert!(peak_kib < 64 << 10, "{peak_kib} KiB");

    let sealed = node.sealed("r");
    let number = |sql: &str| database::number(&sealed, sql).expect(sql);
    assert_eq!(number("SELECT count(*) FROM log WHERE pod = 'web-1'"), 2);
    assert_eq!(number("SELECT count(*) FROM log WHERE pod = 'nul'"), 2);
    let kept = number("SELECT sum(length(message)) FROM log WHERE pod = 'long'");
    assert!((1..=1 << 20).contains(&kept), "{kept}");
    let cut = number("SELECT amount FROM issue WHERE kind = 'truncated' AND unit = 'bytes'");
    let head = long.iter().position(|byte| *byte == b'x').expect("text") as i64;
    assert_eq!(cut + kept + head, long.len() as i64, "what is not there is counted");
    for pod in ["loop", "linked"] {
        let sql = format!("SELECT count(*) FROM issue WHERE source LIKE '%_{pod}_%'");
        assert!(number(&sql) > 0, "{pod} is not told");
    }
}

/// A clock that can be set back: what a process takes for the time is what a file says
/// it is off by, in seconds.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, ts);
    if (id != CLOCK_REALTIME || result) return result;
    char text[32] = {0};
    int file = open(getenv("CLOCK_OFF_BY"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) { if (read(file, text, sizeof text - 1) < 0) text[0] = 0; close(file); }
    ts->tv_sec += atol(text);
    return 0;
}
"#;

#[test]
fn a_clock_set_back_an_hour_moves_no_outage_and_loses_no_line() {
    let mut node = Node::new(&[LOG, ("clock.c", CLOCK), ("off-by", "0")]).expect("a node");
    let library = node.path("clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(node.path("clock.c")).arg("-ldl");
    assert!(compiler.status().expect("cc").success());
    let port = free_port().expect("a port");
    let health = format!("127.0.0.1:{port}");
    let mut command =
        node.command(&node.path("own"), &["--run-id", "r", "--health", &health]).expect("built");
    command.env("LD_PRELOAD", &library).env("CLOCK_OFF_BY", node.path("off-by"));
    let mut agent = Agent::start(&mut command, &node.path("log")).expect("started");
    agent.wait_until("it has read", || outcome(port, "container-logs").is_some()).expect("read");

    let pass = |agent: &mut Agent, seconds: u64| {
        let until = Instant::now() + Duration::from_secs(seconds);
        agent.wait_until("time passes", || Instant::now() > until).expect("alive");
    };
    let outage = |agent: &mut Agent, node: &mut Node| {
        pass(agent, 3);
        node.target.interrupt();
        pass(agent, 5);
        node.target.mend().expect("mended");
        pass(agent, 3);
    };
    outage(&mut agent, &mut node);
    node.write("off-by", "-3600").expect("written");
    let mut file = fs::File::options().append(true).open(node.path(LOG.0)).expect("a log");
    writeln!(file, "2026-11-22T11:28:03.000000003Z stdout F an hour before").expect("written");
    // By its end logs have been looked at again, ten seconds after the last look, whatever
    // the time is.
    outage(&mut agent, &mut node);
    assert_eq!(agent.terminate().expect("ended").code(), Some(0));

    let sealed = node.sealed("r");
    let lines: Vec<String> =
        database::column(&sealed, "SELECT message FROM log ORDER BY ts_ns").expect("lines");
    assert_eq!(lines, ["an hour before", "one", "two"]);
    let step = "SELECT printf('%.0f', clock_step_s) FROM probe_gap WHERE reason = 'clock'";
    assert_eq!(database::texts(&sealed, step).expect("a gap"), ["-3600"]);
    let outages = "SELECT printf('%d %s', fails, censored) FROM probe_outage ORDER BY ts_ns";
    let outages = database::texts(&sealed, outages).expect("outages");
    assert_eq!(outages.len(), 2, "{outages:?}");
    for outage in outages {
        let fails = outage.strip_suffix(" no").and_then(|fails| fails.parse::<u32>().ok());
        assert!(fails.is_some_and(|fails| (3..=7).contains(&fails)), "{outage}");
    }
    let order = "SELECT printf('%d', count(*)) FROM
                 (SELECT seq - lag(seq) OVER (ORDER BY mono_ns) AS step FROM probe)
                 WHERE step <> 1";
    assert_eq!(database::texts(&sealed, order).expect("samples"), ["0"], "all, in their order");
}
