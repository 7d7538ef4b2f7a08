//! What a probe connects to, and what counts as an answer.
//!
//! [`TargetConfig`] is the form in which configuration names a probe;
//! [`targets`] checks a list of them and makes [`Target`]s. Nothing here
//! resolves a name or opens a connection.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::Uri;
use hyper::http::uri::Authority;
use periscope_store::batch::ProbeTarget;
use serde::{Deserialize, Serialize};

use crate::duration;

/// Interval of a target that configures none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Timeout of a target that configures none, unless half its interval is shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest interval: a probe must not become a load of its own.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Longest interval; beyond, two samples say nothing about the time between.
const MAX_INTERVAL: Duration = Duration::from_hours(1);

/// Most targets of one agent.
const MAX_TARGETS: usize = 64;

/// Longest name of a target, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What a target stands for, as diagnostics tell targets apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An endpoint that the node needs outside its network.
    Internet,
    /// The Kubernetes API server.
    ApiServer,
    /// The way by which the API server reaches the node.
    Tunnel,
    /// A private container registry.
    Acr,
    /// The Microsoft container registry.
    Mcr,
    /// Anything else that somebody wants to watch.
    #[default]
    Custom,
}

impl Kind {
    /// Text in [`ProbeTarget::kind`].
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::ApiServer => "api-server",
            Self::Tunnel => "tunnel",
            Self::Acr => "acr",
            Self::Mcr => "mcr",
            Self::Custom => "custom",
        }
    }
}

/// Whose name servers a target's name is asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Resolver {
    /// The node's, as the kubelet and containerd ask.
    #[default]
    Node,
    /// The agent's own pod's, which is cluster DNS.
    Pod,
}

/// A `[[probe]]` of the configuration.
///
/// ```toml
/// [[probe]]
/// name = "registry"
/// kind = "acr"
/// url = "https://myregistry.azurecr.io/v2/"
/// interval = "10s"
/// timeout = "5s"
/// expect = [200, 401]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetConfig {
    /// Name that findings call it by; unique.
    pub(crate) name: String,
    /// What it stands for.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// `https://host/path`, `http://host/path`, `tls://host:port` or `tcp://host:port`.
    pub(crate) url: String,
    /// Time from one sample to the next; 10 s if left out.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<Duration>,
    /// Time after which a sample has failed; 5 s or half the interval if left out.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    /// HTTP statuses that count as reachable; any below 500 if left out, as
    /// registries answer 401 and data endpoints 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect: Option<Vec<u16>>,
    /// PEM file on the node whose certificates are trusted too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<String>,
    /// Whose name servers are asked.
    #[serde(default)]
    pub(crate) resolver: Resolver,
}

/// How far a try goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Request and response head over TLS.
    Https,
    /// Request and response head.
    Http,
    /// TLS handshake.
    Tls,
    /// TCP handshake.
    Tcp,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "https" => Some(Self::Https),
            "http" => Some(Self::Http),
            "tls" => Some(Self::Tls),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }

    /// Whether a TLS handshake is part of the try.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether a request is part of the try.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Https | Self::Http)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Https => Some(443),
            Self::Http => Some(80),
            Self::Tls | Self::Tcp => None,
        }
    }
}

/// Name or address that a URL points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A name to resolve.
    Name(String),
    /// An address, which skips DNS.
    Address(IpAddr),
}

impl Place {
    /// Place of a URL's host; an IPv6 address stands in brackets there.
    pub(crate) fn parse(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or_else(|_| Self::Name(host.to_owned()), Self::Address)
    }
}

/// A target, checked and taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// What the database says of it.
    pub(crate) probe: ProbeTarget,
    /// How far a try goes.
    pub(crate) scheme: Scheme,
    /// Where it goes.
    pub(crate) place: Place,
    /// Port it goes to.
    pub(crate) port: u16,
    /// Host and port as the URL spells them, for the `Host` header.
    pub(crate) authority: String,
    /// Path and query of the request.
    pub(crate) path: String,
    /// HTTP statuses that count as reachable, `None` for any below 500.
    pub(crate) expect: Option<Vec<u16>>,
    /// PEM file on the node whose certificates are trusted too.
    pub(crate) ca_file: Option<String>,
    /// Whose name servers are asked.
    pub(crate) resolver: Resolver,
}

impl Target {
    /// Checks the configuration of one target.
    ///
    /// # Errors
    ///
    /// If it could not be probed as it says; the message names what to change.
    pub(crate) fn new(config: &TargetConfig) -> Result<Self> {
        let TargetConfig { name, kind, url, expect, ca_file, resolver, .. } = config;
        check_name(name)?;
        let (interval, timeout) = check_times(config)?;
        let uri: Uri = url.parse().with_context(|| format!("url {url:?} is none"))?;
        let scheme = uri.scheme_str().and_then(Scheme::parse).with_context(|| {
            format!("url {url:?} has no scheme that can be probed\nhint: https, http, tls or tcp")
        })?;
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            bail!("the url has credentials in it\nhint: probes send none; leave them out");
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.with_context(|| format!("url {url:?} has no host"))?;
        let port = port_of(&uri).or(scheme.default_port().filter(|_| authority == host));
        let port = port.with_context(|| {
            format!("url {url:?} has no port that can be probed\nhint: write it after the host, such as :443")
        })?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if !scheme.is_http() && (path != "/" || expect.is_some()) {
            bail!("path and expect are for https and http; url {url:?} sends no request");
        }
        if let Some(expect) = expect
            && (expect.is_empty() || expect.iter().any(|status| !(100..=599).contains(status)))
        {
            bail!("expect must hold HTTP statuses from 100 to 599");
        }
        if let Some(file) = ca_file
            && (!file.starts_with('/') || !scheme.is_tls())
        {
            bail!("ca_file {file:?} must be a full path on the node, for an https or tls url");
        }
        Ok(Self {
            probe: ProbeTarget {
                name: name.clone(),
                kind: kind.as_str().to_owned(),
                url: url.clone(),
                interval_ns: interval.as_nanos() as i64,
                timeout_ns: timeout.as_nanos() as i64,
            },
            scheme,
            place: Place::parse(host),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
            expect: expect.clone(),
            ca_file: ca_file.clone(),
            resolver: *resolver,
        })
    }

    /// Time from one sample to the next.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.probe.interval_ns as u64)
    }

    /// Time after which a sample has failed.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.probe.timeout_ns as u64)
    }

    /// Whether an HTTP status says that the target is reachable.
    pub(crate) fn expects(&self, status: u16) -> bool {
        self.expect.as_ref().map_or(status < 500, |expect| expect.contains(&status))
    }
}

/// Port that a URL states, if it is one.
fn port_of(uri: &Uri) -> Option<u16> {
    uri.port_u16().filter(|port| *port != 0)
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
        bail!(
            "name {name:?} is no name\nhint: 1 to {MAX_NAME_BYTES} letters, digits or any of - _ . : /"
        );
    }
    Ok(())
}

/// Interval and timeout of a target, left out or not.
fn check_times(config: &TargetConfig) -> Result<(Duration, Duration)> {
    let interval = config.interval.unwrap_or(DEFAULT_INTERVAL);
    if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        bail!("interval {interval:?} is not between {MIN_INTERVAL:?} and {MAX_INTERVAL:?}");
    }
    let timeout = config.timeout.unwrap_or(DEFAULT_TIMEOUT.min(interval / 2));
    if timeout.is_zero() {
        bail!("timeout is zero");
    }
    if timeout >= interval {
        bail!(
            "timeout {timeout:?} is not shorter than interval {interval:?}\nhint: samples of a target must not overlap"
        );
    }
    Ok((interval, timeout))
}

/// Checks the probes of a configuration and makes their targets, in the same order.
///
/// # Errors
///
/// At the first that could not be probed as it says, or if two share a name.
pub(crate) fn targets(configs: &[TargetConfig]) -> Result<Vec<Target>> {
    if configs.len() > MAX_TARGETS {
        bail!("{} probes are more than {MAX_TARGETS}", configs.len());
    }
    let mut names = HashSet::new();
    configs
        .iter()
        .map(|config| {
            if !names.insert(&config.name) {
                bail!("two probes have the name {:?}", config.name);
            }
            Target::new(config).with_context(|| format!("probe {:?}", config.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> TargetConfig {
        TargetConfig { name: "it".into(), url: url.into(), ..TargetConfig::default() }
    }

    #[derive(Deserialize)]
    struct File {
        probe: Vec<TargetConfig>,
    }

    #[test]
    fn a_configuration_is_read_with_its_defaults() {
        let text = r#"
            [[probe]]
            name = "registry"
            kind = "acr"
            url = "https://myregistry.azurecr.io/v2/?a=b"
            interval = "6s"
            timeout = "500ms"
            expect = [401]
            ca_file = "/etc/ca.crt"

            [[probe]]
            name = "db"
            url = "tcp://[fd00::5]:5432"
            resolver = "pod"
        "#;
        let file: File = toml::from_str(text).expect("configuration");
        let found = targets(&file.probe).expect("targets");
        assert_eq!(
            found[0],
            Target {
                probe: ProbeTarget {
                    name: "registry".into(),
                    kind: "acr".into(),
                    url: "https://myregistry.azurecr.io/v2/?a=b".into(),
                    interval_ns: 6_000_000_000,
                    timeout_ns: 500_000_000,
                },
                scheme: Scheme::Https,
                place: Place::Name("myregistry.azurecr.io".into()),
                port: 443,
                authority: "myregistry.azurecr.io".into(),
                path: "/v2/?a=b".into(),
                expect: Some(vec![401]),
                ca_file: Some("/etc/ca.crt".into()),
                resolver: Resolver::Node,
            }
        );
        assert_eq!(found[1].place, Place::Address("fd00::5".parse().expect("an address")));
        assert_eq!((found[1].port, found[1].resolver), (5432, Resolver::Pod));
        assert_eq!(found[1].probe.kind, "custom");
        assert_eq!(
            (found[1].interval(), found[1].timeout()),
            (Duration::from_secs(10), Duration::from_secs(5))
        );
    }

    #[test]
    fn a_configuration_with_an_unknown_key_or_kind_is_refused() {
        for (line, expected) in [
            ("insecure = true", "unknown field `insecure`"),
            ("kind = \"dns\"", "unknown variant `dns`, expected one of `internet`, `api-server`"),
            ("interval = 5", "invalid type: integer `5`, expected a string"),
            ("interval = \"5\"", "\"5\" is no duration"),
        ] {
            let text = format!("[[probe]]\nname = \"x\"\nurl = \"tcp://x:1\"\n{line}\n");
            let error = toml::from_str::<File>(&text).err().expect(line).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_probed_is_refused() {
        let error = |config: TargetConfig| {
            Target::new(&config).map_or_else(|error| error.to_string(), |_| String::new())
        };
        for (url, expected) in [
            ("ftp://host/", "has no scheme that can be probed"),
            ("host.example", "has no scheme that can be probed"),
            ("https:///path", "is none"),
            ("https://:443/", "has no host"),
            ("https://host:99999/", "has no port that can be probed"),
            ("https://host:0/", "has no port that can be probed"),
            ("tcp://host", "hint: write it after the host, such as :443"),
            ("tls://host:443/path", "path and expect are for https and http"),
            ("https://me:secret@host/", "has credentials in it"),
        ] {
            let text = error(config(url));
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (changed, expected) in [
            (
                TargetConfig { timeout: seconds(9), interval: seconds(9), ..config("tcp://h:1") },
                "timeout 9s is not shorter than interval 9s",
            ),
            (TargetConfig { timeout: seconds(0), ..config("tcp://h:1") }, "timeout is zero"),
            (
                TargetConfig { interval: seconds(7_200), ..config("tcp://h:1") },
                "interval 7200s is not between 1s and 3600s",
            ),
            (TargetConfig { name: "a b".into(), ..config("tcp://h:1") }, "is no name"),
            (TargetConfig { name: String::new(), ..config("tcp://h:1") }, "is no name"),
            (
                TargetConfig { expect: Some(vec![200, 1]), ..config("http://h/") },
                "statuses from 100 to 599",
            ),
            (
                TargetConfig { ca_file: Some("ca.crt".into()), ..config("https://h/") },
                "must be a full path",
            ),
        ] {
            let text = error(changed);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn names_are_unique_and_errors_name_the_probe() {
        let twice = targets(&[config("tcp://a:1"), config("tcp://b:1")]);
        assert_eq!(twice.expect_err("twice").to_string(), "two probes have the name \"it\"");
        let wrong = targets(&[config("udp://a:1")]);
        assert_eq!(wrong.expect_err("wrong").to_string(), "probe \"it\"");
        let many: Vec<_> = (0..65)
            .map(|n| TargetConfig { name: format!("n{n}"), ..config("tcp://a:1") })
            .collect();
        assert_eq!(targets(&many).expect_err("many").to_string(), "65 probes are more than 64");
    }

    #[test]
    fn any_status_below_500_is_an_answer_unless_expect_says_otherwise() {
        let any = Target::new(&config("https://h/")).expect("a target");
        assert!(any.expects(400) && any.expects(401) && !any.expects(500));
        let some = TargetConfig { expect: Some(vec![503]), ..config("https://h/") };
        let some = Target::new(&some).expect("a target");
        assert!(some.expects(503) && !some.expects(200));
    }
}
