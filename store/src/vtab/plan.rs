//! Which chunks a query has to read.

use rusqlite::types::ValueRef;

use super::pattern::{self, Pattern};
use super::scan::Job;
use crate::bundle::{Catalogue, ChunkMeta, RunMeta, StreamMeta};
use crate::time;

/// What a column can be used for when chunks are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// Name of the node.
    Node,
    /// Time as text.
    Ts,
    /// Time in nanoseconds.
    TsNs,
    /// Name of the stream.
    Name,
    /// Text attribute of the stream.
    Attribute(&'static str),
    /// Kind of the stream.
    Kind,
    /// `outcome` of a probe sample: `'fail'` skips chunks without failures.
    Outcome,
    /// `ok` of a probe sample: 0 skips chunks without failures.
    Ok,
    /// Number of the stream.
    StreamId,
    /// Level of a log line.
    Level,
    /// Text of a log line.
    Message,
    /// Name of what a host sample measures.
    Metric,
}

/// Comparison of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Texts only, as are those that follow. SQLite checks again.
    Like,
    /// The pattern is a literal between wildcards: SQLite does not check again.
    PlainLike,
    /// SQLite checks again.
    Glob,
    /// The pattern is a literal between wildcards: SQLite does not check again.
    PlainGlob,
    /// Ours alone: SQLite does not check again.
    Match,
    /// Ours alone: SQLite does not check again.
    Regexp,
}

impl Comparison {
    /// Every comparison with the letter that stands for it in a plan.
    const CODES: [(u8, Self); 11] = [
        (b'=', Self::Equal),
        (b'>', Self::Greater),
        (b']', Self::GreaterOrEqual),
        (b'<', Self::Less),
        (b'[', Self::LessOrEqual),
        (b'L', Self::Like),
        (b'l', Self::PlainLike),
        (b'G', Self::Glob),
        (b'g', Self::PlainGlob),
        (b'M', Self::Match),
        (b'R', Self::Regexp),
    ];

    pub(crate) fn code(self) -> u8 {
        Self::CODES.iter().find(|(_, comparison)| *comparison == self).map_or(b'=', |(c, _)| *c)
    }

    pub(crate) fn parse(code: u8) -> Self {
        Self::CODES.iter().find(|(c, _)| *c == code).map_or(Self::Equal, |(_, this)| *this)
    }

    /// Whether it is one of values, and not of texts with patterns.
    pub(crate) fn is_of_values(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::Greater | Self::GreaterOrEqual | Self::Less | Self::LessOrEqual
        )
    }

    /// Whether SQLite leaves the rows that it holds for to the table.
    pub(crate) fn is_owned(self) -> bool {
        matches!(self, Self::PlainLike | Self::PlainGlob | Self::Match | Self::Regexp)
    }
}

/// What chunks and rows can match: a superset of what the query asks for, but
/// exact in the comparisons that [are owned](Comparison::is_owned).
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) first_ns: i64,
    pub(crate) last_ns: i64,
    pub(crate) failed_only: bool,
    pub(crate) level: Option<String>,
    /// What a host sample must measure.
    pub(crate) metric: Option<String>,
    /// Conditions on the message, all of which must hold.
    pub(crate) patterns: Vec<Pattern>,
    stream_id: Option<i64>,
    node: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    attributes: Vec<(&'static str, String)>,
    /// Two constraints contradict each other.
    nothing: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            first_ns: i64::MIN,
            last_ns: i64::MAX,
            failed_only: false,
            level: None,
            metric: None,
            patterns: Vec::new(),
            stream_id: None,
            node: None,
            name: None,
            kind: None,
            attributes: Vec::new(),
            nothing: false,
        }
    }
}

impl Filter {
    /// Narrows the filter by one constraint, as far as its value allows. SQLite
    /// applies no affinity here: a value has the type the user wrote.
    ///
    /// # Errors
    ///
    /// If the value is a regular expression that is wrong or too large.
    pub(crate) fn add(
        &mut self,
        push: Push,
        comparison: Comparison,
        value: ValueRef<'_>,
    ) -> Result<(), String> {
        if push == Push::Message {
            return self.add_pattern(comparison, value);
        }
        let text = match value {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        match (push, value) {
            (Push::TsNs, ValueRef::Integer(ns)) => self.add_time(comparison, ns, ns),
            (Push::Ts, _) => {
                if let Some((first, last)) = text.and_then(time::prefix_range) {
                    self.add_time_text(comparison, first, last);
                }
            }
            (Push::Ok, ValueRef::Integer(0)) => self.failed_only = true,
            (Push::Outcome, _) if text == Some("fail") => self.failed_only = true,
            (Push::Node, _) => self.nothing |= !narrow(&mut self.node, text),
            (Push::Name, _) => self.nothing |= !narrow(&mut self.name, text),
            (Push::Kind, _) => self.nothing |= !narrow(&mut self.kind, text),
            (Push::Attribute(attribute), _) => {
                if let Some(text) = text {
                    self.attributes.push((attribute, text.to_owned()));
                }
            }
            (Push::Level, _) => self.nothing |= !narrow(&mut self.level, text),
            (Push::Metric, _) => self.nothing |= !narrow(&mut self.metric, text),
            (Push::StreamId, ValueRef::Integer(id)) => {
                self.nothing |= *self.stream_id.get_or_insert(id) != id;
            }
            _ => {}
        }
        Ok(())
    }

    fn add_pattern(&mut self, comparison: Comparison, value: ValueRef<'_>) -> Result<(), String> {
        let Some(text) = pattern::text_of(value) else {
            // No text is like NULL.
            self.nothing = true;
            return Ok(());
        };
        let is_text = matches!(value, ValueRef::Text(_));
        let pattern = match comparison {
            Comparison::Like if is_text => Pattern::like(&text, false),
            Comparison::PlainLike => Pattern::like(&text, true),
            Comparison::Glob if is_text => Pattern::glob(&text, false),
            Comparison::PlainGlob => Pattern::glob(&text, true),
            Comparison::Match => Pattern::matching(&text),
            Comparison::Regexp => Pattern::regexp(&text)?,
            _ => return Ok(()),
        };
        self.patterns.push(pattern);
        Ok(())
    }

    /// Whether a time is in range.
    pub(crate) fn has_time(&self, ts_ns: i64) -> bool {
        (self.first_ns..=self.last_ns).contains(&ts_ns)
    }

    /// Whether all rows of a run are in the range of time.
    pub(crate) fn has_times_of(&self, run: &RunMeta) -> bool {
        self.has_time(run.first_ns) && self.has_time(run.last_ns)
    }

    /// A time text is compared as text: `ts <= '2026'` holds for no instant of
    /// 2026, because each is a longer text, while `ts > '2026'` holds for all.
    fn add_time_text(&mut self, comparison: Comparison, first: i64, last: i64) {
        match comparison {
            Comparison::Equal => self.add_time(comparison, first, last),
            Comparison::Greater | Comparison::GreaterOrEqual => {
                self.first_ns = self.first_ns.max(first);
            }
            Comparison::Less | Comparison::LessOrEqual => self.last_ns = self.last_ns.min(last),
            _ => {}
        }
    }

    fn add_time(&mut self, comparison: Comparison, first: i64, last: i64) {
        match comparison {
            Comparison::Equal => {
                self.first_ns = self.first_ns.max(first);
                self.last_ns = self.last_ns.min(last);
            }
            Comparison::Greater => self.first_ns = self.first_ns.max(first.saturating_add(1)),
            Comparison::GreaterOrEqual => self.first_ns = self.first_ns.max(first),
            Comparison::Less => self.last_ns = self.last_ns.min(last.saturating_sub(1)),
            Comparison::LessOrEqual => self.last_ns = self.last_ns.min(last),
            _ => {}
        }
    }

    fn has_stream(&self, stream: &StreamMeta) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        is(&self.node, &stream.node)
            && self.stream_id.is_none_or(|id| id == stream.id)
            && is(&self.name, &stream.name)
            && is(&self.kind, stream.kind.as_str())
            && self.attributes.iter().all(|(name, value)| stream.text(name) == Some(value))
    }

    fn has_run(&self, run: &RunMeta) -> bool {
        run.first_ns <= self.last_ns
            && run.last_ns >= self.first_ns
            && (!self.failed_only || run.failed_count > 0)
    }

    /// The chunks to decode, and the runs in each that can match.
    pub(crate) fn jobs(&self, catalogue: &Catalogue, kinds: &[&str]) -> Vec<Job> {
        if self.nothing || self.first_ns > self.last_ns {
            return Vec::new();
        }
        let streams: Vec<bool> =
            catalogue.streams.iter().map(|stream| self.has_stream(stream)).collect();
        let wanted = |(chunk, meta): (usize, &ChunkMeta)| {
            let runs: Vec<RunMeta> = meta
                .runs
                .iter()
                .filter(|run| streams[run.stream] && self.has_run(run))
                .copied()
                .collect();
            (!runs.is_empty()).then_some(Job { chunk, runs })
        };
        catalogue
            .chunks
            .iter()
            .enumerate()
            .filter(|(_, meta)| kinds.contains(&meta.kind.as_str()))
            .filter_map(wanted)
            .collect()
    }
}

/// Sets what a text must be; false if it must be something else already.
fn narrow(wanted: &mut Option<String>, text: Option<&str>) -> bool {
    let Some(text) = text else { return true };
    wanted.get_or_insert_with(|| text.to_owned()) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: (i64, i64) = (1_795_350_480_000_000_000, 1_795_350_539_999_999_999);

    fn check(comparison: Comparison, expected: (i64, i64)) {
        let mut filter = Filter::default();
        filter.add(Push::Ts, comparison, ValueRef::Text(b"2026-11-22T12:28")).expect("a time");
        assert_eq!((filter.first_ns, filter.last_ns), expected, "{comparison:?}");
    }

    #[test]
    fn a_time_prefix_narrows_no_more_than_its_text() {
        check(Comparison::Equal, MINUTE);
        check(Comparison::Greater, (MINUTE.0, i64::MAX));
        check(Comparison::GreaterOrEqual, (MINUTE.0, i64::MAX));
        check(Comparison::Less, (i64::MIN, MINUTE.1));
        check(Comparison::LessOrEqual, (i64::MIN, MINUTE.1));
    }

    #[test]
    fn values_of_another_type_narrow_nothing() {
        let mut filter = Filter::default();
        for (push, comparison, value) in [
            (Push::Ts, Comparison::Greater, ValueRef::Integer(5)),
            (Push::Ts, Comparison::Greater, ValueRef::Text(b"yesterday")),
            (Push::TsNs, Comparison::Greater, ValueRef::Text(b"2026")),
            (Push::Node, Comparison::Equal, ValueRef::Null),
            (Push::Ok, Comparison::Equal, ValueRef::Integer(1)),
            (Push::StreamId, Comparison::Equal, ValueRef::Text(b"5")),
            (Push::Level, Comparison::Equal, ValueRef::Integer(1)),
            (Push::Message, Comparison::Like, ValueRef::Real(0.5)),
        ] {
            filter.add(push, comparison, value).expect("taken or left");
        }
        assert_eq!(format!("{filter:?}"), format!("{:?}", Filter::default()));
    }

    #[test]
    fn contradictions_match_nothing() {
        let check = |push: Push, comparison: Comparison, values: &[ValueRef<'_>]| {
            let mut filter = Filter::default();
            for value in values {
                filter.add(push, comparison, *value).expect("taken");
            }
            assert!(filter.jobs(&Catalogue::default(), &["probe"]).is_empty());
            assert!(filter.nothing, "{push:?}");
        };
        let two = [ValueRef::Text(b"a"), ValueRef::Text(b"b")];
        check(Push::Node, Comparison::Equal, &two);
        check(Push::Level, Comparison::Equal, &two);
        check(Push::Metric, Comparison::Equal, &two);
        check(Push::StreamId, Comparison::Equal, &[ValueRef::Integer(1), ValueRef::Integer(2)]);
        check(Push::Message, Comparison::Like, &[ValueRef::Null]);
    }

    #[test]
    fn every_comparison_has_a_letter_of_its_own() {
        for (code, comparison) in Comparison::CODES {
            assert_eq!(Comparison::parse(code), comparison);
            assert_eq!(comparison.code(), code);
        }
    }
}
