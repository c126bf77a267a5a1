//! A WebSocket's loop: one task per connection.
//!
//! Owns: the order of its messages, pings, time-outs, the end. Never: holds data: what is to be written is asked of the
//! hall when the socket has taken the last. While it has not, messages of the client are read all the same.

use crate::protocol::{Broken, Message, read, write};
use crate::server::Server;
use crate::standing::{End, Standing};
use evenkeel_auth::{Credential, Peer, Transport};
use evenkeel_fanout::{Close, ConnectionId, Control, Format, Painted};
use futures::{Sink, Stream, StreamExt};
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message as Ws, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

/// Read buffer of a connection: what clients say is short, and the library's default of 128 KiB would be most of what
/// an idle one costs.
const BUFFER_BYTES: usize = 1024;
/// How long the client's own goodbye is awaited, so that it can read ours.
const GOODBYE: Duration = Duration::from_millis(500);
/// What a client sees of a connection that broke; never sent.
const GONE: u16 = 1006;
/// How long after its time in a drain a client is closed.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<Transport>;

/// A connection that becomes a WebSocket once its answer 101 is written.
pub(crate) struct Upgrade {
    pub(crate) on: hyper::upgrade::OnUpgrade,
    /// `None` = no subprotocol in common: it is closed at once, with the code that says so.
    pub(crate) format: Option<Format>,
    pub(crate) same_origin: bool,
    /// The header, where the client can set one.
    pub(crate) authorization: Option<Box<[u8]>>,
    /// Whose certificate it showed.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// How far the shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    /// Accepting.
    Open,
    /// Everybody is told when to come back.
    Draining,
    /// Connections end.
    Closing,
}

/// Serves one connection until its end.
pub(crate) async fn serve(shared: Arc<Server>, upgrade: Upgrade, phases: watch::Receiver<Phase>) {
    let Upgrade { on, format, same_origin, authorization, peer } = upgrade;
    let Ok(upgraded) = on.await else { return };
    // The bare stream again, so that HTTP's buffers go.
    let Ok(parts) = upgraded.downcast::<TokioIo<Transport>>() else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(shared.terms.message_bytes_max))
        .max_frame_size(Some(shared.terms.message_bytes_max));
    let stream = parts.io.into_inner();
    let mut socket =
        WebSocketStream::from_partially_read(stream, parts.read_buf.to_vec(), Role::Server, Some(config))
            .await;
    let Some(format) = format else {
        return goodbye(&mut socket, (4505, "offer evenkeel.v1.json or evenkeel.v1.cbor".into()), &shared)
            .await;
    };
    if !same_origin {
        return goodbye(
            &mut socket,
            (4503, "pages of this origin may not connect; see gateway.origins".into()),
            &shared,
        )
        .await;
    }
    let (id, notify) = shared.connect(format);
    let now = Instant::now();
    let mut session = Session {
        guard: Guard { shared: Arc::clone(&shared), id },
        notify,
        format,
        socket,
        standing: Standing::new(authorization, peer),
        changes: shared.auth.changes(),
        writing: None,
        heard: now,
        pinged: false,
        begun: now,
        leave_at: None,
    };
    let name = format!("{}-{}", shared.instance, id.number());
    let ended = session.run(&shared, phases, &name).await;
    let Session { mut socket, guard, .. } = session;
    drop(guard);
    if let Some(end) = ended {
        goodbye(&mut socket, end, &shared).await;
    }
}

/// Takes the connection out of the hall, however it ends.
struct Guard {
    shared: Arc<Server>,
    id: ConnectionId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.disconnect(self.id);
    }
}

struct Session {
    guard: Guard,
    notify: Arc<Notify>,
    format: Format,
    socket: Socket,
    /// Who looks.
    standing: Standing,
    /// Told when credentials were taken away.
    changes: watch::Receiver<u64>,
    /// Something is on its way out since then.
    writing: Option<Instant>,
    heard: Instant,
    pinged: bool,
    begun: Instant,
    /// In a drain: when it is to be gone.
    leave_at: Option<Instant>,
}

/// What happened next.
enum Happened {
    Woken,
    Flushed(Result<(), Error>),
    Read(Option<Result<Ws, Error>>),
    Time,
    Phase(Phase),
    Credentials,
}

impl Session {
    /// Until it ends; what is to be said of that, if the client can still hear it. (By reference: a future keeps a
    /// second copy of what is moved into it, for every connection.)
    async fn run(
        &mut self,
        shared: &Arc<Server>,
        mut phases: watch::Receiver<Phase>,
        name: &str,
    ) -> Option<End> {
        let mut known = Phase::Open;
        loop {
            let happened = self.next(&mut phases, known, shared).await;
            let end = match happened {
                Happened::Woken => self.collect(shared, name),
                Happened::Flushed(Ok(())) => {
                    self.writing = None;
                    let more = shared.hall().fanout.written(self.guard.id);
                    if more { self.collect(shared, name) } else { Ok(()) }
                }
                Happened::Flushed(Err(_)) | Happened::Read(None | Some(Err(Error::ConnectionClosed))) => {
                    return None;
                }
                Happened::Read(Some(Err(error))) => Err(unreadable(&error)),
                Happened::Read(Some(Ok(message))) => {
                    (self.heard, self.pinged) = (Instant::now(), false);
                    self.message(&message, shared)
                }
                Happened::Time => match self.time(shared) {
                    Some(end) => Err(end),
                    None => Ok(()),
                },
                Happened::Credentials => self.standing.check(shared),
                Happened::Phase(phase) => {
                    known = phase;
                    match phase {
                        Phase::Open => Ok(()),
                        Phase::Draining => self.drain(shared),
                        Phase::Closing => Err((4000, "drained".into())),
                    }
                }
            };
            if let Err(end) = end {
                shared.meters.closed(end.0);
                // What waits for a socket that takes nothing cannot be said.
                let stuck = self.writing.is_some_and(|since| since.elapsed() > shared.timing.write);
                return (end.0 != GONE && !stuck).then_some(end);
            }
        }
    }

    async fn next(&mut self, phases: &mut watch::Receiver<Phase>, known: Phase, shared: &Server) -> Happened {
        let due = self.due(shared);
        let socket = &mut self.socket;
        let writing = self.writing.is_some();
        let io = std::future::poll_fn(|cx| poll_io(socket, writing, cx));
        tokio::select! {
            biased;
            happened = io => happened,
            () = self.notify.notified(), if !writing => Happened::Woken,
            () = sleep_until(due) => Happened::Time,
            Ok(phase) = phases.wait_for(|phase| *phase > known) => Happened::Phase(*phase),
            Ok(()) = self.changes.changed() => Happened::Credentials,
        }
    }

    /// When something is to be done if nothing happens.
    fn due(&self, shared: &Server) -> Instant {
        let timing = &shared.timing;
        let silent = self.heard + timing.ping * if self.pinged { 2 } else { 1 };
        let writing = self.writing.map(|since| since + timing.write);
        let init = self.standing.credential().is_none().then(|| self.begun + timing.init);
        [Some(silent), writing, init, self.leave_at, self.standing.due(shared)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(silent)
    }

    fn time(&mut self, shared: &Server) -> Option<End> {
        let (now, timing) = (Instant::now(), &shared.timing);
        if self.writing.is_some_and(|since| now >= since + timing.write) {
            return Some((4408, "what was written is not read".into()));
        }
        if self.standing.credential().is_none() && now >= self.begun + timing.init {
            return Some((4003, "no connection_init".into()));
        }
        if self.leave_at.is_some_and(|at| now >= at) {
            return Some((4000, "drained".into()));
        }
        match self.standing.time(shared) {
            Err(end) => return Some(end),
            Ok(Some(wanted)) => return self.say(shared, wanted).err(),
            Ok(None) => {}
        }
        if self.pinged && now >= self.heard + timing.ping * 2 {
            return Some((4002, "silent".into()));
        }
        if !self.pinged && now >= self.heard + timing.ping {
            self.pinged = true;
            if self.standing.credential().is_some() {
                return self.say(shared, Control::Ping).err();
            }
        }
        None
    }

    /// Everybody is given a place in the row; the server closes who does not leave.
    fn drain(&mut self, shared: &Server) -> Result<(), End> {
        let wait = shared.drain_turn();
        self.leave_at = Some(Instant::now() + wait + DRAIN_GRACE);
        if self.standing.credential().is_none() {
            return Err((4000, "drained".into()));
        }
        self.say(
            shared,
            Control::Drain { retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) },
        )
    }

    fn say(&mut self, shared: &Server, message: Control) -> Result<(), End> {
        match shared.hall().control(self.guard.id, message) {
            Ok(true) => self.notify.notify_one(),
            Ok(false) => {}
            Err(close) => return Err(end_of(&close)),
        }
        Ok(())
    }

    fn message(&mut self, message: &Ws, shared: &Server) -> Result<(), End> {
        let bytes: &[u8] = match (message, self.format) {
            (Ws::Text(text), Format::Json) => text.as_bytes(),
            (Ws::Binary(bytes), Format::Cbor) => bytes,
            (Ws::Text(_), Format::Cbor) => {
                return Err((4500, "evenkeel.v1.cbor has binary messages only".into()));
            }
            (Ws::Binary(_), Format::Json) => {
                return Err((4500, "evenkeel.v1.json has text messages only".into()));
            }
            _ => return Ok(()),
        };
        let message = read(self.format, bytes).map_err(|Broken(why)| (4500, why))?;
        let Some(credential) = self.standing.credential().cloned() else {
            return match message {
                Message::Init { client, token } => {
                    let ack = self.standing.begin(shared, token)?;
                    tracing::debug!(client, "a session begins");
                    self.say(shared, ack)
                }
                Message::Unknown => Ok(()),
                _ => Err((4500, "the first message is not connection_init".into())),
            };
        };
        self.request(message, &credential, shared)
    }

    /// A message of a session that has begun.
    fn request(&mut self, message: Message, credential: &Credential, shared: &Server) -> Result<(), End> {
        let (id, now) = (self.guard.id, shared.now());
        let answer = match message {
            Message::Init { .. } => return Err((4500, "connection_init twice".into())),
            Message::Subscribe(wishes) if wishes.len() > shared.terms.batch_max => {
                return Err((
                    4500,
                    format!("more than batch_max = {} subscriptions at once", shared.terms.batch_max),
                ));
            }
            Message::Subscribe(wishes) => {
                let ended = shared.hall().subscribe(id, wishes, credential, now);
                shared.stirred.notify_one();
                let ended = ended.map_err(|close| end_of(&close))?;
                (!ended.is_empty()).then_some(Control::Complete(ended))
            }
            Message::Complete(ids) => {
                shared.hall().fanout.complete(id, &ids, now.0);
                None
            }
            Message::Rate(rates) => {
                let mut hall = shared.hall();
                rates.iter().for_each(|(of, max_hz)| hall.fanout.rate(id, *of, *max_hz));
                None
            }
            // Without credentials there is nothing that could run out.
            Message::Refresh { .. } if credential.is_anonymous() => None,
            Message::Refresh { token } => {
                let (credential, taken) = self.standing.refresh(shared, &token)?;
                let ended = shared.hall().judge(id, &credential, now.0);
                if !ended.is_empty() {
                    self.say(shared, Control::Complete(ended))?;
                }
                Some(taken)
            }
            Message::Ping => Some(Control::Pong),
            Message::Pong => None,
            Message::Unknown => {
                shared.meters.unknown_message();
                None
            }
        };
        answer.map_or(Ok(()), |answer| self.say(shared, answer))
    }

    /// Asks the hall what there is to write, and begins to.
    fn collect(&mut self, shared: &Server, name: &str) -> Result<(), End> {
        let (now_ms, wall_ms) = shared.now();
        let painted = shared.hall().collect(self.guard.id, now_ms).map_err(|close| end_of(&close))?;
        let Painted { controls, fragments } = painted;
        if controls.is_empty() && fragments.is_empty() {
            return Ok(());
        }
        self.writing = Some(Instant::now());
        for control in &controls {
            let bytes = write::control(self.format, control, (name, wall_ms), &shared.terms);
            self.feed(bytes)?;
        }
        if !fragments.is_empty() {
            shared.meters.painted(&fragments);
            self.feed(write::next(self.format, wall_ms, &fragments))?;
        }
        Ok(())
    }

    /// Gives a message to the socket's buffer; it leaves while the loop goes on.
    fn feed(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        let message = match self.format {
            Format::Cbor => Ws::Binary(bytes.into()),
            Format::Json => Ws::Text(Utf8Bytes::try_from(bytes).map_err(|error| (4499, error.to_string()))?),
        };
        match Pin::new(&mut self.socket).start_send(message) {
            // What the socket did not take is in the buffer; the loop flushes it.
            Ok(()) => Ok(()),
            Err(error) => Err((4499, error.to_string())),
        }
    }
}

/// Writes what waits, and reads.
fn poll_io(socket: &mut Socket, writing: bool, cx: &mut Context<'_>) -> Poll<Happened> {
    if writing && let Poll::Ready(flushed) = Pin::new(&mut *socket).poll_flush(cx) {
        return Poll::Ready(Happened::Flushed(flushed));
    }
    Pin::new(socket).poll_next(cx).map(Happened::Read)
}

fn end_of(close: &Close) -> End {
    match close {
        Close::TooSlow(_) => (4408, close.to_string()),
        Close::IdInUse(_) => (4500, close.to_string()),
        Close::Gone => (4499, close.to_string()),
    }
}

fn unreadable(error: &Error) -> End {
    match error {
        Error::Capacity(_) => (4500, "a message is larger than message_max".into()),
        Error::Utf8(_) | Error::Protocol(_) => (4500, "the frames break the protocol of WebSocket".into()),
        _ => (GONE, String::new()),
    }
}

/// Says why, and waits a moment for the client to have read it.
async fn goodbye(socket: &mut Socket, (code, reason): End, shared: &Server) {
    let mut reason = reason;
    while reason.len() > 120 {
        reason.pop(); // a close frame has room for 123 bytes
    }
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = tokio::time::timeout(GOODBYE.min(shared.timing.write), closing).await;
}
