//! Cuts SQL into tokens, as far as the checks of a diagnostic need it.
//!
//! Comments and blanks are dropped. What SQLite would refuse comes out as some
//! token or other: preparing the statement finds it.

/// A piece of SQL, with the byte at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub(super) kind: Kind,
    /// Its text: a quoted one without its outer quotes, a variable with its sign.
    pub(super) text: &'a str,
    /// Where it starts in the text.
    pub(super) at: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keyword, name or number without quotes.
    Word,
    /// `'text'`.
    Text,
    /// `"name"`, `[name]` or a name in backticks.
    QuotedName,
    /// `:name`, `@name`, `$name` or `?1`.
    Variable,
    /// Any other single character.
    Sign,
}

/// The tokens of `sql` in their order.
pub(super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        let length = match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'-' if rest.starts_with("--") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with("/*") => {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
                continue;
            }
            quote @ (b'\'' | b'"' | b'`' | b'[') => quoted_length(rest, quote),
            b':' | b'@' | b'$' | b'?' => 1 + word_length(&rest[1..]),
            b if is_word(b) => word_length(rest),
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        found.push(token(rest, length, at));
        at += length;
    }
    found
}

fn token(rest: &str, length: usize, at: usize) -> Token<'_> {
    let text = &rest[..length];
    let inner = text.get(1..length.saturating_sub(1)).unwrap_or_default();
    let (kind, text) = match text.as_bytes()[0] {
        b'\'' => (Kind::Text, inner),
        b'"' | b'`' | b'[' => (Kind::QuotedName, inner),
        b':' | b'@' | b'$' | b'?' => (Kind::Variable, text),
        b if is_word(b) => (Kind::Word, text),
        _ => (Kind::Sign, text),
    };
    Token { kind, text, at }
}

/// Length of a quoted token with its quotes; a doubled quote does not end it.
fn quoted_length(rest: &str, quote: u8) -> usize {
    let close = if quote == b'[' { b']' } else { quote };
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] != close {
            at += 1;
        } else if close != b']' && bytes.get(at + 1) == Some(&close) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

fn word_length(rest: &str) -> usize {
    rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &[(Kind, &str)]) {
        let found: Vec<_> = tokens(sql).iter().map(|t| (t.kind, t.text)).collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn quotes_and_comments_hide_what_is_in_them() {
        use Kind::{QuotedName, Sign, Text, Variable, Word};
        check(
            "SELECT 'a;''b' -- ; x\n, \"c;\"",
            &[(Word, "SELECT"), (Text, "a;''b"), (Sign, ","), (QuotedName, "c;")],
        );
        check(
            "x/* ; */>=:failures;",
            &[(Word, "x"), (Sign, ">"), (Sign, "="), (Variable, ":failures"), (Sign, ";")],
        );
        check("[a]]`b`", &[(QuotedName, "a"), (Sign, "]"), (QuotedName, "b")]);
    }

    #[test]
    fn what_has_no_end_ends_with_the_text() {
        check("'abc", &[(Kind::Text, "ab")]);
        check("'", &[(Kind::Text, "")]);
        check("/* x", &[]);
        check("é '…", &[(Kind::Word, "é"), (Kind::Text, "")]);
    }
}
