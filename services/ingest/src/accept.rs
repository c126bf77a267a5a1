//! The accept loop: connections in, a bounded number of them, each with its timeouts.
//!
//! Owns: the listener, every connection's task, also after it has become a WebSocket. Never: a connection
//! that waits for ever: the head of the next request has `head-timeout` (waiting for it included), a body has the driver's deadline, an answer
//! nobody reads has `write-timeout`. HTTP/1.1 only: devices speak it, and it has a timer for slow heads.
//! Bound: past `connections-max` nothing is accepted; clients wait in the kernel's backlog.

use crate::delivery::Edge;
use crate::http::answer;
use crate::meters::Protocol;
use crate::stall::WriteStall;
use crate::ws::{self, Upgrade};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Settings of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) connections_max: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) head_bytes_max: usize,
    pub(crate) headers_max: usize,
}

/// How far the shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    /// Accepting.
    Open,
    /// No new connections; kept ones are answered 503 by the driver.
    Draining,
    /// Every request has its answer: connections end.
    Closing,
}

/// How long written answers may take to leave at the very end.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// Pause after accept fails (out of file descriptors): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the phase is `Closing` and the connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    limits: ConnectionLimits,
    mut phase: watch::Receiver<Phase>,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => {
                edge.meters.connections(Protocol::Http, connections.len());
                continue;
            }
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let io = TokioIo::new(WriteStall::new(stream, limits.write_timeout));
        // Where a request that asks for a WebSocket leaves it, for when HTTP has let go of the connection.
        let upgraded: Arc<Mutex<Option<Upgrade>>> = Arc::default();
        let (shared, slot) = (Arc::clone(&edge), Arc::clone(&upgraded));
        let service = service_fn(move |request| {
            let (edge, slot) = (Arc::clone(&shared), Arc::clone(&slot));
            async move {
                let (response, upgrade) = answer(&edge, request).await;
                if upgrade.is_some() {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(io, service)
            .with_upgrades();
        let (shared, phases) = (Arc::clone(&edge), phase.clone());
        connections.spawn(async move {
            http_to_its_end(connection, phases.clone()).await;
            let upgrade = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(upgrade) = upgrade {
                ws::serve(shared, upgrade, phases).await;
            }
            drop(permit);
        });
        edge.meters.connections(Protocol::Http, connections.len());
    }
    drop(listener);
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    let closing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_TIME, closing).await.is_err() {
        tracing::warn!("connections were cut: their clients did not read the last answer");
    }
    connections.shutdown().await;
}

/// Serves HTTP until the client goes, the connection becomes something else, or the phase is `Closing`.
async fn http_to_its_end<S>(connection: Http<S>, mut phases: watch::Receiver<Phase>)
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
{
    let mut connection = std::pin::pin!(connection);
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
}

type Http<S> = http1::UpgradeableConnection<TokioIo<WriteStall>, S>;

/// The next connection, once there is room for it. Cancel-safe.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true); // an answer is one small write; without it, it may wait
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
