//! In a real cluster: `get` and `describe` show recorded objects as kubectl shows those of
//! the cluster.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use periscope_tests::lab::Lab;
use periscope_tests::programs;
use periscope_tests::recording::Recording;

/// A little of every kind that agents read.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: faults}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: faults}
spec:
  replicas: 2
  selector: {matchLabels: {app: web, tier: front}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec:
      containers:
      - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: [sleep, "100000"]}
      - {name: side, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: [sleep, "100000"]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere, namespace: faults}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      nodeSelector: {kubernetes.io/os: linux}
      initContainers:
      - {name: before, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: ["true"]}
      containers:
      - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: [sleep, "100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: unready, namespace: faults}
spec:
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sleep, "100000"]
    readinessProbe: {exec: {command: ["false"]}}
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 32Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: faults}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: ["true"]}
---
apiVersion: v1
kind: Pod
metadata: {name: failed, namespace: faults}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: ["false"]}
---
apiVersion: v1
kind: Pod
metadata: {name: not-made, namespace: faults}
spec:
  restartPolicy: Never
  initContainers:
  - {name: before, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: [sleep, "100000"]}
  containers:
  - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never, command: ["true"]}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, namespace: faults}
spec:
  nodeSelector: {there: is-none}
  containers:
  - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: faults}
spec: {selector: {app: web, tier: front}, ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: faults}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: waiting, namespace: faults}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: faults}
spec: {clusterIP: None, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: faults}
spec: {type: ExternalName, externalName: example.com}
"#;

/// Rows by column: what kubectl prints, or what looks like it. Ages are left out, and so
/// is how long ago a restart was, which kubectl tells since 1.23.
fn rows(table: &str) -> BTreeSet<BTreeMap<String, String>> {
    let mut lines = table.lines();
    let header: Vec<char> = lines.next().unwrap_or_default().chars().collect();
    let is_start = |at: &usize| {
        header[*at] != ' ' && (*at < 2 || (header[*at - 1] == ' ' && header[*at - 2] == ' '))
    };
    let starts: Vec<usize> = (0..header.len()).filter(is_start).filter(|at| *at != 1).collect();
    let cell = |line: &[char], at: usize| {
        let end = starts.get(at + 1).copied().unwrap_or(usize::MAX).min(line.len());
        let text: String = line.get(starts[at]..end).unwrap_or_default().iter().collect();
        text.trim().to_owned()
    };
    let mut all = BTreeSet::new();
    for line in lines {
        let line: Vec<char> = line.chars().collect();
        let columns = (0..starts.len()).map(|at| (cell(&header, at), cell(&line, at)));
        let mut row: BTreeMap<String, String> = columns.collect();
        row.retain(|name, _| !["AGE", "LAST SEEN"].contains(&name.as_str()));
        if let Some(restarts) = row.get_mut("RESTARTS") {
            *restarts = restarts.split(' ').next().unwrap_or_default().to_owned();
        }
        all.insert(row);
    }
    all
}

/// Waits until what can run does, and the cluster is at rest.
fn settle(lab: &Lab) {
    let running = || {
        let pods = ["get", "pods", "-n", "faults", "--no-headers"];
        lab.kubectl(&pods).expect("pods").matches("Running").count()
    };
    // Two of the Deployment, one on each node, and one that is never ready.
    let expected = 3 + lab.nodes().expect("nodes").len();
    let deadline = Instant::now() + Duration::from_mins(2);
    while running() < expected {
        assert!(Instant::now() < deadline, "{} of {expected} pods run", running());
        sleep(Duration::from_secs(1));
    }
    sleep(Duration::from_secs(5));
}

fn analyze(words: &[&str], folder: &PathBuf) -> String {
    let mut command = programs::analyze().expect("built");
    command.arg(words[0]).arg(folder).args(&words[1..]);
    programs::stdout_of(&mut command).expect("done")
}

#[test]
fn objects_look_as_kubectl_shows_them() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(1).expect("up");
    lab.apply(OBJECTS).expect("applied");
    settle(&lab);
    let recording = Recording::new(&lab).expect("a folder");
    recording.collect("desk", 1, || Ok(())).expect("collected");
    let folder = recording.folder().join("desk");

    for kind in ["pods", "services", "deployments", "daemonsets"] {
        for wide in [&[][..], &["-o", "wide"]] {
            let words = [&["get", kind, "-n", "faults"], wide].concat();
            let (ours, theirs) = (analyze(&words, &folder), lab.kubectl(&words).expect(kind));
            assert_eq!(rows(&ours), rows(&theirs), "{words:?}\n{ours}\n{theirs}");
            let names = |text: &str| text.split("   ").next().map(str::to_owned);
            assert_eq!(names(&ours), names(&theirs), "{words:?}");
        }
    }
    for wide in [&[][..], &["-o", "wide"]] {
        let words = [&["get", "nodes"][..], wide].concat();
        let (ours, theirs) = (analyze(&words, &folder), lab.kubectl(&words).expect("nodes"));
        assert_eq!(rows(&ours), rows(&theirs), "{words:?}\n{ours}\n{theirs}");
    }
    let words = ["get", "events", "-n", "faults"];
    let (ours, theirs) = (rows(&analyze(&words, &folder)), lab.kubectl(&words).expect("events"));
    let missing: Vec<_> = rows(&theirs).difference(&ours).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}\n{ours:?}");

    let words = ["get", "svc/web", "-n", "faults", "-o", "name"];
    assert_eq!(analyze(&words, &folder), lab.kubectl(&words).expect("a name"));
    let words = ["get", "svc/web", "-n", "faults", "-o", "json"];
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let (ours, theirs) = (json(&analyze(&words, &folder)), json(&lab.kubectl(&words).expect("it")));
    assert_eq!(ours["spec"], theirs["spec"]);

    describe(&lab, &folder);
    lab.delete(OBJECTS).expect("deleted");
}

/// Sections of `describe`, with what stands in each: what we show, kubectl shows.
fn describe(lab: &Lab, folder: &PathBuf) {
    for (name, most, least) in [
        // kubectl tells of the service account since 1.23.
        ("pod/unready", 1, 95),
        ("pod/not-made", 1, 95),
        ("pod/nowhere", 1, 95),
        ("svc/web", 1, 60),
        ("svc/headless", 1, 60),
    ] {
        let words = ["describe", name, "-n", "faults"];
        let (ours, theirs) = (analyze(&words, folder), lab.kubectl(&words).expect(name));
        let facts = |text: &str| -> BTreeSet<(String, String)> {
            let before_events = text.split("\nEvents:").next().unwrap_or_default();
            let pairs = before_events.lines().filter_map(|line| line.split_once(':'));
            pairs
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                // Times are in the zone of who asks, there.
                .filter(|(name, _)| !name.starts_with("Start") && name != "Finished")
                .collect()
        };
        let (found, expected) = (facts(&ours), facts(&theirs));
        let strange: Vec<_> = found.difference(&expected).collect();
        let share = found.intersection(&expected).count() * 100 / expected.len();
        assert!(
            strange.len() <= most && share >= least,
            "{name}: {share} %\n{strange:?}\n{ours}\n{theirs}"
        );
    }
}
