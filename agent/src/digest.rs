//! What the diagnostics make of a file that was just sealed, asked in a child process
//! with limits of its own: what goes wrong there costs this summary and nothing else.
//!
//! The child prints one JSON object; the parent packs it (`export/summary.rs`).

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_analyze::embed::Reading;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// First argument by which the child is told apart.
pub(crate) const DIGEST: &str = "__digest";

/// Address space that the child may use; its tables and pages, not its blocks.
const ADDRESS_BYTES: u64 = 1 << 30;

/// Memory of its own that the child may use. Beside the agent's 64 MiB it stays below
/// the pod's limit: where that is reached, Kubernetes 1.28 and later on control groups
/// of version 2 end all processes of the container, the agent among them.
const OWN_BYTES: u64 = 128 << 20;

/// Processor time that it may use.
const CPU_SECONDS: u64 = 60;

/// Time for each diagnostic.
const DIAGNOSTIC: Duration = Duration::from_secs(5);

const COLLECTED: &str = "SELECT collector, outcome, rows, message, issues, issue
    FROM collection ORDER BY collector";

const SESSIONS: &str = "SELECT raw_session.run_id, raw_session.cluster,
        raw_session.agent_version, raw_session.config, raw_node.name AS node
    FROM raw_session JOIN raw_node ON raw_node.id = raw_session.node_id
    ORDER BY raw_session.started_ns DESC LIMIT 1";

/// Nodes of the cluster; only the agent that read for the cluster has them all.
const NODES: &str = "SELECT raw_object.name AS node,
        json ->> '$.status.nodeInfo.kubeletVersion' AS kubelet,
        json ->> '$.status.nodeInfo.osImage' AS system
    FROM raw_object JOIN raw_batch ON raw_batch.id = raw_object.batch_id
    WHERE raw_batch.collector = 'cluster-objects' AND raw_object.kind = 'Node'
        AND json_valid(json)
    GROUP BY raw_object.name ORDER BY raw_object.name";

/// What the child tells.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Digest {
    /// The report, for people.
    pub(crate) text: String,
    /// The same for programs.
    pub(crate) report: Value,
    /// How each collector went.
    pub(crate) collected: Vec<Map<String, Value>>,
    /// The session that wrote the file.
    pub(crate) session: Map<String, Value>,
    /// Nodes of the cluster, empty if this node did not read them.
    pub(crate) nodes: Vec<Map<String, Value>>,
}

/// Body of the child: prints what a file says.
///
/// # Errors
///
/// If the file cannot be read.
pub(crate) fn print(file: &Path) -> Result<()> {
    limit();
    let mut reading = Reading::open(&[file.to_owned()])?;
    let digest = reading.digest(DIAGNOSTIC)?;
    let told = Digest {
        text: digest.text,
        report: digest.json,
        collected: reading.rows(COLLECTED)?,
        session: reading.rows(SESSIONS)?.into_iter().next().unwrap_or_default(),
        nodes: reading.rows(NODES)?,
    };
    let text = serde_json::to_vec(&told).context("telling what the file says")?;
    std::io::stdout().lock().write_all(&text).context("telling what the file says")
}

/// Limits of the child, and a word to the kernel that it is the first to go when
/// memory is short. Where they cannot be had, the parent's deadline holds.
fn limit() {
    let limits =
        [(Resource::As, ADDRESS_BYTES), (Resource::Data, OWN_BYTES), (Resource::Cpu, CPU_SECONDS)];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).ok();
    }
    std::fs::write("/proc/self/oom_score_adj", "1000").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_has_room_for_the_agent_and_its_child() {
        /// What the agent may have.
        const AGENT_BYTES: u64 = 64 << 20;
        let manifest = include_str!("../../deployment/base/daemon-set.yaml");
        let limits = manifest.split_once("limits: {").expect("limits").1;
        let memory = limits.split_once("memory: ").expect("a limit of memory").1;
        let mebibytes = memory.split_once("Mi}").expect("mebibytes").0;
        let limit_bytes = mebibytes.parse::<u64>().expect("a number") << 20;
        // A quarter of it is the kernel's, and for pages of files.
        assert!(AGENT_BYTES + OWN_BYTES <= limit_bytes / 4 * 3, "{limit_bytes}");
    }
}
