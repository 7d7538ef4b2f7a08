//! A sign of life on a terminal while something takes its time.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::manners;

/// Nobody asks what is done within this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line is written.
const PERIOD: Duration = Duration::from_millis(200);

/// A line on standard error that says what is being done, from the first second on; gone
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    shown: Option<(Sender<String>, JoinHandle<()>)>,
}

impl Waiting {
    /// Begins to wait for something: `opening bundle/`.
    pub(crate) fn start(doing: &str) -> Self {
        if !manners::progress() {
            return Self { shown: None };
        }
        let (sender, receiver) = mpsc::channel();
        let first = doing.to_owned();
        let thread = std::thread::spawn(move || show(first, &receiver));
        Self { shown: Some((sender, thread)) }
    }

    /// Says what is being done now.
    pub(crate) fn now(&self, doing: &str) {
        if let Some((sender, _)) = &self.shown {
            // A thread that ended shows nothing, which is no harm.
            let _ = sender.send(doing.to_owned());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.shown.take() {
            drop(sender);
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

fn show(mut doing: String, receiver: &mpsc::Receiver<String>) {
    let began = Instant::now();
    let mut wait = PATIENCE;
    let mut is_shown = false;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(next) => {
                doing = next;
                wait = PATIENCE.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
                if is_shown {
                    wait = PERIOD;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // A terminal that went away is told nothing.
        let _ = write!(io::stderr(), "\r\x1b[2K{} s, {doing}", began.elapsed().as_secs());
        is_shown = true;
        wait = PERIOD;
    }
    if is_shown {
        let _ = write!(io::stderr(), "\r\x1b[2K");
    }
}
