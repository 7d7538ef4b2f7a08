//! Tells those who ask whether the agent is well: `/healthz` for a liveness
//! probe, `/readyz` for a readiness probe, `/metrics` for Prometheus.
//!
//! The runner leaves its state in a [`Status`] once a second; nothing is computed
//! when somebody asks, and nothing that is asked changes anything.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use periscope_store::batch::Outcome;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::run::Totals;

/// A runner that has not told its state for so long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(1);

/// Connections that are served at a time; more wait.
const CONNECTIONS: usize = 8;

/// Time for one request, from connecting to the answer.
const REQUEST: Duration = Duration::from_secs(5);

/// How the agent is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// What the run has come to.
    pub(crate) totals: Totals,
    /// How each collector does.
    pub(crate) collectors: Vec<CollectorHealth>,
    /// Whether what is read gets into a file.
    pub(crate) is_writable: bool,
    /// Whether everything was read once.
    pub(crate) is_complete: bool,
    /// Whether no logs are read for want of room.
    pub(crate) logs_are_paused: bool,
    /// Size of the agent's folder.
    pub(crate) folder_bytes: u64,
    /// Room on its file system, `None` if the system does not say.
    pub(crate) free_bytes: Option<u64>,
    /// Files sealed by this process.
    pub(crate) sealed: u64,
    /// Files exported by this process.
    pub(crate) exported: u64,
    /// Exports that failed.
    pub(crate) export_failures: u64,
}

/// How one collector does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectorHealth {
    /// Its name.
    pub(crate) name: &'static str,
    /// How its last poll went, `None` before the first has ended.
    pub(crate) outcome: Option<Outcome>,
    /// Rows of its last poll.
    pub(crate) rows: u64,
}

/// What the runner told last, and when.
#[derive(Debug, Default)]
pub(crate) struct Status {
    told: Mutex<Option<(Instant, Health)>>,
}

impl Status {
    /// Takes note of how the agent is.
    pub(crate) fn tell(&self, health: Health) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), health));
    }

    /// The last state, unless it is too old to say anything.
    fn recent(&self) -> Option<Health> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, health) = told.as_ref()?;
        (at.elapsed() < HANGS_AFTER).then(|| health.clone())
    }
}

/// Takes an address, before anything else is done.
///
/// # Errors
///
/// If somebody else has it.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot answer for the agent's health at {address}\nhint: choose another --health")
    })?;
    listener.set_nonblocking(true).context("preparing to answer for the agent's health")?;
    Ok(listener)
}

/// Answers, in this thread, without end.
///
/// # Errors
///
/// If the system gives no room for an event loop.
pub(crate) fn blocking_serve(listener: TcpListener, status: &Arc<Status>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the event loop of the health server")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).context("listening")?;
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = room.clone().acquire_owned().await.context("waiting for room")?;
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, most likely; they come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let status = status.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&request, &status);
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(16 << 10);
                let served = http.serve_connection(TokioIo::new(stream), service);
                // A client that is gone or says nonsense is no concern of ours.
                timeout(REQUEST, served).await.ok();
                drop(permit);
            });
        }
    })
}

fn answer(request: &Request<Incoming>, status: &Status) -> Response<Full<Bytes>> {
    let health = status.recent();
    let (code, text) = match (request.uri().path(), &health) {
        ("/healthz", Some(_)) => (StatusCode::OK, "ok\n".to_owned()),
        ("/healthz" | "/metrics" | "/readyz", None) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the agent has not begun, or hangs\n".to_owned())
        }
        ("/readyz", Some(health)) => readiness(health),
        ("/metrics", Some(health)) => (StatusCode::OK, metrics(health)),
        _ => (StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let kind = hyper::http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Ready is who writes, and has written something.
fn readiness(health: &Health) -> (StatusCode, String) {
    if !health.is_writable {
        return (StatusCode::SERVICE_UNAVAILABLE, "the file cannot be written\n".to_owned());
    }
    if health.totals.batches == 0 {
        return (StatusCode::SERVICE_UNAVAILABLE, "nothing has been read yet\n".to_owned());
    }
    (StatusCode::OK, "ok\n".to_owned())
}

/// The text format of Prometheus.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
fn metrics(health: &Health) -> String {
    let Health { totals, .. } = health;
    let flag = u64::from;
    let mut out = String::new();
    for (name, kind, help, value) in [
        ("rows_total", "counter", "Rows written in this run.", totals.rows),
        ("batches_total", "counter", "Batches written in this run.", totals.batches),
        ("losses_total", "counter", "Things missing that the node has, by issues.", totals.losses),
        ("dropped_rows_total", "counter", "Rows dropped for want of room.", totals.dropped_rows),
        ("masked_total", "counter", "Secrets masked in this run.", totals.masked),
        ("files_sealed_total", "counter", "Files sealed by this process.", health.sealed),
        ("files_exported_total", "counter", "Files exported by this process.", health.exported),
        ("export_failures_total", "counter", "Exports that failed.", health.export_failures),
        ("folder_bytes", "gauge", "Size of the agent's folder.", health.folder_bytes),
        ("writable", "gauge", "1 if the file can be written.", flag(health.is_writable)),
        ("complete", "gauge", "1 if everything was read once.", flag(health.is_complete)),
        ("logs_paused", "gauge", "1 if no logs are read.", flag(health.logs_are_paused)),
    ] {
        metric(&mut out, name, kind, help);
        let _ = writeln!(out, "periscope_{name} {value}");
    }
    if let Some(free) = health.free_bytes {
        metric(&mut out, "free_bytes", "gauge", "Room on the file system of the folder.");
        let _ = writeln!(out, "periscope_free_bytes {free}");
    }
    metric(&mut out, "collector_rows", "gauge", "Rows of the collector's last poll.");
    for collector in &health.collectors {
        let name = collector.name;
        let _ =
            writeln!(out, "periscope_collector_rows{{collector=\"{name}\"}} {}", collector.rows);
    }
    metric(&mut out, "collector_outcome", "gauge", "1 for how the collector's last poll went.");
    for collector in &health.collectors {
        if let Some(outcome) = collector.outcome {
            let (name, outcome) = (collector.name, outcome.as_str());
            let labels = format!("{{collector=\"{name}\",outcome=\"{outcome}\"}}");
            let _ = writeln!(out, "periscope_collector_outcome{labels} 1");
        }
    }
    out
}

fn metric(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP periscope_{name} {help}\n# TYPE periscope_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        let collector = |name, outcome| CollectorHealth { name, outcome, rows: 3 };
        Health {
            totals: Totals { rows: 12, batches: 2, ..Totals::default() },
            collectors: vec![collector("a", Some(Outcome::Failed)), collector("b", None)],
            is_writable: true,
            free_bytes: Some(5),
            ..Health::default()
        }
    }

    #[test]
    fn metrics_are_what_prometheus_reads() {
        insta::assert_snapshot!(metrics(&health()));
    }

    #[test]
    fn ready_is_who_writes() {
        let code = |health: &Health| readiness(health).0.as_u16();
        assert_eq!(code(&health()), 200);
        assert_eq!(code(&Health { is_writable: false, ..health() }), 503);
        assert_eq!(code(&Health { totals: Totals::default(), ..health() }), 503);
    }
}
