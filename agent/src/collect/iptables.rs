//! The packet filter: all tables, chains and rules, with their counters.
//!
//! Runs the node's own `iptables-save` and `ip6tables-save`, because which of
//! two backends holds the rules depends on the node's distribution, and only
//! its own program knows.

mod dump;

use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, Issue, IssueKind};

use self::dump::parse;
use super::{Collector, Progress};
use crate::host::{Host, Output, Program};

/// Most output that is read of one program.
const MAX_OUTPUT_BYTES: usize = 8 << 20;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Folders in which the node's programs are looked for.
const PROGRAM_FOLDERS: [&str; 5] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin"];

/// Reads all tables of IPv4 and IPv6.
///
/// One family that cannot be read is an issue and costs nothing of the other.
#[derive(Debug, Default)]
pub(crate) struct Iptables;

impl Collector for Iptables {
    fn name(&self) -> &'static str {
        "iptables"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    /// Each of three programs may take its whole time.
    fn deadline(&self) -> Duration {
        TIMEOUT * 4
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let families = [
            ("ipv4", "iptables-save", Program::IptablesSave),
            ("ipv6", "ip6tables-save", Program::Ip6tablesSave),
        ];
        let (installed, missing): (Vec<_>, Vec<_>) =
            families.into_iter().partition(|(_, name, _)| is_installed(host, name));
        if installed.is_empty() {
            let folders = PROGRAM_FOLDERS.join(", ");
            return Ok(Progress::Absent(format!("no iptables-save in {folders}")));
        }
        for (family, name, _) in missing {
            note(batch, name, IssueKind::Absent, format!("no {name}, so no rules of {family}"));
        }
        let version = version(host);
        let mut failures = Vec::new();
        let mut was_read = false;
        for (family, name, program) in installed {
            match run(host, name, program) {
                Ok(output) => {
                    was_read = true;
                    push(batch, family, name, &version, &output);
                }
                Err(error) => failures.push((name, format!("{error:#}"))),
            }
        }
        if !was_read {
            let failures: Vec<_> = failures.into_iter().map(|(_, failure)| failure).collect();
            bail!("{}", failures.join("; "));
        }
        for (name, failure) in failures {
            note(batch, name, IssueKind::Unreadable, failure);
        }
        Ok(Progress::Done)
    }
}

/// Looks for a program where [`Host::run`] would, so that a missing one is told
/// apart from one that fails.
fn is_installed(host: &Host, name: &str) -> bool {
    PROGRAM_FOLDERS.iter().any(|folder| host.open_file(&format!("{folder}/{name}")).is_ok())
}

/// What `iptables --version` prints, empty if it cannot be run: the backend is
/// then read from the dump itself, or unknown.
fn version(host: &Host) -> String {
    host.run(Program::IptablesVersion, 4096, TIMEOUT)
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn run(host: &Host, name: &str, program: Program) -> Result<Output> {
    let output = host.run(program, MAX_OUTPUT_BYTES, TIMEOUT)?;
    if !output.success {
        let reason = output.stderr.lines().next().unwrap_or("no reason given");
        if ["ermission denied", "not permitted", "must be root"]
            .iter()
            .any(|text| output.stderr.contains(text))
        {
            bail!("{name} failed: {reason}\nhint: the agent needs root and CAP_NET_ADMIN");
        }
        bail!("{name} failed: {reason}");
    }
    Ok(output)
}

/// Pushes what a program printed.
fn push(batch: &mut Batch, family: &'static str, name: &str, version: &str, output: &Output) {
    let mut text = &output.stdout[..];
    if output.truncated {
        // The last line may be half a rule, which would read as another rule.
        let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        text = &text[..end];
        let message = format!(
            "{name} printed more than {} MiB; only its first lines were kept",
            MAX_OUTPUT_BYTES >> 20
        );
        note(batch, name, IssueKind::Truncated, message);
    }
    let text = String::from_utf8_lossy(text);
    let tables = parse(&text, family, backend(version, &text));
    for warning in warnings(&text).chain(warnings(&output.stderr)).take(16) {
        note(batch, name, IssueKind::Unreadable, warning.trim_start_matches("# ").to_owned());
    }
    if tables.unread_lines > 0 {
        batch.issue(Issue {
            source: name.to_owned(),
            kind: IssueKind::Damaged,
            amount: Some(tables.unread_lines),
            unit: Some("lines"),
            message: format!("{name} printed lines that are no rule, chain or table"),
        });
    }
    for chain in tables.chains {
        batch.iptables_chain(chain);
    }
    for rule in tables.rules {
        batch.iptables_rule(rule);
    }
}

fn note(batch: &mut Batch, source: &str, kind: IssueKind, message: String) {
    batch.issue(Issue { source: source.to_owned(), kind, amount: None, unit: None, message });
}

/// Backend that a version text names, else the head of a dump.
fn backend(version: &str, dump: &str) -> &'static str {
    let head = dump.lines().find(|line| line.starts_with("# Generated by")).unwrap_or_default();
    for text in [version, head] {
        if text.contains("nf_tables") {
            return "nf_tables";
        }
        if text.contains("legacy") {
            return "legacy";
        }
    }
    "unknown"
}

/// Lines by which a dump says that it leaves rules out: the other backend has
/// some too (packets meet both), or a table was made by nft and has no text.
fn warnings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        line.starts_with("# Warning:") && line.contains("tables present")
            || line.starts_with("# Table ") && line.contains("is incompatible")
    })
}

#[cfg(test)]
mod tests {
    use super::dump::tests::DUMP;
    use super::*;

    #[test]
    fn the_backend_is_named_by_version_or_dump() {
        assert_eq!(backend("iptables v1.8.9 (nf_tables)\n", ""), "nf_tables");
        assert_eq!(backend("iptables v1.8.7 (legacy)\n", "# Generated by x (nf_tables)"), "legacy");
        assert_eq!(backend("", "# Generated by iptables-save v1.8.10 (nf_tables) on"), "nf_tables");
        assert_eq!(backend("iptables v1.6.1", DUMP), "unknown");
    }

    #[test]
    fn what_is_cut_loses_its_half_line_only() {
        let cut = DUMP.find("KUBE-SVC-TCOU7JCQXEZGVUNU\n[0:0] -A").expect("a place");
        let output = Output {
            stdout: DUMP.as_bytes()[..cut].to_vec(),
            truncated: true,
            stderr: String::new(),
            success: true,
        };
        let mut batch = Batch::new("t");
        push(&mut batch, "ipv4", "iptables-save", "", &output);
        assert_eq!(batch.row_count(), 11 + 6);
        let debug = format!("{batch:?}");
        assert!(debug.contains("Truncated") && !debug.contains("Damaged"), "{debug}");
    }

    #[test]
    fn a_node_without_iptables_is_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::open(folder.path()).expect("a root");
        let progress = Iptables.collect(&host, &mut Batch::new("t")).expect("a poll");
        assert!(matches!(progress, Progress::Absent(_)));
    }

    #[test]
    fn what_a_dump_leaves_out_is_an_issue() {
        let text = "*nat\n# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n# Table `x' is incompatible, use 'nft' tool.\n# Completed\n";
        assert_eq!(warnings(text).count(), 2);
        assert_eq!(warnings(DUMP).count(), 0);
        let output =
            Output { stdout: text.into(), truncated: false, stderr: String::new(), success: true };
        let mut batch = Batch::new("t");
        push(&mut batch, "ipv4", "iptables-save", "", &output);
        assert!(format!("{batch:?}").contains("use iptables-legacy-save"));
        assert!(batch.has_losses());
    }

    /// Says so past the capture of output, which would keep it to itself.
    fn skipped(reason: &str) {
        use std::io::Write as _;
        writeln!(std::io::stderr(), "SKIPPED: {reason}").expect("written");
    }

    /// The rules of an AKS node, put into a real kernel and printed by a real
    /// `iptables-save`, in a network namespace of their own.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes the rules that it reads")]
    fn real_programs_print_what_is_read() {
        let host = Host::open(std::path::Path::new("/")).expect("the root");
        if !rustix::process::geteuid().is_root() || !is_installed(&host, "iptables-save") {
            return skipped("needs root and iptables-save");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("rules");
        // NOTRACK and statistic need modules that a test machine may not have.
        let kept: String = DUMP
            .lines()
            .filter(|line| !line.contains("NOTRACK") && !line.contains("statistic"))
            .fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(&rules, kept).expect("a file");
        let restored = std::process::Command::new("unshare")
            .args(["-n", "sh", "-c", "iptables-restore -c < \"$1\" && iptables-save -c", "sh"])
            .arg(&rules)
            .output();
        let Ok(restored) = restored else { return skipped("needs unshare") };
        if !restored.status.success() {
            let reason = String::from_utf8_lossy(&restored.stderr);
            return skipped(&format!("this kernel takes no such rules: {reason}"));
        }
        let text = String::from_utf8(restored.stdout).expect("text");
        let expected: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
        let tables = parse(&text, "ipv4", "unknown");
        let read: Vec<_> = tables
            .rules
            .iter()
            .map(|r| {
                format!("[{}:{}] {}", r.packets.expect("packets"), r.bytes.expect("bytes"), r.rule)
            })
            .collect();
        assert_eq!(read, expected);
        assert_eq!((read.len(), tables.unread_lines), (9, 0));
        assert!(tables.rules.iter().any(|rule| rule.source.as_deref() == Some("! 10.224.0.4/32")));
    }

    /// The rules of the machine that the test runs on, if it has any.
    #[test]
    fn the_rules_of_this_machine() {
        let host = Host::open(std::path::Path::new("/")).expect("the root");
        if !rustix::process::geteuid().is_root() || !is_installed(&host, "iptables-save") {
            return skipped("needs root and iptables-save");
        }
        let output = match run(&host, "iptables-save", Program::IptablesSave) {
            Ok(output) => output,
            Err(error) => return skipped(&format!("{error:#}")),
        };
        let text = String::from_utf8(output.stdout).expect("text");
        let expected: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with('['))
            .map(|line| line.split_once(' ').expect("counters and a rule").1)
            .collect();
        let tables = parse(&text, "ipv4", "unknown");
        let rules: Vec<_> = tables.rules.iter().map(|rule| rule.rule.as_str()).collect();
        assert_eq!(rules, expected);
        assert_eq!(tables.unread_lines, 0);
        let mut batch = Batch::new("t");
        assert_eq!(Iptables.collect(&host, &mut batch).expect("a poll"), Progress::Done);
        assert!(batch.row_count() >= expected.len() as u64);
    }
}
