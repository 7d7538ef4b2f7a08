//! Facts of two sides, item by item.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::model::{Change, Pair, Section as Answer, State, Unknown, Unsure};
use super::section::{Fact, Facts, Section};
use super::side::Side;

/// Different changes of a section that are kept; the rest is counted.
const MAX_CHANGES: usize = 10_000;

/// What tells one change from another, whatever the node.
type Key = (State, String, Option<String>, Option<String>);

/// Collects what differs.
#[derive(Default)]
struct Comparison {
    changes: BTreeMap<Key, BTreeSet<String>>,
    unknown: BTreeMap<Unsure, (usize, BTreeSet<String>)>,
    alike: usize,
    more: usize,
}

/// Compares what a section says of each pair of nodes, or of both clusters.
///
/// # Errors
///
/// If a bundle cannot be read.
pub(super) fn section(
    section: Section,
    sides: (&Side, &Side),
    pairs: &[Pair],
    chosen: bool,
) -> Result<Answer> {
    let answers =
        (section.ask(sides.0.bundle.connection())?, section.ask(sides.1.bundle.connection())?);
    let mut comparison = Comparison::default();
    if section.is_of_cluster && !chosen {
        let facts = (answers.0.of(None)?, answers.1.of(None)?);
        comparison.compare((&facts.0, &facts.1), sides, None);
    } else {
        for pair in pairs {
            let facts = (answers.0.of(Some(&pair.a))?, answers.1.of(Some(&pair.b))?);
            comparison.compare((&facts.0, &facts.1), sides, Some(pair));
        }
    }
    Ok(comparison.done(section))
}

impl Comparison {
    fn compare(&mut self, facts: (&Facts, &Facts), sides: (&Side, &Side), pair: Option<&Pair>) {
        let items: BTreeSet<&String> = facts.0.items.keys().chain(facts.1.items.keys()).collect();
        for item in items {
            match (facts.0.items.get(item), facts.1.items.get(item)) {
                (Some(before), Some(after)) if before.value() == after.value() => self.alike += 1,
                (Some(before), Some(after)) => {
                    self.change(State::Changed, item, Some(before), Some(after), pair);
                }
                (Some(before), None) => {
                    let node = pair.map(|pair| pair.b.as_str());
                    match unsure(before, facts.1, sides.1, node) {
                        Some(reason) => self.unknown(Unsure { side: 'B', reason }, pair),
                        None => self.change(State::Gone, item, Some(before), None, pair),
                    }
                }
                (None, Some(after)) => {
                    let node = pair.map(|pair| pair.a.as_str());
                    match unsure(after, facts.0, sides.0, node) {
                        Some(reason) => self.unknown(Unsure { side: 'A', reason }, pair),
                        None => self.change(State::New, item, None, Some(after), pair),
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn change(
        &mut self,
        state: State,
        item: &str,
        before: Option<&Fact>,
        after: Option<&Fact>,
        pair: Option<&Pair>,
    ) {
        let key = (state, item.to_owned(), before.map(Fact::value), after.map(Fact::value));
        if self.changes.len() == MAX_CHANGES && !self.changes.contains_key(&key) {
            self.more += 1;
            return;
        }
        self.changes.entry(key).or_default().extend(pair.map(Pair::name));
    }

    fn unknown(&mut self, unsure: Unsure, pair: Option<&Pair>) {
        let (items, nodes) = self.unknown.entry(unsure).or_default();
        *items += 1;
        nodes.extend(pair.map(Pair::name));
    }

    fn done(self, section: Section) -> Answer {
        let change = |((state, item, before, after), nodes): (Key, BTreeSet<String>)| Change {
            state,
            item,
            before,
            after,
            nodes: nodes.into_iter().collect(),
        };
        let unknown = |(unsure, (items, nodes)): (Unsure, (usize, BTreeSet<String>))| Unknown {
            unsure,
            items,
            nodes: nodes.into_iter().collect(),
        };
        Answer {
            id: section.id,
            title: section.title,
            changes: self.changes.into_iter().map(change).collect(),
            more: self.more,
            unknown: self.unknown.into_iter().map(unknown).collect(),
            alike: self.alike,
        }
    }
}

/// Why a fact that the other side has is not known on this one, `None` if it is not there.
fn unsure(fact: &Fact, here: &Facts, side: &Side, node: Option<&str>) -> Option<String> {
    side.unknown_because(fact.collector.as_deref(), node).or_else(|| {
        let family = fact.family.as_ref().filter(|family| !here.families.contains(*family))?;
        Some(format!("nothing of {family} was read"))
    })
}
