//! The way through an HTTP proxy, where a cluster has no other.
//!
//! Which requests go through one is decided as curl does, by `HTTPS_PROXY`,
//! `HTTP_PROXY` and `NO_PROXY`. A proxy resolves the target's name itself, so
//! DNS and TCP of such a sample are those of the proxy.

use anyhow::{Result, bail};
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::{Class, Failure};
use super::target::{Place, Scheme, Target};

/// Longest answer to `CONNECT` that is read.
const MAX_HEAD_BYTES: usize = 8_192;

/// The proxies of this machine, if any.
#[derive(Debug)]
pub(crate) struct Proxies {
    matcher: Matcher,
}

impl Proxies {
    /// No proxy at all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { matcher: Matcher::builder().build() }
    }

    /// Proxies by the values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`; empty
    /// is none.
    ///
    /// # Errors
    ///
    /// If a value is no `http` or `https` URL. The message does not show it, since
    /// it may hold a password.
    pub(crate) fn new(http: &str, https: &str, no: &str) -> Result<Self> {
        for (name, value) in [("HTTP_PROXY", http), ("HTTPS_PROXY", https)] {
            let alone = Matcher::builder().all(value).build();
            let known = alone.intercept(&Uri::from_static("http://any.invalid/"));
            let known = known
                .is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https")));
            if !value.is_empty() && !known {
                bail!(
                    "{name} is no proxy that probes can use\nhint: http://[user:password@]host:port"
                );
            }
        }
        Ok(Self { matcher: Matcher::builder().http(http).https(https).no(no).build() })
    }

    /// Proxy for a target, `None` if it is reached directly. A `tcp` target always
    /// is: nothing that speaks plain TCP knows of proxies.
    pub(crate) fn of(&self, target: &Target) -> Option<Proxy> {
        let scheme = match target.scheme {
            Scheme::Tcp => return None,
            Scheme::Http => "http",
            Scheme::Https | Scheme::Tls => "https",
        };
        let uri: Uri = format!("{scheme}://{}/", target.authority).parse().ok()?;
        Proxy::new(&self.matcher.intercept(&uri)?)
    }
}

/// A proxy, and what it wants to know.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it is.
    pub(crate) place: Place,
    /// Port it listens on.
    pub(crate) port: u16,
    /// Whether it is spoken to over TLS.
    pub(crate) tls: bool,
    /// Value of `Proxy-Authorization`; its `Debug` does not show it.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxy {
    fn new(intercept: &Intercept) -> Option<Self> {
        let uri = intercept.uri();
        let tls = uri.scheme_str() == Some("https");
        Some(Self {
            place: Place::parse(uri.host()?),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
            authorization: intercept.basic_auth().cloned(),
        })
    }

    /// Asks for a tunnel to a target over a connection to the proxy.
    ///
    /// # Errors
    ///
    /// [`Class::Proxy`] if the proxy does not open one.
    pub(crate) async fn connect(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: &Target,
    ) -> Result<(), Failure> {
        let failed = |error| Failure::io("asking the proxy", &error);
        let place = match &target.place {
            Place::Name(name) => name.clone(),
            Place::Address(address) if address.is_ipv6() => format!("[{address}]"),
            Place::Address(address) => address.to_string(),
        };
        let to = format!("{place}:{}", target.port);
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD_BYTES {
                return Err(Failure::new(Class::Proxy, "the answer of the proxy has no end"));
            }
            head.push(stream.read_u8().await.map_err(failed)?);
        }
        match status(&head) {
            Some(200..=299) => Ok(()),
            Some(status) => Err(Failure::new(Class::Proxy, format!("the proxy answers {status}"))),
            None => Err(Failure::new(Class::Proxy, "the answer of the proxy is no HTTP")),
        }
    }
}

/// Status of a response head.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::target::TargetConfig;
    use super::*;

    fn target(url: &str) -> Target {
        let config = TargetConfig { name: "it".into(), url: url.into(), ..TargetConfig::default() };
        Target::new(&config).expect("a target")
    }

    #[test]
    fn no_proxy_is_honoured() {
        let proxies = Proxies::new(
            "http://plain:3128",
            "http://user:p%40ss@[fd00::1]",
            "10.0.0.0/16,.svc,konnectivity,azmk8s.io",
        )
        .expect("proxies");
        let secure = proxies.of(&target("https://mcr.microsoft.com/v2/")).expect("a proxy");
        assert_eq!(secure.place, Place::Address("fd00::1".parse().expect("an address")));
        assert_eq!((secure.port, secure.tls), (80, false));
        assert_eq!(secure.authorization.as_ref().expect("a password"), "Basic dXNlcjpwQHNz");
        assert!(!format!("{secure:?}").contains("dXNlcjpwQHNz"));
        let plain = proxies.of(&target("http://example.com/")).expect("a proxy");
        assert_eq!((plain.place, plain.port), (Place::Name("plain".into()), 3128));
        assert!(proxies.of(&target("tls://example.com:443")).is_some());
        for direct in [
            "tcp://example.com:443",
            "https://10.0.0.1:443/",
            "https://kubernetes.default.svc/",
            "tls://me-1.hcp.westeurope.azmk8s.io:443",
        ] {
            assert!(proxies.of(&target(direct)).is_none(), "{direct}");
        }
        assert!(Proxies::none().of(&target("https://example.com/")).is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for value in ["socks5://me:secret@host:1", "ftp://secret@host", "http://me:secret@"] {
            let error = Proxies::new("", value, "").expect_err(value).to_string();
            assert!(error.starts_with("HTTPS_PROXY is no proxy that probes can use"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Proxies::new("", "", "").is_ok());
    }

    #[test]
    fn the_status_is_read() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
