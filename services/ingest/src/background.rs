//! What runs beside the loop: keys that are fetched, files that are read again.
//!
//! Owns: the tasks. Never: outlives the service.

use crate::config::Config;
use crate::delivery::Edge;
use crate::live::Live;
use crate::meters::Reloaded;
use crate::recordings::{self, Begun};
use crate::reload;
use evenkeel_auth::JwtConfig;
use evenkeel_telemetry::{Emitter, event};
use std::sync::Arc;
use tokio::task::JoinHandle;

event! {
    /// Credentials cross a network that may not be trusted.
    struct TokensInClear<'a> WARN "ingest.tls.off" "listening beyond loopback without TLS: tokens and events can be read on the way, unless an ingress in front ends TLS; set tls.cert-file and tls.key-file" {
        values { listen: &'a str }
        limit("", 0);
    }
}

event! {
    /// The issuer's keys could not be fetched: the old ones stay until trust-max.
    struct KeysFailed<'a> WARN "ingest.keys.failed" "the key set of signed tokens could not be fetched; the last good one stays until jwt.trust-max" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

async fn keep_keys(edge: Arc<Edge>, config: JwtConfig, emitter: Emitter) {
    let told = |fetched: Result<(), &str>| {
        edge.meters.reloaded(Reloaded::Keys, fetched.is_ok());
        if let Err(why) = fetched {
            KeysFailed { why }.emit(&emitter);
        }
    };
    edge.auth.keep_keys(&config, &*edge.now_ms, &told).await;
}

/// Whether tokens come over a network in clear text.
fn tokens_in_clear(config: &Config) -> bool {
    let mut listens = std::iter::once(config.listen).chain(config.mqtt.address());
    config.tls.cert_file.as_os_str().is_empty() && listens.any(|listen| !listen.ip().is_loopback())
}

/// Tasks that end with the service.
pub(crate) struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Background {
    pub(crate) fn begin(
        edge: &Arc<Edge>,
        config: &Config,
        (live, ingests): (Option<Live>, Option<Begun>),
        emitter: &Emitter,
    ) -> Self {
        if tokens_in_clear(config) {
            TokensInClear { listen: &config.listen.to_string() }.emit(emitter);
        }
        let keys = keep_keys(Arc::clone(edge), config.jwt.clone(), emitter.clone());
        let files = reload::watch(Arc::clone(edge), live, config.reload.every.duration(), emitter.clone());
        let recordings = ingests.map(|begun| tokio::spawn(recordings::keep(Arc::clone(edge), begun)));
        Self([tokio::spawn(keys), tokio::spawn(files)].into_iter().chain(recordings).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    #[test]
    fn only_a_network_without_tls_is_warned_of() {
        let mut config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        assert!(!tokens_in_clear(&config));
        config.listen = "0.0.0.0:8080".parse().unwrap();
        assert!(tokens_in_clear(&config));
        config.tls.cert_file = "server.pem".into();
        assert!(!tokens_in_clear(&config));
    }
}
