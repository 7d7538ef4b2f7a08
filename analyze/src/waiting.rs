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

/// Body of the thread; ends when nobody is left who could send.
fn show(doing: String, receiver: &mpsc::Receiver<String>) {
    // A terminal that went away is told nothing.
    show_on(&mut io::stderr(), PATIENCE, doing, receiver);
}

fn show_on(
    out: &mut impl Write,
    patience: Duration,
    mut doing: String,
    receiver: &mpsc::Receiver<String>,
) {
    let began = Instant::now();
    let mut wait = patience;
    let mut is_shown = false;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(next) => {
                doing = next;
                wait = patience.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
                if is_shown {
                    wait = PERIOD;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let _ = write!(out, "\r\x1b[2K{} s, {doing}", began.elapsed().as_secs());
        is_shown = true;
        wait = PERIOD;
    }
    if is_shown {
        let _ = write!(out, "\r\x1b[2K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says when something is written to it.
    struct Terminal {
        text: Vec<u8>,
        told: Sender<()>,
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.text.extend_from_slice(bytes);
            // Whoever waits for the first one hears no other.
            let _ = self.told.send(());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_comes_after_a_while_and_goes_at_the_end() {
        let (sender, receiver) = mpsc::channel();
        sender.send("asking one".to_owned()).expect("taken");
        drop(sender);
        let mut out = Vec::new();
        show_on(&mut out, PATIENCE, "opening".to_owned(), &receiver);
        assert_eq!(out, b"", "who is quick is not bothered");

        let (sender, receiver) = mpsc::channel();
        let (told, tells) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut out = Terminal { text: Vec::new(), told };
            show_on(&mut out, Duration::ZERO, "opening".to_owned(), &receiver);
            out.text
        });
        tells.recv().expect("the line is written");
        drop(sender);
        let text = String::from_utf8(thread.join().expect("ended")).expect("text");
        assert!(text.starts_with("\r\u{1b}[2K0 s, opening"), "{text:?}");
        assert!(text.ends_with("\r\u{1b}[2K"), "{text:?}");
    }
}
