//! AVX2: 32 bytes at a time.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_max_epu8,
    _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setr_epi64x,
    _mm256_sub_epi8,
};

use crate::codec::log::SPECIAL;
use crate::codec::log::needle::Probe;
use crate::codec::log::scan::Block;

/// See [`super::classify`].
#[target_feature(enable = "avx2")]
pub(super) fn classify(message: &[u8], blocks: &mut [Block]) -> bool {
    super::classify_blocks(message, blocks, |bytes, block| classify_block(bytes, block))
}

#[target_feature(enable = "avx2")]
#[inline]
fn classify_block(bytes: &[u8; 64], block: &mut Block) -> bool {
    let low = classify_half(load(bytes, 0));
    let high = classify_half(load(bytes, 32));
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    block.interesting = join(low.0, high.0);
    block.no_token = join(low.1, high.1);
    block.no_quoted = join(low.2, high.2);
    low.3 | high.3 != 0
}

/// Interesting, not of a token, not of a quoted run, special: a bit a byte.
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

    let special = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, splat(SPECIAL)), bytes);
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

/// See [`super::find`].
#[target_feature(enable = "avx2")]
pub(super) fn find(
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

#[target_feature(enable = "avx2")]
#[inline]
fn splat(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

/// 32 bytes from `at` on. Panics if there are fewer.
#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let (words, _) = bytes[at..at + 32].as_chunks::<8>();
    let word = |at: usize| i64::from_le_bytes(words[at]);
    _mm256_setr_epi64x(word(0), word(1), word(2), word(3))
}
