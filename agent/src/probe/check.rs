//! One try to reach a target, phase by phase.
//!
//! As Prometheus' blackbox exporter does: one attempt, the first address, no retry, no race
//! between addresses. The whole try has one deadline; what it was doing then is
//! the phase that failed.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use periscope_store::batch::{ProbeOutcome, ProbeSample};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::dns;
use super::failure::{Class, Failure};
use super::proxy::{Proxies, Proxy};
use super::surroundings::Surroundings;
use super::target::{Place, Target};

/// What requests call themselves.
const USER_AGENT: &str = concat!("periscope/", env!("CARGO_PKG_VERSION"));

/// Largest response head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A connection of whatever layers.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Part of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dns,
    Tcp,
    Tls,
    Http,
}

/// A try as it goes: the sample so far, and the phase it is in.
#[derive(Debug)]
struct Progress {
    sample: ProbeSample,
    phase: Option<(Phase, Instant)>,
}

impl Progress {
    fn new() -> Self {
        Self { sample: ProbeSample::default(), phase: None }
    }

    /// Ends the phase it was in, and begins one.
    fn enter(&mut self, phase: Phase) {
        self.leave();
        self.phase = Some((phase, Instant::now()));
    }

    /// Ends the phase it was in; answers its name.
    fn leave(&mut self) -> &'static str {
        let Some((phase, since)) = self.phase.take() else { return "" };
        let (name, time) = match phase {
            Phase::Dns => ("dns", &mut self.sample.dns_us),
            Phase::Tcp => ("tcp", &mut self.sample.tcp_us),
            Phase::Tls => ("tls", &mut self.sample.tls_us),
            Phase::Http => ("http", &mut self.sample.http_us),
        };
        *time = Some(since.elapsed().as_micros() as u64);
        name
    }
}

/// Tries a target once, for at most its timeout. Number and times of the sample
/// are left to the caller.
pub(crate) async fn check(
    target: &Target,
    around: &Surroundings,
    proxies: &Proxies,
) -> ProbeSample {
    let start = Instant::now();
    let deadline = start + target.timeout();
    let mut progress = Progress::new();
    let tls = target.scheme.is_tls().then(|| around.tls(target.ca_file.as_ref())).transpose();
    let result = match &tls {
        // Without its certificates, a verdict on the target would be made up.
        Err(reason) => {
            progress.sample.outcome = ProbeOutcome::Skipped;
            Err(Failure::new(Class::Local, reason.clone()))
        }
        Ok(tls) => {
            let attempt = Attempt { target, around, tls: tls.as_ref(), deadline };
            let proxy = proxies.of(target);
            timeout_at(deadline, attempt.run(proxy.as_ref(), &mut progress)).await.unwrap_or_else(
                |_| {
                    let text = format!("no answer within {:?}", target.timeout());
                    Err(Failure::new(Class::Timeout, text))
                },
            )
        }
    };
    let phase = progress.leave();
    let mut sample = progress.sample;
    sample.duration_us = start.elapsed().as_micros() as u64;
    if let Err(failure) = result {
        if sample.outcome == ProbeOutcome::Ok {
            sample.outcome = ProbeOutcome::Fail;
        }
        sample.phase.push_str(phase);
        sample.error_class.push_str(failure.class.as_str());
        sample.error = failure.text;
    }
    sample
}

/// What a try needs to know.
struct Attempt<'a> {
    target: &'a Target,
    around: &'a Surroundings,
    tls: Option<&'a Arc<ClientConfig>>,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn run(&self, proxy: Option<&Proxy>, progress: &mut Progress) -> Result<(), Failure> {
        let mut stream = self.connect(proxy, progress).await?;
        if let Some(tls) = self.tls {
            progress.enter(Phase::Tls);
            stream = handshake(tls, &self.target.place, stream).await?;
        }
        if self.target.scheme.is_http() {
            progress.enter(Phase::Http);
            let status = self.request(stream, proxy).await?;
            progress.sample.status = Some(status);
            self.judge(status, proxy)?;
        }
        Ok(())
    }

    /// Connects to the target, or through a proxy towards it.
    async fn connect(
        &self,
        proxy: Option<&Proxy>,
        progress: &mut Progress,
    ) -> Result<Box<dyn Stream>, Failure> {
        let (place, port) = match proxy {
            Some(proxy) => (&proxy.place, proxy.port),
            None => (&self.target.place, self.target.port),
        };
        let address = match place {
            Place::Address(address) => *address,
            Place::Name(name) => {
                progress.enter(Phase::Dns);
                let names = self.around.names(self.target.resolver);
                dns::resolve(names, name, self.deadline).await?
            }
        };
        progress.enter(Phase::Tcp);
        let address = SocketAddr::new(address, port);
        progress.sample.address = address.to_string();
        let stream =
            TcpStream::connect(address).await.map_err(|error| Failure::io("connecting", &error))?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if let Some(proxy) = proxy {
            if proxy.tls {
                let tls = self.around.tls(None).map_err(|text| Failure::new(Class::Local, text))?;
                stream = handshake(&tls, &proxy.place, stream)
                    .await
                    .map_err(|failure| Failure::new(Class::Proxy, failure.text))?;
            }
            if self.tls.is_some() {
                proxy.connect(&mut stream, self.target).await?;
            }
        }
        Ok(stream)
    }

    /// Sends the request and reads the response head; answers its status.
    async fn request(
        &self,
        stream: Box<dyn Stream>,
        proxy: Option<&Proxy>,
    ) -> Result<u16, Failure> {
        let failed = |error: hyper::Error| Failure::http("asking for the page", &error);
        let request = self.head(proxy).map_err(|error| {
            Failure::new(Class::Local, format!("the request cannot be made: {error}"))
        })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let response = sender.send_request(request);
        tokio::pin!(response, connection);
        let response = tokio::select! {
            biased;
            response = &mut response => response,
            // The other side is done; what it said before is still to be had.
            ended = &mut connection => match (response.await, ended) {
                (Err(error), Err(cause)) if error.is_canceled() => Err(cause),
                (response, _) => response,
            },
        };
        Ok(response.map_err(failed)?.status().as_u16())
    }

    fn head(&self, proxy: Option<&Proxy>) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
        let target = self.target;
        // A proxy for plain requests is told the whole URL.
        let forwarder = proxy.filter(|_| self.tls.is_none());
        let uri: Uri = match forwarder {
            Some(_) => format!("http://{}{}", target.authority, target.path).parse()?,
            None => target.path.parse()?,
        };
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(uri)
            .header(header::HOST, &target.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, HeaderValue::from_static("*/*"))
            .header(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(authorization) = forwarder.and_then(|proxy| proxy.authorization.as_ref()) {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        request.body(Empty::new())
    }

    /// Whether a status says that the target is reachable.
    fn judge(&self, status: u16, proxy: Option<&Proxy>) -> Result<(), Failure> {
        if proxy.is_some() && self.tls.is_none() && status == 407 {
            return Err(Failure::new(Class::Proxy, "the proxy answers 407"));
        }
        if self.target.expects(status) {
            return Ok(());
        }
        let class = if status >= 500 { Class::Http5xx } else { Class::HttpStatus };
        Err(Failure::new(class, format!("status {status}")))
    }
}

/// Makes a TLS handshake with whoever stands for `place`.
async fn handshake(
    tls: &Arc<ClientConfig>,
    place: &Place,
    stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, Failure> {
    let name = match place {
        Place::Address(address) => ServerName::from(*address),
        Place::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| Failure::new(Class::Local, format!("{name} is no name for TLS")))?,
    };
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, stream)
        .await
        .map_err(|error| Failure::io("tls handshake", &error))?;
    Ok(Box::new(stream))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
