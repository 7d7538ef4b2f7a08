//! A real cluster on this machine, brought up by `.ci/run`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::programs;

/// Address of the bridge: the API server, DNS and the HTTPS targets.
pub const GATEWAY: &str = "192.168.77.1";

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

    /// Makes an image of one program and imports it on every node.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or the import fails.
    pub fn image(&self, tag: &str, program: &std::path::Path) -> Result<()> {
        let root = tempfile::tempdir().context("a folder for the image")?;
        let name = program.file_name().context("the program's name")?;
        std::fs::copy(program, root.path().join(name)).context("copying the program")?;
        let mut command = Command::new("bash");
        command.arg(self.scripts.join("image")).arg(tag).arg(root.path());
        command.arg(std::path::Path::new("/").join(name));
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
