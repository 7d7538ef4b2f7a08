//! Durations as people write them in configuration: `5s`, `500ms`, `1m30s`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Units and their length in nanoseconds; `ms` before `m`, so that the longest matches first.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Duration of a text: whole numbers, each with its unit `ns`, `us`, `ms`, `s`,
/// `m` or `h`.
///
/// A number without a unit is refused: whoever wrote it had one in mind.
///
/// # Errors
///
/// If the text is anything else, or too long to count in nanoseconds.
pub(crate) fn parse(text: &str) -> Result<Duration> {
    let wrong = || {
        format!("{text:?} is no duration\nhint: write a number and its unit, such as 5s or 500ms")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        bail!(wrong());
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().with_context(wrong)?;
        let Some((unit, length)) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))
        else {
            bail!(wrong());
        };
        let part = number.checked_mul(length).with_context(wrong)?;
        nanos = nanos.checked_add(part).with_context(wrong)?;
        rest = &after[unit.len()..];
    }
    Ok(Duration::from_nanos(nanos))
}

/// Nanoseconds, as times and clocks count them; the most there are if it is longer.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Text of a duration that [`parse`] takes: the largest unit that needs no
/// fraction.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, length) = UNITS
        .into_iter()
        .filter(|(_, length)| nanos.is_multiple_of(u128::from(*length)))
        .max_by_key(|(_, length)| *length)
        .unwrap_or(UNITS[0]);
    format!("{}{unit}", nanos / u128::from(length))
}

/// For `#[serde(default, with = "duration::optional")]`: a text if the key is there.
pub(crate) mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Reads a text that [`parse`](super::parse) takes.
    ///
    /// # Errors
    ///
    /// If the value is no text, or another one.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse(&text).map(Some).map_err(de::Error::custom)
    }

    /// Writes such a text.
    ///
    /// # Errors
    ///
    /// If the serializer fails.
    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in
            [("5s", 5_000), ("500ms", 500), ("1m30s", 90_000), (" 2h ", 7_200_000), ("0s", 0)]
        {
            assert_eq!(parse(text).expect(text), Duration::from_millis(millis), "{text}");
        }
        assert_eq!(parse("3us7ns").expect("small"), Duration::from_nanos(3_007));
    }

    #[test]
    fn what_is_formatted_parses_again() {
        for text in ["0h", "24h", "90s", "500ms", "7ns"] {
            assert_eq!(format(parse(text).expect(text)), text);
        }
        assert_eq!(format(Duration::from_mins(1)), "1m");
    }

    #[test]
    fn anything_else_is_refused_with_a_hint() {
        for text in ["", " ", "5", "s", "5 s", "1.5s", "-1s", "5sec", "99999999999h"] {
            let error = parse(text).expect_err(text).to_string();
            assert_eq!(
                error,
                format!(
                    "{text:?} is no duration\nhint: write a number and its unit, such as 5s or 500ms"
                )
            );
        }
    }
}
