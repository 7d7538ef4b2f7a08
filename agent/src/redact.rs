//! Masks secrets in every text before it is written.
//!
//! [`Redactor`] reads a text once: a small table finds the words that
//! announce a secret (`password`, `sig=`, `://`, …), and the rule of that word
//! looks around it (`rules.rs`). A text without such words costs one pass.
//! [`redact_object`] masks what only the structure of a Kubernetes object gives
//! away (`object.rs`).
//!
//! A mask keeps identity: `‹password:3fa9c2›` stands for the same secret
//! wherever the same run saw it, and tells nothing of it, because the salt of
//! the hash is never written. Addresses are no secrets: without them nobody can
//! follow a packet. Who must hide them asks for it, and adds rules of his own
//! (`custom.rs`).

use std::borrow::Cow;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use periscope_store::batch::Mask;
use sha2::{Digest, Sha256};

mod bootstrap;
mod value;
mod place;
mod rules;
mod private_key;
mod anchors;
mod object;
mod custom;
mod address;

#[cfg(test)]
mod tests;

use anchors::Anchors;
use custom::Custom;
pub(crate) use custom::RedactionConfig;
pub(crate) use object::redact_object;

/// A secret in a text: where it is, and the rule that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    rule: &'static str,
    range: Range<usize>,
}

/// The agent's rules for secrets in text.
pub(crate) struct Redactor {
    salt: [u8; 16],
    anchors: Anchors,
    custom: Custom,
    /// Whether addresses are masked.
    addresses: bool,
}

impl Redactor {
    /// Rules whose masks are hashed with this salt. Two redactors with one salt
    /// give a secret the same mask.
    pub(crate) fn new(salt: [u8; 16]) -> Self {
        let anchors = Anchors::new();
        Self { salt, anchors, custom: Custom::default(), addresses: false }
    }

    /// Rules as the configuration wants them for a run: with the salt that agents
    /// share if it names one, else with one of its own, from `own`.
    ///
    /// # Errors
    ///
    /// If a rule of the configuration cannot be used, or there is no salt to be had.
    pub(crate) fn of_run(
        config: &RedactionConfig,
        run_id: &str,
        own: impl FnOnce() -> Result<[u8; 16]>,
    ) -> Result<Self> {
        let salt = match &config.salt {
            Some(salt) => {
                let hash = Sha256::new().chain_update(run_id).chain_update([0]).chain_update(salt);
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hash.finalize()[..16]);
                bytes
            }
            None => own()?,
        };
        let custom = Custom::new(&config.rules)?;
        Ok(Self { custom, addresses: config.addresses, ..Self::new(salt) })
    }

    /// The first secret that a word announces.
    fn announced(&self, text: &[u8]) -> Option<Secret> {
        let mut from = 0;
        while let Some((word, rule)) = self.anchors.find(text, from) {
            from = word.start + 1;
            if let Some(secret) = rule(text, word) {
                return Some(secret);
            }
        }
        None
    }

    /// What stands for a secret: `‹rule:3fa9c2›`.
    fn token(&self, rule: &str, secret: &[u8]) -> String {
        let hash = Sha256::new().chain_update(self.salt).chain_update(secret).finalize();
        format!("‹{rule}:{:02x}{:02x}{:02x}›", hash[0], hash[1], hash[2])
    }

    /// Puts a mask for every secret that `find` finds.
    ///
    /// Each search starts behind the secret before it and does not see it: masked
    /// text is searched as if it had never held a secret, so that masking twice
    /// changes nothing.
    fn replace<'a>(
        &self,
        text: &'a [u8],
        find: impl Fn(&[u8]) -> Option<Secret>,
        found: &mut dyn FnMut(&'static str),
    ) -> Cow<'a, [u8]> {
        let Some(mut secret) = find(text) else { return Cow::Borrowed(text) };
        let mut masked = Vec::with_capacity(text.len() + 32);
        let mut rest = text;
        loop {
            found(secret.rule);
            masked.extend_from_slice(&rest[..secret.range.start]);
            let token = self.token(secret.rule, &rest[secret.range.clone()]);
            masked.extend_from_slice(token.as_bytes());
            rest = &rest[secret.range.end..];
            match find(rest) {
                Some(next) => secret = next,
                None => break,
            }
        }
        masked.extend_from_slice(rest);
        Cow::Owned(masked)
    }
}

impl Mask for Redactor {
    fn mask<'a>(&self, text: &'a [u8], found: &mut dyn FnMut(&'static str)) -> Cow<'a, [u8]> {
        let masked = self.replace(text, |text| self.announced(text), found);
        // Bootstrap tokens have no word that announces them, only a shape.
        let mut masked = self.then(masked, bootstrap::find, found);
        if !self.custom.is_empty() {
            masked = self.then(masked, |text| self.custom.find(text), found);
        }
        if self.addresses {
            masked = self.then(masked, address::find, found);
        }
        masked
    }
}

impl Redactor {
    /// [`Redactor::replace`] in a text that may be masked already.
    fn then<'a>(
        &self,
        text: Cow<'a, [u8]>,
        find: impl Fn(&[u8]) -> Option<Secret>,
        found: &mut dyn FnMut(&'static str),
    ) -> Cow<'a, [u8]> {
        match self.replace(&text, find, found) {
            Cow::Owned(masked) => Cow::Owned(masked),
            Cow::Borrowed(_) => text,
        }
    }
}

/// A salt from the kernel.
///
/// # Errors
///
/// If the kernel has no random numbers to give.
pub(crate) fn random_salt() -> Result<[u8; 16]> {
    let mut salt = [0; 16];
    let filled = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())
        .context("asking the kernel for a salt")?;
    if filled != salt.len() {
        bail!("the kernel gave too few random bytes for a salt");
    }
    Ok(salt)
}
