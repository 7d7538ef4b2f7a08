//! A captured tree of a node, and an agent that watches it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::agent::Agent;
use crate::database::files;
use crate::programs;
use crate::target::Target;

/// A node's root folder with little in it, a target for a probe, and a place for the
/// agent.
#[derive(Debug)]
pub struct Node {
    folder: tempfile::TempDir,
    /// What the agent's one probe asks every second.
    pub target: Target,
}

impl Node {
    /// A node with these files, besides what makes it one.
    ///
    /// # Errors
    ///
    /// If they cannot be written, or no port is free.
    pub fn new(more: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the node")?;
        let node = Self { folder, target: Target::start()? };
        for (path, text) in [
            ("root/etc/hostname", "node-a\n"),
            ("root/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("root/proc/loadavg", "0.50 0.40 0.30 1/100 4242\n"),
            ("root/run/systemd/resolve/resolv.conf", "nameserver 10.1.2.3\n"),
            ("config/COLLECTOR_LIST", "\n"),
        ]
        .into_iter()
        .chain(more.iter().copied())
        {
            node.write(path, text)?;
        }
        let probe = format!(
            "[[probe]]\nname = \"t\"\nkind = \"custom\"\nurl = \"{}\"\ninterval = \"1s\"\n\
             timeout = \"500ms\"\n",
            node.target.url()
        );
        node.write("agent.toml", &probe)?;
        Ok(node)
    }

    /// A path below all folders: `root/` is the node's, `own/` the agent's.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Folder of a container's logs, made if need be.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn logs(&self, pod: &str, container: &str) -> Result<PathBuf> {
        let name = format!("root/var/log/pods/kube-system_{pod}_5f3a/{container}");
        fs::create_dir_all(self.path(&name)).context(name.clone())?;
        Ok(self.path(&name))
    }

    /// Writes a file, and the folders that it is in.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        let folder = path.parent().context("a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// The agent, writing to `output`, with what tests do not want to wait for.
    ///
    /// # Errors
    ///
    /// If it does not build.
    pub fn command(&self, output: &Path, more: &[&str]) -> Result<Command> {
        let mut agent = programs::agent()?;
        agent.env("PERISCOPE_PROBE_FOR", "2s").args(["run", "--skip", "iptables"]);
        agent.args(["--free-percent", "0", "--free-bytes", "0B"]);
        // Lines of tests have times of their own, which get older every day.
        agent.args(["--log-window", "1000000h"]);
        for (flag, path) in [
            ("--host-root", self.path("root")),
            ("--config", self.path("agent.toml")),
            ("--config-mount", self.path("config")),
            ("--secret-mount", self.path("secret")),
            ("--output", output.to_owned()),
        ] {
            agent.arg(flag).arg(path);
        }
        agent.args(more);
        Ok(agent)
    }

    /// Starts the agent. What it says goes to `log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&self, more: &[&str]) -> Result<Agent> {
        Agent::start(&mut self.command(&self.path("own"), more)?, &self.path("log"))
    }

    /// What agents have said on this node.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Files that are written to or were left by a process that is no more.
    #[must_use]
    pub fn live(&self, run: &str) -> Vec<PathBuf> {
        files(&self.path("own/live").join(run))
    }

    /// Sealed files of a run, oldest first.
    #[must_use]
    pub fn sealed(&self, run: &str) -> Vec<PathBuf> {
        files(&self.path("own/outbox").join(run))
    }
}

/// A port of 127.0.0.1 on which nobody listens.
///
/// # Errors
///
/// If there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("a port")?.local_addr()?.port())
}

/// Head and body of the answer to a request; empty if there is none.
#[must_use]
pub fn get(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        stream.read_to_string(&mut answer).ok();
    }
    answer
}

/// Outcome of a collector's last poll, as the agent says; `None` before the first has
/// ended.
#[must_use]
pub fn outcome(port: u16, collector: &str) -> Option<String> {
    let start = format!("periscope_collector_outcome{{collector=\"{collector}\",outcome=\"");
    get(port, "/metrics").lines().find_map(|line| {
        let (outcome, value) = line.strip_prefix(&start)?.split_once("\"} ")?;
        (value == "1").then(|| outcome.to_owned())
    })
}
