//! The times around findings.

use anyhow::{Result, ensure};
use periscope_store::bundle::Bundle;
use periscope_store::time::parse_rfc3339;
use serde_json::Value;

use super::select::Span;
use crate::diagnose::library;
use crate::diagnose::run::Limits;
use crate::report;

/// What is shown before and after a finding.
const MARGIN_NS: i64 = 5 * 60 * 1_000_000_000;

/// Digits of a fingerprint that say which finding is meant.
const FEWEST_DIGITS: usize = 6;

/// Columns of evidence that say when something ended.
const ENDS: [&str; 4] = ["ended_by", "ended_after", "until", "last"];

/// Times of the findings that `name` means, each with its margins, within `whole`,
/// those that touch as one.
///
/// # Errors
///
/// If there is no such finding, or none that has a time.
pub(super) fn around(bundle: &mut Bundle, name: &str, whole: Span) -> Result<Vec<Span>> {
    let all = library::choose(library::load(&[])?, &[], &[])?;
    let ours: Vec<_> = all.iter().filter(|d| is_of(name, &d.id)).cloned().collect();
    // A bare fingerprint may be of any of them.
    let asked = if ours.is_empty() { all } else { ours };
    let report = report::value(&report::gather(bundle, asked, Limits::default())?)?;
    let findings: Vec<&Value> =
        report["findings"].as_array().into_iter().flatten().filter(|f| is_meant(name, f)).collect();
    ensure!(
        !findings.is_empty(),
        "there is no finding {name}\nhint: report BUNDLE --format json shows their fingerprints"
    );
    let mut spans: Vec<Span> = findings
        .iter()
        .filter_map(|finding| span(finding))
        .map(|span| span.within(whole))
        .collect();
    ensure!(!spans.is_empty(), "no finding of {name} says when it was");
    spans.retain(|span| span.from_ns <= span.until_ns);
    spans.sort_by_key(|span| span.from_ns);
    Ok(united(&spans))
}

/// Whether a name may mean a finding of this diagnostic.
fn is_of(name: &str, diagnostic: &str) -> bool {
    name == diagnostic
        || name
            .strip_prefix(diagnostic)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(is_fingerprint)
}

fn is_fingerprint(text: &str) -> bool {
    text.len() >= FEWEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_meant(name: &str, finding: &Value) -> bool {
    let text = |key: &str| finding[key].as_str().unwrap_or_default();
    let digits = name.strip_prefix(text("diagnostic")).and_then(|rest| rest.strip_prefix('-'));
    name == text("diagnostic")
        || [Some(name), digits].into_iter().flatten().any(|digits| {
            is_fingerprint(digits) && text("fingerprint").starts_with(&digits.to_ascii_lowercase())
        })
}

/// When a finding was, with its margins; `None` if it does not say.
fn span(finding: &Value) -> Option<Span> {
    let from_ns = parse_rfc3339(finding["ts"].as_str()?)?;
    let evidence = &finding["evidence"];
    let ends = ENDS.iter().filter_map(|key| parse_rfc3339(evidence[*key].as_str()?));
    let until_ns = ends.fold(from_ns, i64::max);
    Some(Span {
        from_ns: from_ns.saturating_sub(MARGIN_NS),
        until_ns: until_ns.saturating_add(MARGIN_NS),
    })
}

/// Spans of which none touches another; sorted ones are expected.
fn united(spans: &[Span]) -> Vec<Span> {
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.from_ns <= last.until_ns.saturating_add(1) => {
                last.until_ns = last.until_ns.max(span.until_ns);
            }
            _ => all.push(*span),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finding_is_named_by_diagnostic_id_or_fingerprint() {
        let finding = json!({"diagnostic": "dns-timeouts", "fingerprint": "0123456789abcdef"});
        for name in ["dns-timeouts", "dns-timeouts-01234567", "012345", "0123456789ABCDEF"] {
            assert!(is_meant(name, &finding), "{name}");
        }
        for name in ["dns", "dns-timeouts-11234567", "0123", "dns-timeouts-", "112345"] {
            assert!(!is_meant(name, &finding), "{name}");
        }
        assert!(is_of("crash-loop-0123456", "crash-loop"));
        assert!(!is_of("crash-loop-0123456", "crash"));
    }

    #[test]
    fn windows_that_touch_are_one() {
        let spans = [(0, 10), (5, 7), (11, 20), (22, 30)];
        let spans = spans.map(|(from_ns, until_ns)| Span { from_ns, until_ns });
        let united: Vec<_> = united(&spans).iter().map(|s| (s.from_ns, s.until_ns)).collect();
        assert_eq!(united, [(0, 20), (22, 30)]);
    }

    #[test]
    fn a_window_goes_to_the_end_of_what_was_found() {
        let finding = json!({"ts": "2026-11-22T12:10:00Z", "evidence":
            {"until": "2026-11-22T12:20:00Z", "ended_by": null}});
        let found = span(&finding).expect("a span");
        assert_eq!(found.until_ns - found.from_ns, 20 * 60 * 1_000_000_000);
        assert!(span(&json!({"ts": null})).is_none());
    }
}
