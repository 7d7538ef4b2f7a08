//! A shared access signature (SAS): what it allows, and for how long.
//!
//! The rules are those of "Create an account SAS" and "Create a service SAS" of the
//! service's REST reference. The signature itself is never looked at.

use std::collections::BTreeMap;
use std::fmt;

use periscope_store::time::{format_ns, parse_rfc3339};

use crate::error::{BlobError, Kind};

const DAY_NS: i64 = 86_400_000_000_000;

/// Time by which clocks may differ before a token is called not yet valid.
const SKEW_NS: i64 = 300_000_000_000;

/// A shared access signature. Printing it shows no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sas {
    query: String,
    parameters: BTreeMap<String, String>,
}

/// Something to know of a token before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What follows from it.
    pub weight: Weight,
    /// A sentence; no secret.
    pub text: String,
}

/// What follows from a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing will arrive with this token.
    Blocks,
    /// Files arrive, but something is missing.
    Limits,
    /// It works, and allows more than it should.
    Risk,
}

impl Sas {
    /// Reads a token, with or without the question mark before it.
    ///
    /// # Errors
    ///
    /// If it is none; the text does not repeat it.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let query = text.trim().trim_start_matches('?').trim_end_matches('&');
        let parameters: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let problem = if query.is_empty() {
            "is empty"
        } else if query.starts_with("https://") || query.starts_with("http://") {
            "is a whole URL; only what follows its question mark is wanted"
        } else if query.contains(char::is_whitespace) || query.contains(char::is_control) {
            "has blanks in it"
        } else if !parameters.contains_key("sig") {
            "has no signature"
        } else {
            return Ok(Self { query: query.to_owned(), parameters });
        };
        Err(BlobError::new(
            Kind::Refused,
            format!(
                "the SAS {problem}\nhint: it is what `az storage container generate-sas` prints, \
                 sv=…&sp=rcw&se=… and more"
            ),
        ))
    }

    /// The token itself, for whoever sends it where it belongs.
    pub(crate) fn reveal(&self) -> &str {
        &self.query
    }

    /// Whether it is of an account, which alone may make containers.
    #[must_use]
    pub fn is_of_account(&self) -> bool {
        self.parameters.contains_key("srt")
    }

    /// Whether it allows something, by the letter of the permission. A token whose
    /// rights are kept by the service (`si`) may allow anything.
    #[must_use]
    pub fn allows(&self, permission: char) -> bool {
        match self.parameters.get("sp") {
            Some(letters) => letters.contains(permission),
            None => self.parameters.contains_key("si"),
        }
    }

    /// When it ends, if it says so in a form that can be read.
    #[must_use]
    pub fn expires_ns(&self) -> Option<i64> {
        self.time("se")
    }

    /// Whether it has ended, by a clock.
    #[must_use]
    pub fn has_expired(&self, now_ns: i64) -> bool {
        self.expires_ns().is_some_and(|end_ns| end_ns <= now_ns)
    }

    fn time(&self, name: &str) -> Option<i64> {
        let text = self.parameters.get(name)?;
        // The service takes a day alone, and times without seconds.
        let whole = match (text.len(), text.strip_suffix('Z')) {
            (10, _) => format!("{text}T00:00:00Z"),
            (_, Some(minutes)) if minutes.matches(':').count() == 1 => format!("{minutes}:00Z"),
            _ => text.clone(),
        };
        parse_rfc3339(&whole)
    }

    /// What an agent should know of a token that it is to send files with.
    #[must_use]
    pub fn remarks_for_sending(&self, now_ns: i64) -> Vec<Remark> {
        let mut remarks = self.remarks_on_time(now_ns);
        let mut say = |weight, text: &str| remarks.push(Remark { weight, text: text.to_owned() });
        let says = |name: &str, letter: char| {
            self.parameters.get(name).is_none_or(|letters| letters.contains(letter))
        };
        if !says("ss", 'b') {
            say(Weight::Blocks, "the SAS is not for blobs (ss has no b)");
        }
        if !says("srt", 'o') {
            say(Weight::Blocks, "the SAS is not for blobs (srt has no o)");
        }
        if self.parameters.get("sr").is_some_and(|kind| kind == "b") {
            say(Weight::Blocks, "the SAS is for one blob, not for a container (sr=b)");
        }
        if !self.allows('w') {
            say(
                Weight::Blocks,
                "the SAS does not allow to write (sp has no w), and no file can be sent with it",
            );
        }
        if !self.allows('r') {
            say(
                Weight::Limits,
                "the SAS does not allow to read (sp has no r): what has arrived cannot be \
                 checked, and an interrupted file is sent from its beginning",
            );
        }
        if self.parameters.get("sp").is_some_and(|letters| letters.contains('d')) {
            say(
                Weight::Risk,
                "the SAS allows to delete (sp has d), which the agent never does; \
                 sp=rcw is enough",
            );
        }
        remarks
    }

    /// What an analyst should know of a token that is to fetch files.
    #[must_use]
    pub fn remarks_for_fetching(&self, now_ns: i64) -> Vec<Remark> {
        let mut remarks = self.remarks_on_time(now_ns);
        remarks.retain(|remark| remark.weight == Weight::Blocks);
        for (letter, what) in [('l', "list blobs"), ('r', "read")] {
            if !self.allows(letter) {
                let text = format!("the SAS does not allow to {what} (sp has no {letter})");
                remarks.push(Remark { weight: Weight::Blocks, text });
            }
        }
        remarks
    }

    fn remarks_on_time(&self, now_ns: i64) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let starts_ns = self.time("st");
        if let Some(end_ns) = self.expires_ns() {
            let end = format_ns(end_ns);
            if end_ns <= now_ns {
                let text = format!("the SAS expired at {end}; a new one is needed");
                remarks.push(Remark { weight: Weight::Blocks, text });
            } else if end_ns - starts_ns.unwrap_or(now_ns).max(now_ns) > DAY_NS {
                let text = format!(
                    "the SAS is valid until {end}, longer than the 24 hours that a collection \
                     can need"
                );
                remarks.push(Remark { weight: Weight::Risk, text });
            }
        } else if !self.parameters.contains_key("si") {
            let text = "the SAS does not say when it ends (se), and the service takes none \
                        without";
            remarks.push(Remark { weight: Weight::Blocks, text: text.to_owned() });
        }
        if let Some(begin_ns) = starts_ns.filter(|begin_ns| *begin_ns > now_ns + SKEW_NS) {
            let begin = format_ns(begin_ns);
            let text = format!("the SAS is not valid before {begin}");
            remarks.push(Remark { weight: Weight::Blocks, text });
        }
        remarks
    }
}

impl fmt::Debug for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹masked›")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T12:00:00Z.
    const NOW_NS: i64 = 1_795_348_800_000_000_000;

    fn sending(token: &str) -> Vec<(Weight, String)> {
        let sas = Sas::parse(token).expect(token);
        let remarks = sas.remarks_for_sending(NOW_NS);
        remarks.into_iter().map(|remark| (remark.weight, remark.text)).collect()
    }

    fn check(token: &str, weight: Weight, word: &str) {
        let remarks = sending(token);
        assert_eq!(remarks.len(), 1, "{token}: {remarks:?}");
        assert!(remarks[0].0 == weight && remarks[0].1.contains(word), "{token}: {remarks:?}");
    }

    #[test]
    fn a_good_token_needs_no_word() {
        for token in [
            "?sv=2022-11-02&sr=c&sp=rcw&st=2026-11-22T11:00:00Z&se=2026-11-22T20:00:00Z&sig=x",
            "sv=2022-11-02&ss=b&srt=sco&sp=rlacw&se=2026-11-22T20:00Z&sig=x",
            "sv=2022-11-02&sr=c&si=policy&sig=x",
        ] {
            assert!(sending(token).is_empty(), "{token}");
        }
    }

    #[test]
    fn each_fault_of_a_token_is_said() {
        check("sr=c&sp=rcw&se=2026-11-22T11:59:59Z&sig=x", Weight::Blocks, "expired at 2026-11-22");
        check("sr=c&sp=rcw&se=2026-11-22&sig=x", Weight::Blocks, "expired at 2026-11-22T00:00");
        check(
            "sr=c&sp=rcw&st=2026-11-22T13:00:00Z&se=2026-11-22T20:00:00Z&sig=x",
            Weight::Blocks,
            "not valid before",
        );
        check("sr=c&sp=rl&se=2026-11-22T20:00:00Z&sig=x", Weight::Blocks, "to write");
        check("sr=c&sp=cw&se=2026-11-22T20:00:00Z&sig=x", Weight::Limits, "to read");
        check("sr=c&sp=rcwd&se=2026-11-22T20:00:00Z&sig=x", Weight::Risk, "delete");
        check("sr=c&sp=rcw&se=2026-11-24T20:00:00Z&sig=x", Weight::Risk, "24 hours");
        check("ss=q&srt=sco&sp=rcw&se=2026-11-22T20:00:00Z&sig=x", Weight::Blocks, "ss has no b");
        check("ss=b&srt=sc&sp=rcw&se=2026-11-22T20:00:00Z&sig=x", Weight::Blocks, "srt has no o");
        check("sr=b&sp=rcw&se=2026-11-22T20:00:00Z&sig=x", Weight::Blocks, "one blob");
        check("sr=c&sp=rcw&sig=x", Weight::Blocks, "does not say when it ends");
        // Clocks differ by minutes.
        let token = "sr=c&sp=rcw&st=2026-11-22T12:04:00Z&se=2026-11-22T20:00:00Z&sig=x";
        assert!(sending(token).is_empty());
    }

    #[test]
    fn what_is_no_token_is_said_and_not_repeated() {
        for text in
            ["", "?", "hunter22", "https://a/b?sig=hunter22", "sp=r&sig=hunter22 x", "sp=rw&st=1"]
        {
            let error = Sas::parse(text).expect_err(text).to_string();
            assert!(error.contains("the SAS") && !error.contains("hunter22"), "{error}");
        }
        let sas = Sas::parse("sp=r&sig=hunter22").expect("a token");
        assert!(!format!("{sas:?}").contains("hunter22"));
    }
}
