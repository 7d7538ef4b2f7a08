//! In a real cluster without a fault: no finding that asks somebody to act.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), and
//! no other test before it: what they break stays in the logs. The lab asks a DNS
//! server of its own, which on AKS would be custom DNS; here nodes take it for Azure's,
//! by its address.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use periscope_tests::lab::{GATEWAY, Lab};
use periscope_tests::programs;
use periscope_tests::recording::Recording;

/// The address by which nodes of Azure ask for names.
const AZURE_DNS: &str = "168.63.129.16";

/// A service of two replicas that says little, and a job that is done: no container
/// of it is ready, which is as it should be.
const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: default, labels: {app: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: web
        image: docker.io/lab/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'trap exit TERM; while true; do echo "GET /cart 200"; sleep 1 & wait; done']
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: default}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: docker.io/lab/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'echo done']
"#;

/// Nodes that ask Azure's DNS by its address; until it is dropped.
struct AzureDns<'a> {
    lab: &'a Lab,
    nodes: Vec<String>,
}

impl<'a> AzureDns<'a> {
    fn new(lab: &'a Lab) -> Self {
        let dns = Self { lab, nodes: lab.nodes().expect("nodes") };
        dns.turn("-I");
        dns.name(AZURE_DNS);
        dns
    }

    /// Sends what is for that address to the lab's server, or no longer.
    fn turn(&self, verb: &str) {
        for node in &self.nodes {
            for protocol in ["udp", "tcp"] {
                let mut command = self.lab.on(node, Path::new("iptables"));
                command.args(["-w", "-t", "nat", verb, "OUTPUT", "-d", AZURE_DNS, "-p", protocol]);
                command.args(["-j", "DNAT", "--to-destination", GATEWAY]);
                programs::stdout_of(&mut command).expect("iptables");
            }
        }
    }

    fn name(&self, server: &str) {
        for node in &self.nodes {
            let folder = self.lab.folder().join("nodes").join(node);
            for file in ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"] {
                let text = format!("nameserver {server}\nsearch lab.internal\n");
                fs::write(folder.join(file), text).expect("written");
            }
        }
    }
}

impl Drop for AzureDns<'_> {
    fn drop(&mut self) {
        self.name(GATEWAY);
        self.turn("-D");
    }
}

#[test]
fn a_healthy_cluster_is_silent() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(3).expect("a cluster");
    let dns = AzureDns::new(&lab);
    lab.apply(WORKLOAD).expect("applied");
    let deadline = Instant::now() + Duration::from_mins(2);
    let is_there = || {
        let shop = lab.kubectl(&["get", "deployment", "shop", "-o", "jsonpath={.status}"]);
        let job = lab.kubectl(&["get", "job", "migrate", "-o", "jsonpath={.status}"]);
        shop.is_ok_and(|status| status.contains("\"readyReplicas\":2"))
            && job.is_ok_and(|status| status.contains("\"succeeded\":1"))
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "the workload does not come up");
        sleep(Duration::from_secs(1));
    }

    let recording = Recording::new(&lab).expect("a folder");
    recording.collect("healthy", 20, || Ok(())).expect("collected");
    recording.keep(&["healthy"]).expect("kept");
    let findings = recording.findings(&["healthy"]).expect("a report");
    lab.delete(WORKLOAD).expect("deleted");
    drop(dns);
    let loud: Vec<_> = findings.iter().filter(|found| found.severity != "info").collect();
    assert!(loud.is_empty(), "{loud:#?}");
}
