//! What is compared: one SQL file of `sql/diff` a section.
//!
//! Each answers with rows of five columns. `item` names something and `value` is what
//! it is, on `node`. `collector` read it, so that an item which is missing where that
//! collector did not do its work is not known rather than gone; NULL is always known.
//! `family` is what it is one of: a side that has nothing of a family does not know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use regex::Regex;
use rusqlite::Connection;

/// Every section by name, in the order in which they are shown.
pub(super) const FILES: &[(&str, &str)] = &[
    ("version", include_str!("../../../sql/diff/version.sql")),
    ("agent", include_str!("../../../sql/diff/agent.sql")),
    ("setting", include_str!("../../../sql/diff/setting.sql")),
    ("kubelet", include_str!("../../../sql/diff/kubelet.sql")),
    ("resolver", include_str!("../../../sql/diff/resolver.sql")),
    ("iptables", include_str!("../../../sql/diff/iptables.sql")),
    ("image", include_str!("../../../sql/diff/image.sql")),
    ("certificate", include_str!("../../../sql/diff/certificate.sql")),
];

/// A mask of something secret: what it was, and a number that each run has its own of.
static MASK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("‹([^‹›:]*):[0-9a-f]+›").expect("a sound expression"));

/// One question about a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Its name, as `--section` takes it.
    pub(super) id: &'static str,
    /// Its headline.
    pub(super) title: &'static str,
    /// Whether the whole cluster is compared, and not each node.
    pub(super) is_of_cluster: bool,
    /// The question.
    pub(super) sql: &'static str,
}

impl Section {
    /// All sections.
    ///
    /// # Errors
    ///
    /// If a file has no title.
    pub(super) fn all() -> Result<Vec<Self>> {
        FILES
            .iter()
            .map(|(id, sql)| {
                let head = |name: &str| {
                    let mut lines = sql.lines().take_while(|line| line.starts_with("--"));
                    lines.find_map(|line| line.strip_prefix("-- ")?.strip_prefix(name))
                };
                Ok(Self {
                    id,
                    title: head("title: ").with_context(|| format!("{id}.sql has no title"))?,
                    is_of_cluster: match head("scope: ") {
                        None => false,
                        Some("cluster") => true,
                        Some(other) => bail!("{id}.sql: {other:?} is no scope"),
                    },
                    sql,
                })
            })
            .collect()
    }

    /// Works out the answer and keeps it in a table of the bundle's memory, by node.
    ///
    /// # Errors
    ///
    /// If the bundle cannot be read.
    pub(super) fn ask(self, connection: &Connection) -> Result<Answers<'_>> {
        connection
            .execute_batch(&format!(
                "CREATE TEMP TABLE difference_fact AS {};
                 CREATE INDEX temp.difference_fact_node ON difference_fact (node)",
                self.sql
            ))
            .with_context(|| format!("reading {}", self.title.to_lowercase()))?;
        Ok(Answers { connection })
    }
}

/// What a section found in a bundle.
pub(super) struct Answers<'a> {
    connection: &'a Connection,
}

impl Answers<'_> {
    /// Facts of one node, or of the whole cluster.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub(super) fn of(&self, node: Option<&str>) -> Result<Facts> {
        let mut statement = self.connection.prepare_cached(
            "SELECT CAST(item AS TEXT), CAST(value AS TEXT), collector, family
             FROM difference_fact WHERE ?1 IS NULL OR node = ?1",
        )?;
        let mut rows = statement.query([node])?;
        let mut facts = Facts::default();
        while let Some(row) = rows.next()? {
            let Some(item) = row.get::<_, Option<String>>(0)? else { continue };
            let family: Option<String> = row.get(3)?;
            facts.families.extend(family.clone());
            let fact = facts.items.entry(item).or_insert_with(|| Fact {
                values: BTreeSet::new(),
                collector: None,
                family,
            });
            fact.collector = row.get(2)?;
            let value: String = row.get::<_, Option<String>>(1)?.unwrap_or_default();
            fact.values.insert(MASK.replace_all(&value, "‹$1›").into_owned());
        }
        Ok(facts)
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        // The bundle's memory goes with it if this fails.
        let _ = self.connection.execute_batch("DROP TABLE temp.difference_fact");
    }
}

/// What there is on a node, or in the cluster.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) items: BTreeMap<String, Fact>,
    /// Families of which there is something.
    pub(super) families: BTreeSet<String>,
}

/// What something is.
#[derive(Debug)]
pub(super) struct Fact {
    values: BTreeSet<String>,
    /// Who read it, `None` if it is always known.
    pub(super) collector: Option<String>,
    /// What it is one of.
    pub(super) family: Option<String>,
}

impl Fact {
    /// Its value; of several those with commas between.
    pub(super) fn value(&self) -> String {
        self.values.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}
