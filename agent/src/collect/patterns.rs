//! Finds the log files of the node that patterns name.
//!
//! A pattern is an absolute path. `*` and `?` in a name stand for any text and
//! any byte; `**` as a name is any number of folders, and at the end of a
//! pattern all text logs below. Links to folders are not followed, so there are
//! no loops; folders, depth and files are bounded.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use periscope_store::batch::{Issue, IssueKind};

use super::log_file::LogFile;
use crate::host::{Entry, EntryKind, Host};

/// Most that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Folders below each other that `**` leads through.
    pub(crate) depth: usize,
    /// Folders that are listed.
    pub(crate) folders: usize,
    /// Files that are found.
    pub(crate) files: usize,
}

/// Where patterns lead.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files, sorted by path, each once.
    pub(crate) files: Vec<LogFile>,
    /// Patterns that lead to nothing.
    pub(crate) absent: Vec<String>,
    /// What could not be listed, or was too much.
    pub(crate) issues: Vec<Issue>,
}

/// Finds what `patterns` name, but for paths that are `left_out`.
pub(crate) fn find(
    host: &Host,
    patterns: &[String],
    left_out: fn(&str) -> bool,
    bounds: Bounds,
) -> Found {
    let mut search = Search {
        host,
        left_out,
        bounds,
        files: BTreeMap::new(),
        folder_count: 0,
        too_many_files: 0,
        too_many_folders: 0,
        issues: Vec::new(),
    };
    let absent = patterns
        .iter()
        .filter(|pattern| {
            let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
            !search.walk("", &names, 0)
        })
        .cloned()
        .collect();
    for (amount, unit) in [(search.too_many_files, "files"), (search.too_many_folders, "folders")] {
        if amount > 0 {
            search.issues.push(Issue {
                source: patterns.join(", "),
                kind: IssueKind::Truncated,
                amount: Some(amount),
                unit: Some(unit),
                message: format!("too many {unit}: {amount} were not looked at"),
            });
        }
    }
    let files = search.files.into_iter().map(|(path, is_link)| {
        let is_rotated = rotation(&path).1.is_some();
        LogFile { path, is_link, is_rotated }
    });
    Found { files: files.collect(), absent, issues: search.issues }
}

struct Search<'a> {
    host: &'a Host,
    left_out: fn(&str) -> bool,
    bounds: Bounds,
    /// Paths, and whether each is a link.
    files: BTreeMap<String, bool>,
    folder_count: usize,
    too_many_files: u64,
    too_many_folders: u64,
    issues: Vec<Issue>,
}

impl Search<'_> {
    /// Adds what `names` lead to from a folder; `false` if they lead nowhere.
    fn walk(&mut self, folder: &str, names: &[&str], depth: usize) -> bool {
        match names {
            [] => false,
            ["**", rest @ ..] => self.walk_all(folder, rest, depth),
            [name] if !is_pattern(name) => self.add_named(&format!("{folder}/{name}")),
            [name, rest @ ..] if !is_pattern(name) => {
                self.walk(&format!("{folder}/{name}"), rest, depth)
            }
            [name, rest @ ..] => {
                let mut leads = false;
                for entry in self.list(folder).unwrap_or_default() {
                    if matches(name.as_bytes(), entry.name.as_bytes()) {
                        let path = format!("{folder}/{}", entry.name);
                        leads |= match entry.kind {
                            EntryKind::Folder => self.walk(&path, rest, depth),
                            kind if rest.is_empty() => self.add(path, kind),
                            _ => false,
                        };
                    }
                }
                leads
            }
        }
    }

    /// `rest` from a folder and all folders below; all text logs if it is empty.
    fn walk_all(&mut self, folder: &str, rest: &[&str], depth: usize) -> bool {
        let Some(entries) = self.list(folder) else { return false };
        let mut leads = rest.is_empty() || self.walk(folder, rest, depth);
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            match entry.kind {
                EntryKind::Folder if depth < self.bounds.depth => {
                    leads |= self.walk_all(&path, rest, depth + 1);
                }
                EntryKind::Folder => self.too_many_folders += 1,
                kind if rest.is_empty() && is_text_log(&entry.name) => {
                    self.add(path, kind);
                }
                _ => {}
            }
        }
        leads
    }

    /// Adds a file that a pattern names in full, which may be a link as a whole.
    fn add_named(&mut self, path: &str) -> bool {
        match self.host.open_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // Whoever reads it meets the error again, and says so.
            Ok(_) | Err(_) => self.add(path.to_owned(), EntryKind::File),
        }
    }

    fn add(&mut self, path: String, kind: EntryKind) -> bool {
        if !matches!(kind, EntryKind::File | EntryKind::Link) || (self.left_out)(&path) {
            return false;
        }
        if self.files.len() < self.bounds.files {
            self.files.insert(path, kind == EntryKind::Link);
        } else if !self.files.contains_key(&path) {
            self.too_many_files += 1;
        }
        true
    }

    /// Names in a folder; `None` if there is no such folder, none and an issue if
    /// it cannot be listed.
    fn list(&mut self, folder: &str) -> Option<Vec<Entry>> {
        if (self.left_out)(folder) {
            return Some(Vec::new());
        }
        if self.folder_count == self.bounds.folders {
            self.too_many_folders += 1;
            return Some(Vec::new());
        }
        self.folder_count += 1;
        let path = if folder.is_empty() { "/" } else { folder };
        match self.host.list(path) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.issues.push(Issue {
                    source: path.to_owned(),
                    kind: IssueKind::Unreadable,
                    amount: None,
                    unit: None,
                    message: format!("cannot list: {error}"),
                });
                Some(Vec::new())
            }
        }
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name matches a pattern of `*` and `?`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut name_at) = (0, 0);
    // Where to go on if the last `*` has to take one byte more.
    let mut star: Option<(usize, usize)> = None;
    while name_at < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, name_at));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[name_at] => {
                (at, name_at) = (at + 1, name_at + 1);
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, name_at) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a file is text that grows line by line: `x.log`, `x.json`, and what
/// rotation makes of a log: `x.log.1`, `x.log-20261122`, each with `.gz`.
fn is_text_log(name: &str) -> bool {
    let (base, _) = rotation(name);
    matches!(base.rsplit_once('.'), Some((_, "log" | "json")))
}

/// Place of a rotated file among those of its log, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Age {
    /// By when it was rotated: `x.log-20261122`.
    Date(String),
    /// By how many were rotated since: `x.log.2` is older than `x.log.1`.
    Count(Reverse<u32>),
    /// Compressed where it lay: `x.log.gz`.
    Packed,
}

/// Name of the log that a file is of, and its age if it was rotated.
pub(crate) fn rotation(path: &str) -> (&str, Option<Age>) {
    let name = path.strip_suffix(".gz").unwrap_or(path);
    let aged = ['.', '-'].iter().find_map(|mark| {
        let (base, age) = name.rsplit_once(*mark)?;
        let is_age = !age.is_empty() && age.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        // `x.log.20261122-120000` is parted at its dash only by who looks for one.
        (is_age && base.strip_suffix(".log").is_some()).then_some((base, age))
    });
    match aged {
        Some((base, age)) => {
            // A date has eight digits at least.
            let count = age.parse().ok().filter(|_| age.len() < 8);
            let date = || Age::Date(age.to_owned());
            (base, Some(count.map_or_else(date, |count| Age::Count(Reverse(count)))))
        }
        None => (name, (name.len() < path.len()).then_some(Age::Packed)),
    }
}

/// Files by the log that they are of, each oldest first. While a file is being
/// compressed both forms exist, and the plain one is whole.
pub(crate) fn by_log(files: Vec<LogFile>) -> BTreeMap<String, Vec<LogFile>> {
    let mut logs: BTreeMap<String, BTreeMap<(bool, Option<Age>), LogFile>> = BTreeMap::new();
    for file in files {
        let (base, age) = rotation(&file.path);
        let log = logs.entry(base.to_owned()).or_default();
        let place = (age.is_none(), age);
        match log.get(&place) {
            Some(known) if file.path.len() > known.path.len() => {}
            _ => {
                log.insert(place, file);
            }
        }
    }
    logs.into_iter().map(|(base, log)| (base, log.into_values().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::recorder::node;
    use super::*;

    const BOUNDS: Bounds = Bounds { depth: 3, folders: 100, files: 100 };

    fn find_in(host: &Host, patterns: &[&str], bounds: Bounds) -> Found {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        find(host, &patterns, |path| path.starts_with("/secret") || path == "/logs/skip", bounds)
    }

    fn paths(found: &Found) -> Vec<&str> {
        found.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn patterns_lead_to_files() {
        let (_folder, host) = node(&[
            ("logs/a.log", ""),
            ("logs/a.log.1", ""),
            ("logs/b.json", ""),
            ("logs/notes.txt", ""),
            ("logs/sub/deep/c.log.2.gz", ""),
            ("logs/sub/d.log", ""),
            ("logs/skip/e.log", ""),
            ("logs/to-file.log", "-> /logs/a.log"),
            ("logs/to-folder.log", "-> /logs/sub"),
            ("logs/loop", "-> /logs"),
            ("secret.log", ""),
        ]);
        let check = |patterns: &[&str], files: &[&str], absent: &[&str]| {
            let found = find_in(&host, patterns, BOUNDS);
            assert_eq!(paths(&found), files, "{patterns:?}");
            assert_eq!(found.absent, absent, "{patterns:?}");
            assert!(found.issues.is_empty(), "{:?}", found.issues);
        };
        let below = [
            "/logs/a.log",
            "/logs/a.log.1",
            "/logs/b.json",
            "/logs/sub/d.log",
            "/logs/sub/deep/c.log.2.gz",
            "/logs/to-file.log",
            "/logs/to-folder.log",
        ];
        check(&["/logs/**"], &below, &[]);
        check(&["/logs/**", "/logs/**", "/logs/a.log", "/nothing/**"], &below, &["/nothing/**"]);
        check(&["/logs/notes.txt", "/logs/none.txt"], &["/logs/notes.txt"], &["/logs/none.txt"]);
        check(&["/logs/a.*", "/logs/z*"], &["/logs/a.log", "/logs/a.log.1"], &["/logs/z*"]);
        check(&["/*/su?/d.log"], &["/logs/sub/d.log"], &[]);
        check(&["/logs/**/d.log"], &["/logs/sub/d.log"], &[]);
        check(&["/**/*.gz"], &["/logs/sub/deep/c.log.2.gz"], &[]);
        check(&["/secret.log", "/logs/skip/*.log"], &[], &["/secret.log", "/logs/skip/*.log"]);
        check(&["", "/"], &[], &["", "/"]);
    }

    #[test]
    fn links_are_marked() {
        let (_folder, host) = node(&[("logs/a.log", ""), ("logs/b.log", "-> /logs/a.log")]);
        let links: Vec<bool> =
            find_in(&host, &["/logs/**"], BOUNDS).files.iter().map(|file| file.is_link).collect();
        assert_eq!(links, [false, true]);
    }

    #[test]
    fn too_much_is_cut_and_said() {
        let (_folder, host) = node(&[
            ("logs/a.log", ""),
            ("logs/b.log", ""),
            ("logs/1/2/3/c.log", ""),
            ("logs/1/2/3/4/5/d.log", ""),
        ]);
        let check = |bounds: Bounds, files: &[&str], lost: &[(u64, &str)]| {
            let found = find_in(&host, &["/logs/**"], bounds);
            assert_eq!(paths(&found), files);
            let issues: Vec<_> = found
                .issues
                .iter()
                .map(|issue| (issue.amount.unwrap_or_default(), issue.unit.unwrap_or_default()))
                .collect();
            assert_eq!(issues, lost);
            assert!(found.issues.iter().all(|issue| issue.kind == IssueKind::Truncated));
        };
        check(BOUNDS, &["/logs/1/2/3/c.log", "/logs/a.log", "/logs/b.log"], &[(1, "folders")]);
        check(
            Bounds { files: 1, depth: 2, ..BOUNDS },
            &["/logs/a.log"],
            &[(1, "files"), (1, "folders")],
        );
        check(Bounds { folders: 2, ..BOUNDS }, &["/logs/a.log", "/logs/b.log"], &[(1, "folders")]);
    }

    #[test]
    fn what_is_no_folder_is_said() {
        let (_folder, host) = node(&[("logs", "a file")]);
        let found = find_in(&host, &["/logs/**"], BOUNDS);
        assert_eq!(found.issues.len(), 1);
        assert_eq!(found.issues[0].kind, IssueKind::Unreadable);
        assert_eq!(found.absent, [""; 0], "there is something");
    }

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "x.log", true),
            ("*.log", "x.log", true),
            ("*.log", "x.log.1", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbX", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("**a", "a", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn rotated_files_belong_to_their_log_and_come_oldest_first() {
        let names = [
            "/a.json",
            "/a.log",
            "/a.log-20261121.gz",
            "/a.log-20261122",
            "/a.log.1",
            "/a.log.1.gz",
            "/a.log.10.gz",
            "/a.log.2.gz",
            "/a.log.20261122-120000",
            "/b.log.gz",
            "/c.1.log",
        ];
        let files = names.map(|path| LogFile {
            path: path.to_owned(),
            is_link: false,
            is_rotated: rotation(path).1.is_some(),
        });
        let logs = by_log(files.to_vec());
        let paths: Vec<(&str, Vec<&str>)> = logs
            .iter()
            .map(|(log, files)| (&**log, files.iter().map(|file| &*file.path).collect()))
            .collect();
        let of_a = [
            "/a.log-20261121.gz",
            "/a.log-20261122",
            "/a.log.20261122-120000",
            "/a.log.10.gz",
            "/a.log.2.gz",
            "/a.log.1",
            "/a.log",
        ];
        assert_eq!(
            paths,
            [
                ("/a.json", vec!["/a.json"]),
                ("/a.log", of_a.to_vec()),
                ("/b.log", vec!["/b.log.gz"]),
                ("/c.1.log", vec!["/c.1.log"]),
            ]
        );
        let rotated: Vec<bool> = logs["/a.log"].iter().map(|file| file.is_rotated).collect();
        assert_eq!(rotated, [true, true, true, true, true, true, false]);
    }

    #[test]
    fn text_logs_are_told_by_their_names() {
        for name in [
            "a.log",
            "a.json",
            "a.log.1",
            "a.log.2.gz",
            "a.log-20261122",
            "a.log.20261122-120000.gz",
            "a.json.gz",
        ] {
            assert!(is_text_log(name), "{name}");
        }
        for name in
            ["a.txt", "a.tar.gz", "log", "a.logs", "a.log.", "a.log.old", "a.json.1", "a.db-1"]
        {
            assert!(!is_text_log(name), "{name}");
        }
    }
}
