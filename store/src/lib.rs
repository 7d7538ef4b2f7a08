//! The Periscope database file: what a node saw, in one compressed SQLite file.
//!
//! A [`Batch`](batch::Batch) is what one poll of one collector read. A
//! [`Writer`](writer::Writer) puts batches into a node's file, whole or not at
//! all. A [`Bundle`](bundle::Bundle) opens any number of such files as one and
//! offers the virtual tables `log`, `probe` and `sample` over their chunks,
//! which stay where they are. [`merge`](merge::merge) makes one file of many.
//!
//! The crate knows nothing of Kubernetes, Azure or diagnosis.

pub mod identity;
pub mod time;

pub mod schema;

pub mod batch;
pub mod codec;
pub mod positions;
pub mod writer;
mod compact;

pub mod bundle;
pub mod file;
pub mod merge;
mod vtab;

/// What the operators MATCH and REGEXP mean, for programs that answer them elsewhere.
pub mod search {
    pub use crate::codec::Needle;
    pub use crate::vtab::compile;
}

mod error;

pub use error::{Error, tell};
/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
