//! In a real cluster: one agent of a run reads what belongs to the cluster, under the
//! rights that come with it, and another follows if it dies.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts).

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use periscope_tests::lab::Lab;
use periscope_tests::programs;
use serde_json::Value;

/// Name of the lease.
const LEASE: &str = "aks-periscope-cluster-objects";

const NAMESPACE: &str = "aks-periscope";

/// Rights of the agent.
const BASE: [&str; 4] = [
    "base/namespace.yaml",
    "base/service-account.yaml",
    "base/cluster-role.yaml",
    "base/cluster-role-binding.yaml",
];

/// A DaemonSet of the shipped pod that reads the cluster once and then sleeps: the
/// pods of a set must not end.
fn daemon_set(run: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: aks-periscope, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: aks-periscope}}}}
  template:
    metadata: {{labels: {{app: aks-periscope}}}}
    spec:
      serviceAccountName: aks-periscope-service-account
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      tolerations: [{{operator: Exists}}]
      containers:
      - name: agent
        image: docker.io/lab/periscope:test
        imagePullPolicy: Never
        args: [collect, --host-root=/host, --output=/aks-periscope, --run-id={run},
               --only=cluster-objects]
        env:
        - name: HOST_NODE_NAME
          valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}
        securityContext:
          runAsUser: 0
          allowPrivilegeEscalation: false
          capabilities: {{drop: [ALL], add: [DAC_READ_SEARCH]}}
        volumeMounts:
        - {{name: host, mountPath: /host, readOnly: true}}
        - {{name: output, mountPath: /aks-periscope}}
      volumes:
      - name: host
        hostPath: {{path: /}}
      - name: output
        hostPath: {{path: /var/log/aks-periscope, type: DirectoryOrCreate}}
"
    )
}

fn lease(lab: &Lab) -> Option<Value> {
    let text = lab.kubectl(&["get", "lease", "-n", NAMESPACE, LEASE, "-o", "json"]).ok()?;
    serde_json::from_str(&text).ok()
}

/// Databases of all nodes, once each has one.
fn databases(lab: &Lab, run: &str, deadline: Instant) -> Vec<PathBuf> {
    let nodes = lab.nodes().expect("nodes");
    let path = |node: &String| {
        lab.var_log(node).join("aks-periscope").join(run).join(node).join(format!("{node}.db"))
    };
    let paths: Vec<PathBuf> = nodes.iter().map(path).collect();
    while !paths.iter().all(|path| path.exists()) {
        assert!(Instant::now() < deadline, "not all of {paths:?} are there");
        sleep(Duration::from_millis(200));
    }
    paths
}

fn query(bundle: &[PathBuf], sql: &str) -> Vec<Value> {
    let mut command = programs::analyze().expect("built");
    command.arg("query").args(bundle).arg(sql).args(["--format", "json"]);
    let text = programs::stdout_of(&mut command).expect(sql);
    serde_json::from_str(&text).expect("JSON")
}

fn remove(lab: &Lab) {
    lab.kubectl(&["delete", "daemonset", "-n", NAMESPACE, "aks-periscope", "--ignore-not-found"])
        .expect("deleted");
    for node in lab.nodes().expect("nodes") {
        fs::remove_dir_all(lab.var_log(&node).join("aks-periscope")).ok();
    }
}

#[test]
fn one_agent_reads_the_cluster_and_another_follows_if_it_dies() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(2).expect("up");
    lab.image("docker.io/lab/periscope:test", &programs::static_agent().expect("built"))
        .expect("imported");
    lab.apply(&Lab::shipped(&BASE).expect("manifests")).expect("applied");
    remove(&lab);
    lab.kubectl(&["delete", "lease", "-n", NAMESPACE, LEASE, "--ignore-not-found"]).expect("gone");

    lab.apply(&daemon_set("lease-1")).expect("applied");
    let bundle = databases(&lab, "lease-1", Instant::now() + Duration::from_mins(3));
    let outcomes = query(
        &bundle,
        "SELECT node, outcome, message FROM collection WHERE collector = 'cluster-objects'",
    );
    let readers: Vec<&Value> = outcomes.iter().filter(|row| row["outcome"] == "complete").collect();
    assert_eq!(readers.len(), 1, "{outcomes:?}");
    let reader = readers[0]["node"].as_str().expect("a name");
    for row in outcomes.iter().filter(|row| row["node"] != reader) {
        assert_eq!(row["outcome"], "absent", "{row}");
        let message = row["message"].as_str().expect("a reason");
        assert!(message.starts_with(&format!("the agent on {reader} read them")), "{row}");
    }
    let nodes = query(&bundle, "SELECT count(*) AS n FROM object WHERE kind = 'Node'");
    assert_eq!(nodes[0]["n"], lab.nodes().expect("nodes").len());
    let sets = query(&bundle, "SELECT desired FROM workload WHERE name = 'aks-periscope'");
    assert_eq!(sets.len(), 1, "{sets:?}");
    let held = lease(&lab).expect("a lease");
    assert_eq!(held["spec"]["holderIdentity"], reader);
    assert_eq!(held["metadata"]["ownerReferences"][0]["kind"], "DaemonSet");

    // Somebody holds the lease for the next run, and is dead.
    let mut dead = held;
    dead["spec"]["holderIdentity"] = "a-node-that-is-gone".into();
    dead["metadata"]["annotations"] = serde_json::json!({ "periscope-run": "lease-2" });
    lab.replace(&dead.to_string()).expect("replaced");
    let began = Instant::now();
    lab.apply(&daemon_set("lease-2")).expect("applied");
    while lease(&lab).expect("a lease")["spec"]["holderIdentity"] == "a-node-that-is-gone" {
        assert!(began.elapsed() < Duration::from_mins(2), "nobody takes the lease");
        sleep(Duration::from_millis(200));
    }
    // Pods are replaced one after another; the first that looks waits for 30 s.
    println!("taken over {:.1} s after the new pods were asked for", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());

    // The lease goes with the DaemonSet.
    remove(&lab);
    let deadline = Instant::now() + Duration::from_mins(1);
    while lease(&lab).is_some() {
        assert!(Instant::now() < deadline, "the lease is still there");
        sleep(Duration::from_millis(500));
    }
}
