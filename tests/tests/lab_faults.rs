//! In a real cluster that is broken on purpose: each fault is found, and on the node
//! that has it.
//!
//! Needs the cluster that `.ci/run` brings up (`PERISCOPE_LAB` names its scripts), with
//! three nodes. All faults are there at once, each on one node, because most take
//! minutes to show: pods that fail from the beginning, then a first collection with
//! probes while the network fails, then one of the end.
//!
//! What the lab cannot have:
//! - `systemd`. Services end and start as they do under it, and what it would write to
//!   the journal is written in its words.
//! - A `nf_conntrack_max` of a node's own: the kernel has one for the machine. The node's
//!   table is filled instead, up to where the diagnostic speaks.
//! - A disk of a node's own as `/var/lib/kubelet`: the kubelet's state would be under
//!   it. A small ext4 of a folder in it is filled.
//! - A clock of a node's own: the agent is told another time (`libfaketime`).

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use periscope_tests::lab::{GATEWAY, Lab};
use periscope_tests::recording::{Finding, Recording};

/// Port of a server that shows a certificate which is over.
const EXPIRED_PORT: u16 = 8443;

/// A fault, and the finding that must tell of it.
struct Expected {
    fault: &'static str,
    diagnostic: &'static str,
    /// Number of the node, `None` where any may tell of the whole cluster.
    node: Option<usize>,
    /// Something that the sentence or its evidence says.
    says: &'static str,
}

const fn expected(
    fault: &'static str,
    diagnostic: &'static str,
    node: Option<usize>,
    says: &'static str,
) -> Expected {
    Expected { fault, diagnostic, node, says }
}

/// What the two collections of all nodes must lead to.
const EXPECTED: &[Expected] = &[
    expected("a node cut off", "outage-windows", Some(1), "egress of the node"),
    expected("dead upstream DNS", "outage-windows", Some(0), "likely DNS"),
    expected("dead upstream DNS", "outage-windows", Some(2), "likely DNS"),
    expected("custom DNS", "custom-dns", Some(0), "custom DNS servers: 192.168.77.1"),
    expected("mixed DNS", "custom-dns", Some(1), "beside Azure's own"),
    expected("two forwards", "custom-dns", None, "second forward"),
    expected("a full connection table", "conntrack-full", Some(0), "% full"),
    expected("an expired certificate", "certificate-expiry", Some(0), "expired"),
    expected("other kubelet flags", "kubelet-drift", Some(2), "--max-pods"),
    expected("flushed rules", "iptables-drift", Some(0), "KUBE-SERVICES is missing or empty"),
    expected("a node cut off", "api-server-unreachable", Some(1), "mostly timeout"),
    expected("CrashLoopBackOff", "crash-loop", Some(0), "container main of pod faults/crash keeps"),
    expected("CrashLoopBackOff", "crash-loop", Some(0), "cannot open the database"),
    expected("a wrong image name", "image-pull-failures", Some(0), "shop/wbe:1"),
    expected("a wrong image name", "image-pull-failures", Some(0), "no such image"),
    expected("a refused registry", "image-pull-failures", Some(0), "faults/refused-registry"),
    expected("a refused registry", "image-pull-failures", Some(0), "connection refused"),
    expected("OOMKilled by limit", "out-of-memory", Some(0), "faults/greedy"),
    expected("an unschedulable pod", "unschedulable-pods", None, "faults/nowhere"),
    expected("a failing mount", "volume-failures", Some(0), "missing object"),
    expected("kubelet restarted six times", "service-restarts", Some(1), "kubelet.service was"),
    expected("containerd stopped", "runtime-unhealthy", Some(2), "container runtime unhealthy"),
    expected("a disk nearly full", "disk-pressure", Some(0), "/var/lib/kubelet/full was up to"),
    expected("a log storm", "log-storm", Some(0), "faults/chatter/main wrote"),
    expected("a skewed clock", "clock-skew", Some(1), "behind the API server's"),
];

/// What an agent is told whose node's clock is two minutes behind. Clocks that never
/// jump go right, as on such a node.
const SKEWED: [&str; 5] = ["faketime", "-m", "--exclude-monotonic", "-f", "-120s"];

/// Workloads with a fault each, all on the first node.
const WORKLOADS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: faults}
---
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: faults}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'echo starting; echo "cannot open the database" >&2; exit 3']
---
apiVersion: v1
kind: Pod
metadata: {name: wrong-image, namespace: faults}
spec:
  nodeName: NODE
  containers: [{name: main, image: "127.0.0.1:5000/shop/wbe:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: refused-registry, namespace: faults}
spec:
  nodeName: NODE
  containers: [{name: main, image: "127.0.0.1:5001/shop/web:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: greedy, namespace: faults}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'tail /dev/zero']
    resources: {limits: {memory: 24Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, namespace: faults}
spec:
  nodeSelector: {agentpool: gpu}
  containers:
  - {name: main, image: "docker.io/lab/busybox:1", imagePullPolicy: Never}
---
apiVersion: v1
kind: Pod
metadata: {name: unmounted, namespace: faults}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    volumeMounts: [{name: settings, mountPath: /settings}]
  volumes: [{name: settings, configMap: {name: nobody-made-it}}]
---
apiVersion: v1
kind: Pod
metadata: {name: chatter, namespace: faults}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'sleep 5; yes "cannot reach the queue, trying again" | head -n 60000; sleep 100000']
"#;

/// A pod without a fault.
const YOUNG: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: young, namespace: faults}
spec:
  nodeName: NODE
  containers:
  - name: main
    image: docker.io/lab/busybox:1
    imagePullPolicy: Never
    command: [sleep, "100000"]
"#;

/// Ends the kubelet and starts it with one flag changed, as systemd would.
const RESTART_KUBELET: &str = r#"
say() { logger --journald; }
old=$(pgrep -xo kubelet)
mapfile -d '' -t words <"/proc/$old/cmdline"
kill "$old"
while kill -0 "$old" 2>/dev/null; do sleep 0.1; done
printf '%s\n' SYSLOG_IDENTIFIER=kubelet PRIORITY=6 \
  'MESSAGE=kubelet.service: Main process exited, code=exited, status=255/EXCEPTION' | say
printf '%s\n' SYSLOG_IDENTIFIER=kubelet PRIORITY=6 \
  "MESSAGE=kubelet.service: Failed with result 'exit-code'." | say
(
  for h in systemd unified; do
    c=/sys/fs/cgroup/$h/system.slice/kubelet.service/cgroup.procs
    { echo $BASHPID >"$c"; } 2>/dev/null || true
  done
  exec setsid systemd-cat -t kubelet "${words[@]/FROM/TO}"
) >/dev/null 2>&1 </dev/null &
printf '%s\n' SYSLOG_IDENTIFIER=kubelet PRIORITY=6 'MESSAGE=Started Kubelet.' | say
"#;

/// Fills the connection table up to 95 %, and keeps it so until it is ended.
const FILL_CONNTRACK: &str = r"
import socket, time
room = int(open('/proc/sys/net/netfilter/nf_conntrack_max').read()) * 95 // 100
count = lambda: int(open('/proc/sys/net/netfilter/nf_conntrack_count').read())
at, end = 0, time.time() + 45
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
while time.time() < end:
    while count() < room:
        for _ in range(2000):
            at += 1
            try:
                socks[at % 8].sendto(b'', ('127.1.%d.%d' % (at >> 8 & 255, at & 255), 1024 + (at >> 16) % 60000))
            except OSError:
                pass
    time.sleep(0.2)
";

/// A cluster with its faults; mended when it is dropped.
struct Broken<'a> {
    lab: &'a Lab,
    nodes: Vec<String>,
    servers: Vec<std::process::Child>,
}

impl<'a> Broken<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let nodes = lab.nodes()?;
        Ok(Self { lab, nodes, servers: Vec::new() })
    }

    fn workloads(&self) -> String {
        WORKLOADS.replace("NODE", &self.nodes[0])
    }

    /// What needs time to show.
    fn begin(&mut self) -> Result<()> {
        let registry =
            "exec timeout 600 python3 -m http.server 5000 --bind 127.0.0.1 --directory /run/netns";
        let mut registry = self.lab.on_with(&self.nodes[0], "bash", &["-c", registry]);
        registry.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        self.servers.push(registry.spawn().context("a registry")?);
        self.serve_expired()?;
        self.lab.apply(&self.workloads())?;
        // containerd of the last node stands still from now to the end.
        self.restart_kubelet(2, "--max-pods=110", "--max-pods=60")?;
        // A kubelet that begins without its runtime gives up.
        sleep(Duration::from_secs(15));
        self.lab.script(&self.nodes[2], "kill -STOP $(pgrep -x containerd)")?;
        self.name_servers(1, &[GATEWAY, "168.63.129.16"])?;
        let key = r#"{"data":{"shop.override":"forward . 10.1.0.4"}}"#;
        let patch = ["patch", "configmap", "coredns-custom", "-n", "kube-system", "-p", key];
        self.lab.kubectl(&patch).map(drop)
    }

    /// An HTTPS server whose certificate was over before it began.
    fn serve_expired(&mut self) -> Result<()> {
        let pki = self.lab.folder().join("pki");
        let script = format!(
            "cd {pki}; rm -rf expired; mkdir expired; touch expired/index; echo 01 >expired/serial
             printf '%s\\n' '[ca]' 'default_ca=c' '[c]' 'database=expired/index' \
               'serial=expired/serial' 'new_certs_dir=expired' 'default_md=sha256' 'policy=p' \
               'x509_extensions=x' '[p]' 'commonName=supplied' '[x]' \
               'subjectAltName=IP:{GATEWAY}' >expired/ca.conf
             openssl req -newkey rsa:2048 -nodes -keyout expired/s.key -subj /CN=shop \
               -out expired/s.csr
             openssl ca -batch -config expired/ca.conf -cert ca.crt -keyfile ca.key \
               -startdate 20200101000000Z -enddate 20210101000000Z -notext \
               -in expired/s.csr -out expired/s.crt",
            pki = pki.display()
        );
        let mut make = std::process::Command::new("bash");
        periscope_tests::programs::stdout_of(make.args(["-euc", &script]))?;
        let mut server = std::process::Command::new("openssl");
        server.args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &format!("{GATEWAY}:{EXPIRED_PORT}"),
        ]);
        server.arg("-cert").arg(pki.join("expired/s.crt"));
        server.arg("-key").arg(pki.join("expired/s.key"));
        server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        self.servers.push(server.spawn().context("starting openssl")?);
        Ok(())
    }

    fn restart_kubelet(&self, node: usize, from: &str, to: &str) -> Result<()> {
        let script = RESTART_KUBELET.replace("FROM", from).replace("TO", to);
        self.lab.script(&self.nodes[node], &script).map(drop)
    }

    fn name_servers(&self, node: usize, servers: &[&str]) -> Result<()> {
        let text = format!("nameserver {}\nsearch lab.internal\n", servers.join("\nnameserver "));
        let folder = self.lab.folder().join("nodes").join(&self.nodes[node]);
        for file in ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"] {
            fs::write(folder.join(file), &text).context("writing resolv.conf")?;
        }
        Ok(())
    }

    /// While probes run: a node that reaches nothing for a minute, then names that
    /// nobody resolves.
    fn break_network(&self) -> Result<()> {
        sleep(Duration::from_secs(10));
        self.lab.services(&["cut", &self.nodes[1], GATEWAY])?;
        sleep(Duration::from_secs(58));
        self.lab.services(&["mend", &self.nodes[1]])?;
        sleep(Duration::from_secs(6));
        self.lab.services(&["dns-break"])?;
        sleep(Duration::from_secs(14));
        self.lab.services(&["dns-mend"])
    }

    /// A pod that is younger than the clock of the second node is late.
    fn make_young_pod(&self) -> Result<()> {
        let pod = YOUNG.replace("NODE", &self.nodes[1]);
        self.lab.apply(&pod)?;
        sleep(Duration::from_secs(5));
        Ok(())
    }

    /// What shows at once.
    fn go_on(&mut self) -> Result<()> {
        for _ in 0..6 {
            self.restart_kubelet(1, "x", "x")?;
            sleep(Duration::from_secs(4));
        }
        let rules = "kill -STOP $(pgrep -x kube-proxy); iptables -w -t nat -F KUBE-SERVICES";
        self.lab.script(&self.nodes[0], rules)?;
        let disk = "f=/var/lib/kubelet/full.img; d=/var/lib/kubelet/full; mkdir -p $d
            truncate -s 32M $f; mkfs.ext4 -q -m0 -O ^has_journal $f
            mount -o loop $f $d; head -c 27M /dev/zero >$d/file";
        self.lab.script(&self.nodes[0], disk)?;
        let mut fill = self.lab.on_with(&self.nodes[0], "python3", &["-c", FILL_CONNTRACK]);
        self.servers.push(fill.spawn().context("filling the connection table")?);
        sleep(Duration::from_secs(8));
        Ok(())
    }
}

impl Drop for Broken<'_> {
    #[expect(clippy::print_stderr, reason = "a test that fails tells what it leaves behind")]
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill().ok();
            server.wait().ok();
        }
        let lab = self.lab;
        let mend = [
            lab.script(&self.nodes[2], "kill -CONT $(pgrep -x containerd)").map(drop),
            lab.script(
                &self.nodes[0],
                "kill -CONT $(pgrep -x kube-proxy)
                 umount /var/lib/kubelet/full; rm -rf /var/lib/kubelet/full*",
            )
            .map(drop),
            self.restart_kubelet(2, "--max-pods=60", "--max-pods=110"),
            self.name_servers(1, &[GATEWAY]),
            lab.kubectl(&[
                "patch",
                "configmap",
                "coredns-custom",
                "-n",
                "kube-system",
                "--type=json",
                "-p",
                r#"[{"op":"remove","path":"/data"}]"#,
            ])
            .map(drop),
            lab.delete(YOUNG),
            lab.delete(&self.workloads()),
        ];
        for error in mend.into_iter().filter_map(Result::err) {
            eprintln!("not mended: {error:#}");
        }
    }
}

/// Faults without a finding.
fn missed<'e>(
    nodes: &[String],
    findings: &[Finding],
    expected: &'e [Expected],
) -> Vec<&'e Expected> {
    let is_told = |expected: &&Expected| {
        !findings.iter().any(|found| {
            found.diagnostic == expected.diagnostic
                && expected.node.is_none_or(|at| found.node == nodes[at])
                && (found.message.contains(expected.says) || found.evidence.contains(expected.says))
        })
    };
    expected.iter().filter(is_told).collect()
}

#[test]
fn each_fault_is_found_on_its_node() {
    let lab = Lab::find().expect("the lab's scripts");
    lab.wait_until_up(3).expect("a cluster");
    let began = Instant::now();
    let mut recording = Recording::new(&lab).expect("a folder");
    recording.add_target(&format!("https://{GATEWAY}:{EXPIRED_PORT}/"));
    let mut broken = Broken::new(&lab).expect("nodes");
    broken.begin().expect("broken");
    recording.collect("faults-1", 100, || broken.break_network()).expect("collected");
    broken.go_on().expect("broken");
    // Three minutes is when a kubelet takes its runtime for dead.
    while began.elapsed() < Duration::from_secs(215) {
        sleep(Duration::from_secs(1));
    }
    recording.collect("faults-2", 5, || Ok(())).expect("collected");
    let nodes = broken.nodes.clone();
    broken.make_young_pod().expect("broken");
    recording.collect_with("skewed", &nodes[1], 3, &SKEWED).expect("collected");
    recording.keep(&["faults-1", "faults-2", "skewed"]).expect("kept");

    let mut findings = recording.findings(&["faults-1", "faults-2"]).expect("a report");
    // A run of its own: whatever it says is said two minutes late.
    let skewed = recording.findings(&["skewed"]).expect("a report");
    findings.extend(skewed.into_iter().filter(|found| found.diagnostic == "clock-skew"));
    let missed = missed(&nodes, &findings, EXPECTED);
    for Expected { fault, diagnostic, node, says } in &missed {
        println!("not found: {fault}: {diagnostic} on node {node:?} that says {says:?}");
    }
    drop(broken);
    println!("{:.0} s in all", began.elapsed().as_secs_f64());
    assert!(missed.is_empty(), "{findings:#?}");
}
