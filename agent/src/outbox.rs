//! The agent's own folder: the file that is written to, and the sealed files that
//! wait to be exported. The folder is the queue and the memory: what is in it is
//! all that a start needs to know of the past.
//!
//! ```text
//! live/RUN/NODE-NUMBER.db.partial    written to, or waiting to be sealed
//! outbox/RUN/NODE-NUMBER.db          sealed: whole, never changed again
//! salt                               what the masks of the run are hashed with
//! lock                               held by the agent that owns the folder
//! ```
//!
//! Numbers only grow, over all runs and restarts: they tell which file is the
//! oldest without a clock. The first number of an empty folder is the time, so
//! that a node whose folder was emptied gives no name twice.
#![expect(clippy::disallowed_methods, reason = "this is the agent's own folder, not the node's")]

mod salt;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};

/// Ending of a file that is not sealed: who sees a `.db` can send it.
const PARTIAL: &str = ".partial";

/// What SQLite puts next to a file while it is written to.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What a file is called, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Place in the order of all files of the folder.
    pub(crate) number: u64,
    /// Run that it belongs to.
    pub(crate) run_id: String,
    /// Node that it was written on.
    pub(crate) node: String,
}

impl Name {
    /// `NODE-NUMBER.db`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.db", self.node, self.number)
    }

    fn parse(run_id: &str, file_name: &str) -> Option<Self> {
        let (node, number) = file_name.strip_suffix(".db")?.rsplit_once('-')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_number)?;
        Some(Self { number, run_id: run_id.to_owned(), node: node.to_owned() })
    }
}

/// A sealed file in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// What it is called.
    pub(crate) name: Name,
    /// How large it is.
    pub(crate) bytes: u64,
}

/// Room on the file system of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that the agent may still write.
    pub(crate) free_bytes: u64,
    /// Bytes of the whole file system.
    pub(crate) all_bytes: u64,
}

/// The agent's own folder. One agent has it at a time.
#[derive(Debug)]
pub(crate) struct Outbox {
    folder: PathBuf,
    /// Held until this is dropped.
    _lock: OwnedFd,
}

impl Outbox {
    /// Takes a folder, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or another agent has it.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        for name in ["live", "outbox"] {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let path = folder.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(
                "another agent writes to {}\nhint: end it first, or choose another --output",
                folder.display()
            ),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file is while it is not sealed.
    pub(crate) fn live_path(&self, name: &Name) -> PathBuf {
        self.folder.join("live").join(&name.run_id).join(name.file_name() + PARTIAL)
    }

    /// Where it is afterwards.
    pub(crate) fn sealed_path(&self, name: &Name) -> PathBuf {
        self.folder.join("outbox").join(&name.run_id).join(name.file_name())
    }

    /// Files that are not sealed, oldest first.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(crate) fn live(&self) -> io::Result<Vec<Name>> {
        let found = self.find("live", |name| Some(name.strip_suffix(PARTIAL)?.to_owned()))?;
        Ok(found.into_keys().collect())
    }

    /// Files that are sealed, oldest first.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(crate) fn sealed(&self) -> io::Result<Vec<Sealed>> {
        let found = self.find("outbox", |name| Some(name.to_owned()))?;
        Ok(found.into_iter().map(|(name, bytes)| Sealed { name, bytes }).collect())
    }

    /// Number that no file of the folder has, larger than all.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(crate) fn next_number(&self, now_ns: i64) -> io::Result<u64> {
        let live = self.live()?.into_iter().map(|name| name.number).max();
        let sealed = self.sealed()?.into_iter().map(|sealed| sealed.name.number).max();
        let last = live.max(sealed);
        let seconds = (now_ns / 1_000_000_000).unsigned_abs();
        Ok(last.map_or(seconds, |last| last.saturating_add(1)))
    }

    /// Makes the folder for a file that is to be written, and says where it is.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made.
    pub(crate) fn make_live(&self, name: &Name) -> io::Result<PathBuf> {
        let path = self.live_path(name);
        make_parent(&path)?;
        Ok(path)
    }

    /// Moves a file that was sealed to those that wait for export.
    ///
    /// # Errors
    ///
    /// If it cannot be moved; then it is where it was.
    pub(crate) fn publish(&self, name: &Name) -> io::Result<()> {
        let (from, to) = (self.live_path(name), self.sealed_path(name));
        make_parent(&to)?;
        std::fs::rename(&from, &to)?;
        sync_parent(&to)?;
        remove_empty_parent(&from);
        Ok(())
    }

    /// Removes a sealed file; one that is gone is fine.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be removed.
    pub(crate) fn remove(&self, name: &Name) -> io::Result<()> {
        remove_file(&self.sealed_path(name))
    }

    /// Removes a file that is not sealed, with what SQLite put next to it.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be removed.
    pub(crate) fn remove_live(&self, name: &Name) -> io::Result<()> {
        let path = self.live_path(name);
        for beside in BESIDE {
            remove_file(&beside_path(&path, beside))?;
        }
        remove_file(&path)
    }

    /// Size of a file that is not sealed, with what SQLite put next to it.
    pub(crate) fn live_bytes(&self, name: &Name) -> u64 {
        let path = self.live_path(name);
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
        size(&path) + BESIDE.iter().map(|beside| size(&beside_path(&path, beside))).sum::<u64>()
    }

    /// Size of everything in the folder.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for kind in ["live", "outbox"] {
            for run in entries(&self.folder.join(kind))? {
                let run = run.path();
                if run.is_dir() {
                    for file in entries(&run)? {
                        bytes += file.metadata().map_or(0, |data| data.len());
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// Removes the oldest sealed files until the folder is no larger than `cap`,
    /// or none is left. What was removed.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or a file not be removed.
    pub(crate) fn make_room(&self, cap: u64) -> io::Result<Vec<Sealed>> {
        let mut bytes = self.bytes()?;
        let mut removed = Vec::new();
        if bytes <= cap {
            return Ok(removed);
        }
        for sealed in self.sealed()? {
            if bytes <= cap {
                break;
            }
            self.remove(&sealed.name)?;
            bytes = bytes.saturating_sub(sealed.bytes);
            removed.push(sealed);
        }
        Ok(removed)
    }

    /// Room on the file system.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        Ok(Room {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            all_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn find(
        &self,
        kind: &str,
        file_name: impl Fn(&str) -> Option<String>,
    ) -> io::Result<BTreeMap<Name, u64>> {
        let mut found = BTreeMap::new();
        for run in entries(&self.folder.join(kind))? {
            if !run.path().is_dir() {
                continue;
            }
            let run_id = run.file_name().to_string_lossy().into_owned();
            for file in entries(&run.path())? {
                let name = file.file_name();
                let name = name.to_str().and_then(|name| Name::parse(&run_id, &file_name(name)?));
                if let Some(name) = name {
                    found.insert(name, file.metadata().map_or(0, |data| data.len()));
                }
            }
        }
        Ok(found)
    }
}

/// What is in a folder; nothing if it has just been removed.
fn entries(folder: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn beside_path(path: &Path, beside: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(beside);
    PathBuf::from(name)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

/// Makes a change of names survive a power failure.
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            remove_empty_parent(path);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the folder of a run with its last file; any other is not empty.
fn remove_empty_parent(path: &Path) {
    if let Some(folder) = path.parent() {
        std::fs::remove_dir(folder).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64, run_id: &str) -> Name {
        Name { number, run_id: run_id.to_owned(), node: "node-a".to_owned() }
    }

    fn outbox() -> (tempfile::TempDir, Outbox) {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = Outbox::open(&folder.path().join("own")).expect("made");
        (folder, outbox)
    }

    fn put(outbox: &Outbox, name: &Name, bytes: usize) {
        let path = outbox.make_live(name).expect("a folder");
        std::fs::write(&path, vec![b'x'; bytes]).expect("written");
        std::fs::write(beside_path(&path, "-wal"), "wal").expect("written");
    }

    #[test]
    fn files_are_in_order_of_their_numbers_over_all_runs() {
        let (_folder, outbox) = outbox();
        assert_eq!(outbox.next_number(1_795_350_483_999_999_999).expect("one"), 1_795_350_483);
        for name in [name(100, "a"), name(9, "b"), name(99, "a")] {
            put(&outbox, &name, 10);
        }
        let numbers = |names: Vec<Name>| names.iter().map(|n| n.number).collect::<Vec<_>>();
        assert_eq!(numbers(outbox.live().expect("a list")), [9, 99, 100]);
        assert_eq!(outbox.next_number(0).expect("one"), 101);
        assert_eq!(outbox.live_bytes(&name(9, "b")), 13);

        outbox.remove_live(&name(100, "a")).expect("removed");
        std::fs::remove_file(beside_path(&outbox.live_path(&name(9, "b")), "-wal")).expect("gone");
        outbox.publish(&name(9, "b")).expect("moved");
        assert_eq!(numbers(outbox.live().expect("a list")), [99]);
        assert_eq!(outbox.sealed().expect("a list"), [Sealed { name: name(9, "b"), bytes: 10 }]);
        assert!(!outbox.folder().join("live/b").exists(), "an empty folder goes");
        outbox.remove(&name(9, "b")).expect("removed");
        outbox.remove(&name(9, "b")).expect("nothing to do");
        assert!(outbox.sealed().expect("a list").is_empty());
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_must() {
        let (_folder, outbox) = outbox();
        for number in 1..=4 {
            let name = name(number, &format!("run-{}", 5 - number));
            put(&outbox, &name, 100);
            std::fs::remove_file(beside_path(&outbox.live_path(&name), "-wal")).expect("gone");
            outbox.publish(&name).expect("moved");
        }
        put(&outbox, &name(5, "run"), 97);
        assert_eq!(outbox.bytes().expect("a sum"), 500);
        assert!(outbox.make_room(500).expect("nothing").is_empty());
        let removed = outbox.make_room(299).expect("room");
        assert_eq!(removed.iter().map(|s| s.name.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(outbox.bytes().expect("a sum"), 200);
        assert_eq!(outbox.make_room(0).expect("room").len(), 1, "what is written to stays");
        assert_eq!(outbox.live().expect("a list").len(), 1);
    }

    #[test]
    fn what_is_no_file_of_ours_is_left_alone() {
        let (_folder, outbox) = outbox();
        for path in ["outbox/x/node-a.db", "outbox/x/a-1x.db", "outbox/x/b-1.db.partial", "live/y"]
        {
            let path = outbox.folder().join(path);
            make_parent(&path).expect("made");
            std::fs::write(path, "x").expect("written");
        }
        assert!(outbox.sealed().expect("a list").is_empty());
        assert!(outbox.live().expect("a list").is_empty());
        let file = name(7, "x");
        assert_eq!(Name::parse("x", &file.file_name()), Some(file));
    }

    #[test]
    fn two_agents_do_not_share_a_folder() {
        let (_folder, outbox) = outbox();
        let error = Outbox::open(outbox.folder()).expect_err("taken").to_string();
        assert!(error.contains("another agent writes to"), "{error}");
    }
}
