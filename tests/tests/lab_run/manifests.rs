//! What is applied to the cluster: writers, tellers of secrets, and the agent as it is
//! shipped, with settings for the lab.

use std::fmt::Write as _;
use std::time::Duration;

use periscope_tests::lab::{GATEWAY, Lab, TARGETS};
use periscope_tests::secrets::SECRETS;

use super::CHATTER;

/// Writers of every kind: one whose log is rotated as often as can be; one that writes
/// what is hard to read, in parts and to both outputs; one that starts again and again.
pub(crate) const WRITERS: &str = r#"
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

/// A pod that tells every secret, has one in its environment, and repeats them in the
/// annotation that `kubectl apply` adds.
pub(crate) fn teller(node: &str, at: usize) -> String {
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
pub(crate) fn settings(lab: &Lab, run: &str) -> String {
    let ca = lab.folder().join("pki/ca.crt").display().to_string();
    let mut toml = String::new();
    let own = [
        ("api-server", "api-server", format!("https://{GATEWAY}:6443/readyz")),
        ("api-server-tls", "custom", format!("tls://{GATEWAY}:6443")),
        ("api-server-tcp", "custom", format!("tcp://{GATEWAY}:6443")),
        ("https", "custom", format!("tls://{GATEWAY}:443")),
        ("dns", "custom", format!("tcp://{GATEWAY}:53")),
    ];
    let services = TARGETS.map(|(kind, url)| (kind, kind, url.to_owned()));
    for (name, kind, url) in services.into_iter().chain(own) {
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
pub(crate) fn shipped(seal_after: Duration) -> String {
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
