//! What gives tokens in Azure, on loopback: the endpoint that exchanges a cluster's
//! token, the metadata service of a node, and `az`. It forgives nothing: a request
//! that is not as documented gets no token.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// What the cluster's token is that a workload identity may exchange.
pub const ASSERTION: &str = "a-token-of-the-cluster";

/// The tenant and the client that it knows.
pub const TENANT: &str = "5f3a-tenant";
/// See [`TENANT`].
pub const CLIENT: &str = "5f3a-client";

/// A server that gives tokens as long as the process runs.
#[derive(Debug)]
pub struct Entra {
    address: SocketAddr,
    given: Arc<Mutex<Vec<String>>>,
}

impl Entra {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let (address, given) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let noted = given.clone();
        std::thread::Builder::new().name("entra".to_owned()).spawn(move || {
            for connection in listener.incoming().flatten() {
                // Who does not send a whole request gets no answer.
                serve(&connection, &noted).ok();
            }
        })?;
        Ok(Self { address, given })
    }

    /// Its address, for `AZURE_AUTHORITY_HOST` and its like.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// To whom it gave tokens.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A token as the storage service wants it, for an hour. Azurite looks at its claims
/// and at no signature.
#[must_use]
pub fn token() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = now.as_secs();
    let claims = format!(
        "{{\"aud\":\"https://storage.azure.com\",\"iss\":\"https://sts.windows.net/{TENANT}/\",\
         \"iat\":{now},\"nbf\":{},\"exp\":{}}}",
        now - 60,
        now + 3600
    );
    let part = |text: &str| BASE64URL.encode(text);
    format!("{}.{}.{}", part("{\"alg\":\"none\",\"typ\":\"JWT\"}"), part(&claims), part("none"))
}

/// Writes a program `az` into a folder: somebody is logged in, or says what it says
/// when nobody is.
///
/// # Errors
///
/// If it cannot be written.
pub fn write_az(folder: &Path, is_logged_in: bool) -> Result<()> {
    let wanted = "account get-access-token --resource https://storage.azure.com/ --query \
                  accessToken --output tsv --only-show-errors";
    let told = if is_logged_in {
        format!("echo {}", token())
    } else {
        "echo 'ERROR: Please run az login to setup account.' >&2; exit 1".to_owned()
    };
    let text = format!("#!/bin/sh\n[ \"$*\" = '{wanted}' ] || exit 9\n{told}\n");
    let path = folder.join("az");
    fs::write(&path, text)?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

fn serve(client: &TcpStream, given: &Mutex<Vec<String>>) -> Result<()> {
    let mut reader = BufReader::new(client);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let to = whom(first.trim_end(), &headers, &body);
    let (status, answer) = if let Some(to) = to {
        given.lock().unwrap_or_else(PoisonError::into_inner).push(to);
        let token = token();
        ("200 OK", format!("{{\"access_token\":\"{token}\",\"expires_in\":\"3600\"}}"))
    } else {
        let why = "AADSTS700213: No matching federated identity record found.\\r\\nTrace: 1";
        let told = format!("{{\"error\":\"invalid_client\",\"error_description\":\"{why}\"}}");
        ("401 Unauthorized", told)
    };
    let length = answer.len();
    write!(&*client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    Ok((&*client).write_all(answer.as_bytes())?)
}

/// To whom a request gives a token, if it is as documented.
fn whom(first: &str, headers: &BTreeMap<String, String>, body: &str) -> Option<String> {
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    if method == "POST" && path == format!("/{TENANT}/oauth2/v2.0/token") {
        let form = [
            format!("client_id={CLIENT}"),
            format!("client_assertion={ASSERTION}"),
            "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
                .to_owned(),
            "grant_type=client_credentials".to_owned(),
            "scope=https%3A%2F%2Fstorage.azure.com%2F.default".to_owned(),
        ];
        let sent: Vec<&str> = body.split('&').collect();
        let is_whole = form.iter().all(|pair| sent.contains(&pair.as_str()));
        return is_whole.then(|| "workload".to_owned());
    }
    let (path, query) = path.split_once('?')?;
    let is_asked = method == "GET"
        && path == "/metadata/identity/oauth2/token"
        && headers.get("metadata").map(String::as_str) == Some("true")
        && query.contains("resource=https%3A%2F%2Fstorage.azure.com%2F")
        && query.contains("api-version=2018-02-01");
    is_asked.then(|| "managed".to_owned())
}
