//! The files of the node that a try depends on: name servers, pinned names,
//! trusted certificates.
//!
//! They change while the agent runs (LocalDNS is switched on, a certificate
//! authority is renewed, AKS pins the API server's name), and a program of the
//! node would see that at its next try. So they are read again from time to
//! time; a file that cannot be read at that moment leaves what was known.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use periscope_store::batch::{Issue, IssueKind};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use super::names::Names;
use super::target::{Resolver, Target};
use super::witness::Witness;
use crate::host::Host;

/// Time for which files are taken to be as they were.
const REFRESH: Duration = Duration::from_secs(30);

/// Where distributions keep the certificates that a node trusts.
const BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Largest file of certificates.
const MAX_PEM_BYTES: usize = 4 << 20;

/// Largest `resolv.conf` or hosts file.
const MAX_NAMES_BYTES: usize = 1 << 20;

/// What is trusted by one target, or why that is not known.
type Tls = Result<Arc<ClientConfig>, String>;

/// What tries at one moment share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// How the node resolves names.
    pub(crate) node: Names,
    /// How the agent's own pod does; as the node where there is no pod.
    pub(crate) pod: Names,
    /// What is trusted, by the file that a target names beside the node's own.
    trust: BTreeMap<Option<String>, Tls>,
}

impl Surroundings {
    /// How a target's name is resolved.
    pub(crate) fn names(&self, resolver: Resolver) -> &Names {
        match resolver {
            Resolver::Node => &self.node,
            Resolver::Pod => &self.pod,
        }
    }

    /// What a target trusts.
    ///
    /// # Errors
    ///
    /// The reason why that cannot be known.
    pub(crate) fn tls(&self, ca_file: Option<&String>) -> Result<Arc<ClientConfig>, String> {
        let known = self.trust.get(&ca_file.cloned());
        known.cloned().unwrap_or_else(|| Err("its certificates were never read".to_owned()))
    }
}

/// Keeps [`Surroundings`] as fresh as [`REFRESH`] says.
#[derive(Debug)]
pub(crate) struct Keeper {
    node: Arc<Host>,
    pod: Option<Arc<Host>>,
    ca_files: BTreeSet<Option<String>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    read_at: Instant,
    stamps: Vec<Stamp>,
    current: Arc<Surroundings>,
}

/// What tells one content of a file from another, without reading it.
type Stamp = Option<((u64, u64), u64, i64)>;

impl Keeper {
    /// Reads everything for the first time. `pod` is the root of the agent's own
    /// pod, if it runs in one. What cannot be read is an issue.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up at all.
    pub(crate) fn new(
        node: Arc<Host>,
        pod: Option<Arc<Host>>,
        targets: &[Target],
    ) -> Result<(Self, Vec<Issue>)> {
        let mut issues = Vec::new();
        let mut ca_files: BTreeSet<_> =
            targets.iter().map(|target| target.ca_file.clone()).collect();
        // A proxy that speaks TLS is judged by what the node trusts.
        ca_files.insert(None);
        let stamps = stamps(&node, &ca_files);
        let mut read = |host: &Host| names(host, &mut issues).unwrap_or_default();
        let node_names = read(&node);
        let pod_names = pod.as_deref().map_or_else(|| node_names.clone(), read);
        let trust = trust(&node, &ca_files, &mut issues)?;
        let current = Arc::new(Surroundings { node: node_names, pod: pod_names, trust });
        let state = Mutex::new(State { read_at: Instant::now(), stamps, current });
        Ok((Self { node, pod, ca_files, state }, issues))
    }

    /// What is known, read again if that is long ago.
    pub(crate) fn current(&self) -> Arc<Surroundings> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read_at.elapsed() >= REFRESH {
            self.refresh(&mut state);
        }
        Arc::clone(&state.current)
    }

    fn refresh(&self, state: &mut State) {
        let earlier = Arc::clone(&state.current);
        // What is wrong with a file was said when it was read first, and is
        // seen in the samples.
        let mut issues = Vec::new();
        let mut read = |host: &Host, earlier: &Names| {
            names(host, &mut issues).unwrap_or_else(|| earlier.clone())
        };
        let node = read(&self.node, &earlier.node);
        let pod = match &self.pod {
            Some(pod) => read(pod, &earlier.pod),
            None => node.clone(),
        };
        let stamps = stamps(&self.node, &self.ca_files);
        let trust = if stamps == state.stamps {
            earlier.trust.clone()
        } else {
            let read = trust(&self.node, &self.ca_files, &mut issues);
            let mut trust = read.unwrap_or_default();
            for (file, known) in &earlier.trust {
                if !matches!(trust.get(file), Some(Ok(_))) {
                    trust.insert(file.clone(), known.clone());
                }
            }
            trust
        };
        *state = State {
            read_at: Instant::now(),
            stamps,
            current: Arc::new(Surroundings { node, pod, trust }),
        };
    }
}

/// How a machine resolves names: `/etc/resolv.conf`, unless that names only a
/// stub on the machine itself and systemd-resolved tells the servers behind it.
/// `None` if neither can be read.
fn names(host: &Host, issues: &mut Vec<Issue>) -> Option<Names> {
    let hosts = host.read_text("/etc/hosts", MAX_NAMES_BYTES).unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            issues.push(unreadable("/etc/hosts", error.to_string()));
        }
        String::new()
    });
    let read =
        |path: &str| host.read_text(path, MAX_NAMES_BYTES).map(|text| Names::parse(&text, &hosts));
    let first = read("/etc/resolv.conf");
    if first.as_ref().is_ok_and(|names| !names.is_stub()) {
        return first.ok();
    }
    match read("/run/systemd/resolve/resolv.conf") {
        Ok(behind) if !behind.servers.is_empty() => Some(behind),
        _ => first
            .inspect_err(|error| issues.push(unreadable("/etc/resolv.conf", error.to_string())))
            .ok(),
    }
}

fn stamps(host: &Host, ca_files: &BTreeSet<Option<String>>) -> Vec<Stamp> {
    let paths = BUNDLES.into_iter().chain(ca_files.iter().flatten().map(String::as_str));
    paths
        .map(|path| {
            let file = host.open_file(path).ok()?;
            Some((file.identity, file.size, file.modified_ns))
        })
        .collect()
}

/// What each target trusts: the node's bundle, or Mozilla's list where a node has
/// none, and the target's own file.
fn trust(
    host: &Host,
    ca_files: &BTreeSet<Option<String>>,
    issues: &mut Vec<Issue>,
) -> Result<BTreeMap<Option<String>, Tls>> {
    let roots = node_roots(host, issues);
    let mut trust = BTreeMap::new();
    for file in ca_files {
        let mut roots = roots.clone();
        let tls = match file.as_deref().map(|path| add(host, path, &mut roots)) {
            Some(Err(error)) => {
                let message = format!("{error:#}");
                let path = file.as_deref().unwrap_or_default();
                issues.push(unreadable(path, message.clone()));
                Err(message)
            }
            Some(Ok(())) | None => Ok(Arc::new(client_config(roots)?)),
        };
        trust.insert(file.clone(), tls);
    }
    Ok(trust)
}

fn node_roots(host: &Host, issues: &mut Vec<Issue>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for path in BUNDLES {
        match add(host, path, &mut roots) {
            Ok(()) => return roots,
            Err(error) if is_absent(&error) => {}
            Err(error) => issues.push(unreadable(path, format!("{error:#}"))),
        }
    }
    issues.push(Issue {
        source: BUNDLES[0].to_owned(),
        kind: IssueKind::Absent,
        amount: None,
        unit: None,
        message: "the node has no list of trusted certificates; probes use a built-in one".into(),
    });
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}

/// Adds the certificates of a PEM file. Those that cannot be read are left out,
/// as every program does that reads a bundle.
fn add(host: &Host, path: &str, roots: &mut RootCertStore) -> Result<()> {
    let pem = host.read(path, MAX_PEM_BYTES).with_context(|| format!("cannot read {path}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    anyhow::ensure!(added > 0, "{path} holds no certificate\nhint: it must be PEM");
    Ok(())
}

fn is_absent(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::NotFound)
}

fn unreadable(source: &str, message: String) -> Issue {
    Issue {
        source: source.to_owned(),
        kind: IssueKind::Unreadable,
        amount: None,
        unit: None,
        message,
    }
}

/// TLS that trusts `roots` and makes a whole handshake every time.
fn client_config(roots: RootCertStore) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .context("setting up TLS")?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Witness::new(judge)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::target::TargetConfig;
    use super::super::testing::Authority;
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn target(ca_file: &str) -> Target {
        let config = TargetConfig {
            name: "it".into(),
            url: "https://h/".into(),
            ca_file: Some(ca_file.into()),
            ..TargetConfig::default()
        };
        Target::new(&config).expect("a target")
    }

    fn keeper(root: &Path, targets: &[Target]) -> (Keeper, Vec<Issue>) {
        let host = Arc::new(Host::open(root).expect("a root"));
        Keeper::new(host, None, targets).expect("a keeper")
    }

    fn servers(keeper: &Keeper) -> Vec<String> {
        keeper.current().node.servers.iter().map(|server| server.ip().to_string()).collect()
    }

    /// Makes what is known as old as can be.
    fn age(keeper: &Keeper) {
        let mut state = keeper.state.lock().expect("a lock");
        state.read_at = state.read_at.checked_sub(REFRESH).expect("an earlier time");
    }

    #[tokio::test]
    async fn a_stub_gives_way_to_the_servers_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "/etc/resolv.conf", "nameserver 127.0.0.53\n");
        assert_eq!(servers(&keeper(folder.path(), &[]).0), ["127.0.0.53"]);
        write(folder.path(), "/run/systemd/resolve/resolv.conf", "nameserver 168.63.129.16\n");
        assert_eq!(servers(&keeper(folder.path(), &[]).0), ["168.63.129.16"]);
        write(folder.path(), "/etc/resolv.conf", "nameserver 169.254.10.10\n");
        assert_eq!(servers(&keeper(folder.path(), &[]).0), ["169.254.10.10"]);
    }

    #[tokio::test]
    async fn what_is_missing_is_an_issue() {
        let folder = tempfile::tempdir().expect("a folder");
        let (keeper, issues) = keeper(folder.path(), &[target("/etc/kubernetes/certs/ca.crt")]);
        let told: Vec<_> =
            issues.iter().map(|issue| (issue.source.as_str(), issue.kind.as_str())).collect();
        assert_eq!(
            told,
            [
                ("/etc/resolv.conf", "unreadable"),
                ("/etc/ssl/certs/ca-certificates.crt", "absent"),
                ("/etc/kubernetes/certs/ca.crt", "unreadable"),
            ]
        );
        let now = keeper.current();
        assert!(now.tls(None).is_ok());
        let error = now.tls(Some(&"/etc/kubernetes/certs/ca.crt".to_owned())).expect_err("no file");
        assert!(error.starts_with("cannot read /etc/kubernetes/certs/ca.crt: "), "{error}");
    }

    #[tokio::test]
    async fn files_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = "/etc/ca.crt".to_owned();
        write(folder.path(), "/etc/resolv.conf", "nameserver 10.0.0.1\n");
        write(folder.path(), &ca_file, "nonsense\n");
        let (keeper, _) = keeper(folder.path(), &[target(&ca_file)]);
        let error = keeper.current().tls(Some(&ca_file)).expect_err("nonsense");
        assert_eq!(error, "/etc/ca.crt holds no certificate\nhint: it must be PEM");

        write(folder.path(), "/etc/resolv.conf", "nameserver 10.0.0.2\n");
        write(folder.path(), "/etc/hosts", "10.0.0.9 api\n");
        write(folder.path(), &ca_file, &Authority::new().pem());
        assert_eq!(servers(&keeper), ["10.0.0.1"]);
        age(&keeper);
        assert_eq!(servers(&keeper), ["10.0.0.2"]);
        let good = keeper.current().tls(Some(&ca_file)).expect("a certificate");
        assert_eq!(keeper.current().pod.pinned("api"), Some([10, 0, 0, 9].into()));

        std::fs::remove_file(folder.path().join("etc/resolv.conf")).expect("a file");
        std::fs::remove_file(folder.path().join("etc/ca.crt")).expect("a file");
        age(&keeper);
        assert_eq!(servers(&keeper), ["10.0.0.2"]);
        let kept = keeper.current().tls(Some(&ca_file)).expect("what was known");
        assert!(Arc::ptr_eq(&good, &kept));
    }
}
