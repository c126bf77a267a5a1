//! The accept loop: connections in, a bounded number of them.
//!
//! Owns: the listener, every connection's task, also after it has become a WebSocket. Bound: past `connections-max`
//! nothing is accepted; clients wait in the kernel's backlog.

use crate::http::{Body, answer};
use crate::server::Server;
use crate::session::{Phase, Upgrade, serve};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Settings of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) head_bytes_max: usize,
    pub(crate) unsent_bytes_max: u32,
}

/// How long the last words may take at the very end.
const CLOSING_TIME: Duration = Duration::from_secs(2);
/// Pause after accept fails (out of file descriptors): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most header lines in a head.
const HEADERS_MAX: usize = 64;

/// Serves until the phase is `Closing` and the connections have ended.
pub(crate) async fn listen(
    listener: TcpListener,
    shared: Arc<Server>,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (shared, phases) = (Arc::clone(&shared), phase.clone());
        connections.spawn(async move {
            converse(shared, limits, stream, phases).await;
            drop(permit);
        });
    }
    drop(listener);
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    let closing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_TIME, closing).await.is_err() {
        tracing::warn!("connections were cut: their clients did not read the last message");
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it. Cancel-safe.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn converse(
    shared: Arc<Server>,
    limits: Limits,
    stream: TcpStream,
    mut phases: watch::Receiver<Phase>,
) {
    let _ = stream.set_nodelay(true); // a frame is one small write; without it, it may wait
    // Where the system does not know the option, frames wait in the kernel, older than they could be.
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(limits.unsent_bytes_max);
    let upgraded: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let (slot, edge, waiting) = (Arc::clone(&upgraded), Arc::clone(&shared), phases.clone());
    let service = service_fn(move |mut request| {
        let (slot, edge, phases) = (Arc::clone(&slot), Arc::clone(&edge), waiting.clone());
        Box::pin(async move {
            let (response, upgrade) = answer(&edge, &mut request, phases);
            if upgrade.is_some() {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
            }
            Ok::<hyper::Response<Body>, Infallible>(response)
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = phases.wait_for(|phase| *phase >= Phase::Closing) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    let upgrade = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade {
        Box::pin(serve(shared, upgrade, phases)).await;
    }
}
