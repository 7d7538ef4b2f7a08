//! Says on a terminal how far a question is.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use periscope_store::bundle::Watch;

/// Nobody asks what is done within this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line is written.
const PERIOD: Duration = Duration::from_millis(200);

/// A line on standard error: how long it takes, how many rows there are, and how much
/// was read for them. Gone when this is dropped.
///
/// A thread of its own writes it: a search that finds nothing runs none of SQLite's
/// steps.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
    /// Whether rows go to the terminal that the line is on.
    shares_terminal: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    rows: AtomicU64,
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    is_shown: bool,
    is_hidden: bool,
    is_over: bool,
}

impl Progress {
    /// One that shows nothing and counts rows.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Shows the line from the first second on, if it is wanted and there is a terminal to
    /// show it on. `shares_terminal` is whether rows are printed there too.
    pub(crate) fn start(watch: Watch, wanted: bool, shares_terminal: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = (wanted && io::stderr().is_terminal()).then(|| {
            let shared = Arc::clone(&shared);
            // Here, as the thread may begin when much was read.
            let before = watch.read_bytes();
            std::thread::spawn(move || shared.show(&watch, before))
        });
        Self { shared, shares_terminal, thread }
    }

    /// How many rows there were.
    pub(crate) fn rows(&self) -> u64 {
        self.shared.rows.load(Ordering::Relaxed)
    }

    /// A row more was read, and is kept for later.
    pub(crate) fn row_held(&self) {
        self.shared.rows.fetch_add(1, Ordering::Relaxed);
    }

    /// A row more was read and is printed: where the line is, rows tell enough.
    pub(crate) fn row_shown(&self) {
        if self.shared.rows.fetch_add(1, Ordering::Relaxed) == 0 && self.shares_terminal {
            self.hide();
        }
    }

    /// Takes the line away for good.
    pub(crate) fn hide(&self) {
        let mut line = self.shared.lock();
        line.is_hidden = true;
        line.clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut line = self.shared.lock();
        line.is_over = true;
        line.clear();
        drop(line);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; if it did, the answer is still right.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Body of the thread. `before` was read for earlier questions.
    fn show(&self, watch: &Watch, before: u64) {
        let began = Instant::now();
        let mut wait = PATIENCE;
        let mut line = self.lock();
        loop {
            let woken = self.changed.wait_timeout_while(line, wait, |line| !line.is_over);
            line = woken.unwrap_or_else(PoisonError::into_inner).0;
            if line.is_over {
                return;
            }
            wait = PERIOD;
            if !line.is_hidden {
                let rows = self.rows.load(Ordering::Relaxed);
                let text = text(began.elapsed(), rows, watch.read_bytes() - before);
                // A terminal that went away is told nothing.
                let _ = write!(io::stderr(), "\r\x1b[2K{text}");
                line.is_shown = true;
            }
        }
    }
}

impl Line {
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

fn text(elapsed: Duration, rows: u64, bytes: u64) -> String {
    let noun = if rows == 1 { "row" } else { "rows" };
    let (rows, bytes) = (HumanCount(rows), HumanBytes(bytes));
    format!("{} s, {rows} {noun}, {bytes} of chunks read", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_was_done() {
        let line = text(Duration::from_millis(12_900), 1_234_567, 3 << 20);
        assert_eq!(line, "12 s, 1,234,567 rows, 3.00 MiB of chunks read");
        assert_eq!(text(Duration::from_secs(1), 1, 0), "1 s, 1 row, 0 B of chunks read");
    }

    #[test]
    fn the_end_comes_at_once() {
        let began = Instant::now();
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.show(&Watch::default(), 0))
        };
        let progress = Progress { shared, shares_terminal: true, thread: Some(thread) };
        progress.row_shown();
        progress.row_held();
        assert_eq!(progress.rows(), 2);
        drop(progress);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
}
