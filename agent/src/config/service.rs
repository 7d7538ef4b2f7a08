//! What only the continuous run needs to know: when files are sealed, where they
//! go, what they may cost, and how one sees that it is well.
//!
//! In the configuration file these are the keys of the table `[run]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::blob::{BlobConfig, BlobFile};
use super::print::Printer;
use super::sources::{Environment, Sourced, optional, pick};
use crate::{duration, size};

/// Where the original's manifests mount the ConfigMap and the Secret.
const CONFIG_MOUNT: &str = "/config";
const SECRET_MOUNT: &str = "/secret";

/// A file without a row is already 100 KiB; one below this would be sealed empty.
const LEAST_SEAL_BYTES: u64 = 256 << 10;
const LEAST_SEAL_AFTER: Duration = Duration::from_secs(1);

/// Settings of the continuous run.
#[derive(Clone, Debug)]
pub(crate) struct RunConfig {
    /// Folder to copy sealed files to; `None` keeps them in the outbox.
    pub(crate) export_dir: Sourced<Option<PathBuf>>,
    /// Age at which a file is sealed.
    pub(crate) seal_after: Sourced<Duration>,
    /// Size at which it is sealed before that age.
    pub(crate) seal_bytes: Sourced<u64>,
    /// Size of the output folder above which the oldest sealed files go.
    pub(crate) folder_bytes: Sourced<u64>,
    /// Free part of the file system, in percent, below which no logs are read.
    pub(crate) free_percent: Sourced<u64>,
    /// Free bytes of the file system below which no logs are read.
    pub(crate) free_bytes: Sourced<u64>,
    /// Time between SIGTERM and the end of the process.
    pub(crate) grace: Sourced<Duration>,
    /// Niceness of all threads but the probes'.
    pub(crate) nice: Sourced<u64>,
    /// Address that answers `/healthz`, `/readyz` and `/metrics`.
    pub(crate) health: Sourced<Option<SocketAddr>>,
    /// Storage account to send sealed files to.
    pub(crate) blob: BlobConfig,
}

/// What flags can say of a continuous run.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct RunFlags {
    /// Copy sealed files to DIR/RUN/NODE/ (default: they stay in OUTPUT/outbox)
    #[arg(long, value_name = "DIR")]
    pub(crate) export_dir: Option<PathBuf>,
    /// Seal a file at this age (default: 1h)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) seal_after: Option<Duration>,
    /// Seal a file at this size (default: 64MiB)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) seal_bytes: Option<u64>,
    /// Remove the oldest sealed files above this size of OUTPUT (default: 512MiB)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) folder_bytes: Option<u64>,
    /// Read no logs while less of the file system is free (default: 10)
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(..=100))]
    pub(crate) free_percent: Option<u64>,
    /// Read no logs while fewer bytes of the file system are free (default: 1GiB)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) free_bytes: Option<u64>,
    /// Seal and export within this time of SIGTERM (default: 25s)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) grace: Option<Duration>,
    /// Niceness of the agent's work, probes excepted (default: 10)
    #[arg(long, value_name = "0..19", value_parser = clap::value_parser!(u64).range(..=19))]
    pub(crate) nice: Option<u64>,
    /// Answer /healthz, /readyz and /metrics here (default: nowhere)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) health: Option<SocketAddr>,
}

/// Table `[run]` of a configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunFile {
    export_dir: Option<PathBuf>,
    seal_after: Option<String>,
    seal_bytes: Option<String>,
    folder_bytes: Option<String>,
    free_percent: Option<u64>,
    free_bytes: Option<String>,
    grace: Option<String>,
    nice: Option<u64>,
    health: Option<SocketAddr>,
    blob_account: Option<String>,
    blob_endpoint: Option<String>,
    blob_container: Option<String>,
    blob_sas_type: Option<String>,
}

/// Folders of mounted files: flags or the environment may move them.
pub(super) fn mounts(
    flags: &super::Flags,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (PathBuf, PathBuf) {
    let folder = |flag: &Option<PathBuf>, name, default| {
        let named = || variable(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        flag.clone().or_else(named).unwrap_or_else(|| Path::new(default).to_owned())
    };
    (
        folder(&flags.config_mount, "PERISCOPE_CONFIG_MOUNT", CONFIG_MOUNT),
        folder(&flags.secret_mount, "PERISCOPE_SECRET_MOUNT", SECRET_MOUNT),
    )
}

impl RunConfig {
    pub(super) fn load(flags: &RunFlags, env: &Environment<'_>, file: RunFile) -> Result<Self> {
        let time = |key: &str, text: Option<String>| parsed(key, text, duration::parse);
        let bytes = |key: &str, text: Option<String>| parsed(key, text, size::parse);
        let number = |text: &str| text.parse::<u64>().context("not a number");
        let address = |text: &str| text.parse().context("not an address and port");
        let config = Self {
            export_dir: optional(
                ("--export-dir", flags.export_dir.clone()),
                env.path("PERISCOPE_EXPORT_DIR")?,
                file.export_dir,
            ),
            seal_after: pick(
                ("--seal-after", flags.seal_after),
                env.time("PERISCOPE_SEAL_AFTER")?,
                time("seal_after", file.seal_after)?,
                Duration::from_hours(1),
            ),
            seal_bytes: pick(
                ("--seal-bytes", flags.seal_bytes),
                env.size("PERISCOPE_SEAL_BYTES")?,
                bytes("seal_bytes", file.seal_bytes)?,
                64 << 20,
            ),
            folder_bytes: pick(
                ("--folder-bytes", flags.folder_bytes),
                env.size("PERISCOPE_FOLDER_BYTES")?,
                bytes("folder_bytes", file.folder_bytes)?,
                512 << 20,
            ),
            free_percent: pick(
                ("--free-percent", flags.free_percent),
                env.parsed("PERISCOPE_FREE_PERCENT", number)?,
                file.free_percent,
                10,
            ),
            free_bytes: pick(
                ("--free-bytes", flags.free_bytes),
                env.size("PERISCOPE_FREE_BYTES")?,
                bytes("free_bytes", file.free_bytes)?,
                1 << 30,
            ),
            grace: pick(
                ("--grace", flags.grace),
                env.time("PERISCOPE_GRACE")?,
                time("grace", file.grace)?,
                Duration::from_secs(25),
            ),
            nice: pick(
                ("--nice", flags.nice),
                env.parsed("PERISCOPE_NICE", number)?,
                file.nice,
                10,
            ),
            health: optional(
                ("--health", flags.health),
                env.parsed("PERISCOPE_HEALTH", address)?,
                file.health,
            ),
            blob: BlobConfig::load(
                env,
                BlobFile {
                    account: file.blob_account,
                    endpoint: file.blob_endpoint,
                    container: file.blob_container,
                    sas_type: file.blob_sas_type,
                },
            )?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.free_percent.value > 100 || self.nice.value > 19 {
            bail!("free_percent is at most 100 and nice at most 19");
        }
        // A file that is being written, one that is being sealed, and one sealed.
        let least = self.seal_bytes.value.saturating_mul(3);
        if self.folder_bytes.value < least {
            bail!(
                "folder_bytes {} holds less than three files of seal_bytes {}\n\
                 hint: lower seal_bytes, or raise folder_bytes to {}",
                size::format(self.folder_bytes.value),
                size::format(self.seal_bytes.value),
                size::format(least)
            );
        }
        if self.seal_bytes.value < LEAST_SEAL_BYTES || self.seal_after.value < LEAST_SEAL_AFTER {
            bail!(
                "a file cannot be sealed before it holds anything\n\
                 hint: seal_bytes is at least {}, seal_after at least {}",
                size::format(LEAST_SEAL_BYTES),
                duration::format(LEAST_SEAL_AFTER)
            );
        }
        Ok(())
    }

    /// The table `[run]`.
    pub(super) fn print(&self, out: &mut Printer) {
        out.table("run");
        out.optional_path("export_dir", &self.export_dir);
        out.time("seal_after", &self.seal_after);
        out.size("seal_bytes", &self.seal_bytes);
        out.size("folder_bytes", &self.folder_bytes);
        out.number("free_percent", &self.free_percent);
        out.size("free_bytes", &self.free_bytes);
        out.time("grace", &self.grace);
        out.number("nice", &self.nice);
        let health = self.health.with(self.health.value.map(|address| address.to_string()));
        out.text("health", &health);
        self.blob.print(out);
    }
}

fn parsed<T>(
    key: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<Option<T>> {
    text.map(|text| parse(&text))
        .transpose()
        .with_context(|| format!("key {key} of the table [run] of the configuration file"))
}
