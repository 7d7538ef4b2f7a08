//! What happened on nodes, as views of the bundle tell it.

use std::collections::BTreeMap;

use anyhow::Result;
use periscope_store::time::parse_rfc3339;
use rusqlite::Row;

use super::super::model::Report;
use super::spans::Span;
use super::{Asking, Kind, Mark};

/// Marks of a report.
const MAX_MARKS: usize = 20_000;

/// Marks of a node that are kept however many nodes there are.
const MIN_OF_NODE: usize = 8;

/// Marks of one kind and subject that are nearer than this share of the time are one:
/// no screen shows what is between them.
const NEAR: i64 = 2_000;

/// Longest sentence of a mark, in bytes.
const MAX_TEXT_BYTES: usize = 300;

/// Questions, what their rows mean, and what they are called if they take too long:
/// each gives node, begin, end (NULL: an instant), subject, sentence, and where the
/// kind differs from row to row, a word for it.
const QUESTIONS: [(&str, Kind, &str); 5] = [
    (
        "outages",
        Kind::Outage,
        "SELECT node, ts, coalesce(ended_by, ended_after), target,
                format('%s was down for %s: %s %s', target, duration, phase, error_class), ''
         FROM probe_outage",
    ),
    (
        "conditions of nodes",
        Kind::Condition,
        "SELECT node, ts, coalesce(until, last_seen), type,
                format('%s is %s: %s: %s', type, status, reason, message), ''
         FROM node_condition_change
         WHERE type <> 'VMEventScheduled' AND (type = 'Ready') <> (status = 'True')",
    ),
    (
        "maintenance",
        Kind::Maintenance,
        "SELECT node, ts, until, kind, format('maintenance, %s: %s', kind, message), ''
         FROM maintenance",
    ),
    (
        "restarts of services",
        Kind::Crash,
        "SELECT node, coalesce(stopped, ts), ts, unit,
                format('%s: %s%s%s', unit,
                       CASE cause WHEN 'crash' THEN 'crashed' WHEN 'boot' THEN 'started at boot'
                                  WHEN 'planned' THEN 'restarted on purpose'
                                  ELSE 'restarted, nobody knows why' END,
                       iif(started IS NULL, ' and did not start again', ''),
                       coalesce(': ' || result, '')),
                cause
         FROM service_restart WHERE cause <> 'first'",
    ),
    (
        "kills for want of memory",
        Kind::OomKill,
        "SELECT node, ts, NULL, coalesce(pod, process),
                format('the kernel killed %s%s for want of memory', process,
                       coalesce(' of pod ' || pod, '')),
                ''
         FROM oom_kill",
    ),
];

/// All that happened, by node.
pub(super) fn read(asking: &mut Asking<'_>) -> Result<Vec<(String, Mark)>> {
    let mut all = Vec::new();
    for (what, kind, sql) in QUESTIONS {
        let rows = asking.rows(what, sql, |row| mark(row, kind))?;
        all.extend(rows.into_iter().flatten());
    }
    Ok(all)
}

/// `None` of a row without a node or a time.
fn mark(row: &Row<'_>, kind: Kind) -> rusqlite::Result<Option<(String, Mark)>> {
    let text = |at: usize| row.get::<_, Option<String>>(at);
    let (node, from, until) = (text(0)?, text(1)?, text(2)?);
    let (subject, sentence, word) = (text(3)?, text(4)?, text(5)?);
    let (Some(node), Some(from_ns)) = (node, from.as_deref().and_then(parse_rfc3339)) else {
        return Ok(None);
    };
    let until_ns = until.as_deref().and_then(parse_rfc3339).unwrap_or(from_ns);
    let kind = match word.as_deref() {
        Some("planned") => Kind::Restart,
        Some("boot") => Kind::Boot,
        _ => kind,
    };
    let mark = Mark {
        kind,
        span: Span::new(from_ns, until_ns),
        subject: subject.unwrap_or_default(),
        text: cut(sentence.unwrap_or_default()),
    };
    Ok(Some((node, mark)))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

/// Marks of each node of the report within the time, by time; as many as are kept.
pub(super) fn by_node(
    untold: &mut Vec<String>,
    report: &Report,
    time: Span,
    marks: Vec<(String, Mark)>,
) -> Vec<(String, Vec<Mark>)> {
    let mut of_node: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
    for (node, mut mark) in marks {
        if let Some(span) = mark.span.within(time) {
            mark.span = span;
            of_node.entry(node).or_default().push(mark);
        }
    }
    let near_ns = time.length_ns() / NEAR;
    let mut all: Vec<(String, Vec<Mark>)> = report
        .nodes
        .iter()
        .map(|node| (node.clone(), joined(of_node.remove(node).unwrap_or_default(), near_ns)))
        .collect();
    let total: usize = all.iter().map(|(_, marks)| marks.len()).sum();
    if total > MAX_MARKS {
        let most = (MAX_MARKS / all.len().max(1)).max(MIN_OF_NODE);
        let mut left_out = 0;
        for (_, marks) in &mut all {
            left_out += marks.len().saturating_sub(most);
            marks.truncate(most);
        }
        untold.push(format!(
            "{left_out} marks of the timeline are not drawn, the last of nodes with more than \
             {most}: narrow the report by --node, --since and --until"
        ));
    }
    all
}

/// Joins marks of one kind and subject that nearly touch, and puts all in order.
fn joined(mut marks: Vec<Mark>, near_ns: i64) -> Vec<Mark> {
    marks.sort_by(|a, b| (a.kind, &a.subject, a.span).cmp(&(b.kind, &b.subject, b.span)));
    let mut all: Vec<(Mark, usize)> = Vec::new();
    for mark in marks {
        match all.last_mut() {
            Some((last, more))
                if (last.kind, &last.subject) == (mark.kind, &mark.subject)
                    && mark.span.from_ns <= last.span.until_ns.saturating_add(near_ns) =>
            {
                last.span.until_ns = last.span.until_ns.max(mark.span.until_ns);
                *more += 1;
            }
            _ => all.push((mark, 0)),
        }
    }
    let mut all: Vec<Mark> = all
        .into_iter()
        .map(|(mut mark, more)| {
            if more > 0 {
                mark.text = format!("{} (and {more} more)", mark.text);
            }
            mark
        })
        .collect();
    all.sort_by_key(|mark| (mark.span, mark.kind));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: Kind, subject: &str, from_ns: i64, until_ns: i64) -> Mark {
        let text = format!("{subject} {from_ns}");
        Mark { kind, span: Span::new(from_ns, until_ns), subject: subject.to_owned(), text }
    }

    #[test]
    fn what_no_screen_could_show_apart_is_one() {
        let marks = vec![
            mark(Kind::Outage, "mcr", 100, 110),
            mark(Kind::Outage, "acr", 100, 110),
            mark(Kind::Outage, "mcr", 115, 120),
            mark(Kind::Outage, "mcr", 400, 410),
            mark(Kind::OomKill, "mcr", 121, 121),
        ];
        let told: Vec<_> =
            joined(marks, 10).into_iter().map(|mark| (mark.text, mark.span.until_ns)).collect();
        assert_eq!(
            told,
            [
                ("acr 100".to_owned(), 110),
                ("mcr 100 (and 1 more)".to_owned(), 120),
                ("mcr 121".to_owned(), 121),
                ("mcr 400".to_owned(), 410),
            ]
        );
    }
}
