//! `cargo demo`: the main job on this very machine, in half a minute.
//!
//! Starts two targets on loopback, collects from this machine while one of them
//! is interrupted for some seconds, and prints the report on it.
#![expect(clippy::print_stderr, reason = "a demo talks to the person before it")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use periscope_tests::programs;
use periscope_tests::target::Target;

const LASTS: Duration = Duration::from_secs(20);
const UP_FOR: Duration = Duration::from_secs(7);
const DOWN_FOR: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let folder = Path::new("demo-output");
    if folder.exists() {
        std::fs::remove_dir_all(folder).context("removing the last demo's output")?;
    }
    std::fs::create_dir_all(folder).context("making the folder demo-output")?;
    let (mut shop, registry) = (Target::start()?, Target::start()?);
    let config = folder.join("agent.toml");
    std::fs::write(&config, configuration(&[("shop", &shop), ("registry", &registry)]))?;

    let mut agent = programs::agent()?;
    agent.arg("collect").arg("--config").arg(&config).arg("--output").arg(folder);
    agent.args(["--host-root", "/", "--probe-for", &format!("{}s", LASTS.as_secs())]);
    eprintln!("collecting from this machine for {} s", LASTS.as_secs());
    let start = Instant::now();
    let mut agent = agent.spawn().context("starting the agent")?;
    std::thread::sleep(UP_FOR);
    eprintln!("after {} s: interrupting the target shop", start.elapsed().as_secs());
    shop.interrupt();
    std::thread::sleep(DOWN_FOR);
    shop.mend()?;
    eprintln!("after {} s: mended", start.elapsed().as_secs());
    let status = agent.wait().context("waiting for the agent")?;
    // 1 says that some collector could not read all: no root, most likely.
    ensure!(matches!(status.code(), Some(0 | 1)), "the agent failed: {status}");

    eprintln!();
    let status = programs::analyze()?.arg("report").arg(folder).status()?;
    // 1 says that there are findings: the outage above.
    ensure!(status.code() == Some(1), "the report should show one outage: {status}");
    eprintln!("\nask more: periscope-analyze query demo-output \"SELECT * FROM probe_outage\"");
    Ok(())
}

fn configuration(targets: &[(&str, &Target)]) -> String {
    let table = |(name, target): &(&str, &Target)| {
        format!(
            "[[probe]]\nname = \"{name}\"\nkind = \"custom\"\nurl = \"{}\"\n\
             interval = \"1s\"\ntimeout = \"500ms\"\n",
            target.url()
        )
    };
    targets.iter().map(table).collect::<Vec<_>>().join("\n")
}
