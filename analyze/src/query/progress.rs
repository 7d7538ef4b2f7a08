//! Says on a terminal that a question is still being answered.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: std::ffi::c_int = 10_000;

/// Nobody asks what is done within this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line is written.
const PERIOD: Duration = Duration::from_millis(200);

/// A line on standard error that tells how long it takes and how many rows there are.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    rows: Arc<AtomicU64>,
    shown: Arc<AtomicBool>,
}

impl Progress {
    /// One that shows nothing.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Shows the line while `connection` works, if it is wanted and there is a
    /// terminal to show it on.
    ///
    /// # Errors
    ///
    /// If the connection is in use.
    pub(crate) fn start(connection: &mut Connection, wanted: bool) -> Result<Self> {
        let this = Self::default();
        if !wanted || !io::stderr().is_terminal() {
            return Ok(this);
        }
        let (rows, shown) = (Arc::clone(&this.rows), Arc::clone(&this.shown));
        let began = Instant::now();
        let mut last = began;
        connection.progress_handler(
            STEPS,
            Some(move || {
                let now = Instant::now();
                if now - began > PATIENCE && now - last > PERIOD {
                    last = now;
                    let rows = rows.load(Ordering::Relaxed);
                    // A terminal that went away is told nothing.
                    let _ = write!(
                        io::stderr(),
                        "\r\x1b[2K{:.0} s, {rows} rows",
                        (now - began).as_secs_f64()
                    );
                    shown.store(true, Ordering::Relaxed);
                }
                false
            }),
        )?;
        Ok(this)
    }

    /// A row more was read.
    pub(crate) fn row(&self) {
        self.rows.fetch_add(1, Ordering::Relaxed);
        if self.shown.load(Ordering::Relaxed) && io::stdout().is_terminal() {
            self.clear();
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.shown.swap(false, Ordering::Relaxed) {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
