//! Where words go: data to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use periscope_blob::masked;
use periscope_store::tell;

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Done, and nothing was found: 0.
    NothingFound,
    /// Done, and there are findings: 1.
    Findings,
    /// Not done, or not all of it: 2.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// Tells why something could not be done: `error: …`, causes, hints.
pub(crate) fn error(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    say(&format!("error: {}", tell(causes.iter().map(String::as_str))));
}

/// Tells that an answer is not whole: `warning: …`.
pub(crate) fn warning(text: &str) {
    say(&format!("warning: {text}"));
}

/// Tells what was done.
pub(crate) fn note(text: &str) {
    say(text);
}

/// Says anything, but no signature: what a user typed may hold one.
fn say(text: &str) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{}", masked(text));
}

/// Prints a line of data.
///
/// # Errors
///
/// If standard output is gone.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Says why a command line is none, or prints the help that it asks for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if masked(&text) == text {
        error.exit();
    }
    say(text.trim_end());
    Outcome::Failed.into()
}

/// Whether the reader of standard output went away, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    // Writers of CSV and JSON do not show what they stumbled over as their cause.
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
            return error.io_error_kind();
        }
        let csv = cause.downcast_ref::<csv::Error>().map(csv::Error::kind);
        if let Some(csv::ErrorKind::Io(error)) = csv {
            return Some(error.kind());
        }
        cause.downcast_ref::<io::Error>().map(io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// An empty table in the house's style, as wide as the terminal, or as wide as
/// it needs if there is none.
pub(crate) fn table(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<String>>());
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// Text from a bundle with control characters made visible: a log line must not
/// move the cursor of a terminal, turn the direction of text, or worse.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_safe = |c: char| !(c.is_control() || turns(c)) || c == '\n' || c == '\t';
    if text.chars().all(is_safe) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if is_safe(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}

/// The first few names, and how many more there are.
pub(crate) fn some(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 5;
    let first: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    printable(&(first.join(", ") + &more))
}

/// The same on one line, for what has one line each.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("a\u{1b}[2Jb\u{7f}"), "a\\u{1b}[2Jb\\u{7f}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
