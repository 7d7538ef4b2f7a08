//! Private keys in PEM, plain or in base64 once more.

use std::ops::Range;

use super::Secret;
use super::value::mask_width;

/// Prose about keys has no word of this length, and keys have no line without.
const KEY_WORD_BYTES: usize = 16;

/// What follows `-----BEGIN … PRIVATE KEY-----`, up to its end or to what cannot
/// belong to it. `word` is the word `KEY`.
pub(super) fn plain(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let head = &text[word.start.saturating_sub(32)..word.start];
    let begins = head.windows(6).rposition(|part| part == b"BEGIN ");
    let ends = head.windows(4).rposition(|part| part == b"END ");
    let rest = &text[word.end..];
    let marker = [&b"-----"[..], b" BLOCK-----"].into_iter().find(|m| rest.starts_with(m))?;
    if begins.is_none() || ends > begins {
        return None;
    }
    let mut at = word.end + marker.len();
    let mut body: Option<Range<usize>> = None;
    let mut longest = 0;
    loop {
        at += blanks(&text[at..]);
        let width = key_word(&text[at..]);
        if width == 0 {
            break;
        }
        longest = longest.max(width);
        body = Some(body.map_or(at, |body| body.start)..at + width);
        at += width;
    }
    body.filter(|_| longest >= KEY_WORD_BYTES).map(|range| Secret { rule: "private-key", range })
}

/// Width of the blanks and newlines at the start of a text, escaped ones too.
fn blanks(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let slashes = text[at..].iter().take_while(|byte| **byte == b'\\').count();
        match text.get(at + slashes) {
            Some(b'n' | b'r' | b't') if slashes > 0 => at += slashes + 1,
            Some(b' ' | b'\t' | b'\r' | b'\n') if slashes == 0 => at += 1,
            _ => return at,
        }
    }
}

/// Width of the word of a key at the start of a text: base64, or a header such
/// as `DEK-Info:`. 0 at the end of the key, for a name with its value, and for what
/// was masked in part.
fn key_word(text: &[u8]) -> usize {
    if text.starts_with(b"-----") {
        return 0;
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/:,-._".contains(byte);
    let width = text.iter().take_while(|byte| is_word(byte)).count();
    let marker = memchr::memmem::find(&text[..width], b"-----").unwrap_or(width);
    let padding = text[marker..].iter().take_while(|byte| **byte == b'=').count();
    match text.get(marker + padding) {
        Some(b'-' | b'\\' | 0..=b' ') | None => marker + padding,
        Some(_) if mask_width(&text[marker + padding..]) > 0 => 0,
        Some(_) if padding == 0 => marker,
        Some(b'"' | b'\'') if padding == 2 || marker >= KEY_WORD_BYTES => marker + padding,
        Some(_) => 0,
    }
}

/// A private key whose PEM is in base64 once more, as in a kubeconfig.
pub(super) fn encoded(text: &[u8], word: Range<usize>) -> Option<Secret> {
    const HEADS: [&str; 6] = [
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFW",
        "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRV",
        "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFW",
        "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ",
        "LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRV",
        "LS0tLS1CRUdJTiBEU0EgUFJJVkFURSBLRV",
    ];
    let rest = &text[word.start..];
    HEADS.iter().find(|head| rest.starts_with(head.as_bytes()))?;
    let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let end = word.start + rest.iter().take_while(is_base64).count();
    Some(Secret { rule: "private-key", range: word.start..end })
}
