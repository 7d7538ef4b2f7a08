//! The connection to the service: TLS with ring, proxies, and errors without URLs.
//!
//! The SDK's own transport prints the URL of a request that failed, signature and all,
//! and has timeouts that a slow line does not meet; so this one is given to it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use futures_util::TryStreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{BlobError, Kind};

/// Time in which a connection must be made.
const CONNECT: Duration = Duration::from_secs(20);

/// Time without a byte after which an answer is given up. It begins when a request
/// does, so that a block must also be sent within it.
const READ: Duration = Duration::from_mins(5);

/// Lists of trusted certificates, where distributions put them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Proxies that requests go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxies {
    /// Those of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// This one, but for these hosts; an empty URL is none.
    Named {
        /// URL, which may hold a password.
        url: String,
        /// As `NO_PROXY`.
        no_proxy: String,
    },
}

/// A connection that several containers may share.
#[derive(Clone, Debug)]
pub struct Transport {
    client: reqwest::Client,
    /// For services of the node itself, which no proxy reaches.
    direct: reqwest::Client,
}

impl Transport {
    /// A transport that trusts the certificates of some PEM files; without any, those
    /// of `SSL_CERT_FILE`, else of the system, else of the Mozilla list inside.
    ///
    /// # Errors
    ///
    /// If TLS or a proxy cannot be set up.
    pub fn new(proxies: &Proxies, trusted: &[Vec<u8>]) -> Result<Self, BlobError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| cannot_begin("TLS", &error))?
            .with_root_certificates(roots(trusted))
            .with_no_client_auth();
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(config.clone())
                .connect_timeout(CONNECT)
                .read_timeout(READ)
                .user_agent(concat!("periscope/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| cannot_begin("HTTP", &error.without_url()))
        };
        let client = match proxies {
            Proxies::Environment => builder(),
            Proxies::Named { url, .. } if url.is_empty() => builder().no_proxy(),
            Proxies::Named { url, no_proxy } => {
                let proxy = reqwest::Proxy::all(url.as_str())
                    .map_err(|_| {
                        let text = "the proxy is no URL\nhint: it looks like http://HOST:PORT";
                        BlobError::new(Kind::Refused, text.to_owned())
                    })?
                    .no_proxy(reqwest::NoProxy::from_string(no_proxy));
                builder().no_proxy().proxy(proxy)
            }
        };
        Ok(Self { client: build(client)?, direct: build(builder().no_proxy())? })
    }

    /// Sends a form, as endpoints that give tokens want it; the answer's status and
    /// its body, cut at a size that no token has.
    pub(crate) async fn ask(&self, request: Asked<'_>) -> Result<(u16, Vec<u8>), BlobError> {
        let host = |url: &str| {
            let url = url::Url::parse(url).ok();
            url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
        };
        let (request, host) = match request {
            Asked::Form { url, form } => {
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(form)
                    .finish();
                let kind = "application/x-www-form-urlencoded";
                (self.client.post(url).header("content-type", kind).body(body), host(url))
            }
            Asked::Node { url } => {
                (self.direct.get(url).header("metadata", "true").timeout(CONNECT), host(url))
            }
        };
        let told = |error: reqwest::Error| unreachable(&host, &error.without_url());
        let answer = request.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(bytes) = stream.try_next().await.map_err(told)? {
            body.extend_from_slice(&bytes);
            if body.len() > 256 << 10 {
                break;
            }
        }
        Ok((status, body))
    }
}

/// A request for a token.
pub(crate) enum Asked<'a> {
    /// A form that is posted.
    Form { url: &'a str, form: &'a [(&'a str, &'a str)] },
    /// A question to the node's own metadata service.
    Node { url: &'a str },
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        use azure_core::error::ErrorKind;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let failed = move |error: reqwest::Error| {
            let kind = if error.is_connect() { ErrorKind::Connection } else { ErrorKind::Io };
            azure_core::Error::new(kind, unreachable(&host, &error.without_url()))
        };
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|error| azure_core::Error::new(ErrorKind::Other, error))?;
        let mut sent = self.client.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            sent = sent.header(name.as_str(), value.as_str());
        }
        sent = match request.body().clone() {
            Body::Bytes(bytes) => sent.body(bytes),
            Body::SeekableStream(stream) => sent.body(reqwest::Body::wrap_stream(stream)),
        };
        let answer = sent.send().await.map_err(&failed)?;
        let status = answer.status().as_u16().into();
        let headers: HashMap<HeaderName, HeaderValue> = answer
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                let value = HeaderValue::from(value.to_str().ok()?.to_owned());
                Some((HeaderName::from(name.as_str().to_owned()), value))
            })
            .collect();
        let body = answer.bytes_stream().map_err(failed);
        Ok(AsyncRawResponse::new(status, Headers::from(headers), Box::pin(body)))
    }
}

fn cannot_begin(what: &str, error: &dyn StdError) -> BlobError {
    BlobError::new(Kind::Refused, format!("cannot set up {what}: {}", innermost(error)))
}

/// What a connection failed of, in words. The error holds no URL any more.
fn unreachable(host: &str, error: &reqwest::Error) -> BlobError {
    let cause = innermost(error);
    let lower = cause.to_ascii_lowercase();
    let text = if ["lookup", "resolve", "name or service"].iter().any(|word| lower.contains(word)) {
        format!(
            "there is no host {host} ({cause})\n\
             hint: is the name of the storage account right, and can this machine resolve it?"
        )
    } else if lower.contains("certificate") {
        format!(
            "the certificate of {host} is not trusted ({cause})\n\
             hint: where a proxy or firewall looks into TLS, SSL_CERT_FILE names its certificate"
        )
    } else if lower.contains("tunnel") || lower.contains("proxy") {
        format!(
            "the proxy does not let requests to {host} through ({cause})\n\
             hint: HTTPS_PROXY and NO_PROXY say which proxy is used, and for what"
        )
    } else if error.is_timeout() || lower.contains("timed out") {
        format!(
            "{host} does not answer in time\n\
             hint: a firewall or network policy may drop what is sent to it"
        )
    } else if error.is_connect() {
        format!("cannot connect to {host}: {cause}")
    } else {
        format!("the connection to {host} broke off: {cause}")
    };
    BlobError::new(Kind::Away, text)
}

/// The last cause of an error: those before it say that a request failed.
fn innermost(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Certificates to trust.
fn roots(trusted: &[Vec<u8>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let mut add = |pem: &[u8]| {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates).0 > 0
    };
    let mut found = false;
    for pem in trusted {
        found |= add(pem);
    }
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        found |= read(Path::new(&path)).is_some_and(|pem| add(&pem));
    }
    found = found || BUNDLES.iter().any(|path| read(Path::new(path)).is_some_and(|pem| add(&pem)));
    if !found {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}
