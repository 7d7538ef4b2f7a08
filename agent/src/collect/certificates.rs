//! Certificates of the node: the kubelet's, the API server's for its clients,
//! those of its authorities. Keys stand in some of the same files and are passed
//! over.

use std::io;
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, CertificateOrigin, Issue, IssueKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Collector, Progress};
use crate::certificate;
use crate::host::{EntryKind, Host};

/// Folders with certificates of an AKS node, and of one that kubeadm made.
const FOLDERS: [&str; 4] = [
    "/etc/kubernetes/certs",
    "/etc/kubernetes/pki",
    "/etc/kubernetes/pki/etcd",
    "/var/lib/kubelet/pki",
];

/// Ends of the names of files that can hold certificates.
const ENDS: [&str; 3] = [".crt", ".pem", ".cert"];

/// Files that are read, and certificates of each.
const MAX_FILES: usize = 64;
const MAX_CERTIFICATES: usize = 32;

/// Largest file that is read.
const MAX_FILE_BYTES: usize = 256 << 10;

/// Reads the certificates of the node's files.
#[derive(Debug, Default)]
pub(crate) struct Certificates;

impl Collector for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn interval(&self) -> Duration {
        Duration::from_hours(1)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let mut issues = Vec::new();
        let files = files(host, &mut issues);
        for path in &files {
            read(host, path, batch, &mut issues);
        }
        if batch.row_count() == 0 {
            if let Some(issue) = issues.first() {
                bail!("{}: {}\nhint: the agent must run as root", issue.source, issue.message);
            }
            let folders = FOLDERS.join(", ");
            return Ok(Progress::Absent(format!("no certificate in any of {folders}")));
        }
        issues.into_iter().for_each(|issue| batch.issue(issue));
        Ok(Progress::Done)
    }
}

/// Files that can hold certificates. The kubelet keeps old ones beside a link to
/// the one in force, which alone is read.
fn files(host: &Host, issues: &mut Vec<Issue>) -> Vec<String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let entries = match host.list(folder) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => {
                issues.push(issue(folder, IssueKind::Unreadable, format!("cannot list: {error}")));
                continue;
            }
        };
        let is_current = |name: &str| {
            let start = ["kubelet-client-", "kubelet-server-"]
                .into_iter()
                .find(|start| name.starts_with(start));
            start.is_none_or(|start| name[start.len()..].starts_with("current"))
        };
        let named = entries.into_iter().filter(|entry| {
            matches!(entry.kind, EntryKind::File | EntryKind::Link)
                && ENDS.iter().any(|end| entry.name.ends_with(end))
                && is_current(&entry.name)
        });
        files.extend(named.map(|entry| format!("{folder}/{}", entry.name)));
    }
    if files.len() > MAX_FILES {
        issues.push(Issue {
            amount: Some((files.len() - MAX_FILES) as u64),
            unit: Some("files"),
            ..issue(&files[MAX_FILES], IssueKind::Truncated, format!("only {MAX_FILES} were read"))
        });
        files.truncate(MAX_FILES);
    }
    files
}

fn read(host: &Host, path: &str, batch: &mut Batch, issues: &mut Vec<Issue>) {
    let pem = match host.read(path, MAX_FILE_BYTES) {
        Ok(pem) => pem,
        Err(error) if is_absent(&error) => return,
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::FileTooLarge => IssueKind::Truncated,
                _ => IssueKind::Unreadable,
            };
            return issues.push(issue(path, kind, format!("cannot read: {error}")));
        }
    };
    let mut damaged = 0;
    let mut count = 0;
    for (at, der) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        count = at + 1;
        if at == MAX_CERTIFICATES {
            let text = format!("only its first {MAX_CERTIFICATES} certificates were read");
            issues.push(issue(path, IssueKind::Truncated, text));
            break;
        }
        let der = der.ok();
        match der.and_then(|der| certificate::parse(&der, CertificateOrigin::File, path, at + 1)) {
            Some(certificate) => batch.certificate(certificate),
            None => damaged += 1,
        }
    }
    if damaged > 0 || count == 0 {
        let text = if count == 0 { "holds no certificate" } else { "holds what is none" };
        issues.push(issue(path, IssueKind::Damaged, text.to_owned()));
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn issue(source: &str, kind: IssueKind, message: String) -> Issue {
    Issue { source: source.to_owned(), kind, amount: None, unit: None, message }
}

#[cfg(test)]
mod tests {
    use super::super::facts::testing::node;
    use super::*;
    use crate::certificate::testing::self_signed;

    fn collect(files: &[(&str, &str)]) -> (Result<Progress>, Batch) {
        let (_folder, host) = node(files);
        let mut batch = Batch::new("certificates");
        (Certificates.collect(&host, &mut batch), batch)
    }

    #[test]
    fn certificates_are_read_and_keys_passed_over() {
        let (client, key) = self_signed("system:node:node-1", false);
        let (authority, _) = self_signed("ca", true);
        let both = format!("{client}{key}");
        let bundle = format!("{authority}{client}");
        let (progress, batch) = collect(&[
            ("/var/lib/kubelet/pki/kubelet-client-current.pem", &both),
            ("/var/lib/kubelet/pki/kubelet-client-2025-01-01-00-00-00.pem", &both),
            ("/etc/kubernetes/certs/ca.crt", &bundle),
            ("/etc/kubernetes/certs/client.key", &key),
            ("/etc/kubernetes/certs/empty.crt", "nothing"),
        ]);
        assert_eq!(progress.expect("no failure"), Progress::Done);
        assert_eq!(batch.row_count(), 3, "{batch:?}");
        let text = format!("{batch:?}");
        assert!(
            text.contains("/etc/kubernetes/certs/empty.crt") && text.contains("Damaged"),
            "{text}"
        );
        assert!(batch.has_losses());
    }

    #[test]
    fn a_node_without_any_is_absent_and_one_that_hides_them_a_failure() {
        let (progress, _) = collect(&[("/etc/hostname", "x")]);
        assert!(matches!(progress.expect("no failure"), Progress::Absent(_)));
        let (progress, _) =
            collect(&[("/etc/kubernetes/certs/a.crt", "-----BEGIN CERTIFICATE-----")]);
        let error = progress.expect_err("a failure").to_string();
        assert!(error.starts_with("/etc/kubernetes/certs/a.crt: holds "), "{error}");
    }
}
