//! The token of who is logged in with `az`.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What the token is for, in every cloud.
const RESOURCE: &str = "https://storage.azure.com/";

/// Asks `az`, which must be in the path.
///
/// # Errors
///
/// If it is not installed, or nobody is logged in; with its own words.
pub(super) fn token() -> Result<String> {
    let words = ["account", "get-access-token", "--resource", RESOURCE];
    let output = Command::new("az")
        .args(words)
        .args(["--query", "accessToken", "--output", "tsv", "--only-show-errors"])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("az is not installed"),
        Err(error) => return Err(error).context("cannot start az"),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty());
        bail!("az says: {}", said.unwrap_or("nothing").trim_start_matches("ERROR: "));
    }
    let token = String::from_utf8(output.stdout).unwrap_or_default().trim().to_owned();
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_one, "az printed no token");
    Ok(token)
}
