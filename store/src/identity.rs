//! Identifiers derived from what they identify.
//!
//! Two files that speak of the same thing give it the same number, so merging
//! them is a union: no renumbering, any order, any number of times.

use sha2::{Digest, Sha256};

/// Number of what `parts` name: the first 63 bits of a SHA-256 over the parts,
/// each preceded by its length in bytes (little-endian, 8 bytes).
///
/// Never negative, so that it stays a plain number in every language.
///
/// ```
/// use periscope_store::identity::identity;
/// assert_eq!(identity(&["node", "a"]), identity(&["node", "a"]));
/// assert_ne!(identity(&["ab", "c"]), identity(&["a", "bc"]));
/// ```
#[must_use]
pub fn identity(parts: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(first) >> 1) as i64
}
