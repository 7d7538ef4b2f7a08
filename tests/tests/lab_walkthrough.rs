//! Records the bundle that `docs/walkthrough.md` is about: a shop in a real cluster,
//! with four faults.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), with
//! three nodes. `CONTRIBUTING.md` says how the recording is made anew.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use periscope_tests::lab::{GATEWAY, Lab};
use periscope_tests::recording::Recording;

/// Name of the run, and so of its folder.
const RUN: &str = "shop-1";

/// A shop on the first node: one part cannot open its database, one wants more memory
/// than it may have, and one is healthy.
const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: orders, namespace: shop, labels: {app: orders}}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo "orders 4.2 starting"; sleep 1; echo "FATAL cannot open database /data/orders.db: no such file" >&2; exit 3']
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo "cart 1.7 starting"; sleep 2; echo "loading the catalogue into memory"; tail /dev/zero']
    resources: {limits: {memory: 24Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: shop, labels: {app: front}}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'i=0; while true; do echo "GET /catalogue/$i 200 3ms"; i=$((i+1)); sleep 1; done']
"#;

/// The network of the second node: nothing leaves it for 25 s.
fn cut_off(lab: &Lab, node: &str) -> anyhow::Result<()> {
    sleep(Duration::from_secs(12));
    lab.services(&["cut", node, GATEWAY])?;
    sleep(Duration::from_secs(25));
    lab.services(&["mend", node])
}

#[test]
fn a_shop_with_four_faults() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(3).expect("a cluster");
    let nodes = lab.nodes().expect("nodes");
    let shop = SHOP.replace("NODE", &nodes[0]);
    lab.apply(&shop).expect("applied");
    let patch = |text| {
        let words = ["patch", "configmap", "coredns-custom", "-n", "kube-system", "--type=merge"];
        lab.kubectl(&[&words[..], &["-p", text]].concat()).expect("patched");
    };
    patch(r#"{"data":{"shop.override":"forward . 10.1.0.4"}}"#);
    // Until containers have crashed often enough to be seen as what they are.
    sleep(Duration::from_secs(110));
    let mut recording = Recording::new(&lab).expect("a folder");
    recording.add_namespace("shop");
    recording.collect(RUN, 60, || cut_off(&lab, &nodes[1])).expect("collected");
    patch(r#"{"data":null}"#);
    lab.delete(&shop).expect("deleted");
    recording.keep(&[RUN]).expect("kept");

    let findings = recording.findings(&[RUN]).expect("a report");
    let expected = [
        ("crash-loop", "shop/orders"),
        ("out-of-memory", "shop/cart"),
        ("outage-windows", "egress of the node"),
        ("custom-dns", "second forward"),
    ];
    for (diagnostic, says) in expected {
        let is_it = |found: &&periscope_tests::recording::Finding| {
            found.diagnostic == diagnostic && found.message.contains(says)
        };
        assert!(findings.iter().any(|found| is_it(&found)), "{diagnostic}: {findings:#?}");
    }
    let size: u64 = recording
        .files(&[RUN])
        .expect("files")
        .iter()
        .map(|path| fs::metadata(path).expect("a file").len())
        .sum();
    println!("{size} bytes");
}
