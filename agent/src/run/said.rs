//! What a collector that follows has said already: a log that cannot be read is met in
//! every poll, every ten seconds, and is news once.
//!
//! An issue without an amount, or one that counts files, tells how something is; any
//! other tells what was lost, and adds up. What is as it was is left out of the batches
//! of the following polls, and these belong to the same round: so the newest round, of
//! which `collection` speaks, still has it. When something is no longer so, or after a
//! while, or in another file, a new round says everything again.

use std::collections::HashSet;

use periscope_store::batch::{Batch, Issue};
use sha2::{Digest, Sha256};

/// Time after which what is as it was is said again.
const AGAIN_NS: i64 = 600_000_000_000;

/// Hash of an issue: there can be a thousand of them, with long texts.
type Key = [u8; 16];

/// What was said in this round, and what the last poll met of it.
#[derive(Debug, Default)]
pub(super) struct Said {
    told: HashSet<Key>,
    met: HashSet<Key>,
    since_ns: i64,
}

impl Said {
    /// Begins a poll. Whether it is a new round.
    pub(super) fn begins_round(&mut self, now_ns: i64) -> bool {
        let is_as_it_was = !self.told.is_empty() && self.told == self.met;
        let begins = !is_as_it_was || now_ns.saturating_sub(self.since_ns) >= AGAIN_NS;
        if begins {
            self.told.clear();
            self.since_ns = now_ns;
        }
        self.met.clear();
        begins
    }

    /// Takes out of a batch what was said before.
    pub(super) fn filter(&mut self, batch: &mut Batch) {
        batch.retain_issues(|issue| {
            let is_state = issue.amount.is_none() || issue.unit == Some("files");
            if !is_state {
                return true;
            }
            let key = key(issue);
            self.met.insert(key);
            self.told.insert(key)
        });
    }

    /// Everything is news again: what was said did not get into the file, or is in
    /// another one.
    pub(super) fn forget(&mut self) {
        self.told.clear();
    }
}

fn key(issue: &Issue) -> Key {
    let mut hash = Sha256::new();
    for part in [&*issue.source, issue.kind.as_str(), &*issue.message] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(issue.amount.unwrap_or_default().to_le_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use periscope_store::batch::IssueKind;

    use super::*;

    fn batch(issues: &[(&str, Option<u64>, Option<&'static str>)]) -> Batch {
        let mut batch = Batch::new("test");
        for (source, amount, unit) in issues {
            batch.issue(Issue {
                source: (*source).to_owned(),
                kind: IssueKind::Unreadable,
                amount: *amount,
                unit: *unit,
                message: "cannot open".to_owned(),
            });
        }
        batch
    }

    /// A poll of two batches. Whether it began a round, and what is written.
    fn poll(
        said: &mut Said,
        now_ns: i64,
        issues: &[(&str, Option<u64>, Option<&'static str>)],
    ) -> (bool, u64) {
        let begins = said.begins_round(now_ns);
        let (first, second) = issues.split_at(issues.len().min(1));
        let written = [first, second].map(|issues| {
            let mut batch = batch(issues);
            said.filter(&mut batch);
            batch.loss_count()
        });
        (begins, written.iter().sum())
    }

    #[test]
    fn what_is_as_it_was_is_said_once_a_round() {
        let mut said = Said::default();
        let two = [("a", None, None), ("b", Some(3), Some("files"))];
        assert_eq!(poll(&mut said, 0, &two), (true, 2));
        assert_eq!(poll(&mut said, 10, &two), (false, 0));
        let three = [("a", None, None), ("b", Some(3), Some("files")), ("c", None, None)];
        assert_eq!(poll(&mut said, 20, &three), (false, 1), "one more");
        assert_eq!(poll(&mut said, 30, &two), (false, 0));
        assert_eq!(poll(&mut said, 40, &two), (true, 2), "one fewer, as the last poll knows");
        assert_eq!(poll(&mut said, 40 + AGAIN_NS, &two), (true, 2), "after a while");
        said.forget();
        assert_eq!(poll(&mut said, 50 + AGAIN_NS, &two), (true, 2), "in another file");
    }

    #[test]
    fn what_was_lost_is_said_each_time() {
        let mut said = Said::default();
        let lost = [("a", Some(3), Some("bytes"))];
        for now_ns in 0..3 {
            assert_eq!(poll(&mut said, now_ns, &lost), (true, 1));
        }
        assert_eq!(poll(&mut said, 4, &[]), (true, 0), "each poll is a round if nothing is wrong");
        assert_eq!(poll(&mut said, 5, &[]), (true, 0));
        assert_eq!(poll(&mut said, 6, &[("a", Some(2), Some("files"))]), (true, 1));
        assert_eq!(poll(&mut said, 7, &[("a", Some(3), Some("files"))]), (false, 1), "another");
    }
}
