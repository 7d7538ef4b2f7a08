//! Sends a file: in blocks, two at a time, that bear the hash of what they are parts
//! of. So who is interrupted sends only what is missing, and what is there is known
//! to be the same file or another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlockBlobClientCommitBlockListOptions, BlockBlobClientStageBlockOptions, BlockListType,
    BlockLookupList,
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::BLOCK_BYTES;
use crate::container::{Blob, Properties};
use crate::error::{BlobError, Kind};

/// Blocks that are in memory and on their way at a time.
const AT_A_TIME: usize = 2;

/// Blocks that a blob may have.
const MOST_BLOCKS: u64 = 50_000;

/// Key of the metadata that holds a blob's hash.
pub(crate) const SHA256: &str = "sha256";

/// Keys of the metadata that say whose a blob is.
const OWNER: [&str; 2] = ["node", "machine_id"];

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A file, which nobody changes meanwhile.
    File(&'a Path),
    /// Something small that is in memory.
    Bytes(&'a [u8]),
}

/// What became of a file that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It has arrived.
    Sent {
        /// Bytes that were sent; less than the file where it was resumed.
        bytes: u64,
        /// Whether its length and checksum were read back.
        verified: bool,
    },
    /// The same was there already.
    AlreadyThere,
}

/// A file that is sent, opened and hashed.
struct Source<'a> {
    data: Data<'a>,
    bytes: u64,
    sha256: String,
    md5: Vec<u8>,
}

enum Data<'a> {
    File(File),
    Bytes(&'a [u8]),
}

impl Blob<'_> {
    /// Sends a file under this name. What is there already is never written over: the
    /// same file is a success, another is [`Kind::Taken`].
    ///
    /// Metadata names the owner (`node`, `machine_id`); its names are letters, digits
    /// and underscores, its values ASCII.
    ///
    /// # Errors
    ///
    /// If it has not arrived whole.
    pub async fn upload(
        &self,
        content: Content<'_>,
        content_type: &str,
        metadata: &HashMap<String, String>,
    ) -> Result<Uploaded, BlobError> {
        let there = match self.properties().await {
            Ok(there) => Ok(there),
            // Without the right to read, the commit alone says whether it is there.
            Err(error) if error.code() == "AuthorizationPermissionMismatch" => Err(error),
            Err(error) => return Err(error),
        };
        let source = Source::open(content)?;
        let mut metadata = metadata.clone();
        metadata.insert(SHA256.to_owned(), source.sha256.clone());
        if let Ok(Some(there)) = &there {
            return self.judge(&source, there, &metadata);
        }
        let can_read = there.is_ok();
        let mut sent = self.stage(&source, can_read).await?;
        let mut committed = self.commit(&source, content_type, &metadata).await;
        if committed.as_ref().is_err_and(|error| error.code() == "InvalidBlockList") {
            // The service keeps blocks for a week, and forgets them when somebody else
            // commits the blob.
            sent += self.stage(&source, false).await?;
            committed = self.commit(&source, content_type, &metadata).await;
        }
        match committed {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Taken && can_read => {
                // Perhaps our own commit of before, whose answer was lost.
                let there = self.properties().await?;
                let there = there.ok_or(error)?;
                return self.judge(&source, &there, &metadata);
            }
            Err(error) => return Err(error),
        }
        if can_read {
            let there = self.properties().await?;
            let is_same = there.is_some_and(|there| source.is(&there));
            if !is_same {
                let text = format!("{self} did not arrive as it was sent");
                return Err(BlobError::new(Kind::Taken, text));
            }
        }
        Ok(Uploaded::Sent { bytes: sent, verified: can_read })
    }

    /// What a blob that is there means for a file of the same name.
    fn judge(
        &self,
        source: &Source<'_>,
        there: &Properties,
        ours: &HashMap<String, String>,
    ) -> Result<Uploaded, BlobError> {
        if source.is(there) {
            return Ok(Uploaded::AlreadyThere);
        }
        let is_ours = OWNER.iter().all(|key| there.metadata.get(*key) == ours.get(*key));
        let text = if is_ours {
            format!("{self} is there already with another content, and is not written over")
        } else {
            let of = |key| there.metadata.get(key).map_or("unknown", String::as_str);
            format!(
                "{self} is of another node (node {}, machine id {}) and is not written over\n\
                 hint: two nodes or clusters use one container and one name: give each cluster \
                 a container of its own",
                of("node"),
                of("machine_id")
            )
        };
        Err(BlobError::new(Kind::Taken, text))
    }

    /// Sends the blocks that the service does not hold. Bytes that were sent.
    async fn stage(&self, source: &Source<'_>, resume: bool) -> Result<u64, BlobError> {
        let client = self.client().block_blob_client();
        let count = source.blocks();
        let held: HashMap<Vec<u8>, i64> = if resume && count > 1 {
            match client.get_block_list(BlockListType::Uncommitted, None).await {
                Ok(answer) => {
                    let list = answer.into_model().map_err(|error| self.told("read", &error))?;
                    let blocks = list.uncommitted_blocks.unwrap_or_default().into_iter();
                    blocks.filter_map(|block| Some((block.name?, block.size?))).collect()
                }
                Err(error) => {
                    let error = self.told("read", &error);
                    // No block was sent yet, or what was may not be asked for.
                    let is_none =
                        error.kind == Kind::NoBlob || error.code().starts_with("Authorization");
                    if !is_none {
                        return Err(error);
                    }
                    HashMap::new()
                }
            }
        } else {
            HashMap::new()
        };
        let missing = (0..count).filter(|at| {
            let size = held.get(&source.block_id(*at)).and_then(|size| u64::try_from(*size).ok());
            size != Some(source.block_bytes(*at))
        });
        stream::iter(missing)
            .map(|at| {
                let client = &client;
                async move {
                    let block = source.block(at).map_err(|error| self.unreadable(&error))?;
                    let size = block.len() as u64;
                    let options = BlockBlobClientStageBlockOptions {
                        transactional_content_md5: Some(Md5::digest(&block).to_vec()),
                        ..BlockBlobClientStageBlockOptions::default()
                    };
                    let id = source.block_id(at);
                    let sent = client.stage_block(&id, size, block.into(), Some(options)).await;
                    sent.map_err(|error| self.told("write", &error))?;
                    Ok(size)
                }
            })
            .buffer_unordered(AT_A_TIME)
            .try_fold(0, |sum, size| async move { Ok(sum + size) })
            .await
    }

    /// Makes the blob of its blocks, unless there is one.
    async fn commit(
        &self,
        source: &Source<'_>,
        content_type: &str,
        metadata: &HashMap<String, String>,
    ) -> Result<(), BlobError> {
        let list = BlockLookupList {
            latest: Some((0..source.blocks()).map(|at| source.block_id(at)).collect()),
            ..BlockLookupList::default()
        };
        let options = BlockBlobClientCommitBlockListOptions {
            blob_content_type: Some(content_type.to_owned()),
            blob_content_md5: Some(source.md5.clone()),
            metadata: Some(metadata.clone()),
            if_none_match: Some(Etag::from("*")),
            ..BlockBlobClientCommitBlockListOptions::default()
        };
        let list = list.try_into().map_err(|error| self.told("write", &error))?;
        let client = self.client().block_blob_client();
        let committed = client.commit_block_list(list, Some(options)).await;
        committed.map(drop).map_err(|error| self.told("write", &error))
    }

    fn unreadable(&self, error: &io::Error) -> BlobError {
        BlobError::new(Kind::File, format!("cannot read what is sent to {self}: {error}"))
    }
}

impl std::fmt::Display for Blob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.container.place, self.name)
    }
}

impl<'a> Source<'a> {
    /// Reads it once, for its hashes.
    fn open(content: Content<'a>) -> Result<Self, BlobError> {
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let (data, bytes) = match content {
            Content::Bytes(bytes) => {
                sha256.update(bytes);
                md5.update(bytes);
                (Data::Bytes(bytes), bytes.len() as u64)
            }
            Content::File(path) => {
                let cannot = |error: io::Error| {
                    let text = format!("cannot read {}: {error}", path.display());
                    BlobError::new(Kind::File, text)
                };
                let mut file = File::open(path).map_err(cannot)?;
                let mut buffer = vec![0; 256 << 10];
                let mut bytes = 0;
                loop {
                    let part = match file.read(&mut buffer).map_err(cannot)? {
                        0 => break,
                        read => buffer.get(..read).unwrap_or_default(),
                    };
                    sha256.update(part);
                    md5.update(part);
                    bytes += part.len() as u64;
                }
                (Data::File(file), bytes)
            }
        };
        if bytes.div_ceil(BLOCK_BYTES) > MOST_BLOCKS {
            let text = format!("a file of {bytes} bytes is more than a blob can have");
            return Err(BlobError::new(Kind::File, text));
        }
        let sha256 = HEXLOWER.encode(&sha256.finalize());
        Ok(Self { data, bytes, sha256, md5: md5.finalize().to_vec() })
    }

    /// Whether a blob is this file.
    fn is(&self, there: &Properties) -> bool {
        there.bytes == self.bytes
            && there.metadata.get(SHA256) == Some(&self.sha256)
            && there.md5.as_ref().is_none_or(|md5| *md5 == self.md5)
    }

    fn blocks(&self) -> u64 {
        self.bytes.div_ceil(BLOCK_BYTES)
    }

    fn block_bytes(&self, at: u64) -> u64 {
        BLOCK_BYTES.min(self.bytes.saturating_sub(at * BLOCK_BYTES))
    }

    /// Name of a block: of the same file it is always the same, and of another never.
    /// All have one length, as the service wants it.
    fn block_id(&self, at: u64) -> Vec<u8> {
        format!("{}-{at:05}", self.sha256.get(..32).unwrap_or_default()).into_bytes()
    }

    fn block(&self, at: u64) -> io::Result<Bytes> {
        let (start, size) = (at * BLOCK_BYTES, self.block_bytes(at));
        match &self.data {
            Data::File(file) => {
                let mut block = vec![0; size as usize];
                file.read_exact_at(&mut block, start)?;
                Ok(block.into())
            }
            Data::Bytes(bytes) => {
                let range = start as usize..(start + size) as usize;
                Ok(Bytes::copy_from_slice(bytes.get(range).unwrap_or_default()))
            }
        }
    }
}
