//! Admin HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Owns: its own listener, apart from the service's. Never: anything a client can hold on to: a slow head, a
//! slow reader and a crowd are cut off; request bodies are not read; each connection answers once.

use crate::drain::Drain;
use crate::health::{Health, Report};
use crate::units::PositiveMs;
use axum::body::Body;
use evenkeel_telemetry::Metrics;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest request head, bytes (the least the HTTP library takes).
const HEAD_BYTES_MAX: usize = 8192;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// The pause after an accept failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where and how the admin endpoints listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port; port 0 = any free one.
    pub listen: SocketAddr,
    /// Time a client has to send its request's head.
    pub header_timeout: PositiveMs,
    /// Time a connection may last, all in all.
    pub connection_timeout: PositiveMs,
    /// Most connections at a time; more wait in the kernel's queue.
    pub connections_max: NonZeroU16,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("admin HTTP cannot listen on {listen}: {source}; free the port or set process.admin.listen")]
pub struct AdminError {
    /// The address.
    pub listen: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// A bound listener, not serving yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    config: AdminConfig,
    answers: Arc<Answers>,
}

#[derive(Debug)]
struct Answers {
    health: Health,
    metrics: Metrics,
    drain: Drain,
}

impl Admin {
    /// Binds the listener.
    pub async fn bind(
        config: &AdminConfig,
        health: Health,
        metrics: Metrics,
        drain: Drain,
    ) -> Result<Self, AdminError> {
        let failed = |source| AdminError { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let answers = Arc::new(Answers { health, metrics, drain });
        Ok(Self { listener, address, config: config.clone(), answers })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever: also during the drain, whose readiness is "no". Drop the future to stop.
    pub async fn serve(self) -> Infallible {
        let slots = Arc::new(Semaphore::new(self.config.connections_max.get().into()));
        loop {
            // A slot first: beyond `connections-max` nothing is accepted.
            let Ok(slot) = slots.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, slot, self.config.clone(), self.answers.clone()));
                }
                Err(error) => {
                    tracing::warn!(event = "admin.accept", %error, "admin HTTP cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    config: AdminConfig,
    answers: Arc<Answers>,
) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answers.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout.duration())
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(config.connection_timeout.duration(), serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(event = "admin.connection", %error, "an admin connection ended early")
        }
        Err(_) => tracing::debug!(event = "admin.connection", "an admin connection took too long"),
    }
    drop(slot);
}

impl Answers {
    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "allowed: GET, HEAD\n".to_owned());
            refusal.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/livez" => report(self.health.alive()),
            "/readyz" => report(self.ready()),
            "/metrics" => match self.metrics.render() {
                Ok(metrics) => text(StatusCode::OK, metrics),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Report {
        let mut report = self.health.ready();
        if let Some(cause) = self.drain.cause() {
            report.well = false;
            report.lines.push(format!("fail drain: the process is ending ({cause})"));
        }
        report
    }
}

fn report(report: Report) -> Response<Body> {
    let status = if report.well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = String::from(if report.well { "ok\n" } else { "fail\n" });
    for line in report.lines {
        body.push_str(&line);
        body.push('\n');
    }
    text(status, body)
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let form = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
