//! The zone in which people are told times; a bundle has all of them in UTC.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::LazyLock;

use chrono::{DateTime, FixedOffset, Local, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use regex::{Captures, Regex};

/// A time as bundles have it, with a fraction of a second or without.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z").expect("a sound expression")
});

/// A zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// As it is in the bundle.
    Utc,
    /// That of this machine.
    Local,
    /// A number of hours and minutes.
    Offset(FixedOffset),
    /// One of the IANA's.
    Named(Tz),
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "utc" | "z" => return Ok(Self::Utc),
            "local" => return Ok(Self::Local),
            _ => {}
        }
        let named = || Tz::from_str(text).ok().map(Self::Named);
        text.parse().ok().map(Self::Offset).or_else(named).ok_or_else(|| {
            "no time zone\nhint: utc, local, an offset as +02:00, or a name as Europe/Berlin"
                .to_owned()
        })
    }
}

impl Zone {
    /// A time of the bundle, RFC 3339 in UTC, in this zone with as many digits. What is
    /// no such time stays as it is.
    pub(crate) fn time(self, text: &str) -> Cow<'_, str> {
        let parsed = match self {
            Self::Utc => None,
            _ => DateTime::parse_from_rfc3339(text).ok().map(|time| time.naive_utc()),
        };
        let Some(utc) = parsed else { return Cow::Borrowed(text) };
        let offset = self.offset_at(utc);
        let Some(local) = utc.checked_add_offset(offset) else { return Cow::Borrowed(text) };
        // Digits behind the point do not change with the zone.
        let fraction = text.get(19..text.len() - 1).unwrap_or_default();
        Cow::Owned(format!("{}{fraction}{offset}", local.format("%Y-%m-%dT%H:%M:%S")))
    }

    /// A text with all times of the bundle that it names in this zone.
    pub(crate) fn text(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Utc => Cow::Borrowed(text),
            _ => TIME.replace_all(text, |found: &Captures<'_>| self.time(&found[0]).into_owned()),
        }
    }

    /// The nanosecond at which clocks of this zone show what those of UTC show at `ns`:
    /// the first one if they show it twice, a little later if they never do.
    pub(crate) fn to_utc(self, ns: i64) -> i64 {
        let clock = DateTime::from_timestamp_nanos(ns).naive_utc();
        let seconds = |offset: FixedOffset| i64::from(offset.local_minus_utc());
        // In the hour that clocks skip, the offset before it holds.
        let guess = seconds(self.offset_at(clock));
        let at = |offset: i64| ns.saturating_sub(offset.saturating_mul(1_000_000_000));
        let of = |ns: i64| seconds(self.offset_at(DateTime::from_timestamp_nanos(ns).naive_utc()));
        let day = 86_400_000_000_000;
        let offsets = [of(ns.saturating_sub(day)), guess, of(ns.saturating_add(day))];
        let shows = |offset: &i64| of(at(*offset)) == *offset;
        let first = offsets.iter().copied().filter(shows).max();
        at(first.unwrap_or(offsets[0]))
    }

    /// What the head of a text says of its times; `None` if they are as in the bundle.
    pub(crate) fn name(self) -> Option<String> {
        match self {
            Self::Utc => None,
            Self::Local => Some("local time of this machine".to_owned()),
            Self::Offset(offset) => Some(format!("UTC{offset}")),
            Self::Named(zone) => Some(zone.name().to_owned()),
        }
    }

    fn offset_at(self, utc: NaiveDateTime) -> FixedOffset {
        match self {
            Self::Utc => chrono::Utc.fix(),
            Self::Local => Local.offset_from_utc_datetime(&utc).fix(),
            Self::Offset(offset) => offset,
            Self::Named(zone) => zone.offset_from_utc_datetime(&utc).fix(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        text.parse().expect(text)
    }

    #[test]
    fn a_zone_is_a_name_an_offset_or_this_machines() {
        assert_eq!(zone("UTC"), Zone::Utc);
        assert_eq!(zone("local"), Zone::Local);
        assert_eq!(zone("Europe/Berlin"), Zone::Named(Tz::Europe__Berlin));
        assert_eq!(zone("+05:30").name().as_deref(), Some("UTC+05:30"));
        for wrong in ["", "Berlin", "+25:00", "2h"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_within_text_are_told_in_the_zone() {
        let berlin = zone("Europe/Berlin");
        let text = "from 2026-11-22T23:30:00.5Z to 2026-07-01T00:00:00Z, not 2026-11-22T1Z";
        assert_eq!(
            berlin.text(text),
            "from 2026-11-23T00:30:00.5+01:00 to 2026-07-01T02:00:00+02:00, not 2026-11-22T1Z"
        );
        assert_eq!(Zone::Utc.text(text), text);
        assert_eq!(berlin.time("soon"), "soon");
    }

    #[test]
    fn a_time_that_clocks_show_is_found() {
        let berlin = zone("Europe/Berlin");
        let ns = |text: &str| periscope_store::time::parse_rfc3339(text).expect(text);
        let check =
            |shown: &str, utc: &str| assert_eq!(berlin.to_utc(ns(shown)), ns(utc), "{shown}");
        check("2026-11-22T12:28:00Z", "2026-11-22T11:28:00Z");
        check("2026-07-01T00:30:00Z", "2026-06-30T22:30:00Z");
        // Twice, of which the first is meant; and never.
        check("2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z");
        check("2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z");
    }
}
