//! In a real cluster: the DaemonSet as it is shipped, on every node, while containers
//! write, the kubelet rotates, the agent is killed twice and a new run is asked for.
//! No line is lost or doubled, nothing secret is written, and its ceilings hold.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), with
//! small logs so that they are rotated. `PERISCOPE_LAB_MINUTES` makes it longer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use periscope_tests::cgroup::Cgroup;
use periscope_tests::cri;
use periscope_tests::database;
use periscope_tests::keeper::Keeper;
use periscope_tests::lab::{GATEWAY, Lab};
use periscope_tests::programs;
use periscope_tests::secrets::{PIECES, SECRETS};

/// Namespace of what writes.
const CHATTER: &str = "periscope-chatter";

/// What the agent may have in memory.
const MEMORY_BYTES: u64 = 64 << 20;

/// What it may take of a processor when it has caught up, in percent.
const CPU_PERCENT: f64 = 3.0;

/// Time that a new process has to catch up before that is measured.
const SETTLING: Duration = Duration::from_secs(20);

/// The agent looks every ten seconds, and not when it ends.
const LAST_LOOK: Duration = Duration::from_secs(25);

const AGENT: &str = "periscope-agent";

/// Writers of every kind: one whose log is rotated as often as can be; one that writes
/// what is hard to read, in parts and to both outputs; one that starts again and again.
const WRITERS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: periscope-chatter}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: chatter, namespace: periscope-chatter}
spec:
  selector: {matchLabels: {app: chatter}}
  template:
    metadata: {labels: {app: chatter}}
    spec:
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      tolerations: [{operator: Exists}]
      containers:
      - name: fast
        image: docker.io/lab/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'i=0; while [ ! -e /stop/stop ]; do j=0; while [ $j -lt 60 ]; do echo "request $i of the fast one took $((i*7919%997)) ms from 10.244.$((i%4)).$((i%251))"; i=$((i+1)); j=$((j+1)); done; sleep 1; done; sleep 1000000']
        volumeMounts: [{name: stop, mountPath: /stop}]
      - name: odd
        image: docker.io/lab/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'i=0; while [ ! -e /stop/stop ]; do echo "line $i to one"; echo "line $i to the other: grüße" >&2; echo; printf "zero\0and \377\376 of %s\n" $i; [ $((i%5)) = 0 ] && { head -c 40000 /dev/zero | tr "\0" x; echo " $i"; }; i=$((i+1)); sleep 2; done; sleep 1000000']
        volumeMounts: [{name: stop, mountPath: /stop}]
      - name: again
        image: docker.io/lab/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'for i in 0 1 2 3 4 5 6 7 8 9; do echo "line $i of $HOSTNAME since $(date +%s)"; sleep 1; done; while [ -e /stop/stop ]; do sleep 5; done; exit 3']
        volumeMounts: [{name: stop, mountPath: /stop}]
      volumes:
      - name: stop
        hostPath: {path: /var/log/periscope-chatter, type: DirectoryOrCreate}
"#;

/// Minutes that it takes between the agent's start and the last line.
fn minutes() -> f64 {
    std::env::var("PERISCOPE_LAB_MINUTES").map_or(1.5, |text| text.parse().expect("a number"))
}

/// A pod that tells every secret, has one in its environment, and repeats them in the
/// annotation that `kubectl apply` adds.
fn teller(node: &str, at: usize) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let lines: Vec<String> = SECRETS.iter().map(|(_, text, _)| (*text).to_owned()).collect();
    let script = "printf '%s\\n' \"$@\"; printf '%s\\n' \"$@\" >&2; sleep 1000000";
    let words: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: teller-{at}, namespace: {CHATTER}}}\n\
         spec:\n  nodeName: {node}\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - name: main\n    image: docker.io/lab/busybox:1\n    imagePullPolicy: Never\n    \
         command: [sh, -c, {}, tell, {}]\n    env:\n    \
         - {{name: DB_PASSWORD, value: PLANTEDenvironment01}}\n    \
         - {{name: CONNECTION, value: {}}}\n",
        quoted(script),
        words.join(", "),
        words[1]
    )
}

/// The agent's settings: targets in the lab only, eight of them, each asked every five
/// seconds.
fn settings(lab: &Lab, run: &str) -> String {
    let ca = lab.folder().join("pki/ca.crt").display().to_string();
    let mut toml = String::new();
    for (name, kind, url) in [
        ("internet", "internet", "https://internet.lab.internal/".to_owned()),
        ("mcr", "mcr", "https://mcr.lab.internal/v2/".to_owned()),
        ("acr", "acr", "https://registry.azurecr.lab.internal/v2/".to_owned()),
        ("api-server", "api-server", format!("https://{GATEWAY}:6443/readyz")),
        ("api-server-tls", "custom", format!("tls://{GATEWAY}:6443")),
        ("api-server-tcp", "custom", format!("tcp://{GATEWAY}:6443")),
        ("https", "custom", format!("tls://{GATEWAY}:443")),
        ("dns", "custom", format!("tcp://{GATEWAY}:53")),
    ] {
        let _ = write!(
            toml,
            "[[probe]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
             interval = \"5s\"\ntimeout = \"2s\"\n"
        );
        if !url.starts_with("tcp") {
            let _ = writeln!(toml, "ca_file = \"{ca}\"");
        }
    }
    toml += "[[redaction.rule]]\nname = \"employee\"\npattern = 'EMP-\\d{6}'\n\
             [[redaction.rule]]\nname = \"code-word\"\nliteral = \"planted xyzzy\"\n";
    let toml: Vec<String> = toml.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\n\
         metadata: {{name: diagnostic-config, namespace: aks-periscope}}\ndata:\n  \
         DIAGNOSTIC_RUN_ID: {run}\n  \
         DIAGNOSTIC_CONTAINERLOGS_LIST: kube-system {CHATTER}\n  \
         DIAGNOSTIC_KUBEOBJECTS_LIST: kube-system/pod {CHATTER}/pod\n  COLLECTOR_LIST: \"\"\n  \
         agent.toml: |\n{}---\napiVersion: v1\nkind: Secret\n\
         metadata: {{name: azureblob-secret, namespace: aks-periscope}}\n",
        toml.concat()
    )
}

/// The shipped manifests, with the lab's image and settings of the test.
fn shipped(seal_after: Duration) -> String {
    let mut manifest = Lab::shipped(&[
        "base/namespace.yaml",
        "base/service-account.yaml",
        "base/cluster-role.yaml",
        "base/cluster-role-binding.yaml",
        "base/daemon-set.yaml",
    ])
    .expect("manifests");
    let seconds = seal_after.as_secs();
    for (from, to) in [
        (
            "image: periscope-linux",
            "image: docker.io/lab/periscope:test\n          imagePullPolicy: Never".to_owned(),
        ),
        (
            "--output=/aks-periscope]",
            // The machine's disk is no part of what is tested.
            format!(
                "--output=/aks-periscope, --config=/config/agent.toml, --free-percent=0, \
                 --free-bytes=0B, --seal-after={seconds}s, --probe-for=20s]"
            ),
        ),
    ] {
        assert!(manifest.contains(from), "{from} is not in {manifest}");
        manifest = manifest.replacen(from, &to, 1);
    }
    manifest
}

/// What was planted on a node; taken back when it is dropped.
struct Planted {
    kubelet_yaml: (PathBuf, String),
    azure_json: PathBuf,
    kubelet: Child,
}

impl Planted {
    fn on(lab: &Lab, node: &str) -> Self {
        let etc = lab.folder().join("nodes").join(node).join("etc-kubernetes");
        let kubelet_yaml = etc.join("kubelet.yaml");
        let before = fs::read_to_string(&kubelet_yaml).expect("a configuration");
        let header = "staticPodURLHeader: {Authorization: [Bearer PLANTEDheader0123456]}\n";
        // The kubelet has read it; the agent reads it again.
        fs::write(&kubelet_yaml, format!("{before}{header}")).expect("written");
        let azure_json = etc.join("azure.json");
        let json = r#"{"cloud": "AzurePublicCloud", "tenantId": "t", "location": "westeurope",
            "aadClientId": "PLANTEDid01", "aadClientSecret": "PLANTEDaad01"}"#;
        fs::write(&azure_json, json).expect("written");
        for (_, text, _) in SECRETS {
            let mut say = lab.on(node, Path::new("systemd-cat"));
            programs::stdout_of(say.args(["-t", "kubelet", "echo", text])).expect("said");
        }
        // Another process of that name, with a lower number: the one that is read.
        let words: Vec<String> =
            SECRETS.iter().map(|(_, text, _)| format!("--label={text}")).collect();
        let script = "exec 3>/proc/sys/kernel/ns_last_pid; echo 4 >&3; \
                      (exec -a kubelet bash -c 'while sleep 1000000; do :; done' \"$@\") & wait";
        let mut kubelet = lab.on(node, Path::new("bash"));
        kubelet
            .args(["-c", script, "plant", "--config=/etc/kubernetes/kubelet.yaml"])
            .args(["--max-pods=110", "--token=PLANTEDflag01"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let kubelet = kubelet.spawn().expect("started");
        Self { kubelet_yaml: (kubelet_yaml, before), azure_json, kubelet }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        fs::write(&self.kubelet_yaml.0, &self.kubelet_yaml.1).ok();
        fs::remove_file(&self.azure_json).ok();
        end_tree(self.kubelet.id());
        self.kubelet.wait().ok();
    }
}

/// Ends a process and all that it started.
fn end_tree(pid: u32) {
    let threads = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in threads.unwrap_or_default().split_whitespace() {
        end_tree(child.parse().expect("a number"));
    }
    kill(pid);
}

fn kill(pid: u32) {
    Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
}

/// What one process of the agent took.
#[derive(Clone, Debug, Default)]
struct Cost {
    node: String,
    peak_bytes: u64,
    /// Times after it was first seen, and what it had taken of a processor by then.
    cpu: Vec<(Duration, u64)>,
}

impl Cost {
    /// Percent of a processor between two times after its start; `None` if it was not
    /// there for so long.
    fn percent(&self, from: Duration) -> Option<f64> {
        let first = self.cpu.iter().find(|(at, _)| *at >= from)?;
        let last = self.cpu.last()?;
        let time = last.0.checked_sub(first.0).filter(|time| *time >= SETTLING / 2)?;
        Some((last.1 - first.1) as f64 / time.as_nanos() as f64 * 100.0)
    }
}

/// Measures all agents until it is told to stop.
struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<u32, Cost>>,
}

impl Meter {
    fn start(lab: &Arc<Lab>, nodes: &[String]) -> Self {
        let (lab, nodes, stop) = (lab.clone(), nodes.to_vec(), Arc::new(AtomicBool::new(false)));
        let is_over = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut costs = BTreeMap::<u32, (Instant, Cgroup, Cost)>::new();
            while !is_over.load(Ordering::Relaxed) {
                for node in &nodes {
                    for pid in lab.processes(node, AGENT) {
                        let Ok(group) = Cgroup::of(pid) else { continue };
                        let first = || (Instant::now(), group, Cost::default());
                        let (since, group, cost) = costs.entry(pid).or_insert_with(first);
                        cost.node.clone_from(node);
                        // It may end between two lines.
                        if let (Ok(bytes), Ok(ns)) = (group.resident_bytes(), group.cpu_ns()) {
                            cost.peak_bytes = cost.peak_bytes.max(bytes);
                            cost.cpu.push((since.elapsed(), ns));
                        }
                    }
                }
                sleep(Duration::from_millis(500));
            }
            costs.into_iter().map(|(pid, (_, _, cost))| (pid, cost)).collect()
        });
        Self { stop, thread }
    }

    fn stop(self) -> BTreeMap<u32, Cost> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("measured")
    }
}

/// The cluster, with an agent and writers on every node.
struct Stage {
    lab: Arc<Lab>,
    nodes: Vec<String>,
}

impl Stage {
    fn clean(&self) {
        let gone = |words: &[&str]| {
            let more = ["--ignore-not-found", "--wait=true"];
            self.lab.kubectl(&[&["delete"], words, &more].concat()).expect("deleted");
        };
        gone(&["daemonset", "-n", "aks-periscope", "aks-periscope"]);
        gone(&["namespace", CHATTER]);
        for node in &self.nodes {
            for folder in ["aks-periscope", "periscope-chatter"] {
                fs::remove_dir_all(self.lab.var_log(node).join(folder)).ok();
            }
            fs::remove_dir_all(self.kept(node)).ok();
        }
        // The kubelet removes them some time after the pods; new ones have other names.
        self.wait("logs of old writers are gone", |node| {
            let pods = fs::read_dir(self.lab.var_log(node).join("pods")).into_iter().flatten();
            let of_old =
                pods.flatten().filter(|pod| pod.file_name().to_string_lossy().starts_with(CHATTER));
            of_old.filter(|pod| fs::remove_dir_all(pod.path()).is_ok()).count() == 0
        });
    }

    fn kept(&self, node: &str) -> PathBuf {
        self.lab.folder().join("nodes").join(node).join("kept")
    }

    fn live(&self, node: &str, run: &str) -> PathBuf {
        self.lab.var_log(node).join("aks-periscope/live").join(run)
    }

    /// Waits until something is so on every node.
    fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(3);
        while !self.nodes.iter().all(|node| is_so(node)) {
            assert!(Instant::now() < deadline, "{what}: not within three minutes");
            sleep(Duration::from_millis(200));
        }
    }

    /// Kills the agent of every node, without a word of warning.
    fn kill_agents(&self) {
        for node in &self.nodes {
            let pids = self.lab.processes(node, AGENT);
            assert!(!pids.is_empty(), "no agent runs on {node}");
            pids.iter().copied().for_each(kill);
            self.wait("the kubelet starts it again", |other| {
                let now = self.lab.processes(other, AGENT);
                other != node || now.iter().any(|pid| !pids.contains(pid))
            });
        }
    }

    /// Asks for another run. The kubelet looks at a pod's files again when the pod has
    /// changed; else that takes a minute.
    fn change_run(&self, run: &str) {
        self.lab.apply(&settings(&self.lab, run)).expect("applied");
        let label = format!("asked={run}");
        let words = ["label", "pods", "-n", "aks-periscope", "-l", "app=aks-periscope", &label];
        self.lab.kubectl(&words).expect("labelled");
        self.wait("the new run begins", |node| self.live(node, run).exists());
    }

    /// Sealed files of a node, of all runs.
    fn sealed(&self, node: &str) -> Vec<PathBuf> {
        let outbox = self.lab.var_log(node).join("aks-periscope/outbox");
        let runs = fs::read_dir(outbox).expect("an outbox");
        let mut files: Vec<_> =
            runs.flat_map(|run| database::files(&run.expect("a run").path())).collect();
        files.sort();
        files
    }
}

#[test]
fn nothing_is_lost_doubled_or_told_and_the_ceilings_hold() {
    let lab = Arc::new(Lab::find().expect("the lab's scripts"));
    lab.image("docker.io/lab/periscope:test", &programs::static_agent().expect("built"))
        .expect("imported");
    let stage = Stage { nodes: lab.nodes().expect("nodes"), lab: lab.clone() };
    stage.clean();
    let time = Duration::from_secs_f64(minutes() * 60.0);
    let planted: Vec<_> = stage.nodes.iter().map(|node| Planted::on(&lab, node)).collect();
    let keepers: Vec<_> = stage
        .nodes
        .iter()
        .map(|node| {
            let pods = lab.var_log(node).join("pods");
            Keeper::start(&pods, &format!("{CHATTER}_chatter-"), &stage.kept(node)).expect("kept")
        })
        .collect();
    let tellers: Vec<_> =
        stage.nodes.iter().enumerate().map(|(at, node)| teller(node, at)).collect();
    lab.apply(&format!("{WRITERS}{}", tellers.concat())).expect("applied");

    let manifest = shipped((time / 4).max(Duration::from_secs(15)));
    lab.apply(&format!("{manifest}---\n{}", settings(&lab, "first"))).expect("applied");
    stage.wait("the agent runs", |node| stage.live(node, "first").exists());
    let meter = Meter::start(&lab, &stage.nodes);
    sleep(time / 3);
    stage.kill_agents();
    sleep(time / 6);
    stage.change_run("second");
    sleep(time / 6);
    stage.kill_agents();
    sleep(time / 3);
    for node in &stage.nodes {
        fs::write(lab.var_log(node).join("periscope-chatter/stop"), "").expect("written");
    }
    sleep(LAST_LOOK);
    let costs = meter.stop();
    let words = ["delete", "daemonset", "-n", "aks-periscope", "aks-periscope", "--wait=true"];
    lab.kubectl(&words).expect("deleted");
    stage.wait("the agent has ended", |node| lab.processes(node, AGENT).is_empty());
    drop(planted);

    ceilings_hold(&costs);
    for (node, keeper) in stage.nodes.iter().zip(&keepers) {
        let files = stage.sealed(node);
        files.iter().for_each(|path| database::check(path).expect("whole"));
        for run in ["first", "second"] {
            let folder = Path::new("outbox").join(run).display().to_string();
            let of_run = |path: &&PathBuf| path.display().to_string().contains(&folder);
            assert!(files.iter().any(|path| of_run(&path)), "{run} has no file: {files:?}");
        }
        lines_are_equal(node, &files, keeper);
        nothing_secret_is_there(&files);
    }
    stage.clean();
}

#[expect(clippy::print_stdout, reason = "figures that somebody may want to note")]
fn ceilings_hold(costs: &BTreeMap<u32, Cost>) {
    for (pid, cost) in costs {
        let steady = cost.percent(SETTLING);
        let whole = cost.percent(Duration::ZERO);
        println!(
            "{} pid {pid}: peak of {:.1} MiB, {} % of a processor, {} % once it has caught up",
            cost.node,
            cost.peak_bytes as f64 / 1_048_576.0,
            whole.map_or("?".to_owned(), |percent| format!("{percent:.2}")),
            steady.map_or("?".to_owned(), |percent| format!("{percent:.2}")),
        );
    }
    assert!(costs.values().any(|cost| cost.percent(SETTLING).is_some()), "measured too little");
    for cost in costs.values() {
        assert!(cost.peak_bytes > 1 << 20 && cost.peak_bytes <= MEMORY_BYTES, "{cost:?}");
        let percent = cost.percent(SETTLING).unwrap_or_default();
        assert!(percent <= CPU_PERCENT, "{percent} % on {}", cost.node);
    }
}

/// Rows of the writers, against all files that were kept of them.
#[expect(clippy::print_stdout, reason = "figures that somebody may want to note")]
fn lines_are_equal(node: &str, files: &[PathBuf], keeper: &Keeper) {
    let contents = keeper.contents().expect("kept files");
    let bundle = periscope_store::bundle::Bundle::open(files).expect("a bundle");
    let mut actual = BTreeMap::<(String, String, String), Vec<cri::Row>>::new();
    let mut statement = bundle
        .connection()
        .prepare(
            "SELECT container, restart, ts_ns, output, message, pod FROM log
             WHERE source = 'container' AND namespace = ?1 AND pod LIKE 'chatter-%'",
        )
        .expect("a query");
    let mut rows = statement.query([CHATTER]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        let restart: i64 = row.get(1).expect("a number");
        let pod = row.get(5).expect("text");
        let key = (pod, row.get(0).expect("text"), restart.to_string());
        // Text as it was written, which may be no UTF-8.
        let text = row.get_ref(4).expect("a column").as_bytes().expect("text");
        let text = String::from_utf8_lossy(text).into_owned();
        let (ts_ns, output) = (row.get(2).expect("a time"), row.get(3).expect("text"));
        actual.entry(key).or_default().push((ts_ns, output, text));
    }
    let (mut lines, mut file_count) = (0, 0);
    for ((pod, container, restart), contents) in &contents {
        let expected = cri::rows(contents);
        lines += expected.len();
        file_count += contents.len();
        // A folder is called after namespace, pod and uid.
        let name = pod.split('_').nth(1).unwrap_or_default().to_owned();
        let key = (name, container.clone(), restart.clone());
        let ours = actual.remove(&key).unwrap_or_default();
        let difference = cri::difference(ours, expected);
        assert_eq!(difference, None, "{node} {pod} {container} {restart}");
    }
    assert!(actual.is_empty(), "rows of no file: {:?}", actual.keys());
    let fast: Vec<usize> = contents
        .iter()
        .filter(|((_, container, _), _)| container == "fast")
        .map(|(_, files)| files.len())
        .collect();
    println!("{node}: {lines} lines of {file_count} files are there, each once");
    assert!(fast.iter().all(|count| *count >= 3), "the kubelet did not rotate: {fast:?}");
    let again = contents.keys().filter(|(_, container, _)| container == "again").count();
    assert!(again >= 2, "a container started {again} times");
}

/// No secret in the bytes of the files, nor in anything that is decoded from them; and
/// each place where they were planted was read.
fn nothing_secret_is_there(files: &[PathBuf]) {
    let mut bytes: Vec<Vec<u8>> =
        files.iter().map(|path| fs::read(path).expect("a file")).collect();
    for sql in [
        "SELECT * FROM log",
        "SELECT * FROM setting",
        "SELECT * FROM object",
        "SELECT * FROM pod",
        "SELECT * FROM event",
        "SELECT * FROM issue",
        "SELECT * FROM collection",
        "SELECT * FROM redaction",
        "SELECT * FROM raw_session",
        "SELECT * FROM raw_stream",
    ] {
        let mut query = programs::analyze().expect("built");
        query.arg("query").args(files).args([sql, "--format", "json"]);
        bytes.push(programs::stdout_of(&mut query).expect(sql).into_bytes());
    }
    for secret in SECRETS.iter().map(|(_, _, secret)| *secret).chain(PIECES) {
        for bytes in &bytes {
            let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            let around = at.map(|at| {
                let from = at.saturating_sub(100);
                String::from_utf8_lossy(&bytes[from..(at + 100).min(bytes.len())]).into_owned()
            });
            assert_eq!(around, None, "{secret}");
        }
    }
    let count = |sql: &str| database::number(files, sql).expect(sql);
    for (place, sql) in [
        ("logs", "SELECT count(*) FROM log WHERE pod LIKE 'teller-%' AND message LIKE '%‹%'"),
        (
            "the journal",
            "SELECT count(*) FROM log WHERE unit = 'kubelet.service' AND message LIKE '%‹account-key:%'",
        ),
        ("arguments", "SELECT count(*) FROM setting WHERE name = '--token' AND value LIKE '%‹%'"),
        (
            "the kubelet's file",
            "SELECT count(*) FROM setting WHERE name LIKE 'staticPodURLHeader%'",
        ),
        ("azure.json", "SELECT count(*) FROM setting WHERE source LIKE '%azure.json'"),
        (
            "the environment",
            "SELECT count(*) FROM object WHERE name LIKE 'teller-%' AND json LIKE '%DB_PASSWORD%'",
        ),
    ] {
        assert!(count(sql) > 0, "{place} was not read");
    }
    for (rule, text, _) in SECRETS {
        let sql = format!("SELECT count(*) FROM redaction WHERE rule = '{rule}'");
        assert!(count(&sql) > 0, "{rule} did not find {text:?}");
    }
}
