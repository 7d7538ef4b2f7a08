//! Text in Markdown and in sentences, broken to the width of a terminal.

use std::io::{self, Write};

use comfy_table::Table;

/// Width of prose where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// What stands between two paragraphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Nothing: each begins on a new line.
    Dense,
    /// An empty line, but not between the items of a list.
    Airy,
}

/// Columns that prose may fill.
pub(crate) fn width() -> usize {
    Table::new().width().map_or(DEFAULT_WIDTH, usize::from).clamp(40, 120)
}

/// Writes Markdown as text: paragraphs and items of lists are broken to the width,
/// indented lines are left as they are.
pub(crate) fn write(
    out: &mut impl Write,
    indent: &str,
    markdown: &str,
    width: usize,
    spacing: Spacing,
) -> io::Result<()> {
    let mut before: Option<Block> = None;
    for block in blocks(markdown) {
        let is_list = |block: &Block| matches!(block, Block::Item(_));
        let joins = before.as_ref().is_some_and(|before| is_list(before) && is_list(&block));
        if before.is_some() && spacing == Spacing::Airy && !joins {
            writeln!(out)?;
        }
        match &block {
            Block::Paragraph(text) => write_indented(out, indent, text, width, 0)?,
            Block::Item(text) => write_indented(out, indent, text, width, 2)?,
            Block::Verbatim(lines) => {
                for line in lines {
                    writeln!(out, "{indent}{line}")?;
                }
            }
        }
        before = Some(block);
    }
    Ok(())
}

/// A piece of Markdown.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// On one line.
    Paragraph(String),
    /// Of a list, on one line, with its sign.
    Item(String),
    /// Lines that are indented by four columns or more, as they are.
    Verbatim(Vec<String>),
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut is_new = true;
    for line in markdown.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            is_new = true;
            continue;
        }
        let is_item = line.starts_with("- ");
        match (is_new || is_item, all.last_mut()) {
            (false, Some(Block::Paragraph(text) | Block::Item(text))) => {
                text.push(' ');
                text.push_str(trimmed);
            }
            (_, Some(Block::Verbatim(lines))) if line.starts_with("    ") => {
                lines.push(line.trim_end().to_owned());
            }
            _ if is_item => all.push(Block::Item(trimmed.to_owned())),
            _ if line.starts_with("    ") => {
                all.push(Block::Verbatim(vec![line.trim_end().to_owned()]));
            }
            _ => all.push(Block::Paragraph(trimmed.to_owned())),
        }
        is_new = false;
    }
    all
}

/// Writes a text after a head, broken between words; further lines are indented
/// a little deeper than the first.
pub(crate) fn write_wrapped(
    out: &mut impl Write,
    head: &str,
    text: &str,
    width: usize,
) -> io::Result<()> {
    write_indented(out, head, text, width, 4)
}

/// Columns that a text takes, colours apart.
fn columns(text: &str) -> usize {
    let mut is_escape = false;
    let is_seen = |c: &char| {
        let was_escape = is_escape;
        is_escape = *c == '\u{1b}' || (is_escape && *c != 'm');
        !is_escape && !was_escape
    };
    text.chars().filter(is_seen).count()
}

/// The same, further lines being indented by `deeper` more than the first.
fn write_indented(
    out: &mut impl Write,
    head: &str,
    text: &str,
    width: usize,
    deeper: usize,
) -> io::Result<()> {
    let first = head.trim_start_matches('\n');
    let indent = first.len() - first.trim_start().len() + deeper;
    let mut line = head.to_owned();
    let mut used = columns(first);
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !is_empty && used + 1 + length > width {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(indent);
            used = indent;
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
        is_empty = false;
    }
    writeln!(out, "{}", line.trim_end())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_below_their_beginning() {
        let mut out = Vec::new();
        write_wrapped(&mut out, "  head: ", "one two three four five", 18).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "  head: one two\n      three four\n      five\n"
        );
    }

    #[test]
    fn markdown_keeps_its_lists_and_its_commands() {
        let text = "One\ntwo.\n\n    a  b\n    c\n\n- an\n  item\n- another\nend";
        let mut out = Vec::new();
        write(&mut out, "  ", text, 40, Spacing::Airy).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "  One two.\n\n      a  b\n      c\n\n  - an item\n  - another end\n"
        );
    }
}
