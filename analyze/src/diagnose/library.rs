//! The diagnostics there are: those that come with the program, one line each, and
//! those of users' folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use globset::Glob;

use super::parse::{Diagnostic, ParseError, parse};

/// Every file of `sql/diagnostics` by its name without `.sql`.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("api-server-unreachable", include_str!("../../../sql/diagnostics/api-server-unreachable.sql")),
    ("azure-maintenance", include_str!("../../../sql/diagnostics/azure-maintenance.sql")),
    ("certificate-expiry", include_str!("../../../sql/diagnostics/certificate-expiry.sql")),
    ("clock-skew", include_str!("../../../sql/diagnostics/clock-skew.sql")),
    ("collection-health", include_str!("../../../sql/diagnostics/collection-health.sql")),
    ("conntrack-full", include_str!("../../../sql/diagnostics/conntrack-full.sql")),
    ("crash-after-rollout", include_str!("../../../sql/diagnostics/crash-after-rollout.sql")),
    ("crash-loop", include_str!("../../../sql/diagnostics/crash-loop.sql")),
    ("custom-dns", include_str!("../../../sql/diagnostics/custom-dns.sql")),
    ("disk-pressure", include_str!("../../../sql/diagnostics/disk-pressure.sql")),
    ("dns-drift", include_str!("../../../sql/diagnostics/dns-drift.sql")),
    ("dns-limits", include_str!("../../../sql/diagnostics/dns-limits.sql")),
    ("dns-outage-scope", include_str!("../../../sql/diagnostics/dns-outage-scope.sql")),
    ("dns-timeouts", include_str!("../../../sql/diagnostics/dns-timeouts.sql")),
    ("image-pull-failures", include_str!("../../../sql/diagnostics/image-pull-failures.sql")),
    ("iptables-drift", include_str!("../../../sql/diagnostics/iptables-drift.sql")),
    ("kernel-faults", include_str!("../../../sql/diagnostics/kernel-faults.sql")),
    ("kubelet-drift", include_str!("../../../sql/diagnostics/kubelet-drift.sql")),
    ("log-storm", include_str!("../../../sql/diagnostics/log-storm.sql")),
    ("memory-pressure", include_str!("../../../sql/diagnostics/memory-pressure.sql")),
    ("node-not-ready", include_str!("../../../sql/diagnostics/node-not-ready.sql")),
    ("out-of-memory", include_str!("../../../sql/diagnostics/out-of-memory.sql")),
    ("outage-causes", include_str!("../../../sql/diagnostics/outage-causes.sql")),
    ("outage-windows", include_str!("../../../sql/diagnostics/outage-windows.sql")),
    ("pod-network", include_str!("../../../sql/diagnostics/pod-network.sql")),
    ("probe-gaps", include_str!("../../../sql/diagnostics/probe-gaps.sql")),
    ("provisioning-failed", include_str!("../../../sql/diagnostics/provisioning-failed.sql")),
    ("runtime-unhealthy", include_str!("../../../sql/diagnostics/runtime-unhealthy.sql")),
    ("service-restarts", include_str!("../../../sql/diagnostics/service-restarts.sql")),
    ("snat-exhaustion", include_str!("../../../sql/diagnostics/snat-exhaustion.sql")),
    ("tunnel-broken", include_str!("../../../sql/diagnostics/tunnel-broken.sql")),
    ("unschedulable-pods", include_str!("../../../sql/diagnostics/unschedulable-pods.sql")),
    ("volume-failures", include_str!("../../../sql/diagnostics/volume-failures.sql")),
];

/// All built-in diagnostics, in the order of [`FILES`].
///
/// # Errors
///
/// If one breaks the grammar, which a test rules out for a released program.
pub(crate) fn built_in() -> Result<Vec<Diagnostic>, ParseError> {
    FILES.iter().map(|(id, text)| parse(id, &format!("sql/diagnostics/{id}.sql"), text)).collect()
}

/// Largest file of a diagnostic that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A diagnostic and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What it asks.
    pub(crate) diagnostic: Diagnostic,
    /// Its file, byte for byte.
    pub(crate) text: String,
    /// The user's file, `None` if it came with the program.
    pub(crate) path: Option<PathBuf>,
}

/// Built-in diagnostics and those of users' folders, by name. A file of a user takes
/// the place of what has its name; so does a later folder that of an earlier one.
///
/// # Errors
///
/// If a folder cannot be read or a file of it is no diagnostic.
pub(crate) fn load(folders: &[PathBuf]) -> Result<Vec<Entry>> {
    let built_in = built_in()?.into_iter().zip(FILES);
    let mut entries: Vec<Entry> = built_in
        .map(|(diagnostic, (_, text))| Entry { diagnostic, text: (*text).to_owned(), path: None })
        .collect();
    for folder in folders {
        for entry in read_folder(folder)? {
            entries.retain(|known| known.diagnostic.id != entry.diagnostic.id);
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| a.diagnostic.id.cmp(&b.diagnostic.id));
    Ok(entries)
}

/// The diagnostics of a folder by name: one for each file that ends in `.sql`.
///
/// # Errors
///
/// As [`load`], and if there are none.
pub(crate) fn read_folder(folder: &Path) -> Result<Vec<Entry>> {
    let reading = || format!("reading diagnostics of {}", folder.display());
    let mut paths = Vec::new();
    for file in fs::read_dir(folder).with_context(reading)? {
        let path = file.with_context(reading)?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    ensure!(
        !paths.is_empty(),
        "no diagnostic in {}\nhint: periscope-analyze diagnostics new ID {} writes one",
        folder.display(),
        folder.display()
    );
    paths.sort();
    paths.into_iter().map(read_file).collect()
}

fn read_file(path: PathBuf) -> Result<Entry> {
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    check_id(&id).with_context(|| path.display().to_string())?;
    let size = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    ensure!(size <= MAX_FILE_BYTES, "{}: a diagnostic of {size} bytes", path.display());
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let diagnostic = parse(&id, &path.display().to_string(), &text)?;
    Ok(Entry { diagnostic, text, path: Some(path) })
}

/// Whether a name can be that of a diagnostic.
///
/// # Errors
///
/// If it cannot.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let is_sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        id.len() <= 64
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(is_sign),
        "{id:?} is no name of a diagnostic\nhint: small letters, digits and -, as outage-windows"
    );
    Ok(())
}

/// The diagnostic of a name.
///
/// # Errors
///
/// If there is none.
pub(crate) fn find<'a>(entries: &'a [Entry], id: &str) -> Result<&'a Entry> {
    entries.iter().find(|entry| entry.diagnostic.id == id).with_context(|| {
        format!("there is no diagnostic {id}\nhint: periscope-analyze diagnostics list shows all")
    })
}

/// Those that a pattern of `only` names (all if it is empty) and none of `skip`.
///
/// # Errors
///
/// If a pattern is wrong or names none.
pub(crate) fn choose(
    entries: Vec<Entry>,
    only: &[String],
    skip: &[String],
) -> Result<Vec<Diagnostic>> {
    let named = |patterns: &[String]| -> Result<Vec<bool>> {
        let mut is_named = vec![false; entries.len()];
        for pattern in patterns {
            let glob = Glob::new(pattern)
                .with_context(|| format!("{pattern:?} is no pattern"))?
                .compile_matcher();
            let mut hits = 0;
            for (named, entry) in is_named.iter_mut().zip(&entries) {
                let is_hit = glob.is_match(&entry.diagnostic.id);
                hits += usize::from(is_hit);
                *named |= is_hit;
            }
            if hits == 0 {
                let known: Vec<_> =
                    entries.iter().map(|entry| entry.diagnostic.id.as_str()).collect();
                bail!("there is no diagnostic {pattern}\nhint: one of {}", known.join(", "));
            }
        }
        Ok(is_named)
    };
    let (only_named, skipped) = (named(only)?, named(skip)?);
    Ok(entries
        .into_iter()
        .zip(only_named.into_iter().zip(skipped))
        .filter(|(_, (is_named, is_skipped))| (only.is_empty() || *is_named) && !is_skipped)
        .map(|(entry, _)| entry.diagnostic)
        .collect())
}
