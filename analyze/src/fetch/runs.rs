//! Runs in a container, as the names of its blobs tell them: `RUN/NODE/NODE-NUMBER.db`,
//! `RUN/NODE/NODE.zip` and `RUN/run.json`.
//!
//! Names come from whoever may write there. One that would not be a file in the folder
//! of its node is none of ours.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result, bail};
use indicatif::HumanBytes;
use periscope_blob::{Listed, Place};
use periscope_store::time::format_ns;

use super::count;
use crate::cli::ChoiceArguments;
use crate::expected::RUN_JSON;
use crate::output::{self, printable, some};

/// How agents end the names of databases and of archives.
const DATABASE: &str = ".db";
const ARCHIVE: &str = ".zip";

/// Longest part of a path that file systems take.
const LONGEST: usize = 255;

/// Everything that agents sent to a container.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The oldest first.
    pub(super) all: Vec<Run>,
    /// Blobs that are nothing of ours.
    strangers: usize,
}

/// What agents sent under one name.
#[derive(Debug)]
pub(super) struct Run {
    /// The name.
    pub(super) id: String,
    /// When its first file came.
    began_ns: i64,
    files: Vec<Remote>,
}

/// A file that can be fetched.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// The blob's name.
    pub(super) name: String,
    /// Its path below the folder of the run.
    pub(super) path: String,
    /// Its size.
    pub(super) bytes: u64,
    /// Node that it is of; none of what belongs to the whole run.
    node: Option<String>,
    created_ns: i64,
}

impl Remote {
    /// Parts a name; the run first. `None` if an agent gives no such name.
    fn parse(blob: Listed) -> Option<(String, Self)> {
        let mut parts = blob.name.split('/');
        let (run, second, third) = (parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() || ![run, second].into_iter().chain(third).all(is_plain) {
            return None;
        }
        let (node, path) = match third {
            None if second == RUN_JSON => (None, second.to_owned()),
            Some(file) if [DATABASE, ARCHIVE].iter().any(|end| file.ends_with(end)) => {
                (Some(second.to_owned()), format!("{second}/{file}"))
            }
            _ => return None,
        };
        let created_ns = blob.created_ns.unwrap_or(0);
        let run = run.to_owned();
        Some((run, Self { path, node, created_ns, bytes: blob.bytes, name: blob.name }))
    }

    /// Whether it is a node's database.
    pub(super) fn is_database(&self) -> bool {
        self.path.ends_with(DATABASE)
    }
}

/// Whether a part of a name can be that of a file or folder, and is no way out.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.len() <= LONGEST
        && !part.contains(|c: char| c.is_control() || c == '\\')
}

impl Runs {
    /// Sorts a list into runs. One without a database is none yet.
    pub(super) fn of(blobs: Vec<Listed>) -> Self {
        let mut files = BTreeMap::<String, Vec<Remote>>::new();
        let mut strangers = 0;
        for blob in blobs {
            match Remote::parse(blob) {
                Some((run, file)) => files.entry(run).or_default().push(file),
                None => strangers += 1,
            }
        }
        let mut all = Vec::new();
        for (id, files) in files {
            let first = files.iter().filter(|file| file.is_database());
            match first.map(|file| file.created_ns).min() {
                Some(began_ns) => all.push(Run { id, began_ns, files }),
                None => strangers += files.len(),
            }
        }
        all.sort_by(|a, b| (a.began_ns, &a.id).cmp(&(b.began_ns, &b.id)));
        Self { all, strangers }
    }

    /// The run that was chosen, or the only one.
    ///
    /// # Errors
    ///
    /// If there is no such run, or several: these are printed.
    pub(super) fn choose(mut self, choice: &ChoiceArguments, place: &Place) -> Result<Run> {
        if let Some(id) = &choice.run {
            let at = self.all.iter().position(|run| run.id == *id);
            return match at {
                Some(at) => Ok(self.all.swap_remove(at)),
                None => Err(self.unknown(id, place)),
            };
        }
        if let (true, 2..) = (!choice.latest, self.all.len()) {
            self.print()?;
            bail!(
                "{} are in {place}\nhint: --latest fetches the last, --run ID another",
                count(self.all.len(), "run")
            );
        }
        let strangers = match self.strangers {
            0 => "it is empty".to_owned(),
            n => format!("what is in it ({}) is of no agent", count(n, "blob")),
        };
        self.all.pop().ok_or_else(|| {
            Error::msg(format!(
                "no run is in {place}: {strangers}\n\
                 hint: the first files come when a run is complete, after about two minutes"
            ))
        })
    }

    fn unknown(&self, id: &str, place: &Place) -> Error {
        let hint = match self.all.as_slice() {
            [] => "no run is there yet".to_owned(),
            all => {
                let ids: Vec<&str> = all.iter().rev().map(|run| run.id.as_str()).collect();
                format!("there are {}", some(&ids))
            }
        };
        Error::msg(format!("there is no run {} in {place}\nhint: {hint}", printable(id)))
    }

    /// Prints what there is to choose from.
    fn print(&self) -> Result<()> {
        let mut table = output::table(["run", "began to arrive", "nodes", "databases", "size"]);
        for run in &self.all {
            let bytes = run.files.iter().map(|file| file.bytes).sum();
            table.add_row([
                printable(&run.id),
                format_ns(run.began_ns).get(..19).map_or_else(String::new, |t| format!("{t}Z")),
                run.nodes(&[]).len().to_string(),
                run.files.iter().filter(|file| file.is_database()).count().to_string(),
                HumanBytes(bytes).to_string(),
            ]);
        }
        output::line(&table.to_string())
    }
}

impl Run {
    /// Nodes that have sent a database; only those that are named, if any are.
    pub(super) fn nodes(&self, named: &[String]) -> Vec<&str> {
        let databases = self.files.iter().filter(|file| file.is_database());
        let nodes: BTreeSet<&str> = databases.filter_map(|file| file.node.as_deref()).collect();
        let is_named = |node: &&str| named.is_empty() || named.iter().any(|name| name == node);
        nodes.into_iter().filter(is_named).collect()
    }

    /// Files of the named nodes, of all if none is named. The list of nodes that should
    /// report is the last, and not fetched for some nodes: who has it has all of them.
    ///
    /// # Errors
    ///
    /// If a named node sent nothing.
    pub(super) fn files(&self, named: &[String]) -> Result<Vec<Remote>> {
        let nodes = self.nodes(&[]);
        if let Some(name) = named.iter().find(|name| !nodes.contains(&name.as_str())) {
            bail!(
                "node {} sent nothing in run {}\nhint: those that did: {}",
                printable(name),
                printable(&self.id),
                some(&nodes)
            );
        }
        let is_wanted = |file: &&Remote| match &file.node {
            Some(node) => named.is_empty() || named.contains(node),
            None => named.is_empty(),
        };
        let mut files: Vec<Remote> = self.files.iter().filter(is_wanted).cloned().collect();
        files.sort_by_key(|file| file.node.is_none());
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(names: &[(&str, i64)]) -> Runs {
        let listed = |(name, at): &(&str, i64)| Listed {
            name: (*name).to_owned(),
            bytes: 1,
            created_ns: Some(*at),
        };
        Runs::of(names.iter().map(listed).collect())
    }

    fn place() -> Place {
        Place::of_account("shop", "core.windows.net", "logs").expect("a place")
    }

    fn chosen(runs: Runs, choice: &ChoiceArguments) -> String {
        runs.choose(choice, &place()).map_or_else(|error| error.to_string(), |run| run.id)
    }

    const TWO: [(&str, i64); 6] = [
        ("b/node-a/node-a-1.db", 10),
        ("b/node-a/node-a.zip", 11),
        ("a/node-a/node-a-2.db", 20),
        ("b/node-b/node-b-1.db", 30),
        ("b/run.json", 12),
        ("c/node-a/node-a.zip", 40),
    ];

    #[test]
    fn the_last_run_is_the_one_that_began_last() {
        let latest = ChoiceArguments { latest: true, ..Default::default() };
        assert_eq!(chosen(runs(&TWO), &latest), "a");
        let named = |id: &str| ChoiceArguments { run: Some(id.to_owned()), ..Default::default() };
        assert_eq!(chosen(runs(&TWO), &named("b")), "b");
        let unknown = chosen(runs(&TWO), &named("c"));
        assert!(unknown.contains("no run c") && unknown.ends_with("there are a, b"), "{unknown}");
        assert_eq!(chosen(runs(&TWO[..2]), &ChoiceArguments::default()), "b");
        let several = chosen(runs(&TWO), &ChoiceArguments::default());
        assert!(several.contains("2 runs") && several.contains("--latest"), "{several}");
        let none = chosen(runs(&TWO[5..]), &ChoiceArguments::default());
        assert!(none.contains("(1 blob) is of no agent"), "{none}");
        assert!(chosen(runs(&[]), &ChoiceArguments::default()).contains("it is empty"));
    }

    #[test]
    fn nodes_are_chosen_by_name_and_the_list_of_nodes_is_last() {
        let run = runs(&TWO).all.pop().expect("a run");
        assert_eq!(run.id, "a");
        let run = runs(&TWO).all.swap_remove(0);
        assert_eq!(run.nodes(&[]), ["node-a", "node-b"]);
        let paths = |named: &[String]| -> Vec<String> {
            run.files(named).expect("files").into_iter().map(|file| file.path).collect()
        };
        assert_eq!(paths(&["node-b".to_owned()]), ["node-b/node-b-1.db"]);
        assert_eq!(paths(&[]).last().map(String::as_str), Some("run.json"));
        let error = run.files(&["node-c".to_owned()]).expect_err("no such node").to_string();
        assert!(error.contains("node-a, node-b"), "{error}");
    }

    #[test]
    fn names_that_lead_elsewhere_are_strangers() {
        let long = format!("run/{}/x.db", "n".repeat(300));
        for name in [
            "../node/x.db",
            "run/../x.db",
            "run/node/../x.db",
            "/run/node/x.db",
            "run//x.db",
            "run/node/x.db/y.db",
            "run/node/x.exe",
            "run/x.db",
            "run/no\u{1b}de/x.db",
            "run/a\\b/x.db",
            "x.db",
            "",
            &long,
        ] {
            let runs = runs(&[(name, 0)]);
            assert!(runs.all.is_empty() && runs.strangers == 1, "{name}: {runs:?}");
        }
    }
}
