//! Where blobs are: a service, and a container of it.

use std::fmt;

use url::Url;

use crate::error::{BlobError, Kind};
use crate::names;
use crate::sas::Sas;

/// A container of a storage service. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    endpoint: Url,
    container: String,
}

/// A place as a URL names it, with the right and the folder that the URL brings.
#[derive(Clone, Debug)]
pub struct Located {
    /// The container.
    pub place: Place,
    /// What was behind the question mark, if anything.
    pub sas: Option<Sas>,
    /// What followed the container: the beginning of names of blobs.
    pub prefix: String,
}

impl Place {
    /// A container of a service, such as `https://account.blob.core.windows.net`.
    ///
    /// # Errors
    ///
    /// If the address is no URL, holds more than an address should, or the service
    /// would not take the name of the container.
    pub fn new(endpoint: &str, container: &str) -> Result<Self, BlobError> {
        let wrong = |why: &str| {
            BlobError::new(
                Kind::Refused,
                format!(
                    "the address of the storage service {why}\n\
                     hint: it looks like https://ACCOUNT.blob.core.windows.net"
                ),
            )
        };
        let endpoint = Url::parse(endpoint.trim()).map_err(|_| wrong("is no URL"))?;
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(wrong("has a query; a SAS is a setting of its own"));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(wrong("holds a password"));
        }
        if !["https", "http"].contains(&endpoint.scheme()) || endpoint.host_str().is_none() {
            return Err(wrong("is no http or https URL"));
        }
        check_container(container)?;
        Ok(Self { endpoint, container: container.to_owned() })
    }

    /// A container of an account in a cloud with this suffix (`core.windows.net`).
    ///
    /// # Errors
    ///
    /// If there can be no such account or container.
    pub fn of_account(account: &str, suffix: &str, container: &str) -> Result<Self, BlobError> {
        let is_plain = account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(3..=24).contains(&account.len()) || !is_plain {
            return Err(BlobError::new(
                Kind::Refused,
                format!(
                    "{account:?} cannot be the name of a storage account\n\
                     hint: it has 3 to 24 lower-case letters and digits"
                ),
            ));
        }
        Self::new(&format!("https://{account}.blob.{suffix}"), container)
    }

    /// Takes a URL apart, such as one that the portal or `az` prints.
    ///
    /// An address or `localhost` in place of a name is an emulator or a service of
    /// one's own, whose paths begin with the account.
    ///
    /// # Errors
    ///
    /// If it does not name a container; the text does not repeat the URL.
    pub fn locate(url: &str) -> Result<Located, BlobError> {
        let no_container = || {
            BlobError::new(
                Kind::Refused,
                "the URL names no container\n\
                 hint: it looks like https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS"
                    .to_owned(),
            )
        };
        let mut endpoint = Url::parse(url.trim()).map_err(|_| no_container())?;
        let sas = endpoint.query().filter(|query| !query.is_empty()).map(Sas::parse).transpose()?;
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        let is_path_style = match endpoint.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || !name.contains('.'),
            Some(_) => true,
            None => return Err(no_container()),
        };
        let mut parts: Vec<String> =
            endpoint.path_segments().ok_or_else(no_container)?.map(decoded).collect();
        parts.retain(|part| !part.is_empty());
        let account =
            if is_path_style && !parts.is_empty() { parts.remove(0) } else { String::new() };
        if parts.is_empty() {
            return Err(no_container());
        }
        let container = parts.remove(0);
        endpoint.set_path(&account);
        let place = Self::new(endpoint.as_str(), &container)?;
        Ok(Located { place, sas, prefix: parts.join("/") })
    }

    /// Name of the container.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Host that answers, with its port if it is an unusual one.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether what is sent can be read on the way.
    #[must_use]
    pub fn is_plain_text(&self) -> bool {
        self.endpoint.scheme() == "http"
    }

    /// Whether the service runs on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.endpoint.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Its URL, with a right to use it.
    pub(crate) fn url(&self, sas: Option<&Sas>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&self.container);
        }
        url.set_query(sas.map(Sas::reveal));
        url
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint.as_str().trim_end_matches('/'), self.container)
    }
}

/// A part of a path without its percent signs.
fn decoded(part: &str) -> String {
    let query = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map_or_else(String::new, |(_, text)| text.into_owned())
}

/// Whether the service takes the name of a container.
fn check_container(name: &str) -> Result<(), BlobError> {
    let is_special = ["$root", "$web", "$logs"].contains(&name);
    if is_special || names::plain(name).as_deref() == Some(name) {
        return Ok(());
    }
    Err(BlobError::new(
        Kind::Refused,
        format!(
            "{name:?} cannot be the name of a container\n\
             hint: it has 3 to 63 lower-case letters, digits and single dashes"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_printed_without_its_right() {
        let place = Place::of_account("shop", "core.usgovcloudapi.net", "logs").expect("a place");
        assert_eq!(place.to_string(), "https://shop.blob.core.usgovcloudapi.net/logs");
        let sas = Sas::parse("?sv=1&sp=r&sig=abc%3D").expect("a token");
        let url = place.url(Some(&sas)).to_string();
        assert_eq!(url, "https://shop.blob.core.usgovcloudapi.net/logs?sv=1&sp=r&sig=abc%3D");
        let place = Place::new("http://127.0.0.1:10000/devstoreaccount1/", "abc").expect("a place");
        assert_eq!(place.url(None).as_str(), "http://127.0.0.1:10000/devstoreaccount1/abc");
        assert_eq!(place.host(), "127.0.0.1:10000");
    }

    #[test]
    fn a_url_is_taken_apart() {
        let located = Place::locate(
            "https://shop.blob.core.windows.net/logs/2026-11-22T10%3A00/node?sv=1&sp=rl&sig=x",
        )
        .expect("a container");
        assert_eq!(located.place.container(), "logs");
        assert_eq!(located.prefix, "2026-11-22T10:00/node");
        assert!(located.sas.is_some());
        let located = Place::locate("http://localhost:1/account/logs").expect("a container");
        assert_eq!(located.place.to_string(), "http://localhost:1/account/logs");
        assert!(located.sas.is_none() && located.prefix.is_empty());
    }

    #[test]
    fn what_names_no_container_is_said_without_the_secret() {
        for url in [
            "https://shop.blob.core.windows.net/?sv=1&sp=rl&sig=hunter22",
            "shop/logs?sp=rl&sig=hunter22",
            "http://127.0.0.1:1/account?sp=rl&sig=hunter22",
            "https://shop.blob.core.windows.net/Logs?sp=rl&sig=hunter22",
        ] {
            let error = Place::locate(url).expect_err(url).to_string();
            assert!(!error.contains("hunter22") && error.contains("hint:"), "{error}");
        }
        for endpoint in ["shop", "ftp://shop", "https://a:hunter22@b", "https://a?sig=hunter22"] {
            let error = Place::new(endpoint, "logs").expect_err(endpoint).to_string();
            assert!(!error.contains("hunter22") && error.contains("hint:"), "{error}");
        }
        let error = Place::of_account("My-Account", "x", "logs").expect_err("no account");
        assert!(error.to_string().contains("lower-case"), "{error}");
    }
}
