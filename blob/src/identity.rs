//! Who asks, where no SAS says it: a workload identity (a token of the cluster that is
//! exchanged for one of Entra), or the managed identity of the node.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use serde_json::Value;

use crate::error::{BlobError, Kind};
use crate::transport::{Asked, Transport};

/// What a token is for.
const SCOPE: &str = "https://storage.azure.com/.default";
const RESOURCE: &str = "https://storage.azure.com/";

/// Where Entra answers for the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com/";

/// Where a node's metadata service answers.
const METADATA: &str = "http://169.254.169.254";

/// Lifetime of a token that does not say it; they last an hour at least.
const LIFETIME: Duration = Duration::from_mins(10);

/// An identity by which the service knows the agent.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A token of the cluster, exchanged.
    Workload(WorkloadIdentity),
    /// The node's own.
    Managed(ManagedIdentity),
    /// A token that somebody got by other means, such as `az`.
    Token(Token),
}

/// What the workload identity webhook gives a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// `AZURE_AUTHORITY_HOST`; empty for the public cloud.
    pub authority: String,
    /// `AZURE_TENANT_ID`.
    pub tenant: String,
    /// `AZURE_CLIENT_ID`.
    pub client: String,
    /// `AZURE_FEDERATED_TOKEN_FILE`: read before each exchange, because it is renewed.
    pub token_file: PathBuf,
}

/// The identity of the machine that the agent runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedIdentity {
    /// Which one, where the machine has several: `AZURE_CLIENT_ID`.
    pub client: Option<String>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`, where something stands before the metadata
    /// service; `None` for the service itself.
    pub endpoint: Option<String>,
}

/// A token, and nothing by which to get the next one.
#[derive(Clone)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹masked›")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(identity) => write!(f, "the workload identity {}", identity.client),
            Self::Managed(ManagedIdentity { client: Some(client), .. }) => {
                write!(f, "the managed identity {client}")
            }
            Self::Managed(_) => f.write_str("the managed identity of the node"),
            Self::Token(_) => f.write_str("the login of az"),
        }
    }
}

/// An identity with a connection to ask for tokens.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) identity: Identity,
    pub(crate) transport: Transport,
}

#[async_trait::async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = self.ask().await;
        token.map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}

impl Credential {
    async fn ask(&self) -> Result<AccessToken, BlobError> {
        let (status, body) = match &self.identity {
            Identity::Token(Token(token)) => return Ok(access_token(token.clone(), LIFETIME)),
            Identity::Workload(identity) => self.exchange(identity).await?,
            Identity::Managed(identity) => self.ask_node(identity).await?,
        };
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status != 200 {
            return Err(self.refused(status, &answer));
        }
        let Some(token) = answer["access_token"].as_str() else {
            let text = format!("{}: the answer holds no token", self.identity);
            return Err(BlobError::new(Kind::Away, text));
        };
        let seconds = match &answer["expires_in"] {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        Ok(access_token(token.to_owned(), seconds.map_or(LIFETIME, Duration::from_secs)))
    }

    /// Exchanges the cluster's token for one of Entra.
    async fn exchange(&self, identity: &WorkloadIdentity) -> Result<(u16, Vec<u8>), BlobError> {
        let WorkloadIdentity { authority, tenant, client, token_file } = identity;
        let assertion = std::fs::read_to_string(token_file).map_err(|error| {
            let text = format!(
                "cannot read {}: {error}\n\
                 hint: the workload identity webhook mounts it into pods with the label \
                 azure.workload.identity/use",
                token_file.display()
            );
            BlobError::new(Kind::Refused, text)
        })?;
        let authority = if authority.is_empty() { AUTHORITY } else { authority };
        let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let form = [
            ("client_id", client.as_str()),
            ("client_assertion", assertion.trim()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
        ];
        self.transport.ask(Asked::Form { url: &url, form: &form }).await
    }

    /// Asks the metadata service of the node.
    async fn ask_node(&self, identity: &ManagedIdentity) -> Result<(u16, Vec<u8>), BlobError> {
        let endpoint = identity.endpoint.as_deref().unwrap_or(METADATA);
        let query = {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("api-version", "2018-02-01").append_pair("resource", RESOURCE);
            if let Some(client) = &identity.client {
                query.append_pair("client_id", client);
            }
            query.finish()
        };
        let endpoint = endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/metadata/identity/oauth2/token?{query}");
        self.transport.ask(Asked::Node { url: &url }).await.map_err(|error| {
            let hint = "hint: pods of a cluster with the IMDS restriction cannot ask it; \
                        use a SAS or a workload identity";
            BlobError::new(error.kind, format!("{}: {}\n{hint}", self.identity, error.first_line()))
        })
    }

    fn refused(&self, status: u16, answer: &Value) -> BlobError {
        let said = answer["error_description"].as_str().or(answer["error"].as_str());
        let said = said.and_then(|said| said.lines().next()).unwrap_or("no reason is given");
        let kind =
            if matches!(status, 408 | 410 | 429 | 500..) { Kind::Away } else { Kind::Refused };
        let hint = match &self.identity {
            Identity::Workload(_) => {
                "hint: does the identity have a federated credential for this service account?"
            }
            _ => "hint: does the node have that identity?",
        };
        let text = format!("{} gets no token ({status}): {said}\n{hint}", self.identity);
        BlobError::new(kind, text)
    }
}

fn access_token(token: String, lifetime: Duration) -> AccessToken {
    AccessToken::new(Secret::new(token), OffsetDateTime::now_utc() + lifetime)
}
