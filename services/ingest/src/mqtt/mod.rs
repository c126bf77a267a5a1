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

use crate::accept::{Accepted, Pace, Phase, accept, shake};
use crate::delivery::Edge;
use crate::meters::Protocol;
use crate::ramp::RampLimits;
use crate::tls::Tls;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
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

/// How long goodbyes may take at the very end.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Serves until the phase is `Closing` and the connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    (limits, ramp): (MqttLimits, RampLimits),
    mut phase: watch::Receiver<Phase>,
) {
    let (mut pace, turns) = (Pace::new(ramp), edge.tls.as_ref().map(Tls::turns));
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let shape = TopicShape::new("streams/", "/events");
    let table = Arc::new(Table::new(limits.sessions_max));
    let shared = Arc::new(Shared { edge, limits, shape, table });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            Some(_) = connections.join_next() => {
                shared.edge.meters.connections(Protocol::Mqtt, connections.len());
                continue;
            }
            accepted = accept(&listener, (&room, turns.as_ref()), &shared.edge, &mut pace) => accepted,
        };
        let Some(Accepted { stream, permit, turn }) = accepted else { continue };
        let (shared_by_it, phases) = (Arc::clone(&shared), phase.clone());
        connections.spawn(async move {
            if let Some(shaken) = shake(&shared_by_it.edge, stream, turn, phases.clone()).await {
                session::serve(shared_by_it, shaken, phases).await;
            }
            drop(permit);
        });
        shared.edge.meters.connections(Protocol::Mqtt, connections.len());
    }
    drop(listener);
    let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    let closing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_TIME, closing).await.is_err() {
        tracing::warn!("MQTT connections were cut: their clients did not read the last answer");
    }
    connections.shutdown().await;
    shared.edge.meters.connections(Protocol::Mqtt, 0);
}
