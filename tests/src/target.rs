//! An HTTP server on loopback that can be interrupted and mended.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// An HTTP server that answers 200 to everything, on a port of its own.
///
/// While it is interrupted, nothing listens: connections are refused.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    server: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Target {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let address = listener.local_addr()?;
        let mut target = Self { address, server: None };
        target.serve(listener)?;
        Ok(target)
    }

    /// `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Stops listening.
    pub fn interrupt(&mut self) {
        if let Some((stop, thread)) = self.server.take() {
            stop.store(true, Ordering::Relaxed);
            // A connection of our own ends the wait for one.
            std::net::TcpStream::connect(self.address).ok();
            thread.join().ok();
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    ///
    /// If another program took it meanwhile.
    pub fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address)
            .with_context(|| format!("binding {} again", self.address))?;
        self.serve(listener)
    }

    fn serve(&mut self, listener: TcpListener) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut connection) = connection else { continue };
                connection.set_read_timeout(Some(Duration::from_secs(1))).ok();
                let mut request = [0; 4096];
                if connection.read(&mut request).is_ok_and(|length| length > 0) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    connection.write_all(answer).ok();
                }
            }
        })?;
        self.server = Some((stop, thread));
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.interrupt();
    }
}
