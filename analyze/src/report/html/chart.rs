//! Geometry of the charts: times become places on an axis of [`WIDTH`], which the page
//! stretches to its own width and zooms by showing a part of it.
//!
//! No charting library is behind it: those for Rust write colours into the drawing,
//! where neither a dark page nor a policy without inline styles can have them, and none
//! hatches what is unknown. A bar and a line need no more than this.

use std::fmt::Write;

use periscope_store::time::format_ns;

use super::super::history::latency::Point;
use super::super::history::spans::{Span, without};
use super::super::history::{History, Kind, Mark, Share, TargetHistory};
use super::super::model::plural;
use super::super::text::to_second;
use crate::output::printable;

/// Length of the axis of time.
pub(super) const WIDTH: i64 = 10_000;

/// Height of the axis of latency.
const HEIGHT: f64 = 100.0;

const SECOND_NS: i64 = 1_000_000_000;

/// Steps between two labels of the axis of time, in seconds.
const STEPS_S: [i64; 19] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800,
];

/// Labels of the axis of time at most.
const MOST_TICKS: i64 = 9;

pub(super) struct Timeline {
    /// First and last millisecond since 1970, for the script.
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) rows: Vec<Row>,
}

/// A node.
pub(super) struct Row {
    pub(super) node: String,
    pub(super) probed: Vec<Bar>,
    pub(super) watched: Vec<Bar>,
    /// What is not known: with words, to be pointed at.
    pub(super) unknown: Vec<Bar>,
    pub(super) bars: Vec<Bar>,
    pub(super) instants: Vec<Bar>,
}

/// A bar from `x` on, or an instant at `x`.
pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: u8,
    pub(super) height: u8,
    pub(super) title: String,
}

pub(super) struct Tick {
    pub(super) percent: String,
    pub(super) label: String,
}

/// A target.
pub(super) struct Figure {
    pub(super) target: String,
    pub(super) told: String,
    pub(super) top: String,
    pub(super) probed: Vec<Bar>,
    pub(super) outages: Vec<Bar>,
    pub(super) area: String,
    pub(super) line: String,
    pub(super) label: String,
}

/// Places of times on the axis.
#[derive(Clone, Copy)]
struct Axis(Span);

impl Axis {
    fn place(self, ns: i64) -> f64 {
        let length = self.0.length_ns().max(1) as f64;
        let since = ns.saturating_sub(self.0.from_ns) as f64;
        (since / length * WIDTH as f64).clamp(0.0, WIDTH as f64)
    }

    fn bar(self, class: &'static str, span: Span, (y, height): (u8, u8), title: String) -> Bar {
        let (from, until) = (self.place(span.from_ns), self.place(span.until_ns));
        Bar { class, x: number(from), width: number(until - from), y, height, title }
    }
}

/// Lanes of a row, as place and height: connections above, the node itself below.
const ABOVE: (u8, u8) = (0, 15);
const BELOW: (u8, u8) = (15, 15);

/// What is drawn in them.
const CONNECTIONS: (u8, u8) = (1, 13);
const NODE: (u8, u8) = (16, 13);

pub(super) fn timeline(history: &History) -> Timeline {
    let axis = Axis(history.time);
    let rows = history.nodes.iter().map(|node| {
        let known = |class, spans: &[Span], lane| -> Vec<Bar> {
            spans.iter().map(|span| axis.bar(class, *span, lane, String::new())).collect()
        };
        let unknown = |spans: &[Span], lane, what: &str| -> Vec<Bar> {
            without(history.time, spans)
                .into_iter()
                .map(|span| axis.bar("unknown", span, lane, format!("{what} {}", period(span))))
                .collect()
        };
        let mut nothing = unknown(&node.probed, ABOVE, "unknown: no probe told anything");
        nothing.extend(unknown(&node.watched, BELOW, "unknown: no log was read"));
        let is_instant = |mark: &&Mark| mark.kind.is_instant();
        Row {
            node: printable(&node.node),
            probed: known("known", &node.probed, ABOVE),
            watched: known("known", &node.watched, BELOW),
            unknown: nothing,
            bars: node
                .marks
                .iter()
                .filter(|mark| !is_instant(mark))
                .map(|m| bar(axis, m))
                .collect(),
            instants: node.marks.iter().filter(is_instant).map(|m| bar(axis, m)).collect(),
        }
    });
    Timeline {
        from_ms: history.time.from_ns / 1_000_000,
        until_ms: history.time.until_ns / 1_000_000,
        from: to_second(&format_ns(history.time.from_ns)),
        until: to_second(&format_ns(history.time.until_ns)),
        rows: rows.collect(),
    }
}

impl Kind {
    /// Whether it is drawn as a stroke: what takes no time, or no time that matters.
    fn is_instant(self) -> bool {
        matches!(self, Self::Crash | Self::Restart | Self::Boot | Self::OomKill)
    }
}

fn bar(axis: Axis, mark: &Mark) -> Bar {
    let (class, lane) = match mark.kind {
        Kind::Outage => ("outage", CONNECTIONS),
        Kind::Condition => ("condition", (16, 7)),
        Kind::Maintenance => ("maintenance", (24, 5)),
        Kind::Crash => ("crash", NODE),
        Kind::Restart => ("restart", (21, 8)),
        Kind::Boot => ("boot", NODE),
        Kind::OomKill => ("oom", NODE),
    };
    let title = format!("{} {}", period(mark.span), mark.text);
    axis.bar(class, mark.span, lane, printable(&title))
}

/// A span as a person reads it; an instant has no end.
fn period(span: Span) -> String {
    let from = to_second(&format_ns(span.from_ns));
    if span.length_ns() < SECOND_NS {
        from
    } else {
        format!("{from} to {}", to_second(&format_ns(span.until_ns)))
    }
}

/// Labels of the axis of time, as the script makes them after a zoom.
pub(super) fn ticks(time: Span) -> Vec<Tick> {
    let length_s = (time.length_ns() / SECOND_NS).max(1);
    let is_enough = |step: &&i64| length_s / **step < MOST_TICKS;
    let largest = (length_s / MOST_TICKS).max(1);
    let step_ns = STEPS_S.iter().find(is_enough).copied().unwrap_or(largest) * SECOND_NS;
    let first = time.from_ns.div_euclid(step_ns).saturating_add(1).saturating_mul(step_ns);
    let mut ticks = Vec::new();
    let mut at = first;
    while at < time.until_ns && at > time.from_ns && (ticks.len() as i64) < MOST_TICKS + 1 {
        let text = format_ns(at);
        let label = match step_ns / SECOND_NS {
            ..60 => text.get(11..19),
            60..86_400 if length_s <= 86_400 => text.get(11..16),
            60..86_400 => text.get(5..16),
            _ => text.get(..10),
        };
        let percent = Axis(time).place(at) / WIDTH as f64 * 100.0;
        // A label at the edge would be cut.
        if (2.5..=97.5).contains(&percent) {
            let label = label.unwrap_or_default().replace('T', " ");
            ticks.push(Tick { percent: number(percent), label });
        }
        at = at.saturating_add(step_ns);
    }
    ticks
}

pub(super) fn figures(history: &History) -> Vec<Figure> {
    history.targets.iter().map(|target| figure(Axis(history.time), target)).collect()
}

fn figure(axis: Axis, target: &TargetHistory) -> Figure {
    const FULL: (u8, u8) = (0, 100);
    let points = &target.latency.points;
    let highest = points.iter().flatten().map(|point| point.high_ms).fold(0.0, f64::max);
    let top = round_up(highest);
    let nodes = plural(target.nodes as i64, "node");
    let outages = target.outages.iter().map(|down| {
        let title = format!("{} down on {} of {nodes}", period(down.span), down.nodes);
        let class = match down.share {
            Share::Few => "outage few",
            Share::Some => "outage some",
            Share::Most => "outage most",
        };
        axis.bar(class, down.span, FULL, title)
    });
    let worst = target.outages.iter().map(|down| down.nodes).max();
    let told = format!(
        "{} on {nodes}, {}",
        plural(target.latency.answers as i64, "answer"),
        worst.map_or("never down".to_owned(), |worst| format!("down on up to {worst} at once"))
    );
    Figure {
        target: printable(&target.latency.target),
        label: printable(&format!("latency of {}: {told}", target.latency.target)),
        told,
        top: if highest > 0.0 { format!("{} ms", number(top)) } else { "no answer".to_owned() },
        probed: target.probed.iter().map(|s| axis.bar("known", *s, FULL, String::new())).collect(),
        outages: outages.collect(),
        area: path(points, |point| point.high_ms / top, true),
        line: path(points, |point| point.median_ms / top, false),
    }
}

/// The next number that reads well: 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|n| *n >= value)
        .unwrap_or(value)
}

/// A line through points, parted where there is none; or the area below it.
fn path(points: &[Option<Point>], share: impl Fn(&Point) -> f64, is_area: bool) -> String {
    let mut path = String::new();
    let step = WIDTH as f64 / points.len().max(1) as f64;
    for (at, run) in runs(points) {
        let x = |index: usize| (at + index) as f64 * step;
        // A point holds for the whole of its stretch of time.
        let mut corners = Vec::with_capacity(run.len() + 2);
        for (index, point) in run.iter().flatten().enumerate() {
            let y = HEIGHT * (1.0 - share(point).clamp(0.0, 1.0));
            if index == 0 {
                corners.push((x(0), y));
            }
            corners.push((x(index) + step / 2.0, y));
            if index + 1 == run.len() {
                corners.push((x(index) + step, y));
            }
        }
        for (index, (x, y)) in corners.iter().enumerate() {
            let sign = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{sign}{} {}", number(*x), number(*y));
        }
        if is_area {
            let _ = write!(path, "L{} 100L{} 100Z", number(x(run.len())), number(x(0)));
        }
    }
    path
}

/// Points in a row that are there, with the place of the first.
fn runs(points: &[Option<Point>]) -> Vec<(usize, &[Option<Point>])> {
    let mut at = 0;
    let mut runs = Vec::new();
    for run in points.chunk_by(|a, b| a.is_some() == b.is_some()) {
        if run[0].is_some() {
            runs.push((at, run));
        }
        at += run.len();
    }
    runs
}

/// A number with one decimal at most.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_labels_that_read_well() {
        let labels = |from_s: i64, until_s: i64| -> Vec<String> {
            let time = Span::new(from_s * SECOND_NS, until_s * SECOND_NS);
            ticks(time).into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(labels(0, 20), ["00:00:05", "00:00:10", "00:00:15"]);
        assert_eq!(labels(3_590, 10_000)[..2], ["01:20", "01:40"]);
        assert_eq!(labels(0, 4 * 86_400)[..2], ["01-01 12:00", "01-02 00:00"]);
        assert_eq!(labels(0, 21 * 86_400)[0], "1970-01-08");
        assert!(ticks(Span::new(i64::MIN, i64::MAX)).len() <= 10);
        assert!(ticks(Span::new(0, 0)).is_empty());
    }

    #[test]
    fn a_line_is_parted_where_nothing_answered() {
        let point = |ms: f64| Some(Point { median_ms: ms, high_ms: ms });
        let points = [point(10.0), None, point(5.0), point(0.0)];
        assert_eq!(
            path(&points, |point| point.median_ms / 10.0, false),
            "M0 0L1250 0L2500 0M5000 50L6250 50L8750 100L10000 100"
        );
        assert!(path(&points[..1], |_| 1.0, true).ends_with("L10000 100L0 100Z"));
        assert_eq!(path(&[], |_| 1.0, true), "");
    }

    #[test]
    fn an_axis_of_latency_ends_at_a_round_number() {
        let rounded: Vec<f64> = [0.0, 0.7, 12.0, 21.0, 99.0].map(round_up).to_vec();
        assert_eq!(rounded, [1.0, 1.0, 20.0, 50.0, 100.0]);
    }
}
