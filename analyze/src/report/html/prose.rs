//! Markdown of diagnostics as HTML. Whoever wrote it, nothing of it is markup but what
//! Markdown means: HTML in it is text, and links lead to web pages.

use std::fmt::Write;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// HTML of a Markdown text: paragraphs, lists, code, emphasis and links.
pub(super) fn html(markdown: &str) -> String {
    let mut out = String::new();
    let mut links: Vec<bool> = Vec::new();
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                let is_web = is_web(&dest_url);
                links.push(is_web);
                if is_web {
                    out.push_str("<a rel=\"noreferrer\" href=\"");
                    escape(&dest_url, &mut out);
                    out.push_str("\">");
                }
            }
            Event::End(TagEnd::Link) => {
                out.push_str(if links.pop() == Some(true) { "</a>" } else { "" });
            }
            Event::Start(tag) => out.push_str(opening(&tag)),
            Event::End(tag) => out.push_str(closing(tag)),
            Event::Code(text) => {
                out.push_str("<code>");
                escape(&text, &mut out);
                out.push_str("</code>");
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                escape(&text, &mut out);
            }
            Event::SoftBreak | Event::HardBreak => out.push('\n'),
            _ => {}
        }
    }
    out
}

/// Whether an address leads to a web page and nowhere else.
pub(super) fn is_web(address: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| address.starts_with(scheme))
}

fn opening(tag: &Tag<'_>) -> &'static str {
    match tag {
        Tag::Paragraph => "<p>",
        Tag::Heading { .. } => "<h4>",
        Tag::CodeBlock(_) => "<pre><code>",
        Tag::List(None) => "<ul>",
        Tag::List(Some(_)) => "<ol>",
        Tag::Item => "<li>",
        Tag::Emphasis => "<em>",
        Tag::Strong => "<strong>",
        _ => "",
    }
}

fn closing(tag: TagEnd) -> &'static str {
    match tag {
        TagEnd::Paragraph => "</p>\n",
        TagEnd::Heading(_) => "</h4>\n",
        TagEnd::CodeBlock => "</code></pre>\n",
        TagEnd::List(false) => "</ul>\n",
        TagEnd::List(true) => "</ol>\n",
        TagEnd::Item => "</li>\n",
        TagEnd::Emphasis => "</em>",
        TagEnd::Strong => "</strong>",
        _ => "",
    }
}

fn escape(text: &str, out: &mut String) {
    for c in crate::output::printable(text).chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_markup_and_html_is_text() {
        assert_eq!(
            html("a `b<c`\n\n- *d*"),
            "<p>a <code>b&#60;c</code></p>\n<ul>\n<li><em>d</em></li>\n</ul>\n"
                .replace("<ul>\n", "<ul>")
        );
        assert_eq!(html("x <img src=y>"), "<p>x &#60;img src=y&#62;</p>\n");
        assert_eq!(
            html("[a](javascript:alert) <https://b.example>"),
            "<p>a <a rel=\"noreferrer\" href=\"https://b.example\">https://b.example</a></p>\n"
        );
        assert!(!html("<script>\nalert(1)\n</script>\n\n![i](http://x/)").contains("<script"));
    }
}
