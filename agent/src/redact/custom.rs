//! What users add to the rules: patterns and literals of their own, masks for
//! addresses, and a salt that several agents share.

use std::collections::HashSet;

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, bail};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

use super::Secret;
use super::value::mask_at;

/// Rules of a configuration at most.
const MAX_RULES: usize = 64;

/// Longest pattern or literal.
const MAX_TEXT_BYTES: usize = 4096;

/// Shortest literal: a shorter one would mask half of all texts.
const MIN_LITERAL_BYTES: usize = 4;

/// Memory for the automaton of one pattern.
const PATTERN_BYTES: usize = 1 << 20;

/// Table `[redaction]` of the configuration.
///
/// ```toml
/// [redaction]
/// addresses = true
///
/// [[redaction.rule]]
/// name = "employee"
/// pattern = 'EMP-(\d{6})'
///
/// [[redaction.rule]]
/// name = "code-word"
/// literal = "xyzzy-17"
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedactionConfig {
    /// Whether IP addresses are masked too. Then nobody can follow a packet.
    pub(crate) addresses: bool,
    /// A text that only the agents know: those that share it and a run give a
    /// secret the same mask. Left out, each agent has a salt of its own.
    pub(crate) salt: Option<String>,
    /// Rules beside the built-in ones.
    #[serde(rename = "rule")]
    pub(crate) rules: Vec<CustomRule>,
}

/// A `[[redaction.rule]]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomRule {
    /// Name in masks and in the view `redaction`.
    pub(crate) name: String,
    /// Regular expression. Its first group is masked, or all of it if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    /// Text to mask wherever it stands, also where JSON escapes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) literal: Option<String>,
}

impl RedactionConfig {
    /// The configuration as a file would say it, without what must not be told.
    pub(crate) fn to_toml(&self) -> String {
        let mut out = format!("\n[redaction]\naddresses = {}\n", self.addresses);
        if self.salt.is_some() {
            out.push_str("# salt is not shown\n");
        }
        for rule in &self.rules {
            if rule.literal.is_some() {
                out.push_str("# a literal is not shown: ");
                out.push_str(&rule.name);
                out.push('\n');
            } else {
                out.push_str("[[redaction.rule]]\n");
                out.push_str(&toml::to_string(rule).unwrap_or_default());
            }
        }
        out
    }
}

/// Rules of a configuration, ready to search with.
#[derive(Debug, Default)]
pub(super) struct Custom {
    literals: Option<(AhoCorasick, Vec<&'static str>)>,
    /// Which of the patterns a text holds at all.
    any: RegexSet,
    patterns: Vec<(&'static str, Regex)>,
}

impl Custom {
    /// Checks the rules and makes them ready.
    ///
    /// # Errors
    ///
    /// At the first rule that cannot be used; the message names it.
    pub(super) fn new(rules: &[CustomRule]) -> Result<Self> {
        if rules.len() > MAX_RULES {
            bail!("{} redaction rules are more than {MAX_RULES}", rules.len());
        }
        let mut names = HashSet::new();
        let (mut literals, mut literal_names) = (Vec::new(), Vec::new());
        let mut patterns = Vec::new();
        for rule in rules {
            check_name(&rule.name)?;
            if !names.insert(&rule.name) {
                bail!("two redaction rules have the name {:?}", rule.name);
            }
            // Rules live as long as the process, and their names are as constant as
            // those of the built-in ones.
            let name: &'static str = Box::leak(rule.name.clone().into_boxed_str());
            match (&rule.pattern, &rule.literal) {
                (Some(pattern), None) => patterns.push((name, compile(name, pattern)?)),
                (None, Some(literal)) => {
                    for literal in spellings(name, literal)? {
                        literals.push(literal);
                        literal_names.push(name);
                    }
                }
                _ => bail!("redaction rule {name:?} must have either a pattern or a literal"),
            }
        }
        let any = RegexSetBuilder::new(patterns.iter().map(|(_, regex)| regex.as_str()))
            .size_limit(PATTERN_BYTES * MAX_RULES)
            .build()
            .context("the patterns of the redaction rules are too large together")?;
        let literals = (!literals.is_empty())
            .then(|| AhoCorasick::builder().build(literals))
            .transpose()
            .context("the literals of the redaction rules are too large together")?;
        Ok(Self { literals: literals.map(|literals| (literals, literal_names)), any, patterns })
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.literals.is_none() && self.patterns.is_empty()
    }

    /// The first secret that a rule finds outside of any mask.
    pub(super) fn find(&self, text: &[u8]) -> Option<Secret> {
        let literal = self.literals.as_ref().and_then(|(literals, names)| {
            literals
                .find_iter(text)
                .map(|found| Secret { rule: names[found.pattern()], range: found.range() })
                .find(|secret| !mask_at(text, &secret.range))
        });
        let patterns = self.any.matches(text).into_iter().filter_map(|at| {
            let (rule, pattern) = &self.patterns[at];
            pattern
                .captures_iter(text)
                .filter_map(|found| found.get(1).or_else(|| found.get(0)))
                .map(|found| Secret { rule, range: found.range() })
                .find(|secret| !secret.range.is_empty() && !mask_at(text, &secret.range))
        });
        patterns.chain(literal).min_by_key(|secret| (secret.range.start, !secret.range.end))
    }
}

/// Names stand in masks, which know lower-case letters and dashes only.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(is_plain) {
        bail!(
            "{name:?} is no name of a redaction rule\nhint: 1 to 32 lower-case letters or dashes"
        );
    }
    Ok(())
}

fn compile(name: &str, pattern: &str) -> Result<Regex> {
    if pattern.len() > MAX_TEXT_BYTES {
        bail!("the pattern of redaction rule {name:?} is longer than {MAX_TEXT_BYTES} bytes");
    }
    let regex = RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .build()
        .with_context(|| format!("in the pattern of redaction rule {name:?}"))?;
    if regex.is_match(b"") {
        bail!("the pattern of redaction rule {name:?} matches an empty text");
    }
    Ok(regex)
}

/// A literal as it is, and as JSON spells it.
fn spellings(name: &str, literal: &str) -> Result<Vec<Vec<u8>>> {
    if !(MIN_LITERAL_BYTES..=MAX_TEXT_BYTES).contains(&literal.len()) {
        bail!(
            "the literal of redaction rule {name:?} is not between {MIN_LITERAL_BYTES} and \
             {MAX_TEXT_BYTES} bytes long"
        );
    }
    let json = serde_json::Value::from(literal).to_string();
    let json = json.as_bytes()[1..json.len() - 1].to_vec();
    let mut spellings = vec![literal.as_bytes().to_vec()];
    spellings.extend(Some(json).filter(|json| json != literal.as_bytes()));
    Ok(spellings)
}

#[cfg(test)]
mod tests {
    use periscope_store::batch::Mask;

    use super::super::{Redactor, random_salt};
    use super::*;

    fn redactor(text: &str) -> Result<Redactor> {
        let config: RedactionConfig = toml::from_str(text).expect("a table");
        Redactor::of_run(&config, "run-1", random_salt)
    }

    /// The text with `§rule` for each mask.
    fn mask(redactor: &Redactor, text: &str) -> String {
        let masked = |text: &str| {
            String::from_utf8(redactor.mask(text.as_bytes(), &mut |_| {}).into_owned())
                .expect("text")
        };
        let once = masked(text);
        assert_eq!(masked(&once), once, "masking twice changes nothing");
        let mut parts = once.split('‹');
        let first = parts.next().expect("a part").to_owned();
        parts.fold(first, |text, part| {
            let (mask, rest) = part.split_once('›').expect("a whole mask");
            format!("{text}§{}{rest}", mask.split(':').next().expect("a rule"))
        })
    }

    const RULES: &str = r#"
        [[rule]]
        name = "employee"
        pattern = 'EMP-(\d{6})'
        [[rule]]
        name = "code-word"
        literal = 'say "friend"'
        [[rule]]
        name = "hex"
        pattern = '[0-9a-f]{6,}'
    "#;

    #[test]
    fn patterns_and_literals_of_users_are_masked() {
        let redactor = redactor(RULES).expect("rules");
        let check = |text: &str, expected: &str| assert_eq!(mask(&redactor, text), expected);
        check("seen EMP-123456 and EMP-1", "seen EMP-§employee and EMP-1");
        check(r#"they say "friend" twice"#, "they §code-word twice");
        check(r#"{"m":"say \"friend\""}"#, r#"{"m":"§code-word"}"#);
        // The built-in rules come first, and masks are no texts to look into.
        check("password=hunter2 0a1b2c3d", "password=§password §hex");
        check("nothing here", "nothing here");
    }

    #[test]
    fn rules_that_cannot_be_used_are_named() {
        let error = |text: &str| format!("{:#}", redactor(text).err().expect(text));
        let rule = |rest: &str| format!("[[rule]]\nname = \"a\"\n{rest}\n");
        assert!(error(&rule("pattern = '('")).contains("in the pattern of redaction rule \"a\""));
        assert!(error(&rule("pattern = 'x*'")).contains("matches an empty text"));
        assert!(error(&rule("literal = 'abc'")).contains("not between 4 and"));
        assert!(error(&rule("")).contains("either a pattern or a literal"));
        assert!(error(&rule("literal = 'abcd'").repeat(2)).contains("two redaction rules"));
        assert!(error("[[rule]]\nname = 'A b'\nliteral = 'abcd'").contains("hint: 1 to 32"));
        assert!(error(&rule(r"pattern = '\w{1000}{1000}'")).contains("pattern of redaction rule"));
    }

    #[test]
    fn agents_that_share_a_salt_give_one_run_the_same_masks() {
        let config = |salt: Option<&str>| RedactionConfig {
            salt: salt.map(str::to_owned),
            ..RedactionConfig::default()
        };
        let mask = |salt: Option<&str>, run: &str| {
            let redactor = Redactor::of_run(&config(salt), run, random_salt).expect("a redactor");
            redactor.mask(b"password=hunter2", &mut |_| {}).into_owned()
        };
        assert_eq!(mask(Some("ours"), "run-1"), mask(Some("ours"), "run-1"));
        assert_ne!(mask(Some("ours"), "run-1"), mask(Some("ours"), "run-2"));
        assert_ne!(mask(Some("ours"), "run-1"), mask(Some("theirs"), "run-1"));
        assert_ne!(mask(None, "run-1"), mask(None, "run-1"));
    }

    #[test]
    fn what_is_shown_of_the_configuration_holds_no_secret() {
        let text = format!("salt = \"pepper\"\naddresses = true\n{RULES}");
        let config: RedactionConfig = toml::from_str(&text).expect("a table");
        let shown = config.to_toml();
        assert!(!shown.contains("pepper") && !shown.contains("friend"), "{shown}");
        let again: toml::Table = toml::from_str(&shown).expect("TOML");
        let again: RedactionConfig = again["redaction"].clone().try_into().expect("a table");
        assert!(again.addresses);
        let names: Vec<_> = again.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["employee", "hex"]);
    }
}
