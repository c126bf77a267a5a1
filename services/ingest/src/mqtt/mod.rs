//! Events over MQTT 3.1.1 and 5: a server that takes messages and hands none out.
//!
//! Owns: its listener and connections. Never: a PUBACK before the log's acknowledgement, or out of the order of the
//! messages; a subscription, a retained message or a last will (schemas/mqtt/asyncapi.yaml says how each
//! is refused).
//!
//! `connect` lets a client in, `session` is the connection's loop, `reply` the words of each version, `table` the
//! names in use; `wire`, `topic` and `message` also serve the bridge to somebody else's broker.
//! Bound: past `mqtt.connections-max` nothing is accepted; clients wait in the kernel's backlog.

mod connect;
pub(crate) mod message;
mod reply;
mod session;
mod table;
pub(crate) mod topic;
pub(crate) mod wire;

use crate::accept::{Accepted, Phase, listen, shake};
use crate::delivery::Edge;
use crate::meters::Protocol;
use crate::ramp::RampLimits;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::TcpListener;
use tokio::sync::watch;
use topic::TopicShape;

/// Settings of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MqttLimits {
    pub(crate) connections_max: usize,
    pub(crate) sessions_max: usize,
    pub(crate) packet_bytes_max: usize,
    pub(crate) receive_max: u16,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_max: Duration,
    pub(crate) write_timeout: Duration,
}

/// What connections share.
struct Shared {
    edge: Arc<Edge>,
    limits: MqttLimits,
    shape: TopicShape,
    table: Arc<Table>,
}

/// Serves until the phase is `Closing` and the connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    (limits, ramp): (MqttLimits, RampLimits),
    phase: watch::Receiver<Phase>,
) {
    let shape = TopicShape::new("streams/", "/events");
    let table = Arc::new(Table::new(limits.sessions_max));
    let shared = Arc::new(Shared { edge: Arc::clone(&edge), limits, shape, table });
    let converse = |Accepted { stream, permit, turn }| {
        let (shared, phases) = (Arc::clone(&shared), phase.clone());
        async move {
            if let Some(shaken) = shake(&shared.edge, stream, turn, phases.clone()).await {
                session::serve(shared, shaken, phases).await;
            }
            drop(permit);
        }
    };
    listen(listener, &edge, Protocol::Mqtt, (limits.connections_max, ramp), phase.clone(), converse).await;
}
