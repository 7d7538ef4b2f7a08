//! What waits, what is dropped and what is read again while there is no file.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use periscope_store::batch::{Outcome, Setting};
use periscope_store::bundle::Bundle;
use periscope_store::writer::{Node, Session};

use super::*;
use crate::collect::{Collector, Progress};
use crate::redact::Redactor;
use crate::run::slot::Polls;
use crate::run::worker::Shared;

/// A collector that has one setting to tell, more than once a poll.
struct Talks(u32, bool);

impl Collector for Talks {
    fn name(&self) -> &'static str {
        if self.1 { "follows" } else { "talks" }
    }

    fn interval(&self) -> Duration {
        Duration::from_hours(1)
    }

    fn follows(&self) -> bool {
        self.1
    }

    fn collect(&mut self, _: &Host, batch: &mut Batch) -> Result<Progress> {
        batch.setting(Setting {
            scope: "test".to_owned(),
            name: "left".to_owned(),
            value: Some(self.0.to_string()),
            source: "/test".to_owned(),
        });
        self.0 -= 1;
        Ok(if self.0 > 0 { Progress::More } else { Progress::Done })
    }
}

fn recorder(folder: &Path) -> (Recorder, SyncSender<Event>, Shared) {
    let host = Arc::new(Host::open(folder).unwrap());
    let mask: Arc<dyn Mask> = Arc::new(Redactor::new([7; 16]));
    let (sender, events) = sync_channel(1);
    let shared = Shared {
        host: host.clone(),
        mask: mask.clone(),
        events: sender.clone(),
        turns: Arc::default(),
        nice: 0,
    };
    let notes = Arc::new(Notes::default());
    let recorder = Recorder::new(host, mask, events, notes, Positions::default(), false);
    (recorder, sender, shared)
}

fn add(recorder: &mut Recorder, shared: &Shared, collector: Talks) {
    let at = recorder.slots.len();
    let collector = Box::new(collector);
    let slot = Slot::new(at, collector, shared.clone(), Polls::Forever, None, None, 0);
    recorder.slots.push(slot);
}

fn writer(path: &Path) -> Writer {
    let session = Session {
        run_id: "run".to_owned(),
        cluster: None,
        agent_version: "test".to_owned(),
        boot_id: String::new(),
        started_ns: 1,
        process: 1,
        config: "{}".to_owned(),
    };
    let node = Node { name: "node-a".to_owned(), machine_id: String::new() };
    Writer::create_at(path, &node, &session, &Positions::default()).unwrap()
}

/// First column of the sealed file.
fn rows(recorder: Recorder, path: &Path, sql: &str) -> Vec<String> {
    recorder.writer.unwrap().seal().unwrap();
    let bundle = Bundle::open(&[path.to_owned()]).unwrap();
    let mut statement = bundle.connection().prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_oldest_are_dropped_and_counted_while_there_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut recorder, _sender, shared) = recorder(folder.path());
    let all = WAITING as u32 + 5;
    add(&mut recorder, &shared, Talks(all, false));
    add(&mut recorder, &shared, Talks(3, true));
    while !recorder.slots[0].has_ended_once() {
        recorder.step().unwrap();
    }
    assert!(recorder.is_stuck());
    assert_eq!(recorder.totals.dropped_rows, 5);
    assert!(!recorder.slots[1].has_ended_once(), "what can be read later waits");

    let path = folder.path().join("a.db");
    recorder.change_file(writer(&path));
    while recorder.is_stuck() || !recorder.slots[1].has_ended_once() {
        recorder.step().unwrap();
    }
    assert_eq!(recorder.totals.rows, WAITING as u64 + 3);
    let told = rows(
        recorder,
        &path,
        "SELECT collector || ': ' || count(*) FROM raw_setting
         JOIN raw_batch ON raw_batch.id = batch_id GROUP BY collector
         UNION ALL
         SELECT raw_issue.source || ' ' || kind || ' ' || amount || ' ' || unit FROM raw_issue
         WHERE source = 'talks'",
    );
    assert_eq!(told, ["follows: 3", &format!("talks: {WAITING}"), "talks dropped 5 rows"]);
}

#[test]
fn paused_logs_begin_no_poll() {
    let folder = tempfile::tempdir().unwrap();
    let (mut recorder, _sender, shared) = recorder(folder.path());
    add(&mut recorder, &shared, Talks(1, true));
    let path = folder.path().join("a.db");
    recorder.change_file(writer(&path));
    recorder.logs_paused = true;
    recorder.step().unwrap();
    assert!(!recorder.slots[0].is_awaited());
    recorder.logs_paused = false;
    while !recorder.slots[0].has_ended_once() {
        recorder.step().unwrap();
    }
    assert_eq!(recorder.slots[0].report().outcome, Outcome::Complete);
    let told = rows(recorder, &path, "SELECT value FROM raw_setting");
    assert_eq!(told, ["1"]);
}
