//! What a condition on a text asks for, and the literal that all texts it holds
//! for have in common: what a search inside chunks can look for.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};
use rusqlite::types::ValueRef;

use crate::codec::Needle;

/// Memory that one compiled regular expression may take, and as much again for
/// its cache.
const REGEX_BYTES: usize = 1 << 20;

/// Longest pattern of which LIKE and GLOB are owned: SQLite refuses patterns
/// beyond a limit, which it can only do if it sees them.
const MAX_OWNED: usize = 1 << 10;

/// A condition on a text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Text that no row can match without, `None` if there is no such text.
    pub(crate) needle: Option<Needle>,
    /// The bytes of the needle, for skip filters.
    pub(crate) literal: Vec<u8>,
    /// What has to be looked at where the needle is.
    pub(crate) check: Check,
}

/// What is left to find out about a text that contains the needle.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    /// Nothing, or SQLite does it.
    Nothing,
    /// That the needle is before the first NUL, where LIKE and GLOB stop reading.
    BeforeNul,
    /// That the expression matches.
    Regex(Regex),
}

impl Pattern {
    /// `message MATCH text`: contains it, ASCII letters of either case.
    pub(crate) fn matching(text: &[u8]) -> Self {
        Self::literal(text, true, Check::Nothing)
    }

    /// `message LIKE pattern`; SQLite checks again unless it is owned.
    pub(crate) fn like(pattern: &[u8], owned: bool) -> Self {
        let check = if owned { Check::BeforeNul } else { Check::Nothing };
        Self::literal(longest_run(like_runs(until_nul(pattern))), true, check)
    }

    /// `message GLOB pattern`; SQLite checks again unless it is owned.
    pub(crate) fn glob(pattern: &[u8], owned: bool) -> Self {
        let check = if owned { Check::BeforeNul } else { Check::Nothing };
        Self::literal(longest_run(glob_runs(until_nul(pattern))), false, check)
    }

    /// `message REGEXP pattern`.
    pub(crate) fn regexp(pattern: &[u8]) -> Result<Self, String> {
        let regex = compile(pattern)?;
        let (literal, fold_case) = required_literal(regex.as_str());
        Ok(Self::literal(&literal, fold_case, Check::Regex(regex)))
    }

    fn literal(text: &[u8], fold_case: bool, check: Check) -> Self {
        let needle = (!text.is_empty()).then(|| Needle::new(text, fold_case));
        Self { needle, literal: text.to_vec(), check }
    }
}

/// Whether a LIKE with this pattern holds exactly for the texts that contain
/// its literal, up to a NUL.
pub(crate) fn is_plain_like(pattern: &[u8]) -> bool {
    is_plain(pattern, b'%', b"%_")
}

/// The same for GLOB.
pub(crate) fn is_plain_glob(pattern: &[u8]) -> bool {
    is_plain(pattern, b'*', b"*?[")
}

fn is_plain(pattern: &[u8], any: u8, special: &[u8]) -> bool {
    let [first, literal @ .., last] = pattern else { return false };
    *first == any
        && *last == any
        && !literal.is_empty()
        && pattern.len() <= MAX_OWNED
        && literal.iter().all(|byte| byte.is_ascii() && *byte != 0 && !special.contains(byte))
}

/// A regular expression, with a bound on the memory that it takes.
///
/// # Errors
///
/// If it is none, or would take more.
pub fn compile(pattern: &[u8]) -> Result<Regex, String> {
    let pattern = std::str::from_utf8(pattern)
        .map_err(|_| "the regular expression is not UTF-8".to_owned())?;
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .build()
        .map_err(|error| error.to_string())
}

/// Text of a value, as SQL operators on texts see it; `None` for NULL.
pub(crate) fn text_of(value: ValueRef<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
    }
}

fn until_nul(pattern: &[u8]) -> &[u8] {
    pattern.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Longest part that is ASCII. SQLite compares characters, not bytes: in text
/// that is no UTF-8, two spellings can be the same character to it.
fn longest_run<'a>(runs: impl Iterator<Item = &'a [u8]>) -> &'a [u8] {
    let ascii = runs.flat_map(|run| run.split(|byte| !byte.is_ascii()));
    ascii.max_by_key(|run| run.len()).unwrap_or_default()
}

fn like_runs(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    pattern.split(|byte| matches!(byte, b'%' | b'_'))
}

fn glob_runs(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| b"*?[".contains(byte)).unwrap_or(rest.len());
        let (run, special) = rest.split_at(end);
        rest = match special {
            [b'[', set @ ..] => after_set(set),
            [_, after @ ..] => after,
            [] => special,
        };
        Some(run)
    })
}

/// What follows the set of characters that a `[` began.
fn after_set(set: &[u8]) -> &[u8] {
    // A ] that comes first is a member.
    let first = usize::from(set.first() == Some(&b'^'));
    let first = first + usize::from(set.get(first) == Some(&b']'));
    let end = set.iter().skip(first).position(|byte| *byte == b']');
    end.map_or(&[], |at| &set[first + at + 1..])
}

/// Text that every match of an expression contains, and whether its letters may
/// be of either case. Empty if there is none.
fn required_literal(pattern: &str) -> (Vec<u8>, bool) {
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
    let mut runs = Runs::default();
    if let Ok(hir) = &parsed {
        runs.walk(hir);
    }
    runs.cut();
    (runs.best, runs.best_folds)
}

/// Literals met on the way through an expression.
#[derive(Default)]
struct Runs {
    /// Bytes that follow one another in every match.
    run: Vec<u8>,
    folds: bool,
    best: Vec<u8>,
    best_folds: bool,
}

impl Runs {
    fn walk(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.run.extend_from_slice(&literal.0),
            HirKind::Class(class) => match either_case(class) {
                Some(letter) => {
                    self.run.push(letter);
                    self.folds = true;
                }
                None => self.cut(),
            },
            HirKind::Capture(capture) => self.walk(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.walk(part)),
            HirKind::Repetition(repetition) => {
                self.cut();
                if repetition.min > 0 {
                    self.walk(&repetition.sub);
                    self.cut();
                }
            }
            HirKind::Alternation(_) => self.cut(),
        }
    }

    /// Ends the run: what comes next need not follow it.
    fn cut(&mut self) {
        let run = std::mem::take(&mut self.run);
        let folds = std::mem::take(&mut self.folds);
        if run.len() > self.best.len() {
            (self.best, self.best_folds) = (run, folds);
        }
    }
}

/// The letter of a class that is one letter in both cases.
fn either_case(class: &Class) -> Option<u8> {
    let mut letters = [0; 2];
    let mut count = 0;
    let mut add = |start: u32, end: u32| {
        for code in start..=end.min(start.saturating_add(2)) {
            if let Some(place) = letters.get_mut(count) {
                *place = u8::try_from(code).unwrap_or_default();
            }
            count += 1;
        }
    };
    match class {
        Class::Unicode(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
        Class::Bytes(class) => {
            class.iter().for_each(|range| add(range.start().into(), range.end().into()));
        }
    }
    let [upper, lower] = letters;
    (count == 2 && upper.is_ascii_uppercase() && lower == upper.to_ascii_lowercase())
        .then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_like_needs_its_longest_run() {
        let check = |pattern: &str, expected: &str| {
            let pattern = Pattern::like(pattern.as_bytes(), false);
            assert_eq!(String::from_utf8_lossy(&pattern.literal), expected);
            assert_eq!(pattern.needle.is_some(), !expected.is_empty());
        };
        check("%deadline exceeded%", "deadline exceeded");
        check("%dead_ine%exceed%", "exceed");
        check("_%", "");
        check("", "");
        check("%größe%", "gr");
        check("short\0longer than it", "short");
    }

    #[test]
    fn a_glob_needs_its_longest_run() {
        let check = |pattern: &str, expected: &str| {
            let pattern = Pattern::glob(pattern.as_bytes(), false);
            assert_eq!(String::from_utf8_lossy(&pattern.literal), expected);
        };
        check("*Deadline*", "Deadline");
        check("a?bcd*[0-9]efgh", "efgh");
        check("ab[]longer]c", "ab");
        check("ab[^]longer]cde", "cde");
        check("ab[never closed", "ab");
        check("ab[", "ab");
    }

    #[test]
    fn only_a_literal_between_wildcards_is_owned() {
        for (pattern, expected) in [
            ("%a%", true),
            ("%a_b%", false),
            ("%a%b%", false),
            ("a%", false),
            ("%a", false),
            ("%%", false),
            ("%", false),
            ("%ä%", false),
            ("%a\0b%", false),
            ("%a[*?b%", true),
        ] {
            assert_eq!(is_plain_like(pattern.as_bytes()), expected, "{pattern}");
        }
        assert!(is_plain_glob(b"*a%_b*"));
        assert!(!is_plain_glob(b"*a[b*"));
        assert!(!is_plain_like(&[b'%'; 3000]));
    }

    #[test]
    fn an_expression_needs_what_all_its_matches_have() {
        let check = |pattern: &str, expected: &str, folds: bool| {
            let (literal, fold_case) = required_literal(pattern);
            assert_eq!(String::from_utf8_lossy(&literal), expected, "{pattern}");
            assert_eq!(fold_case, folds, "{pattern}");
        };
        check("timeout", "timeout", false);
        check("(?i)timeout", "timeout", true);
        check(r"^dial \d+: (i/o) timeout$", ": i/o timeout", false);
        check("connection (refused|reset)", "connection ", false);
        check("(refused|timeout)", "", false);
        check("ab(longer)?c", "ab", false);
        check("ab(longer)+c", "longer", false);
        check("x{3}", "x", false);
        check("[Tt]imeout", "timeout", true);
        check("(?i)sky", "y", true);
        check(r"\bword\b", "word", false);
        check(r"(?-u)\xff\xfe", "\u{fffd}\u{fffd}", false);
    }

    #[test]
    fn an_expression_is_bounded() {
        assert!(compile(br"\w{1000}{1000}").is_err());
        assert!(compile(b"(").is_err());
        assert!(compile(b"\xff").is_err());
    }
}
