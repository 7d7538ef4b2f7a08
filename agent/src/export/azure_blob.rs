//! Sends sealed files to Azure Blob Storage, under `RUN/NODE/`.
//!
//! How is the library's (`periscope-blob`); this says where, by what right, and what
//! to tell of them. The settings are read again before each file, because a Secret may
//! be renewed while a collection runs.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use periscope_blob::{
    BlobError, Container, Content, Kind, Login, Patience, Proxies, Transport, Uploaded, Weight,
};
use periscope_store::batch::{Issue, IssueKind};
use tokio::runtime::Runtime;

use super::site::Site;
use super::{ExportError, Exporter};
use crate::config::BlobConfig;
use crate::outbox::Name;

/// What the files are, for whoever looks at the container.
const DATABASE: &str = "application/vnd.sqlite3";

/// Tries of one request; what comes after is the runner's, which tells of it.
const PATIENCE: Patience = Patience { tries: 4, within: Duration::from_mins(1) };

/// Takes what is to be told of the exporter: a row of the database, and a line of the
/// log.
pub(crate) type Tell = Box<dyn Fn(Issue) + Send>;

/// Sends to `CONTAINER/RUN/NODE/NODE-NUMBER.db`.
pub(crate) struct AzureBlob {
    settings: BlobConfig,
    site: Site,
    tell: Tell,
    runtime: Runtime,
    transport: Transport,
    open: Option<Open>,
}

/// The container, as the settings have it.
struct Open {
    settings: BlobConfig,
    container: Container,
    /// Whether it need not be made any more.
    is_made: bool,
}

impl AzureBlob {
    /// An exporter to the container that the settings name; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// If TLS or the proxy cannot be set up.
    pub(crate) fn new(
        settings: BlobConfig,
        proxies: &Proxies,
        site: Site,
        tell: Tell,
    ) -> Result<Self> {
        let transport = Transport::new(proxies, &site.trusted())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot begin to send files")?;
        Ok(Self { settings, site, tell, runtime, transport, open: None })
    }

    /// Opens the container that the settings name now.
    fn open(&mut self) -> Result<(), ExportError> {
        let settings = self.settings.again().map_err(ExportError::Retry)?;
        if self.open.as_ref().is_some_and(|open| open.settings == settings) {
            return Ok(());
        }
        self.open = None;
        let place = self.site.place(&settings, &mut |text| (self.tell)(issue(text)));
        let place = place.map_err(ExportError::Blocked)?;
        let login = Site::login(&settings).map_err(ExportError::Blocked)?;
        for text in self.remarks(&login) {
            (self.tell)(issue(text));
        }
        if place.is_plain_text() && !place.is_local() {
            (self.tell)(issue(format!("{place} is not https: who listens can read what is sent")));
        }
        let may_make = match &login {
            Login::Sas(sas) => {
                let kind = settings.sas_type.value.as_deref().unwrap_or_default();
                sas.is_of_account() && !kind.eq_ignore_ascii_case("container")
            }
            Login::Identity(_) => true,
            Login::Nobody => false,
        };
        tracing::info!(to = %place, by = login.describe(), "files are sent");
        let container = Container::open(place, login, &self.transport, PATIENCE);
        let container = container.map_err(|error| outcome_of(error, Kind::Refused))?;
        self.open = Some(Open { settings, container, is_made: !may_make });
        Ok(())
    }

    fn remarks(&self, login: &Login) -> Vec<String> {
        let Login::Sas(sas) = login else { return Vec::new() };
        let remarks = sas.remarks_for_sending(self.site.now_ns());
        let told = |weight| match weight {
            Weight::Blocks => "no file will arrive",
            Weight::Limits => "files will arrive",
            Weight::Risk => "files will arrive, at a risk",
        };
        remarks.into_iter().map(|r| format!("{}: {}", told(r.weight), r.text)).collect()
    }

    fn send(
        &mut self,
        path: &str,
        content: Content<'_>,
        media_type: &str,
        run_id: &str,
    ) -> Result<Uploaded, ExportError> {
        self.open()?;
        let Some(open) = &mut self.open else {
            return Err(ExportError::Retry(Error::msg("the container is not open")));
        };
        let metadata = self.site.metadata(run_id);
        let sent = self.runtime.block_on(open.send(path, content, media_type, &metadata));
        sent.map_err(|error| {
            if error.kind == Kind::NoContainer {
                open.is_made = false;
            }
            let kind = error.kind;
            outcome_of(error, kind)
        })
    }
}

impl Open {
    async fn send(
        &mut self,
        path: &str,
        content: Content<'_>,
        media_type: &str,
        metadata: &HashMap<String, String>,
    ) -> Result<Uploaded, BlobError> {
        if !self.is_made {
            if self.container.create().await? {
                tracing::info!(container = %self.container.place(), "the container was made");
            }
            self.is_made = true;
        }
        self.container.blob(path).upload(content, media_type, metadata).await
    }
}

impl Exporter for AzureBlob {
    fn place(&self) -> String {
        match &self.open {
            Some(open) => open.container.place().to_string(),
            None => "the storage account".to_owned(),
        }
    }

    fn begin(&mut self) -> Result<(), ExportError> {
        self.open()
    }

    fn put(&mut self, name: &Name, file: &Path) -> Result<(), ExportError> {
        let path = format!("{}/{}/{}", name.run_id, name.node, name.file_name());
        let sent = self.send(&path, Content::File(file), DATABASE, &name.run_id)?;
        if let Uploaded::Sent { bytes, verified } = sent {
            tracing::debug!(path, bytes, verified, "sent");
        }
        Ok(())
    }

    fn put_beside(
        &mut self,
        run_id: &str,
        path: &str,
        content: &[u8],
        media_type: &str,
    ) -> Result<(), ExportError> {
        match self.send(path, Content::Bytes(content), media_type, run_id) {
            // Who was first has written it, with what was known then.
            Err(ExportError::GiveUp(_)) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// What follows from an error.
fn outcome_of(error: BlobError, kind: Kind) -> ExportError {
    let error = Error::new(error);
    match kind {
        Kind::Away | Kind::File => ExportError::Retry(error),
        Kind::Refused | Kind::NoContainer | Kind::NoBlob => ExportError::Blocked(error),
        Kind::Taken => ExportError::GiveUp(error),
    }
}

fn issue(text: String) -> Issue {
    Issue {
        source: "azure-blob".to_owned(),
        kind: IssueKind::Excluded,
        amount: None,
        unit: None,
        message: text,
    }
}
