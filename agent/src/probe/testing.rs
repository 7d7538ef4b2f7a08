//! Real servers on 127.0.0.1 for the tests of probes: DNS, TLS, HTTP, a proxy,
//! and some that misbehave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// What a name server says to a question.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    Address([u8; 4]),
    Address6(&'static str),
    /// An alias, and its address.
    Alias([u8; 4]),
    /// Truncated over UDP, the address over TCP.
    Truncated([u8; 4]),
    Code(ResponseCode),
    /// No error, and no record.
    Empty,
    /// Bytes that are no message.
    Noise,
    Nothing,
}

/// A name server.
pub(super) struct Dns {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Starts one that answers by a name, such as `a.example.`, and type.
    pub(super) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&str, RecordType) -> Reply + Send + Sync + 'static,
    {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            let address = udp.local_addr().expect("an address");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let over_tcp = Arc::clone(&answer);
        tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.expect("a question");
                let question = Message::from_vec(&buffer[..length]).expect("a message");
                let query = &question.queries[0];
                let name = query.name().to_string();
                log.lock().expect("a lock").push(format!("{name} {}", query.query_type()));
                let reply = answer(&name, query.query_type());
                if let Some(bytes) = message(&question, reply, false) {
                    udp.send_to(&bytes, peer).await.expect("an answer");
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.expect("a connection");
                let length = stream.read_u16().await.expect("a length");
                let mut buffer = vec![0; usize::from(length)];
                stream.read_exact(&mut buffer).await.expect("a question");
                let question = Message::from_vec(&buffer).expect("a message");
                let query = &question.queries[0];
                let reply = over_tcp(&query.name().to_string(), query.query_type());
                let bytes = message(&question, reply, true).expect("an answer");
                stream.write_u16(bytes.len() as u16).await.expect("an answer");
                stream.write_all(&bytes).await.expect("an answer");
            }
        });
        Self { address, asked }
    }

    /// Questions so far, such as `a.example. A`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }
}

fn message(question: &Message, reply: Reply, tcp: bool) -> Option<Vec<u8>> {
    let mut message =
        Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    let query = &question.queries[0];
    message.add_query(query.clone());
    let mut add = |name: &Name, data| {
        message.add_answer(Record::from_rdata(name.clone(), 30, data));
    };
    let v4 = |address: [u8; 4]| RData::A(A(address.into()));
    match reply {
        Reply::Address(address) => add(query.name(), v4(address)),
        Reply::Address6(address) => {
            add(query.name(), RData::AAAA(AAAA(address.parse().expect("an address"))));
        }
        Reply::Alias(address) => {
            let alias = Name::from_ascii("other.example.").expect("a name");
            add(query.name(), RData::CNAME(CNAME(alias.clone())));
            add(&alias, v4(address));
        }
        Reply::Truncated(address) if tcp => add(query.name(), v4(address)),
        Reply::Truncated(_) => message.metadata.truncation = true,
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Empty => {}
        Reply::Noise => {
            let mut bytes = question.metadata.id.to_be_bytes().to_vec();
            bytes.extend_from_slice(b"\xff\xff\xff");
            return Some(bytes);
        }
        Reply::Nothing => return None,
    }
    Some(message.to_vec().expect("a message"))
}

/// A UDP port that nobody listens on.
pub(super) async fn closed_udp_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.local_addr().expect("an address")
}

/// A TCP port that nobody listens on.
pub(super) async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    listener.local_addr().expect("an address")
}

/// Tells authorities apart by name: one of the same name is not a stranger.
static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

/// A certificate authority.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> String {
        self.pem.clone()
    }

    /// A server that shows a certificate for a name.
    pub(super) fn acceptor(&self, name: &str, expired: bool) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        if expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a server does with a connection.
#[derive(Clone)]
pub(super) enum Act {
    /// Answers a request with these bytes, and closes.
    Answer(&'static str),
    /// TLS, and then the same.
    Tls(TlsAcceptor, &'static str),
    /// Answers `CONNECT` with these bytes, and connects through to an address.
    Proxy(&'static str, SocketAddr),
    /// Never says anything.
    Silence,
    /// Hears what it is told, and closes.
    Close,
    /// Resets at once.
    Reset,
}

/// A TCP server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&heads), Arc::clone(&accepted));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, act.clone(), Arc::clone(&log)));
            }
        });
        Self { address, heads, accepted }
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Request heads so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("a lock").clone()
    }
}

/// What goes wrong here is seen, and judged, at the other end.
async fn serve(mut stream: TcpStream, act: Act, log: Arc<Mutex<Vec<String>>>) {
    match act {
        Act::Answer(answer) => respond(&mut stream, answer, &log).await,
        Act::Tls(acceptor, answer) => {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                respond(&mut stream, answer, &log).await;
                stream.shutdown().await.ok();
            }
        }
        Act::Proxy(answer, to) => {
            respond(&mut stream, answer, &log).await;
            if let Ok(mut through) = TcpStream::connect(to).await {
                tokio::io::copy_bidirectional(&mut stream, &mut through).await.ok();
            }
        }
        Act::Silence => tokio::time::sleep(Duration::from_mins(10)).await,
        Act::Close => {
            // Bytes left unread would make it a reset.
            let mut heard = [0; 4_096];
            let _ = stream.read(&mut heard).await;
        }
        Act::Reset => stream.set_zero_linger().expect("a socket"),
    }
}

async fn respond(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    answer: &str,
    log: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    log.lock().expect("a lock").push(String::from_utf8_lossy(&head).into_owned());
    stream.write_all(answer.as_bytes()).await.ok();
    stream.flush().await.ok();
}
