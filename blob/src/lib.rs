//! Azure Blob Storage, as far as Periscope uses it: files go up in blocks that a
//! restart need not send again, and come down in ranges.
//!
//! What the service answers is told in words that name the place and what to do
//! (`error.rs`). No word of this library holds a signature, a token or a URL with a
//! query: the transport strips them before an error exists.
//!
//! It starts no threads and keeps nothing on a disk but what it fetches; whoever calls
//! brings the runtime, and says what time it is.

mod names;
mod place;
mod sas;

mod transport;
mod identity;
mod error;

mod container;
mod upload;
mod download;

pub use container::{Blob, Container, Listed, Login, Patience, Properties};
pub use download::{Fetched, Reason};
pub use error::{BlobError, Kind, masked};
pub use identity::{Identity, ManagedIdentity, Token, WorkloadIdentity};
pub use names::{container_name, suffix_of_cloud};
pub use place::{Located, Place};
pub use sas::{Remark, Sas, Weight};
pub use transport::{Proxies, Transport};
pub use upload::{Content, Uploaded};

/// Bytes of a block that is sent, and of a range that is fetched.
///
/// Small enough that a slow line moves one before the service gives up waiting.
pub const BLOCK_BYTES: u64 = 4 << 20;
