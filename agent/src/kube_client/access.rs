//! Where credentials for the API server are found.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use k8s_openapi::ByteString;
use kube::Config;
use kube::config::Kubeconfig;

use crate::host::Host;

/// Where AKS puts the kubelet's own kubeconfig.
const KUBELET_KUBECONFIG: &str = "/var/lib/kubelet/kubeconfig";

/// Where a pod finds its own namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A kubeconfig, a certificate or a key is smaller than this.
const FILE_BYTES: usize = 1 << 20;

/// Where to look for credentials. All paths are paths on the node.
///
/// A configured kubeconfig wins. Else a pod uses its service account, and what
/// is none uses the kubelet's kubeconfig, whose rights end at its own node.
#[derive(Clone, Debug, Default)]
pub(crate) struct KubeAccess {
    /// Kubeconfig that the configuration names.
    pub(crate) kubeconfig: Option<String>,
    /// Whether this process runs in a pod and may use its service account.
    pub(crate) in_pod: bool,
    /// The kubelet's `--kubeconfig`, for nodes that keep it elsewhere than AKS.
    pub(crate) kubelet_kubeconfig: Option<String>,
}

/// Namespace of the pod with this root folder; `None` if it has no service account.
pub(crate) fn pod_namespace(pod: &Host) -> Option<String> {
    let namespace = pod.read_text(NAMESPACE_FILE, 4096).ok()?;
    let namespace = namespace.trim();
    (!namespace.is_empty()).then(|| namespace.to_owned())
}

/// What was found.
pub(super) enum Found {
    /// Address and credentials, certificates inline.
    Config(Box<Config>),
    /// Nothing; the text says where was looked.
    Nothing(String),
}

impl KubeAccess {
    /// Credentials, from the first place that has some.
    pub(super) fn find(&self, host: &Host) -> Result<Found> {
        if let Some(path) = &self.kubeconfig {
            let config = read_kubeconfig(host, path)?.with_context(|| {
                format!("no such file on the node: {path}\nhint: it is configured as kubeconfig")
            })?;
            return Ok(Found::Config(Box::new(config)));
        }
        // A pod without a token may still see the node's files.
        if self.in_pod
            && let Ok(config) = Config::incluster()
        {
            return Ok(Found::Config(Box::new(config)));
        }
        let mut places = vec![KUBELET_KUBECONFIG];
        let flag = self.kubelet_kubeconfig.as_deref();
        places.extend(flag.filter(|path| *path != KUBELET_KUBECONFIG));
        for path in &places {
            if let Some(config) = read_kubeconfig(host, path)? {
                return Ok(Found::Config(Box::new(config)));
            }
        }
        let places = places.join(" or ");
        let account = if self.in_pod { "no service account in this pod, " } else { "" };
        Ok(Found::Nothing(format!("no API server in reach: {account}no kubeconfig at {places}")))
    }
}

/// Address and credentials of a kubeconfig of the node; `None` if there is no
/// such file.
fn read_kubeconfig(host: &Host, path: &str) -> Result<Option<Config>> {
    let text = match host.read(path, FILE_BYTES) {
        Ok(bytes) => String::from_utf8(bytes).with_context(|| format!("{path} is no text"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
    };
    // The parser's own error would quote the file, tokens and all.
    let Ok(mut kubeconfig) = Kubeconfig::from_yaml(&text) else {
        bail!("{path} is not a kubeconfig");
    };
    inline_files(host, path, &mut kubeconfig)?;
    let config = Config::try_from(kubeconfig);
    config.map(Some).with_context(|| format!("cannot use the kubeconfig {path}"))
}

/// Puts the content of the files that the current context names in place of
/// their names, because they lie below the root of the node.
fn inline_files(host: &Host, path: &str, kubeconfig: &mut Kubeconfig) -> Result<()> {
    let context = kubeconfig.current_context.clone().unwrap_or_default();
    let context = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else {
        bail!("{path} has no current context");
    };
    let read = |file: &str| {
        let file = Path::new(path).parent().unwrap_or(Path::new("/")).join(file);
        let file = file.to_string_lossy();
        host.read(&file, FILE_BYTES).with_context(|| format!("cannot read {file}, named in {path}"))
    };
    let encode = |file: Option<String>| match file {
        Some(file) => base64(read(&file)?).map(Some),
        None => Ok(None),
    };
    let cluster = kubeconfig.clusters.iter_mut().find(|named| named.name == context.cluster);
    if let Some(cluster) = cluster.and_then(|named| named.cluster.as_mut()) {
        if cluster.proxy_url.as_deref().is_some_and(|url| !url.is_empty()) {
            bail!("{path} asks for a proxy, which the agent does not use for the API server");
        }
        let file = cluster.certificate_authority.take();
        if cluster.certificate_authority_data.is_none() {
            cluster.certificate_authority_data = encode(file)?;
        }
    }
    let user = context.user.clone().unwrap_or_default();
    let user = kubeconfig.auth_infos.iter_mut().find(|named| named.name == user);
    if let Some(user) = user.and_then(|named| named.auth_info.as_mut()) {
        if user.exec.is_some() || user.auth_provider.is_some() {
            bail!("{path} gets its credentials from a program, and the agent starts none");
        }
        let (certificate, key) = (user.client_certificate.take(), user.client_key.take());
        if user.client_certificate_data.is_none() {
            user.client_certificate_data = encode(certificate)?;
        }
        if user.client_key_data.is_none() {
            user.client_key_data = encode(key)?.map(Into::into);
        }
        if let (None, Some(file)) = (&user.token, user.token_file.take()) {
            let token = String::from_utf8(read(&file)?).context("a token is no text")?;
            user.token = Some(token.trim().to_owned().into());
        }
    }
    Ok(())
}

/// Bytes in base64, as Kubernetes writes them into JSON.
fn base64(bytes: Vec<u8>) -> Result<String> {
    match serde_json::to_value(ByteString(bytes))? {
        serde_json::Value::String(text) => Ok(text),
        other => bail!("bytes became {other}"),
    }
}
