//! Findings of two sides: those that are the same, those that are alike, and the rest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::model::{FindingChange, Findings, Pair, Said, State, Unsure};
use super::side::Side;
use crate::diagnose::run::{self, Answer};
use crate::report::model::Found;

/// Pairs of findings of one place whose sentences are compared; of more the order
/// decides.
const MOST_COMPARED: usize = 1_000_000;

/// A finding is of a diagnostic and a node: of the pair's number, or of no node.
type Place<'a> = (&'a str, Option<usize>);

/// Findings of one place on both sides.
type Both<'a> = (Vec<Found<'a>>, Vec<Found<'a>>);

/// Compares the findings of two bundles.
///
/// The same fingerprint is the same finding; then, of one diagnostic and node, the same
/// sentence is. What is left of these is changed, each with the one that begins most alike,
/// and then new or gone.
pub(super) fn compare(a: &Side, b: &Side, pairs: &[Pair], chosen: bool) -> Findings {
    let mut places: BTreeMap<Place<'_>, Both<'_>> = BTreeMap::new();
    let mut done = Findings::default();
    let (all_a, all_b) = (a.report.findings(), b.report.findings());
    let place = |found: &Found<'_>, is_here: &dyn Fn(&Pair, &str) -> bool| {
        let at = |node: &str| pairs.iter().position(|pair| is_here(pair, node));
        found.finding.node.as_deref().map(at)
    };
    for found in all_a {
        match place(&found, &|pair, node| pair.a == node) {
            Some(None) if chosen => {}
            Some(None) => done.changes.push(alone(&found, State::Gone)),
            at => places.entry((&found.diagnostic.id, at.flatten())).or_default().0.push(found),
        }
    }
    for found in all_b {
        match place(&found, &|pair, node| pair.b == node) {
            Some(None) if chosen => {}
            Some(None) => done.changes.push(alone(&found, State::New)),
            at => places.entry((&found.diagnostic.id, at.flatten())).or_default().1.push(found),
        }
    }
    for ((diagnostic, at), (before, after)) in places {
        let pair = at.map(|at| &pairs[at]);
        let unsure = (
            unsure(a, diagnostic, pair.map(|pair| pair.a.as_str()), 'A'),
            unsure(b, diagnostic, pair.map(|pair| pair.b.as_str()), 'B'),
        );
        at_one_place(&mut done, before, after, pair, &unsure);
    }
    done.changes.sort_by(|x, y| {
        let key =
            |change: &FindingChange| (change.state == State::Unknown, Reverse(change.severity));
        key(x).cmp(&key(y)).then_with(|| (&x.diagnostic, &x.node).cmp(&(&y.diagnostic, &y.node)))
    });
    done
}

fn at_one_place<'a>(
    done: &mut Findings,
    mut before: Vec<Found<'a>>,
    mut after: Vec<Found<'a>>,
    pair: Option<&Pair>,
    unsure: &(Option<Unsure>, Option<Unsure>),
) {
    done.alike += take_alike(&mut before, &mut after, Found::fingerprint);
    done.alike += take_alike(&mut before, &mut after, |found| found.finding.message.clone());
    let both = match_alike(&before, &mut after);
    let node = pair.map(Pair::name);
    let mut change = |state, before: Option<&Found<'_>>, after: Option<&Found<'_>>, unknown| {
        let Some(found) = after.or(before) else { return };
        done.changes.push(FindingChange {
            state,
            severity: found.finding.severity,
            diagnostic: found.diagnostic.id.clone(),
            node: node.clone(),
            before: before.map(said),
            after: after.map(said),
            unknown,
        });
    };
    for (before, after) in before.iter().zip(&after) {
        change(State::Changed, Some(before), Some(after), None);
    }
    let or = |state, unsure: &Option<Unsure>| match unsure {
        Some(_) => State::Unknown,
        None => state,
    };
    for found in &before[both..] {
        change(or(State::Gone, &unsure.1), Some(found), None, unsure.1.clone());
    }
    for found in &after[both..] {
        change(or(State::New, &unsure.0), None, Some(found), unsure.0.clone());
    }
}

/// Takes away what both have of one key, and says how many.
fn take_alike<'a>(
    before: &mut Vec<Found<'a>>,
    after: &mut Vec<Found<'a>>,
    key: impl Fn(&Found<'a>) -> String,
) -> usize {
    let mut there: BTreeMap<String, usize> = BTreeMap::new();
    for found in &*after {
        *there.entry(key(found)).or_default() += 1;
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let count = before.len();
    before.retain(|found| {
        let key = key(found);
        match there.get_mut(&key) {
            Some(left) if *left > 0 => {
                *left -= 1;
                *taken.entry(key).or_default() += 1;
                false
            }
            _ => true,
        }
    });
    after.retain(|found| match taken.get_mut(&key(found)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    count - before.len()
}

/// Puts each finding of `after` where the one of `before` is whose sentence begins most
/// alike, and says how many there are of both.
fn match_alike(before: &[Found<'_>], after: &mut [Found<'_>]) -> usize {
    let both = before.len().min(after.len());
    if before.len() * after.len() > MOST_COMPARED {
        return both;
    }
    for (at, found) in before.iter().enumerate().take(both) {
        let ours = &found.finding.message;
        let alike = |found: &Found<'_>| {
            let pairs = ours.bytes().zip(found.finding.message.bytes());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let best = (at..after.len()).max_by_key(|&at| (alike(&after[at]), Reverse(at)));
        after.swap(at, best.unwrap_or(at));
    }
    both
}

/// A finding of a node that the other bundle does not have: nobody knows of it there.
fn alone(found: &Found<'_>, state: State) -> FindingChange {
    let (side, said) = (if state == State::Gone { 'B' } else { 'A' }, Some(said(found)));
    let (before, after) = if state == State::Gone { (said, None) } else { (None, said) };
    FindingChange {
        state: State::Unknown,
        severity: found.finding.severity,
        diagnostic: found.diagnostic.id.clone(),
        node: found.finding.node.clone(),
        before,
        after,
        unknown: Some(Unsure { side, reason: "no such node".to_owned() }),
    }
}

fn said(found: &Found<'_>) -> Said {
    Said { id: found.id(), message: found.finding.message.clone() }
}

/// Why a diagnostic that found nothing on a side, or less, proves nothing there.
fn unsure(side: &Side, diagnostic: &str, node: Option<&str>, name: char) -> Option<Unsure> {
    let mut answers = side.report.diagnostics.iter().map(|(_, answer)| answer);
    let answer = answers.find(|answer| answer.diagnostic == diagnostic)?;
    Some(Unsure { side: name, reason: blindness(answer, node)? })
}

fn blindness(answer: &Answer, node: Option<&str>) -> Option<String> {
    if let Some(error) = &answer.error {
        return Some(error.clone());
    }
    if answer.truncated {
        return Some(format!("only the first {} findings were read", answer.findings.len()));
    }
    let reason = |state: &run::NodeState| match &state.state {
        run::State::Blind { reason } => Some(reason.clone()),
        _ => None,
    };
    match node {
        Some(node) => answer.nodes.iter().find(|state| state.node == node).and_then(reason),
        // Of the cluster something is known if some node was looked at.
        None if answer.nodes.iter().all(|state| reason(state).is_some()) => {
            answer.nodes.iter().find_map(reason)
        }
        None => None,
    }
}
