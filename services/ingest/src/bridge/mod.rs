//! Events from somebody else's MQTT broker: a subscriber in a shared group that acknowledges after the log.
//!
//! Owns: the connection to the broker and when it is tried again. Never: acknowledges a message that may pass later
//! and is not in the log; forgets one (the broker keeps what was not acknowledged, and the session outlives the
//! connection); makes the service unready: HTTP goes on without the broker.
//!
//! `session` is one connection, `attempt` one message until it is settled, `dial` the way to the broker, `backoff`
//! the waits. What is kept here of unsettled messages is at most receive-max of packet-max each, and that is taken
//! off the byte budget when the service starts.

mod attempt;
mod backoff;
mod dial;
mod session;

use crate::accept::Phase;
use crate::delivery::Edge;
use crate::meters::Protocol;
use crate::mqtt::topic::TopicShape;
pub(crate) use backoff::{Backoff, Jitter};
pub(crate) use dial::Dial;
use evenkeel_auth::Credential;
use evenkeel_chassis::secret::{Secret, SecretError};
use evenkeel_telemetry::{Emitter, event};
use session::Ended;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

event! {
    /// The broker is not there, or sent us away.
    struct BrokerAway<'a> WARN "ingest.bridge.away" "the MQTT broker is not connected; tried again until it is" {
        values { broker: &'a str, why: &'a str }
        limit("", 10_000);
    }
}

event! {
    /// A message of the broker can never be taken.
    struct MessageRefused<'a> WARN "ingest.bridge.refused" "a message of the MQTT broker is refused for good, and acknowledged" {
        values { reason: &'a str, why: &'a str }
        limit("reason", 10_000);
    }
}

/// Why the bridge cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The password.
    #[error("bridge.password-file: {0}")]
    Password(#[from] SecretError),
    /// The certificate authority.
    #[error(
        "bridge.ca-file {path}: {source}; name a PEM file with the authority that signed the broker's certificate"
    )]
    Authority {
        /// The file.
        path: String,
        /// Why.
        source: openssl::error::ErrorStack,
    },
}

/// Settings of the bridge.
#[derive(Debug, Clone)]
pub(crate) struct BridgeSettings {
    pub(crate) dial: Dial,
    pub(crate) client_id: String,
    /// What is subscribed to, the share included.
    pub(crate) filter: String,
    pub(crate) shape: TopicShape,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) credential: Arc<Credential>,
    pub(crate) receive_max: u16,
    pub(crate) packet_bytes_max: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) session_expiry: Duration,
    pub(crate) backoff: Backoff,
}

/// What the loop, a connection and an attempt share.
struct Shared {
    edge: Arc<Edge>,
    settings: BridgeSettings,
    jitter: Jitter,
    emitter: Emitter,
}

/// Serves until the phase is `Draining` and what is in flight is done.
pub(crate) async fn run(
    settings: BridgeSettings,
    edge: Arc<Edge>,
    jitter: Jitter,
    emitter: Emitter,
    mut phases: watch::Receiver<Phase>,
) {
    let shared = Arc::new(Shared { edge, settings, jitter, emitter });
    let mut failures = 0;
    loop {
        let ended = session::serve(&shared, &mut phases).await;
        shared.edge.meters.connections(Protocol::Bridge, 0);
        let why = match ended {
            Ended::Drained => return,
            Ended::Lost { why, worked } => {
                failures = if worked { 0 } else { failures + 1 };
                why
            }
        };
        BrokerAway { broker: &shared.settings.dial.address, why: &why }.emit(&shared.emitter);
        let wait = shared.settings.backoff.wait(failures, shared.jitter.next());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return,
        }
    }
}
