//! Logs of a node's provisioning and of its network plugins: cloud-init, the
//! Azure agent, AKS's own scripts, azure-cns and azure-vnet.
//!
//! Two things are left out on purpose, whatever the patterns say:
//! `cloud-config.txt`, which holds what the node was made from and may hold
//! secrets that AKS's own masking missed, and `/var/log/azure/aks/pods`, whose
//! files are second names of containers' logs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, Issue, IssueKind, LineFlags, Stream};
use periscope_store::positions::Positions;

use super::lines::Line;
use super::log_file::LogFile;
use super::patterns::{Bounds, by_log, find};
use super::reading::{BatchRows, Carry, Decoder, Group, Reading, Row, Rows, Sources, poll};
use super::source::{Backfill, Follow};
use super::{Collector, Progress, stamp};
use crate::host::Host;

/// What is read unless said otherwise.
const USUAL_PATTERNS: [&str; 9] = [
    "/var/log/azure/**",
    // The network plugins of AKS.
    "/var/log/azure-vnet*.log*",
    "/var/log/azure-cns*.log*",
    "/var/log/azure-ipam*.log*",
    "/var/log/azure-cni*.log*",
    "/var/log/cilium-cni*.log*",
    "/var/log/cloud-init.log",
    "/var/log/cloud-init-output.log",
    "/var/log/waagent.log",
];

/// A real node has some dozens of files in as many folders.
const BOUNDS: Bounds = Bounds { depth: 16, folders: 2_000, files: 2_000 };

/// Reads the logs of provisioning: all of them in every poll, or, once it is told
/// to go on from positions, what is new. A log and what was rotated of it are one
/// stream, which has the log's path.
#[derive(Debug)]
pub(crate) struct ProvisionLogs {
    patterns: Vec<String>,
    follow: Follow,
    /// The poll under way, between two of its batches.
    reading: Option<Reading<ProvisionFiles>>,
}

impl ProvisionLogs {
    /// Logs whose paths match one of these patterns, as [`super::patterns`]
    /// understands them; the usual ones if there is none.
    pub(crate) fn new(patterns: Vec<String>) -> Self {
        let usual = || USUAL_PATTERNS.map(str::to_owned).to_vec();
        Self {
            patterns: if patterns.is_empty() { usual() } else { patterns },
            follow: Follow::default(),
            reading: None,
        }
    }

    /// Sets how much is read of what was there before the agent.
    pub(crate) fn with_backfill(self, backfill: Backfill) -> Self {
        Self { follow: Follow::new(backfill), ..self }
    }
}

impl Collector for ProvisionLogs {
    fn name(&self) -> &'static str {
        "provision-logs"
    }

    fn interval(&self) -> Duration {
        super::FOLLOW_INTERVAL
    }

    fn resume(&mut self, positions: &Positions) {
        self.reading = None;
        self.follow.resume(self.name(), positions);
    }

    fn follows(&self) -> bool {
        true
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let patterns = &self.patterns;
        let find = |rows: &mut BatchRows<'_>| ProvisionFiles::find(host, patterns, rows);
        Ok(poll(&mut self.reading, &mut self.follow, host, batch, find)?.unwrap_or_else(|| {
            Progress::Absent(format!("none of {} exists", self.patterns.join(", ")))
        }))
    }
}

/// Logs of a poll that are still to be read.
#[derive(Debug)]
struct ProvisionFiles {
    logs: BTreeMap<String, Vec<LogFile>>,
    is_complete: bool,
}

impl ProvisionFiles {
    /// Finds all files of the patterns; `None` if no pattern leads anywhere.
    fn find(host: &Host, patterns: &[String], rows: &mut impl Rows) -> Result<Option<Self>> {
        let found = find(host, patterns, is_left_out, BOUNDS);
        if found.absent.len() == patterns.len() {
            return Ok(None);
        }
        if let ([], Some(issue)) = (&*found.files, found.issues.first()) {
            bail!("{}: {}\nhint: the agent must run as root", issue.source, issue.message);
        }
        let is_complete = found.issues.is_empty();
        found.issues.into_iter().for_each(|issue| rows.issue(issue));
        for pattern in found.absent {
            let (kind, message) = (IssueKind::Absent, "does not exist".to_owned());
            rows.issue(Issue { source: pattern, kind, amount: None, unit: None, message });
        }
        Ok(Some(Self { logs: by_log(found.files), is_complete }))
    }
}

impl Sources for ProvisionFiles {
    type Decoder = FileLines;

    fn next_group(&mut self, _: &Host, _: &mut dyn FnMut(Issue)) -> Option<Group<FileLines>> {
        let (path, files) = self.logs.pop_first()?;
        Some(Group {
            stream: Stream::file(&path),
            source: path,
            files: files.into(),
            decoder: FileLines::default(),
        })
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }
}

fn is_left_out(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let rest = path.strip_prefix("/var/log/azure/aks/pods");
    name.starts_with("cloud-config.txt")
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Understands the lines of one file: text with a time in front, or none.
#[derive(Debug, Default)]
struct FileLines {
    modified_ns: i64,
    /// Time for lines that have none.
    last_ns: Option<i64>,
}

impl Decoder for FileLines {
    fn begin(&mut self, modified_ns: i64) {
        self.modified_ns = modified_ns;
    }

    fn line(&mut self, line: &Line<'_>, give: &mut dyn FnMut(Row<'_>)) {
        let ts_ns = stamp::leading(line.bytes, self.modified_ns);
        self.last_ns = ts_ns.or(self.last_ns);
        give(Row {
            ts_ns: self.last_ns.unwrap_or(self.modified_ns),
            flags: LineFlags {
                inferred_time: ts_ns.is_none(),
                partial: line.is_cut(),
                ..LineFlags::default()
            },
            message: line.bytes,
            truncated_bytes: 0,
        });
    }

    fn carry(&self) -> Carry {
        Carry { last_ns: self.last_ns, ..Carry::default() }
    }

    fn restore(&mut self, carry: Carry) {
        self.last_ns = carry.last_ns;
    }

    fn end(&mut self, _: &mut dyn FnMut(Row<'_>)) {}
}

#[cfg(test)]
mod tests {
    use periscope_store::batch::Level;
    use periscope_store::time::format_ns;

    use super::super::log_file::Limits;
    use super::super::recorder::{Recorder, node};
    use super::*;

    fn record(host: &Host, patterns: &[&str], room: usize) -> Recorder {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let patterns = ProvisionLogs::new(patterns).patterns;
        let mut found = Recorder::default();
        let files = ProvisionFiles::find(host, &patterns, &mut found);
        let files = files.expect("can be listed").expect("is there");
        let mut recorder = Recorder::record(Reading::new(files, Limits::default()), host, room);
        recorder.issues.splice(..0, found.issues);
        recorder
    }

    #[test]
    fn the_usual_files_are_read_and_secrets_and_copies_are_not() {
        let (_folder, host) = node(&[
            ("var/log/azure/cluster-provision.log", "Sun Nov 22 12:28:03 UTC 2026,node-1\n"),
            ("var/log/azure/aks/provision.json", "{\"ExitCode\": \"50\"}\n"),
            ("var/log/azure/aks/cloud-config.txt", "password\n"),
            ("var/log/azure/aks/pods/kube-system_x_u/c/0.log", "a container's\n"),
            (
                "var/log/azure/custom-script/handler.log.1.gz",
                "time=2026-11-22T12:28:03Z event=start\n",
            ),
            ("var/log/azure/custom-script/again.log", "-> /var/log/azure/cluster-provision.log"),
            ("var/log/azure/core.bin", "no text\n"),
            ("var/log/azure-vnet.log", "{\"ts\":\"2026-11-22T12:28:03.123Z\"}\n"),
            ("var/log/azure-vnet-2026-11-20T10-00-00.000.log.gz", "{}\n"),
            ("var/log/azure-vnet-ipam.json", "{}\n"),
            ("var/log/cloud-init.log", "2026-11-22 12:28:03,123 - util.py[DEBUG]: x\n"),
            ("var/log/waagent.log", "2026-11-22T12:28:03.123456Z INFO Daemon x\n"),
            ("var/log/syslog", "not asked for\n"),
        ]);
        for room in [1, 100] {
            let got = record(&host, &[], room);
            let streams: Vec<_> = got.lines.iter().map(|line| line.stream.as_str()).collect();
            assert_eq!(
                streams,
                [
                    "/var/log/azure-vnet-2026-11-20T10-00-00.000.log",
                    "/var/log/azure-vnet.log",
                    "/var/log/azure/aks/provision.json",
                    "/var/log/azure/cluster-provision.log",
                    "/var/log/azure/custom-script/handler.log",
                    "/var/log/cloud-init.log",
                    "/var/log/waagent.log",
                ]
            );
            let absent = [
                "/var/log/azure-cns*.log*",
                "/var/log/azure-ipam*.log*",
                "/var/log/azure-cni*.log*",
                "/var/log/cilium-cni*.log*",
                "/var/log/cloud-init-output.log",
            ];
            assert_eq!(got.issues(), absent.map(|path| (IssueKind::Absent, path)));
        }
        assert_eq!(record(&host, &["/var/log/sys*"], 9).messages(), ["not asked for"]);
        let asked = ["/var/log/azure/aks/*.txt", "/var/log/azure/aks/pods/**", "/var/log/syslog"];
        assert_eq!(record(&host, &asked, 9).messages(), ["not asked for"]);
    }

    #[test]
    fn lines_without_a_time_have_that_of_the_line_before() {
        let (_folder, host) = node(&[(
            "var/log/waagent.log",
            "a banner\n2026-11-22T12:28:03.5Z ERROR Daemon failed\n  Traceback:\n2026-11-22T12:28:04Z INFO x\nno end",
        )]);
        let got = record(&host, &[], 100);
        let modified_ns = host.open_file("/var/log/waagent.log").expect("a file").modified_ns;
        assert_eq!(got.lines[0].ts_ns, modified_ns);
        let times: Vec<_> = got.lines[1..].iter().map(|line| format_ns(line.ts_ns)).collect();
        let (first, second) = ("2026-11-22T12:28:03.500000000Z", "2026-11-22T12:28:04.000000000Z");
        assert_eq!(times, [first, first, second, second]);
        let flags: Vec<_> = got
            .lines
            .iter()
            .map(|line| (line.flags.inferred_time, line.flags.partial, line.flags.level))
            .collect();
        assert_eq!(
            flags,
            [
                (true, false, Level::None),
                (false, false, Level::Error),
                (true, false, Level::None),
                (false, false, Level::Info),
                (true, true, Level::None),
            ]
        );
        assert_eq!(got.messages()[1], "2026-11-22T12:28:03.5Z ERROR Daemon failed", "whole");
    }

    #[test]
    fn a_node_that_was_not_provisioned_so_says_so() {
        let (_folder, host) = node(&[("etc/hostname", "x")]);
        let mut logs = ProvisionLogs::new(vec!["/var/log/a.log".to_owned(), "/b/**".to_owned()]);
        let mut batch = Batch::new(logs.name());
        let progress = logs.collect(&host, &mut batch).expect("no failure");
        assert_eq!(progress, Progress::Absent("none of /var/log/a.log, /b/** exists".to_owned()));
    }

    #[test]
    fn what_exists_and_cannot_be_read_at_all_is_a_failure() {
        let (_folder, host) = node(&[("var/log/azure", "a file, no folder")]);
        let mut logs = ProvisionLogs::new(Vec::new());
        let error = logs.collect(&host, &mut Batch::new(logs.name())).expect_err("a failure");
        assert!(error.to_string().starts_with("/var/log/azure: cannot list: "), "{error}");
    }

    #[test]
    fn a_poll_goes_on_from_batch_to_batch_and_starts_anew() {
        let line = "2026-11-22T12:28:03.123456Z INFO Daemon the same again and again\n";
        // As much text as fills a batch even if it compresses to nothing.
        let text = line.repeat(1_000_000);
        let (_folder, host) = node(&[("var/log/waagent.log", &text)]);
        let mut logs = ProvisionLogs::new(Vec::new());
        for _ in 0..2 {
            let mut batch = Batch::new(logs.name());
            assert_eq!(logs.collect(&host, &mut batch).expect("no failure"), Progress::More);
            let mut rows = batch.row_count();
            let mut batch = Batch::new(logs.name());
            assert_eq!(logs.collect(&host, &mut batch).expect("no failure"), Progress::Done);
            rows += batch.row_count();
            assert_eq!(rows, 1_000_000);
        }
    }
}
