//! Takes turns with memory: a part of a file that is compressed and a batch of log lines
//! that is read take tens of megabytes each, and never at once.
//!
//! Who comes first goes first. Nobody waits for long: one that hangs in the middle of its
//! turn takes no more memory, and must not hold up the others.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest time that a turn is waited for. One takes a second or two, and ten times that
/// where everybody else wants the processor.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// Who has the turn, and behind it who waits for it.
    line: VecDeque<u64>,
    /// Whether nobody waits any more.
    is_over: bool,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// Waits for a turn. Who keeps his for too long has it beside others' from then on.
    pub(super) fn wait(&self) -> Turn<'_> {
        self.wait_for(PATIENCE)
    }

    /// Everybody may go at once: the process ends, and time is shorter than memory.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn wait_for(&self, patience: Duration) -> Turn<'_> {
        let mut queue = self.lock();
        let number = queue.next;
        queue.next += 1;
        queue.line.push_back(number);
        while let Some(first) = queue.line.front().copied().filter(|first| *first != number)
            && !queue.is_over
        {
            let is_the_same =
                |queue: &mut Queue| queue.line.front() == Some(&first) && !queue.is_over;
            // A poisoned lock guards a list of numbers, which is whole at any time.
            let (again, waited) = self
                .changed
                .wait_timeout_while(queue, patience, is_the_same)
                .unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if waited.timed_out() {
                queue.line.pop_front();
                self.changed.notify_all();
            }
        }
        drop(queue);
        Turn { turns: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().line.retain(|number| *number != self.number);
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "turns are taken by threads")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn turns_follow_each_other_and_nobody_comes_twice_in_a_row() {
        let (turns, inside) = (Turns::default(), AtomicU32::new(0));
        let order = Mutex::new(Vec::new());
        let first = turns.wait();
        std::thread::scope(|scope| {
            for name in ["reads", "seals"] {
                let (turns, inside, order) = (&turns, &inside, &order);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let turn = turns.wait();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        order.lock().unwrap().push(name);
                        // The other one has come meanwhile.
                        while turns.lock().line.len() < 2 && order.lock().unwrap().len() < 39 {
                            std::thread::yield_now();
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
            while turns.lock().line.len() < 3 {
                std::thread::yield_now();
            }
            drop(first);
        });
        let order = order.into_inner().unwrap();
        assert!(order[..38].windows(2).all(|two| two[0] != two[1]), "{order:?}");
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let turns = Turns::default();
        let hangs = turns.wait();
        let begun = Instant::now();
        let second = turns.wait_for(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert_eq!(turns.lock().line, [second.number], "it is waited for once");
        drop(hangs);
        assert_eq!(turns.lock().line, [second.number]);
        let beside = std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.wait());
            turns.end();
            waits.join().unwrap()
        });
        drop((beside, second));
        assert!(turns.lock().line.is_empty());
        drop(turns.wait());
    }
}
