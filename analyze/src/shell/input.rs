//! Where lines come from: a person at a terminal, a file, or standard input.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};

use super::complete::Helper;
use super::names::Names;
use crate::output;
use crate::query::MOST_SQL_BYTES;

/// What is typed where a statement begins, and where it goes on.
const PROMPTS: [&str; 2] = ["periscope> ", "      ...> "];

/// Statements that the history holds.
const MOST_REMEMBERED: usize = 1_000;

/// The longest of them, in bytes.
const MOST_REMEMBERED_BYTES: usize = 16 << 10;

/// What came of asking for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It, without its end.
    Text(String),
    /// Ctrl-C: what was typed so far does not count.
    Dropped,
    /// There are no more.
    End,
}

/// Gives line after line.
pub(super) enum Source {
    /// A person, and where the history is kept.
    Terminal(Box<Editor<Helper, FileHistory>>, Option<PathBuf>),
    /// Anything else, with its name and how many lines were read.
    Text(Box<dyn BufRead>, String, usize),
}

impl Source {
    /// Lines that somebody types, with those of earlier times to recall.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be used.
    pub(super) fn terminal(names: Rc<Names>, diagnostics: Vec<String>) -> Result<Self> {
        let mut editor = Editor::new().context("preparing the terminal")?;
        editor.set_helper(Some(Helper::new(names, diagnostics)));
        editor.set_completion_type(CompletionType::List);
        editor.set_max_history_size(MOST_REMEMBERED).context("preparing the history")?;
        // As a shell does: what begins with a blank is not kept.
        editor.set_history_ignore_space(true);
        let history = match history() {
            Ok(path) => {
                let is_there = path.as_ref().is_some_and(|path| path.exists());
                if let (true, Some(path)) = (is_there, &path)
                    && let Err(error) = editor.load_history(path)
                {
                    output::warning(&format!("cannot read {}: {error}", path.display()));
                }
                path
            }
            Err(error) => {
                output::warning(&format!("no history is kept: {error:#}"));
                None
            }
        };
        Ok(Self::Terminal(Box::new(editor), history))
    }

    /// Lines of a file, or of standard input.
    pub(super) fn text(name: &str, from: impl Read + 'static) -> Self {
        Self::Text(Box::new(BufReader::new(from)), name.to_owned(), 0)
    }

    /// The next line; `before` is what it goes on with.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is longer than any statement may be.
    pub(super) fn line(&mut self, before: &str) -> Result<Line> {
        match self {
            Self::Terminal(editor, _) => {
                if let Some(helper) = editor.helper_mut() {
                    before.clone_into(&mut helper.before);
                }
                match editor.readline(PROMPTS[usize::from(!before.is_empty())]) {
                    Ok(line) => Ok(Line::Text(line)),
                    Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
                    Err(ReadlineError::Eof) => Ok(Line::End),
                    Err(error) => Err(error).context("reading from the terminal"),
                }
            }
            Self::Text(from, name, number) => {
                let mut bytes = Vec::new();
                *number += 1;
                from.by_ref()
                    .take(MOST_SQL_BYTES + 1)
                    .read_until(b'\n', &mut bytes)
                    .with_context(|| format!("reading {name}"))?;
                ensure!(
                    bytes.len() as u64 <= MOST_SQL_BYTES,
                    "{name}:{number}: the line is longer than {MOST_SQL_BYTES} bytes"
                );
                if bytes.is_empty() {
                    return Ok(Line::End);
                }
                let text = String::from_utf8_lossy(&bytes);
                Ok(Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }

    /// Name and number of the last line, where there is no person who sees it.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Terminal(..) => None,
            Self::Text(_, name, number) => Some(format!("{name}:{number}")),
        }
    }

    /// Whether somebody types.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(..))
    }

    /// Puts a whole statement or command into the history, which is on disk at once.
    pub(super) fn remember(&mut self, text: &str) {
        let Self::Terminal(editor, path) = self else { return };
        if text.len() > MOST_REMEMBERED_BYTES {
            return;
        }
        let kept = editor.add_history_entry(text).and_then(|is_new| match path {
            Some(path) if is_new => editor.append_history(path),
            _ => Ok(()),
        });
        if let Err(error) = kept {
            output::warning(&format!("no history is kept from now on: {error}"));
            *path = None;
        }
    }
}

/// File of the history in the user's state folder, which is made; `None` for a user
/// without a home.
fn history() -> Result<Option<PathBuf>> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let Some(folder) = state.map(|state| state.join("periscope")) else { return Ok(None) };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("making {}", folder.display()))?;
    Ok(Some(folder.join("shell-history")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_text_have_places() {
        let mut source = Source::text("a.sql", &b"one\r\n\ntwo"[..]);
        let mut found = Vec::new();
        while let Line::Text(line) = source.line("").expect("readable") {
            found.push((line, source.place().expect("a place")));
        }
        let expected = [("one", "a.sql:1"), ("", "a.sql:2"), ("two", "a.sql:3")];
        assert_eq!(found, expected.map(|(line, place)| (line.to_owned(), place.to_owned())));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut source = Source::text("-", std::io::repeat(b'x'));
        let error = source.line("").expect_err("too long");
        assert_eq!(error.to_string(), "-:1: the line is longer than 1048576 bytes");
    }
}
