//! What lies beside the databases of a run: for each node a small archive that people
//! can read without a program, and for the run a list of the nodes that should report.
//!
//! Other tools wait for `RUN/NODE/NODE.zip` and take it as the end of a collection.
//! `RUN/run.json` is written by the agent that read for the whole cluster, which has
//! the list of nodes in its own file.

use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::digest::{DIGEST, Digest};
use crate::host::Host;
use crate::outbox::Name;

/// Most that the child may print.
const DIGEST_BYTES: usize = 16 << 20;

/// What lies beside a file.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Path, which begins with the run.
    pub(crate) path: String,
    /// The whole of it.
    pub(crate) content: Vec<u8>,
    /// What it is.
    pub(crate) media_type: &'static str,
}

/// Makes what lies beside a sealed file. Where nothing can be said of it, the archive
/// says why.
///
/// # Errors
///
/// If the archive itself cannot be made.
pub(crate) fn beside(
    host: &Host,
    name: &Name,
    file: &Path,
    deadline: Duration,
) -> Result<Vec<Beside>> {
    let digest = ask(host, file, deadline);
    let reason = digest.as_ref().err().map(crate::run::one_line);
    if let Some(reason) = &reason {
        tracing::warn!(file = name.file_name(), "the archive goes without findings: {reason}");
    }
    let mut all = Vec::new();
    if let Ok(digest) = &digest
        && !digest.nodes.is_empty()
    {
        all.push(Beside {
            path: format!("{}/run.json", name.run_id),
            content: run_json(name, digest)?,
            media_type: "application/json",
        });
    }
    let content = match (&digest, reason) {
        (Ok(digest), _) => archive(name, Ok(digest))?,
        (Err(_), reason) => archive(name, Err(&reason.unwrap_or_default()))?,
    };
    let node = &name.node;
    let path = format!("{}/{node}/{node}.zip", name.run_id);
    all.push(Beside { path, content, media_type: "application/zip" });
    Ok(all)
}

/// Asks the child.
fn ask(host: &Host, file: &Path, deadline: Duration) -> Result<Digest> {
    let output = host.run_own(DIGEST, file, DIGEST_BYTES, deadline)?;
    if !output.success {
        let said = output.stderr.lines().next().unwrap_or("it said nothing");
        bail!("the diagnostics failed: {said}");
    }
    if output.truncated {
        bail!("the diagnostics had more to say than {DIGEST_BYTES} bytes");
    }
    serde_json::from_slice(&output.stdout).context("the diagnostics said what cannot be read")
}

fn run_json(name: &Name, digest: &Digest) -> Result<Vec<u8>> {
    let session = |key: &str| digest.session.get(key).cloned().unwrap_or_default();
    let config = session("config");
    let config: serde_json::Value =
        serde_json::from_str(config.as_str().unwrap_or_default()).unwrap_or_default();
    let run = json!({
        "schema": "periscope-run/1",
        "run": name.run_id,
        "cluster": session("cluster"),
        "written_by": name.node,
        "agent_version": session("agent_version"),
        "nodes": digest.nodes,
        "configuration": config["toml"],
    });
    serde_json::to_vec_pretty(&run).context("writing run.json")
}

fn archive(name: &Name, digest: std::result::Result<&Digest, &str>) -> Result<Vec<u8>> {
    let mut entries = vec![("README.txt", readme(name).into_bytes())];
    match digest {
        Ok(digest) => {
            entries.push(("findings.txt", digest.text.clone().into_bytes()));
            let json = |value: &serde_json::Value| serde_json::to_vec_pretty(value);
            entries.push(("findings.json", json(&digest.report)?));
            entries.push(("collected.json", serde_json::to_vec_pretty(&digest.collected)?));
        }
        Err(reason) => {
            let text = format!("This node's agent could not ask for findings: {reason}\n");
            entries.push(("findings-missing.txt", text.into_bytes()));
        }
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (entry, content) in entries {
        zip.start_file(entry, options).context("making the archive")?;
        zip.write_all(&content).context("making the archive")?;
    }
    Ok(zip.finish().context("making the archive")?.into_inner())
}

fn readme(name: &Name) -> String {
    let Name { run_id, node, .. } = name;
    format!(
        "What Periscope found on node {node} in run {run_id}\n\
         \n\
         findings.txt    what was collected, what was found, and on what evidence\n\
         findings.json   the same for programs\n\
         collected.json  how each collector went\n\
         \n\
         All that the node wrote is in the databases beside this archive,\n\
         {run_id}/{node}/{node}-NUMBER.db. They are SQLite files; the lines of logs\n\
         in them are compressed, and periscope-analyze reads them:\n\
         \n\
         periscope-analyze fetch 'CONTAINER URL WITH SAS' bundle --run {run_id}\n\
         periscope-analyze report bundle\n\
         periscope-analyze query bundle \"SELECT ts, message FROM log LIMIT 10\"\n\
         \n\
         The findings here are of this node's first file of the run alone. What holds\n\
         for a cluster is found when the files of all nodes are read together.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn name() -> Name {
        Name { number: 7, run_id: "run".to_owned(), node: "node-a".to_owned() }
    }

    fn entries(archive: Vec<u8>) -> Vec<(String, String)> {
        let mut zip = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive");
        (0..zip.len())
            .map(|at| {
                let mut entry = zip.by_index(at).expect("an entry");
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("text");
                (entry.name().expect("a name").into_owned(), text)
            })
            .collect()
    }

    #[test]
    fn an_archive_says_what_was_found_or_why_not() {
        let digest = Digest { text: "NOTHING FOUND".to_owned(), ..Digest::default() };
        let found = entries(archive(&name(), Ok(&digest)).expect("made"));
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["README.txt", "findings.txt", "findings.json", "collected.json"]);
        assert_eq!(found[1].1, "NOTHING FOUND");
        assert!(found[0].1.contains("run/node-a/node-a-NUMBER.db"), "{}", found[0].1);
        let missing = entries(archive(&name(), Err("it took too long")).expect("made"));
        assert_eq!(missing[1].0, "findings-missing.txt");
        assert!(missing[1].1.contains("it took too long"), "{}", missing[1].1);
    }

    #[test]
    fn a_run_names_its_nodes_and_its_settings() {
        let digest: Digest = serde_json::from_value(json!({
            "text": "", "report": null, "collected": [],
            "session": {
                "cluster": "c.hcp.x", "agent_version": "1",
                "config": "{\"toml\":\"only = []\\n\"}"
            },
            "nodes": [{ "node": "a", "kubelet": "v1.35.0", "system": "Ubuntu" }],
        }))
        .expect("a digest");
        let text = run_json(&name(), &digest).expect("made");
        let run: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(run["nodes"][0]["kubelet"], "v1.35.0");
        assert_eq!((&run["written_by"], &run["cluster"]), (&"node-a".into(), &"c.hcp.x".into()));
        assert_eq!(run["configuration"], "only = []\n");
    }
}
