//! A program on a terminal of its own, and somebody who types: util-linux's `script`
//! makes the terminal.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a program on it.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What came and was not asked for yet.
    seen: String,
}

impl Terminal {
    /// Starts a program, as a shell's words, with some variables set.
    ///
    /// # Errors
    ///
    /// If there is no `script`.
    pub fn start(command: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let mut script = Command::new("script")
            .args(["-qefc", &format!("stty cols 100 rows 40; exec {command}"), "/dev/null"])
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting script")?;
        let keys = script.stdin.take().context("no keys")?;
        let mut from = script.stdout.take().context("no output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { script, keys, output, seen: String::new() })
    }

    /// Types; `\r` is Enter, `\t` Tab, `\x03` Ctrl-C and `\x04` Ctrl-D.
    ///
    /// # Errors
    ///
    /// If the program has ended.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Waits for a text, and gives all that was shown up to its end.
    ///
    /// # Errors
    ///
    /// If it does not come.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("{text:?} was not shown, but {:?}", self.seen)
                }
            }
        }
    }

    /// Waits for the program's end and gives its exit status.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn finish(mut self) -> Result<Option<i32>> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.script.try_wait()? {
                return Ok(status.code());
            }
            // Takes what it still shows, or waits a little.
            let _ = self.output.recv_timeout(Duration::from_millis(20));
        }
        bail!("the program did not end")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended cannot be ended.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
