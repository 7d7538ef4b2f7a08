//! The queue in the folder, with an exporter that does what it is told.

use std::sync::Mutex;

use super::*;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::run::notes::Notes;

/// Answers what the script says, then success; remembers what it was given.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<Vec<Result<(), ExportError>>>>,
    seen: Arc<Mutex<Vec<u64>>>,
    beside: Arc<Mutex<Vec<String>>>,
}

impl Exporter for Scripted {
    fn place(&self) -> String {
        "nowhere".to_owned()
    }

    fn put(&mut self, name: &Name, file: &std::path::Path) -> Result<(), ExportError> {
        assert!(file.exists(), "{}", file.display());
        self.seen.lock().unwrap().push(name.number);
        self.script.lock().unwrap().pop().unwrap_or(Ok(()))
    }

    fn put_beside(
        &mut self,
        _run_id: &str,
        path: &str,
        _content: &[u8],
        _media_type: &str,
    ) -> Result<(), ExportError> {
        self.beside.lock().unwrap().push(path.to_owned());
        Ok(())
    }
}

fn queue(numbers: &[u64]) -> (tempfile::TempDir, Scripted, Queue) {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    for number in numbers {
        let name = Name { number: *number, run_id: "run".to_owned(), node: "node-a".to_owned() };
        let path = outbox.make_live(&name).unwrap();
        std::fs::write(path, "sealed").unwrap();
        outbox.publish(&name).unwrap();
    }
    let around = Around {
        host: Arc::new(Host::open(folder.path()).unwrap()),
        outbox: Arc::new(outbox),
        notes: Arc::new(Notes::default()),
        turns: Arc::default(),
        sealed: 0.into(),
        exported: 0.into(),
        export_failures: 0.into(),
    };
    let exporter = Scripted::default();
    let queue = Queue {
        around: Arc::new(around),
        exporter: Some(Box::new(exporter.clone())),
        aside: BTreeMap::new(),
        failures: 0,
        summarised: Some("run".to_owned()),
        blocked: None,
        hurry: false,
        done: Arc::new(AtomicBool::new(false)),
    };
    (folder, exporter, queue)
}

fn left(queue: &Queue) -> Vec<u64> {
    queue.around.outbox.sealed().unwrap().iter().map(|sealed| sealed.name.number).collect()
}

fn seen(exporter: &Scripted) -> Vec<u64> {
    std::mem::take(&mut exporter.seen.lock().unwrap())
}

#[test]
fn the_oldest_goes_first_and_holds_up_the_others_until_it_arrives() {
    let (_folder, exporter, mut queue) = queue(&[10, 9, 11]);
    exporter.script.lock().unwrap().push(Err(ExportError::Retry(anyhow::anyhow!("busy"))));
    let wait = queue.export_all();
    assert!((FIRST_WAIT / 2..=FIRST_WAIT).contains(&wait), "{wait:?}");
    assert_eq!(seen(&exporter), [9]);
    assert_eq!(left(&queue), [9, 10, 11]);
    assert_eq!(queue.export_all(), LOOK);
    assert_eq!(seen(&exporter), [9, 10, 11]);
    assert!(left(&queue).is_empty());
    assert_eq!(queue.around.exported.load(Ordering::Relaxed), 3);
    assert_eq!(queue.around.export_failures.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_given_up_is_kept_told_once_and_holds_up_nothing() {
    let (_folder, exporter, mut queue) = queue(&[1, 2]);
    exporter.script.lock().unwrap().push(Err(ExportError::GiveUp(anyhow::anyhow!("forbidden"))));
    for _ in 0..3 {
        assert_eq!(queue.export_all(), LOOK);
    }
    assert_eq!(seen(&exporter), [1, 2]);
    assert_eq!(left(&queue), [1]);
    let notes = queue.around.notes.take();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].message.ends_with("forbidden"), "{}", notes[0].message);
    // After an hour it is tried again; so it is with another configuration.
    for until_ns in queue.aside.values_mut() {
        *until_ns = 0;
    }
    queue.export_all();
    assert_eq!(seen(&exporter), [1]);
    assert!(left(&queue).is_empty());
}

#[test]
fn why_nothing_arrives_is_told_once_and_everything_waits() {
    let (_folder, exporter, mut queue) = queue(&[1, 2]);
    for text in ["expired", "expired", "no container"] {
        exporter.script.lock().unwrap().push(Err(ExportError::Blocked(anyhow::anyhow!(text))));
        assert!(queue.export_all() < LOOK);
    }
    assert_eq!(seen(&exporter), [1, 1, 1]);
    assert_eq!(left(&queue), [1, 2]);
    let told: Vec<String> = queue.around.notes.take().into_iter().map(|n| n.message).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].ends_with("expired") && told[1].ends_with("no container"), "{told:?}");
    assert_eq!(queue.export_all(), LOOK);
    assert!(left(&queue).is_empty());
}

#[test]
fn an_archive_is_put_beside_the_first_file_of_a_run() {
    let (_folder, exporter, mut queue) = queue(&[1, 2]);
    queue.summarised = None;
    assert_eq!(queue.export_all(), LOOK);
    // This test's program has no diagnostics, which the archive says.
    assert_eq!(*exporter.beside.lock().unwrap(), ["run/node-a/node-a.zip"]);
    assert!(left(&queue).is_empty());
}

#[test]
fn a_hurry_ends_when_nothing_is_left_to_export() {
    let (_folder, exporter, mut queue) = queue(&[1]);
    queue.hurry = true;
    exporter.script.lock().unwrap().push(Err(ExportError::Retry(anyhow::anyhow!("busy"))));
    assert_eq!(queue.export_all(), HURRIED_WAIT);
    assert!(!queue.done.load(Ordering::Relaxed));
    queue.export_all();
    assert!(queue.done.load(Ordering::Relaxed));
}

#[test]
fn a_hurry_does_not_wait_for_what_somebody_must_change() {
    let (_folder, exporter, mut queue) = queue(&[1, 2]);
    queue.hurry = true;
    exporter.script.lock().unwrap().push(Err(ExportError::Blocked(anyhow::anyhow!("expired"))));
    assert_eq!(queue.export_all(), LOOK);
    assert!(queue.done.load(Ordering::Relaxed));
    assert_eq!((seen(&exporter), left(&queue)), (vec![1], vec![1, 2]));
}

#[test]
fn waits_double_up_to_a_limit_and_are_never_alike() {
    for (failures, longest) in [(1, 1), (2, 2), (5, 16), (20, 300), (u32::MAX, 300)] {
        let longest = Duration::from_secs(longest);
        assert_eq!(back_off(failures, 0), longest / 2);
        assert!(back_off(failures, u64::MAX) < longest);
        assert!(back_off(failures, u64::MAX) >= longest / 2);
    }
}
