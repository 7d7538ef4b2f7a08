//! What the agent has to say of itself: what each of its ceilings cost. Rows of
//! `collection` under the name `agent`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use periscope_store::batch::{Batch, Issue, IssueKind, Mask, Outcome};
use periscope_store::writer::Poll;

/// Name in column `collector`.
pub(super) const NAME: &str = "agent";

/// Notes that are kept until they can be written; then the oldest go.
const KEPT: usize = 256;

/// Notes of all threads, until they are written.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    issues: Vec<Issue>,
    /// Notes that there was no room for.
    forgotten: u64,
}

impl Notes {
    /// Notes something, and tells it to whoever reads the log. Equal notes add up.
    pub(crate) fn add(&self, issue: Issue) {
        let amount = issue.amount.unwrap_or_default();
        let unit = issue.unit.unwrap_or_default();
        if issue.kind.is_loss() {
            tracing::warn!(source = issue.source, amount, unit, "{}", issue.message);
        } else {
            tracing::info!(source = issue.source, amount, unit, "{}", issue.message);
        }
        self.add_quietly(issue);
    }

    /// The same without a word to the log.
    pub(super) fn add_quietly(&self, issue: Issue) {
        let mut waiting = self.lock();
        let same = |known: &&mut Issue| {
            (&known.source, known.kind, known.unit, &known.message)
                == (&issue.source, issue.kind, issue.unit, &issue.message)
        };
        if let Some(known) = waiting.issues.iter_mut().find(same) {
            known.amount = known.amount.zip(issue.amount).map(|(a, b)| a.saturating_add(b));
            return;
        }
        if waiting.issues.len() >= KEPT {
            waiting.issues.remove(0);
            waiting.forgotten += 1;
        }
        waiting.issues.push(issue);
    }

    /// Whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().issues.is_empty()
    }

    /// Takes all that waits, to write it.
    pub(super) fn take(&self) -> Vec<Issue> {
        let mut waiting = self.lock();
        let mut issues = std::mem::take(&mut waiting.issues);
        let forgotten = std::mem::take(&mut waiting.forgotten);
        if forgotten > 0 {
            issues.push(Issue {
                source: NAME.to_owned(),
                kind: IssueKind::Dropped,
                amount: Some(forgotten),
                unit: Some("notes"),
                message: "there was no room to keep all notes of the agent".to_owned(),
            });
        }
        issues
    }

    /// Gives back what could not be written.
    pub(super) fn put_back(&self, mut issues: Vec<Issue>) {
        let mut waiting = self.lock();
        issues.append(&mut waiting.issues);
        let too_many = issues.len().saturating_sub(KEPT);
        waiting.forgotten += issues.drain(..too_many).count() as u64;
        waiting.issues = issues;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nobody panics while holding it, and a note is no reason to.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes as batch number `seq` of the agent itself.
pub(super) fn batch(
    issues: &[Issue],
    mask: &Arc<dyn Mask>,
    seq: u64,
    now_ns: i64,
) -> (Batch, Poll) {
    let mut batch = Batch::masked(NAME, mask.clone());
    for issue in issues {
        batch.issue(issue.clone());
    }
    let outcome = if batch.has_losses() { Outcome::Partial } else { Outcome::Complete };
    let poll =
        Poll { seq, round: seq, started_ns: now_ns, ended_ns: now_ns, outcome, message: None };
    (batch, poll)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    fn note(source: &str, amount: u64) -> Issue {
        Issue {
            source: source.to_owned(),
            kind: IssueKind::Dropped,
            amount: Some(amount),
            unit: Some("bytes"),
            message: "gone".to_owned(),
        }
    }

    #[test]
    fn equal_notes_add_up_and_stay_until_written() {
        let notes = Notes::default();
        notes.add(note("a", 1));
        notes.add(note("b", 2));
        notes.add(note("a", 4));
        let taken = notes.take();
        assert_eq!(taken.iter().map(|issue| issue.amount).collect::<Vec<_>>(), [Some(5), Some(2)]);
        let mask: Arc<dyn Mask> = Arc::new(Redactor::new([7; 16]));
        assert_eq!(batch(&taken, &mask, 3, 1).1.outcome, Outcome::Partial);
        notes.add(note("c", 1));
        notes.put_back(taken);
        let sources: Vec<_> = notes.take().into_iter().map(|issue| issue.source).collect();
        assert_eq!(sources, ["a", "b", "c"]);
        assert!(notes.is_empty());
    }

    #[test]
    fn too_many_are_counted() {
        let notes = Notes::default();
        for at in 0..KEPT + 3 {
            notes.add(note(&at.to_string(), 1));
        }
        let taken = notes.take();
        assert_eq!(taken[0].source, "3");
        assert_eq!(taken.len(), KEPT + 1);
        assert_eq!(taken[KEPT].amount, Some(3));
        notes.put_back(taken);
        assert_eq!(notes.take()[KEPT].amount, Some(1));
    }
}
