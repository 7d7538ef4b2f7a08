//! Keeps the node's `Diagnostic` object up to date in a thread of its own: after
//! each sealed file, and again when somebody removed it.
//!
//! The file is asked in the thread that seals, because a sealed file may be exported
//! and gone a moment later; the API server is asked in this one, because it may be
//! slow or away. Only the newest summary is kept, so nothing piles up.
#![expect(clippy::disallowed_methods, reason = "the runner starts the threads")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, IssueKind};

use super::sealing::Around;
use super::worker::lower_priority;
use crate::diagnostic_resource::{Desk, Summary, Written};
use crate::outbox::Name;

/// Times after which is looked whether the object is still there. `az aks kollect`
/// removes the definition and all its objects while it makes them anew.
const LOOKS: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(10)];

/// Time after which it is looked at from then on, and without anything to write.
const LOOK: Duration = Duration::from_hours(1);

/// First wait after a failure, doubled each time, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What notes name as their source.
const SOURCE: &str = "diagnostic resource";

/// The runner's end of the thread.
pub(super) struct Publishing {
    /// None if this agent has no object to keep.
    summaries: Option<Sender<Summary>>,
}

impl Publishing {
    /// Starts the thread, if there is a place for the object.
    ///
    /// # Errors
    ///
    /// If there can be no more threads.
    pub(super) fn start(desk: Option<Desk>, around: Arc<Around>, nice: i32) -> Result<Self> {
        let Some(desk) = desk else { return Ok(Self { summaries: None }) };
        let (summaries, inbox) = channel();
        std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || {
                lower_priority(nice);
                work(&desk, &around, &inbox);
            })
            .context("cannot start a thread to publish what a node looks like")?;
        Ok(Self { summaries: Some(summaries) })
    }

    /// Asks a file that was just sealed, and has the answer written.
    pub(super) fn sealed(&self, name: &Name, path: &Path) {
        let Some(summaries) = &self.summaries else { return };
        match Summary::of(name, path) {
            Ok(summary) => drop(summaries.send(summary)),
            // It was exported already, or its room was needed.
            Err(_) if !path.exists() => {}
            Err(error) => tracing::warn!(
                "cannot ask {} for the {SOURCE}: {}",
                path.display(),
                super::one_line(&error)
            ),
        }
    }
}

/// Body of the thread.
fn work(desk: &Desk, around: &Around, inbox: &Receiver<Summary>) {
    let mut kept: Option<Summary> = None;
    let (mut wait, mut looks, mut failures) = (LOOK, 0, 0);
    let mut said = String::new();
    loop {
        match inbox.recv_timeout(wait) {
            Ok(summary) => {
                kept = Some(summary.after(kept.as_ref()));
                (looks, failures) = (0, 0);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(summary) = &kept else { continue };
        wait = match desk.write(&around.host, summary) {
            Ok(written) => {
                if written != Written::Same {
                    tracing::info!("the {SOURCE} of this node is up to date");
                }
                said.clear();
                failures = 0;
                looks += 1;
                LOOKS.get(looks - 1).copied().unwrap_or(LOOK)
            }
            Err(error) => {
                let text = format!("not written, tried again: {}", super::one_line(&error));
                if text != said {
                    around.notes.add(Issue {
                        source: SOURCE.to_owned(),
                        kind: IssueKind::Excluded,
                        amount: None,
                        unit: None,
                        message: text.clone(),
                    });
                    said = text;
                }
                failures += 1;
                back_off(failures)
            }
        };
    }
}

/// Wait after a number of failures in a row.
fn back_off(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        assert_eq!(back_off(1), FIRST_WAIT);
        assert_eq!(back_off(3), FIRST_WAIT * 4);
        assert_eq!(back_off(u32::MAX), LONGEST_WAIT);
    }
}
