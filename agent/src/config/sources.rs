//! Where values come from: flags, files that a cluster mounts, the environment,
//! the configuration file; in this order.
//!
//! A mounted file is one key of a ConfigMap or Secret. The agents before this one
//! read either the environment or these files; where both speak, the file does,
//! because it can change while the agent runs.
#![expect(clippy::disallowed_methods, reason = "the configuration is not a file of the node")]

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{duration, size};

/// A ConfigMap is smaller than this, all its keys together.
const MOUNTED_BYTES: u64 = 1 << 20;

/// Keys that manifests of the original mount, with the folder they are in.
const MOUNTED: [(&str, Folder); 4] = [
    ("DIAGNOSTIC_", Folder::Config),
    ("COLLECTOR_LIST", Folder::Config),
    ("AZURE_BLOB_", Folder::Secret),
    ("AZURE_STORAGE_", Folder::Secret),
];

#[derive(Clone, Copy)]
enum Folder {
    Config,
    Secret,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment(&'static str),
    /// A file that the cluster mounts: one key of a ConfigMap or Secret.
    Mounted(PathBuf),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("configuration file"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Mounted(path) => write!(f, "file {}", path.display()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    /// What holds.
    pub(crate) value: T,
    /// Who said so.
    pub(crate) origin: Origin,
}

impl<T> Sourced<T> {
    /// The same origin with another value.
    pub(super) fn with<U>(&self, value: U) -> Sourced<U> {
        Sourced { value, origin: self.origin.clone() }
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The value itself, for whoever sends it where it belongs.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹masked›")
    }
}

/// A value that somebody outside the program set, by name.
pub(super) type Found<T> = Option<(Origin, T)>;

/// The environment, and the folders of mounted files.
pub(super) struct Environment<'a> {
    /// Value of an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Folder of the ConfigMap's files.
    pub(super) config: &'a Path,
    /// Folder of the Secret's files.
    pub(super) secret: &'a Path,
}

impl Environment<'_> {
    /// First of some keys that is set. An empty value is as good as none.
    pub(super) fn text(&self, names: &[&'static str]) -> Result<Found<String>> {
        for name in names {
            if let Some(path) = self.mounted(name)
                && let Some(text) = read_mounted(&path)?
            {
                return Ok(Some((Origin::Mounted(path), text)));
            }
            let text = (self.variable)(name).and_then(|text| unquoted(&text));
            if let Some(text) = text {
                return Ok(Some((Origin::Environment(name), text)));
            }
        }
        Ok(None)
    }

    pub(super) fn path(&self, name: &'static str) -> Result<Found<PathBuf>> {
        Ok(self.text(&[name])?.map(|(origin, text)| (origin, PathBuf::from(text))))
    }

    /// Words, as the manifests of the original separate and quote them.
    pub(super) fn list(&self, names: &[&'static str]) -> Result<Found<Vec<String>>> {
        Ok(self.text(names)?.map(|(origin, text)| {
            let words = text.split([' ', '\t', '\n', '\r', ',']).filter_map(unquoted);
            (origin, words.collect())
        }))
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Found<Duration>> {
        self.parsed(name, duration::parse)
    }

    pub(super) fn size(&self, name: &'static str) -> Result<Found<u64>> {
        self.parsed(name, size::parse)
    }

    /// A value that takes a certain form; an error names the variable.
    pub(super) fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Found<T>> {
        self.text(&[name])?
            .map(|(origin, text)| {
                let value = parse(&text).with_context(|| format!("environment variable {name}"))?;
                Ok((origin, value))
            })
            .transpose()
    }

    fn mounted(&self, name: &str) -> Option<PathBuf> {
        let (_, folder) = MOUNTED.into_iter().find(|(prefix, _)| name.starts_with(prefix))?;
        let folder = match folder {
            Folder::Config => self.config,
            Folder::Secret => self.secret,
        };
        Some(folder.join(name))
    }
}

/// Text of a mounted file, `None` if there is none or nothing in it.
///
/// # Errors
///
/// If it is there and cannot be read, is no text, or far too long.
pub(super) fn read_mounted(path: &Path) -> Result<Option<String>> {
    let cannot = || format!("cannot read the setting {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(error).with_context(cannot),
    };
    let mut text = String::new();
    file.take(MOUNTED_BYTES).read_to_string(&mut text).with_context(cannot)?;
    Ok(unquoted(&text))
}

/// A text without blanks and quotes around it, which older manifests put around
/// some values. `None` if nothing is left.
fn unquoted(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What holds: the flag, else the environment, else the file, else the default.
pub(super) fn pick<T>(
    flag: (&'static str, Option<T>),
    environment: Found<T>,
    file: Option<T>,
    default: T,
) -> Sourced<T> {
    let (value, origin) = match (flag, environment, file) {
        ((name, Some(value)), _, _) => (value, Origin::Flag(name)),
        (_, Some((origin, value)), _) => (value, origin),
        (_, _, Some(value)) => (value, Origin::File),
        _ => (default, Origin::Default),
    };
    Sourced { value, origin }
}

/// The same for a value that need not be set.
pub(super) fn optional<T>(
    flag: (&'static str, Option<T>),
    environment: Found<T>,
    file: Option<T>,
) -> Sourced<Option<T>> {
    let environment = environment.map(|(origin, value)| (origin, Some(value)));
    pick((flag.0, flag.1.map(Some)), environment, file.map(Some), None)
}
