//! NEON: 64 bytes at a time for classes, 16 for needles.

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vbicq_u8, vceqq_u8, vcgeq_u8, vcleq_u8, vcombine_u64, vcreate_u64,
    vdupq_n_u8, vget_lane_u64, vgetq_lane_u64, vmvnq_u8, vorrq_u8, vpaddq_u8, vreinterpret_u64_u8,
    vreinterpretq_u8_u64, vreinterpretq_u16_u8, vreinterpretq_u64_u8, vshrn_n_u16, vsubq_u8,
};

use crate::codec::log::SPECIAL;
use crate::codec::log::needle::Probe;
use crate::codec::log::scan::Block;

/// See [`super::classify`].
#[target_feature(enable = "neon")]
pub(super) fn classify(message: &[u8], blocks: &mut [Block]) -> bool {
    super::classify_blocks(message, blocks, |bytes, block| classify_block(bytes, block))
}

/// Masks of sixteen bytes, all bits of a byte set where it is so.
struct Classes {
    interesting: uint8x16_t,
    no_token: uint8x16_t,
    no_quoted: uint8x16_t,
    special: uint8x16_t,
}

#[target_feature(enable = "neon")]
#[inline]
fn classify_block(bytes: &[u8; 64], block: &mut Block) -> bool {
    let quarter = |at| classify_quarter(load(bytes, at));
    let parts = [quarter(0), quarter(16), quarter(32), quarter(48)];
    let bits = |mask: fn(&Classes) -> uint8x16_t| {
        let [a, b, c, d] = &parts;
        bits_of([mask(a), mask(b), mask(c), mask(d)])
    };
    block.interesting = bits(|classes| classes.interesting);
    block.no_token = bits(|classes| classes.no_token);
    block.no_quoted = bits(|classes| classes.no_quoted);
    bits(|classes| classes.special) != 0
}

#[target_feature(enable = "neon")]
#[inline]
fn classify_quarter(bytes: uint8x16_t) -> Classes {
    let is = |byte: u8| vceqq_u8(bytes, vdupq_n_u8(byte));
    let within = |bytes: uint8x16_t, first: u8, last: u8| {
        vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(last - first))
    };
    let or = |a, b| vorrq_u8(a, b);

    let quote = is(b'"');
    let backslash = is(b'\\');
    let letter = within(or(bytes, vdupq_n_u8(0x20)), b'a', b'z');
    // Plus, minus, dot, slash and the digits lie in a row that has a comma in it.
    let from_plus = vbicq_u8(within(bytes, b'+', b'9'), is(b','));
    let token = or(or(letter, from_plus), or(is(b'_'), backslash));
    Classes {
        interesting: or(within(bytes, b'0', b'9'), or(quote, is(b'='))),
        no_token: vmvnq_u8(token),
        no_quoted: or(or(quote, is(b' ')), backslash),
        special: vcgeq_u8(bytes, vdupq_n_u8(SPECIAL)),
    }
}

/// A bit a byte, the first byte in the lowest bit: each mask keeps the bit of its
/// place in a group of eight, and three sums of neighbours join them.
#[target_feature(enable = "neon")]
#[inline]
fn bits_of(masks: [uint8x16_t; 4]) -> u64 {
    let place = vreinterpretq_u8_u64(vcombine_u64(
        vcreate_u64(0x8040_2010_0804_0201),
        vcreate_u64(0x8040_2010_0804_0201),
    ));
    let [a, b, c, d] = masks.map(|mask| vandq_u8(mask, place));
    let joined = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(joined, joined)))
}

/// See [`super::find`].
#[target_feature(enable = "neon")]
pub(super) fn find(
    haystack: &[u8],
    from: usize,
    probe: &Probe,
    accept: impl Fn(usize) -> bool,
) -> Option<usize> {
    let (first, second) = (vdupq_n_u8(probe.first_byte), vdupq_n_u8(probe.second_byte));
    let (first_fold, second_fold) = (vdupq_n_u8(probe.first_fold), vdupq_n_u8(probe.second_fold));
    // The last place from which both probed bytes can be loaded 16 at a time.
    let last_load = haystack.len().checked_sub(16 + probe.first_at.max(probe.second_at))?;
    let last = haystack.len().checked_sub(probe.length)?;
    let mut at = from;
    while at <= last {
        // The last step may look at some places twice: they were refused before.
        let start = at.min(last_load);
        let a = vorrq_u8(load(haystack, start + probe.first_at), first_fold);
        let b = vorrq_u8(load(haystack, start + probe.second_at), second_fold);
        let both = vandq_u8(vceqq_u8(a, first), vceqq_u8(b, second));
        // Four bits a byte, all or none of them set.
        let nibbles = vshrn_n_u16::<4>(vreinterpretq_u16_u8(both));
        let mut found = vget_lane_u64::<0>(vreinterpret_u64_u8(nibbles));
        while found != 0 {
            let place = found.trailing_zeros() / 4;
            let candidate = start + place as usize;
            if candidate >= from && candidate <= last && accept(candidate) {
                return Some(candidate);
            }
            found &= !(0xf << (place * 4));
        }
        if start < at {
            return None;
        }
        at += 16;
    }
    None
}

/// 16 bytes from `at` on. Panics if there are fewer.
#[target_feature(enable = "neon")]
#[inline]
fn load(bytes: &[u8], at: usize) -> uint8x16_t {
    let (words, _) = bytes[at..at + 16].as_chunks::<8>();
    let word = |at: usize| vcreate_u64(u64::from_le_bytes(words[at]));
    vreinterpretq_u8_u64(vcombine_u64(word(0), word(1)))
}
