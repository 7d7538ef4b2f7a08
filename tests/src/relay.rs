//! A relay on loopback between a client and a server, which can be told to fail; it is
//! a proxy too, if a client takes it for one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a relay does with what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it passes.
    None,
    /// Answers each request with this status, and asks nobody.
    Status(u16),
    /// Each connection ends after so many bytes, whoever sent them.
    CutAfter(u64),
    /// So many bytes a second in each direction of each connection.
    Slow(u64),
    /// Accepts, and never says a word.
    Silent,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    fault: Mutex<Fault>,
    open: Mutex<Vec<TcpStream>>,
    asked_for: Mutex<Vec<String>>,
    answered: AtomicU64,
}

/// A relay that runs as long as the process.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Starts a relay to a port of loopback.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            fault: Mutex::new(Fault::None),
            open: Mutex::default(),
            asked_for: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let relayed = shared.clone();
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            for connection in listener.incoming().flatten() {
                let relayed = relayed.clone();
                std::thread::spawn(move || {
                    relayed.serve(&connection).ok();
                    // One that cannot be relayed ends, as at a server that fails; others
                    // have a second handle of it.
                    connection.shutdown(Shutdown::Both).ok();
                });
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Fails like this from now on; what is open ends.
    pub fn set(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
        for connection in lock(&self.shared.open).drain(..) {
            connection.shutdown(Shutdown::Both).ok();
        }
    }

    /// Bytes that servers answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Hosts that it was to connect to, as a proxy.
    #[must_use]
    pub fn asked_for(&self) -> Vec<String> {
        lock(&self.shared.asked_for).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> Result<()> {
        let fault = *lock(&self.fault);
        lock(&self.open).push(client.try_clone()?);
        match fault {
            Fault::Silent => {
                let mut client = client;
                std::io::copy(&mut client, &mut std::io::sink())?;
                Ok(())
            }
            Fault::Status(status) => refuse(client, status),
            _ => self.relay(client, fault),
        }
    }

    fn relay(&self, client: &TcpStream, fault: Fault) -> Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        lock(&self.open).push(server.try_clone()?);
        let mut peeked = [0; 8];
        if client.peek(&mut peeked)? == peeked.len() && peeked == *b"CONNECT " {
            self.connect(client)?;
        }
        let passed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| pass(client, &server, fault, &passed, None));
            pass(&server, client, fault, &passed, Some(&self.answered));
        });
        Ok(())
    }

    /// Does what a proxy does before it relays.
    fn connect(&self, client: &TcpStream) -> Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        // By bytes: what follows the head is the server's.
        while !head.ends_with(b"\r\n\r\n") {
            (&*client).read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let host = head.split(' ').nth(1).unwrap_or_default();
        lock(&self.asked_for).push(host.to_owned());
        (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        Ok(())
    }
}

/// Passes bytes on until one side ends or the fault says so; then both end.
fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    fault: Fault,
    passed: &AtomicU64,
    count: Option<&AtomicU64>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let all = passed.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        match fault {
            Fault::CutAfter(most) if all > most => break,
            Fault::Slow(rate) => {
                std::thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
            }
            _ => {}
        }
        let Some(part) = buffer.get(..read) else { break };
        if to.write_all(part).is_err() {
            break;
        }
        if let Some(count) = count {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

/// Reads one request whole and answers it with a status.
fn refuse(client: &TcpStream, status: u16) -> Result<()> {
    let mut reader = BufReader::new(client);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let answer = format!(
        "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
    );
    (&*client).write_all(answer.as_bytes())?;
    Ok(())
}
