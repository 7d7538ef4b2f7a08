//! The API server, as one collector sees it for one poll: synchronous, bounded,
//! and read only but for the agents' own lease.
//!
//! [`KubeAccess`] finds credentials: the pod's service account, or a kubeconfig
//! of the node with its certificates, read through [`Host`]. [`Api`] owns a
//! current-thread runtime and a client for as long as the poll lasts; nothing
//! stays open in between, and rotated certificates are seen by the next poll.
//! Nothing here knows what is worth reading, and nothing here can read Secrets:
//! resources are constants of the callers.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::http::Request;
use kube::core::params::{GetParams, ListParams, PostParams};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout_at};

use crate::host::Host;

mod access;
mod exchange;
pub(crate) mod lease;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub(crate) use access::{KubeAccess, pod_namespace};

/// Longest pause before a request is made again, whatever the server asks for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What one poll may cost the API server and the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time for one request.
    pub(crate) request: Duration,
    /// Time for all requests of a poll.
    pub(crate) overall: Duration,
    /// Objects that one request asks for.
    pub(crate) page_objects: u32,
    /// Objects of a poll.
    pub(crate) objects: usize,
    /// Bytes of all answers of a poll.
    pub(crate) bytes: usize,
    /// How often a request is made while the server is busy or fails.
    pub(crate) tries: u32,
    /// Pause before the second try; doubled before each further one.
    pub(crate) pause: Duration,
    /// Time over which the agents of a cluster spread their first requests: all
    /// of them begin to collect in the same moment.
    pub(crate) spread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            overall: Duration::from_secs(45),
            page_objects: 500,
            objects: 20_000,
            bytes: 64 << 20,
            tries: 4,
            pause: Duration::from_secs(1),
            spread: Duration::from_secs(5),
        }
    }
}

/// A resource of the API: how it is spelled in objects and in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Group and version, `v1` for the core group.
    pub(crate) api_version: &'static str,
    /// Kind, as objects state it.
    pub(crate) kind: &'static str,
    /// Plural in lower case, as paths state it.
    pub(crate) plural: &'static str,
}

impl Resource {
    /// Path of all objects, or of those of a namespace.
    fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        let Self { api_version, plural, .. } = self;
        match namespace {
            Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{api_version}/{plural}"),
        }
    }
}

/// Objects of one resource to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Their resource.
    pub(crate) resource: Resource,
    /// Their namespace, `None` for all.
    pub(crate) namespace: Option<String>,
    /// Fields and the names they must have; empty for all.
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Selection {
    /// Fields as the API server reads them.
    fn field_selector(&self) -> Option<String> {
        let fields: Vec<_> =
            self.fields.iter().map(|(field, value)| format!("{field}={value}")).collect();
        (!fields.is_empty()).then(|| fields.join(","))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource.plural)?;
        if let Some((group, _)) = self.resource.api_version.split_once('/') {
            write!(f, ".{group}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}")?,
            None => write!(f, " in all namespaces")?,
        }
        self.field_selector().iter().try_for_each(|fields| write!(f, " with {fields}"))
    }
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The objects, unparsed: a page of them is large, and parsed larger.
    pub(crate) items: Vec<Box<RawValue>>,
    /// Where the next page starts, `None` after the last.
    pub(crate) next: Option<String>,
    /// Objects on the pages to come, if the server tells.
    pub(crate) remaining: Option<u64>,
}

impl Page {
    /// Page of a list in JSON.
    fn parse(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            metadata: Metadata,
            items: Option<Vec<Box<RawValue>>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            #[serde(rename = "continue")]
            next: Option<String>,
            remaining_item_count: Option<u64>,
        }
        let List { metadata, items } = serde_json::from_slice(json)?;
        Ok(Self {
            items: items.unwrap_or_default(),
            next: metadata.next.filter(|next| !next.is_empty()),
            remaining: metadata.remaining_item_count,
        })
    }
}

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The server has a certificate that the credentials do not vouch for, or
    /// does not accept ours.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// A connection, but no answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The poll has had its time; there may be nothing wrong with the server.
    #[error("the poll took longer than its {0:?}")]
    Deadline(Duration),
    /// The poll has had its bytes.
    #[error("the answers are larger than the {0} bytes that a poll may read")]
    TooLarge(usize),
    /// Status 401 or 403.
    #[error("refused with status {code}: {message}")]
    Refused {
        /// The status.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// Status 404.
    #[error("not found")]
    NotFound,
    /// Status 409: somebody else has changed the object, or made it.
    #[error("somebody else was faster")]
    Conflict,
    /// Status 410: the rest of a list is no longer to be had.
    #[error("the rest of the list is gone")]
    Gone,
    /// Any other status than success.
    #[error("failed with status {code}: {message}")]
    Status {
        /// The status.
        code: u16,
        /// What the server says.
        message: String,
    },
    /// An answer that is not what was asked for.
    #[error("the answer makes no sense: {0}")]
    Damaged(String),
    /// A request that cannot be made.
    #[error("no such request: {0}")]
    Request(String),
}

impl ApiError {
    /// Whether no server answered at all.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout(_) | Self::Deadline(_))
    }

    /// Whether the same request can have another answer a little later.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Status { code: 429 | 500 | 502 | 503 | 504, .. })
    }

    /// Whether the poll is over, whatever is still to be asked.
    pub(crate) fn ends_poll(&self) -> bool {
        matches!(self, Self::Deadline(_) | Self::TooLarge(_))
    }
}

/// What came of looking for an API server.
pub(crate) enum Connection {
    /// Credentials and an address; whether it answers, a request will tell.
    Api(Box<Api>),
    /// This node has none. The text says where it was looked for.
    Absent(String),
}

/// An API server, for one poll.
pub(crate) struct Api {
    client: kube::Client,
    // None only while it is dropped.
    runtime: Option<Runtime>,
    server: String,
    limits: Limits,
    deadline: Instant,
    bytes: usize,
    answered: bool,
}

impl Api {
    /// Prepares to ask the server that `access` finds. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// If there are credentials and they cannot be used.
    pub(crate) fn connect(access: &KubeAccess, host: &Host, limits: Limits) -> Result<Connection> {
        let mut config = match access.find(host)? {
            access::Found::Config(config) => config,
            access::Found::Nothing(reason) => return Ok(Connection::Absent(reason)),
        };
        // Shorter than all of a request: which of both ran out tells whether anybody is there.
        config.connect_timeout = Some(limits.request * 4 / 5);
        config.default_retry = false;
        // kube takes HTTPS_PROXY for its own, which on AKS leads to the internet.
        config.proxy_url = None;
        let server = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
        // With two providers in one binary rustls refuses to choose; an error
        // here means that the choice was made before.
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("preparing to ask the API server")?;
        if access.in_pod {
            std::thread::sleep(up_to(limits.spread));
        }
        let (client, deadline) = {
            let _inside = runtime.enter();
            let client = kube::Client::try_from(*config)
                .with_context(|| format!("using the credentials for the API server {server}"))?;
            (client, Instant::now() + limits.overall)
        };
        let runtime = Some(runtime);
        Ok(Connection::Api(Box::new(Self {
            client,
            runtime,
            server,
            limits,
            deadline,
            bytes: 0,
            answered: false,
        })))
    }

    /// Host and port of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Limits of this poll.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the server has answered anything yet, a refusal included.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Reads one object.
    ///
    /// # Errors
    ///
    /// [`ApiError::NotFound`] if there is no such object, else why it could not
    /// be read.
    pub(crate) fn get(
        &mut self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, ApiError> {
        check_name(name)?;
        namespace.map_or(Ok(()), check_name)?;
        let request = kube::core::Request::new(resource.path(namespace));
        let request = request.get(name, &GetParams::default());
        let body = self.send(request.map_err(|error| ApiError::Request(error.to_string()))?)?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Damaged(error.to_string()))
    }

    /// Reads one page of a list: the first, or the one that `next` names.
    ///
    /// # Errors
    ///
    /// [`ApiError::Gone`] if the server has forgotten where `next` points, else
    /// why it could not be read.
    pub(crate) fn list(
        &mut self,
        selection: &Selection,
        next: Option<&str>,
    ) -> Result<Page, ApiError> {
        let namespace = selection.namespace.as_deref();
        namespace.map_or(Ok(()), check_name)?;
        selection.fields.iter().try_for_each(|(_, value)| check_name(value))?;
        let mut parameters = ListParams::default().limit(self.limits.page_objects);
        parameters.field_selector = selection.field_selector();
        parameters.continue_token = next.map(str::to_owned);
        let request = kube::core::Request::new(selection.resource.path(namespace));
        let request = request.list(&parameters);
        let body = self.send(request.map_err(|error| ApiError::Request(error.to_string()))?)?;
        Page::parse(&body).map_err(|error| ApiError::Damaged(error.to_string()))
    }

    /// Makes an object.
    ///
    /// # Errors
    ///
    /// [`ApiError::Conflict`] if there is one of its name, else why it was not made.
    pub(crate) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, ApiError> {
        check_name(namespace)?;
        let request = kube::core::Request::new(resource.path(Some(namespace)));
        let request = request.create(&PostParams::default(), object.to_string().into_bytes());
        let body = self.send(request.map_err(|error| ApiError::Request(error.to_string()))?)?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Damaged(error.to_string()))
    }

    /// Puts an object in the place of the one of that name.
    ///
    /// # Errors
    ///
    /// [`ApiError::Conflict`] if that is no longer the one it was made from, else
    /// why it is not there now.
    pub(crate) fn replace(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, ApiError> {
        check_name(name)?;
        check_name(namespace)?;
        let request = kube::core::Request::new(resource.path(Some(namespace)));
        let body = object.to_string().into_bytes();
        let request = request.replace(name, &PostParams::default(), body);
        let body = self.send(request.map_err(|error| ApiError::Request(error.to_string()))?)?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Damaged(error.to_string()))
    }

    /// Gives the poll its whole time again, as when it has waited for its turn.
    pub(crate) fn restart(&mut self) {
        self.deadline = from_now(self.limits.overall);
    }

    /// Sends a request, again after a pause if the server is busy or fails.
    fn send(&mut self, request: Request<Vec<u8>>) -> Result<Vec<u8>, ApiError> {
        let mut pause = self.limits.pause;
        for _ in 1..self.limits.tries {
            match self.send_once(request.clone()) {
                Err((error, retry_after)) if error.is_passing() => {
                    let wait = retry_after.unwrap_or(pause).min(MAX_PAUSE);
                    // Many agents wait at once, and must not come back at once.
                    let wait = wait + up_to(wait / 2);
                    if from_now(wait) >= self.deadline {
                        return Err(error);
                    }
                    std::thread::sleep(wait);
                    pause *= 2;
                }
                result => return result.map_err(|(error, _)| error),
            }
        }
        self.send_once(request).map_err(|(error, _)| error)
    }

    /// Sends a request once; of a failure also says when the server wants to be
    /// asked again.
    fn send_once(
        &mut self,
        request: Request<Vec<u8>>,
    ) -> Result<Vec<u8>, (ApiError, Option<Duration>)> {
        let Some(runtime) = &self.runtime else {
            return Err((ApiError::Unreachable("the poll is over".to_owned()), None));
        };
        let left = self.limits.bytes.saturating_sub(self.bytes);
        let answer = runtime.block_on(async {
            let by = Instant::now() + self.limits.request;
            let answer = exchange::exchange(&self.client, request, left);
            match timeout_at(by.min(self.deadline), answer).await {
                Ok(answer) => answer,
                Err(_) if by < self.deadline => Err(ApiError::Timeout(self.limits.request)),
                Err(_) => Err(ApiError::Deadline(self.limits.overall)),
            }
        });
        let answer = answer.map_err(|error| (error, None))?;
        self.answered = true;
        let Some(body) = answer.body else {
            return Err((ApiError::TooLarge(self.limits.bytes), None));
        };
        self.bytes += body.len();
        let message = || exchange::status_message(&body);
        let error = match answer.status {
            200..=299 => return Ok(body),
            code @ (401 | 403) => ApiError::Refused { code, message: message() },
            404 => ApiError::NotFound,
            409 => ApiError::Conflict,
            410 => ApiError::Gone,
            code => ApiError::Status { code, message: message() },
        };
        Err((error, answer.retry_after))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // A name that does not resolve keeps a thread of the runtime waiting;
        // the poll does not wait with it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A moment of the clock that the event loop goes by.
fn from_now(time: Duration) -> Instant {
    Instant::now() + time
}

/// A random time of this length at most.
fn up_to(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without random numbers agents are not spread, which is no failure.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok();
    most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Names go into paths and selectors, where anything else could ask for something
/// else. Kinds are names too.
fn check_name(name: &str) -> Result<(), ApiError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.bytes().all(is_name) && name.bytes().any(|byte| byte != b'.') {
        Ok(())
    } else {
        Err(ApiError::Request(format!("{name:?} is not a name")))
    }
}
