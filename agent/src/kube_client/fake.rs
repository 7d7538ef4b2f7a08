//! For tests: an API server on 127.0.0.1 that answers what it is told, and a
//! node whose kubelet knows it.
//!
//! It forgives nothing: only GET, POST and PUT, only whole requests, and a path that
//! the test did not foresee is a 404 as it would be.
#![expect(clippy::disallowed_methods, reason = "a server needs a thread, and no node is involved")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Api, Connection, KubeAccess, Limits};
use crate::host::Host;

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `GET`, `POST` or `PUT`.
    pub(crate) method: String,
    /// Path without the query.
    pub(crate) path: String,
    /// Decoded parameters.
    pub(crate) query: BTreeMap<String, String>,
    /// The object that came with it, null if none did.
    pub(crate) body: Value,
}

impl Asked {
    /// A parameter, empty if the request has none of that name.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What the server does with a request.
pub(crate) enum Answer {
    /// 200 with this object.
    Object(Value),
    /// 200 with this text.
    Text(String),
    /// This status, with the message of a `Status` object.
    Status(u16, &'static str),
    /// Nothing at all, for as long as the client waits.
    Hang,
    /// The connection closed without a word.
    Close,
}

/// A list of these items, with the token of the next page if there is one.
pub(crate) fn list(kind: &str, items: &[Value], next: Option<&str>) -> Answer {
    let metadata = match next {
        Some(next) => json!({ "continue": next, "remainingItemCount": 7 }),
        None => json!({}),
    };
    Answer::Object(
        json!({ "kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items }),
    )
}

/// A server that runs as long as the test does.
pub(crate) struct FakeServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeServer {
    /// Starts a server with these answers.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address, asked: Arc::clone(&asked) };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                thread::spawn(move || serve(stream, &*answer, &asked));
            }
        });
        server
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a list").clone()
    }

    /// Paths of all requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// A node whose kubelet has this server in its kubeconfig.
    pub(crate) fn node(&self) -> (tempfile::TempDir, Host) {
        node(&[("var/lib/kubelet/kubeconfig", &kubeconfig(&format!("http://{}", self.address)))])
    }

    /// This server for one poll.
    pub(crate) fn api(&self, limits: Limits) -> Box<Api> {
        let (_folder, host) = self.node();
        match Api::connect(&KubeAccess::default(), &host, limits).expect("credentials") {
            Connection::Api(api) => api,
            Connection::Absent(reason) => panic!("{reason}"),
        }
    }
}

/// Limits that a test can wait for.
pub(crate) fn quick() -> Limits {
    Limits {
        request: Duration::from_millis(300),
        overall: Duration::from_secs(5),
        pause: Duration::from_millis(2),
        spread: Duration::ZERO,
        ..Limits::default()
    }
}

/// A kubeconfig with a token.
pub(crate) fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: u, user: {{token: abc}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    )
}

/// A node with these files.
pub(crate) fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let host = Host::open(folder.path()).expect("a root");
    (folder, host)
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // A TLS handshake gets the answer that a plain server gives it.
    if reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16)) {
        return write(reader.get_mut(), 400, "{}");
    }
    if reader.read_line(&mut line).unwrap_or_default() == 0 {
        return;
    }
    let mut header = String::new();
    let mut length = 0;
    while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        header.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a whole request");
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let request = match line.split(' ').collect::<Vec<_>>()[..] {
        [method @ ("GET" | "POST" | "PUT"), target, "HTTP/1.1\r\n"] => parse(method, target, body),
        _ => return write(reader.get_mut(), 405, "{}"),
    };
    asked.lock().expect("a list").push(request.clone());
    match answer(&request) {
        Answer::Object(object) => write(reader.get_mut(), 200, &object.to_string()),
        Answer::Text(text) => write(reader.get_mut(), 200, &text),
        Answer::Status(code, message) => {
            let status = json!({ "kind": "Status", "code": code, "message": message });
            write(reader.get_mut(), code, &status.to_string());
        }
        Answer::Hang => {
            reader.read_to_end(&mut Vec::new()).ok();
        }
        Answer::Close => {}
    }
}

fn write(stream: &mut TcpStream, code: u16, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // A client that gave up is none of the server's business.
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
}

fn parse(method: &str, target: &str, body: Value) -> Asked {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    Asked {
        method: method.to_owned(),
        body,
        path: path.to_owned(),
        query: parameters.map(|(name, value)| (name.to_owned(), decode(value))).collect(),
    }
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(code, 16).expect("two digits")));
        decoded.push_str(rest);
    }
    decoded
}
