//! What the runner makes of collectors that misbehave.
#![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use periscope_store::batch::{Batch, LineFlags, Outcome, Setting, Stream};
use periscope_store::bundle::Bundle;
use periscope_store::writer::{Node, Session};

use super::{Report, Run, Summary};
use crate::collect::{Collector, Progress};
use crate::host::Host;
use crate::redact::Redactor;

/// A collector whose polls are a function.
struct Scripted {
    name: &'static str,
    deadline: Duration,
    calls: u32,
    script: fn(u32, &mut Batch) -> anyhow::Result<Progress>,
}

impl Collector for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn collect(&mut self, _: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        self.calls += 1;
        (self.script)(self.calls, batch)
    }
}

fn collector(
    name: &'static str,
    script: fn(u32, &mut Batch) -> anyhow::Result<Progress>,
) -> Box<dyn Collector> {
    Box::new(Scripted { name, deadline: Duration::from_millis(300), calls: 0, script })
}

fn setting(name: &str, value: &str) -> Setting {
    Setting {
        scope: "test".to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source: "/test".to_owned(),
    }
}

fn run(
    folder: &std::path::Path,
    collectors: Vec<Box<dyn Collector>>,
    stop: bool,
) -> anyhow::Result<Summary> {
    let host = Arc::new(Host::open(folder).expect("a root"));
    let run = Run {
        node: Node { name: "node-a".to_owned(), machine_id: String::new() },
        session: Session {
            run_id: "run".to_owned(),
            cluster: None,
            agent_version: "test".to_owned(),
            boot_id: String::new(),
            started_ns: host.now_ns(),
            process: 1,
            config: "{}".to_owned(),
        },
        collectors,
        prober: None,
        probe_for: Duration::ZERO,
        mask: Arc::new(Redactor::new([7; 16])),
        folder: folder.join("out"),
        stop: Arc::new(AtomicBool::new(stop)),
        host,
    };
    run.collect_once()
}

fn rows(path: PathBuf, sql: &str) -> Vec<String> {
    let bundle = Bundle::open(&[path]).expect("a bundle");
    let mut statement = bundle.connection().prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| row.get(0)).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

fn outcomes(summary: &Summary) -> Vec<(&str, Outcome, u64)> {
    let line = |report: &'_ Report| (report.outcome, report.rows);
    summary
        .reports
        .iter()
        .map(|report| (report.collector.as_str(), line(report).0, line(report).1))
        .collect()
}

#[test]
fn one_that_fails_hangs_or_panics_costs_no_other_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = run(
        folder.path(),
        vec![
            collector("fails", |_, _| anyhow::bail!("the disk is on fire")),
            collector("hangs", |_, _| {
                loop {
                    std::thread::park();
                }
            }),
            collector("panics", |_, batch| {
                batch.setting(setting("before", "the panic"));
                panic!("no way")
            }),
            collector("absent", |_, _| Ok(Progress::Absent("no such thing".to_owned()))),
            collector("works", |call, batch| {
                batch.setting(setting("call", &call.to_string()));
                Ok(if call < 3 { Progress::More } else { Progress::Done })
            }),
            collector("fails-late", |call, batch| {
                batch.setting(setting("late", &call.to_string()));
                if call < 2 { Ok(Progress::More) } else { anyhow::bail!("then it broke") }
            }),
        ],
        false,
    )
    .expect("a database");
    assert_eq!(
        outcomes(&summary),
        [
            ("fails", Outcome::Failed, 0),
            ("hangs", Outcome::Failed, 0),
            ("panics", Outcome::Partial, 1),
            ("absent", Outcome::Absent, 0),
            ("works", Outcome::Complete, 3),
            ("fails-late", Outcome::Partial, 2),
        ]
    );
    assert!(summary.has_failures());
    let messages = rows(
        summary.path.clone(),
        "SELECT collector || ': ' || message FROM raw_batch WHERE message IS NOT NULL ORDER BY 1",
    );
    assert_eq!(
        messages,
        [
            "absent: no such thing",
            "fails-late: then it broke",
            "fails: the disk is on fire",
            "hangs: it gave no answer within 0 s",
            "panics: it panicked: no way",
        ]
    );
    let values = rows(summary.path, "SELECT name || '=' || value FROM raw_setting ORDER BY 1");
    assert_eq!(values, ["before=the panic", "call=1", "call=2", "call=3", "late=1", "late=2"]);
}

#[test]
fn a_signal_seals_what_was_collected() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = run(
        folder.path(),
        vec![collector("hangs", |_, _| {
            loop {
                std::thread::park();
            }
        })],
        true,
    )
    .expect("a database");
    assert_eq!(outcomes(&summary), [("hangs", Outcome::Failed, 0)]);
    let messages = rows(summary.path, "SELECT message FROM raw_batch");
    assert_eq!(messages, ["the agent was stopped before it ended"]);
}

#[test]
fn no_secret_reaches_the_file_by_any_door() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = run(
        folder.path(),
        vec![collector("leaks", |_, batch| {
            let stream = batch.stream(Stream::unit("x.service"));
            batch.log(
                stream,
                0,
                LineFlags::default(),
                b"AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0;",
            );
            batch.setting(setting("url", "https://a.example/c?sig=c2VjcmV0c2VjcmV0c2VjcmV0&se=1"));
            anyhow::bail!("GET https://me:c2VjcmV0c2VjcmV0@a.example/ failed")
        })],
        false,
    )
    .expect("a database");
    let bytes = std::fs::read(&summary.path).expect("a file");
    let needle = b"c2VjcmV0c2VjcmV0";
    assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    let masked = rows(
        summary.path,
        "SELECT message FROM log UNION ALL SELECT value FROM raw_setting
         UNION ALL SELECT message FROM raw_batch",
    );
    assert!(masked.iter().all(|text| text.contains('‹')), "{masked:?}");
    assert_eq!(masked.len(), 3);
}

#[test]
fn a_run_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), Vec::new(), false).expect("a database");
    let error = run(folder.path(), Vec::new(), false).expect_err("exists");
    assert!(error.to_string().contains("exists already\nhint: choose another"), "{error}");
}
