//! A WebSocket's loop: one task per connection.
//!
//! Owns: the batches under way, the credits, pings, the end. Never: reads a message whose bytes the budget has
//! not taken, beyond [`FREE_BYTES`]; ends while an answer is due, unless the client is gone.

use super::message::{self, Batch};
use super::valve::{Allowance, Valve};
use super::{PATH, Upgrade, WebSocketLimits};
use crate::accept::Phase;
use crate::body::Encoding;
use crate::delivery::{Accepted, Delivery, Edge, Manner, Share, heard};
use crate::meters::{Cut, Protocol};
use crate::problem::{Kind, Problem};
use crate::stall::WriteStall;
use bytes::Bytes;
use evenkeel_auth::Credential;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, SinkExt};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tracing::Span;

/// Read buffer of a connection: the library's default of 128 KiB would be most of what an idle one costs.
const BUFFER_BYTES: usize = 4 * 1024;
/// What a message may take before it is charged to the budget: an idle connection costs nothing there.
const FREE_BYTES: usize = 4 * 1024;
/// How much a message may take more per question to the budget.
const STEP_BYTES: usize = 64 * 1024;

type Socket = WebSocketStream<Valve<WriteStall>>;
type Answering = Pin<Box<dyn Future<Output = (u64, Result<Accepted, Problem>)> + Send>>;

/// Makes the connection a WebSocket. `None` = there is none any more.
pub(crate) async fn open(edge: Arc<Edge>, upgrade: Upgrade) -> Option<Session> {
    let Upgrade { on, credential } = upgrade;
    let upgraded = on.await;
    let upgraded = upgraded
        .inspect_err(|error| tracing::debug!(%error, "the connection ended before it was a WebSocket"))
        .ok()?;
    // The bare stream again, so that HTTP's buffers go.
    let parts = upgraded.downcast::<TokioIo<WriteStall>>().ok()?;
    let limits = edge.web_socket;
    let allowance = Allowance::new(FREE_BYTES);
    let stream = Valve::new(parts.io.into_inner(), Arc::clone(&allowance));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.credits.saturating_mul(STEP_BYTES).max(STEP_BYTES))
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.message_bytes_max));
    let socket =
        WebSocketStream::from_partially_read(stream, parts.read_buf.to_vec(), Role::Server, Some(config))
            .await;
    Some(Session {
        _open: Open::new(&edge),
        credential,
        limits,
        socket,
        allowance,
        share: None,
        under_way: FuturesUnordered::new(),
        heard: Instant::now(),
        pinged: false,
        changes: edge.auth.changes(),
        edge,
    })
}

/// A WebSocket that is counted as open.
struct Open(Arc<Edge>);

impl Open {
    fn new(edge: &Arc<Edge>) -> Self {
        edge.meters.web_socket_opened();
        Self(Arc::clone(edge))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meters.web_socket_closed();
    }
}

/// One connection that is a WebSocket.
pub(crate) struct Session {
    edge: Arc<Edge>,
    _open: Open,
    credential: Arc<Credential>,
    limits: WebSocketLimits,
    socket: Socket,
    allowance: Arc<Allowance>,
    /// What the message being read has taken of the budget.
    share: Option<(Share, usize)>,
    under_way: FuturesUnordered<Answering>,
    heard: Instant,
    pinged: bool,
    /// Told when credentials change.
    changes: watch::Receiver<u64>,
}

/// What happened next.
enum Happened {
    Answered(u64, Result<Accepted, Problem>),
    Read(Option<Result<Message, Error>>),
    /// The message being read needs more room.
    Wanted,
    Refused(Problem),
    Silent,
    Draining,
    /// The credential is worth nothing any more, and why.
    Lapsed(&'static str),
}

impl Session {
    /// Serves it until its end.
    pub(crate) async fn serve(mut self, phases: watch::Receiver<Phase>) {
        if let Err(error) = self.run(phases).await {
            if matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut) {
                self.edge.meters.cut(Cut::WriteStalled);
            }
            tracing::debug!(%error, "WebSocket ended");
        }
    }

    async fn run(&mut self, mut phases: watch::Receiver<Phase>) -> Result<(), Error> {
        self.say(message::hello(self.limits.credits, self.limits.message_bytes_max)).await?;
        let mut draining = false;
        loop {
            if draining && self.under_way.is_empty() {
                return self.close(CloseCode::Restart, "the server is shutting down").await;
            }
            match self.next(&mut phases, draining).await {
                Happened::Answered(id, outcome) => {
                    self.count(&outcome);
                    self.say(message::answer(id, &outcome)).await?;
                }
                Happened::Read(None | Some(Err(Error::ConnectionClosed))) => return Ok(()),
                Happened::Read(Some(Err(error))) => return self.unreadable(error).await,
                Happened::Read(Some(Ok(message))) => {
                    (self.heard, self.pinged) = (Instant::now(), false);
                    let share = self.share.take();
                    self.allowance.set(FREE_BYTES);
                    // Also here: what was read in the same moment must not slip through.
                    if let Err(why) = self.edge.auth.check(&self.credential, (self.edge.now_ms)()) {
                        return self.lapsed(why).await;
                    }
                    if let Some(end) = self.message(message, share, draining).await? {
                        return self.close(end.0, end.1).await;
                    }
                }
                Happened::Wanted => {
                    if let Err(problem) = self.make_room().await {
                        return self.give_up(problem).await;
                    }
                }
                Happened::Refused(problem) => return self.give_up(problem).await,
                Happened::Lapsed(why) => return self.lapsed(why).await,
                Happened::Silent if self.pinged => {
                    self.edge.meters.cut(Cut::Silent);
                    return self
                        .close(CloseCode::Away, "nothing was heard, not even the answer to a ping")
                        .await;
                }
                Happened::Silent => {
                    self.pinged = true;
                    self.socket.send(Message::Ping(Bytes::new())).await?;
                }
                Happened::Draining => {
                    draining = true;
                    self.say(message::drain(1_000)).await?;
                }
            }
        }
    }

    async fn next(&mut self, phases: &mut watch::Receiver<Phase>, draining: bool) -> Happened {
        let silent_at = self.heard + self.limits.ping_every * if self.pinged { 2 } else { 1 };
        let refused = async {
            match &mut self.share {
                Some((share, _)) => share.refusal().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((id, outcome)) = self.under_way.next() => Happened::Answered(id, outcome),
            read = self.socket.next() => Happened::Read(read),
            () = self.allowance.wanted() => Happened::Wanted,
            problem = refused => Happened::Refused(problem),
            () = sleep_until(silent_at) => Happened::Silent,
            _ = phases.wait_for(|phase| *phase >= Phase::Draining), if !draining => Happened::Draining,
            why = self.edge.lapse(&self.credential, &mut self.changes) => Happened::Lapsed(why),
        }
    }

    /// The budget takes the next step of the message being read.
    async fn make_room(&mut self) -> Result<(), Problem> {
        self.share = Some(match self.share.take() {
            None => {
                let bytes = FREE_BYTES + STEP_BYTES;
                (Share::open(&self.edge, &self.credential, bytes as u64).await?, bytes)
            }
            Some((mut share, bytes)) => {
                share.reach((bytes + STEP_BYTES) as u64).await?;
                (share, bytes + STEP_BYTES)
            }
        });
        self.allowance.set(STEP_BYTES);
        Ok(())
    }

    /// One message; `Some` = the connection ends, and how.
    async fn message(
        &mut self,
        message: Message,
        share: Option<(Share, usize)>,
        draining: bool,
    ) -> Result<Option<(CloseCode, &'static str)>, Error> {
        let read = match message {
            Message::Text(text) => message::text(&Bytes::from(text)),
            Message::Binary(bytes) => message::binary(bytes),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_) => return Ok(None),
        };
        let batch = match read {
            Ok(batch) => batch,
            Err(problem) => {
                self.edge.meters.answered(Protocol::WebSocket, problem.kind.status());
                self.say(message::refusal(None, &problem)).await?;
                return Ok(None);
            }
        };
        if self.under_way.len() >= self.limits.credits {
            self.edge.meters.answered(Protocol::WebSocket, hyper::StatusCode::TOO_MANY_REQUESTS);
            return Ok(Some((CloseCode::Policy, "more batches without an answer than `credits`")));
        }
        if draining {
            let problem = Problem {
                retry_after_ms: Some(1_000),
                ..Problem::new(Kind::Draining, "the server is shutting down")
            };
            self.say(message::refusal(Some(batch.id), &problem)).await?;
            return Ok(None);
        }
        let (edge, credential) = (Arc::clone(&self.edge), Arc::clone(&self.credential));
        let share = share.map(|(share, _)| share);
        let answering = async move { (batch.id, deliver(&edge, &credential, share, batch).await) };
        self.under_way.push(answering.boxed());
        Ok(None)
    }

    fn count(&self, outcome: &Result<Accepted, Problem>) {
        let status = outcome.as_ref().map_or_else(|problem| problem.kind.status(), |_| hyper::StatusCode::OK);
        self.edge.meters.answered(Protocol::WebSocket, status);
    }

    async fn say(&mut self, text: String) -> Result<(), Error> {
        self.socket.send(Message::text(text)).await
    }

    /// The budget or a deadline refuses the message being read: it cannot be skipped, so the connection ends.
    async fn give_up(&mut self, problem: Problem) -> Result<(), Error> {
        self.edge.meters.answered(Protocol::WebSocket, problem.kind.status());
        self.say(message::refusal(None, &problem)).await?;
        let slow = problem.kind == Kind::SlowBody;
        if slow {
            self.edge.meters.cut(Cut::SlowBody);
        }
        let code = if slow { CloseCode::Policy } else { CloseCode::Again };
        self.close(code, problem.kind.title()).await
    }

    /// The credential is worth nothing any more.
    async fn lapsed(&mut self, why: &'static str) -> Result<(), Error> {
        self.edge.meters.cut(Cut::Lapsed);
        self.close(CloseCode::Policy, why).await
    }

    async fn unreadable(&mut self, error: Error) -> Result<(), Error> {
        let code = match &error {
            Error::Capacity(_) => CloseCode::Size,
            Error::Utf8(_) => CloseCode::Invalid,
            Error::Protocol(_) => CloseCode::Protocol,
            _ => return Err(error),
        };
        self.close(code, "the message breaks a limit or the protocol").await
    }

    /// Answers what is under way, then says goodbye.
    async fn close(&mut self, code: CloseCode, reason: &'static str) -> Result<(), Error> {
        while let Some((id, outcome)) = self.under_way.next().await {
            self.count(&outcome);
            self.say(message::answer(id, &outcome)).await?;
        }
        let frame = CloseFrame { code, reason: reason.into() };
        self.socket.close(Some(frame)).await?;
        self.allowance.set(FREE_BYTES);
        let goodbye = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        Ok(())
    }
}

/// How long the client's own goodbye is awaited, so that it can read ours.
const GOODBYE: Duration = Duration::from_millis(500);

async fn deliver(
    edge: &Edge,
    credential: &Credential,
    share: Option<Share>,
    batch: Batch,
) -> Result<Accepted, Problem> {
    let span = edge.hearing(Protocol::WebSocket, &PATH, batch.trace.as_ref());
    let delivered = take(edge, credential, share, batch, span.clone()).await;
    heard(span, &delivered);
    delivered
}

/// The same, within the span of the batch.
async fn take(
    edge: &Edge,
    credential: &Credential,
    share: Option<Share>,
    batch: Batch,
    span: Option<Span>,
) -> Result<Accepted, Problem> {
    let share = match share {
        Some(share) => share,
        None => Share::open(edge, credential, batch.body.len() as u64).await?,
    };
    let manner = Manner {
        protocol: Protocol::WebSocket,
        format: batch.format,
        encoding: Encoding::Plain,
        credential,
        stream_id: None,
    };
    let mut delivery = Delivery::begin(edge, share, manner);
    delivery.within(span);
    delivery.take(batch.body).await?;
    delivery.finish(batch.trace).await
}
