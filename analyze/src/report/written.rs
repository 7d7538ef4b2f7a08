//! Text of a bundle within Markdown, where it means nothing but itself.

use crate::output::printable;

/// A text in which nothing is Markdown or HTML, on one line.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '\n' | '\t' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '>' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A text as code, on one line: within more backticks than it has.
pub(crate) fn code(text: &str) -> String {
    let text = printable(text).replace(['\n', '\t'], " ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad =
        if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<img> [a](b) | *c*\nd"), "&lt;img\\> \\[a\\](b) \\| \\*c\\* d");
        assert_eq!(code("a ``b`` c"), "```a ``b`` c```");
        assert_eq!(code("`"), "`` ` ``");
    }
}
