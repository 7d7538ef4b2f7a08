//! Kubernetes bootstrap tokens: six characters, a dot, sixteen characters.
//!
//! The shape is common, so it must be a mix of digits and letters, or the word
//! `token` must stand before it. Names of events have the shape too:
//! `worker.17a9f0c2b3d4e5f6` is an object and a time.

use super::Secret;
use super::value::{contains_ignoring_case, follows_escape, is_name};

/// How far before a token the word `token` still speaks of it.
const CONTEXT_BYTES: usize = 48;

/// The first bootstrap token.
pub(super) fn find(text: &[u8]) -> Option<Secret> {
    memchr::memchr_iter(b'.', text).find_map(|dot| {
        let start = dot.checked_sub(6)?;
        is_token(text, start).then_some(Secret { rule: "bootstrap-token", range: start..dot + 17 })
    })
}

fn is_token(text: &[u8], start: usize) -> bool {
    let Some(token) = text.get(start..start + 23) else { return false };
    let (id, secret) = (&token[..6], &token[7..]);
    let alike = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    if !alike(&secret[15]) || !id.iter().chain(secret).all(alike) {
        return false;
    }
    if !starts_word(text, start) || !ends_word(&text[start + 23..]) {
        return false;
    }
    let before = &text[start.saturating_sub(CONTEXT_BYTES)..start];
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    // The names of rules in masks are not what the text says.
    let mask = memchr::memmem::rfind(line, "›".as_bytes()).unwrap_or_default();
    let line = &line[mask..];
    if contains_ignoring_case(line, b"token") {
        return true;
    }
    let mixed = secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_lowercase);
    mixed && !line.ends_with(b"/") && !(is_event_time(secret) && names_object(line))
}

fn starts_word(text: &[u8], at: usize) -> bool {
    at == 0 || !is_name(text[at - 1]) || follows_escape(text, at)
}

/// Whether a word ends before `rest`; the dot of a sentence ends it too.
fn ends_word(rest: &[u8]) -> bool {
    match rest {
        [b'.'] | [] => true,
        [b'.', next, ..] => !next.is_ascii_alphanumeric(),
        [next, ..] => !is_name(*next),
    }
}

/// Nanoseconds since 1970 in hexadecimal, between the years 2016 and 2043.
fn is_event_time(secret: &[u8]) -> bool {
    secret[0] == b'1'
        && matches!(secret[1], b'4'..=b'9' | b'a'..=b'f')
        && secret.iter().all(u8::is_ascii_hexdigit)
}

/// Whether the text before says that a name of an object comes.
fn names_object(line: &[u8]) -> bool {
    let near = &line[line.len().saturating_sub(10)..];
    contains_ignoring_case(near, b"name") || contains_ignoring_case(near, b"event")
}
