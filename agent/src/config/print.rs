//! Prints a configuration as a file that says the same, each value with where it
//! came from. What is secret is left out.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::sources::{Origin, Secret, Sourced};
use crate::probe::TargetConfig;
use crate::{duration, size};

/// A configuration file in the making.
#[derive(Debug, Default)]
pub(super) struct Printer {
    out: String,
}

impl Printer {
    /// The text so far.
    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// Begins a table.
    pub(super) fn table(&mut self, name: &str) {
        let _ = writeln!(self.out, "\n[{name}]");
    }

    pub(super) fn text(&mut self, key: &str, value: &Sourced<Option<String>>) {
        self.line(key, value);
    }

    pub(super) fn path(&mut self, key: &str, value: &Sourced<PathBuf>) {
        self.line(key, &value.with(Some(value.value.display().to_string())));
    }

    pub(super) fn optional_path(&mut self, key: &str, value: &Sourced<Option<PathBuf>>) {
        let path = value.value.as_ref().map(|path| path.display().to_string());
        self.line(key, &value.with(path));
    }

    pub(super) fn list(&mut self, key: &str, value: &Sourced<Vec<String>>) {
        self.line(key, &value.with(Some(value.value.clone())));
    }

    pub(super) fn time(&mut self, key: &str, value: &Sourced<Duration>) {
        self.line(key, &value.with(Some(duration::format(value.value))));
    }

    pub(super) fn size(&mut self, key: &str, value: &Sourced<u64>) {
        self.line(key, &value.with(Some(size::format(value.value))));
    }

    pub(super) fn number(&mut self, key: &str, value: &Sourced<u64>) {
        self.line(key, &value.with(i64::try_from(value.value).ok()));
    }

    /// Says whether a secret is set, and where.
    pub(super) fn secret(&mut self, what: &str, value: &Sourced<Option<Secret>>) {
        let _ = match &value.value {
            Some(secret) => writeln!(self.out, "# {what}: {secret:?} # {}", value.origin),
            None => writeln!(self.out, "# {what} is not set"),
        };
    }

    /// The URL of a proxy, without its password.
    pub(super) fn proxy(&mut self, key: &str, value: &Sourced<Option<String>>) {
        self.line(key, &value.with(value.value.as_deref().map(without_password)));
    }

    pub(super) fn probes(&mut self, value: &Sourced<Option<Vec<TargetConfig>>>) {
        match &value.value {
            None => {
                self.out
                    .push_str("# probe: default (targets of an AKS node, discovered at start)\n");
            }
            Some(targets) => {
                for target in targets {
                    let _ = writeln!(self.out, "\n[[probe]] # {}", value.origin);
                    self.out.push_str(&toml::to_string(target).unwrap_or_default());
                }
            }
        }
    }

    fn line<T: Clone + Into<toml::Value>>(&mut self, key: &str, value: &Sourced<Option<T>>) {
        let _ = match &value.value {
            Some(text) => writeln!(self.out, "{key} = {} # {}", text.clone().into(), value.origin),
            None if value.origin == Origin::Default => writeln!(self.out, "# {key} is not set"),
            None => writeln!(self.out, "# {key} is not set # {}", value.origin),
        };
    }
}

/// `http://user:password@proxy` without the password.
fn without_password(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, host)))) => format!("{scheme}://‹masked›@{host}"),
        _ => url.to_owned(),
    }
}
