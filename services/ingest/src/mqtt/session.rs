//! An MQTT connection's loop: one task per connection.
//!
//! Owns: the messages under way, their acknowledgements in the order they came, the keep-alive, the end. Never:
//! reads a packet whose bytes the budget has not taken, beyond the wire's free bytes; acknowledges what may pass
//! later (it ends the connection instead: a client sends again what was not acknowledged, and `seq` makes it
//! single). A message at QoS 0 is taken or counted as refused, and its client never hears of it.
//! Bound: version 5 is told `receive-max`, and one that ignores it is cut; from version 3.1.1, and from anybody at
//! QoS 0, nothing is read while so many messages are under way.

use super::Shared;
use super::connect::{Asked, UNKNOWN_VERSION, Unwelcome};
use super::message::{Carrier, Published, deliver, passes_later};
use super::reply::{self, Manners};
use super::table::Claim;
use super::wire::{Taken, Wire};
use crate::accept::Phase;
use crate::delivery::{Accepted, Share};
use crate::meters::{Cut, Protocol};
use crate::problem::{Kind, Problem};
use crate::stall::WriteStall;
use evenkeel_auth::Credential;
use evenkeel_auth::Peer;
use evenkeel_auth::Transport;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use hyper::StatusCode;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::connection::role::Server;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the client's own goodbye is awaited, so that it can read ours.
const GOODBYE: Duration = Duration::from_millis(500);

/// First byte of a CONNECT.
const CONNECT: u8 = 0x10;

type ServerWire = Wire<Server, WriteStall>;

/// What became of a message.
struct Outcome {
    packet_id: Option<u16>,
    result: Result<Accepted, Problem>,
}

struct Session {
    shared: Arc<Shared>,
    credential: Arc<Credential>,
    manners: Manners,
    wire: ServerWire,
    /// Silence that ends the connection.
    silence: Duration,
    heard: Instant,
    /// What the packet being read has taken of the budget.
    share: Option<Share>,
    under_way: FuturesOrdered<BoxFuture<'static, Outcome>>,
    /// Of those, how many nobody waits for.
    at_qos_0: usize,
    /// Told when credentials change.
    changes: watch::Receiver<u64>,
}

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// The client left.
    Gone,
    /// It broke the protocol; the wire has told it what version 5 can tell.
    Broken(MqttError),
    /// We end it.
    Told(DisconnectReasonCode, String),
}

/// What happened next.
enum Happened {
    Done(Outcome),
    Read(io::Result<usize>),
    Refused(Problem),
    Silent,
    Cut,
    Draining,
    /// The credential is worth nothing any more, and why.
    Lapsed(&'static str),
}

/// Serves one connection until its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    (stream, peer): (Transport, Option<Peer>),
    mut phases: watch::Receiver<Phase>,
) {
    let limits = shared.limits;
    let stream = WriteStall::new(stream, limits.write_timeout);
    let mut wire = Wire::new(stream, Version::Undetermined, limits.packet_bytes_max, None);
    let welcomed =
        timeout(limits.connect_timeout, welcome(&shared, &mut wire, peer.as_ref(), &mut phases)).await;
    let (asked, credential, claim) = match welcomed {
        Ok(Ok(Some(welcomed))) => welcomed,
        Ok(Ok(None)) => {
            let _ = timeout(GOODBYE, wire.close()).await;
            return;
        }
        Ok(Err(error)) => return tracing::debug!(%error, "MQTT connection ended before its CONNECT"),
        Err(_) => return tracing::debug!("an MQTT connection without CONNECT within connect-timeout"),
    };
    let silence = asked.keep_alive(&limits) * 3 / 2;
    let session = Session {
        credential,
        manners: asked.manners,
        wire,
        silence,
        heard: Instant::now(),
        share: None,
        under_way: FuturesOrdered::new(),
        at_qos_0: 0,
        changes: shared.edge.auth.changes(),
        shared,
    };
    if let Err(error) = session.run(&claim, phases).await {
        tracing::debug!(%error, "MQTT connection ended");
    }
    claim.leave(Instant::now());
}

/// Reads the CONNECT and answers it; `None` = the client is sent away.
async fn welcome(
    shared: &Shared,
    wire: &mut ServerWire,
    peer: Option<&Peer>,
    phases: &mut watch::Receiver<Phase>,
) -> io::Result<Option<(Asked, Arc<Credential>, Claim)>> {
    let taken = loop {
        match wire.take() {
            Some(taken) => break taken,
            None => tokio::select! {
                read = wire.fill() => {
                    // Anything else is no MQTT: its length would be waited for in vain.
                    if read? == 0 || wire.first().is_some_and(|first| first != CONNECT) {
                        return Ok(None);
                    }
                }
                _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Ok(None),
            },
        }
    };
    let asked = match taken {
        Taken::Packet(packet) => Asked::of(&packet),
        Taken::Broken(MqttError::UnsupportedProtocolVersion) => {
            wire.say_raw(&UNKNOWN_VERSION);
            None
        }
        // Of somebody we do not know yet, no large packet is read.
        Taken::Room(_) | Taken::Broken(_) => None,
    };
    let Some(asked) = asked else {
        wire.flush().await?;
        return Ok(None);
    };
    let judged = match *phases.borrow() {
        Phase::Open => asked.judge(&shared.edge, peer),
        Phase::Draining | Phase::Closing => Err(Unwelcome::Draining),
    };
    let credential = match judged {
        Ok(credential) => credential,
        Err(unwelcome) => {
            shared.edge.meters.answered(Protocol::Mqtt, StatusCode::UNAUTHORIZED);
            say(wire, unwelcome.answer(asked.manners.version))?;
            wire.flush().await?;
            return Ok(None);
        }
    };
    let named = (!asked.client_id.is_empty()).then_some(asked.client_id.as_str());
    let claim = shared.table.claim(&credential.name, named, asked.session, Instant::now());
    say(wire, asked.welcome(&shared.limits, &claim))?;
    wire.flush().await?;
    Ok(Some((asked, credential, claim)))
}

/// Says a packet that we built ourselves: if the protocol does not take it, the connection cannot go on.
fn say(wire: &mut ServerWire, packet: Result<Packet, MqttError>) -> io::Result<()> {
    let said = packet.and_then(|packet| wire.say(packet));
    said.map_err(|error| io::Error::other(format!("an answer cannot be said: {error:?}")))
}

impl Session {
    async fn run(mut self, claim: &Claim, mut phases: watch::Receiver<Phase>) -> io::Result<()> {
        // What is said once everything under way is answered; nothing more is read then.
        let mut goodbye: Option<(DisconnectReasonCode, &'static str)> = None;
        let end = loop {
            if goodbye.is_none()
                && let Some(end) = self.take_all().await?
            {
                break end;
            }
            if let Some((code, words)) = goodbye.filter(|_| self.under_way.is_empty()) {
                break End::Told(code, words.into());
            }
            self.wire.flush().await?;
            match self.next(claim, &mut phases, goodbye.is_some()).await {
                Happened::Done(outcome) => {
                    if let Some(end) = self.answer(&outcome)? {
                        break end;
                    }
                }
                Happened::Read(read) => match read {
                    Ok(0) | Err(_) => break End::Gone,
                    Ok(_) => {}
                },
                Happened::Refused(problem) => break self.later(&problem),
                Happened::Silent => {
                    let words = format!("nothing was heard for {:?}", self.silence);
                    break End::Told(DisconnectReasonCode::KeepAliveTimeout, words);
                }
                Happened::Cut => {
                    let words = "another connection has this client id";
                    break End::Told(DisconnectReasonCode::SessionTakenOver, words.into());
                }
                Happened::Draining => {
                    goodbye = Some((DisconnectReasonCode::ServerShuttingDown, "the server is shutting down"));
                }
                Happened::Lapsed(why) => {
                    self.shared.edge.meters.cut(Cut::Lapsed);
                    goodbye = Some((DisconnectReasonCode::NotAuthorized, why));
                }
            }
        };
        self.leave(end).await
    }

    async fn next(&mut self, claim: &Claim, phases: &mut watch::Receiver<Phase>, ending: bool) -> Happened {
        let reading = !ending && !self.is_full();
        // A packet with a share has the driver's deadline; what we do not read we cannot hear.
        let listening = reading && self.share.is_none();
        let refused = async {
            match &mut self.share {
                Some(share) => share.refusal().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(outcome) = self.under_way.next() => Happened::Done(outcome),
            read = self.wire.fill(), if reading => Happened::Read(read),
            problem = refused => Happened::Refused(problem),
            () = sleep_until(self.heard + self.silence), if listening => Happened::Silent,
            () = claim.cut() => Happened::Cut,
            why = self.shared.edge.lapse(&self.credential, &mut self.changes), if !ending => Happened::Lapsed(why),
            _ = phases.wait_for(|phase| *phase >= Phase::Draining), if !ending => Happened::Draining,
        }
    }

    /// Whether nothing more is read for now.
    fn is_full(&self) -> bool {
        let counted = match self.manners.version {
            // The wire counts the others, and cuts a client that sends more than it was allowed.
            Version::V5_0 => self.at_qos_0,
            _ => self.under_way.len(),
        };
        counted >= usize::from(self.shared.limits.receive_max)
    }

    /// Everything that was read.
    async fn take_all(&mut self) -> io::Result<Option<End>> {
        while !self.is_full() {
            match self.wire.take() {
                None => break,
                Some(Taken::Broken(error)) => return Ok(Some(End::Broken(error))),
                Some(Taken::Room(bytes)) => {
                    match Share::open(&self.shared.edge, &self.credential, bytes as u64).await {
                        Ok(share) => {
                            self.share = Some(share);
                            self.wire.go_on();
                        }
                        Err(problem) => return Ok(Some(self.later(&problem))),
                    }
                }
                Some(Taken::Packet(packet)) => {
                    self.heard = Instant::now();
                    let share = self.share.take();
                    if let Some(end) = self.packet(packet, share)? {
                        return Ok(Some(end));
                    }
                }
            }
        }
        Ok(None)
    }

    fn packet(&mut self, packet: Packet, share: Option<Share>) -> io::Result<Option<End>> {
        match packet {
            Packet::V3_1_1Publish(packet) => return Ok(self.publish(packet.into(), share)),
            Packet::V5_0Publish(packet) => return Ok(self.publish(packet.into(), share)),
            Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => {} // the wire has answered
            Packet::V3_1_1Disconnect(_) | Packet::V5_0Disconnect(_) => return Ok(Some(End::Gone)),
            packet => {
                let answer = reply::no_subscription(self.manners, &packet);
                let answer = answer.map_err(|error| io::Error::other(format!("no answer: {error:?}")))?;
                let Some(answer) = answer else {
                    let words = "a publisher does not send this packet here";
                    return Ok(Some(End::Told(DisconnectReasonCode::ProtocolError, words.into())));
                };
                self.shared.edge.meters.answered(Protocol::Mqtt, StatusCode::METHOD_NOT_ALLOWED);
                say(&mut self.wire, Ok(answer))?;
            }
        }
        Ok(None)
    }

    fn publish(&mut self, published: Published, share: Option<Share>) -> Option<End> {
        let Published { message, packet_id, qos, retain } = published;
        if qos == Qos::ExactlyOnce {
            let words = "use QoS 1 and a seq per event: that is exactly once too";
            return Some(End::Told(DisconnectReasonCode::QosNotSupported, words.into()));
        }
        if retain {
            let words = "this server hands no messages out, so it retains none";
            return Some(End::Told(DisconnectReasonCode::RetainNotSupported, words.into()));
        }
        // Also here: what was read in the same moment must not slip through.
        let edge = &self.shared.edge;
        if let Err(why) = edge.auth.check(&self.credential, (edge.now_ms)()) {
            edge.meters.cut(Cut::Lapsed);
            return Some(End::Told(DisconnectReasonCode::NotAuthorized, why.into()));
        }
        // The library counts packet ids; a client that uses one twice is counted here.
        let unanswered = self.under_way.len() - self.at_qos_0;
        if packet_id.is_some() && unanswered >= usize::from(self.shared.limits.receive_max) {
            let words = "more messages without an acknowledgement than receive-maximum";
            return Some(End::Told(DisconnectReasonCode::ReceiveMaximumExceeded, words.into()));
        }
        self.at_qos_0 += usize::from(packet_id.is_none());
        let (shared, credential) = (Arc::clone(&self.shared), Arc::clone(&self.credential));
        let delivering = async move {
            let carrier = Carrier { protocol: Protocol::Mqtt, credential: &credential, shape: &shared.shape };
            let result = deliver(&shared.edge, carrier, share, message).await;
            Outcome { packet_id, result }
        };
        self.under_way.push_back(delivering.boxed());
        None
    }

    /// A message is done, and so are all before it.
    fn answer(&mut self, outcome: &Outcome) -> io::Result<Option<End>> {
        self.heard = Instant::now(); // a client that waited for us, perhaps unheard, was not silent
        self.count(outcome);
        let Some(packet_id) = outcome.packet_id else {
            self.at_qos_0 -= 1;
            return Ok(None);
        };
        if let Err(problem) = &outcome.result
            && passes_later(problem.kind)
        {
            return Ok(Some(End::Told(reply::end_of(problem.kind), problem.detail.clone())));
        }
        say(&mut self.wire, reply::puback(self.manners, packet_id, &outcome.result))?;
        Ok(None)
    }

    fn count(&self, outcome: &Outcome) {
        let meters = &self.shared.edge.meters;
        match &outcome.result {
            Ok(_) => meters.answered(Protocol::Mqtt, StatusCode::OK),
            Err(problem) => {
                meters.answered(Protocol::Mqtt, problem.kind.status());
                if outcome.packet_id.is_none() || !passes_later(problem.kind) {
                    meters.message_refused(Protocol::Mqtt, problem.kind);
                }
            }
        }
    }

    /// The budget or a deadline refuses the packet being read: it cannot be skipped, so the connection ends.
    fn later(&self, problem: &Problem) -> End {
        self.shared.edge.meters.answered(Protocol::Mqtt, problem.kind.status());
        let code = match problem.kind {
            // Larger than the whole budget: sent again, it would be refused again.
            Kind::TooLarge => DisconnectReasonCode::PacketTooLarge,
            kind => reply::end_of(kind),
        };
        End::Told(code, problem.detail.clone())
    }

    /// Says goodbye, and finishes what nobody waits for any more: at QoS 0 a client may leave at once.
    async fn leave(mut self, end: End) -> io::Result<()> {
        self.share = None;
        match &end {
            End::Gone => {}
            End::Broken(error) => {
                self.shared.edge.meters.answered(Protocol::Mqtt, StatusCode::BAD_REQUEST);
                tracing::debug!(?error, "an MQTT client broke the protocol");
            }
            End::Told(code, words) => {
                tracing::debug!(?code, words, "an MQTT connection is ended");
                if let Ok(Some(packet)) = reply::disconnect(self.manners.version, *code, words) {
                    let _ = self.wire.say(packet); // what it does not take is not said
                }
            }
        }
        let said = match end {
            End::Gone => Ok(()),
            End::Broken(_) | End::Told(..) => self.wire.flush().await,
        };
        let goodbye = timeout(GOODBYE, self.wire.close());
        let finish = async {
            let mut outcomes = Vec::new();
            while let Some(outcome) = self.under_way.next().await {
                outcomes.push(outcome);
            }
            outcomes
        };
        let (_, outcomes) = tokio::join!(goodbye, finish);
        outcomes.iter().for_each(|outcome| self.count(outcome));
        said
    }
}
