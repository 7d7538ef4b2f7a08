//! Names that follow from others: the container from the API server, the address of
//! the service from the cloud.

/// Longest name of a container.
const LONGEST: usize = 63;

/// Name of a container for the cluster of an API server, by the rule that
/// `az aks kollect` uses too; `None` if the server has no name but an address.
///
/// Dots become dashes; what follows `.hcp.` says only where the cluster is. The
/// original cut nothing and asked for names that the service does not take.
///
/// ```
/// let name = periscope_blob::container_name("https://shop-1a2b.hcp.westeurope.azmk8s.io:443");
/// assert_eq!(name.as_deref(), Some("shop-1a2b"));
/// ```
#[must_use]
pub fn container_name(api_server: &str) -> Option<String> {
    let host = api_server.trim();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let host = host.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.');
    let is_address = host.starts_with('[')
        || host.contains(':')
        || host.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_address {
        return None;
    }
    let host = host.to_ascii_lowercase();
    plain(host.split_once(".hcp.").map_or(host.as_str(), |(cluster, _)| cluster))
}

/// A text as the name of a container: lower case, dashes for all else, never two in a
/// row, 3 to 63 characters. `None` if too little is left.
#[must_use]
pub(crate) fn plain(text: &str) -> Option<String> {
    let mut name = String::new();
    for character in text.to_ascii_lowercase().chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == LONGEST {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    (name.len() >= 3).then(|| name.to_owned())
}

/// What follows `ACCOUNT.blob.` in the addresses of a cloud, as `azure.json` calls it;
/// `None` for a cloud of somebody's own, whose files say it.
#[must_use]
pub fn suffix_of_cloud(cloud: &str) -> Option<&'static str> {
    match cloud.to_ascii_lowercase().as_str() {
        "" | "azurecloud" | "azurepubliccloud" => Some("core.windows.net"),
        "azurechinacloud" => Some("core.chinacloudapi.cn"),
        "azureusgovernment" | "azureusgovernmentcloud" => Some("core.usgovcloudapi.net"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api_server: &str, expected: Option<&str>) {
        assert_eq!(container_name(api_server).as_deref(), expected, "{api_server}");
    }

    #[test]
    fn a_container_is_called_like_the_cluster() {
        check("https://Shop-1a2b.hcp.westeurope.azmk8s.io:443", Some("shop-1a2b"));
        check("shop-1a2b.hcp.westeurope.azmk8s.io", Some("shop-1a2b"));
        check(
            "https://aks-x.2f0b.privatelink.eastus.azmk8s.io:443/",
            Some("aks-x-2f0b-privatelink-eastus-azmk8s-io"),
        );
        check("https://a--b..c.hcp.x", Some("a-b-c"));
        check("https://name.example.", Some("name-example"));
        let long = "abcdefghi.".repeat(8);
        check(&long, Some("abcdefghi-".repeat(7).get(..63).expect("ASCII")));
        check("https://10.0.0.1:443", None);
        check("https://[fd00::1]:443", None);
        check("ab", None);
        check("", None);
    }

    #[test]
    fn clouds_have_addresses_of_their_own() {
        assert_eq!(suffix_of_cloud("AzurePublicCloud"), Some("core.windows.net"));
        assert_eq!(suffix_of_cloud("AzureChinaCloud"), Some("core.chinacloudapi.cn"));
        assert_eq!(suffix_of_cloud("AzureUSGovernmentCloud"), Some("core.usgovcloudapi.net"));
        assert_eq!(suffix_of_cloud("AzureStackCloud"), None);
    }
}
