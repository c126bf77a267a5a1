//! The configuration of the gateway. `default.toml` says why each value is what it is.
//!
//! Owns: the keys and the checks between them. Never: reads a file or the environment (chassis does).

use crate::hall::HallSettings;
use crate::interest::Manner;
use crate::protocol::write::Terms;
pub use evenkeel_auth::KeyMisfit as ConfigMisfit;
use evenkeel_auth::check_key as check;
use evenkeel_auth::{JwtConfig, Sources, TlsConfig};
use evenkeel_chassis::secret::SecretFile;
use evenkeel_chassis::units::{PositiveBytes, PositiveMs};
use evenkeel_fanout::Settings;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::NonZeroU16;

/// The service's section in files, variables and `--set`.
pub const SERVICE: &str = "gateway";
/// Every key with its default.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Keys of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The credentials; an empty path = none.
    pub tokens_file: SecretFile,
    /// The instance's name; empty = its address.
    pub instance: String,
    /// Its partition of `frames`.
    pub partition: u32,
    /// Threads that serve connections.
    pub threads: NonZeroU16,
    /// Most open connections.
    pub connections_max: usize,
    /// Origins beside its own.
    pub origins: Vec<String>,
    /// How long a drain is spread.
    pub drain_spread: PositiveMs,
    /// Per connection.
    pub connection: Connection,
    /// What a connection is sent.
    pub session: Session,
    /// What is looked at.
    pub topics: Topics,
    /// Totals.
    pub summary: Summary,
    /// What credentials say beside streams, and when they end.
    pub credentials: Credentials,
    /// Signed tokens.
    pub jwt: JwtConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Files that change.
    pub reload: Reload,
}

/// Keys of `[connection]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Connection {
    /// Longest wait for the next request's head.
    pub head_timeout: PositiveMs,
    /// Largest head.
    pub head_max: PositiveBytes,
    /// Longest time a client may leave what was written.
    pub write_timeout: PositiveMs,
    /// Longest wait for the first message.
    pub init_timeout: PositiveMs,
    /// A silent client is pinged after so long, and cut after twice that.
    pub ping_every: PositiveMs,
    /// Largest message of a client.
    pub message_max: PositiveBytes,
    /// Most bytes that the kernel holds unsent.
    pub unsent_max: PositiveBytes,
}

/// Keys of `[session]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Session {
    /// Between two paints.
    pub tick: PositiveMs,
    /// Most subscriptions of a message.
    pub batch_max: usize,
    /// Most subscriptions of a connection.
    pub subscriptions_max: usize,
    /// Most bytes of frames per second.
    pub bytes_rate_max: PositiveBytes,
    /// And at once.
    pub bytes_burst: PositiveBytes,
}

/// Keys of `[topics]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Topics {
    /// Most topics.
    pub topics_max: usize,
    /// How long one stays that nobody looks at.
    pub linger: PositiveMs,
    /// New ones per second.
    pub new_rate: u32,
    /// And at once.
    pub new_burst: u32,
    /// Points that are kept.
    pub span: PositiveMs,
    /// Without news for so long is stale.
    pub stale_after: PositiveMs,
    /// Frames per second that are asked for.
    pub frame_hz: u32,
    /// How long one record of interest counts.
    pub interest_expiry: PositiveMs,
    /// The windows that stand in for points of the past.
    pub history_size: PositiveMs,
    /// Most questions that wait for the store.
    pub questions_max: usize,
}

/// Keys of `[summary]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Summary {
    /// Between two.
    pub every: PositiveMs,
    /// Metrics of the services.
    pub targets: Vec<String>,
}

/// Keys of `[credentials]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credentials {
    /// The claim of signed tokens with the permissions.
    pub permissions_claim: String,
    /// A new credential is asked for so long before the end of the old one.
    pub refresh_before: PositiveMs,
}

/// Keys of `[reload]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reload {
    /// Time between two looks at the files.
    pub every: PositiveMs,
}

/// Control messages that may wait for a connection: what the protocol says.
const CONTROLS_MAX: usize = 32;

impl Config {
    /// Checks what a single key's type cannot.
    pub fn check(&self) -> Result<(), ConfigMisfit> {
        let counts = [
            ("connections-max", self.connections_max, 1_000_000),
            ("session.batch-max", self.session.batch_max, 10_000),
            ("session.subscriptions-max", self.session.subscriptions_max, 10_000),
            ("topics.topics-max", self.topics.topics_max, 10_000_000),
            ("topics.new-rate", self.topics.new_rate as usize, 1_000_000),
            ("topics.new-burst", self.topics.new_burst as usize, 1_000_000),
            ("topics.frame-hz", self.topics.frame_hz as usize, 100),
            ("topics.questions-max", self.topics.questions_max, 1_000_000),
        ];
        for (key, got, max) in counts {
            check(key, got, (1..=max).contains(&got), "must be at least 1 and not absurdly large")?;
        }
        let tick = self.session.tick;
        check("session.tick", tick, (20..=10_000).contains(&tick.ms()), "must be 20ms to 10s")?;
        let head = self.connection.head_max;
        check("connection.head-max", head, (8192..=1 << 20).contains(&head.bytes()), "must be 8KiB to 1MiB")?;
        let message = self.connection.message_max;
        let fits = (4096..=16 << 20).contains(&message.bytes());
        check("connection.message-max", message, fits, "must be 4KiB to 16MiB")?;
        let unsent = self.connection.unsent_max;
        check("connection.unsent-max", unsent, unsent.bytes() <= 1 << 30, "must be at most 1GiB")?;
        let expiry = self.topics.interest_expiry;
        check("topics.interest-expiry", expiry, expiry.ms() >= 3000, "must be at least 3s")?;
        let origin = |origin: &String| origin.contains("://") && !origin.ends_with('/');
        let bad = self.origins.iter().find(|one| !origin(one)).cloned().unwrap_or_default();
        check("origins", &bad, bad.is_empty(), "must look like https://ops.example, without a path")?;
        for target in &self.summary.targets {
            let fits = target.parse::<hyper::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http"));
            check("summary.targets", target, fits, "must be http:// addresses of /metrics")?;
        }
        let instance = self.instance.len() <= 200 && !self.instance.chars().any(char::is_control);
        check("instance", &self.instance, instance, "must be at most 200 bytes, without control characters")?;
        let claim = &self.credentials.permissions_claim;
        check("credentials.permissions-claim", claim, !claim.is_empty(), "must name a claim")?;
        self.jwt.check()?;
        self.tls.check()
    }

    /// Where the credentials are.
    pub(crate) fn sources(&self) -> Sources<'_> {
        let Self { listen, tokens_file, jwt, credentials, .. } = self;
        Sources { listen: *listen, tokens_file, jwt, permissions_claim: Some(&credentials.permissions_claim) }
    }

    /// Whether tokens come over a network in clear text.
    pub(crate) fn tokens_in_clear(&self) -> bool {
        self.tls.cert_file.as_os_str().is_empty() && !self.listen.ip().is_loopback()
    }

    pub(crate) fn hall(&self, instance: &str) -> HallSettings {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let (session, topics) = (&self.session, &self.topics);
        let tick_ms = session.tick.ms();
        HallSettings {
            fanout: Settings {
                tick_ms,
                topics_max: topics.topics_max,
                linger_ms: topics.linger.ms(),
                subscriptions_max: session.subscriptions_max,
                controls_max: CONTROLS_MAX,
                bytes_per_tick: (session.bytes_rate_max.bytes().saturating_mul(tick_ms) / 1000).max(1),
                bytes_burst: session.bytes_burst.bytes(),
            },
            manner: Manner {
                gateway: instance.to_owned(),
                partition: self.partition,
                expiry_ms: ms(topics.interest_expiry.ms()),
            },
            new_topics: (topics.new_rate, topics.new_burst),
            span_ms: ms(topics.span.ms()),
            stale_after_ms: ms(topics.stale_after.ms()),
            frame_hz: f64::from(topics.frame_hz),
            history_size_ms: ms(topics.history_size.ms()),
            instance: instance.to_owned(),
            questions_max: topics.questions_max,
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            ping_ms: self.connection.ping_every.ms(),
            batch_max: self.session.batch_max,
            subscriptions_max: self.session.subscriptions_max,
            message_bytes_max: usize::try_from(self.connection.message_max.bytes()).unwrap_or(usize::MAX),
            tick_ms: self.session.tick.ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together_and_misfits_are_named() {
        let config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        assert_eq!(config.check(), Ok(()));
        for (key, value) in [
            ("tls.key-file", "'server.key'"),
            ("jwt.issuer", "'https://issuer.example'"),
            ("credentials.permissions-claim", "''"),
            ("connections-max", "0"),
            ("origins", "['ops.example']"),
            ("session.tick", "'1ms'"),
            ("connection.message-max", "'1KiB'"),
            ("topics.interest-expiry", "'1s'"),
            ("summary.targets", "['https://a/metrics']"),
        ] {
            let mut whole: toml::Table = DEFAULT_TOML.parse().unwrap();
            let value = format!("v = {value}").parse::<toml::Table>().unwrap()["v"].clone();
            match key.split_once('.') {
                Some((section, key)) => whole[section].as_table_mut().unwrap().insert(key.to_owned(), value),
                None => whole.insert(key.to_owned(), value),
            };
            let misfit = whole.try_into::<Config>().unwrap().check().unwrap_err();
            let named = if key == "jwt.issuer" { "jwt.audience" } else { key };
            assert_eq!(misfit.key, named, "{misfit}");
        }
    }
}
