//! Secrets on a node itself: in its journal, its files and the arguments of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use periscope_tests::lab::Lab;
use periscope_tests::programs;
use periscope_tests::secrets::SECRETS;

/// What was planted on a node; taken back when it is dropped.
pub(crate) struct Planted {
    kubelet_yaml: (PathBuf, String),
    azure_json: PathBuf,
    kubelet: Child,
}

impl Planted {
    /// Plants them; the kubelet has read its file by now.
    pub(crate) fn on(lab: &Lab, node: &str) -> Self {
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

/// Ends a process without a word of warning.
pub(crate) fn kill(pid: u32) {
    Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
}
