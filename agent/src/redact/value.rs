//! Where a name and a value begin and end, in logfmt, JSON, query strings and
//! plain text.
//!
//! JSON inside JSON is common in logs: every level doubles the backslashes
//! before a quotation mark, so their number tells the level, and a value ends
//! at the first mark of its own level or of one further out. What is masked so
//! leaves valid JSON valid.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Bytes before a word that can belong to the same name.
const NAME_BYTES: usize = 64;

/// Bytes of a value that are enough to judge it by.
pub(super) const NEAR_BYTES: usize = 512;

/// Longest value that is looked at for being a placeholder or an address.
const PLACEHOLDER_BYTES: usize = 64;

/// Whether a byte can be part of a name such as `client_secret`.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Start of the name whose end the word at `word` is, at most 64 bytes before.
pub(super) fn name_start(text: &[u8], word: usize) -> usize {
    let before = &text[word.saturating_sub(NAME_BYTES)..word];
    let start = word - before.iter().rev().take_while(|byte| is_name(**byte)).count();
    // The first letters can belong to an escape: \npassword, \u0026sig, %26sig.
    let escaped = [1, 2, 5].into_iter().map(|width| start + width);
    let escaped = escaped.filter(|at| *at <= word && escape_start(text, *at) < start);
    escaped.max().unwrap_or(start)
}

/// Whether the character before `at` is the end of an escape such as `\n`,
/// `\u0026` or `%26`, so that a word can begin here.
pub(super) fn follows_escape(text: &[u8], at: usize) -> bool {
    escape_start(text, at) < at
}

/// Where the escape that ends at `at` starts; `at` if none does.
fn escape_start(text: &[u8], at: usize) -> usize {
    match &text[at.saturating_sub(6)..at] {
        [b'\\', b'u', digits @ ..] if is_hex(digits, 4) => at - 6,
        [.., b'%', a, b] if is_hex(&[*a, *b], 2) => at - 3,
        [.., b'\\', b'n' | b'r' | b't'] => at - 2,
        _ => at,
    }
}

fn is_hex(digits: &[u8], count: usize) -> bool {
    digits.len() == count && digits.iter().all(u8::is_ascii_hexdigit)
}

/// End of the blanks that start at `at`.
pub(super) fn skip_blanks(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// A quotation mark, with the backslashes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    mark: u8,
    level: u32,
    /// End of the mark.
    pub(super) end: usize,
}

/// The quotation mark at `at`, behind any number of backslashes.
pub(super) fn quote_at(text: &[u8], at: usize) -> Option<Quote> {
    let slashes = backslashes(text, at);
    let mark = *text.get(at + slashes)?;
    matches!(mark, b'"' | b'\'' | b'`').then(|| Quote {
        mark,
        level: slashes.trailing_ones(),
        end: at + slashes + 1,
    })
}

/// Where a value begins, and what ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Its first byte, behind the quotation mark.
    pub(super) start: usize,
    /// The mark that opened it, if one did.
    pub(super) quote: Option<Quote>,
    /// Whether it stands in a URL in a query string, where `%26` separates.
    pub(super) encoded: bool,
}

impl Extent {
    /// A value without quotation marks.
    pub(super) fn bare(start: usize) -> Self {
        Self { start, quote: None, encoded: false }
    }

    /// The value as far as it is looked at to judge it. A value is read to its
    /// end only if it is a secret, so that no text is read over and over.
    pub(super) fn near(self, text: &[u8]) -> &[u8] {
        let text = &text[..text.len().min(self.start + NEAR_BYTES)];
        &text[self.range(text)]
    }

    /// The whole value.
    pub(super) fn range(self, text: &[u8]) -> Range<usize> {
        let end = match self.quote {
            Some(quote) => quoted_end(text, self.start, quote),
            None => bare_end(text, self.start, self.encoded),
        };
        self.start..end
    }
}

/// End of what a quotation mark opens: where the closing one begins, backslashes
/// included, or the end of the line.
fn quoted_end(text: &[u8], start: usize, quote: Quote) -> usize {
    let mut slashes = 0_usize;
    for (at, byte) in text.iter().enumerate().skip(start) {
        let level = slashes.trailing_ones();
        match *byte {
            b'\\' => {
                slashes += 1;
                continue;
            }
            b'\n' => return at,
            mark if mark == quote.mark && level <= quote.level => {
                return at - ((1 << level) - 1);
            }
            // The end of a JSON string around a mark that has no end of its own.
            b'"' if quote.mark != b'"' && level == 0 && ends_json_string(text, at + 1) => {
                return at;
            }
            _ => {}
        }
        slashes = 0;
    }
    text.len()
}

fn ends_json_string(text: &[u8], at: usize) -> bool {
    matches!(text.get(at), None | Some(b',' | b'}' | b']'))
}

/// End of a value without quotation marks that starts at `at`.
///
/// A comma, semicolon or ampersand ends it only if it separates it from
/// something: passwords may hold them.
fn bare_end(text: &[u8], start: usize, encoded: bool) -> usize {
    let mut at = start;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' | b'\'' | b'`' | b'<' | b'|' | 0..=b' ' => break,
            b',' | b';' | b'&' if separates(text, at + 1) => break,
            b'%' if encoded && text[at..].starts_with(b"%26") => break,
            b'\\' => match escape_width(text, at) {
                Some(width) => at += width,
                None => break,
            },
            _ => at += 1,
        }
    }
    let value = &text[start..at];
    let is_closer = |byte: &&u8| match byte {
        b')' => !value.contains(&b'('),
        b']' => !value.contains(&b'['),
        b'}' => !value.contains(&b'{'),
        byte => b",;&.>".contains(byte),
    };
    at - value.iter().rev().take_while(is_closer).count()
}

/// Whether a new name, or nothing more of the value, begins at `at`.
fn separates(text: &[u8], at: usize) -> bool {
    let rest = &text[at..];
    let name = rest.iter().take(NAME_BYTES).take_while(|byte| is_name(**byte)).count();
    match rest.get(name) {
        Some(b'=' | b':') => name > 0,
        Some(b'"' | b'\'' | b'`' | b'\\' | b',' | b';' | b'&' | 0..=b' ') | None => name == 0,
        Some(_) => false,
    }
}

/// Width of the escape at `at` that belongs to a value; `None` if it ends the
/// value, as a newline or a quotation mark does.
fn escape_width(text: &[u8], at: usize) -> Option<usize> {
    let slashes = backslashes(text, at);
    match &text[at + slashes..] {
        [b'"' | b'\'' | b'`' | b'n' | b'r' | b't', ..] => None,
        [b'u', b'0', b'0', digits @ ..] if digits.len() >= 2 => {
            let width = slashes + 5;
            match digits[..2].to_ascii_lowercase().as_slice() {
                // & < > " ' and the newlines
                b"3c" | b"3e" | b"22" | b"27" | b"0a" | b"0d" => None,
                b"26" if separates(text, at + width) => None,
                _ => Some(width),
            }
        }
        [] | [0..=b' ', ..] => Some(slashes),
        [_, ..] => Some(slashes + 1),
    }
}

fn backslashes(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| **byte == b'\\').count()
}

/// Width of the mask at the start of a text, `‹rule:3fa9c2›` or `‹rule›`; 0 if
/// none stands there. A value that starts with one was a secret and is none any
/// more.
pub(super) fn mask_width(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix("‹".as_bytes()) else { return 0 };
    let is_rule = |byte: &&u8| byte.is_ascii_lowercase() || **byte == b'-';
    let rule = rest.iter().take(NAME_BYTES).take_while(is_rule).count();
    let hash = match &rest[rule..] {
        [b':', digits @ ..] if digits.len() > 6 && is_hex(&digits[..6], 6) => 7,
        _ => 0,
    };
    let width = rule + hash;
    if rule > 0 && rest[width..].starts_with("›".as_bytes()) { width + 6 } else { 0 }
}

/// Whether a part of a text touches a mask that stands there.
pub(super) fn mask_at(text: &[u8], part: &Range<usize>) -> bool {
    const MASK_BYTES: usize = NAME_BYTES + 16;
    let from = part.start.saturating_sub(MASK_BYTES);
    memchr::memmem::find_iter(&text[from..part.end], "‹".as_bytes()).any(|at| {
        let width = mask_width(&text[from + at..]);
        width > 0 && from + at + width > part.start
    })
}

/// Whether a mask stands anywhere in a text.
pub(super) fn holds_mask(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, "‹".as_bytes()).any(|at| mask_width(&text[at..]) > 0)
}

/// Whether a value in the place of a secret is none: too short, masked, a
/// placeholder, or an address.
pub(super) fn is_no_secret(value: &[u8]) -> bool {
    if value.len() < 4 || mask_width(value) > 0 {
        return true;
    }
    if value.len() > PLACEHOLDER_BYTES {
        return false;
    }
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let same = value.bytes().all(|byte| byte == value.as_bytes()[0]);
    same && value.starts_with(['*', 'x', 'X', '.', '-', '#', '_'])
        || is_placeholder(value)
        || is_address(value)
}

/// What stands where a secret was, or where none is.
const PLACEHOLDERS: [&str; 10] = [
    "null",
    "none",
    "nil",
    "true",
    "false",
    "undefined",
    "redacted",
    "hidden",
    "masked",
    "omitted",
];

fn is_placeholder(value: &str) -> bool {
    let word = value.trim_matches(|c: char| "<>[](){}*-_ ".contains(c));
    let is_variable = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    let inside = |open: &str, close: &str| {
        value
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|name| is_variable(name.trim()))
    };
    PLACEHOLDERS.iter().any(|known| known.eq_ignore_ascii_case(word))
        || inside("$(", ")")
        || inside("${", "}")
        || inside("{{", "}}")
        || inside("<", ">")
        || value
            .strip_prefix('$')
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// Whether a text is an IP address, with or without a port or a prefix length.
fn is_address(value: &str) -> bool {
    let host = value.rsplit_once('/').map_or(value, |(host, _)| host);
    host.parse::<IpAddr>().is_ok() || host.parse::<SocketAddr>().is_ok()
}

/// Whether a value looks drawn by lot rather than written by a person.
pub(super) fn looks_random(value: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let lower = has(u8::is_ascii_lowercase);
    let upper = has(u8::is_ascii_uppercase);
    (value.len() >= 6 && has(u8::is_ascii_digit) && (lower || upper))
        || (value.len() >= 20 && lower && upper)
}

/// Whether a text holds a lower-case word in any case.
pub(super) fn contains_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Whether a text starts with a word in any case.
pub(super) fn starts_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
}
