//! The words that announce a secret, and the rule of each.
//!
//! A rule gets the text and the place of its word, looks around it, and answers
//! with the secret or with nothing. It looks back a few bytes at most and
//! forward to the end of one value, so that a text is read about once however
//! many words it holds.

use std::ops::Range;

use super::place::{Name, Place, Separator, ends_in_name};
use super::value::{
    Extent, NEAR_BYTES, contains_ignoring_case, follows_escape, holds_mask, is_name, is_no_secret,
    looks_random, mask_width, skip_blanks, starts_ignoring_case,
};
use super::{Secret, private_key};

/// A rule: the text, and where its word stands.
pub(super) type Rule = fn(&[u8], Range<usize>) -> Option<Secret>;

/// Words in lower case, found in any case, each with three of its bytes that other
/// words rarely have. None is part of another.
pub(super) const ANCHORS: &[(&str, &str, Rule)] = &[
    ("password", "ssw", named_value),
    ("passwd", "swd", named_value),
    ("passphrase", "hra", named_value),
    ("pwd", "pwd", named_value),
    ("secret", "ecr", named_value),
    ("token", "oke", named_value),
    ("key", "key", key),
    ("sig=", "ig=", sas_signature),
    ("sig%3d", "g%3", sas_signature),
    ("sig\"", "ig\"", sas_signature),
    ("sig\\", "ig\\", sas_signature),
    ("accesssignature", "sss", shared_access_signature),
    ("auth", "uth", auth),
    ("bearer", "rer", bearer),
    ("://", "://", url_password),
    (":\\/\\/", "\\/\\", url_password),
    ("eyj", "eyj", json_web_token),
    ("ls0tls1crudjti", "rud", private_key::encoded),
];

/// `password=`, `"clientSecret":"…"`, `--token …` and their like.
fn named_value(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let place = Place::after(text, &word)?;
    let name = Name::parse(&text[place.name.clone()])?;
    if is_reference(text, &place, name) || place.meets_name(text) || !place.has_value(text, name) {
        return None;
    }
    let near = place.value.near(text);
    let other = match name {
        Name::Password => text[word].eq_ignore_ascii_case(b"pwd") && is_path(near),
        Name::Secret => is_object_name(near),
        Name::Key(_) => is_path(near),
        Name::Signature => is_signal(near),
        Name::Token | Name::ClientSecret => false,
    };
    if other { None } else { secret(text, place.value, name.rule()) }
}

/// The secret of a rule that found a value, if [`is_secret`] agrees.
fn secret(text: &[u8], value: Extent, rule: &'static str) -> Option<Secret> {
    is_secret(text, value.start, value.near(text))
        .then(|| Secret { rule, range: value.range(text) })
}

/// Whether a value in the place of a secret is one. It is not if it is a
/// placeholder, holds a mask, so that somebody looked at it before, is the name
/// of a next one, as in `password "token="…""` with a stray mark, or is the head
/// of a private key, which has a rule of its own.
fn is_secret(text: &[u8], start: usize, near: &[u8]) -> bool {
    let is_head = memchr::memmem::find(near, b"-----BEGIN").is_some_and(|at| {
        let head = &text[start + at..];
        memchr::memmem::find(&head[..head.len().min(48)], b"PRIVATE KEY").is_some()
    });
    let is_separator = |byte: &&u8| matches!(byte, b':' | b'=' | b' ');
    let separator = near.iter().rev().take_while(is_separator).count();
    let is_scheme = || {
        let next = text.get(start + near.len());
        next == Some(&b' ') && near.to_ascii_lowercase().ends_with(b"bearer")
    };
    let is_name = near.len() < NEAR_BYTES / 2
        && (separator > 0 && ends_in_name(&near[..near.len() - separator]) || is_scheme());
    !is_head && !is_name && !holds_mask(near) && !is_no_secret(near)
}

/// Whether a value only speaks of a secret, told by its first bytes or by what
/// stands before its name: `token="system:serviceaccount:…"` is an identity and
/// `checksum/secret` an annotation of Helm.
fn is_reference(text: &[u8], place: &Place, name: Name) -> bool {
    let value = &text[place.value.start..];
    match name {
        Name::Token => value.starts_with(b"system:"),
        Name::Secret => {
            value.starts_with(b"system:") || text[..place.name.start].ends_with(b"checksum/")
        }
        _ => false,
    }
}

/// `kube-system/azure-cloud-provider`: namespace and name of an object.
fn is_object_name(value: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        !label.is_empty()
            && label
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(b))
    };
    let mut labels = value.split(|byte| *byte == b'/');
    labels.next().is_some_and(is_label)
        && labels.next().is_some_and(is_label)
        && labels.next().is_none()
}

/// `/etc/kubernetes/certs/client.key`: an absolute path of a file.
pub(super) fn is_path(value: &[u8]) -> bool {
    value.starts_with(b"/") && value.iter().all(|byte| is_name(*byte) || *byte == b'/')
}

/// `sig=SIGTERM`: a signal, not a signature.
fn is_signal(value: &[u8]) -> bool {
    value.starts_with(b"SIG") && value.len() <= 10 && value.iter().all(u8::is_ascii_uppercase)
}

/// `sig=…` of a shared access signature; the rest of it is worth reading.
fn sas_signature(text: &[u8], word: Range<usize>) -> Option<Secret> {
    named_value(text, word.start..word.start + 3)
}

/// A whole shared access signature that holds no `sig=`.
fn shared_access_signature(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let place = Place::after(text, &word)?;
    let near = &text[place.value.start..text.len().min(place.value.start + NEAR_BYTES)];
    let ends = |byte: &u8| matches!(byte, b'"' | b'\'' | b'<' | b';' | 0..=b' ');
    let near = &near[..near.iter().position(ends).unwrap_or(near.len())];
    let is_value = place.separator == Separator::Assign && !place.blank_after;
    if !(is_value || place.value.quote.is_some())
        || holds_mask(near)
        || contains_ignoring_case(near, b"sig=")
        || contains_ignoring_case(near, b"sig%3d")
        || place.meets_name(text)
    {
        return None;
    }
    secret(text, place.value, "shared-access-signature")
}

/// A named key, or the head of a private key.
fn key(text: &[u8], word: Range<usize>) -> Option<Secret> {
    if text[..word.start].ends_with(b"PRIVATE ") {
        return private_key::plain(text, word);
    }
    named_value(text, word)
}

/// `Authorization: …`, or the `auth` of a registry in a Docker configuration.
fn auth(text: &[u8], word: Range<usize>) -> Option<Secret> {
    if starts_ignoring_case(&text[word.end..], b"orization") {
        return authorization(text, word.start..word.end + 9);
    }
    let place = Place::after(text, &word)?;
    let near = place.value.near(text);
    let is_base64 = |value: &[u8]| {
        value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
    };
    if place.value.quote.is_none() || place.name != word || near.len() < 8 || !is_base64(near) {
        return None;
    }
    let range = place.value.range(text);
    let is_auth =
        looks_random(near) && range.len().is_multiple_of(4) && is_base64(&text[range.clone()]);
    is_auth.then_some(Secret { rule: "registry-auth", range })
}

/// The credentials of an `Authorization` header, its scheme left to read.
fn authorization(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let place = Place::after(text, &word)?;
    let near = place.value.near(text);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(byte);
    let is_credential =
        place.has_scheme || near.len() >= 16 && looks_random(near) && near.iter().all(is_plain);
    if is_credential { secret(text, place.value, "authorization") } else { None }
}

/// `Bearer …` anywhere, if what follows looks like a token: a challenge such as
/// `Bearer realm="…"` does not.
fn bearer(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let start = match &text[word.end..] {
        [b' ' | b'\t', ..] => skip_blanks(text, word.end),
        [b'%', b'2', b'0', ..] => word.end + 3,
        _ => return None,
    };
    let is_word = |byte: &&u8| byte.is_ascii_alphabetic() || b"-_".contains(byte);
    let word = start + text[start..].iter().take_while(is_word).count();
    let is_parameter = match &text[word..] {
        [b'=', next, ..] => !matches!(next, b'=' | b',' | b';' | 0..=b' '),
        _ => false,
    };
    if is_parameter {
        return None;
    }
    let value = Extent::bare(start);
    let near = value.near(text);
    let is_token = near.iter().any(u8::is_ascii_digit) || near.len() >= 20;
    if is_token { secret(text, value, "bearer-token") } else { None }
}

/// The password in `scheme://user:password@host`.
fn url_password(text: &[u8], word: Range<usize>) -> Option<Secret> {
    const LONGEST: usize = 512;
    if !word.start.checked_sub(1).is_some_and(|at| text[at].is_ascii_alphanumeric()) {
        return None;
    }
    let rest = &text[word.end..text.len().min(word.end + LONGEST)];
    let ends_url = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | 0..=b' ');
    let url = &rest[..rest.iter().position(ends_url).unwrap_or(rest.len())];
    let authority = url.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(url.len());
    let colon = colon_of_user(&url[..authority])?;
    let end = match url[..authority].iter().rposition(|byte| *byte == b'@') {
        Some(end) => end,
        // What is no port must be a password with a / ? or # in it.
        None if url[colon + 1..authority].iter().all(u8::is_ascii_digit) => return None,
        None => url.iter().position(|byte| *byte == b'@')?,
    };
    let value = url.get(colon + 1..end)?;
    let start = word.end + colon + 1;
    is_secret(text, start, value)
        .then(|| Secret { rule: "url-password", range: start..start + value.len() })
}

/// The colon after the name of the user, which may be masked; `None` in front
/// of an IPv6 address.
fn colon_of_user(authority: &[u8]) -> Option<usize> {
    if authority.starts_with(b"[") {
        return None;
    }
    let mut at = 0;
    while let Some(byte) = authority.get(at) {
        match byte {
            b':' => return Some(at),
            _ => at += mask_width(&authority[at..]).max(1),
        }
    }
    None
}

/// `header.payload.signature` in base64, also without the signature, and the
/// five parts of an encrypted one.
fn json_web_token(text: &[u8], word: Range<usize>) -> Option<Secret> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let start = word.start;
    let inside = start > 0 && is_part(&text[start - 1]) && !follows_escape(text, start);
    if inside || !text[start..].starts_with(b"eyJ") {
        return None;
    }
    let mut parts = Vec::with_capacity(5);
    let mut at = start;
    while parts.len() < 5 {
        let end = at + text[at..].iter().take_while(|byte| is_part(byte)).count();
        parts.push(at..end);
        match text.get(end) {
            Some(b'.') => at = end + 1,
            _ => break,
        }
    }
    let header = parts.first().filter(|header| header.len() >= 10)?;
    let end = match parts.as_slice() {
        [_, payload, rest @ ..] if text[payload.clone()].starts_with(b"eyJ") => {
            rest.first().map_or(payload.end, |signature| signature.end)
        }
        [_, .., last] if parts.len() == 5 => last.end,
        _ => return None,
    };
    Some(Secret { rule: "json-web-token", range: header.start..end })
}
