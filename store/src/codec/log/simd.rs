//! The two loops that are worth vector instructions: classes of bytes, and
//! candidates of a needle. Each has a portable twin beside its caller, which
//! does the same and which tests compare it with.
#![expect(
    unsafe_code,
    reason = "vector loads take pointers, and calling what needs AVX2 is safe only after asking \
              the processor; both happen here and nowhere else"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
    _mm256_max_epu8, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_sub_epi8,
};

use super::needle::Probe;
use super::scan::Block;

/// Classifies a message into `blocks`, 64 bytes each, if this processor can.
/// Tells whether a byte is special, or `None` if it did nothing.
#[cfg(target_arch = "x86_64")]
pub(super) fn classify(message: &[u8], blocks: &mut [Block]) -> Option<bool> {
    // SAFETY: the processor has AVX2, which is all that `classify_avx2` needs.
    is_x86_feature_detected!("avx2").then(|| unsafe { classify_avx2(message, blocks) })
}

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

/// Searches for the first candidate at or after `from` that is accepted. A
/// candidate has the two probed bytes in their places and ends within the
/// haystack, which is at least 32 bytes longer than the needle.
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
    // SAFETY: the processor has AVX2, which is all that `find_avx2` needs.
    let found = unsafe { find_avx2(haystack, from, probe, accept) };
    found.map_or(Search::Absent, Search::Found)
}

/// Other processors use the portable loop.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn classify(_: &[u8], _: &mut [Block]) -> Option<bool> {
    None
}

/// Other processors use the portable loop.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn find(_: &[u8], _: usize, _: &Probe, _: impl Fn(usize) -> bool) -> Search {
    Search::Unsupported
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn classify_avx2(message: &[u8], blocks: &mut [Block]) -> bool {
    let (whole, rest) = message.as_chunks::<64>();
    let mut special = 0;
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
    special != 0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn classify_block(bytes: &[u8; 64], block: &mut Block) -> u32 {
    let low = classify_half(load(bytes, 0));
    let high = classify_half(load(bytes, 32));
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    block.interesting = join(low.0, high.0);
    block.no_token = join(low.1, high.1);
    block.no_quoted = join(low.2, high.2);
    low.3 | high.3
}

/// Interesting, not of a token, not of a quoted run, special: a bit a byte.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn classify_half(bytes: __m256i) -> (u32, u32, u32, u32) {
    let is = |byte: u8| _mm256_cmpeq_epi8(bytes, splat(byte));
    let within = |bytes: __m256i, first: u8, last: u8| {
        let distance = _mm256_sub_epi8(bytes, splat(first));
        _mm256_cmpeq_epi8(_mm256_min_epu8(distance, splat(last - first)), distance)
    };
    let or = |a, b| _mm256_or_si256(a, b);
    let bits = |mask| _mm256_movemask_epi8(mask).cast_unsigned();

    let special = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, splat(super::SPECIAL)), bytes);
    let quote = is(b'"');
    let backslash = is(b'\\');
    let interesting = or(within(bytes, b'0', b'9'), or(quote, is(b'=')));
    let letter = within(or(bytes, splat(0x20)), b'a', b'z');
    // Plus, minus, dot, slash and the digits lie in a row that has a comma in it.
    let from_plus = _mm256_andnot_si256(is(b','), within(bytes, b'+', b'9'));
    let token = or(or(letter, from_plus), or(is(b'_'), backslash));
    let no_quoted = or(or(quote, is(b' ')), backslash);
    (bits(interesting), !bits(token), bits(no_quoted), bits(special))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_avx2(
    haystack: &[u8],
    from: usize,
    probe: &Probe,
    accept: impl Fn(usize) -> bool,
) -> Option<usize> {
    let (first, second) = (splat(probe.first_byte), splat(probe.second_byte));
    let (first_fold, second_fold) = (splat(probe.first_fold), splat(probe.second_fold));
    // The last place from which both probed bytes can be loaded 32 at a time.
    let last_load = haystack.len().checked_sub(32 + probe.first_at.max(probe.second_at))?;
    let last = haystack.len().checked_sub(probe.length)?;
    let mut at = from;
    while at <= last {
        // The last step may look at some places twice: they were refused before.
        let start = at.min(last_load);
        let a = _mm256_or_si256(load(haystack, start + probe.first_at), first_fold);
        let b = _mm256_or_si256(load(haystack, start + probe.second_at), second_fold);
        let both = _mm256_and_si256(_mm256_cmpeq_epi8(a, first), _mm256_cmpeq_epi8(b, second));
        let mut found = _mm256_movemask_epi8(both).cast_unsigned();
        while found != 0 {
            let candidate = start + found.trailing_zeros() as usize;
            if candidate >= from && candidate <= last && accept(candidate) {
                return Some(candidate);
            }
            found &= found - 1;
        }
        if start < at {
            return None;
        }
        at += 32;
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn splat(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

/// 32 bytes from `at` on. Panics if there are fewer.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes: &[u8] = &bytes[at..at + 32];
    // SAFETY: the slice has 32 bytes, and this load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
