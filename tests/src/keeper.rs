//! Keeps every log file that containers write: a second name for each, so that what
//! is rotated away and compressed can still be compared with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time between two looks. A file is there for a round of the kubelet's at least.
const LOOK: Duration = Duration::from_millis(500);

/// Pod, container and restart.
pub type Restart = (String, String, String);

/// Files by restart, and by when they were first seen.
type Kept = BTreeMap<Restart, Vec<(u64, PathBuf)>>;

/// Keeps the files of some pods until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    kept: Arc<Mutex<Kept>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Keeper {
    /// Keeps what is in the folders below `pods` whose names begin with `prefix`, in
    /// `folder`, which is on the same file system.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made, or no thread be started.
    pub fn start(pods: &Path, prefix: &str, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).context("a folder to keep files in")?;
        let kept = Arc::new(Mutex::new(Kept::new()));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (pods, prefix, folder) = (pods.to_owned(), prefix.to_owned(), folder.to_owned());
        let (in_thread, is_over) = (kept.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                look(&pods, &prefix, &folder, &in_thread);
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self { kept, thread: Some(thread), stop })
    }

    /// Content of the files of each restart, oldest first.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn contents(&self) -> Result<BTreeMap<Restart, Vec<Vec<u8>>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(restart, files): (&Restart, &Vec<(u64, PathBuf)>)| {
            let read = |(_, path): &(u64, PathBuf)| {
                fs::read(path).with_context(|| format!("reading {}", path.display()))
            };
            Ok((restart.clone(), files.iter().map(read).collect::<Result<Vec<_>>>()?))
        };
        kept.iter().map(read).collect()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn look(pods: &Path, prefix: &str, folder: &Path, kept: &Mutex<Kept>) {
    for pod in names(pods).into_iter().filter(|name| name.starts_with(prefix)) {
        for container in names(&pods.join(&pod)) {
            let logs = pods.join(&pod).join(&container);
            // A name like 0.log.20261122-122803 sorts behind those before it, and
            // before none: the one that is written to is looked at last.
            let mut files = names(&logs);
            files.sort_by_key(|name| (name.matches('.').count() < 2, name.clone()));
            for name in files.into_iter().filter(|name| is_plain(name)) {
                let Ok(meta) = fs::metadata(logs.join(&name)) else { continue };
                let link = folder.join(meta.ino().to_string());
                // Whoever rotates may be faster: then it has another name next time.
                if link.exists() || fs::hard_link(logs.join(&name), &link).is_err() {
                    continue;
                }
                let restart = name.split('.').next().unwrap_or_default().to_owned();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let files = kept.entry((pod.clone(), container.clone(), restart)).or_default();
                files.push((meta.ino(), link));
            }
        }
    }
}

/// Whether a file is as the runtime wrote it: not compressed, nor being so.
fn is_plain(name: &str) -> bool {
    let end = name.rsplit('.').next().unwrap_or_default();
    end != "gz" && end != "tmp"
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
