//! Where the storage account is that files are sent to, and by what right.
//!
//! The names are those of the manifests that people have: the Secret
//! `azureblob-secret` as files or as the environment, and what the workload identity
//! webhook gives a pod. A mounted file wins over the environment, that over the
//! configuration file; a SAS wins over an identity.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::print::Printer;
use super::sources::{Environment, Found, Origin, Secret, Sourced, optional, read_mounted};

/// Settings of the exporter `azure-blob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobConfig {
    /// Storage account.
    pub(crate) account: Sourced<Option<String>>,
    /// Address of its blob service, where it does not follow from the account and the
    /// cloud: an emulator, a private endpoint, a cloud of one's own.
    pub(crate) endpoint: Sourced<Option<String>>,
    /// Container; `None` takes the name of the cluster.
    pub(crate) container: Sourced<Option<String>>,
    /// The right to write to it.
    pub(crate) sas: Sourced<Option<Secret>>,
    /// What that right is for: `Container` means that the container exists.
    pub(crate) sas_type: Sourced<Option<String>>,
    /// Tenant of a workload identity.
    pub(crate) tenant: Sourced<Option<String>>,
    /// Client id of a workload identity, or of one of the node's identities.
    pub(crate) client: Sourced<Option<String>>,
    /// File with the token of the cluster that a workload identity exchanges.
    pub(crate) token_file: Sourced<Option<PathBuf>>,
    /// Where Entra answers; `None` for the public cloud.
    pub(crate) authority: Sourced<Option<String>>,
    /// What stands before the node's metadata service; `None` for the service itself.
    pub(crate) metadata: Sourced<Option<String>>,
    /// Folder of the Secret's files, which may change while the agent runs.
    secret: PathBuf,
}

/// What a configuration file can say of them.
#[derive(Debug, Default)]
pub(super) struct BlobFile {
    pub(super) account: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) container: Option<String>,
    pub(super) sas_type: Option<String>,
}

impl BlobConfig {
    pub(super) fn load(env: &Environment<'_>, file: BlobFile) -> Result<Self> {
        let named = |name, file| -> Result<Sourced<Option<String>>> {
            Ok(optional(("", None), env.text(&[name])?, file))
        };
        let secret = |(origin, key): (Origin, String)| (origin, Secret::from(key));
        Ok(Self {
            account: named("AZURE_BLOB_ACCOUNT_NAME", file.account)?,
            endpoint: named("AZURE_STORAGE_ENDPOINT", file.endpoint)?,
            container: named("AZURE_BLOB_CONTAINER_NAME", file.container)?,
            sas: optional(("", None), env.text(&["AZURE_BLOB_SAS_KEY"])?.map(secret), None),
            sas_type: named("AZURE_STORAGE_SAS_KEY_TYPE", file.sas_type)?,
            tenant: named("AZURE_TENANT_ID", None)?,
            client: named("AZURE_CLIENT_ID", None)?,
            token_file: optional(("", None), env.path("AZURE_FEDERATED_TOKEN_FILE")?, None),
            authority: named("AZURE_AUTHORITY_HOST", None)?,
            metadata: named("AZURE_POD_IDENTITY_AUTHORITY_HOST", None)?,
            secret: env.secret.to_owned(),
        })
    }

    /// The same with what the Secret's files say now.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    pub(crate) fn again(&self) -> Result<Self> {
        let mut again = self.clone();
        let secret = &self.secret;
        reread(secret, "AZURE_BLOB_ACCOUNT_NAME", &mut again.account, |text| text)?;
        reread(secret, "AZURE_STORAGE_ENDPOINT", &mut again.endpoint, |text| text)?;
        reread(secret, "AZURE_BLOB_CONTAINER_NAME", &mut again.container, |text| text)?;
        reread(secret, "AZURE_BLOB_SAS_KEY", &mut again.sas, Secret::from)?;
        reread(secret, "AZURE_STORAGE_SAS_KEY_TYPE", &mut again.sas_type, |text| text)?;
        Ok(again)
    }

    /// Whether files shall go there.
    pub(crate) fn is_set(&self) -> bool {
        self.account.value.is_some() || self.endpoint.value.is_some()
    }

    pub(super) fn print(&self, out: &mut Printer) {
        out.text("blob_account", &self.account);
        out.text("blob_endpoint", &self.endpoint);
        out.text("blob_container", &self.container);
        out.secret("the SAS of the storage account", &self.sas);
        out.text("blob_sas_type", &self.sas_type);
    }
}

/// Takes what a mounted file says now. One that is gone takes its value along.
fn reread<T>(
    folder: &Path,
    name: &str,
    value: &mut Sourced<Option<T>>,
    make: impl Fn(String) -> T,
) -> Result<()> {
    let path = folder.join(name);
    let found: Found<T> =
        read_mounted(&path)?.map(|text| (Origin::Mounted(path.clone()), make(text)));
    if found.is_some() || value.origin == Origin::Mounted(path) {
        *value = optional(("", None), found, None);
    }
    Ok(())
}
