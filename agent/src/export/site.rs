//! What the node says of where its files go: the cloud that it is in, the cluster that
//! it belongs to, the certificates that it trusts, and who it is.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use periscope_blob::{
    Identity, Login, ManagedIdentity, Place, Sas, WorkloadIdentity, container_name, suffix_of_cloud,
};
use periscope_store::writer::Node;

use crate::config::BlobConfig;
use crate::host::Host;

/// Where AKS says which cloud a node is in, and the names of a cloud of one's own.
const AZURE_JSON: &str = "/etc/kubernetes/azure.json";
const AZURE_STACK_JSON: &str = "/etc/kubernetes/azurestackcloud.json";

/// Where AKS puts the labels that a node gives itself.
const KUBELET_DEFAULTS: &str = "/etc/default/kubelet";

/// Label with the cluster's resource group for nodes.
const CLUSTER_LABEL: &str = "kubernetes.azure.com/cluster=";

/// Certificates that nodes trust, a company's own among them.
const BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Largest file that is read here.
const FILE_BYTES: usize = 4 << 20;

/// The node, as an exporter sees it.
#[derive(Clone)]
pub(crate) struct Site {
    /// Door to its files.
    pub(crate) host: Arc<Host>,
    /// Who it is.
    pub(crate) node: Node,
    /// Host of the cluster's API server.
    pub(crate) api_server: Option<String>,
    /// The same as the cluster tells its pods, for servers that nodes know by address.
    pub(crate) service_host: Option<String>,
}

impl Site {
    pub(crate) fn now_ns(&self) -> i64 {
        self.host.now_ns()
    }

    /// Lists of certificates that the node trusts; none leaves it to the pod's own.
    pub(crate) fn trusted(&self) -> Vec<Vec<u8>> {
        BUNDLES.iter().find_map(|path| self.host.read(path, FILE_BYTES).ok()).into_iter().collect()
    }

    /// Metadata of what the node sends: by it, agents know their own files.
    pub(crate) fn metadata(&self, run_id: &str) -> HashMap<String, String> {
        let entries = [
            ("node", self.node.name.as_str()),
            ("machine_id", &self.node.machine_id),
            ("run", run_id),
            ("agent", env!("CARGO_PKG_VERSION")),
        ];
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let entries = entries.into_iter().filter(|(_, value)| is_plain(value));
        entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The container that settings name, or the cluster.
    ///
    /// # Errors
    ///
    /// If nothing names it, or the service would not take the name.
    pub(crate) fn place(
        &self,
        settings: &BlobConfig,
        say: &mut dyn FnMut(String),
    ) -> Result<Place> {
        let container = match &settings.container.value {
            Some(name) => name.clone(),
            None => self.container(say)?,
        };
        if let Some(endpoint) = &settings.endpoint.value {
            return Ok(Place::new(endpoint, &container)?);
        }
        let account = settings.account.value.as_deref().context("no storage account is named")?;
        Ok(Place::of_account(account, &self.suffix()?, &container)?)
    }

    /// By what right files are sent: a SAS, a workload identity, or the node's own.
    ///
    /// # Errors
    ///
    /// If the SAS is none.
    pub(crate) fn login(settings: &BlobConfig) -> Result<Login> {
        if let Some(key) = &settings.sas.value {
            return Ok(Login::Sas(Sas::parse(key.reveal())?));
        }
        let (tenant, client) = (&settings.tenant.value, &settings.client.value);
        let identity = match (tenant, client, &settings.token_file.value) {
            (Some(tenant), Some(client), Some(file)) => Identity::Workload(WorkloadIdentity {
                authority: settings.authority.value.clone().unwrap_or_default(),
                tenant: tenant.clone(),
                client: client.clone(),
                token_file: file.clone(),
            }),
            _ => Identity::Managed(ManagedIdentity {
                client: client.clone(),
                endpoint: settings.metadata.value.clone(),
            }),
        };
        Ok(Login::Identity(identity))
    }

    /// The container that is called like the cluster.
    fn container(&self, say: &mut dyn FnMut(String)) -> Result<String> {
        let servers = [&self.api_server, &self.service_host];
        if let Some(name) = servers.into_iter().flatten().find_map(|host| container_name(host)) {
            return Ok(name);
        }
        let label = self.cluster_label();
        let name = label.as_deref().and_then(|label| container_name(&format!("aks-{label}")));
        let Some(name) = name else {
            bail!(
                "nothing says what the container is called: the API server has no name\n\
                 hint: set AZURE_BLOB_CONTAINER_NAME"
            );
        };
        say(format!("the API server has no name, so the container is called {name}"));
        Ok(name)
    }

    fn cluster_label(&self) -> Option<String> {
        let text = self.host.read_text(KUBELET_DEFAULTS, FILE_BYTES).ok()?;
        let (_, label) = text.split_once(CLUSTER_LABEL)?;
        let label = label.split([',', '"', '\'', ' ', '\n']).next()?;
        (!label.is_empty()).then(|| label.to_owned())
    }

    /// What follows `ACCOUNT.blob.` in the cloud of the node.
    fn suffix(&self) -> Result<String> {
        let text = self.host.read_text(AZURE_JSON, FILE_BYTES).unwrap_or_default();
        let azure: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let cloud = azure["cloud"].as_str().unwrap_or_default();
        if let Some(suffix) = suffix_of_cloud(cloud) {
            return Ok(suffix.to_owned());
        }
        let hint = "hint: set AZURE_STORAGE_ENDPOINT to the address of the blob service";
        let text = self.host.read_text(AZURE_STACK_JSON, FILE_BYTES).with_context(|| {
            format!("the node is in the cloud {cloud}, and {AZURE_STACK_JSON} does not tell its names\n{hint}")
        })?;
        let stack: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let suffix = stack["storageEndpointSuffix"].as_str().map(|s| s.trim_matches('.'));
        let suffix = suffix.filter(|suffix| !suffix.is_empty());
        suffix
            .map(str::to_owned)
            .with_context(|| format!("{AZURE_STACK_JSON} has no storageEndpointSuffix\n{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    fn site(files: &[(&str, &str)], api_server: Option<&str>) -> (tempfile::TempDir, Site) {
        let (folder, host) = crate::kube_client::fake::node(files);
        let site = Site {
            host: Arc::new(host),
            node: Node { name: "node-a".to_owned(), machine_id: "0a1b".to_owned() },
            api_server: api_server.map(str::to_owned),
            service_host: Some("10.0.0.1".to_owned()),
        };
        (folder, site)
    }

    fn settings(environment: &[(&str, &str)]) -> BlobConfig {
        let flags = Flags {
            config_mount: Some("/nowhere".into()),
            secret_mount: Some("/nowhere".into()),
            ..Flags::default()
        };
        let lookup = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
        };
        Config::load(&flags, &lookup).expect("settings").run.blob
    }

    fn place(
        files: &[(&str, &str)],
        api_server: Option<&str>,
        environment: &[(&str, &str)],
    ) -> (String, Vec<String>) {
        let (_folder, site) = site(files, api_server);
        let mut said = Vec::new();
        let place = site.place(&settings(environment), &mut |text| said.push(text));
        (place.map_or_else(|error| format!("{error:#}"), |place| place.to_string()), said)
    }

    #[test]
    fn the_cloud_of_the_node_gives_the_address() {
        let account = [("AZURE_BLOB_ACCOUNT_NAME", "shop"), ("AZURE_BLOB_CONTAINER_NAME", "logs")];
        let check = |files: &[(&str, &str)], expected: &str| {
            let (place, _) = place(files, None, &account);
            assert!(place.starts_with(expected), "{place}");
        };
        let azure = |cloud: &str| format!("{{\"cloud\":\"{cloud}\",\"aadClientSecret\":\"x\"}}");
        check(&[], "https://shop.blob.core.windows.net/logs");
        let china = azure("AzureChinaCloud");
        check(&[("etc/kubernetes/azure.json", &china)], "https://shop.blob.core.chinacloudapi.cn/");
        let stack = azure("AzureStackCloud");
        let names = "{\"storageEndpointSuffix\":\"local.azurestack.external\"}";
        check(
            &[
                ("etc/kubernetes/azure.json", &stack),
                ("etc/kubernetes/azurestackcloud.json", names),
            ],
            "https://shop.blob.local.azurestack.external/logs",
        );
        let own = azure("AzureOwnCloud");
        check(&[("etc/kubernetes/azure.json", &own)], "the node is in the cloud AzureOwnCloud");
        let (place, _) = place(
            &[("etc/kubernetes/azure.json", &own)],
            None,
            &[("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1/a"), account[1]],
        );
        assert_eq!(place, "http://127.0.0.1:1/a/logs");
    }

    #[test]
    fn the_cluster_gives_the_container() {
        let account = [("AZURE_BLOB_ACCOUNT_NAME", "shop")];
        let (named, said) = place(&[], Some("c-1.hcp.westeurope.azmk8s.io"), &account);
        assert_eq!(named, "https://shop.blob.core.windows.net/c-1");
        assert!(said.is_empty());
        let kubelet =
            "KUBELET_NODE_LABELS=a=b,kubernetes.azure.com/cluster=MC_rg_shop_eastus,c=d\n";
        let (named, said) = place(&[("etc/default/kubelet", kubelet)], Some("10.1.2.3"), &account);
        assert_eq!(named, "https://shop.blob.core.windows.net/aks-mc-rg-shop-eastus");
        assert_eq!(said.len(), 1);
        let (named, _) = place(&[], None, &account);
        assert!(named.contains("hint: set AZURE_BLOB_CONTAINER_NAME"), "{named}");
    }

    #[test]
    fn a_sas_wins_over_an_identity() {
        let workload = [
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ];
        let login = |environment: &[(&str, &str)]| {
            Site::login(&settings(environment)).map(|login| login.describe())
        };
        assert_eq!(login(&workload).expect("one"), "the workload identity c");
        assert_eq!(login(&[]).expect("one"), "the managed identity of the node");
        assert_eq!(login(&workload[1..2]).expect("one"), "the managed identity c");
        let both = [workload.as_slice(), &[("AZURE_BLOB_SAS_KEY", "?sp=rcw&sig=x")]].concat();
        assert_eq!(login(&both).expect("one"), "a SAS");
        let error = login(&[("AZURE_BLOB_SAS_KEY", "hunter22")]).expect_err("none");
        assert!(!format!("{error:#}").contains("hunter22"), "{error:#}");
    }
}
