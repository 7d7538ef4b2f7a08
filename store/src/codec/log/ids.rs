//! Ids in the dictionary: hexadecimal digits as the bytes that they spell.
//!
//! Ids of requests, traces and containers are made by chance: no compressor finds
//! anything in them, and none gets quite down to half a byte a digit. So the
//! digits that a string ends with are packed into a column of their own, and the
//! string has a mark in their place. Readers put them back at once: a dictionary
//! in memory is plain text.

use memchr::memchr2_iter;

use crate::Result;
use crate::codec::damaged;

/// Stands for digits: followed by the number of bytes that spell them.
const DIGITS: u8 = 0xf5;
/// Stands for a UUID: 16 bytes in five groups.
const UUID: u8 = 0xf6;

/// Most bytes that one mark stands for.
const MAX_BYTES: usize = 127;

/// Fewer digits than this stay text: words of a hundred names end like them.
const MIN_DIGITS: usize = 16;

/// Length of a UUID as text.
const UUID_LENGTH: usize = 36;

/// Where the dashes of a UUID are.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The two digits of every byte.
const SPELLED: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut spelled = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        spelled[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    spelled
};

/// Value of every digit, 255 for what is none.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 10 {
        values[b'0' as usize + digit] = digit as u8;
        digit += 1;
    }
    while digit < 16 {
        values[b'a' as usize + digit - 10] = digit as u8;
        digit += 1;
    }
    values
};

fn is_digit(byte: u8) -> bool {
    VALUES[usize::from(byte)] < 16
}

/// Appends a string of the dictionary to `text`, the bytes of its id to `packed`.
pub(super) fn put(text: &mut Vec<u8>, packed: &mut Vec<u8>, string: &[u8]) {
    if let Some((head, id)) = string.split_last_chunk::<UUID_LENGTH>()
        && is_uuid(id)
    {
        text.extend_from_slice(head);
        text.push(UUID);
        let digits: Vec<u8> = id.iter().copied().filter(|byte| *byte != b'-').collect();
        pack(packed, &digits);
        return;
    }
    let is_short = string.len() < MIN_DIGITS;
    let start = string.iter().rposition(|byte| !is_digit(*byte)).map_or(0, |other| other + 1);
    let digits = &string[start..];
    // Decimal numbers take less than half a byte a digit as text.
    if is_short || digits.len() < MIN_DIGITS || digits.iter().all(u8::is_ascii_digit) {
        text.extend_from_slice(string);
        return;
    }
    let (head, digits) = string.split_at(start + digits.len() % 2);
    text.extend_from_slice(head);
    for digits in digits.chunks(2 * MAX_BYTES) {
        text.extend_from_slice(&[DIGITS, (digits.len() / 2) as u8]);
        pack(packed, digits);
    }
}

fn is_uuid(text: &[u8; UUID_LENGTH]) -> bool {
    text.iter().enumerate().all(
        |(at, byte)| {
            if DASHES.contains(&at) { *byte == b'-' } else { is_digit(*byte) }
        },
    )
}

fn pack(packed: &mut Vec<u8>, digits: &[u8]) {
    let (pairs, _) = digits.as_chunks::<2>();
    packed.extend(
        pairs.iter().map(|[a, b]| VALUES[usize::from(*a)] << 4 | VALUES[usize::from(*b)] & 15),
    );
}

/// The text of a dictionary with all ids in place, `most` bytes at most.
pub(super) fn unpack(text: Vec<u8>, mut packed: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut marks = memchr2_iter(DIGITS, UUID, &text).peekable();
    if marks.peek().is_none() && packed.is_empty() && text.len() <= most {
        return Ok(text);
    }
    let room = text.len() + packed.len() / 4 * 9;
    let mut out = Vec::with_capacity(room.min(most));
    let mut copied = 0;
    for mark in marks {
        let (end, length) = match text[mark] {
            UUID => (mark + 1, UUID_LENGTH - DASHES.len()),
            _ => (mark + 2, 2 * text.get(mark + 1).map_or(0, |count| usize::from(*count))),
        };
        let (bytes, rest) = packed
            .split_at_checked(length / 2)
            .filter(|_| (2..=2 * MAX_BYTES).contains(&length))
            .ok_or_else(|| damaged("a string has an impossible id"))?;
        packed = rest;
        let before = &text[copied..mark];
        let is_uuid = text[mark] == UUID;
        let spelled = length + if is_uuid { DASHES.len() } else { 0 };
        if before.len() + spelled > most.saturating_sub(out.len()) {
            return Err(damaged("its strings are longer than declared"));
        }
        out.extend_from_slice(before);
        spell(&mut out, bytes, is_uuid);
        copied = end;
    }
    out.extend_from_slice(&text[copied..]);
    if !packed.is_empty() || out.len() > most {
        return Err(damaged("its strings are not as long as declared"));
    }
    Ok(out)
}

fn spell(out: &mut Vec<u8>, bytes: &[u8], is_uuid: bool) {
    let mut digits = [[0; 2]; MAX_BYTES];
    for (spelled, byte) in digits.iter_mut().zip(bytes) {
        *spelled = SPELLED[usize::from(*byte)];
    }
    let digits = &digits[..bytes.len()].as_flattened();
    if !is_uuid {
        out.extend_from_slice(digits);
        return;
    }
    let mut rest = *digits;
    for length in [8, 4, 4, 4] {
        let (group, after) = rest.split_at(length);
        out.extend_from_slice(group);
        out.push(b'-');
        rest = after;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes of text and of packed ids a string becomes.
    fn check(string: &[u8]) -> (usize, usize) {
        let (mut text, mut packed) = (Vec::new(), Vec::new());
        put(&mut text, &mut packed, string);
        let lengths = (text.len(), packed.len());
        // Other strings around it must not change.
        let (mut all, mut ids) = (b"x\xff".to_vec(), Vec::new());
        all.extend_from_slice(&text);
        all.push(0xff);
        ids.extend_from_slice(&packed);
        put(&mut all, &mut ids, b"r-0123456789abcdef0");
        let expected = [b"x\xff", string, b"\xffr-0123456789abcdef0"].concat();
        assert_eq!(unpack(all, &ids, expected.len() + 4).expect("ours"), expected);
        lengths
    }

    #[test]
    fn ids_take_half_a_byte_a_digit() {
        assert_eq!(check(b"67024643b6b221d9f2ff051fcc185589"), (2, 16));
        assert_eq!(check(b"40c39ea8-a2e0-4c79-99e4-d8866e2a9441"), (1, 16));
        assert_eq!(check(b"pod-40c39ea8-a2e0-4c79-99e4-d8866e2a9441"), (5, 16));
        assert_eq!(check(b"trace-67024643b6b221d9a"), (9, 8));
        assert_eq!(check(b"abcdefabcdefabc"), (15, 0));
        assert_eq!(check(b"67024643B6B221D9F2FF051FCC185589"), (32, 0));
        assert_eq!(check(b"1795353043966179535304"), (22, 0));
        assert_eq!(check(b"web-7f9c4d"), (10, 0));
        assert_eq!(check(&[b'f'; 1000]), (2 * 4, 500));
        assert_eq!(check(b""), (0, 0));
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let check = |text: &[u8], packed: &[u8], most| unpack(text.to_vec(), packed, most);
        assert!(check(b"a\xf5\x01\xff", &[0xab], 100).is_ok_and(|text| text == b"aab\xff"));
        assert!(check(b"a\xf5\x01\xff", &[0xab], 3).is_err());
        assert!(check(b"a\xf5\x01\xff", &[], 100).is_err());
        assert!(check(b"a\xf5\x01\xff", &[0xab, 0xcd], 100).is_err());
        assert!(check(b"a\xff", &[0xab], 100).is_err());
        assert!(check(b"a\xf5\x00\xff", &[], 100).is_err());
        assert!(check(b"a\xf5\xff", &[0; 255], 1000).is_err());
        assert!(check(b"a\xf5", &[0; 255], 1000).is_err());
        assert!(check(b"\xf6\xff", &[0; 15], 100).is_err());
        assert!(check(b"\xf6\xff", &[0; 16], 36).is_err());
        assert!(check(b"ab\xff", &[], 2).is_err());
    }

    proptest! {
        #[test]
        fn strings_come_back(string in "[g-]{0,3}[0-9a-f]{0,300}", uuid in "[g-]{0,3}[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}") {
            check(string.as_bytes());
            prop_assert_eq!(check(uuid.as_bytes()).1, 16);
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(
            text in prop::collection::vec(prop::sample::select(b"a\x00\x01\x02\x7f\xf5\xf6\xff".as_slice()), 0..40),
            packed in prop::collection::vec(any::<u8>(), 0..40),
            most in 0..100_usize,
        ) {
            if let Ok(text) = unpack(text, &packed, most) {
                prop_assert!(text.len() <= most);
            }
        }
    }
}
