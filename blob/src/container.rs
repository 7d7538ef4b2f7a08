//! A container: what is in it, and small things that are put there.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::http::{
    ClientOptions, Etag, ExponentialRetryOptions, RetryOptions, Transport as SdkTransport,
};
use azure_core::time::Duration as SdkDuration;
use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use futures_util::TryStreamExt;
use tokio::sync::Semaphore;

use crate::error::{BlobError, Doing, Kind, explain};
use crate::identity::{Credential, Identity};
use crate::place::Place;
use crate::sas::Sas;
use crate::transport::Transport;

/// The oldest version of the REST interface that has all that is used here, so that
/// services which one runs oneself know it too (Azure Stack Hub ends there).
const VERSION: &str = "2019-07-07";

/// Longest pause between two tries of a request.
const LONGEST_PAUSE: SdkDuration = SdkDuration::seconds(20);

/// Ranges that are in memory at a time, over all blobs that are fetched.
const RANGES: usize = 10;

/// By what right a container is used.
#[derive(Clone, Debug)]
pub enum Login {
    /// A signature of the account's owner.
    Sas(Sas),
    /// An identity of Entra; the service wants https for it.
    Identity(Identity),
    /// None: the container is open to everyone.
    Nobody,
}

impl Login {
    /// What it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Sas(_) => "a SAS".to_owned(),
            Self::Identity(identity) => identity.to_string(),
            Self::Nobody => "nobody".to_owned(),
        }
    }
}

/// How often a request is tried before an error is told.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries after the first.
    pub tries: u32,
    /// Time after which there is no further try.
    pub within: Duration,
}

/// A container and the right to use it.
pub struct Container {
    pub(crate) client: BlobContainerClient,
    pub(crate) place: Place,
    pub(crate) login: Login,
    /// Room in memory for what is fetched.
    pub(crate) ranges: Semaphore,
}

/// A blob in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, with all its slashes.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it came, if the service says so.
    pub created_ns: Option<i64>,
}

/// What the service knows of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Its size.
    pub bytes: u64,
    /// MD5 of its content, if whoever sent it said so.
    pub md5: Option<Vec<u8>>,
    /// What its sender wrote beside it; names in lower case.
    pub metadata: HashMap<String, String>,
    /// Changes with the content.
    pub(crate) etag: Option<Etag>,
}

/// One blob of a container.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    pub(crate) container: &'a Container,
    pub(crate) name: &'a str,
}

impl Container {
    /// A container, which is not asked yet.
    ///
    /// # Errors
    ///
    /// If the right cannot be used there: identities want https.
    pub fn open(
        place: Place,
        login: Login,
        transport: &Transport,
        patience: Patience,
    ) -> Result<Self, BlobError> {
        let options = BlobContainerClientOptions {
            version: VERSION.to_owned(),
            client_options: ClientOptions {
                transport: Some(SdkTransport::new(Arc::new(transport.clone()))),
                retry: RetryOptions::exponential(ExponentialRetryOptions {
                    initial_delay: SdkDuration::milliseconds(500),
                    max_retries: patience.tries,
                    max_total_elapsed: patience
                        .within
                        .try_into()
                        .unwrap_or(SdkDuration::minutes(5)),
                    max_delay: LONGEST_PAUSE,
                }),
                ..ClientOptions::default()
            },
        };
        let (sas, credential) = match &login {
            Login::Sas(sas) => (Some(sas), None),
            Login::Identity(identity) => {
                if place.is_plain_text() {
                    let text = format!("{identity} is not sent to {place}, which is not https");
                    return Err(BlobError::new(Kind::Refused, text));
                }
                let (identity, transport) = (identity.clone(), transport.clone());
                let credential: Arc<dyn TokenCredential> =
                    Arc::new(Credential { identity, transport });
                (None, Some(credential))
            }
            Login::Nobody => (None, None),
        };
        let client =
            BlobContainerClient::new(place.url(sas), credential, Some(options)).map_err(|_| {
                BlobError::new(Kind::Refused, format!("{place} cannot be used as an address"))
            })?;
        Ok(Self { client, place, login, ranges: Semaphore::new(RANGES) })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Makes the container unless it is there.
    ///
    /// A right that does not reach so far is no error: the container may exist, which
    /// only a use of it tells. True if it was made now.
    ///
    /// # Errors
    ///
    /// If the service cannot be reached, or does not know who asks.
    pub async fn create(&self) -> Result<bool, BlobError> {
        match self.client.create(None).await {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = explain(&error, self.doing("make", None));
                let is_there = ["ContainerAlreadyExists", "ResourceAlreadyExists"];
                let is_settled = is_there.contains(&error.code())
                    || (error.code().starts_with("Authorization") && error.kind == Kind::Refused);
                if is_settled { Ok(false) } else { Err(error) }
            }
        }
    }

    /// All blobs whose names begin with a text, by name.
    ///
    /// # Errors
    ///
    /// If the list cannot be read to its end.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, BlobError> {
        let told = |error| explain(&error, self.doing("list", None));
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let mut pages = self.client.list_blobs(Some(options)).map_err(told)?;
        let mut blobs = Vec::new();
        while let Some(blob) = pages.try_next().await.map_err(told)? {
            let (Some(name), Some(properties)) = (blob.name, blob.properties) else { continue };
            let Some(bytes) = properties.content_length else { continue };
            let created = properties.creation_time.or(properties.last_modified);
            let created_ns = created.and_then(|at| at.unix_timestamp_nanos().try_into().ok());
            blobs.push(Listed { name, bytes, created_ns });
        }
        Ok(blobs)
    }

    /// One blob, which need not be there.
    #[must_use]
    pub fn blob<'a>(&'a self, name: &'a str) -> Blob<'a> {
        Blob { container: self, name }
    }

    pub(crate) fn doing<'a>(&'a self, what: &'static str, blob: Option<&'a str>) -> Doing<'a> {
        Doing { what, place: &self.place, blob, login: &self.login }
    }
}

impl Blob<'_> {
    /// What the service knows of it; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// If the service does not say, or has no such container.
    pub async fn properties(&self) -> Result<Option<Properties>, BlobError> {
        let told = |error| self.told("read", &error);
        let answer = match self.client().get_properties(None).await.map_err(told) {
            Ok(answer) => answer,
            Err(error) if error.code() == "BlobNotFound" => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = answer.metadata().map_err(told)?;
        Ok(Some(Properties {
            bytes: answer.content_length().map_err(told)?.unwrap_or_default(),
            md5: answer.content_md5().map_err(told)?,
            metadata: metadata.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect(),
            etag: answer.etag().map_err(told)?,
        }))
    }

    pub(crate) fn client(&self) -> BlobClient {
        self.container.client.blob_client(self.name)
    }

    pub(crate) fn told(&self, what: &'static str, error: &azure_core::Error) -> BlobError {
        explain(error, self.container.doing(what, Some(self.name)))
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)
    }
}
