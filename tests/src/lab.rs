//! A real cluster on this machine, brought up by `.ci/run`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{programs, rootfs};

/// Address of the bridge: the API server, DNS and the HTTPS targets.
pub const GATEWAY: &str = "192.168.77.1";

/// What the lab's services answer for: the kind of a probe's target and its URL.
pub const TARGETS: [(&str, &str); 3] = [
    ("internet", "https://internet.lab.internal/"),
    ("mcr", "https://mcr.lab.internal/v2/"),
    ("acr", "https://registry.azurecr.lab.internal/v2/"),
];

/// The cluster.
#[derive(Debug)]
pub struct Lab {
    scripts: PathBuf,
    folder: PathBuf,
}

impl Lab {
    /// The cluster whose scripts the variable `PERISCOPE_LAB` names.
    ///
    /// # Errors
    ///
    /// If it names none.
    pub fn find() -> Result<Self> {
        let scripts = std::env::var_os("PERISCOPE_LAB")
            .context("PERISCOPE_LAB does not name the folder of the lab's scripts")?;
        let folder =
            std::env::var_os("LAB").map_or_else(|| std::env::temp_dir().join("lab"), PathBuf::from);
        Ok(Self { scripts: scripts.into(), folder })
    }

    /// Folder where the cluster keeps its files.
    #[must_use]
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Names of the nodes, sorted.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let names = self.kubectl(&["get", "nodes", "-o", "name"])?;
        Ok(names.lines().map(|line| line.trim_start_matches("node/").to_owned()).collect())
    }

    /// Folder that is a node's `/var/log`.
    #[must_use]
    pub fn var_log(&self, node: &str) -> PathBuf {
        self.folder.join("nodes").join(node).join("var/log")
    }

    /// A command inside the namespaces of a node.
    #[must_use]
    pub fn on(&self, node: &str, program: &std::path::Path) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.scripts.join("cluster")).args(["node", node, "exec"]).arg(program);
        command
    }

    /// The same, with words behind it.
    #[must_use]
    pub fn on_with(&self, node: &str, program: &str, words: &[&str]) -> Command {
        let mut command = self.on(node, std::path::Path::new(program));
        command.args(words);
        command
    }

    /// Output of kubectl as the cluster's administrator.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.folder.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.folder.join("admin.conf")).args(arguments);
        programs::stdout_of(&mut command)
    }

    /// Waits until so many nodes are ready and pods can be made.
    ///
    /// # Errors
    ///
    /// If that takes longer than three minutes.
    pub fn wait_until_up(&self, nodes: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(3);
        let ready = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        let is_up = || {
            let ready = self.kubectl(&["get", "nodes", "-o", ready]);
            let account = ["get", "serviceaccount", "default", "-n", "default"];
            ready.is_ok_and(|words| words.matches("True").count() >= nodes)
                && self.kubectl(&account).is_ok()
        };
        while !is_up() {
            ensure!(Instant::now() < deadline, "the cluster does not come up");
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Applies a manifest.
    ///
    /// # Errors
    ///
    /// If kubectl refuses it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.give(&["apply"], manifest)
    }

    /// Deletes what a manifest names, at once, and what is not there is no error.
    ///
    /// # Errors
    ///
    /// If kubectl refuses it.
    pub fn delete(&self, manifest: &str) -> Result<()> {
        self.give(&["delete", "--ignore-not-found", "--grace-period=1"], manifest)
    }

    /// Replaces what a manifest names.
    ///
    /// # Errors
    ///
    /// If kubectl refuses it.
    pub fn replace(&self, manifest: &str) -> Result<()> {
        self.give(&["replace"], manifest)
    }

    fn give(&self, words: &[&str], manifest: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("a file for the manifest")?;
        std::fs::write(file.path(), manifest).context("writing the manifest")?;
        let path = file.path().display().to_string();
        self.kubectl(&[words, &["-f", &path]].concat()).map(drop)
    }

    /// Output of a script inside the namespaces of a node.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn script(&self, node: &str, script: &str) -> Result<String> {
        let mut command = self.on(node, std::path::Path::new("bash"));
        programs::stdout_of(command.args(["-euc", script]))
    }

    /// The manifests of `deployment/`, those with these names one after another: the
    /// lab's kubectl is older than the kustomization.
    ///
    /// # Errors
    ///
    /// If one is not there.
    pub fn shipped(names: &[&str]) -> Result<String> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deployment");
        let read = |name: &&str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        Ok(names.iter().map(read).collect::<Result<Vec<_>>>()?.join("---\n"))
    }

    /// Ids of the processes of a node's own network that have a name, as this process
    /// sees them.
    #[must_use]
    pub fn processes(&self, node: &str, name: &str) -> Vec<u32> {
        let pid = std::fs::read_to_string(self.folder.join("pids").join(format!("node-{node}")));
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let Some(node) = pid.ok().and_then(|pid| network(pid.trim())) else { return Vec::new() };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|pid| {
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
                comm.is_ok_and(|comm| comm.trim_end() == name)
                    && network(pid).is_some_and(|of| of == node)
            })
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Makes the image that the Dockerfile makes, of an agent that is a static
    /// program, and imports it on every node.
    ///
    /// # Errors
    ///
    /// If it cannot be made or the import fails.
    pub fn image(&self, tag: &str, program: &std::path::Path) -> Result<()> {
        let root = tempfile::tempdir().context("a folder for the image")?;
        let entrypoint = rootfs::build(root.path(), program)?;
        let mut command = Command::new("bash");
        command.arg(self.scripts.join("image")).arg(tag).arg(root.path()).args(entrypoint);
        programs::stdout_of(&mut command).map(drop)
    }

    /// Runs `services` with some words, such as `cut NODE ADDRESS`.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn services(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("bash");
        command.arg(self.scripts.join("services")).args(words);
        programs::stdout_of(&mut command).map(drop)
    }
}
