//! Copies sealed files into a folder: a share that is mounted, or a disk that
//! somebody carries away.
#![expect(clippy::disallowed_methods, reason = "neither the outbox nor the share is the node's")]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{ExportError, Exporter};
use crate::outbox::Name;

/// Copies to `FOLDER/RUN/NODE/NODE-NUMBER.db`.
#[derive(Debug)]
pub(crate) struct Dir {
    folder: PathBuf,
}

impl Dir {
    /// An exporter into a folder, which is made when it is needed.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl Exporter for Dir {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn put(&mut self, name: &Name, file: &Path) -> Result<(), ExportError> {
        let folder = self.folder.join(&name.run_id).join(&name.node);
        let target = folder.join(name.file_name());
        copy(&mut || File::open(file), &folder, &target).map_err(|error| {
            let (from, to) = (file.display(), target.display());
            failed(error, format!("cannot copy {from} to {to}"))
        })
    }

    fn put_beside(
        &mut self,
        _run_id: &str,
        path: &str,
        content: &[u8],
        _media_type: &str,
    ) -> Result<(), ExportError> {
        let target = self.folder.join(path);
        let folder = target.parent().unwrap_or(&self.folder);
        if target.exists() {
            return Ok(());
        }
        copy(&mut || Ok(content), folder, &target)
            .map_err(|error| failed(error, format!("cannot write {}", target.display())))
    }
}

fn failed(error: io::Error, what: String) -> ExportError {
    let gives_up = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
    );
    let error = anyhow::Error::new(error).context(what);
    if gives_up { ExportError::GiveUp(error) } else { ExportError::Retry(error) }
}

/// Copies under another name and renames when every byte is on the disk.
fn copy<R: io::Read>(
    from: &mut dyn FnMut() -> io::Result<R>,
    folder: &Path,
    to: &Path,
) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let copied = (|| {
        let (mut source, mut target) = (from()?, File::create(&partial)?);
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        std::fs::rename(&partial, to)
    })();
    if copied.is_err() {
        std::fs::remove_file(&partial).ok();
        return copied;
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        Name { number: 7, run_id: "run".to_owned(), node: "node-a".to_owned() }
    }

    #[test]
    fn a_file_arrives_whole_and_may_arrive_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sealed.db");
        std::fs::write(&file, "all of it").expect("written");
        let mut dir = Dir::new(folder.path().join("share"));
        let target = folder.path().join("share/run/node-a/node-a-7.db");
        for _ in 0..2 {
            dir.put(&name(), &file).expect("copied");
            assert_eq!(std::fs::read_to_string(&target).expect("a file"), "all of it");
        }
        // What a crash left half done is written over.
        std::fs::write(target.with_extension("db.partial"), "half of it and more").expect("left");
        dir.put(&name(), &file).expect("copied");
        let left: Vec<_> = std::fs::read_dir(target.parent().expect("a folder"))
            .expect("a list")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left, ["node-a-7.db"]);
    }

    #[test]
    fn what_lies_beside_is_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut dir = Dir::new(folder.path().to_owned());
        for content in ["first", "second"] {
            dir.put_beside("run", "run/run.json", content.as_bytes(), "").expect("written");
        }
        let text = std::fs::read_to_string(folder.path().join("run/run.json")).expect("a file");
        assert_eq!(text, "first");
    }

    #[test]
    fn what_somebody_must_change_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sealed.db");
        std::fs::write(&file, "x").expect("written");
        let mut dir = Dir::new(file.join("below-a-file"));
        let error = dir.put(&name(), &file).expect_err("not a folder");
        assert!(matches!(error, ExportError::GiveUp(_)), "{error}");
        let mut dir = Dir::new(folder.path().join("share"));
        let error = dir.put(&name(), Path::new("/nowhere.db")).expect_err("no file");
        assert!(matches!(error, ExportError::Retry(_)), "{error}");
        assert!(error.to_string().contains("/nowhere.db"), "{error}");
    }
}
