//! The two loops that are worth vector instructions: classes of bytes, and
//! candidates of a needle. Each has a portable twin beside its caller, which
//! does the same and which tests compare it with.
//!
//! x86-64 asks the processor for AVX2 each time; on arm64 there is no processor
//! without NEON. Loads go through numbers, which compilers make plain vector
//! loads of, so that the only thing left to vouch for is that the processor has
//! the instructions.
#![expect(
    unsafe_code,
    reason = "calling what needs vector instructions is safe only where the processor has them; \
              that is made sure here and nowhere else"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
mod neon;

use super::needle::Probe;
use super::scan::Block;

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// A candidate at this place was accepted.
    Found(usize),
    /// None was.
    Absent,
    /// This processor cannot search: nothing was done.
    Unsupported,
}

/// Bytes by which a haystack must be longer than the needle.
pub(super) const MARGIN: usize = 32;

/// Classifies a message into `blocks`, 64 bytes each, if this processor can.
/// Tells whether a byte is special, or `None` if it did nothing.
#[cfg(target_arch = "x86_64")]
pub(super) fn classify(message: &[u8], blocks: &mut [Block]) -> Option<bool> {
    // SAFETY: the processor has AVX2, which is all that this needs.
    is_x86_feature_detected!("avx2").then(|| unsafe { avx2::classify(message, blocks) })
}

/// Searches for the first candidate at or after `from` that is accepted. A
/// candidate has the two probed bytes in their places and ends within the
/// haystack. One that is not [longer](MARGIN) by enough has none.
#[cfg(target_arch = "x86_64")]
pub(super) fn find(
    haystack: &[u8],
    from: usize,
    probe: &Probe,
    accept: impl Fn(usize) -> bool,
) -> Search {
    if !is_x86_feature_detected!("avx2") {
        return Search::Unsupported;
    }
    // SAFETY: the processor has AVX2, which is all that this needs.
    let found = unsafe { avx2::find(haystack, from, probe, accept) };
    found.map_or(Search::Absent, Search::Found)
}

/// The same with NEON.
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
pub(super) fn classify(message: &[u8], blocks: &mut [Block]) -> Option<bool> {
    // SAFETY: this is compiled for processors with NEON alone.
    Some(unsafe { neon::classify(message, blocks) })
}

/// The same with NEON.
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
pub(super) fn find(
    haystack: &[u8],
    from: usize,
    probe: &Probe,
    accept: impl Fn(usize) -> bool,
) -> Search {
    // SAFETY: this is compiled for processors with NEON alone.
    let found = unsafe { neon::find(haystack, from, probe, accept) };
    found.map_or(Search::Absent, Search::Found)
}

/// Other processors use the portable loop.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon", target_endian = "little")
)))]
pub(super) fn classify(_: &[u8], _: &mut [Block]) -> Option<bool> {
    None
}

/// Other processors use the portable loop.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon", target_endian = "little")
)))]
pub(super) fn find(_: &[u8], _: usize, _: &Probe, _: impl Fn(usize) -> bool) -> Search {
    Search::Unsupported
}

/// Classifies a message with `classify_block`, the last block filled with NUL.
/// Tells whether a byte is special.
#[inline(always)]
#[expect(clippy::inline_always, reason = "vector instructions are used only if this is inlined")]
fn classify_blocks(
    message: &[u8],
    blocks: &mut [Block],
    mut classify_block: impl FnMut(&[u8; 64], &mut Block) -> bool,
) -> bool {
    let (whole, rest) = message.as_chunks::<64>();
    let mut special = false;
    for (bytes, block) in whole.iter().zip(&mut *blocks) {
        special |= classify_block(bytes, block);
    }
    if let Some(block) = blocks.get_mut(whole.len())
        && !rest.is_empty()
    {
        let mut bytes = [0; 64];
        bytes[..rest.len()].copy_from_slice(rest);
        special |= classify_block(&bytes, block);
    }
    special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_with_vectors_use_them() {
        #[cfg(target_arch = "x86_64")]
        let has_vectors = is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let has_vectors = cfg!(target_arch = "aarch64");
        let mut blocks = [Block::default()];
        assert_eq!(classify(b"a b", &mut blocks), has_vectors.then_some(false));
        let haystack = [b'a'; 1 + MARGIN];
        let probe = Probe { length: 1, first_byte: b'a', second_byte: b'a', ..Probe::default() };
        let expected = if has_vectors { Search::Found(0) } else { Search::Unsupported };
        assert_eq!(find(&haystack, 0, &probe, |_| true), expected);
    }
}
