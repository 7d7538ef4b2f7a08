//! Amounts of bytes as people write them in configuration: `64MiB`, `1GiB`.

use anyhow::{Context, Result, bail};

/// Units and their size in bytes, largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Bytes of a text: one whole number with its unit `B`, `KiB`, `MiB` or `GiB`.
///
/// A number without a unit is refused: whoever wrote it had one in mind. So are
/// `MB` and `GB`, which half of their users take for `MiB` and `GiB`.
///
/// # Errors
///
/// If the text is anything else, or more than 64 bits can count.
pub(crate) fn parse(text: &str) -> Result<u64> {
    let wrong =
        || format!("{text:?} is no size\nhint: write a number and its unit, such as 64MiB or 1GiB");
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().with_context(wrong)?;
    let Some((_, bytes)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
        bail!(wrong());
    };
    number.checked_mul(bytes).with_context(wrong)
}

/// Text of a size that [`parse`] takes: the largest unit that needs no fraction.
pub(crate) fn format(bytes: u64) -> String {
    let (unit, size) = UNITS
        .into_iter()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size))
        .unwrap_or(UNITS[3]);
    format!("{}{unit}", bytes / size)
}

/// Text of a size for people: `1.4 GiB`.
pub(crate) fn round(bytes: u64) -> String {
    let (unit, size) = UNITS.into_iter().find(|(_, size)| bytes >= *size).unwrap_or(UNITS[3]);
    if size == 1 {
        return format!("{bytes} B");
    }
    format!("{:.1} {unit}", bytes as f64 / size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_formatted_parses_again() {
        for (text, bytes) in [("0B", 0), ("1B", 1), ("64MiB", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse(text).expect(text), bytes);
            assert_eq!(format(bytes), text);
        }
        assert_eq!(format(1_536), "1536B");
        assert_eq!(parse(" 3KiB ").expect("blanks"), 3_072);
        assert_eq!(round(1_536), "1.5 KiB");
        assert_eq!(round(12), "12 B");
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for text in ["", "64", "64 MiB", "64MB", "MiB", "-1B", "1.5GiB", "99999999999GiB"] {
            let error = parse(text).expect_err(text).to_string();
            assert_eq!(
                error,
                format!(
                    "{text:?} is no size\nhint: write a number and its unit, such as 64MiB or 1GiB"
                )
            );
        }
    }
}
