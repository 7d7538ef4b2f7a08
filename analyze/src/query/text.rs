//! SQL as text: where its statements begin and end.

use std::ops::Range;

/// Where each statement is, without the `;` behind it. Pieces of nothing but blanks
/// and comments are left out.
pub(crate) fn statements(sql: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = 0;
    let mut has_words = false;
    scan(sql, |token, at| match token {
        Token::End => {
            if has_words {
                found.push(begin..at);
            }
            begin = at + 1;
            has_words = false;
        }
        Token::Word => has_words = true,
    });
    if has_words {
        found.push(begin..sql.len());
    }
    found
}

/// Whether a text that is typed line by line is whole: it ends with `;`, but for blanks
/// and comments, or is nothing but these.
pub(crate) fn is_whole(sql: &str) -> bool {
    let mut ends = true;
    let closed = scan(sql, |token, _| ends = matches!(token, Token::End));
    closed && ends
}

enum Token {
    /// A `;` between statements.
    End,
    /// Something that is no blank and no comment.
    Word,
}

/// Hands over what is not within quotes and comments. False if one of these has no end.
fn scan(sql: &str, mut each: impl FnMut(Token, usize)) -> bool {
    let bytes = sql.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let end = match byte {
            b'-' if rest.starts_with(b"--") => {
                at += find(rest, b"\n").unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                let Some(end) = find(&rest[2..], b"*/") else { return false };
                at += end + 4;
                continue;
            }
            b'\'' | b'"' | b'`' => Some(*byte),
            b'[' => Some(b']'),
            b';' => {
                each(Token::End, at);
                None
            }
            blank if blank.is_ascii_whitespace() => None,
            _ => {
                each(Token::Word, at);
                None
            }
        };
        if let Some(quote) = end {
            each(Token::Word, at);
            // A doubled quote ends one text and begins the next.
            let Some(length) = find(&rest[1..], &[quote]) else { return false };
            at += length + 1;
        }
        at += 1;
    }
    true
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_whole_with_its_semicolon() {
        for sql in ["", "SELECT 1;", "SELECT 1; -- done", "-- a word", "/* ; */", "SELECT ';';\n"] {
            assert!(is_whole(sql), "{sql}");
        }
        for sql in ["SELECT 1", "SELECT 1; SELECT", "SELECT ';", "SELECT 1; /*", "-- ;\nSELECT"] {
            assert!(!is_whole(sql), "{sql}");
        }
    }

    #[test]
    fn statements_end_where_sqlite_ends_them() {
        let check = |sql: &str, expected: &[&str]| {
            let found: Vec<_> = statements(sql).into_iter().map(|r| sql[r].trim()).collect();
            assert_eq!(found, expected, "{sql}");
        };
        check("", &[]);
        check(" ; ;", &[]);
        check("SELECT 1", &["SELECT 1"]);
        check("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]);
        check("SELECT ';', \";\", [;], `;`;", &["SELECT ';', \";\", [;], `;`"]);
        check("SELECT 'it''s;';", &["SELECT 'it''s;'"]);
        check("SELECT 1 -- ; no\n;", &["SELECT 1 -- ; no"]);
        check("-- ;\nSELECT /* ; */ 1;", &["-- ;\nSELECT /* ; */ 1"]);
        check("SELECT 'a;", &["SELECT 'a;"]);
        check("SELECT 1; /* more", &["SELECT 1"]);
        check("SELECT 'ü;ö';", &["SELECT 'ü;ö'"]);
    }
}
