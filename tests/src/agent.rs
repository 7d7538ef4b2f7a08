//! The agent as a process that goes on: started, watched, and ended by a signal.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest time that anything is waited for. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running agent; killed when it is dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts a command; what it says goes to a file.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something is so.
    ///
    /// # Errors
    ///
    /// If the agent ends before, or it takes too long.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status} before {what}:\n{}", self.said());
            }
            if Instant::now() > until {
                bail!("{what}: not within {PATIENCE:?}:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().context("starting kill")?;
        if !sent.success() {
            bail!("the agent is gone:\n{}", self.said());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("SIGTERM did not end it:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    ///
    /// If it has ended before.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("the agent has ended")?;
        self.child.wait().map(drop).context("waiting for the agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
