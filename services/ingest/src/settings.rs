//! The configuration's sections of MQTT. `default.toml` says why each value is what it is.
//!
//! Owns: their keys, the checks between them, and what they mean for the modules that serve.

use crate::bridge::{Backoff, BridgeError, BridgeSettings, Dial};
use crate::config::{ConfigMisfit, check};
use crate::mqtt::MqttLimits;
use crate::mqtt::topic::TopicShape;
use crate::mqtt::wire::FREE_BYTES;
use evenkeel_auth::Credential;
use evenkeel_chassis::secret::SecretFile;
use evenkeel_chassis::units::{PositiveBytes, PositiveMs};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Keys of `[mqtt]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mqtt {
    /// Where MQTT is served; empty = nowhere, port 0 takes a free one.
    pub listen: String,
    /// Most open connections.
    pub connections_max: usize,
    /// Most clients that are away and may resume their sessions.
    pub sessions_max: usize,
    /// Largest packet; body.size-max where that is less.
    pub packet_max: PositiveBytes,
    /// Most messages of a connection without an acknowledgement.
    pub receive_max: u16,
    /// Longest wait for the CONNECT of a new connection.
    pub connect_timeout: PositiveMs,
    /// Longest keep-alive granted.
    pub keep_alive_max: PositiveMs,
    /// Longest time a client may leave an answer unread.
    pub write_timeout: PositiveMs,
}

/// Keys of `[bridge]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bridge {
    /// Host and port of the broker; empty = no bridge.
    pub broker: String,
    /// The name of this instance at the broker.
    pub client_id: String,
    /// The group that shares the messages; empty = every instance gets all.
    pub share_group: String,
    /// The topics subscribed to.
    pub filter: String,
    /// What stands before the stream id in a topic.
    pub topic_prefix: String,
    /// What stands behind it.
    pub topic_suffix: String,
    /// The name to log in with; empty = none.
    pub user: String,
    /// Its password; an empty path = none.
    pub password_file: SecretFile,
    /// The authority of the broker's certificate, PEM; empty = no TLS.
    pub ca_file: PathBuf,
    /// Patterns of the streams it may write.
    pub streams: Vec<String>,
    /// Most messages under way.
    pub receive_max: u16,
    /// Largest packet.
    pub packet_max: PositiveBytes,
    /// Longest wait for the broker's answers when a connection is opened.
    pub connect_timeout: PositiveMs,
    /// How often the broker is asked whether it is there.
    pub keep_alive: PositiveMs,
    /// How long the broker keeps the session of an absent instance.
    pub session_expiry: PositiveMs,
    /// Least wait before something is tried again.
    pub backoff_min: PositiveMs,
    /// Longest wait.
    pub backoff_max: PositiveMs,
}

/// Least of packet-max: what is read without asking anybody is no limit.
const PACKET_BYTES_MIN: u64 = 2 * FREE_BYTES as u64;
/// The protocol counts keep-alive in seconds of 16 bits.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(u16::MAX as u64);

fn is_keep_alive(keep_alive: &PositiveMs) -> bool {
    (Duration::from_secs(1)..=KEEP_ALIVE_MAX).contains(&keep_alive.duration())
}

impl Mqtt {
    /// Where to listen, if anywhere.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigMisfit> {
        check(
            "mqtt.listen",
            &self.listen,
            self.listen.is_empty() || self.address().is_some(),
            "must be an address and a port, as 127.0.0.1:1883, or empty",
        )?;
        check(
            "mqtt.packet-max",
            self.packet_max,
            self.packet_max.bytes() >= PACKET_BYTES_MIN,
            "must be at least 8KiB",
        )?;
        let counts = "must be at least 1 and not absurdly large";
        check("mqtt.receive-max", self.receive_max, (1..=10_000).contains(&self.receive_max), counts)?;
        let connections_max = self.connections_max;
        check("mqtt.connections-max", connections_max, (1..=1_000_000).contains(&connections_max), counts)?;
        let keep_alive = "must be 1s to 65535s, which is all the protocol can say";
        check("mqtt.keep-alive-max", self.keep_alive_max, is_keep_alive(&self.keep_alive_max), keep_alive)
    }

    pub(crate) fn limits(&self, body_bytes_max: u64) -> MqttLimits {
        MqttLimits {
            connections_max: self.connections_max,
            sessions_max: self.sessions_max,
            packet_bytes_max: usize::try_from(self.packet_max.bytes().min(body_bytes_max))
                .unwrap_or(usize::MAX),
            receive_max: self.receive_max,
            connect_timeout: self.connect_timeout.duration(),
            keep_alive_max: self.keep_alive_max.duration(),
            write_timeout: self.write_timeout.duration(),
        }
    }
}

impl Bridge {
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        !self.broker.is_empty()
    }

    /// What its unsettled messages may take, bytes; taken off the budget when it is on.
    pub(crate) fn kept_bytes_max(&self) -> u64 {
        if self.is_on() { u64::from(self.receive_max) * self.packet_max.bytes() } else { 0 }
    }

    pub(crate) fn check(&self, in_flight_bytes: u64) -> Result<(), ConfigMisfit> {
        if !self.is_on() {
            return Ok(());
        }
        let port = self.broker.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        check("bridge.broker", &self.broker, port.is_some(), "must be host:port")?;
        check(
            "bridge.client-id",
            &self.client_id,
            !self.client_id.is_empty(),
            "must be set, differ between instances and stay the same over restarts (the name of the pod or machine): \
             the broker keeps what was not acknowledged under it",
        )?;
        check(
            "bridge.filter",
            &self.filter,
            !self.filter.is_empty(),
            "must name topics, as streams/+/events",
        )?;
        check(
            "bridge.share-group",
            &self.share_group,
            !self.share_group.contains(['/', '+', '#']),
            "must not contain / + #",
        )?;
        check(
            "bridge.streams",
            format!("{:?}", self.streams),
            !self.streams.is_empty(),
            "must list at least one pattern",
        )?;
        check(
            "bridge.receive-max",
            self.receive_max,
            self.receive_max > 0 && self.kept_bytes_max() <= in_flight_bytes / 2,
            "must be at least 1, and with bridge.packet-max for each at most half of in-flight-max",
        )?;
        check(
            "bridge.packet-max",
            self.packet_max,
            self.packet_max.bytes() >= PACKET_BYTES_MIN,
            "must be at least 8KiB",
        )?;
        let keep_alive = "must be 1s to 65535s, which is all the protocol can say";
        check("bridge.keep-alive", self.keep_alive, is_keep_alive(&self.keep_alive), keep_alive)?;
        check(
            "bridge.backoff-max",
            self.backoff_max,
            self.backoff_max.duration() >= self.backoff_min.duration(),
            "must not be less than bridge.backoff-min",
        )
    }

    /// What the bridge runs by; `None` if there is none.
    pub(crate) fn settings(&self) -> Result<Option<BridgeSettings>, BridgeError> {
        if !self.is_on() {
            return Ok(None);
        }
        let filter = match self.share_group.as_str() {
            "" => self.filter.clone(),
            group => format!("$share/{group}/{}", self.filter),
        };
        let password = match self.password_file.path().as_os_str().is_empty() {
            true => None,
            false => Some(self.password_file.read()?),
        };
        Ok(Some(BridgeSettings {
            dial: Dial::new(&self.broker, &self.ca_file, self.connect_timeout.duration())?,
            client_id: self.client_id.clone(),
            filter,
            shape: TopicShape::new(&*self.topic_prefix, &*self.topic_suffix),
            user: self.user.clone(),
            password,
            credential: Credential::of_config("bridge", &self.streams),
            receive_max: self.receive_max,
            packet_bytes_max: usize::try_from(self.packet_max.bytes()).unwrap_or(usize::MAX),
            keep_alive: self.keep_alive.duration(),
            session_expiry: self.session_expiry.duration(),
            backoff: Backoff { min: self.backoff_min.duration(), max: self.backoff_max.duration() },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DEFAULT_TOML};

    fn bridge(changes: &[(&str, toml::Value)]) -> Result<(), ConfigMisfit> {
        let mut whole: toml::Table = DEFAULT_TOML.parse().unwrap();
        let section = whole["bridge"].as_table_mut().unwrap();
        for (key, value) in changes {
            section.insert((*key).to_owned(), value.clone());
        }
        let config: Config = whole.try_into().unwrap();
        config.check()
    }

    #[test]
    fn a_bridge_needs_a_name_and_room() {
        let broker = ("broker", "localhost:1883".into());
        assert_eq!(bridge(&[]), Ok(()));
        assert_eq!(bridge(&[broker.clone(), ("client-id", "a".into())]), Ok(()));
        for (key, value) in [
            ("client-id", "".into()),
            ("broker", "localhost".into()),
            ("receive-max", 0.into()),
            ("receive-max", 60_000.into()),
            ("packet-max", "1KiB".into()),
            ("share-group", "a/b".into()),
            ("filter", "".into()),
            ("streams", toml::Value::Array(vec![])),
            ("keep-alive", "1ms".into()),
            ("backoff-max", "1ms".into()),
        ] {
            let misfit = bridge(&[broker.clone(), ("client-id", "a".into()), (key, value)]).unwrap_err();
            assert_eq!(misfit.key, format!("bridge.{key}"), "{misfit}");
        }
    }

    #[test]
    fn the_share_stands_before_the_filter() {
        let mut config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        assert!(config.bridge.settings().unwrap().is_none());
        config.bridge.broker = "localhost:1883".into();
        let settings = config.bridge.settings().unwrap().unwrap();
        assert_eq!(settings.filter, "$share/evenkeel/streams/+/events");
        config.bridge.share_group.clear();
        assert_eq!(config.bridge.settings().unwrap().unwrap().filter, "streams/+/events");
        config.bridge.ca_file = "/nonexistent/ca.pem".into();
        assert!(config.bridge.settings().unwrap_err().to_string().contains("/nonexistent/ca.pem"));
    }
}
