//! Where long output goes: through a pager if a person is at a terminal.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// When to use a pager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// If standard output is a terminal.
    Terminal,
    /// Never.
    Never,
}

/// Standard output, or a pager before it.
pub(crate) enum Out {
    /// Standard output itself.
    Plain(BufWriter<StdoutLock<'static>>),
    /// A program that shows it page by page.
    Pager(BufWriter<ChildStdin>, Child),
}

/// Opens standard output. `PAGER` names the pager; empty or `cat` means none.
///
/// # Errors
///
/// If the pager cannot be started for another reason than that it is not there.
pub(crate) fn start(paging: Paging) -> Result<Out> {
    let plain = || Out::Plain(BufWriter::new(io::stdout().lock()));
    let text = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let mut words = text.split_whitespace();
    let program = match words.next() {
        Some(program) if paging == Paging::Terminal && program != "cat" => program,
        _ => return Ok(plain()),
    };
    if !io::stdout().is_terminal() {
        return Ok(plain());
    }
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Short output stays on the screen, and colours are colours.
        command.env("LESS", "FRX");
    }
    match command.spawn() {
        Ok(mut child) => {
            let input = child.stdin.take().context("the pager takes no input")?;
            Ok(Out::Pager(BufWriter::new(input), child))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(plain()),
        Err(error) => {
            Err(error).with_context(|| format!("starting {program}\nhint: PAGER names the pager"))
        }
    }
}

impl Out {
    /// Hands over what is left, and waits until the reader is done.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Plain(mut out) => Ok(out.flush()?),
            Self::Pager(mut out, mut child) => {
                let done = out.flush();
                drop(out);
                child.wait().context("waiting for the pager")?;
                Ok(done?)
            }
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Pager(out, _) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Pager(out, _) => out.flush(),
        }
    }
}
