//! What a bundle does while it is asked, seen from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much a bundle read of its chunks so far, and whether it is to give up.
///
/// A virtual table that looks through a gigabyte for a row shows none and runs none of
/// SQLite's steps meanwhile, so that `sqlite3_interrupt` alone would not end it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    is_over: Arc<AtomicBool>,
    read_bytes: Arc<AtomicU64>,
}

impl Watch {
    /// Lets every question fail with `SQLITE_INTERRUPT`, this one and those that follow,
    /// until [`Watch::go_on`].
    pub fn give_up(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Lets questions be answered again.
    pub fn go_on(&self) {
        self.is_over.store(false, Ordering::Relaxed);
    }

    /// Whether questions are given up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Bytes of chunks, as they are stored, that were read for all questions so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
