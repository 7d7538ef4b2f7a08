//! When a collector is polled, on a clock of the test's own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use periscope_store::batch::Batch;

use super::*;
use crate::host::Host;
use crate::redact::Redactor;

const SECOND: i64 = 1_000_000_000;

/// A collector with an interval of 10 s and a deadline of 3 s, whose poll is a
/// function of the positions that it was told.
struct Scripted(fn(&mut Batch) -> anyhow::Result<Progress>, bool);

impl Collector for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(3)
    }

    fn resume(&mut self, _: &Positions) {
        self.1 = true;
    }

    fn collect(&mut self, _: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        if std::mem::take(&mut self.1) {
            return Ok(Progress::Absent("resumed".to_owned()));
        }
        (self.0)(batch)
    }
}

fn slot(
    script: fn(&mut Batch) -> anyhow::Result<Progress>,
    polls: Polls,
    by: Option<Life>,
) -> (tempfile::TempDir, Receiver<Event>, Slot) {
    let folder = tempfile::tempdir().unwrap();
    let (events, receiver) = sync_channel(1);
    let shared = Shared {
        host: Arc::new(Host::open(folder.path()).unwrap()),
        mask: Arc::new(Redactor::new([7; 16])),
        events,
        turns: Arc::default(),
        nice: 0,
    };
    let slot = Slot::new(0, Box::new(Scripted(script, false)), shared, polls, None, by, 0);
    (folder, receiver, slot)
}

fn text(written: &Written) -> (u64, u64, &'static str) {
    (written.seq, written.round, written.outcome.as_str())
}

#[test]
fn polls_begin_an_interval_apart_whatever_they_take() {
    let (_folder, events, mut slot) = slot(|_| Ok(Progress::Done), Polls::Forever, None);
    for (round, (begun, ended)) in [(0, 2), (10, 12), (20, 21)].into_iter().enumerate() {
        assert!(slot.tick(begun * SECOND - 1, 0, false).is_none());
        assert!(!slot.is_awaited(), "not before it is due");
        assert!(slot.tick(begun * SECOND, 0, false).is_none());
        let event = events.recv().unwrap();
        let written = slot.answered(&event, ended * SECOND).unwrap();
        assert_eq!(text(&written), (round as u64, round as u64, "complete"));
        assert!(!written.more);
        slot.end(ended * SECOND);
    }
    // While it is paused nothing begins, and what was missed is not made up for.
    assert!(slot.tick(30 * SECOND, 0, true).is_none());
    assert!(slot.tick(95 * SECOND, 0, true).is_none());
    assert!(!slot.is_awaited());
    slot.tick(96 * SECOND, 0, false);
    let event = events.recv().unwrap();
    slot.answered(&event, 96 * SECOND).unwrap();
    slot.end(96 * SECOND);
    slot.tick(96 * SECOND + 1, 0, false);
    assert!(!slot.is_awaited(), "one poll, and not six");
}

#[test]
fn one_that_hangs_is_told_each_round_and_never_started_twice() {
    let (_folder, events, mut slot) = slot(
        |_| {
            std::thread::park();
            Ok(Progress::Done)
        },
        Polls::Forever,
        None,
    );
    slot.tick(0, 0, false);
    assert!(slot.tick(3 * SECOND, 0, false).is_none());
    let mut told = Vec::new();
    for second in 4..40 {
        if let Some(silence) = slot.tick(second * SECOND, 0, false) {
            let written = slot.silent(silence.message);
            told.push((second, written.round, written.message.unwrap()));
        }
    }
    let message = |text: &str| text.to_owned();
    assert_eq!(
        told,
        [
            (4, 0, message("it gave no answer within 3 s")),
            (14, 1, message("it has given no answer for 14 s")),
            (24, 2, message("it has given no answer for 24 s")),
            (34, 3, message("it has given no answer for 34 s")),
        ]
    );
    assert!(events.try_recv().is_err(), "it was called once and hangs");
    assert!(slot.has_ended_once(), "a run does not wait for it");
}

#[test]
fn what_did_not_get_into_the_file_is_read_again_from_there() {
    let (_folder, events, mut slot) = slot(|_| Ok(Progress::More), Polls::Forever, None);
    slot.tick(0, 0, false);
    let event = events.recv().unwrap();
    assert!(slot.answered(&event, 0).unwrap().more);
    slot.read_again(SECOND, Positions::default());
    assert!(!slot.has_ended_once());
    slot.tick(5 * SECOND, 0, false);
    assert!(!slot.is_awaited());
    slot.tick(6 * SECOND, 0, false);
    let event = events.recv().unwrap();
    assert_eq!(event.result, Ok(Progress::Absent("resumed".to_owned())));
}

#[test]
fn a_thread_of_the_run_before_is_waited_for() {
    let (_first_folder, first_events, mut first) =
        slot(|_| Ok(Progress::Done), Polls::Forever, None);
    let (_folder, events, mut second) = slot(|_| Ok(Progress::Done), Polls::Forever, first.life());
    second.tick(0, 0, false);
    assert!(events.try_recv().is_err());
    assert!(second.is_awaited());
    let silence = second.tick(4 * SECOND, 0, false);
    assert!(silence.is_some(), "that takes no longer than its deadline");
    // The first ends when nobody listens to it any more.
    first.tick(0, 0, false);
    first_events.recv().unwrap();
    let life = first.life().unwrap();
    drop(first);
    while life.is_alive() {
        std::thread::yield_now();
    }
    second.tick(5 * SECOND, 0, false);
    assert!(events.recv().is_ok());
}

#[test]
fn one_poll_is_one_poll() {
    let (_folder, events, mut slot) = slot(|_| Ok(Progress::Done), Polls::Once, None);
    slot.tick(0, 0, false);
    let event = events.recv().unwrap();
    slot.answered(&event, 0).unwrap();
    slot.end(0);
    assert!(slot.tick(i64::MAX - 1, 0, false).is_none());
    assert!(!slot.is_awaited());
}
