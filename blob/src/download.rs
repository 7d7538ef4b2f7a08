//! Fetches a blob: ranges ahead of each other, written in order, so that what is on
//! the disk is always the file's beginning, and the next try goes on behind it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use azure_storage_blob::models::{BlobClientDownloadOptions, HttpRange};
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;

use crate::BLOCK_BYTES;
use crate::container::{Blob, Properties};
use crate::error::{BlobError, Kind};
use crate::upload::SHA256;

/// Ranges of one blob that are on their way at a time.
const AHEAD: usize = 4;

/// Times that a range is asked for again when its answer breaks off. Errors before an
/// answer have tries of their own.
const BROKEN: u32 = 5;

/// What became of a blob that was to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is here now.
    New {
        /// Bytes that came over the line; less than the file where it was resumed.
        bytes: u64,
        /// By what its content was checked.
        checked: Reason,
    },
    /// The same was here already.
    AlreadyThere,
}

/// By what a file is known to be the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The sender's SHA-256.
    Sha256,
    /// The blob's MD5.
    Md5,
    /// Its length alone: who sent it left no checksum.
    Length,
}

/// The hash of a file, as far as it was read: the one that its sender left.
#[derive(Clone)]
enum Hash {
    Sha256(Sha256),
    Md5(Md5),
    None,
}

impl Blob<'_> {
    /// Fetches the blob into a file. Until it is whole and its checksum right it is
    /// called `….part`; one that is there from before is gone on with.
    ///
    /// Any number may be fetched at a time: they share what a container has in memory.
    /// `progress` is told bytes as they are on the disk, those from before too.
    ///
    /// # Errors
    ///
    /// If it is not here whole. What came stays for the next try, unless it was wrong.
    pub async fn download(
        &self,
        target: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Fetched, BlobError> {
        let properties = self.properties().await?.ok_or_else(|| {
            BlobError::new(Kind::NoBlob, format!("there is no blob {self} any more"))
        })?;
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| written(&path, &error)
        };
        if is_here(target, &properties).map_err(cannot(target))? {
            progress(properties.bytes);
            return Ok(Fetched::AlreadyThere);
        }
        let part = part_of(target);
        let told = cannot(&part);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(&told)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let text = format!(
                "{} is being written by another program\n\
                 hint: is the same being fetched twice at a time?",
                part.display()
            );
            return Err(BlobError::new(Kind::File, text));
        }
        let mut have = file.metadata().map_err(&told)?.len();
        if have > properties.bytes {
            // Of another blob of this name.
            file.set_len(0).map_err(&told)?;
            have = 0;
        }
        let mut hash = Hash::of(&properties);
        hash.read(&mut file, have).map_err(&told)?;
        progress(have);
        let mut fetched = self.rest(&properties, &mut file, have, hash, &part, progress).await;
        if matches!(&fetched, Ok(None)) && have > 0 {
            // What was here was not the beginning of this blob.
            file.set_len(0).and_then(|()| file.rewind()).map_err(&told)?;
            have = 0;
            let hash = Hash::of(&properties);
            fetched = self.rest(&properties, &mut file, 0, hash, &part, &|_| {}).await;
        }
        let Some(checked) = fetched? else {
            std::fs::remove_file(&part).ok();
            let text = format!("{self} is damaged: its checksum is not the one of its sender");
            return Err(BlobError::new(Kind::Taken, text));
        };
        file.sync_all().map_err(&told)?;
        std::fs::rename(&part, target).map_err(cannot(target))?;
        Ok(Fetched::New { bytes: properties.bytes - have, checked })
    }

    /// Fetches what is missing behind `have`. `None` if the whole has another hash.
    async fn rest(
        &self,
        properties: &Properties,
        file: &mut File,
        have: u64,
        mut hash: Hash,
        part: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<Reason>, BlobError> {
        let starts = (have..properties.bytes).step_by(BLOCK_BYTES as usize);
        let mut ranges = stream::iter(starts)
            .map(|start| {
                let size = BLOCK_BYTES.min(properties.bytes - start);
                self.range(start, size, properties)
            })
            .buffered(AHEAD);
        while let Some((bytes, _room)) = ranges.try_next().await? {
            file.write_all(&bytes).map_err(|error| written(part, &error))?;
            hash.update(&bytes);
            progress(bytes.len() as u64);
        }
        Ok(hash.check(properties))
    }

    /// One range, gone on with where its answer breaks off, and the room that it has.
    ///
    /// Room is given to ranges of a blob in their order, so the one that is written
    /// next never waits for those behind it.
    async fn range(
        &self,
        start: u64,
        size: u64,
        properties: &Properties,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), BlobError> {
        let room = self.container.ranges.acquire().await.ok();
        let mut range = BytesMut::with_capacity(size as usize);
        let mut broken = 0;
        loop {
            let have = range.len() as u64;
            let options = BlobClientDownloadOptions {
                range: Some(HttpRange::new(start + have, size - have)),
                // Larger than the range: then it is one request.
                partition_size: NonZero::new(2 * BLOCK_BYTES as usize),
                parallel: NonZero::new(1),
                if_match: properties.etag.clone(),
                ..BlobClientDownloadOptions::default()
            };
            let answer = self.client().download(Some(options)).await;
            let mut body = answer.map_err(|error| self.told("read", &error))?.body;
            let error = loop {
                match body.try_next().await {
                    Ok(Some(bytes)) => {
                        let room = (size as usize).saturating_sub(range.len());
                        range.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            if range.len() as u64 == size {
                return Ok((range.freeze(), room));
            }
            broken += 1;
            if broken > BROKEN {
                return Err(match error {
                    Some(error) => self.told("read", &error),
                    None => BlobError::new(
                        Kind::Away,
                        format!(
                            "{} sends less of {self} than there is",
                            self.container.place.host()
                        ),
                    ),
                });
            }
            tokio::time::sleep(std::time::Duration::from_millis(250) * broken).await;
        }
    }
}

impl Hash {
    /// The beginning of the hash that a blob's sender left.
    fn of(properties: &Properties) -> Self {
        if properties.metadata.contains_key(SHA256) {
            Self::Sha256(Sha256::new())
        } else if properties.md5.is_some() {
            Self::Md5(Md5::new())
        } else {
            Self::None
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
            Self::None => {}
        }
    }

    /// Reads the beginning of a file and leaves it behind that.
    fn read(&mut self, file: &mut File, bytes: u64) -> io::Result<()> {
        file.rewind()?;
        let mut buffer = vec![0; 256 << 10];
        let mut rest = file.take(bytes);
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    }

    /// By what the content is the blob's; `None` if it is not.
    fn check(self, properties: &Properties) -> Option<Reason> {
        match self {
            Self::Sha256(hash) => {
                let theirs = properties.metadata.get(SHA256)?.to_ascii_lowercase();
                (HEXLOWER.encode(&hash.finalize()) == theirs).then_some(Reason::Sha256)
            }
            Self::Md5(hash) => {
                let theirs = properties.md5.as_deref()?;
                (hash.finalize().as_slice() == theirs).then_some(Reason::Md5)
            }
            Self::None => Some(Reason::Length),
        }
    }
}

/// Whether the file is here, of the same length and content.
fn is_here(target: &Path, properties: &Properties) -> io::Result<bool> {
    let mut file = match File::open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != properties.bytes {
        return Ok(false);
    }
    let mut hash = Hash::of(properties);
    hash.read(&mut file, properties.bytes)?;
    Ok(hash.check(properties).is_some())
}

fn part_of(target: &Path) -> PathBuf {
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

fn written(path: &Path, error: &io::Error) -> BlobError {
    let path = path.display();
    let text = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!(
            "the disk is full: cannot write {path}\n\
             hint: make room and fetch again; what is here is not fetched twice"
        ),
        _ => format!("cannot write {path}: {error}"),
    };
    BlobError::new(Kind::File, text)
}
