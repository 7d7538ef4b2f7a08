//! Targets found in small trees of node files.

use super::super::target::targets;
use super::*;

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: localcluster
  cluster:
    certificate-authority: /etc/kubernetes/certs/ca.crt
    server: https://me-dns-1a2b3c4d.hcp.westeurope.azmk8s.io:443
users:
- name: client
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
contexts:
- context:
    cluster: localcluster
    user: client
  name: localclustercontext
current-context: localclustercontext
";

const PROVIDERS: &str = "\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: acr-credential-provider
    matchImages:
      - \"*.azurecr.io\"
      - \"*.*.geo.azurecr.cn\"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args:
      - /etc/kubernetes/azure.json
      - --registry-mirror=mcr.microsoft.com:bootstrap.azurecr.io
";

fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let host = Host::open(folder.path()).expect("a root");
    (folder, host)
}

/// Name, kind and URL of each target, all of them valid.
fn listed(found: &Defaults) -> Vec<String> {
    targets(&found.targets)
        .expect("valid targets")
        .into_iter()
        .map(|target| format!("{} {} {}", target.probe.name, target.probe.kind, target.probe.url))
        .collect()
}

const API: &str = "me-dns-1a2b3c4d.hcp.westeurope.azmk8s.io:443";

#[test]
fn an_aks_node_has_its_usual_targets() {
    let (_folder, host) = node(&[
        ("/var/lib/kubelet/kubeconfig", KUBECONFIG),
        ("/var/log/pods/kube-system_konnectivity-agent-6b_1/konnectivity-agent/0.log", ""),
        ("/etc/kubernetes/certs/ca.crt", "pem"),
    ]);
    let images = ["shop.azurecr.io/team/web:1.2".to_owned(), "nginx".to_owned()];
    let facts = Facts { images: &images, in_pod: true, kubeconfig: None };
    let found = discover(&host, &facts);
    assert_eq!(
        listed(&found),
        [
            format!("api-server api-server https://{API}/readyz"),
            "api-server-in-cluster api-server https://kubernetes.default.svc:443/readyz".into(),
            format!("tunnel tunnel tls://{API}"),
            "mcr mcr https://mcr.microsoft.com/v2/".into(),
            "internet internet https://login.microsoftonline.com/".into(),
            "management internet https://management.azure.com/".into(),
            "packages internet https://packages.aks.azure.com/".into(),
            "acr:shop.azurecr.io acr https://shop.azurecr.io/v2/".into(),
        ]
    );
    for target in &found.targets[..3] {
        assert_eq!(target.ca_file.as_deref(), Some("/etc/kubernetes/certs/ca.crt"));
    }
    assert_eq!(found.targets[0].resolver, Resolver::Node);
    assert_eq!(found.targets[1].resolver, Resolver::Pod);
    assert!(found.issues.iter().all(|issue| issue.kind == IssueKind::Absent));
}

#[test]
fn an_isolated_node_has_its_mirror_and_no_public_targets() {
    let mirror = "server = \"https://mcr.microsoft.com\"\n\
                  [host.\"https://Mirror1.azurecr.io/v2/\"]\n  capabilities = [\"pull\"]\n\
                  # [host.\"https://old.azurecr.io\"]\n";
    let (_folder, host) = node(&[
        ("/opt/azure/outbound-check-skipped", ""),
        ("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml", mirror),
        ("/etc/containerd/certs.d/own.westus.geo.azurecr.io/hosts.toml", ""),
        ("/var/lib/kubelet/credential-provider-config.yaml", PROVIDERS),
    ]);
    let found = discover(&host, &Facts::default());
    assert_eq!(
        listed(&found),
        [
            "acr:bootstrap.azurecr.io acr https://bootstrap.azurecr.io/v2/",
            "acr:mirror1.azurecr.io acr https://mirror1.azurecr.io/v2/",
            "acr:own.westus.geo.azurecr.io acr https://own.westus.geo.azurecr.io/v2/",
        ]
    );
    assert_eq!(found.issues[0].source, "/var/lib/kubelet/kubeconfig");
    assert_eq!(found.issues[0].kind, IssueKind::Absent);
}

#[test]
fn other_clouds_tunnels_and_places_are_known() {
    let elsewhere = KUBECONFIG
        .replace("me-dns-1a2b3c4d.hcp.westeurope.azmk8s.io:443", "10.224.0.4")
        .replace("    certificate-authority: /etc/kubernetes/certs/ca.crt\n", "");
    let (_folder, host) = node(&[
        ("/etc/kubelet.conf", &elsewhere),
        ("/etc/kubernetes/pki/ca.crt", "pem"),
        ("/var/log/pods/kube-system_tunnelfront-5d_1/tunnel-front/0.log", ""),
    ]);
    let facts = Facts { kubeconfig: Some("/etc/kubelet.conf"), ..Facts::default() };
    let found = discover(&host, &facts);
    assert_eq!(
        listed(&found)[..2],
        [
            "api-server api-server https://10.224.0.4:443/readyz",
            "tunnel tunnel tcp://10.224.0.4:9000"
        ]
    );
    assert_eq!(found.targets[0].ca_file.as_deref(), Some("/etc/kubernetes/pki/ca.crt"));

    let china = KUBECONFIG.replace("azmk8s.io:443", "cx.prod.service.azk8s.cn");
    let (_folder, host) = node(&[
        ("/var/lib/kubelet/kubeconfig", &china),
        ("/var/log/pods/kube-system_aks-link-5d_1/openvpn/0.log", ""),
    ]);
    let found = listed(&discover(&host, &Facts::default()));
    assert_eq!(found[1], "mcr mcr https://mcr.azure.cn/v2/");
    assert!(!found.iter().any(|target| target.contains("tunnel")), "{found:?}");
    let american: Vec<_> =
        public_targets(Some("x.hcp.usgovvirginia.cx.aks.containerservice.azure.us"))
            .into_iter()
            .map(|target| target.url)
            .collect();
    assert!(american.contains(&"https://management.usgovcloudapi.net/".to_owned()));
}

#[test]
fn a_kubeconfig_without_a_server_is_an_issue() {
    for text in [
        "",
        "not: [yaml",
        "clusters: []\n",
        "clusters:\n- name: a\n  cluster:\n    server: ftp://x\n",
    ] {
        let (_folder, host) = node(&[("/var/lib/kubelet/kubeconfig", text)]);
        let found = discover(&host, &Facts::default());
        assert_eq!(found.issues[0].kind, IssueKind::Damaged, "{text:?}");
        assert_eq!(found.targets.len(), 4, "{text:?}");
    }
}

#[test]
fn registries_are_cut_at_a_limit() {
    let images: Vec<_> = (0..10).map(|n| format!("r{n}.azurecr.io/a")).collect();
    let (_folder, host) = node(&[]);
    let mut issues = Vec::new();
    assert_eq!(registries(&host, &images, &mut issues).len(), MAX_REGISTRIES);
    let cut = issues.last().expect("an issue");
    assert_eq!((cut.kind, cut.amount), (IssueKind::Truncated, Some(2)));
}

#[test]
fn only_registries_are_taken_for_registries() {
    let text = "azurecr.io *.azurecr.io a.eastus.data.azurecr.io .azurecr.io x.azurecr.com\n\
                my-reg.azurecr.cn:443/a https://b.azurecr.us/v2/ # c.azurecr.io\n";
    let found: Vec<_> = registries_in(text).collect();
    assert_eq!(found, ["b.azurecr.us", "my-reg.azurecr.cn"]);
}

#[test]
fn a_target_that_cannot_be_probed_is_an_issue_and_no_target() {
    let crafted = KUBECONFIG.replace(":443", ":0");
    let (_folder, host) = node(&[("/var/lib/kubelet/kubeconfig", &crafted)]);
    let found = discover(&host, &Facts::default());
    assert_eq!(listed(&found).len(), 4);
    let damaged: Vec<_> = found
        .issues
        .iter()
        .filter(|issue| issue.kind == IssueKind::Damaged)
        .map(|issue| issue.source.as_str())
        .collect();
    assert_eq!(damaged, ["api-server", "tunnel"]);
}
