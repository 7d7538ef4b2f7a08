//! The targets that are probed where configuration names none: what an AKS node
//! must reach, as far as the node's own files tell.
//!
//! Everything goes to port 443, since nothing that a node needs is elsewhere
//! (<https://learn.microsoft.com/azure/aks/outbound-rules-control-egress>). Nothing
//! is contacted here.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use hyper::Uri;
use kube::config::Kubeconfig;
use periscope_store::batch::{Issue, IssueKind};

use super::target::{Kind, Resolver, Target, TargetConfig};
use crate::host::Host;

/// Where a node keeps the kubelet's kubeconfig: AKS, then kubeadm.
const KUBECONFIGS: [&str; 2] = ["/var/lib/kubelet/kubeconfig", "/etc/kubernetes/kubelet.conf"];

/// Where a node keeps the cluster's certificate authority, if its kubeconfig
/// names no file: AKS, then kubeadm.
const CLUSTER_CAS: [&str; 2] = ["/etc/kubernetes/certs/ca.crt", "/etc/kubernetes/pki/ca.crt"];

/// There on a node that was provisioned without access to the internet.
const ISOLATED: &str = "/opt/azure/outbound-check-skipped";

/// Largest file that is read here.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Registries that are probed at most.
const MAX_REGISTRIES: usize = 8;

/// Registries that the container runtime has a mirror for and that are looked at.
const MAX_MIRRORS: usize = 256;

/// Interval of targets on the API server: thousands of nodes ask it, and each
/// try is a TLS handshake.
const API_INTERVAL: Duration = Duration::from_secs(15);

/// Public endpoints of a cloud, by the end of the API server's name.
struct Cloud {
    api_suffix: &'static str,
    registry: &'static str,
    login: &'static str,
    management: &'static str,
}

/// The clouds; the first is that of a node whose API server's name tells none.
const CLOUDS: [Cloud; 3] = [
    Cloud {
        api_suffix: ".azmk8s.io",
        registry: "mcr.microsoft.com",
        login: "login.microsoftonline.com",
        management: "management.azure.com",
    },
    Cloud {
        api_suffix: ".azure.us",
        registry: "mcr.microsoft.com",
        login: "login.microsoftonline.us",
        management: "management.usgovcloudapi.net",
    },
    Cloud {
        api_suffix: ".azk8s.cn",
        registry: "mcr.azure.cn",
        login: "login.chinacloudapi.cn",
        management: "management.chinacloudapi.cn",
    },
];

/// Packages of AKS; the same for every cloud.
const PACKAGES: &str = "packages.aks.azure.com";

/// What the caller knows beside the node's files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// Kubeconfig of the kubelet, if it is not where AKS puts it.
    pub(crate) kubeconfig: Option<&'a str>,
    /// Image references or names of registries, as pods name them.
    pub(crate) images: &'a [String],
    /// Whether the agent runs in a pod, and so can use cluster DNS.
    pub(crate) in_pod: bool,
}

/// The targets found, and what could not be read on the way.
#[derive(Debug)]
pub(crate) struct Defaults {
    /// What to probe; each is a valid target.
    pub(crate) targets: Vec<TargetConfig>,
    /// What is missing from it, and why.
    pub(crate) issues: Vec<Issue>,
    /// Host name of the API server, as the kubelet's kubeconfig gives it.
    pub(crate) api_server: Option<String>,
}

/// Finds what to probe on a node.
pub(crate) fn discover(host: &Host, facts: &Facts<'_>) -> Defaults {
    let mut issues = Vec::new();
    let api = api_server(host, facts.kubeconfig, &mut issues);
    let mut targets = Vec::new();
    if let Some(api) = &api {
        targets.extend(api_targets(api, tunnel(host, &mut issues), facts.in_pod));
    }
    // On an isolated node these are unreachable by intent, which is no outage.
    if !exists(host, ISOLATED) {
        targets.extend(public_targets(api.as_ref().map(|api| api.host.as_str())));
    }
    let found = registries(host, facts.images, &mut issues);
    targets.extend(found.iter().map(|registry| TargetConfig {
        name: format!("acr:{registry}"),
        kind: Kind::Acr,
        url: format!("https://{registry}/v2/"),
        ..TargetConfig::default()
    }));
    // A crafted file must not keep the agent from starting.
    targets.retain(|config| match Target::new(config) {
        Ok(_) => true,
        Err(error) => {
            issues.push(issue(&config.name, IssueKind::Damaged, format!("{error:#}")));
            false
        }
    });
    Defaults { targets, issues, api_server: api.map(|api| api.host) }
}

/// The API server as the kubelet reaches it.
#[derive(Debug, PartialEq, Eq)]
struct ApiServer {
    /// `https://host:port`, without a path.
    url: String,
    host: String,
    port: u16,
    ca_file: Option<String>,
}

fn api_server(host: &Host, kubeconfig: Option<&str>, issues: &mut Vec<Issue>) -> Option<ApiServer> {
    let default = || KUBECONFIGS.into_iter().find(|path| exists(host, path));
    let path = kubeconfig.or_else(default).unwrap_or(KUBECONFIGS[0]);
    let text = read(host, path, issues)?;
    let Some(mut api) = parse_kubeconfig(&text) else {
        let message = "names no API server, so none is probed".to_owned();
        issues.push(issue(path, IssueKind::Damaged, message));
        return None;
    };
    let elsewhere = || CLUSTER_CAS.into_iter().find(|path| exists(host, path));
    api.ca_file = api.ca_file.or_else(|| elsewhere().map(str::to_owned));
    Some(api)
}

/// First cluster of a kubeconfig, `None` if the text has no usable one.
fn parse_kubeconfig(text: &str) -> Option<ApiServer> {
    let config = Kubeconfig::from_yaml(text).ok()?;
    let cluster = config.clusters.into_iter().find_map(|named| named.cluster)?;
    let uri: Uri = cluster.server?.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
    if uri.scheme_str() != Some("https") {
        return None;
    }
    let port = uri.port_u16().unwrap_or(443);
    let ca_file = cluster.certificate_authority.filter(|path| path.starts_with('/'));
    Some(ApiServer { url: format!("https://{host}:{port}"), host, port, ca_file })
}

/// How the API server reaches nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    /// Agents in the cluster that keep a TLS connection to the API server's own port.
    Konnectivity,
    /// SSH to port 9000, on clusters of old.
    Tunnelfront,
    /// A VPN over UDP, which no connection can test.
    AksLink,
}

/// Which tunnel a node's pod logs tell of. Konnectivity's agents run on few
/// nodes, so without the others' pods it is taken to be that.
fn tunnel(host: &Host, issues: &mut Vec<Issue>) -> Tunnel {
    let entries = match host.list("/var/log/pods") {
        Ok(entries) => entries,
        Err(error) => {
            note(issues, "/var/log/pods", &error);
            return Tunnel::Konnectivity;
        }
    };
    let runs = |pod: &str| entries.iter().any(|entry| entry.name.starts_with(pod));
    if runs("kube-system_konnectivity-agent-") {
        Tunnel::Konnectivity
    } else if runs("kube-system_tunnelfront-") {
        Tunnel::Tunnelfront
    } else if runs("kube-system_aks-link-") {
        Tunnel::AksLink
    } else {
        Tunnel::Konnectivity
    }
}

fn api_targets(api: &ApiServer, tunnel: Tunnel, in_pod: bool) -> Vec<TargetConfig> {
    let target = |name: &str, kind, url: String| TargetConfig {
        name: name.to_owned(),
        kind,
        url,
        interval: Some(API_INTERVAL),
        ca_file: api.ca_file.clone(),
        ..TargetConfig::default()
    };
    let mut targets = vec![target("api-server", Kind::ApiServer, format!("{}/readyz", api.url))];
    if in_pod {
        let url = "https://kubernetes.default.svc:443/readyz".to_owned();
        targets.push(TargetConfig {
            resolver: Resolver::Pod,
            ..target("api-server-in-cluster", Kind::ApiServer, url)
        });
    }
    match tunnel {
        Tunnel::Konnectivity => {
            let url = format!("tls://{}:{}", api.host, api.port);
            targets.push(target("tunnel", Kind::Tunnel, url));
        }
        Tunnel::Tunnelfront => targets.push(TargetConfig {
            ca_file: None,
            ..target("tunnel", Kind::Tunnel, format!("tcp://{}:9000", api.host))
        }),
        Tunnel::AksLink => {}
    }
    targets
}

fn public_targets(api_host: Option<&str>) -> Vec<TargetConfig> {
    let of = |cloud: &&Cloud| api_host.is_some_and(|host| host.ends_with(cloud.api_suffix));
    let cloud = CLOUDS.iter().find(of).unwrap_or(&CLOUDS[0]);
    [
        ("mcr", Kind::Mcr, cloud.registry, "/v2/"),
        ("internet", Kind::Internet, cloud.login, "/"),
        ("management", Kind::Internet, cloud.management, "/"),
        ("packages", Kind::Internet, PACKAGES, "/"),
    ]
    .into_iter()
    .map(|(name, kind, host, path)| TargetConfig {
        name: name.to_owned(),
        kind,
        url: format!("https://{host}{path}"),
        ..TargetConfig::default()
    })
    .collect()
}

/// Private registries that the node is set up for, or that its pods come from.
fn registries(host: &Host, images: &[String], issues: &mut Vec<Issue>) -> Vec<String> {
    let mut found: BTreeSet<String> =
        images.iter().flat_map(|image| registries_in(image)).collect();
    let folder = "/etc/containerd/certs.d";
    match host.list(folder) {
        Ok(entries) => {
            cut(issues, folder, entries.len(), MAX_MIRRORS);
            for entry in entries.into_iter().take(MAX_MIRRORS) {
                found.extend(registries_in(&entry.name));
                let path = format!("{folder}/{}/hosts.toml", entry.name);
                found.extend(read(host, &path, issues).iter().flat_map(|text| registries_in(text)));
            }
        }
        Err(error) => note(issues, folder, &error),
    }
    let providers = "/var/lib/kubelet/credential-provider-config.yaml";
    found.extend(read(host, providers, issues).iter().flat_map(|text| registries_in(text)));
    cut(issues, "registries", found.len(), MAX_REGISTRIES);
    found.into_iter().take(MAX_REGISTRIES).collect()
}

/// Notes what is beyond a limit.
fn cut(issues: &mut Vec<Issue>, source: &str, total: usize, limit: usize) {
    if total > limit {
        let message = format!("only the first {limit} of {total} are looked at");
        issues.push(Issue {
            amount: Some((total - limit) as u64),
            unit: Some("registries"),
            ..issue(source, IssueKind::Truncated, message)
        });
    }
}

/// Names of registries in any text: `name.azurecr.io` or `name.region.geo.azurecr.io`.
/// Patterns such as `*.azurecr.io` and data endpoints are none.
fn registries_in(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && !".-*".contains(c)))
        .filter(|word| is_registry(word))
        .map(str::to_ascii_lowercase)
        .collect::<BTreeSet<_>>()
        .into_iter()
}

fn is_registry(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let labels: Vec<_> = word.split('.').collect();
    let plain = |label: &str| {
        !label.is_empty()
            && label.len() <= 50
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match labels.as_slice() {
        [name, "azurecr", top] => plain(name) && is_top(top),
        [name, region, "geo", "azurecr", top] => plain(name) && plain(region) && is_top(top),
        _ => false,
    }
}

fn is_top(label: &str) -> bool {
    matches!(label, "io" | "cn" | "us" | "de")
}

fn exists(host: &Host, path: &str) -> bool {
    host.open_file(path).is_ok()
}

/// Reads a file that need not be there.
fn read(host: &Host, path: &str, issues: &mut Vec<Issue>) -> Option<String> {
    match host.read_text(path, MAX_FILE_BYTES) {
        Ok(text) => Some(text),
        Err(error) => {
            note(issues, path, &error);
            None
        }
    }
}

/// Notes what cannot be read. Part of it may be on some nodes only.
fn note(issues: &mut Vec<Issue>, source: &str, error: &io::Error) {
    let absent = error.kind() == io::ErrorKind::NotFound;
    let kind = if absent { IssueKind::Absent } else { IssueKind::Unreadable };
    issues.push(issue(source, kind, error.to_string()));
}

fn issue(source: &str, kind: IssueKind, message: String) -> Issue {
    Issue { source: source.to_owned(), kind, amount: None, unit: None, message }
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
