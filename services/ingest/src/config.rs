//! The configuration of ingest. `default.toml` says why each value is what it is.
//!
//! Owns: the keys and the checks between them. Never: reads a file or the environment (chassis does).

use crate::accept::ConnectionLimits;
use crate::body::BodyLimits;
use crate::clock::ClockLimits;
use crate::collect::CollectLimits;
use crate::driver::Deadlines;
use crate::flush::Flush;
use crate::ramp::RampLimits;
pub use crate::settings::{Bridge, Mqtt};
use crate::ws::WebSocketLimits;
pub use evenkeel_auth::KeyMisfit as ConfigMisfit;
pub(crate) use evenkeel_auth::check_key as check;
use evenkeel_auth::{JwtConfig, Sources, TlsConfig};
use evenkeel_chassis::secret::SecretFile;
use evenkeel_chassis::units::{Bytes, Ms, PositiveBytes, PositiveMs};
use evenkeel_limits::RetryHint;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::NonZeroU16;

pub mod quotas;
pub mod recordings;

/// The service's section in files, variables and `--set`.
pub const SERVICE: &str = "ingest";
/// Every key with its default.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Keys of ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The credentials; an empty path = none.
    pub tokens_file: SecretFile,
    /// The byte budget of everything in flight.
    pub in_flight_max: PositiveBytes,
    /// Most open connections.
    pub connections_max: usize,
    /// Threads that serve them.
    pub threads: NonZeroU16,
    /// Longest wait for the log.
    pub ack_timeout: PositiveMs,
    /// Longest drain.
    pub drain_timeout: PositiveMs,
    /// Per connection.
    pub connection: Connection,
    /// Per body.
    pub body: Body,
    /// Per WebSocket.
    pub websocket: WebSocket,
    /// When records leave for the log.
    pub flush: Flush,
    /// When refused clients come back.
    pub retry: Retry,
    /// Per stream.
    pub device: quotas::Device,
    /// Of this machine, against the log's.
    pub clock: Clock,
    /// Signed tokens.
    pub jwt: JwtConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Files that change.
    pub reload: Reload,
    /// Per tenant.
    pub tenant: quotas::Tenant,
    /// How fast connections are accepted.
    pub accept: Accept,
    /// The MQTT server.
    pub mqtt: Mqtt,
    /// Somebody else's MQTT broker.
    pub bridge: Bridge,
    /// Files of devices.
    pub recordings: recordings::RecordingsConfig,
}

/// Keys of `[connection]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Connection {
    /// Longest wait for the next request's head.
    pub head_timeout: PositiveMs,
    /// Longest time a client may leave an answer unread.
    pub write_timeout: PositiveMs,
    /// Largest head.
    pub head_max: PositiveBytes,
    /// Most header lines.
    pub headers_max: usize,
}

/// Keys of `[body]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Body {
    /// Longest time from the head to the end of the body.
    pub timeout: PositiveMs,
    /// Largest body as sent.
    pub size_max: PositiveBytes,
    /// Largest body after gunzip.
    pub inflated_max: PositiveBytes,
    /// Longest line or array element.
    pub line_max: PositiveBytes,
    /// Most events.
    pub events_max: u32,
    /// Most refused events listed in an answer.
    pub listed_max: usize,
    /// Largest record.
    pub record_max: Bytes,
}

/// Keys of `[websocket]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WebSocket {
    /// Most batches of a connection without an answer.
    pub credits: u32,
    /// Largest message; body.size-max where that is less.
    pub message_max: PositiveBytes,
    /// A silent client is pinged after so long, and cut after twice that.
    pub ping_every: PositiveMs,
}

/// Keys of `[retry]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retry {
    /// The least wait.
    pub base: Ms,
    /// The random part.
    pub spread: Ms,
}

/// Keys of `[clock]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Clock {
    /// Most that it may differ.
    pub slack: PositiveMs,
    /// Time between two comparisons.
    pub every: PositiveMs,
}

/// Keys of `[reload]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reload {
    /// Time between two looks at the files.
    pub every: PositiveMs,
}

/// Keys of `[accept]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Accept {
    /// Connections per second at the start.
    pub rate_start: u32,
    /// Connections per second at the end of the ramp.
    pub rate_max: u32,
    /// The way from one to the other.
    pub ramp: PositiveMs,
    /// Connections that wait in the kernel.
    pub backlog: u32,
}

/// The least a record may hold: one event with the largest payload and all fields, bytes.
const RECORD_BYTES_MIN: u64 = 96 * 1024;
/// hyper's own least read buffer, bytes.
const HEAD_BYTES_MIN: u64 = 8192;
/// Records lie in an arena of 32-bit offsets, bytes.
const IN_FLIGHT_BYTES_MAX: u64 = 2 << 30;

impl Config {
    /// Checks what a single key's type cannot.
    pub fn check(&self) -> Result<(), ConfigMisfit> {
        let (body, in_flight) = (&self.body, self.in_flight_max.bytes());
        check(
            "in-flight-max",
            self.in_flight_max.to_string(),
            in_flight <= IN_FLIGHT_BYTES_MAX && in_flight >= 2 * body.size_max.bytes(),
            "must be at least twice body.size-max, so that the largest body fits, and at most 2GiB",
        )?;
        check(
            "body.record-max",
            body.record_max.to_string(),
            (RECORD_BYTES_MIN..=in_flight / 2).contains(&body.record_max.bytes()),
            "must hold one largest event (96KiB) and be at most half of in-flight-max",
        )?;
        check(
            "body.line-max",
            body.line_max.to_string(),
            body.line_max.bytes() <= body.inflated_max.bytes(),
            "must not be larger than body.inflated-max",
        )?;
        check(
            "websocket.message-max",
            self.websocket.message_max.to_string(),
            self.websocket.message_max.bytes() >= 1024,
            "must be at least 1KiB",
        )?;
        check(
            "connection.head-max",
            self.connection.head_max.to_string(),
            (HEAD_BYTES_MIN..=1 << 20).contains(&self.connection.head_max.bytes()),
            "must be 8KiB to 1MiB",
        )?;
        check(
            "flush.send-max",
            self.flush.send_max.to_string(),
            self.flush.send_max.bytes() >= body.record_max.bytes(),
            "must be at least body.record-max",
        )?;
        if let Err(error) = self.flush.policy().check() {
            let why = "the settings of the policy cannot work";
            return Err(ConfigMisfit { key: "flush", got: error.to_string(), why });
        }
        self.check_counts()?;
        self.check_quotas()?;
        self.jwt.check()?;
        self.tls.check()?;
        self.mqtt.check()?;
        self.recordings.check(in_flight)?;
        self.bridge.check(in_flight)
    }

    /// This configuration with those keys of another that hold without a restart.
    pub(crate) fn with_live_keys_of(&self, other: &Self) -> Self {
        let (in_flight_max, flush) = (other.in_flight_max, other.flush.clone());
        let tenant = quotas::Tenant {
            rate_max: other.tenant.rate_max,
            burst: other.tenant.burst,
            tenants_max: other.tenant.tenants_max,
            ..self.tenant.clone()
        };
        Self { in_flight_max, flush, device: other.device.clone(), tenant, ..self.clone() }
    }

    /// What requests may hold, bytes: what the bridge keeps until it is settled has no request to be charged to, and
    /// transfers of recordings last longer than requests may.
    pub(crate) fn budget_bytes(&self) -> u64 {
        self.in_flight_max.bytes() - self.bridge.kept_bytes_max() - self.recordings.memory_bytes_max()
    }

    /// Numbers of things.
    fn check_counts(&self) -> Result<(), ConfigMisfit> {
        let counts = [
            ("flush.in-flight-max", self.flush.in_flight_max, 100_000),
            ("connections-max", self.connections_max, 1_000_000),
            ("connection.headers-max", self.connection.headers_max, 1000),
            ("websocket.credits", self.websocket.credits as usize, 10_000),
            ("body.events-max", self.body.events_max as usize, 10_000_000),
            ("device.streams-max", self.device.streams_max, 100_000_000),
            ("device.burst", self.device.burst as usize, 1_000_000_000),
            ("accept.rate-start", self.accept.rate_start as usize, self.accept.rate_max as usize),
            ("accept.backlog", self.accept.backlog as usize, 1_000_000),
            ("tenant.burst", self.tenant.burst as usize, 1_000_000_000),
            ("tenant.tenants-max", self.tenant.tenants_max, 100_000_000),
        ];
        for (key, got, max) in counts {
            if !(1..=max).contains(&got) {
                let why = "must be at least 1 and not absurdly large";
                return Err(ConfigMisfit { key, got: got.to_string(), why });
            }
        }
        Ok(())
    }

    /// Where the credentials are.
    pub(crate) fn credentials(&self) -> Sources<'_> {
        let Self { listen, tokens_file, jwt, .. } = self;
        Sources { listen: *listen, tokens_file, jwt, permissions_claim: None }
    }

    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max,
            head_timeout: self.connection.head_timeout.duration(),
            write_timeout: self.connection.write_timeout.duration(),
            head_bytes_max: self.connection.head_max.bytes() as usize,
            headers_max: self.connection.headers_max,
        }
    }

    pub(crate) fn ramp_limits(&self) -> RampLimits {
        RampLimits {
            start_per_s: self.accept.rate_start,
            max_per_s: self.accept.rate_max,
            ramp_ms: self.accept.ramp.ms(),
        }
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            body_bytes_max: self.body.size_max.bytes(),
            inflated_bytes_max: self.body.inflated_max.bytes(),
            events_max: self.body.events_max,
            collect: CollectLimits {
                record_bytes_max: self.body.record_max.bytes() as usize,
                line_bytes_max: self.body.line_max.bytes() as usize,
                listed_max: self.body.listed_max,
            },
        }
    }

    pub(crate) fn web_socket_limits(&self) -> WebSocketLimits {
        WebSocketLimits {
            credits: self.websocket.credits as usize,
            message_bytes_max: self.websocket.message_max.bytes().min(self.body.size_max.bytes()) as usize,
            ping_every: self.websocket.ping_every.duration(),
        }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines { body_timeout_ms: self.body.timeout.ms(), ack_timeout_ms: self.ack_timeout.ms() }
    }

    pub(crate) fn retry_hint(&self) -> RetryHint {
        RetryHint { base_ms: self.retry.base.ms(), spread_ms: self.retry.spread.ms() }
    }

    pub(crate) fn clock_limits(&self) -> ClockLimits {
        ClockLimits { slack_ms: self.clock.slack.ms(), every_ms: self.clock.every.ms() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults with one key changed.
    fn with(key: &str, value: &str) -> Result<Config, String> {
        let mut whole: toml::Table = DEFAULT_TOML.parse().unwrap();
        let value = format!("v = {value}").parse::<toml::Table>().unwrap()["v"].clone();
        match key.split_once('.') {
            Some((section, key)) => {
                whole[section].as_table_mut().unwrap().insert(key.to_owned(), value);
            }
            None => {
                whole.insert(key.to_owned(), value);
            }
        }
        whole.try_into().map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn the_defaults_fit_together() {
        let config = with("connections-max", "1024").unwrap();
        assert_eq!(config.check(), Ok(()));
        assert!(!config.rated() && config.quotas().tenant_bytes.is_none());
        assert!(with("listne", "1").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn misfits_are_named() {
        for (key, value) in [
            ("tls.key-file", "'server.key'"),
            ("tls.client-certificates", "'required'"),
            ("tls.handshakes-max", "0"),
            ("tenant.in-flight-max", "'1KiB'"),
            ("tenant.in-flight-max", "'65MiB'"),
            ("tenant.tenants-max", "0"),
            ("accept.rate-start", "0"),
            ("accept.rate-start", "5001"),
            ("accept.backlog", "0"),
            ("in-flight-max", "'15MiB'"),
            ("in-flight-max", "'3GiB'"),
            ("body.record-max", "'64KiB'"),
            ("body.record-max", "'60MiB'"),
            ("body.line-max", "'65MiB'"),
            ("connection.head-max", "'4KiB'"),
            ("connections-max", "0"),
            ("websocket.credits", "0"),
            ("websocket.message-max", "'1000B'"),
            ("body.events-max", "0"),
            ("flush.send-max", "'256KiB'"),
            ("flush.in-flight-max", "0"),
            ("mqtt.listen", "'localhost'"),
            ("mqtt.packet-max", "'4KiB'"),
            ("mqtt.receive-max", "0"),
            ("mqtt.connections-max", "0"),
            ("mqtt.keep-alive-max", "'20h'"),
            ("recordings.transfers-max", "0"),
            ("recordings.count-max", "0"),
            ("recordings.open-max", "0"),
            ("recordings.ingests-max", "0"),
            ("recordings.ingest-rate", "0"),
        ] {
            let misfit = with(key, value).unwrap().check().unwrap_err();
            assert_eq!(misfit.key, key, "{misfit}");
        }
    }
}
