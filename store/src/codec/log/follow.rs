//! Splits a message along a template that it probably has.
//!
//! Logs repeat themselves: most messages have the template that followed the one
//! before them the last time, or the last one that began alike. Comparing with it
//! costs a fraction of finding variables anew. What fits prints the message again, and
//! but for odd cases it is what [`split`](super::split) would have found.

use super::scan::is_token;
use super::split::{MAX_QUOTED, MAX_VALUES, Values, parse_float, parse_integer, parse_number};
use super::stamp::{self, Calendar, KLOG_LENGTH};
use super::template::next_special;
use super::{CLOCK, FLOAT, INTEGER, ISO, KLOG, MAX_SPLIT_BYTES, SPECIAL, STRING};

/// A slot of a template, and the text before it.
#[derive(Clone, Copy, Debug)]
struct Step {
    text_start: u32,
    text_end: u32,
    placeholder: u8,
    spelling: u8,
}

/// How to follow a template.
#[derive(Debug)]
pub(super) struct Path {
    steps: Vec<Step>,
    tail_start: u32,
}

impl Path {
    /// The path along a template.
    pub(super) fn new(template: &[u8]) -> Self {
        let mut steps = Vec::new();
        let mut text_start = 0;
        loop {
            let place = next_special(template, text_start);
            let Some(&placeholder) = template.get(place) else { break };
            let spelling = match placeholder {
                ISO | CLOCK => template.get(place + 1).copied().unwrap_or_default(),
                _ => 0,
            };
            steps.push(Step {
                text_start: text_start as u32,
                text_end: place as u32,
                placeholder,
                spelling,
            });
            text_start = place + 1 + usize::from(spelling != 0);
        }
        Self { steps, tail_start: text_start as u32 }
    }

    /// Splits a message that has this template into the end of `values`. If it does
    /// not, it may leave strings behind that no value names, and tells so. `latest`
    /// is where another message of the template has its values.
    pub(super) fn follow(
        &self,
        template: &[u8],
        ts_ns: i64,
        message: &[u8],
        calendar: &mut Calendar,
        values: &mut Values,
        latest: usize,
    ) -> bool {
        let first = values.list.len();
        let fits = message.len() <= MAX_SPLIT_BYTES
            && first + self.steps.len() <= MAX_VALUES
            && self.walk(template, ts_ns, message, calendar, values, latest).is_some();
        if !fits {
            values.list.truncate(first);
        }
        fits
    }

    fn walk(
        &self,
        template: &[u8],
        ts_ns: i64,
        message: &[u8],
        calendar: &mut Calendar,
        values: &mut Values,
        latest: usize,
    ) -> Option<()> {
        let mut rest = message;
        for (slot, step) in self.steps.iter().enumerate() {
            let text = &template[step.text_start as usize..step.text_end as usize];
            rest = rest.strip_prefix(text)?;
            let spelled = |(value, spelling, length): stamp::Found| {
                (spelling.to_byte() == step.spelling).then_some((value, length))
            };
            let (value, length) = match step.placeholder {
                INTEGER => parse_integer(rest)?,
                FLOAT => parse_float(rest)?,
                KLOG => (calendar.klog(rest, ts_ns)?, KLOG_LENGTH),
                ISO => calendar.iso(rest, ts_ns).and_then(spelled)?,
                CLOCK => stamp::clock(rest, ts_ns).and_then(spelled)?,
                STRING => {
                    let after = template.get(step.text_end as usize + 1).copied();
                    string(rest, text.last().copied(), after, values, latest + slot)?
                }
                _ => return None,
            };
            values.list.push(value);
            rest = &rest[length..];
        }
        (rest == &template[self.tail_start as usize..]).then_some(())
    }
}

/// The string at the start of `rest`, most likely the one that the value at
/// `latest` names, and its length. `before` and `after` are the bytes around the
/// slot.
#[inline]
fn string(
    rest: &[u8],
    before: Option<u8>,
    after: Option<u8>,
    values: &mut Values,
    latest: usize,
) -> Option<(i64, usize)> {
    let known = values.list.get(latest).copied()?;
    let text = values.strings.get(usize::try_from(known).ok()?);
    if rest.starts_with(text) && rest.get(text.len()).copied() == after {
        return Some((known, text.len()));
    }
    let length = if before == Some(b'"') && after == before {
        quoted_length(rest)?
    } else {
        token_length(rest, before == Some(b'='))?
    };
    Some((i64::from(values.strings.intern(&rest[..length])), length))
}

/// Length of a quoted run without blanks.
fn quoted_length(rest: &[u8]) -> Option<usize> {
    let is_end = |byte: &u8| matches!(byte, b'"' | b' ' | b'\\') || *byte >= SPECIAL;
    let length = rest.iter().take(MAX_QUOTED - 1).position(is_end)?;
    (rest[length] == b'"').then_some(length)
}

/// Length of a token that is a variable and neither a number nor a time.
fn token_length(rest: &[u8], is_assigned: bool) -> Option<usize> {
    let end = rest.iter().position(|byte| !is_token(*byte)).unwrap_or(rest.len());
    let last = rest[..end].iter().rposition(|byte| !matches!(byte, b'.' | b'-'))?;
    let token = &rest[..=last];
    if token[0].is_ascii_digit() {
        let is_time = rest.get(end) == Some(&b':') || token.get(4) == Some(&b'-');
        if is_time || parse_number(token).is_some() {
            return None;
        }
    } else if !is_assigned && !token.iter().any(u8::is_ascii_digit) {
        return None;
    }
    Some(token.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LogColumns;
    use super::super::split::Splitter;
    use super::*;
    use crate::codec::{Declared, LIVE_LEVEL, decode_logs, encode_logs};

    /// 2026-11-22T12:28:03Z
    const ROW: i64 = 1_795_350_483_000_000_000;

    /// Whether the second message fits the template of the first one; if it does,
    /// both ways of splitting must find the same in it.
    fn fits(first: &str, second: &str) -> bool {
        let (mut splitter, mut values) = (Splitter::default(), Values::default());
        splitter.split(ROW, first.as_bytes(), &mut values, 0);
        let template = std::mem::take(&mut splitter.template);
        let start = values.list.len();
        let followed = Path::new(&template).follow(
            &template,
            ROW,
            second.as_bytes(),
            &mut splitter.calendar,
            &mut values,
            0,
        );
        let found = values.list.split_off(start);
        splitter.split(ROW, second.as_bytes(), &mut values, 0);
        if followed {
            assert_eq!(
                splitter.template.escape_ascii().to_string(),
                template.escape_ascii().to_string()
            );
            assert_eq!(found, values.list[start..]);
        } else {
            assert!(found.is_empty());
        }
        followed
    }

    #[test]
    fn other_values_fit() {
        for (first, second) in [
            ("no variable here", "no variable here"),
            ("I1122 12:28:03.000007 1 a.go:7] n=1", "I1122 12:28:04.000009 22 a.go:7] n=300"),
            ("took 1.5ms at 2026-11-22T12:28:03Z", "took 0.25ms at 2026-11-22T12:28:09Z"),
            ("pod web-7f9c4. done", "pod web-1a. done"),
            ("level=info at=main", "level=warn at=other"),
            (r#"{"a":"x1","b":"same"}"#, r#"{"a":"y","b":"same"}"#),
            ("12:28:03,5 up", "23:59:59,1 up"),
        ] {
            assert!(fits(first, second), "{second}");
        }
    }

    #[test]
    fn other_sentences_do_not_fit() {
        for (first, second) in [
            ("took 1ms", "took 1.5ms"),
            ("took 15 ms", "took 1.5 ms"),
            ("n 5 of", "n 05 of"),
            ("pod web-1 is", "pod web is"),
            ("pod web-1 is", "pod 17 is"),
            ("pod web-1 is", "pod 12:28:03 is"),
            ("at 12:28:03.5", "at 12:28:03.55"),
            ("at 12:28:03", "at 12:28:03 or so"),
            (r#""abc""#, r#""two words""#),
            ("n 5", "n 1234567890123456789"),
        ] {
            assert!(!fits(first, second), "{second}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_comes_back(
            words in prop::collection::vec(
                (prop::sample::select(vec![
                    "took ", "n=", "\"a\":", "\"", " ", ":", "at ", "-", ".", "=", "x", "I", "\\", "ä",
                ]), "[0-9]{0,3}|[0-9]{1,2}[.][0-9]{1,3}|[a-c0-9.-]{0,5}|12:28:0[0-9]([.,][0-9]{0,3})?|2026-11-2[0-9][T ]12:28:03"),
                1..6,
            ),
            others in prop::collection::vec("[0-9]{0,3}|[0-9]{1,2}[.][0-9]{1,3}|[a-c0-9.-]{0,5}|12:28:0[0-9]|2026-11-22[T ]12:28:03", 6),
            changed in 0..64_usize,
        ) {
            let (mut first, mut second) = (String::new(), String::new());
            for (at, ((word, value), other)) in words.iter().zip(&others).enumerate() {
                let other = if changed >> at & 1 == 1 { other } else { value };
                first.extend([*word, value.as_str()]);
                second.extend([*word, other.as_str()]);
            }
            let mut columns = LogColumns::default();
            for message in [&first, &first, &second, &first, &second] {
                columns.push(ROW, 0, message.as_bytes());
            }
            let encoded = encode_logs(&columns, LIVE_LEVEL).expect("small");
            let declared =
                Declared { codec: encoded.codec, row_count: 5, raw_bytes: encoded.raw_bytes };
            prop_assert_eq!(decode_logs(declared, &encoded.data).expect("ours"), columns);
        }
    }
}
