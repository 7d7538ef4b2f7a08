//! Azurite, the emulator of Azure Storage, on a free port of loopback; and tokens for
//! it, signed as the service's REST reference says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use periscope_blob::{Container, Login, Patience, Place, Proxies, Sas, Transport};
use periscope_store::time::format_ns;
use sha2::{Digest, Sha256};

/// The account that every emulator has, with its key, which is public.
pub const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Version of the rules by which tokens are signed.
const VERSION: &str = "2019-07-07";

/// Time that it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running emulator; ended when it is dropped.
#[derive(Debug)]
pub struct Azurite {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    /// Its certificate, which stands for itself, if it speaks TLS.
    certificate: Option<PathBuf>,
    child: Option<Child>,
}

/// A right to make a token for.
#[derive(Clone, Debug)]
pub struct Right {
    /// Letters of what is allowed.
    pub allows: String,
    /// When it begins and ends, in minutes from now.
    pub minutes: (i64, i64),
    /// Key to sign with, in base64.
    pub key: String,
}

impl Right {
    /// A right from an hour ago to eight hours ahead.
    #[must_use]
    pub fn to(allows: &str) -> Self {
        Self { allows: allows.to_owned(), minutes: (-60, 480), key: KEY.to_owned() }
    }

    /// The same for another time.
    #[must_use]
    pub fn within(self, minutes: (i64, i64)) -> Self {
        Self { minutes, ..self }
    }

    /// The same, signed with a key that the account does not have.
    #[must_use]
    pub fn foreign(self) -> Self {
        Self { key: BASE64.encode([7; 64]), ..self }
    }

    /// A token for the whole account.
    ///
    /// # Errors
    ///
    /// If the key is none.
    pub fn account_sas(&self) -> Result<String> {
        let (start, end) = self.times();
        let Self { allows, .. } = self;
        let signed =
            [ACCOUNT, allows, "b", "sco", &start, &end, "", "https,http", VERSION, ""].join("\n");
        let signature = self.sign(&signed)?;
        Ok(query(&[
            ("sv", VERSION),
            ("ss", "b"),
            ("srt", "sco"),
            ("sp", allows),
            ("st", &start),
            ("se", &end),
            ("spr", "https,http"),
            ("sig", &signature),
        ]))
    }

    /// A token for one container.
    ///
    /// # Errors
    ///
    /// If the key is none.
    pub fn container_sas(&self, container: &str) -> Result<String> {
        let (start, end) = self.times();
        let Self { allows, .. } = self;
        let resource = format!("/blob/{ACCOUNT}/{container}");
        let signed = [
            allows,
            &start,
            &end,
            &resource,
            "",
            "",
            "https,http",
            VERSION,
            "c",
            "",
            "",
            "",
            "",
            "",
            "",
        ]
        .join("\n");
        let signature = self.sign(&signed)?;
        Ok(query(&[
            ("sv", VERSION),
            ("sr", "c"),
            ("sp", allows),
            ("st", &start),
            ("se", &end),
            ("spr", "https,http"),
            ("sig", &signature),
        ]))
    }

    fn times(&self) -> (String, String) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = |minutes: i64| {
            let seconds = now.as_secs() as i64 + minutes * 60;
            format!("{}Z", &format_ns(seconds * 1_000_000_000)[..19])
        };
        (at(self.minutes.0), at(self.minutes.1))
    }

    fn sign(&self, text: &str) -> Result<String> {
        let key = BASE64.decode(&self.key).context("the key of the account")?;
        Ok(BASE64.encode(hmac(&key, text.as_bytes())))
    }
}

/// A container of an emulator that somebody else has started, which need not be there.
///
/// # Errors
///
/// If there can be none of that name.
pub fn container_of(endpoint: &str, name: &str) -> Result<Container> {
    open(Place::new(endpoint, name)?, Sas::parse(&Right::to("rl").account_sas()?)?, None)
}

fn open(place: Place, sas: Sas, trusted: Option<&Path>) -> Result<Container> {
    let trusted = trusted.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let none = Proxies::Named { url: String::new(), no_proxy: String::new() };
    let transport = Transport::new(&none, &trusted)?;
    let patience = Patience { tries: 3, within: Duration::from_secs(10) };
    Ok(Container::open(place, Login::Sas(sas), &transport, patience)?)
}

/// Reads the rest of an answer, whose body has a length or is in chunks.
fn skip_answer(answers: &mut impl BufRead) -> Result<()> {
    let mut line = String::new();
    let (mut length, mut is_chunked) = (0, false);
    loop {
        line.clear();
        answers.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(text) = header.strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
        is_chunked |= header == "transfer-encoding: chunked";
    }
    while is_chunked {
        line.clear();
        answers.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16)?;
        std::io::copy(&mut answers.take(size + 2), &mut std::io::sink())?;
        is_chunked = size > 0;
    }
    std::io::copy(&mut answers.take(length), &mut std::io::sink())?;
    Ok(())
}

/// HMAC-SHA256 (RFC 2104), for a key of a block at most.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn query(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            use std::fmt::Write as _;
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

impl Azurite {
    /// Starts an emulator of one's own.
    ///
    /// # Errors
    ///
    /// If it is not installed (`npm ci` in `tests/azurite`), or does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more flags.
    ///
    /// # Errors
    ///
    /// As [`Azurite::start`].
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let mut azurite = Self::prepare(arguments)?;
        azurite.restart()?;
        Ok(azurite)
    }

    fn prepare(arguments: &[&str]) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Self {
            folder: tempfile::tempdir().context("a folder for azurite")?,
            port,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            certificate: None,
            child: None,
        })
    }

    /// The same with TLS, as which it takes identities too, and with a name as accounts
    /// have them: `ACCOUNT.blob.lab.invalid`.
    ///
    /// # Errors
    ///
    /// As [`Azurite::start`].
    pub fn start_with_tls() -> Result<Self> {
        let mut azurite = Self::prepare(&["--oauth", "basic", "--cert"])?;
        let names = vec!["127.0.0.1".to_owned(), format!("{ACCOUNT}.blob.lab.invalid")];
        let made = rcgen::generate_simple_self_signed(names).context("a certificate")?;
        let folder = azurite.folder.path();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        azurite.arguments.push(certificate.display().to_string());
        azurite.arguments.extend(["--key".to_owned(), key.display().to_string()]);
        azurite.certificate = Some(certificate);
        azurite.restart()?;
        Ok(azurite)
    }

    /// Starts it again, with what it had.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("azurite/node_modules/azurite/dist/src/blob/main.js");
        ensure!(
            program.exists(),
            "{} is not there\nhint: npm ci --prefix tests/azurite",
            program.display()
        );
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new("node");
        command.arg(program).args(["--disableTelemetry", "--skipApiVersionCheck", "--blobPort"]);
        command.arg(self.port.to_string()).arg("--location").arg(self.folder.path().join("data"));
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("starting azurite: is node installed?")?);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > until {
                bail!("azurite does not start: {}", std::fs::read_to_string(self.log())?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Ends it as an orderly service ends.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        child.wait().map(drop).context("waiting for azurite")
    }

    /// Port of loopback that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address of its blob service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint_at(self.port)
    }

    /// The same through a relay.
    #[must_use]
    pub fn endpoint_at(&self, port: u16) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}/{ACCOUNT}")
    }

    /// The certificate to trust, if it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// URL of a container with a token for it, as one gives it to an analyst.
    ///
    /// # Errors
    ///
    /// If the key is none.
    pub fn url(&self, container: &str, right: &Right) -> Result<String> {
        Ok(format!("{}/{container}?{}", self.endpoint(), right.container_sas(container)?))
    }

    /// Puts many small blobs, by one request each and with no more than these headers,
    /// each of which ends its line.
    ///
    /// # Errors
    ///
    /// If one is not taken.
    pub fn put_all(
        &self,
        container: &str,
        blobs: &[(String, Vec<u8>)],
        headers: &str,
    ) -> Result<()> {
        const AT_A_TIME: usize = 4;
        let sas = Right::to("rwc").account_sas()?;
        let put = |blobs: &[(String, Vec<u8>)]| -> Result<()> {
            let mut line = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            line.set_nodelay(true)?;
            let mut answers = BufReader::new(line.try_clone()?);
            for (name, content) in blobs {
                let mut request = format!(
                    "PUT /{ACCOUNT}/{container}/{name}?{sas} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
                     x-ms-version: {VERSION}\r\nx-ms-blob-type: BlockBlob\r\n{headers}\
                     Content-Length: {}\r\n\r\n",
                    content.len()
                )
                .into_bytes();
                request.extend_from_slice(content);
                line.write_all(&request)?;
                let mut first = String::new();
                answers.read_line(&mut first)?;
                ensure!(first.contains(" 201 "), "{name}: {first}");
                skip_answer(&mut answers)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let parts = blobs.chunks(blobs.len().div_ceil(AT_A_TIME).max(1));
            let threads: Vec<_> = parts.map(|part| scope.spawn(|| put(part))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| bail!("a thread that puts blobs panicked"))
            })
        })
    }

    /// A new container, open to the test.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn container(&self, name: &str) -> Result<Container> {
        let place = Place::new(&self.endpoint(), name)?;
        let sas = Sas::parse(&Right::to("rwdlacup").account_sas()?)?;
        let container = open(place, sas, self.certificate.as_deref())?;
        block_on(container.create())??;
        Ok(container)
    }

    /// A container that is there, through a relay.
    ///
    /// # Errors
    ///
    /// If there can be none of that name.
    pub fn container_at(&self, port: u16, name: &str) -> Result<Container> {
        let place = Place::new(&self.endpoint_at(port), name)?;
        open(place, Sas::parse(&Right::to("rwl").container_sas(name)?)?, None)
    }

    /// What it wrote to its log.
    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Requests that it has answered, by `METHOD STATUS`.
    ///
    /// # Errors
    ///
    /// If its log cannot be read.
    pub fn answered(&self) -> Result<BTreeMap<String, usize>> {
        let mut answered = BTreeMap::new();
        for line in std::fs::read_to_string(self.log())?.lines() {
            // 127.0.0.1 - - [date] "PUT /path HTTP/1.1" 201 -
            let mut quoted = line.split('"').skip(1);
            let method = quoted.next().and_then(|request| request.split(' ').next());
            let status = quoted.next().and_then(|rest| rest.split_whitespace().next());
            if let (Some(method), Some(status)) = (method, status) {
                *answered.entry(format!("{method} {status}")).or_default() += 1;
            }
        }
        Ok(answered)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A text in which times are one word, to be compared with that of another run.
#[must_use]
pub fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        word.len() >= 20 && word.as_bytes().get(10) == Some(&b'T') && word.ends_with('Z')
    };
    text.split_inclusive([' ', '\n', ';', ',', ')'])
        .map(|part| {
            let word = part.trim_end_matches([' ', '\n', ';', ',', ')']);
            if is_time(word) { part.replace(word, "TIME") } else { part.to_owned() }
        })
        .collect()
}

/// Waits for something asynchronous.
///
/// # Errors
///
/// If there is no runtime to be had.
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn a_signature_is_as_others_make_it() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac[mac.len() - 2..], [0x38, 0x43]);
    }
}
