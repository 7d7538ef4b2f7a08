//! Names of secrets, and where the value of a name stands.

use std::ops::Range;

use super::value::{
    Extent, is_name, looks_random, mask_width, name_start, quote_at, skip_blanks,
    starts_ignoring_case,
};

/// What the name of a value says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Password,
    Secret,
    Token,
    Key(&'static str),
    ClientSecret,
    Signature,
}

impl Name {
    /// Kind of a name by how it ends; `None` if it names no secret.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let mut plain = [0; 128];
        let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        let mut width = 0;
        for (to, from) in plain.iter_mut().zip(letters) {
            *to = from.to_ascii_lowercase();
            width += 1;
        }
        let plain = &plain[..width];
        let ends = |words: &[&str]| words.iter().any(|word| plain.ends_with(word.as_bytes()));
        if plain == b"sig" {
            Some(Self::Signature)
        } else if ends(&["clientsecret"]) {
            Some(Self::ClientSecret)
        } else if ends(&["password", "passwd", "passphrase", "pwd"]) {
            Some(Self::Password)
        } else if ends(&["secret"]) {
            Some(Self::Secret)
        } else if ends(&["token"]) {
            Some(Self::Token)
        } else if ends(&["sharedaccesskey"]) {
            Some(Self::Key("shared-access-key"))
        } else if ends(&["accountkey"]) {
            Some(Self::Key("account-key"))
        } else if ends(&SECRET_KEYS) {
            Some(Self::Key("api-key"))
        } else {
            None
        }
    }

    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Secret => "secret",
            Self::Token => "token",
            Self::Key(rule) => rule,
            Self::ClientSecret => "client-secret",
            Self::Signature => "sas-signature",
        }
    }
}

/// Ends of names of keys that are secret; a partition key is not.
const SECRET_KEYS: [&str; 10] = [
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "storagekey",
    "sharedkey",
    "subscriptionkey",
    "masterkey",
    "encryptionkey",
    "signingkey",
];

/// Schemes of an `Authorization` header, which also stand before tokens elsewhere.
const SCHEMES: [&[u8]; 8] = [
    b"bearer ",
    b"basic ",
    b"token ",
    b"apikey ",
    b"sharedkey ",
    b"sharedkeylite ",
    b"negotiate ",
    b"ntlm ",
];

/// Width of the scheme that a text starts with, 0 if it starts with none.
fn scheme_width(text: &[u8]) -> usize {
    let scheme = SCHEMES.iter().find(|scheme| starts_ignoring_case(text, scheme));
    scheme.map_or(0, |scheme| scheme.len())
}

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// `=`, `:=` or `=>`.
    Assign,
    /// `%3D`, an encoded `=`.
    Encoded,
    /// `:`.
    Colon,
    /// `>` after `<name`.
    Element,
    /// Only blanks, after a flag such as `--password`.
    Blank,
}

/// A name, its separator, and where its value begins, behind a scheme such as
/// `Bearer`.
#[expect(clippy::struct_excessive_bools, reason = "what was seen between name and value")]
pub(super) struct Place {
    pub(super) name: Range<usize>,
    name_quoted: bool,
    blank_before: bool,
    pub(super) separator: Separator,
    pub(super) blank_after: bool,
    pub(super) has_scheme: bool,
    pub(super) value: Extent,
}

impl Place {
    /// What follows the name that the word at `word` ends.
    pub(super) fn after(text: &[u8], word: &Range<usize>) -> Option<Self> {
        if text.get(word.end).is_some_and(|byte| is_name(*byte)) {
            return None;
        }
        let name = name_start(text, word.start)..word.end;
        if text[..name.start].ends_with("‹".as_bytes()) && mask_width(&text[name.start - 3..]) > 0
        {
            return None;
        }
        let name_quote = quote_at(text, name.end);
        let name_quoted = name_quote.is_some();
        let name_end = name_quote.map_or(name.end, |quote| quote.end);
        let at = skip_blanks(text, name_end);
        let blank_before = at > name_end;
        let (separator, width) = match &text[at..] {
            [b'=', b'=', ..] => return None,
            [b'=', b'>', ..] | [b':', b'=', ..] => (Separator::Assign, 2),
            [b'=', ..] => (Separator::Assign, 1),
            [b'%', b'3', b'd' | b'D', ..] => (Separator::Encoded, 3),
            [b'\\', b'u', b'0', b'0', b'3', b'd' | b'D', ..] => (Separator::Assign, 6),
            [b':', ..] => (Separator::Colon, 1),
            [b'>', ..] if text[..name.start].ends_with(b"<") => (Separator::Element, 1),
            _ if blank_before && !name_quoted && text[name.clone()].starts_with(b"-") => {
                (Separator::Blank, 0)
            }
            _ => return None,
        };
        let value = skip_blanks(text, at + width);
        let blank_after = value > at + width;
        let value = match &text[value..] {
            [b'[', list @ ..] if quote_at(list, 0).is_some() || scheme_width(list) > 0 => value + 1,
            _ => value,
        };
        let quote = quote_at(text, value);
        let value = quote.map_or(value, |quote| quote.end);
        let scheme = scheme_width(&text[value..]);
        let value = skip_blanks(text, value + scheme);
        Some(Self {
            name,
            name_quoted,
            blank_before,
            separator,
            blank_after,
            has_scheme: scheme > 0,
            value: Extent { start: value, quote, encoded: separator == Separator::Encoded },
        })
    }

    /// Whether what stands in the place of the value is the name of a next one:
    /// `password= "token": "…"`.
    pub(super) fn meets_name(&self, text: &[u8]) -> bool {
        let near = self.value.near(text);
        let closing = self.value.quote.and_then(|_| quote_at(text, self.value.start + near.len()));
        let Some(closing) = closing else { return false };
        let next = text.get(skip_blanks(text, closing.end));
        matches!(next, Some(b':' | b'=')) && ends_in_name(near)
    }

    /// Whether this is a place where a value of that name is.
    pub(super) fn has_value(&self, text: &[u8], name: Name) -> bool {
        if self.value.quote.is_some() {
            return true;
        }
        match self.separator {
            Separator::Assign => {
                (self.blank_before || !self.blank_after)
                    && text.get(self.value.start).is_some_and(|byte| *byte != b'&')
            }
            Separator::Encoded => !self.blank_after,
            Separator::Element => true,
            Separator::Blank => looks_random(self.value.near(text)),
            // A number, a list or an object of JSON.
            Separator::Colon if self.name_quoted => false,
            Separator::Colon if !self.blank_after => self.is_struct_field(text, name),
            Separator::Colon => self.is_yaml_value(text, name),
        }
    }

    /// `{User:bob Password:hunter2}`, as Go prints values.
    fn is_struct_field(&self, text: &[u8], name: Name) -> bool {
        let value = self.value.near(text);
        let is_field =
            text[self.name.clone()].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
                && !text[..self.name.start].ends_with(b"/");
        let is_pointer = value.starts_with(b"0x") && value[2..].iter().all(u8::is_ascii_hexdigit);
        let is_other = value.first().is_some_and(|byte| b"/\\&{[*".contains(byte));
        is_field && !is_pointer && !is_other && (name == Name::Password || looks_random(value))
    }

    /// `password: hunter2` on a line of its own, or as a header.
    fn is_yaml_value(&self, text: &[u8], name: Name) -> bool {
        let random = looks_random(self.value.near(text));
        let certain = matches!(name, Name::Password | Name::ClientSecret | Name::Key(_));
        if !certain && !random || !starts_line(text, self.name.start) {
            return certain && random;
        }
        random || ends_line(text, skip_blanks(text, self.value.range(text).end))
    }
}

fn ends_line(text: &[u8], at: usize) -> bool {
    match &text[at..] {
        [] | [b'\n' | b'\r' | b'"' | b'#', ..] => true,
        [b'\\', next, ..] => matches!(next, b'n' | b'r' | b'"' | b'\\'),
        _ => false,
    }
}

/// Whether only blanks and a dash stand between the start of a line and `at`.
fn starts_line(text: &[u8], at: usize) -> bool {
    let before = &text[at.saturating_sub(64)..at];
    let blanks = before.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'-')).count();
    let line = at - blanks;
    line == 0 || text[line - 1] == b'\n' || text[..line].ends_with(b"\\n")
}

/// Whether a text ends in a name that announces a secret.
pub(super) fn ends_in_name(text: &[u8]) -> bool {
    let name = &text[name_start(text, text.len())..];
    Name::parse(name).is_some() || name.to_ascii_lowercase().ends_with(b"authorization")
}
