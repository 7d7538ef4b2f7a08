//! Python with a package that this machine need not have.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::programs::stdout_of;

/// Tests of one program run at once.
static MAKING: Mutex<()> = Mutex::new(());

/// Python with one package, as `name==version`, in a folder that the first use makes.
///
/// # Errors
///
/// If there is no Python with its module venv, or the package cannot be installed.
pub fn with(package: &str, target: &Path) -> Result<PathBuf> {
    let name = package.split('=').next().unwrap_or(package);
    let folder = target.join(format!("python-{name}"));
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let (python, done) = (folder.join("bin/python3"), folder.join(package));
    if !done.exists() {
        stdout_of(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .context("making a virtual environment\nhint: install python3, with its module venv")?;
        stdout_of(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]))?;
        std::fs::write(done, "")?;
    }
    Ok(python)
}
