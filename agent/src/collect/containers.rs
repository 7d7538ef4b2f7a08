//! Logs of containers, from the files that the runtime and kubelet keep.
//!
//! More than `kubectl logs` shows: rotated files and earlier restarts are read
//! too. Files of containerd and CRI-O lie in `/var/log/pods`, those of Docker in
//! `/var/lib/docker/containers`, with links to them in `/var/log/pods`; a file
//! with two names is read once.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use anyhow::{Result, bail};
use periscope_store::batch::{Batch, Issue, IssueKind, Stream};
use periscope_store::positions::Positions;

use super::container_lines::ContainerLines;
use super::container_names::{DOCKER, Filter, PODS, Pod, by_restart, docker_files, docker_owner};
use super::reading::{BatchRows, Group, Reading, Rows, Sources, poll};
use super::source::{Backfill, Follow};
use super::{Collector, Progress};
use crate::host::{EntryKind, Host};

/// Files of one poll. A node runs 250 pods at most, with five files a container.
const MAX_FILES: usize = 50_000;

/// Size of a container's description by Docker; real ones have 5 kB.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// Reads the logs of containers: all of them in every poll, or, once it is told to
/// go on from positions, what is new.
#[derive(Debug)]
pub(crate) struct ContainerLogs {
    filter: Filter,
    follow: Follow,
    /// The poll under way, between two of its batches.
    reading: Option<Reading<ContainerFiles>>,
}

impl ContainerLogs {
    /// Logs of the pods in these namespaces. An entry is a `namespace`, or
    /// `namespace/prefix` for the pods whose names begin so; `*` or no entry at
    /// all is every namespace.
    pub(crate) fn new(namespaces: Vec<String>) -> Self {
        Self { filter: Filter::new(namespaces), follow: Follow::default(), reading: None }
    }

    /// Sets how much is read of what was there before the agent.
    pub(crate) fn with_backfill(self, backfill: Backfill) -> Self {
        Self { follow: Follow::new(backfill), ..self }
    }
}

impl Collector for ContainerLogs {
    fn name(&self) -> &'static str {
        "container-logs"
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
        let filter = &self.filter;
        let find = |rows: &mut BatchRows<'_>| ContainerFiles::find(host, filter, rows);
        Ok(poll(&mut self.reading, &mut self.follow, host, batch, find)?
            .unwrap_or_else(|| Progress::Absent(format!("neither {PODS} nor {DOCKER} exists"))))
    }
}

/// Finds the files of a poll, folder by folder.
#[derive(Debug)]
pub(super) struct ContainerFiles {
    filter: Filter,
    /// Folders of [`PODS`] still to be listed.
    pods: VecDeque<String>,
    /// Containers of the pod at hand, still to be listed.
    containers: VecDeque<(Pod, String)>,
    /// Restarts of the container at hand.
    groups: VecDeque<Group<ContainerLines>>,
    /// Folders of [`DOCKER`] still to be listed.
    docker: VecDeque<String>,
    /// How many files there may still be.
    files_left: usize,
    /// Whether everything could be listed so far.
    is_complete: bool,
}

impl ContainerFiles {
    /// Lists the pods; `None` if the node has no folder of logs.
    pub(super) fn find(host: &Host, filter: &Filter, rows: &mut impl Rows) -> Result<Option<Self>> {
        let (pods, docker) = (folders(host, PODS), folders(host, DOCKER));
        if let (Err(a), Err(b)) = (&pods, &docker) {
            if [a, b].iter().all(|error| error.kind() == io::ErrorKind::NotFound) {
                return Ok(None);
            }
            bail!("cannot list {PODS}: {a}, nor {DOCKER}: {b}\nhint: the agent must run as root");
        }
        let mut is_complete = true;
        let mut listed = |path, names: io::Result<Vec<String>>| {
            names.unwrap_or_else(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    is_complete = false;
                    rows.issue(unreadable(path, format!("cannot list: {error}")));
                }
                Vec::new()
            })
        };
        let (pods, docker) = (listed(PODS, pods), listed(DOCKER, docker));
        Ok(Some(Self {
            filter: filter.clone(),
            pods: pods.into(),
            containers: VecDeque::new(),
            groups: VecDeque::new(),
            docker: docker.into(),
            files_left: MAX_FILES,
            is_complete,
        }))
    }

    /// Names of the files in a folder, as many as there may still be, and which
    /// of them are links.
    fn files(
        &mut self,
        host: &Host,
        folder: &str,
        note: &mut dyn FnMut(Issue),
    ) -> Vec<(String, bool)> {
        let mut files: Vec<_> = self
            .list(host, folder, note)
            .into_iter()
            .filter(|(_, kind)| matches!(kind, EntryKind::File | EntryKind::Link))
            .map(|(name, kind)| (name, kind == EntryKind::Link))
            .collect();
        if files.len() > self.files_left {
            note(Issue {
                source: folder.to_owned(),
                kind: IssueKind::Truncated,
                amount: Some((files.len() - self.files_left) as u64),
                unit: Some("files"),
                message: format!("more than {MAX_FILES} files: the rest was not read"),
            });
            files.truncate(self.files_left);
            self.is_complete = false;
        }
        self.files_left -= files.len();
        files
    }

    /// Names in a folder; none, and an issue, if it cannot be listed. A folder that
    /// is gone since it was seen is a pod that was deleted.
    fn list(
        &mut self,
        host: &Host,
        path: &str,
        note: &mut dyn FnMut(Issue),
    ) -> Vec<(String, EntryKind)> {
        match host.list(path) {
            Ok(entries) => entries.into_iter().map(|entry| (entry.name, entry.kind)).collect(),
            Err(error) => {
                self.is_complete &= error.kind() == io::ErrorKind::NotFound;
                note(unreadable(path, format!("cannot list: {error}")));
                Vec::new()
            }
        }
    }

    fn list_pod(&mut self, host: &Host, folder: &str, note: &mut dyn FnMut(Issue)) {
        let path = format!("{PODS}/{folder}");
        let Some(pod) = Pod::parse(folder) else {
            let message = "not read: its name is not <namespace>_<pod>_<uid>".to_owned();
            note(unreadable(&path, message));
            return;
        };
        if !self.filter.accepts(&pod.namespace, &pod.name) {
            return;
        }
        self.containers = self
            .list(host, &path, note)
            .into_iter()
            .filter(|(_, kind)| *kind == EntryKind::Folder)
            .map(|(container, _)| (pod.clone(), container))
            .collect();
    }

    fn list_container(
        &mut self,
        host: &Host,
        pod: &Pod,
        container: &str,
        note: &mut dyn FnMut(Issue),
    ) {
        let Pod { namespace, name, uid } = pod;
        let path = format!("{PODS}/{namespace}_{name}_{uid}/{container}");
        let files = self.files(host, &path, note);
        self.groups = by_restart(&path, &files)
            .into_iter()
            .map(|(restart, files)| Group {
                source: source(pod, container, restart),
                stream: Stream::container(namespace, name, uid, container, restart),
                files,
                decoder: ContainerLines::new(),
            })
            .collect();
    }

    fn list_docker(&mut self, host: &Host, id: &str, note: &mut dyn FnMut(Issue)) {
        let folder = format!("{DOCKER}/{id}");
        let path = format!("{folder}/config.v2.json");
        let owner = host
            .read(&path, MAX_DESCRIPTION_BYTES)
            .and_then(|description| docker_owner(&description).map_err(io::Error::from))
            .unwrap_or_else(|error| {
                self.is_complete = false;
                note(unreadable(&path, format!("cannot tell whose log lies beside it: {error}")));
                None
            });
        let (source, stream) = match owner {
            Some((pod, container, restart)) if self.filter.accepts(&pod.namespace, &pod.name) => (
                source(&pod, &container, restart),
                Stream::container(&pod.namespace, &pod.name, &pod.uid, &container, restart),
            ),
            // A container of no pod has a log, but no name that a pod gives it.
            None if self.filter.is_all() => {
                let path = format!("{folder}/{id}-json.log");
                (path.clone(), Stream::file(&path))
            }
            _ => return,
        };
        let files = docker_files(id, &self.files(host, &folder, note));
        if !files.is_empty() {
            self.groups.push_back(Group { source, stream, files, decoder: ContainerLines::new() });
        }
    }
}

impl Sources for ContainerFiles {
    type Decoder = ContainerLines;

    fn next_group(
        &mut self,
        host: &Host,
        note: &mut dyn FnMut(Issue),
    ) -> Option<Group<ContainerLines>> {
        loop {
            if let Some(group) = self.groups.pop_front() {
                return Some(group);
            } else if let Some((pod, container)) = self.containers.pop_front() {
                self.list_container(host, &pod, &container, note);
            } else if let Some(folder) = self.pods.pop_front() {
                self.list_pod(host, &folder, note);
            } else {
                let id = self.docker.pop_front()?;
                self.list_docker(host, &id, note);
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }
}

/// Names of the folders in a folder.
fn folders(host: &Host, path: &str) -> io::Result<Vec<String>> {
    let entries = host.list(path)?.into_iter();
    Ok(entries.filter(|entry| entry.kind == EntryKind::Folder).map(|entry| entry.name).collect())
}

/// Name under which the position of a restart's log is kept.
fn source(pod: &Pod, container: &str, restart: u32) -> String {
    format!("{}/{}/{}/{container}/{restart}", pod.namespace, pod.name, pod.uid)
}

fn unreadable(source: &str, message: String) -> Issue {
    let kind = IssueKind::Unreadable;
    Issue { source: source.to_owned(), kind, amount: None, unit: None, message }
}

#[cfg(test)]
mod tests;
