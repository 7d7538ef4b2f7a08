//! A small node whose agent sends its files to a storage service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::agent::Agent;
use crate::programs;

/// A node's root folder, the folders of a pod beside it, and a place for the agent.
#[derive(Debug)]
pub struct Sender {
    folder: tempfile::TempDir,
}

impl Sender {
    /// A node with a few files.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn new(node: &str, machine_id: &str) -> Result<Self> {
        let sender = Self { folder: tempfile::tempdir()? };
        let line = "2026-11-22T12:28:03.000000001Z stdout F it runs\n";
        let machine_id = format!("{machine_id:0>32}\n");
        for (path, text) in [
            ("root/etc/hostname", node),
            ("root/etc/machine-id", &machine_id),
            ("root/proc/loadavg", "0.50 0.40 0.30 1/100 4242\n"),
            ("root/run/systemd/resolve/resolv.conf", "nameserver 10.1.2.3\n"),
            ("root/var/log/pods/kube-system_web-1_5f3a/web/0.log", line),
            ("secret/.keep", ""),
            ("config/DIAGNOSTIC_RUN_ID", "run-1"),
        ] {
            sender.write(path, text)?;
        }
        Ok(sender)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file in its folder.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        Ok(fs::write(path, text)?)
    }

    /// Says where files go, as the Secret's files do.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn send_to(&self, endpoint: &str, container: &str, sas: &str) -> Result<()> {
        self.write("secret/AZURE_STORAGE_ENDPOINT", endpoint)?;
        self.write("secret/AZURE_BLOB_CONTAINER_NAME", container)?;
        self.write("secret/AZURE_BLOB_SAS_KEY", sas)
    }

    /// The agent, not started yet, with what tests do not want to wait for.
    ///
    /// # Errors
    ///
    /// If it does not build.
    pub fn command(&self) -> Result<Command> {
        let mut agent = programs::agent()?;
        agent.env("PERISCOPE_PROBE_FOR", "1s").args(["run", "--skip", "iptables,probe"]);
        agent.args(["--free-percent", "0", "--free-bytes", "0B", "--grace", "20s"]);
        for (flag, path) in [
            ("--host-root", "root"),
            ("--config-mount", "config"),
            ("--secret-mount", "secret"),
            ("--output", "own"),
        ] {
            agent.arg(flag).arg(self.path(path));
        }
        Ok(agent)
    }

    /// The agent, started.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    pub fn start(&self) -> Result<Agent> {
        Agent::start(&mut self.command()?, &self.path("log"))
    }

    /// What the agent has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Sealed files that wait to be sent, by name.
    #[must_use]
    pub fn waiting(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.path("own/outbox")).into_iter().flatten().flatten();
        let files = runs.flat_map(|run| fs::read_dir(run.path()).into_iter().flatten().flatten());
        let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
        files.sort();
        files
    }
}
