//! Rows of hexdumps, which verbose API clients log by the thousand.
//!
//! `00000010  6b 38 73 00 0a 02 76 31  12 0a 4e 61 6d 65 73 70  |k8s...v1..Namesp|`
//! is its offset and sixteen bytes.

/// Length of a row.
pub(super) const LENGTH: usize = 78;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Offset and bytes of a full row, `None` if the text is anything else.
pub(super) fn parse(text: &[u8]) -> Option<(i64, [u8; 16])> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    if text[8] != b' ' || text[60] != b'|' || text[77] != b'|' {
        return None;
    }
    let mut offset = 0;
    for digit in &text[..8] {
        offset = offset << 4 | i64::from(value(*digit)?);
    }
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let place = place(at);
        *byte = value(text[place])? << 4 | value(text[place + 1])?;
    }
    (print(offset, &bytes) == *text).then_some((offset, bytes))
}

/// A row as text. Offsets have 32 bits; what is beyond is not printed.
pub(super) fn print(offset: i64, bytes: &[u8; 16]) -> [u8; LENGTH] {
    let mut text = [b' '; LENGTH];
    for (at, digit) in text[..8].iter_mut().enumerate() {
        *digit = DIGITS[(offset >> (28 - at * 4)) as usize & 15];
    }
    text[60] = b'|';
    for (at, byte) in bytes.iter().enumerate() {
        let place = place(at);
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 15)];
        text[61 + at] = if (b' '..=b'~').contains(byte) { *byte } else { b'.' };
    }
    text[77] = b'|';
    text
}

/// Where a byte is: two digits and a blank each, and one more blank in the middle.
fn place(at: usize) -> usize {
    10 + at * 3 + usize::from(at >= 8)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8; LENGTH] =
        b"00000010  6b 38 73 00 0a 02 76 31  12 0a 4e 61 6d 65 73 70  |k8s...v1..Namesp|";

    #[test]
    fn a_row_comes_back() {
        let (offset, bytes) = parse(ROW).expect("a row");
        assert_eq!((offset, &bytes[..4]), (16, &b"k8s\0"[..]));
        assert_eq!(&print(offset, &bytes), ROW);
    }

    #[test]
    fn other_text_is_no_row() {
        for (at, byte) in [(0, b'A'), (9, b'x'), (10, b'B'), (34, b'-'), (61, b'K'), (77, b' ')] {
            let mut text = *ROW;
            text[at] = byte;
            assert_eq!(parse(&text), None, "at {at}");
        }
        assert_eq!(parse(&ROW[1..]), None);
    }
}
