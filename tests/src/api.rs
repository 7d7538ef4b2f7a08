//! An API server that misbehaves, on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// What an API server does with every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One byte of the answer a second.
    Slow,
    /// This status.
    Status(u16),
    /// 429 with `Retry-After: 1` for so many requests, then an empty list.
    Busy(u32),
    /// The connection ends in the middle of the answer.
    Cut,
    /// Nobody listens.
    Down,
}

/// A server that runs as long as the process.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    asked: Arc<AtomicU32>,
}

impl ApiServer {
    /// Starts a server with this fault.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub fn start(fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let (address, asked) = (listener.local_addr()?, Arc::new(AtomicU32::new(0)));
        let counted = asked.clone();
        if fault == Fault::Down {
            return Ok(Self { address, asked });
        }
        std::thread::Builder::new().name("api".to_owned()).spawn(move || {
            for connection in listener.incoming().flatten() {
                let counted = counted.clone();
                // One that cannot be answered is closed, which is a fault as well.
                std::thread::spawn(move || serve(connection, fault, &counted).ok());
            }
        })?;
        Ok(Self { address, asked })
    }

    /// A kubeconfig that leads to it.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        kubeconfig(&self.address.to_string())
    }

    /// How many requests there were.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A kubeconfig that leads to the API server at an address.
#[must_use]
pub fn kubeconfig(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\n\
         users: [{{name: u, user: {{token: abc}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    )
}

fn serve(connection: TcpStream, fault: Fault, asked: &AtomicU32) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let number = asked.fetch_add(1, Ordering::Relaxed);
    let mut stream = reader.into_inner();
    let answer = |status: &str, more: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n{more}\r\n{body}"
        )
    };
    let list = r#"{"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}"#;
    let text = match fault {
        Fault::Status(code) => {
            let body = format!(r#"{{"kind": "Status", "message": "because of a test ({code})"}}"#);
            answer(&format!("{code} X"), "", &body)
        }
        Fault::Busy(times) if number < times => {
            answer("429 Too Many Requests", "Retry-After: 1\r\n", "{}")
        }
        _ => answer("200 OK", "", list),
    };
    match fault {
        Fault::Slow => {
            for byte in text.as_bytes() {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        }
        Fault::Cut => stream.write_all(&text.as_bytes()[..text.len() - list.len() / 2]),
        _ => stream.write_all(text.as_bytes()),
    }
}
