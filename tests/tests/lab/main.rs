//! In a real cluster: what the agent says of a node is what the node itself says.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts).
//! The tests interfere with the network of nodes, so they take turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use periscope_tests::lab::{GATEWAY, Lab, TARGETS};
use periscope_tests::programs;
use serde_json::Value;

mod equal;

use equal::{container_logs_are_equal, iptables_are_equal, journal_is_equal};

const INTERVAL_S: f64 = 2.0;

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: chatter, namespace: kube-system}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'i=0; while [ $i -lt 2500 ]; do echo "line $i of a chatty container that says the same again and again, more or less"; i=$((i+1)); [ $((i%250)) = 0 ] && sleep 2; done; head -c 40000 /dev/zero | tr "\0" x; echo; sleep 1; echo oops >&2; sleep 100000']
---
apiVersion: v1
kind: Pod
metadata: {name: crasher, namespace: kube-system}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo starting; echo "E1122 12:28:03.000000 1 main.go:7] cannot go on" >&2; exit 3']
"#;

static LAB: LazyLock<Mutex<Lab>> = LazyLock::new(|| {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(3).expect("a cluster");
    let node = lab.nodes().expect("nodes")[0].clone();
    lab.apply(&PODS.replace("NODE", &node)).expect("pods");
    let deadline = Instant::now() + Duration::from_mins(3);
    let folder = lab.var_log(&node).join("pods");
    // Rotated logs, a container that ended, and one that has said all it will.
    // The last of it may be in a file that was rotated after it.
    let is_silent = || {
        let files = files_below(&folder).into_iter();
        let mut chatter = files.filter(|path| path.display().to_string().contains("_chatter_"));
        chatter.any(|path| {
            fs::read(path).is_ok_and(|text| text.windows(4).any(|part| part == b"oops"))
        })
    };
    while !(has_file(&folder, "/0.log.") && has_file(&folder, "crasher") && is_silent()) {
        assert!(Instant::now() < deadline, "no rotated log below {}", folder.display());
        sleep(Duration::from_secs(1));
    }
    Mutex::new(lab)
});

fn lab() -> MutexGuard<'static, Lab> {
    LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_file(folder: &Path, part: &str) -> bool {
    files_below(folder).iter().any(|path| path.display().to_string().contains(part))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect();
    files.sort();
    files
}

fn configuration(lab: &Lab) -> String {
    let folder = lab.folder().display();
    let api_server = format!("https://{GATEWAY}:6443/readyz");
    let targets = TARGETS.into_iter().chain([("api-server", api_server.as_str())]);
    let table = |(kind, url): (&str, &str)| {
        format!(
            "[[probe]]\nname = \"{kind}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
             ca_file = \"{folder}/pki/ca.crt\"\ninterval = \"{INTERVAL_S}s\"\ntimeout = \"1s\"\n"
        )
    };
    let tables: Vec<String> = targets.map(table).collect();
    format!("kubeconfig = \"{folder}/admin.conf\"\n{}", tables.join(""))
}

/// The agent on a node, about to write below a folder.
fn agent(lab: &Lab, node: &str, output: &Path, seconds: u32) -> Command {
    let config = output.join(format!("{node}.toml"));
    fs::write(&config, configuration(lab)).expect("written");
    let mut command = lab.on(node, &programs::path("periscope-agent").expect("built"));
    command.args(["collect", "--host-root", "/", "--run-id", "run", "--config"]).arg(config);
    command.arg("--output").arg(output).args(["--probe-for", &format!("{seconds}s")]);
    command.args(["--node-name", node]);
    command
}

fn database(output: &Path, node: &str) -> PathBuf {
    output.join("run").join(node).join(format!("{node}.db"))
}

/// Rows of a query by the analyzer, as JSON.
fn query(bundle: &[PathBuf], sql: &str) -> Vec<Value> {
    let mut command = programs::analyze().expect("built");
    command.arg("query").args(bundle).arg(sql).args(["--format", "json"]);
    let text = programs::stdout_of(&mut command).expect(sql);
    serde_json::from_str(&text).expect("JSON")
}

fn texts(rows: &[Value], column: &str) -> Vec<String> {
    rows.iter().map(|row| row[column].as_str().unwrap_or_default().to_owned()).collect()
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[test]
fn a_node_is_collected_as_it_is() {
    let lab = lab();
    let nodes = lab.nodes().expect("nodes");
    let output = tempfile::tempdir().expect("a folder");
    let mut agents: Vec<_> = nodes
        .iter()
        .map(|node| agent(&lab, node, output.path(), 12).spawn().expect("started"))
        .collect();
    for agent in &mut agents {
        let status = agent.wait().expect("ended");
        assert_eq!(status.code(), Some(0), "all complete or absent");
    }
    let node = &nodes[0];
    let bundle = [database(output.path(), node)];

    let outcomes: BTreeMap<String, String> =
        query(&bundle, "SELECT collector, outcome FROM collection")
            .iter()
            .map(|row| {
                let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
                (text("collector"), text("outcome"))
            })
            .collect();
    for (collector, expected) in [
        ("container-logs", "complete"),
        ("service-logs", "complete"),
        ("iptables", "complete"),
        ("dns-node", "complete"),
        ("dns-pod", "absent"),
        ("dns-cluster", "complete"),
        ("kubelet-arguments", "complete"),
        ("kubernetes-objects", "complete"),
        ("host-samples", "complete"),
        ("probe", "complete"),
    ] {
        assert_eq!(outcomes.get(collector).map(String::as_str), Some(expected), "{outcomes:?}");
    }

    journal_is_equal(&lab, node, &bundle);
    container_logs_are_equal(&lab, node, &bundle);
    iptables_are_equal(node, &bundle);
    let pods = lab
        .kubectl(&["get", "pods", "-n", "kube-system", "-o", "jsonpath={.items[*].metadata.name}"])
        .expect("pods");
    let mut expected: Vec<&str> = pods.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(texts(&query(&bundle, "SELECT name FROM pod ORDER BY name"), "name"), expected);
    let hosts = query(&bundle, "SELECT count(*) AS n FROM sample");
    assert_ne!(hosts[0]["n"], 0);
    let flags = query(&bundle, "SELECT value FROM kubelet_setting WHERE name = '--max-pods'");
    assert_eq!(flags[0]["value"], "110");
    let integrity = Command::new("sqlite3").arg(&bundle[0]).arg("PRAGMA integrity_check").output();
    assert_eq!(integrity.expect("sqlite3").stdout, b"ok\n");

    // All nodes together: no outage, custom DNS (the lab's own), and a merge in
    // any order that says the same.
    let all: Vec<PathBuf> = nodes.iter().map(|node| database(output.path(), node)).collect();
    assert_eq!(query(&all, "SELECT * FROM probe_outage"), Vec::<Value>::new());
    let report = programs::finish(programs::analyze().expect("built").args(&all)).expect("ran");
    assert_eq!(report.status, Some(1), "{}", report.stdout);
    assert!(!report.stdout.contains("was down"), "{}", report.stdout);
    assert!(report.stdout.contains("custom-dns"), "{}", report.stdout);
    for node in &nodes {
        assert!(report.stdout.contains(node.as_str()), "{}", report.stdout);
    }
    let mut orders = Vec::new();
    for (name, order) in [("forward", [0, 1, 2]), ("backward", [2, 1, 0])] {
        let merged = output.path().join(format!("{name}.merged"));
        let files: Vec<PathBuf> = order.iter().map(|at| all[*at].clone()).collect();
        periscope_store::merge::merge(&files, &merged).expect("merged");
        orders.push(query(
            &[merged],
            "SELECT node, stream_id, ts_ns, message FROM log ORDER BY 1, 2, 3, 4",
        ));
    }
    assert_eq!(orders[0], orders[1]);
}

/// The pod of `deployment/collect-once`, under its own rights, on one node.
#[test]
fn a_pod_collects_under_its_shipped_rights() {
    let lab = lab();
    let node = lab.nodes().expect("nodes")[0].clone();
    lab.image("docker.io/lab/periscope:test", &programs::static_agent().expect("built"))
        .expect("imported");
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(&lab).lines().skip(1).collect::<Vec<_>>().join("\n");
    fs::create_dir_all(lab.var_log(&node).join("aks-periscope")).expect("made");
    fs::write(lab.var_log(&node).join("aks-periscope/agent.toml"), config).expect("written");
    let deployment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deployment");
    // The lab's kubectl is older than the kustomization: its files, one by one.
    let mut manifest = [
        "base/namespace.yaml",
        "base/service-account.yaml",
        "base/cluster-role.yaml",
        "base/cluster-role-binding.yaml",
        "collect-once/pod.yaml",
    ]
    .map(|file| fs::read_to_string(deployment.join(file)).expect(file))
    .join("---\n");
    for (from, to) in [
        (
            "image: periscope-linux",
            "image: docker.io/lab/periscope:test\n      imagePullPolicy: Never",
        ),
        ("restartPolicy: Never", &format!("restartPolicy: Never\n  nodeName: {node}")),
        (
            "--output=/aks-periscope]",
            "--output=/aks-periscope, --config=/aks-periscope/agent.toml, --probe-for=8s, \
             --run-id=pod]",
        ),
    ] {
        assert!(manifest.contains(from), "{manifest}");
        manifest = manifest.replacen(from, to, 1);
    }
    let file = folder.path().join("manifest.yaml").display().to_string();
    fs::write(&file, manifest).expect("written");
    lab.kubectl(&["delete", "-f", &file, "--ignore-not-found"]).expect("cleaned");
    lab.kubectl(&["apply", "-f", &file]).expect("applied");
    let phase = || {
        let pod = ["get", "pod", "-n", "aks-periscope", "aks-periscope-collect-once"];
        lab.kubectl(&[&pod[..], &["-o", "jsonpath={.status.phase}"]].concat()).expect("a pod")
    };
    let deadline = Instant::now() + Duration::from_mins(2);
    while !["Succeeded", "Failed"].contains(&phase().as_str()) {
        assert!(Instant::now() < deadline, "the pod is {}", phase());
        sleep(Duration::from_secs(1));
    }
    let words = lab
        .kubectl(&["logs", "-n", "aks-periscope", "aks-periscope-collect-once"])
        .expect("its output");
    assert_eq!(phase(), "Succeeded", "{words}");

    let written = lab.var_log(&node).join(format!("aks-periscope/pod/{node}/{node}.db"));
    let bundle = [written];
    let outcomes =
        query(&bundle, "SELECT collector, outcome, message FROM collection ORDER BY collector");
    for row in &outcomes {
        let is_honest = row["outcome"] == "complete"
            || row["collector"] == "provision-logs"
            // The lab's kubelets have their certificates elsewhere.
            || row["collector"] == "certificates" && row["outcome"] == "absent";
        assert!(is_honest, "{row}\n{words}");
    }
    assert_eq!(outcomes.len(), 15, "{outcomes:?}");
    iptables_are_equal(&node, &bundle);
    let kubelet = query(&bundle, "SELECT value FROM kubelet_setting WHERE name = '--max-pods'");
    assert_eq!(kubelet[0]["value"], "110");
    let pods = query(&bundle, "SELECT count(*) AS n FROM pod WHERE namespace = 'kube-system'");
    assert_ne!(pods[0]["n"], 0);
    // What the pod may do, and nothing of Secrets.
    let account = "--as=system:serviceaccount:aks-periscope:aks-periscope-service-account";
    let may = lab.kubectl(&["auth", "can-i", "--list", account]).expect("a list");
    assert!(!may.contains("secrets"), "{may}");
    lab.kubectl(&["delete", "-f", &file]).expect("deleted");
    fs::remove_dir_all(lab.var_log(&node).join("aks-periscope")).expect("removed");
}

#[test]
fn an_outage_is_bounded_by_what_was_seen() {
    let lab = lab();
    let node = lab.nodes().expect("nodes")[1].clone();
    let output = tempfile::tempdir().expect("a folder");
    let mut agent = agent(&lab, &node, output.path(), 40).spawn().expect("started");
    sleep(Duration::from_secs(12));
    let cut = now_s();
    lab.services(&["cut", &node, GATEWAY]).expect("cut");
    let cut_done = now_s();
    sleep(Duration::from_secs(11));
    let mend = now_s();
    lab.services(&["mend", &node]).expect("mended");
    let mend_done = now_s();
    agent.wait().expect("ended");

    let bundle = [database(output.path(), &node)];
    let outages = query(
        &bundle,
        "SELECT target, censored,
                unixepoch(started_after, 'subsec') AS started_after,
                unixepoch(started_by, 'subsec') AS started_by,
                unixepoch(ended_after, 'subsec') AS ended_after,
                unixepoch(ended_by, 'subsec') AS ended_by
         FROM probe_outage ORDER BY target",
    );
    assert_eq!(texts(&outages, "target"), ["acr", "api-server", "internet", "mcr"]);
    for outage in &outages {
        let at = |column: &str| outage[column].as_f64().expect(column);
        // A sample may be under way when the rule comes: its length of slack.
        let slack = 0.1;
        assert!(at("started_after") <= cut_done + slack, "{outage} {cut}");
        assert!(at("started_by") >= cut - slack, "{outage} {cut}");
        assert!(at("ended_after") <= mend_done + slack, "{outage} {mend}");
        assert!(at("ended_by") >= mend - slack, "{outage} {mend}");
        assert!(at("started_by") - at("started_after") <= 2.0 * INTERVAL_S, "{outage}");
        assert!(at("ended_by") - at("ended_after") <= 2.0 * INTERVAL_S, "{outage}");
        assert_eq!(outage["censored"], "no", "{outage}");
    }
    let report = programs::finish(programs::analyze().expect("built").args(&bundle)).expect("ran");
    assert_eq!(report.status, Some(1));
    assert!(report.stdout.contains("was down"), "{}", report.stdout);
}

#[test]
fn a_stopped_agent_leaves_the_unknown() {
    let lab = lab();
    let node = lab.nodes().expect("nodes")[2].clone();
    let output = tempfile::tempdir().expect("a folder");
    let mut agent = agent(&lab, &node, output.path(), 32).spawn().expect("started");
    sleep(Duration::from_secs(10));
    assert!(signal_agent(&lab, &node, "STOP"), "no agent to signal");
    sleep(Duration::from_secs(11));
    // The program that entered the node stops itself beside its child, perhaps after
    // the first signal to go on.
    while agent.try_wait().expect("a child").is_none() {
        signal_agent(&lab, &node, "CONT");
        sleep(Duration::from_secs(1));
    }

    let bundle = [database(output.path(), &node)];
    assert_eq!(query(&bundle, "SELECT * FROM probe_outage"), Vec::<Value>::new());
    let gaps =
        query(&bundle, "SELECT target, unknown_s, fail FROM probe_availability ORDER BY target");
    assert_eq!(texts(&gaps, "target"), ["acr", "api-server", "internet", "mcr"]);
    for gap in &gaps {
        let unknown = gap["unknown_s"].as_f64().expect("a number");
        assert!((9.0..16.0).contains(&unknown), "{gap}");
    }
}

/// Sends a signal to the agent of a node and to the program that entered the node for
/// it, which stops itself when its child is stopped. Answers whether there was one.
fn signal_agent(lab: &Lab, node: &str, signal: &str) -> bool {
    let pids: Vec<String> = ["periscope-agent", "nsenter"]
        .iter()
        .flat_map(|name| lab.processes(node, name))
        .map(|pid| pid.to_string())
        .collect();
    let mut kill = Command::new("kill");
    // One that has ended meanwhile is no fault.
    kill.arg(format!("-{signal}")).args(&pids).stderr(Stdio::null());
    !pids.is_empty() && kill.status().is_ok()
}
