//! The accept loop: connections in, a bounded number of them.
//!
//! Owns: the listener, every connection's task, also after it has become a WebSocket. Bound: past `connections-max`
//! nothing is accepted; clients wait in the kernel's backlog.

use crate::http::{Body, answer};
use crate::server::Server;
use crate::session::{Phase, Upgrade, serve};
use evenkeel_auth::{HandshakeError, Peer, Tls, Transport};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
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
    let turns = shared.tls.as_ref().map(Tls::turns);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room, turns.as_ref()) => accepted,
        };
        let Some(Accepted { stream, permit, turn }) = accepted else { continue };
        let (shared, phases) = (Arc::clone(&shared), phase.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true); // a frame is one small write; without it, it may wait
            // Where the system does not know the option, frames wait in the kernel, older than they could be.
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(limits.unsent_bytes_max);
            if let Some((transport, peer)) = Box::pin(shake(&shared, stream, turn, phases.clone())).await {
                converse(shared, limits, (transport, peer), phases).await;
            }
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

/// A connection, its place among `connections-max`, and its turn for a handshake.
struct Accepted {
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    turn: Option<OwnedSemaphorePermit>,
}

/// The next connection, once there is room for it. Cancel-safe.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    turns: Option<&Arc<Semaphore>>,
) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    let turn = match turns {
        Some(turns) => Some(Arc::clone(turns).acquire_owned().await.ok()?),
        None => None,
    };
    match listener.accept().await {
        Ok((stream, _)) => Some(Accepted { stream, permit, turn }),
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The handshake, where there is TLS. `None` = there is no connection.
async fn shake(
    shared: &Server,
    stream: TcpStream,
    turn: Option<OwnedSemaphorePermit>,
    mut phases: watch::Receiver<Phase>,
) -> Option<(Transport, Option<Arc<Peer>>)> {
    let (Some(tls), Some(turn)) = (&shared.tls, turn) else { return Some((Transport::Plain(stream), None)) };
    let shaken = tokio::select! {
        shaken = tls.accept(stream, turn) => shaken,
        _ = phases.wait_for(|phase| *phase >= Phase::Closing) => return None,
    };
    match shaken {
        Ok((stream, peer)) => Some((Transport::Tls(Box::new(stream)), peer.map(Arc::new))),
        Err(error) => {
            shared.meters.handshake_failed(matches!(error, HandshakeError::Slow));
            tracing::debug!(%error, "no connection");
            None
        }
    }
}

async fn converse(
    shared: Arc<Server>,
    limits: Limits,
    (stream, peer): (Transport, Option<Arc<Peer>>),
    mut phases: watch::Receiver<Phase>,
) {
    let upgraded: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let (slot, edge, waiting) = (Arc::clone(&upgraded), Arc::clone(&shared), phases.clone());
    let service = service_fn(move |mut request| {
        let (slot, edge, phases) = (Arc::clone(&slot), Arc::clone(&edge), waiting.clone());
        let peer = peer.clone();
        Box::pin(async move {
            let (response, upgrade) = answer(&edge, &mut request, peer, phases);
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
        Some(ended) => {
            drop(connection); // a session idles for hours, and needs nothing of HTTP's
            ended
        }
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
