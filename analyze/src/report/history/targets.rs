//! What happened to targets of probes, over all nodes.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::model::{Report, plural};
use super::latency::{self, Latency};
use super::spans::{Span, union};
use super::{Asking, Kind, Mark, clipped};

/// Times of outages of a target that are told exactly; of more, only as exactly as
/// [`STEPS`].
const MAX_EXACT: usize = 400;

/// Steps of the time in which many outages are told.
const STEPS: i64 = 400;

/// What happened to a target.
#[derive(Debug)]
pub(crate) struct TargetHistory {
    /// How long it took to answer.
    pub(crate) latency: Latency,
    /// When some node tried it and told.
    pub(crate) probed: Vec<Span>,
    /// When it was down; these do not overlap.
    pub(crate) outages: Vec<Down>,
    /// How many nodes tried it.
    pub(crate) nodes: usize,
}

/// A time in which a target was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    /// When.
    pub(crate) span: Span,
    /// On how many nodes at once, at most.
    pub(crate) nodes: usize,
    /// Share of nodes that is.
    pub(crate) share: Share,
}

/// Share of the nodes that try a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Less than one in ten.
    Few,
    /// Less than half.
    Some,
    /// Half or more.
    Most,
}

impl Share {
    fn of(part: usize, whole: usize) -> Self {
        if part * 2 >= whole {
            Self::Most
        } else if part * 10 >= whole {
            Self::Some
        } else {
            Self::Few
        }
    }
}

/// What happened to each target, by name; `probed` is when each node knew of it.
pub(super) fn read(
    asking: &mut Asking<'_>,
    report: &Report,
    time: Span,
    probed: &BTreeMap<(String, String), Vec<Span>>,
    marks: &[(String, Mark)],
) -> Result<Vec<TargetHistory>> {
    let nodes = match &report.narrowed {
        Some(narrowed) if !narrowed.nodes.is_empty() => Some(serde_json::to_string(&report.nodes)?),
        _ => None,
    };
    let (latencies, left_out) = asking.ask("how long targets took to answer", |connection| {
        latency::read(connection, time, nodes.as_deref())
    })?;
    if left_out > 0 {
        let targets = plural(left_out as i64, "more target");
        asking.untold.push(format!("{targets} of probes are not drawn"));
    }
    let mut known: BTreeMap<&str, (usize, Vec<Span>)> = BTreeMap::new();
    for ((_, target), spans) in probed {
        let (nodes, all) = known.entry(target).or_default();
        *nodes += 1;
        all.extend(spans);
    }
    let mut down: BTreeMap<&str, Vec<(Span, &str)>> = BTreeMap::new();
    for (node, mark) in marks.iter().filter(|(_, mark)| mark.kind == Kind::Outage) {
        if let Some(span) = mark.span.within(time) {
            down.entry(&mark.subject).or_default().push((span, node));
        }
    }
    let mut latencies: BTreeMap<String, Latency> =
        latencies.into_iter().map(|one| (one.target.clone(), one)).collect();
    let mut all = Vec::new();
    for (target, (nodes, spans)) in known {
        // One that never answered has no latency, and is shown all the same.
        let never = || Latency { target: target.to_owned(), points: Vec::new(), answers: 0 };
        let outages = down.remove(target).unwrap_or_default();
        if all.len() < latency::MAX_TARGETS {
            all.push(TargetHistory {
                latency: latencies.remove(target).unwrap_or_else(never),
                probed: clipped(&union(spans), time),
                outages: across(outages, nodes, time),
                nodes,
            });
        }
    }
    Ok(all)
}

/// Outages of one target on all nodes as times in which it was down on about as many.
fn across(outages: Vec<(Span, &str)>, nodes: usize, time: Span) -> Vec<Down> {
    let mut of_node: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for (span, node) in outages {
        // An instant is seen too.
        let until_ns = span.until_ns.max(span.from_ns.saturating_add(1));
        of_node.entry(node).or_default().push(Span { until_ns, ..span });
    }
    let spans: Vec<Span> = of_node.into_values().flat_map(union).collect();
    let exact = swept(&spans, nodes);
    if exact.len() <= MAX_EXACT {
        return exact;
    }
    let step_ns = (time.length_ns() / STEPS).max(1);
    let rough = |span: &Span| {
        let since = |ns: i64| ns.saturating_sub(time.from_ns);
        let from = since(span.from_ns) / step_ns * step_ns;
        let until = (since(span.until_ns) / step_ns + 1) * step_ns;
        Span::new(time.from_ns.saturating_add(from), time.from_ns.saturating_add(until))
    };
    swept(&spans.iter().map(rough).collect::<Vec<_>>(), nodes)
}

/// Counts how many spans there are at a time.
fn swept(spans: &[Span], nodes: usize) -> Vec<Down> {
    let mut edges: Vec<(i64, bool)> =
        spans.iter().flat_map(|span| [(span.from_ns, true), (span.until_ns, false)]).collect();
    edges.sort_unstable();
    let mut all: Vec<Down> = Vec::new();
    let (mut count, mut since_ns) = (0_usize, 0);
    for (ns, is_begin) in edges {
        if count > 0 && ns > since_ns {
            let span = Span::new(since_ns, ns);
            let share = Share::of(count, nodes);
            match all.last_mut() {
                Some(last) if last.share == share && last.span.until_ns == span.from_ns => {
                    last.span.until_ns = span.until_ns;
                    last.nodes = last.nodes.max(count);
                }
                _ => all.push(Down { span, nodes: count, share }),
            }
        }
        since_ns = ns;
        count = if is_begin { count + 1 } else { count.saturating_sub(1) };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_down_on_some_nodes_at_a_time() {
        let time = Span::new(0, 1_000);
        let outages = vec![
            (Span::new(0, 100), "a"),
            (Span::new(50, 120), "a"),
            (Span::new(60, 80), "b"),
            (Span::new(300, 300), "c"),
        ];
        let down = |from, until, nodes, share| Down { span: Span::new(from, until), nodes, share };
        assert_eq!(
            across(outages.clone(), 15, time),
            [
                down(0, 60, 1, Share::Few),
                down(60, 80, 2, Share::Some),
                down(80, 120, 1, Share::Few),
                down(300, 301, 1, Share::Few),
            ]
        );
        let joined = across(outages, 3, time);
        assert_eq!(joined[1], down(60, 80, 2, Share::Most));
        assert_eq!(across(Vec::new(), 3, time), []);
    }

    #[test]
    fn many_outages_are_told_roughly() {
        let time = Span::new(0, 1_000_000);
        let many = (0..5_000).map(|at| (Span::new(at * 200, at * 200 + 10), "a")).collect();
        let told = across(many, 10, time);
        assert!(told.len() <= MAX_EXACT, "{}", told.len());
        assert_eq!(told[0].span.from_ns, 0);
    }
}
