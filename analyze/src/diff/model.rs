//! What a comparison says, before anything decides how it looks.

use serde::Serialize;

use crate::diagnose::parse::Severity;

/// Everything that is different, and what nobody knows.
#[derive(Debug, Serialize)]
pub(super) struct Differences {
    /// Name and version of the document's form.
    pub(super) schema: &'static str,
    /// Version of the program.
    pub(super) periscope: &'static str,
    /// The first bundle: before, or good.
    pub(super) a: Named,
    /// The second: after, or bad.
    pub(super) b: Named,
    /// Which nodes there are.
    pub(super) nodes: Nodes,
    /// Findings of diagnostics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) findings: Option<Findings>,
    /// Settings, rules, images and so on.
    pub(super) sections: Vec<Section>,
    /// How often targets answered, side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<Vec<Connection>>,
}

impl Differences {
    /// Whether anything differs. What is not known does not.
    pub(super) fn any(&self) -> bool {
        !self.nodes.only_a.is_empty()
            || !self.nodes.only_b.is_empty()
            || self.findings.iter().any(|found| found.changes.iter().any(|c| c.state.counts()))
            || self.sections.iter().any(|section| !section.changes.is_empty())
            || self.connections.iter().flatten().any(|row| row.differs)
    }
}

/// A bundle.
#[derive(Debug, Serialize)]
pub(super) struct Named {
    /// Where it is.
    pub(super) bundle: String,
    /// How many nodes it has.
    pub(super) nodes: usize,
    /// Runs that it holds, oldest first.
    pub(super) runs: Vec<String>,
    /// When its first agent began.
    pub(super) from: Option<String>,
    /// When its last agent ended.
    pub(super) until: Option<String>,
    /// What could not be read: a sentence each.
    pub(super) left_out: Vec<String>,
}

/// Which nodes are compared with each other, and which with none.
#[derive(Debug, Serialize)]
pub(super) struct Nodes {
    /// Pairs.
    pub(super) compared: Vec<Pair>,
    /// Nodes that the second bundle does not have.
    pub(super) only_a: Vec<String>,
    /// Nodes that the first bundle does not have.
    pub(super) only_b: Vec<String>,
    /// Whether one node was chosen of each side; then others are not spoken of.
    pub(super) chosen: bool,
}

/// Two nodes that are compared: the same, unless somebody chose otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pair {
    /// Of the first bundle.
    pub(super) a: String,
    /// Of the second.
    pub(super) b: String,
}

impl Pair {
    /// What to call both.
    pub(super) fn name(&self) -> String {
        if self.a == self.b { self.a.clone() } else { format!("{} → {}", self.a, self.b) }
    }
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Only the second bundle has it.
    New,
    /// Only the first has it.
    Gone,
    /// Both have it, otherwise.
    Changed,
    /// One has it, and of the other nobody knows.
    Unknown,
}

impl State {
    /// Whether it is a difference.
    pub(super) fn counts(self) -> bool {
        self != Self::Unknown
    }

    /// A sign that says the same without colour.
    pub(super) fn sign(self) -> char {
        match self {
            Self::New => '+',
            Self::Gone => '-',
            Self::Changed => '~',
            Self::Unknown => '?',
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Unknown => "not known",
        }
    }
}

/// Findings of both bundles.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Those that differ, the worst first, and those of which one side knows nothing.
    pub(super) changes: Vec<FindingChange>,
    /// How many are alike.
    pub(super) alike: usize,
}

/// A finding that differs.
#[derive(Debug, Serialize)]
pub(super) struct FindingChange {
    /// How.
    pub(super) state: State,
    /// How bad it is, or was.
    pub(super) severity: Severity,
    /// Who found it.
    pub(super) diagnostic: String,
    /// Node that it is about, `None` if it is about no single one.
    pub(super) node: Option<String>,
    /// What the first bundle says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Said>,
    /// What the second bundle says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Said>,
    /// Why one side does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<Unsure>,
}

/// What a finding says.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    /// What people call it.
    pub(super) id: String,
    /// Its sentence.
    pub(super) message: String,
}

/// Which side does not know, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Unsure {
    /// `A` or `B`.
    pub(super) side: char,
    /// Why.
    pub(super) reason: String,
}

/// What a section found.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// Its name.
    pub(super) id: &'static str,
    /// Its headline.
    pub(super) title: &'static str,
    /// What differs; alike on some nodes is one.
    pub(super) changes: Vec<Change>,
    /// Changes that are not in the list because it is full.
    pub(super) more: usize,
    /// What one side does not know.
    pub(super) unknown: Vec<Unknown>,
    /// How many items are alike, over all nodes.
    pub(super) alike: usize,
}

/// An item that differs, alike on some nodes.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    /// How.
    pub(super) state: State,
    /// What.
    pub(super) item: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// On which nodes; empty for what belongs to the cluster.
    pub(super) nodes: Vec<String>,
}

/// Items of which one side knows nothing.
#[derive(Debug, Serialize)]
pub(super) struct Unknown {
    /// Which side, and why.
    #[serde(flatten)]
    pub(super) unsure: Unsure,
    /// How many items the other side has.
    pub(super) items: usize,
    /// On which nodes; empty for what belongs to the cluster.
    pub(super) nodes: Vec<String>,
}

/// A target, side by side.
#[derive(Debug, Serialize)]
pub(super) struct Connection {
    /// Node that asked.
    pub(super) node: String,
    /// What was asked.
    pub(super) target: String,
    /// In the first bundle; `None` if it was not tried there.
    pub(super) a: Option<Reached>,
    /// In the second.
    pub(super) b: Option<Reached>,
    /// Whether availability differs by a tenth of a percent or more.
    pub(super) differs: bool,
}

/// How a target answered.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Reached {
    /// Share of tries that it answered, 0 to 1.
    pub(super) availability: Option<f64>,
    /// Share of all time that is known, 0 to 1.
    pub(super) coverage: Option<f64>,
    /// Outages.
    pub(super) outages: i64,
    /// Half of all answers took no longer, in milliseconds, to a tenth of it.
    pub(super) median_ms: Option<f64>,
}
