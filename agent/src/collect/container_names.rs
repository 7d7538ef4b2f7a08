//! What the names of container logs say: pod, container, restart and age.
//!
//! Pure: names and Docker's description of a container in, values out.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::log_file::LogFile;

/// Where kubelet keeps the logs of containers.
pub(crate) const PODS: &str = "/var/log/pods";

/// Where Docker keeps them.
pub(crate) const DOCKER: &str = "/var/lib/docker/containers";

/// Which pods are read.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Vec<String>);

impl Filter {
    /// Pods of these namespaces: see [`super::containers::ContainerLogs::new`].
    pub(crate) fn new(entries: Vec<String>) -> Self {
        Self(entries)
    }

    /// Whether nothing is left out, not even what belongs to no pod.
    pub(crate) fn is_all(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|entry| entry == "*")
    }

    /// Whether a pod is read.
    pub(crate) fn accepts(&self, namespace: &str, pod: &str) -> bool {
        self.is_all()
            || self.0.iter().any(|entry| {
                let (wanted, prefix) = entry.split_once('/').unwrap_or((entry, ""));
                (wanted == "*" || wanted == namespace) && pod.starts_with(prefix)
            })
    }
}

/// A pod by its folder in `/var/log/pods`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Pod {
    /// Pod of `<namespace>_<pod>_<uid>`; none of the three can hold a `_`.
    pub(crate) fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.split('_').filter(|part| !part.is_empty());
        let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let ends = parts.next().is_none();
        ends.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

/// Place of a file among those of its container: restart, then age. Kubelet
/// names them `0.log` and, rotated, `0.log.20261122-120000` and the like with
/// `.gz`; anything else, such as its own `.tmp`, is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    restart: u32,
    /// Current files come after rotated ones.
    is_current: bool,
    rotated: String,
}

impl Place {
    fn parse(name: &str) -> Option<Self> {
        let (restart, suffix) = name.split_once(".log")?;
        if !restart.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let restart = restart.parse().ok()?;
        if suffix.is_empty() {
            return Some(Self { restart, is_current: true, rotated: String::new() });
        }
        let rotated = suffix.strip_suffix(".gz").unwrap_or(suffix).strip_prefix('.')?;
        let is_time = rotated.len() == 15
            && rotated.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        is_time.then(|| Self { restart, is_current: false, rotated: rotated.to_owned() })
    }
}

/// Files of a container in `/var/log/pods`, by restart, each oldest first.
pub(crate) fn by_restart(
    folder: &str,
    entries: &[(String, bool)],
) -> BTreeMap<u32, VecDeque<LogFile>> {
    // While kubelet compresses a file, both exist: the plain one is whole.
    let mut files: BTreeMap<Place, LogFile> = BTreeMap::new();
    for (name, is_link) in entries {
        let Some(place) = Place::parse(name) else { continue };
        let file = LogFile {
            path: format!("{folder}/{name}"),
            is_link: *is_link,
            is_rotated: !place.is_current,
        };
        match files.get(&place) {
            Some(known) if file.path.len() > known.path.len() => {}
            _ => {
                files.insert(place, file);
            }
        }
    }
    let mut restarts: BTreeMap<u32, VecDeque<LogFile>> = BTreeMap::new();
    for (place, file) in files {
        restarts.entry(place.restart).or_default().push_back(file);
    }
    restarts
}

/// Files of a container in Docker's folder, oldest first: `<id>-json.log.2.gz`,
/// `<id>-json.log.1`, `<id>-json.log`.
pub(crate) fn docker_files(id: &str, entries: &[(String, bool)]) -> VecDeque<LogFile> {
    let mut files: Vec<(u32, LogFile)> = entries
        .iter()
        .filter_map(|(name, is_link)| {
            let suffix = name.strip_prefix(id)?.strip_prefix("-json.log")?;
            let age = match suffix.strip_suffix(".gz").unwrap_or(suffix) {
                "" if suffix.is_empty() => 0,
                rotated => rotated.strip_prefix('.')?.parse().ok()?,
            };
            let path = format!("{DOCKER}/{id}/{name}");
            Some((age, LogFile { path, is_link: *is_link, is_rotated: age > 0 }))
        })
        .collect();
    files.sort_by(|a, b| (b.0, &a.1.path).cmp(&(a.0, &b.1.path)));
    files.into_iter().map(|(_, file)| file).collect()
}

/// Pod, container and restart by the labels that kubelet gave a Docker
/// container; `None` if no kubelet made it.
///
/// # Errors
///
/// If the description is not what Docker writes.
pub(crate) fn docker_owner(
    description: &[u8],
) -> Result<Option<(Pod, String, u32)>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Description {
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        labels: Option<BTreeMap<String, String>>,
    }
    let description: Description = serde_json::from_slice(description)?;
    let mut labels = description.config.labels.unwrap_or_default();
    let mut label = |name: &str| labels.remove(name);
    let restart = label("annotation.io.kubernetes.container.restartCount");
    Ok(label("io.kubernetes.pod.namespace").and_then(|namespace| {
        let pod = Pod {
            namespace,
            name: label("io.kubernetes.pod.name")?,
            uid: label("io.kubernetes.pod.uid")?,
        };
        let container = label("io.kubernetes.container.name")?;
        Some((pod, container, restart.and_then(|text| text.parse().ok()).unwrap_or_default()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_name_pods() {
        let pod =
            Pod::parse("kube-system_coredns-76f75df574-abcde_0a1b2c3d-1111-2222-3333-444455556666");
        let pod = pod.expect("a pod");
        assert_eq!(pod.namespace, "kube-system");
        assert_eq!(pod.name, "coredns-76f75df574-abcde");
        assert_eq!(pod.uid, "0a1b2c3d-1111-2222-3333-444455556666");
        for none in ["", "lost+found", "a_b", "a_b_c_d", "__c", "a__c"] {
            assert_eq!(Pod::parse(none), None, "{none}");
        }
    }

    #[test]
    fn namespaces_and_prefixes_are_filtered() {
        let check = |entries: &[&str], pods: &[(&str, &str)]| {
            let filter = Filter::new(entries.iter().map(|entry| (*entry).to_owned()).collect());
            let all = [
                ("kube-system", "coredns-1"),
                ("kube-system", "konnectivity-1"),
                ("app", "coredns-2"),
            ];
            let read: Vec<_> =
                all.into_iter().filter(|(ns, pod)| filter.accepts(ns, pod)).collect();
            assert_eq!(read, pods, "{entries:?}");
        };
        let all =
            [("kube-system", "coredns-1"), ("kube-system", "konnectivity-1"), ("app", "coredns-2")];
        check(&[], &all);
        check(&["*"], &all);
        check(&["other", "*"], &all);
        check(&["kube-system"], &all[..2]);
        check(&["kube-system/coredns"], &all[..1]);
        check(&["kube-system/", "app/x"], &all[..2]);
        check(&["*/coredns"], &[all[0], all[2]]);
        check(&["kube"], &[]);
    }

    fn paths(files: &VecDeque<LogFile>) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn rotated_files_come_first_and_oldest_first() {
        let names = [
            "0.log",
            "1.log",
            "1.log.20261122-120000.gz",
            "1.log.20261122-110000.gz",
            "1.log.20261122-130000",
            "1.log.20261122-130000.gz",
            "1.log.20261122-130000.gz.tmp",
            "10.log",
            "1.log.20261122-1300000",
            "1.log.x",
            "1.log.gz",
            "+1.log",
            ".log",
            "99999999999.log",
            "notes.txt",
        ];
        let entries = names.map(|name| (name.to_owned(), false));
        let restarts = by_restart("/c", &entries);
        assert_eq!(restarts.keys().copied().collect::<Vec<_>>(), [0, 1, 10]);
        assert_eq!(
            paths(&restarts[&1]),
            [
                "/c/1.log.20261122-110000.gz",
                "/c/1.log.20261122-120000.gz",
                "/c/1.log.20261122-130000",
                "/c/1.log"
            ]
        );
        let reversed: Vec<_> = entries.into_iter().rev().collect();
        assert_eq!(by_restart("/c", &reversed), restarts, "whatever the order of the names");
    }

    #[test]
    fn docker_counts_ages_up() {
        let names = [
            "config.v2.json",
            "abc-json.log",
            "abc-json.log.1",
            "abc-json.log.10.gz",
            "abc-json.log.2.gz",
            "abc-json.logs",
            "abc-json.log.gz",
        ];
        let files = docker_files("abc", &names.map(|name| (name.to_owned(), false)));
        let folder = "/var/lib/docker/containers/abc/abc-json.log";
        let expected = [".10.gz", ".2.gz", ".1", ""].map(|suffix| format!("{folder}{suffix}"));
        assert_eq!(paths(&files), expected);
    }

    #[test]
    fn labels_tell_whose_container_it_is() {
        let description = br#"{"ID":"abc","Config":{"Hostname":"x","Env":["A=b"],"Labels":{
            "annotation.io.kubernetes.container.restartCount":"3",
            "io.kubernetes.container.name":"coredns","io.kubernetes.docker.type":"container",
            "io.kubernetes.pod.name":"coredns-1","io.kubernetes.pod.namespace":"kube-system",
            "io.kubernetes.pod.uid":"0a1b"}},"Name":"/k8s_coredns"}"#;
        let (pod, container, restart) = docker_owner(description).expect("valid").expect("a pod");
        assert_eq!(
            (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()),
            ("kube-system", "coredns-1", "0a1b")
        );
        assert_eq!((container.as_str(), restart), ("coredns", 3));
        assert_eq!(docker_owner(br#"{"Config":{"Labels":{"a":"b"}}}"#).expect("valid"), None);
        assert_eq!(docker_owner(br#"{"Config":{"Labels":null}}"#).expect("valid"), None);
        assert!(docker_owner(b"{}").is_err());
    }
}
