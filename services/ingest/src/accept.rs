//! The accept loop: connections in, a bounded number of them, each with its timeouts.
//!
//! Owns: the listener, every connection's task, also after it has become a WebSocket. Never: a connection
//! that waits for ever: the head of the next request has `head-timeout` (waiting for it included), a body has the driver's deadline, an answer
//! nobody reads has `write-timeout`. HTTP/1.1 only: devices speak it, and it has a timer for slow heads.
//! Bound: past `connections-max` nothing is accepted, and never faster than the ramp says; clients wait in the
//! kernel's backlog.

use crate::delivery::Edge;
use crate::http::{ReplyBody, answer};
use crate::meters::{Cut, Protocol};
use crate::ramp::{Ramp, RampLimits};
use crate::stall::WriteStall;
use crate::ws::{self, Upgrade};
use evenkeel_auth::Transport;
use evenkeel_auth::{HandshakeError, Peer, Tls};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// Serves HTTP until the phase is `Closing` and the connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    (limits, ramp): (ConnectionLimits, RampLimits),
    phase: watch::Receiver<Phase>,
) {
    let converse = |accepted| converse(Arc::clone(&edge), limits, accepted, phase.clone());
    listen(listener, &edge, Protocol::Http, (limits.connections_max, ramp), phase.clone(), converse).await;
}

/// The loop of a listener: accepts until the drain, then waits for `Closing` and for the end of the connections.
/// `converse` is one of them, from its handshake on.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    edge: &Edge,
    protocol: Protocol,
    (connections_max, ramp): (usize, RampLimits),
    mut phase: watch::Receiver<Phase>,
    converse: impl Fn(Accepted) -> F,
) {
    let mut pace = Pace::new(ramp);
    let turns = edge.tls.as_ref().map(Tls::turns);
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => {
                edge.meters.connections(protocol, connections.len());
                continue;
            }
            accepted = accept(&listener, (&room, turns.as_ref()), edge, &mut pace) => accepted,
        };
        let Some(accepted) = accepted else { continue };
        connections.spawn(converse(accepted));
        edge.meters.connections(protocol, connections.len());
    }
    drop(listener);
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    let closing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_TIME, closing).await.is_err() {
        let protocol = protocol.name();
        tracing::warn!(protocol, "connections were cut: their clients did not read the last answer");
    }
    connections.shutdown().await;
    edge.meters.connections(protocol, 0);
}

/// One connection from its handshake to its end.
async fn converse(
    edge: Arc<Edge>,
    limits: ConnectionLimits,
    accepted: Accepted,
    phases: watch::Receiver<Phase>,
) {
    let Accepted { stream, permit, turn } = accepted;
    let Some((transport, peer)) = shake(&edge, stream, turn, phases.clone()).await else { return };
    let peer = peer.map(Arc::new);
    let io = TokioIo::new(WriteStall::new(transport, limits.write_timeout));
    // Where a request that asks for a WebSocket leaves it, for when HTTP has let go of the connection.
    let upgraded: Arc<Mutex<Option<Upgrade>>> = Arc::default();
    let (shared, slot) = (Arc::clone(&edge), Arc::clone(&upgraded));
    let service = service_fn(move |request| {
        let (edge, slot, peer) = (Arc::clone(&shared), Arc::clone(&slot), peer.clone());
        // In a box, because HTTP keeps room for it as long as the connection lives: an idle one has no request.
        Box::pin(async move {
            let (response, upgrade) = answer(&edge, request, peer.as_deref()).await;
            if upgrade.is_some() {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = upgrade;
            }
            Ok::<_, Infallible>(response)
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max)
        .max_headers(limits.headers_max)
        .serve_connection(io, service)
        .with_upgrades();
    // Each stage in a box of its own, so that what is over takes no room while the next one idles for hours.
    Box::pin(http_to_its_end(&edge, connection, phases.clone())).await;
    let upgrade = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade
        && let Some(session) = Box::pin(ws::open(edge, upgrade)).await
    {
        Box::pin(session.serve(phases)).await;
    }
    drop(permit);
}

/// The handshake, where there is TLS. `None` = there is no connection.
pub(crate) async fn shake(
    edge: &Edge,
    stream: TcpStream,
    turn: Option<OwnedSemaphorePermit>,
    mut phases: watch::Receiver<Phase>,
) -> Option<(Transport, Option<Peer>)> {
    let (Some(tls), Some(turn)) = (&edge.tls, turn) else { return Some((Transport::Plain(stream), None)) };
    let shaken = tokio::select! {
        shaken = Box::pin(tls.accept(stream, turn)) => shaken,
        _ = phases.wait_for(|phase| *phase >= Phase::Closing) => return None,
    };
    match shaken {
        Ok((stream, peer)) => Some((Transport::Tls(Box::new(stream)), peer)),
        Err(error) => {
            let slow = matches!(error, HandshakeError::Slow);
            edge.meters.cut(if slow { Cut::HandshakeSlow } else { Cut::HandshakeFailed });
            tracing::debug!(%error, "no connection");
            None
        }
    }
}

/// Serves HTTP until the client goes, the connection becomes something else, or the phase is `Closing`.
async fn http_to_its_end<S>(edge: &Edge, connection: Http<S>, mut phases: watch::Receiver<Phase>)
where
    S: HttpService<Incoming, ResBody = ReplyBody, Error = Infallible>,
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
        let stalled = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        if stalled.is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut) {
            edge.meters.cut(Cut::WriteStalled);
        } else if error.is_timeout() {
            edge.meters.cut(Cut::SlowHead);
        }
        tracing::debug!(%error, "connection ended");
    }
}

type Http<S> = http1::UpgradeableConnection<TokioIo<WriteStall>, S>;

/// The ramp, with the clock and the signs of pressure that it does not know.
struct Pace {
    ramp: Ramp,
    begun: Instant,
    refused: u64,
}

/// A timer that is so late says that the tasks of clients wait as long.
const LATE: Duration = Duration::from_millis(100);

impl Pace {
    fn new(limits: RampLimits) -> Self {
        Self { ramp: Ramp::new(limits, 0), begun: Instant::now(), refused: 0 }
    }

    /// Waits until the next connection has its turn. Cancel-safe.
    async fn turn(&mut self, edge: &Edge) {
        let mut late = false;
        loop {
            let refused = edge.refused.load(Ordering::Relaxed);
            let pressed = late || refused > self.refused;
            self.refused = refused;
            let now_ms = self.now_ms();
            self.ramp.look(now_ms, pressed);
            edge.meters.accept_rate(self.ramp.per_s());
            let wait = Duration::from_millis(self.ramp.wait_ms(now_ms));
            if wait.is_zero() {
                return;
            }
            let due = Instant::now() + wait;
            tokio::time::sleep_until(due).await;
            late = due.elapsed() > LATE;
        }
    }

    fn accepted(&mut self) {
        let now_ms = self.now_ms();
        self.ramp.accepted(now_ms);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A connection, its place among `connections-max`, and its turn for a handshake.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// The next connection, once there is room for it. Cancel-safe.
async fn accept(
    listener: &TcpListener,
    (room, turns): (&Arc<Semaphore>, Option<&Arc<Semaphore>>),
    edge: &Edge,
    pace: &mut Pace,
) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    pace.turn(edge).await;
    let turn = match turns {
        Some(turns) => Some(Arc::clone(turns).acquire_owned().await.ok()?),
        None => None,
    };
    match listener.accept().await {
        Ok((stream, _)) => {
            pace.accepted();
            let _ = stream.set_nodelay(true); // an answer is one small write; without it, it may wait
            Some(Accepted { stream, permit, turn })
        }
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
