//! What a collector of settings gathers before it goes into the batch.
//!
//! Collectors whose rows are settings all do the same: read a few small files,
//! parse them, and say which are not there. They fill [`Facts`] and push them
//! at the end; what they made of a node can so be looked at without a database.

use std::io;

use periscope_store::batch::{Batch, Issue, IssueKind, Redaction, Setting};
use serde_json::Value;

use super::flatten::{MAX_LEAVES, flatten};
use crate::host::Host;

/// Settings, and what is missing among them.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Settings in the order they were found.
    pub(crate) settings: Vec<Setting>,
    /// Sources that are missing, damaged or cut.
    pub(crate) issues: Vec<Issue>,
    /// Sources in which a value was masked by its name, once for each value.
    pub(crate) masked: Vec<String>,
}

impl Facts {
    /// Reads a small file. If it cannot be read, an issue says why, and the
    /// answer is `None`.
    pub(crate) fn read(&mut self, host: &Host, path: &str, limit: usize) -> Option<Vec<u8>> {
        match host.read(path, limit) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => IssueKind::Absent,
                    io::ErrorKind::FileTooLarge => IssueKind::Truncated,
                    _ => IssueKind::Unreadable,
                };
                let message = match kind {
                    IssueKind::Absent => format!("{path} does not exist"),
                    IssueKind::Truncated => format!("{path} is {error}, and was left out"),
                    _ => format!("cannot read {path}: {error}"),
                };
                self.note(path, kind, message);
                None
            }
        }
    }

    /// Adds a setting; an empty value is a name set to nothing.
    pub(crate) fn set(&mut self, scope: &str, name: &str, value: &str, source: &str) {
        self.settings.push(Setting {
            scope: scope.to_owned(),
            name: name.to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
            source: source.to_owned(),
        });
    }

    /// Adds a setting whose value must not be kept.
    pub(crate) fn set_masked(&mut self, scope: &str, name: &str, source: &str) {
        self.set(scope, name, "‹masked›", source);
        self.masked.push(source.to_owned());
    }

    /// Adds each leaf of a tree under its dotted name, through `add`.
    pub(crate) fn set_tree(
        &mut self,
        tree: &Value,
        source: &str,
        mut add: impl FnMut(&mut Self, &str, &str),
    ) {
        let leaves = flatten(tree);
        for (name, value) in &leaves {
            add(self, name, value.as_deref().unwrap_or_default());
        }
        if leaves.len() == MAX_LEAVES {
            self.note(
                source,
                IssueKind::Truncated,
                format!("only the first {MAX_LEAVES} settings of {source} were kept"),
            );
        }
    }

    /// Notes an issue whose amount nobody can know.
    pub(crate) fn note(&mut self, source: &str, kind: IssueKind, message: impl Into<String>) {
        self.issues.push(Issue {
            source: source.to_owned(),
            kind,
            amount: None,
            unit: None,
            message: message.into(),
        });
    }

    /// Puts everything into the batch.
    pub(crate) fn push(self, batch: &mut Batch) {
        for setting in self.settings {
            batch.setting(setting);
        }
        for issue in self.issues {
            batch.issue(issue);
        }
        for source in self.masked {
            let rule = "secret-setting".to_owned();
            batch.redaction(Redaction { rule, source, amount: 1 });
        }
    }
}

/// Help for the tests of collectors of settings.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A node that has these files and no other.
    pub(crate) fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let host = Host::open(folder.path()).expect("a root");
        (folder, host)
    }

    /// Settings as lines `scope name=value (source)`, `-` for no value.
    pub(crate) fn lines(facts: &Facts) -> Vec<String> {
        let line = |s: &Setting| {
            let value = s.value.as_deref().unwrap_or("-");
            format!("{} {}={value} ({})", s.scope, s.name, s.source)
        };
        facts.settings.iter().map(line).collect()
    }

    /// Issues as lines `kind source`.
    pub(crate) fn issues(facts: &Facts) -> Vec<String> {
        facts.issues.iter().map(|i| format!("{} {}", i.kind.as_str(), i.source)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_not_to_be_read_is_its_own_kind() {
        let (folder, host) = testing::node(&[("/etc/long", "12345")]);
        std::fs::create_dir(folder.path().join("etc/folder")).expect("a folder");
        let mut facts = Facts::default();
        assert_eq!(facts.read(&host, "/etc/long", 5).as_deref(), Some(&b"12345"[..]));
        assert_eq!(facts.read(&host, "/etc/long", 4), None);
        assert_eq!(facts.read(&host, "/etc/none", 4), None);
        assert_eq!(facts.read(&host, "/etc/long/none", 4), None);
        assert_eq!(facts.read(&host, "/etc/folder", 4), None);
        assert_eq!(
            testing::issues(&facts),
            [
                "truncated /etc/long",
                "absent /etc/none",
                "absent /etc/long/none",
                "unreadable /etc/folder"
            ]
        );
    }

    #[test]
    fn nothing_is_lost_on_the_way_to_the_batch() {
        let mut facts = Facts::default();
        facts.set("a", "b", "", "c");
        facts.set_masked("a", "token", "c");
        facts.note("c", IssueKind::Damaged, "no sense");
        assert_eq!(testing::lines(&facts), ["a b=- (c)", "a token=‹masked› (c)"]);
        let mut batch = Batch::new("test");
        facts.push(&mut batch);
        assert_eq!(batch.row_count(), 2);
        assert!(batch.has_losses());
    }
}
