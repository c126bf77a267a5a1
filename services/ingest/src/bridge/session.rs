//! One connection to the broker.
//!
//! Owns: the messages under way and their acknowledgements, in the order of the messages as the protocol wants it.
//! Never: carries anything over from an earlier connection (a packet's number means something on its own connection
//! only; what was not acknowledged there comes again).
//! Bound: nothing is taken from the read buffer while receive-max messages are under way; a broker sends no more at
//! QoS 1.

use super::Shared;
use super::attempt::{Settled, settle};
use super::dial::Stream;
use crate::accept::Phase;
use crate::meters::Protocol;
use crate::mqtt::message::Published;
use crate::mqtt::wire::{Taken, Wire};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::connection::role::Client;
use mqtt_protocol_core::mqtt::packet::{
    Packet, Properties, Property, Qos, ReasonString, SessionExpiryInterval, SubEntry, SubOpts, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, MqttError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the broker's end of the connection is awaited after our goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The service leaves, and nothing is in flight.
    Drained,
    /// Anything else; `worked` = the subscription stood.
    Lost { why: String, worked: bool },
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broke {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("{0}")]
    Said(String),
    #[error("MQTT: {0:?}")]
    Protocol(MqttError),
}

impl From<MqttError> for Broke {
    fn from(error: MqttError) -> Self {
        Self::Protocol(error)
    }
}

type BrokerWire = Wire<Client, Box<dyn Stream>>;

struct Session {
    shared: Arc<Shared>,
    wire: BrokerWire,
    phases: watch::Receiver<Phase>,
    heard: Instant,
    ping_at: Instant,
    under_way: FuturesOrdered<BoxFuture<'static, (Option<u16>, Settled)>>,
}

/// What happened next.
enum Happened {
    Done(Option<u16>, Settled),
    Read(io::Result<usize>),
    PingDue,
    Draining,
}

/// Connects, subscribes and serves until the connection ends or the service leaves.
pub(super) async fn serve(shared: &Arc<Shared>, phases: &mut watch::Receiver<Phase>) -> Ended {
    let lost = |broke: Broke, worked| Ended::Lost { why: broke.to_string(), worked };
    let opening = timeout(shared.settings.dial.timeout, open(shared, phases.clone()));
    let opened = tokio::select! {
        opened = opening => opened,
        _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Ended::Drained,
    };
    let session = match opened {
        Ok(Ok(session)) => session,
        Ok(Err(broke)) => return lost(broke, false),
        Err(_) => return lost(Broke::Said("no answer within bridge.connect-timeout".into()), false),
    };
    shared.edge.meters.connections(Protocol::Bridge, 1);
    tracing::info!(broker = shared.settings.dial.address, "the bridge to the MQTT broker is connected");
    match session.run().await {
        Ok(()) => Ended::Drained,
        Err(broke) => lost(broke, true),
    }
}

/// CONNECT and SUBSCRIBE, with their answers.
async fn open(shared: &Arc<Shared>, phases: watch::Receiver<Phase>) -> Result<Session, Broke> {
    let settings = &shared.settings;
    let stream = settings.dial.connect().await?;
    let (size, receive_max) = (settings.packet_bytes_max, Some(settings.receive_max));
    let mut wire = Wire::new(stream, Version::V5_0, size, receive_max);
    let expiry_s = u32::try_from(settings.session_expiry.as_secs()).unwrap_or(u32::MAX);
    let mut connect = v5_0::Connect::builder()
        .client_id(&*settings.client_id)?
        .clean_start(false)
        .keep_alive(u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .props(vec![SessionExpiryInterval::new(expiry_s)?.into()]);
    if !settings.user.is_empty() {
        connect = connect.user_name(&*settings.user)?;
    }
    if let Some(password) = &settings.password {
        connect = connect.password(password.expose())?;
    }
    wire.say(connect.build()?.into())?;
    wire.flush().await?;
    let mut session = Session {
        shared: Arc::clone(shared),
        wire,
        phases,
        heard: Instant::now(),
        ping_at: Instant::now() + settings.keep_alive / 2,
        under_way: FuturesOrdered::new(),
    };
    session.connected().await?;
    session.subscribe().await?;
    Ok(session)
}

impl Session {
    async fn connected(&mut self) -> Result<(), Broke> {
        match self.packet().await? {
            Packet::V5_0Connack(answer) if answer.reason_code() == ConnectReasonCode::Success => Ok(()),
            Packet::V5_0Connack(answer) => {
                let why = format!("refused the connection: {}", words(answer.reason_code(), answer.props()));
                Err(Broke::Said(why))
            }
            other => Err(Broke::Said(format!("answered CONNECT with {:?}", other.packet_type()))),
        }
    }

    async fn subscribe(&mut self) -> Result<(), Broke> {
        let options = SubOpts::new().set_qos(Qos::AtLeastOnce);
        let entry = SubEntry::new(&*self.shared.settings.filter, options)?;
        let packet_id = self.wire.packet_id()?;
        let packet = v5_0::Subscribe::builder().packet_id(packet_id).entries(vec![entry]).build()?;
        self.wire.say(packet.into())?;
        self.wire.flush().await?;
        loop {
            match self.packet().await? {
                Packet::V5_0Suback(answer) => {
                    let codes = answer.reason_codes();
                    let Some(code) = codes.first().copied().filter(|code| (*code as u8) >= 0x80) else {
                        return Ok(());
                    };
                    let filter = &self.shared.settings.filter;
                    let why = words(code, answer.props());
                    return Err(Broke::Said(format!("refused the subscription to {filter}: {why}")));
                }
                // A session that is resumed begins with what was not acknowledged.
                packet => self.heard(packet)?,
            }
        }
    }

    /// The next packet, while the connection is being opened.
    async fn packet(&mut self) -> Result<Packet, Broke> {
        loop {
            match self.wire.take() {
                Some(Taken::Packet(packet)) => return Ok(packet),
                Some(Taken::Room(_)) => self.wire.go_on(),
                Some(Taken::Broken(error)) => return Err(error.into()),
                None if self.wire.fill().await? == 0 => return Err(Broke::Closed),
                None => {}
            }
        }
    }

    async fn run(mut self) -> Result<(), Broke> {
        let mut draining = false;
        loop {
            if !draining {
                self.take_all().await?;
            }
            if draining && self.under_way.is_empty() {
                return self.leave().await;
            }
            self.flush().await?;
            match self.next(draining).await {
                Happened::Done(packet_id, Settled::Yes) => self.acknowledge(packet_id)?,
                // Acknowledgements keep their order: behind this one there are no more.
                Happened::Done(_, Settled::No) => return self.leave().await,
                Happened::Read(read) => match read? {
                    0 => return Err(Broke::Closed),
                    _ => self.heard = Instant::now(),
                },
                Happened::PingDue => self.ping()?,
                Happened::Draining => draining = true,
            }
        }
    }

    async fn next(&mut self, draining: bool) -> Happened {
        // Read, if not taken, also while it is full: only so is the end of the connection seen.
        let reading = self.wire.has_room();
        tokio::select! {
            Some((packet_id, settled)) = self.under_way.next() => Happened::Done(packet_id, settled),
            read = self.wire.fill(), if reading => Happened::Read(read),
            () = sleep_until(self.ping_at) => Happened::PingDue,
            _ = self.phases.wait_for(|phase| *phase >= Phase::Draining), if !draining => Happened::Draining,
        }
    }

    /// Everything that was read.
    async fn take_all(&mut self) -> Result<(), Broke> {
        while !self.is_full() {
            match self.wire.take() {
                None => break,
                // Room for receive-max packets of any size was set aside when the service started.
                Some(Taken::Room(_)) => self.wire.go_on(),
                Some(Taken::Packet(packet)) => self.heard(packet)?,
                Some(Taken::Broken(error)) => {
                    self.flush().await?; // what the broker is told about it
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn ping(&mut self) -> Result<(), Broke> {
        let keep_alive = self.shared.settings.keep_alive;
        // While nothing is read, the answer to a ping is not heard either.
        if !self.wire.has_room() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > keep_alive * 3 / 2 {
            return Err(Broke::Said(format!("nothing was heard for {keep_alive:?} and a half")));
        }
        self.ping_at = Instant::now() + keep_alive / 2;
        Ok(self.wire.say(v5_0::Pingreq::builder().build()?.into())?)
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= usize::from(self.shared.settings.receive_max)
    }

    fn heard(&mut self, packet: Packet) -> Result<(), Broke> {
        match packet {
            Packet::V5_0Publish(packet) => {
                let Published { message, packet_id, .. } = packet.into();
                let settling = settle(Arc::clone(&self.shared), message, self.phases.clone());
                self.under_way.push_back(settling.map(move |settled| (packet_id, settled)).boxed());
                Ok(())
            }
            Packet::V5_0Disconnect(packet) => {
                let code = packet.reason_code();
                let none = Properties::new();
                let why = words(code, packet.props().as_ref().unwrap_or(&none));
                Err(Broke::Said(format!("ended the connection: {why} (is bridge.client-id used twice?)")))
            }
            Packet::V5_0Pingresp(_) => Ok(()),
            other => Err(Broke::Said(format!("sent {:?}, which was not asked for", other.packet_type()))),
        }
    }

    fn acknowledge(&mut self, packet_id: Option<u16>) -> Result<(), Broke> {
        let Some(packet_id) = packet_id else { return Ok(()) };
        self.wire.say(v5_0::Puback::builder().packet_id(packet_id).build()?.into())?;
        Ok(())
    }

    /// A broker that does not read is as good as gone.
    async fn flush(&mut self) -> Result<(), Broke> {
        let limit = self.shared.settings.keep_alive;
        let flushed = timeout(limit, self.wire.flush()).await;
        flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Broke::from)
    }

    /// Goodbye; the session stays with the broker, and with it what was not acknowledged.
    async fn leave(mut self) -> Result<(), Broke> {
        self.wire.say(v5_0::Disconnect::builder().build()?.into())?;
        self.flush().await?;
        let _ = timeout(GOODBYE, self.wire.close()).await;
        Ok(())
    }
}

/// A reason as the broker gives it.
fn words(code: impl std::fmt::Debug, properties: &Properties) -> String {
    let reason = properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(ReasonString::val(text).to_owned()),
        _ => None,
    });
    match reason {
        Some(reason) => format!("{code:?}, {reason}"),
        None => format!("{code:?}"),
    }
}
