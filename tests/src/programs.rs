//! The programs under test, as users run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};

/// Folder with the programs. The first use builds them: `cargo test` alone
/// would run what an earlier build left.
static FOLDER: LazyLock<std::result::Result<PathBuf, String>> =
    LazyLock::new(|| build().map_err(|error| format!("{error:#}")));

/// Where this build's programs are.
fn folder() -> Result<PathBuf> {
    let this = std::env::current_exe().context("finding this program")?;
    // target/debug/deps/test-1234 or target/debug/demo
    let mut above = this.ancestors().skip(1);
    let folder = above.find(|folder| folder.file_name().is_some_and(|name| name != "deps"));
    folder.map(Path::to_owned).context("finding the folder of programs")
}

fn is_release() -> bool {
    folder().is_ok_and(|folder| folder.file_name().is_some_and(|name| name == "release"))
}

fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--workspace", "--bins"])
        .args(is_release().then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "cargo build failed");
    folder()
}

/// Cargo as a shell starts it. The variables that it sets for this test would make build
/// scripts, such as ring's, run again, here and in the next build.
fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Path of the extension of SQLite, built first.
///
/// # Errors
///
/// If it does not build.
pub fn extension() -> Result<PathBuf> {
    static BUILT: LazyLock<std::result::Result<(), String>> = LazyLock::new(|| {
        let mut command = cargo();
        command.args(["build", "--quiet", "--workspace", "--lib"]);
        command.args(is_release().then_some("--release")).current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = command.status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err("cargo build failed".to_owned()) }
    });
    BUILT.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))?;
    Ok(folder()?.join("libperiscope_sqlite.so"))
}

/// Path of a program, built first.
///
/// # Errors
///
/// If it does not build.
pub fn path(name: &str) -> Result<PathBuf> {
    let folder = FOLDER.as_ref().map_err(|error| anyhow::Error::msg(error.clone()))?;
    Ok(folder.join(name))
}

/// The agent as one static program, as it runs in a pod: the one that the variable
/// `PERISCOPE_STATIC_AGENT` names, as one that was built for an image, else one that is
/// built now.
///
/// # Errors
///
/// If it does not build.
pub fn static_agent() -> Result<PathBuf> {
    if let Some(built) = std::env::var_os("PERISCOPE_STATIC_AGENT") {
        return Ok(built.into());
    }
    let status = cargo()
        .args(["build-static", "--quiet"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "cargo build-static failed");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    Ok(target.join("x86_64-unknown-linux-gnu/release/periscope-agent"))
}

/// The agent, without any of this process's environment that it would heed.
///
/// # Errors
///
/// If it does not build.
pub fn agent() -> Result<Command> {
    Ok(clean(&path("periscope-agent")?))
}

/// The analyzer.
///
/// # Errors
///
/// If it does not build.
pub fn analyze() -> Result<Command> {
    Ok(clean(&path("periscope-analyze")?))
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let heeded = ["PERISCOPE_", "AZURE_", "DIAGNOSTIC_", "HOST_NODE_NAME", "KUBERNETES_"];
        if heeded.iter().any(|prefix| name.starts_with(prefix))
            || name.to_ascii_uppercase().ends_with("_PROXY")
        {
            command.env_remove(name);
        }
    }
    command
}

/// Standard output, standard error and exit status of a finished program.
#[derive(Debug)]
pub struct Finished {
    /// Exit status, `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
///
/// If it cannot be started or prints what is no text.
pub fn finish(command: &mut Command) -> Result<Finished> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("starting {command:?}"))?;
    Ok(Finished {
        status: status.code(),
        stdout: String::from_utf8(stdout).context("standard output")?,
        stderr: String::from_utf8(stderr).context("standard error")?,
    })
}

/// Standard output of a command that must succeed.
///
/// # Errors
///
/// If it does not.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let finished = finish(command)?;
    ensure!(finished.status == Some(0), "{command:?}: {finished:?}");
    Ok(finished.stdout)
}
