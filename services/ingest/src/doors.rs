//! The ways in beside HTTP: MQTT's listener and the bridge.
//!
//! Owns: opening them before the service starts, and their common end.

use crate::accept::Phase;
use crate::bridge::{self, BridgeSettings, Jitter};
use crate::config::Config;
use crate::delivery::Edge;
use crate::mqtt;
use crate::run::{StartError, bind};
use evenkeel_auth::Auth;
use evenkeel_telemetry::Emitter;
use futures::future::OptionFuture;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is configured of them.
pub(crate) struct Doors {
    mqtt: Option<(TcpListener, SocketAddr)>,
    bridge: Option<BridgeSettings>,
}

impl Doors {
    /// Listens, and reads what the bridge needs. Connections wait until [`Self::serve`].
    pub(crate) fn open(config: &Config, auth: &Auth) -> Result<Self, StartError> {
        let bridge = config.bridge.settings()?;
        let mqtt = match config.mqtt.address() {
            Some(listen) => {
                auth.may_listen(listen)?;
                Some(bind(listen, config.accept.backlog)?)
            }
            None => None,
        };
        Ok(Self { mqtt, bridge })
    }

    /// The bound address of MQTT, if it is served.
    pub(crate) fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt.as_ref().map(|(_, address)| *address)
    }

    /// Serves until the phase ends it. `random` is drawn for the bridge.
    pub(crate) fn serve(
        self,
        config: &Config,
        edge: &Arc<Edge>,
        phases: &watch::Receiver<Phase>,
        (random, emitter): (u64, Emitter),
    ) -> impl Future<Output = ()> + Send + use<> {
        let mqtt = self.mqtt.map(|(listener, address)| {
            tracing::info!(%address, "ingest serves MQTT");
            let limits = (config.mqtt.limits(config.body.size_max.bytes()), config.ramp_limits());
            mqtt::serve(listener, Arc::clone(edge), limits, phases.clone())
        });
        let bridge = self.bridge.map(|settings| {
            bridge::run(settings, Arc::clone(edge), Jitter::new(random), emitter, phases.clone())
        });
        async move {
            tokio::join!(OptionFuture::from(mqtt), OptionFuture::from(bridge));
        }
    }
}
