//! Completions for shells and pages of the manual, made from the command line's own
//! description. The agent makes its own the same way.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
pub use clap_complete::Shell;

/// Prints what a shell needs to complete a program's command line.
///
/// # Errors
///
/// If it cannot be written.
pub fn completions(command: &mut Command, shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, command, &name, &mut text);
    let mut text = String::from_utf8(text).context("completions are no text")?;
    if shell == Shell::Bash {
        // clap_complete 4.6 sets one name for commands of a program with a hyphen, and
        // looks for another.
        text = text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    }
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

/// Prints the page of a program, or writes those of all its commands to a folder, each
/// named in what is returned.
///
/// # Errors
///
/// If a page cannot be written.
pub fn man(command: Command, folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        let mut command = command;
        command.build();
        clap_mangen::Man::new(command).render(&mut text)?;
        io::stdout().lock().write_all(&text)?;
        return Ok(Vec::new());
    };
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut written = Vec::new();
    pages(&command, folder, &mut written)?;
    Ok(written)
}

fn pages(command: &Command, folder: &Path, written: &mut Vec<PathBuf>) -> Result<()> {
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands.into_iter().try_for_each(|command| pages(command, folder, written))?;
    let page = clap_mangen::Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    written.push(path);
    Ok(())
}
