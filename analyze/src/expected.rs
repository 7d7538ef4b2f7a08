//! Nodes that should report and did not: `RUN/run.json` names all nodes of the cluster,
//! and lies beside the folders of those that sent something.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::output::some;

/// What the file is called.
pub(crate) const RUN_JSON: &str = "run.json";

/// Most that is read of one; a node takes about a hundred bytes of it.
const MOST_BYTES: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
struct Expected {
    run: String,
    nodes: Vec<ExpectedNode>,
}

#[derive(Debug, Deserialize)]
struct ExpectedNode {
    node: String,
}

/// Nodes of a run that never reported.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NeverReported {
    /// The run.
    pub(crate) run_id: String,
    /// The nodes, by name.
    pub(crate) nodes: Vec<String>,
}

/// Compares what folders of a bundle expect with who is in it. What cannot be read is
/// told in a sentence each.
///
/// # Errors
///
/// If the bundle cannot be asked.
pub(crate) fn never_reported(
    bundle: &[PathBuf],
    connection: &Connection,
) -> Result<(Vec<NeverReported>, Vec<String>)> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for path in bundle.iter().flat_map(|folder| lists(folder)) {
        match read(&path) {
            Ok(expected) => {
                let reported = nodes_of(connection, &expected.run)?;
                all.extend(missing(expected, |node| reported.contains(node)));
            }
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    Ok((all, problems))
}

/// The same for a run that was just fetched: sentences.
pub(crate) fn missing_from(folder: &Path, reported: &[&str]) -> Vec<String> {
    let path = folder.join(RUN_JSON);
    if !path.is_file() {
        return Vec::new();
    }
    match read(&path) {
        Ok(expected) => missing(expected, |node| reported.contains(&node))
            .map(|missing| format!("never reported: {}", some(&missing.nodes)))
            .into_iter()
            .collect(),
        Err(error) => vec![format!("{error:#}")],
    }
}

fn missing(expected: Expected, has_reported: impl Fn(&str) -> bool) -> Option<NeverReported> {
    let names: BTreeSet<String> = expected.nodes.into_iter().map(|node| node.node).collect();
    let nodes: Vec<String> = names.into_iter().filter(|node| !has_reported(node)).collect();
    (!nodes.is_empty()).then_some(NeverReported { run_id: expected.run, nodes })
}

/// Lists in a folder of a run, or in a folder of runs.
fn lists(folder: &Path) -> Vec<PathBuf> {
    let own = folder.join(RUN_JSON);
    if own.is_file() {
        return vec![own];
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path().join(RUN_JSON)).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

fn read(path: &Path) -> Result<Expected> {
    let doing = || format!("left out: {} does not say which nodes are expected", path.display());
    let mut text = String::new();
    let mut file = File::open(path).with_context(doing)?.take(MOST_BYTES + 1);
    file.read_to_string(&mut text).with_context(doing)?;
    ensure!(text.len() as u64 <= MOST_BYTES, "{}: it is too large", doing());
    serde_json::from_str(&text).with_context(doing)
}

fn nodes_of(connection: &Connection, run: &str) -> rusqlite::Result<BTreeSet<String>> {
    connection
        .prepare_cached(
            "SELECT raw_node.name FROM raw_session
             JOIN raw_node ON raw_node.id = raw_session.node_id
             WHERE raw_session.run_id = ?",
        )?
        .query_map([run], |row| row.get(0))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run-1");
        std::fs::create_dir(&run).expect("made");
        std::fs::write(run.join(RUN_JSON), text).expect("written");
        folder
    }

    const LIST: &str = r#"{"schema": "periscope-run/1", "run": "run-1",
        "nodes": [{"node": "b"}, {"node": "a", "kubelet": "v1"}, {"node": "c\u001b"}]}"#;

    #[test]
    fn a_node_without_a_file_never_reported() {
        let folder = folder(LIST);
        let run = folder.path().join("run-1");
        assert_eq!(missing_from(&run, &["b"]), ["never reported: a, c\\u{1b}"]);
        assert_eq!(missing_from(&run, &["b", "a", "c\u{1b}"]), [""; 0]);
        assert_eq!(missing_from(folder.path(), &[]), [""; 0]);
        assert_eq!(lists(folder.path()), lists(&run));
    }

    #[test]
    fn a_list_that_is_none_is_told() {
        for text in ["", "[]", "{\"run\": 1}"] {
            let folder = folder(text);
            let said = missing_from(&folder.path().join("run-1"), &[]);
            assert!(said[0].contains("does not say which nodes"), "{said:?}");
        }
    }
}
