//! Collections from nodes of the lab, and the report on them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{GATEWAY, Lab, TARGETS};
use crate::programs;

/// Seconds from one probe sample to the next.
const INTERVAL_S: u32 = 2;

/// Node files of one cluster, below one folder.
#[derive(Debug)]
pub struct Recording<'a> {
    lab: &'a Lab,
    folder: tempfile::TempDir,
    targets: Vec<(String, String)>,
}

/// What the report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the diagnostic.
    pub diagnostic: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// Node it is about, empty if about none.
    pub node: String,
    /// The sentence.
    pub message: String,
    /// All evidence as JSON.
    pub evidence: String,
}

impl<'a> Recording<'a> {
    /// A recording of a cluster that holds nothing yet.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn new(lab: &'a Lab) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for node files")?;
        let mut targets: Vec<_> =
            TARGETS.map(|(kind, url)| (kind.to_owned(), url.to_owned())).to_vec();
        targets.push(("api-server".to_owned(), format!("https://{GATEWAY}:6443/readyz")));
        Ok(Self { lab, folder, targets })
    }

    /// Probes one more target of the kind `custom`.
    pub fn add_target(&mut self, url: &str) {
        self.targets.push(("custom".to_owned(), url.to_owned()));
    }

    /// Folder with everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The agent on a node, about to collect and to probe for some seconds.
    /// `clock` are words in front of it that change what time it takes it for.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be written.
    pub fn agent(&self, node: &str, run: &str, seconds: u32, clock: &[&str]) -> Result<Command> {
        let config = self.folder().join(format!("{run}-{node}.toml"));
        fs::write(&config, self.configuration()).context("writing the agent's configuration")?;
        let agent = programs::path("periscope-agent")?;
        let mut command = self.lab.on(node, Path::new("env"));
        command.args(clock).arg(agent);
        command.args(["collect", "--host-root", "/", "--run-id", run, "--config"]).arg(config);
        command.arg("--output").arg(self.folder()).args(["--node-name", node]);
        command.args(["--probe-for", &format!("{seconds}s")]);
        Ok(command)
    }

    /// Collects from all nodes at once. `meanwhile` runs beside it.
    ///
    /// # Errors
    ///
    /// If an agent fails, or `meanwhile` does.
    pub fn collect(
        &self,
        run: &str,
        seconds: u32,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut agents = Vec::new();
        for node in self.lab.nodes()? {
            agents.push(self.agent(&node, run, seconds, &[])?.spawn().context("starting it")?);
        }
        let done = meanwhile();
        for agent in &mut agents {
            let status = agent.wait().context("waiting for the agent")?;
            // 1 says that something could not be read, as on a node that is cut off.
            ensure!(matches!(status.code(), Some(0 | 1)), "the agent ended with {status}");
        }
        done
    }

    /// Collects from one node, with words in front of the agent that change what time it
    /// takes it for.
    ///
    /// # Errors
    ///
    /// If the agent fails.
    pub fn collect_with(&self, run: &str, node: &str, seconds: u32, clock: &[&str]) -> Result<()> {
        let status = self.agent(node, run, seconds, clock)?.status().context("starting it")?;
        ensure!(matches!(status.code(), Some(0 | 1)), "the agent ended with {status}");
        Ok(())
    }

    /// Files of some runs.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    pub fn files(&self, runs: &[&str]) -> Result<Vec<PathBuf>> {
        let nodes = self.lab.nodes()?;
        let path = |run: &str, node: &String| {
            self.folder().join(run).join(node).join(format!("{node}.db"))
        };
        let paths = runs.iter().flat_map(|run| nodes.iter().map(move |node| path(run, node)));
        Ok(paths.filter(|path| path.exists()).collect())
    }

    /// Copies the files of some runs to the folder that `PERISCOPE_KEEP` names, if it
    /// does, for a person to look at and for `scale`.
    ///
    /// # Errors
    ///
    /// If they cannot be copied.
    pub fn keep(&self, runs: &[&str]) -> Result<()> {
        let Some(folder) = std::env::var_os("PERISCOPE_KEEP") else { return Ok(()) };
        for path in self.files(runs)? {
            let copy = Path::new(&folder).join(path.strip_prefix(self.folder())?);
            fs::create_dir_all(copy.parent().context("a path without a folder")?)?;
            fs::copy(&path, copy).context("copying a node file")?;
        }
        Ok(())
    }

    /// What the analyzer finds in some runs.
    ///
    /// # Errors
    ///
    /// If it cannot read them, or one diagnostic cannot be answered.
    pub fn findings(&self, runs: &[&str]) -> Result<Vec<Finding>> {
        let mut command = programs::analyze()?;
        command.arg("report").args(self.files(runs)?).args(["--format", "json"]);
        let finished = programs::finish(&mut command)?;
        ensure!(matches!(finished.status, Some(0 | 1)), "{}", finished.stderr);
        let report: Value = serde_json::from_str(&finished.stdout).context("the report")?;
        let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
        for diagnostic in list("diagnostics") {
            ensure!(diagnostic["error"].is_null(), "{}: {}", diagnostic["id"], diagnostic["error"]);
        }
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let finding = |row: &Value| Finding {
            diagnostic: text(row, "diagnostic"),
            severity: text(row, "severity"),
            node: text(row, "node"),
            message: text(row, "message"),
            evidence: row["evidence"].to_string(),
        };
        Ok(list("findings").iter().map(finding).collect())
    }

    fn configuration(&self) -> String {
        let folder = self.lab.folder().display();
        let namespaces = "[\"kube-system\", \"default\", \"faults\"]";
        let mut text = format!(
            "kubeconfig = \"{folder}/admin.conf\"\nlog_namespaces = {namespaces}\n\
             object_namespaces = {namespaces}\n"
        );
        for (at, (kind, url)) in self.targets.iter().enumerate() {
            let name = if kind == "custom" { format!("custom-{at}") } else { kind.clone() };
            let _ = write!(
                text,
                "[[probe]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
                 ca_file = \"{folder}/pki/ca.crt\"\ninterval = \"{INTERVAL_S}s\"\n\
                 timeout = \"1s\"\n"
            );
        }
        text
    }
}
