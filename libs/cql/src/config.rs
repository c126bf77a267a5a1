//! Where the store is and how it is used: the `cql` section of a service's configuration.
//!
//! Owns: the keys, their defaults and what they may hold. Never: a secret (passwords stay in files), the
//! process environment.

use crate::span_text::Millis;
use crate::table::WindowTable;
use scylla::statement::Consistency;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Configuration of the window store. Keys are kebab-case; every key has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CqlConfig {
    /// `host:port` of some nodes; the rest of the cluster is learnt from them.
    pub contact_points: Vec<String>,
    /// The data centre whose nodes are used. Unset = the only one there is.
    pub local_dc: Option<String>,
    /// The keyspace.
    pub keyspace: String,
    /// Whether a migration may create the keyspace.
    pub create_keyspace: bool,
    /// Copies per data centre, used when the keyspace is created. Empty = 3 in the local data centre.
    pub replication: BTreeMap<String, u32>,
    /// How many replicas must agree, for reads and writes.
    pub consistency: CqlConsistency,
    /// Login; unset = none.
    pub auth: Option<AuthConfig>,
    /// Encryption; unset = none.
    pub tls: Option<TlsConfig>,
    /// The window sizes that are stored, and for how long.
    pub tables: Vec<WindowTable>,
    /// How long a start may take, from the first connection to the last prepared statement.
    pub start_timeout: Millis,
    /// How long one connection may take.
    pub connect_timeout: Millis,
    /// How long one attempt of one request may take. Above the server's own write timeout.
    pub request_timeout: Millis,
    /// Attempts of one action while its outcome is unknown (timeouts). After that the caller hears
    /// `Unavailable` and decides.
    pub attempts_max: u32,
    /// Actions in flight at the start, per shard (ScyllaDB) or node (Cassandra).
    pub in_flight_start: u32,
    /// Most actions in flight, per shard or node.
    pub in_flight_max: u32,
    /// Most actions submitted and not yet answered; more are answered `Unavailable` at once.
    pub queue_max: u32,
    /// Largest row, bytes; larger ones are refused. Below half of the server's commit log segment.
    pub row_bytes_max: u32,
}

/// Consistency of reads and writes. Both use the same one, so that a read sees every acknowledged write
/// (with `one` only if there is one replica).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CqlConsistency {
    /// One replica: for tests and single nodes.
    One,
    /// Most replicas of the local data centre.
    LocalQuorum,
    /// Most replicas of all data centres.
    Quorum,
}

/// Login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthConfig {
    /// Role name.
    pub user: String,
    /// File that holds the password; one trailing newline is not part of it.
    pub password_file: PathBuf,
}

/// Encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsConfig {
    /// Certificates that sign the servers', PEM.
    pub ca_file: PathBuf,
    /// Our certificate chain, PEM, if the servers ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cql.{key}: {problem}")]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl Default for CqlConfig {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".to_owned()],
            local_dc: None,
            keyspace: "evenkeel".to_owned(),
            create_keyspace: true,
            replication: BTreeMap::new(),
            consistency: CqlConsistency::LocalQuorum,
            auth: None,
            tls: None,
            tables: vec![
                WindowTable { size: Millis::from_s(5), ttl: Some(Millis::from_days(30)) },
                WindowTable { size: Millis::from_s(60), ttl: Some(Millis::from_days(30)) },
            ],
            start_timeout: Millis::from_s(30),
            connect_timeout: Millis::from_s(5),
            request_timeout: Millis::from_s(5),
            attempts_max: 3,
            in_flight_start: 32,
            in_flight_max: 512,
            queue_max: 16_384,
            row_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl CqlConsistency {
    pub(crate) fn level(self) -> Consistency {
        match self {
            Self::One => Consistency::One,
            Self::LocalQuorum => Consistency::LocalQuorum,
            Self::Quorum => Consistency::Quorum,
        }
    }
}

impl CqlConfig {
    /// Checks every key; the first problem is returned.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |key, problem: String| Err(ConfigError { key, problem });
        if self.contact_points.is_empty() {
            return fail("contact-points", "is empty; name at least one host:port".into());
        }
        for point in &self.contact_points {
            let port = point.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                return fail("contact-points", format!("{point:?} is not host:port"));
            }
        }
        check_keyspace(&self.keyspace)?;
        for (dc, copies) in &self.replication {
            if dc.is_empty() || !dc.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
                return fail(
                    "replication",
                    format!("{dc:?} is not a data centre name (letters, digits, _ - .)"),
                );
            }
            if !(1..=9).contains(copies) {
                return fail("replication", format!("{dc}: {copies} copies; 1 to 9 are allowed"));
            }
        }
        let mut sizes = BTreeSet::new();
        if self.tables.is_empty() {
            return fail("tables", "is empty; name at least one size".into());
        }
        for table in &self.tables {
            table.check().or_else(|problem| fail("tables", problem))?;
            if !sizes.insert(table.size) {
                return fail("tables", format!("size {} appears twice", table.size));
            }
        }
        if self.tls.as_ref().is_some_and(|t| t.cert_file.is_some() != t.key_file.is_some()) {
            return fail("tls", "cert-file and key-file go together; give both or none".into());
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Result<(), ConfigError> {
        let number = |key, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(ConfigError { key, problem: format!("is {value}; {low} to {high} are allowed") }),
        };
        number("start-timeout (ms)", self.start_timeout.get(), 100, 600_000)?;
        number("connect-timeout (ms)", self.connect_timeout.get(), 50, 60_000)?;
        number("request-timeout (ms)", self.request_timeout.get(), 50, 60_000)?;
        number("attempts-max", self.attempts_max.into(), 1, 10)?;
        number("in-flight-start", self.in_flight_start.into(), 1, self.in_flight_max.into())?;
        number("in-flight-max", self.in_flight_max.into(), 1, 16_384)?;
        number("queue-max", self.queue_max.into(), 1, 1 << 20)?;
        number("row-bytes-max", self.row_bytes_max.into(), 64 * 1024, 64 * 1024 * 1024)
    }
}

/// Names go into DDL text, so only the common subset of both servers' unquoted names is taken.
fn check_keyspace(name: &str) -> Result<(), ConfigError> {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain && name.len() <= 48 {
        true => Ok(()),
        false => Err(ConfigError {
            key: "keyspace",
            problem: format!("{name:?}; allowed: a lower-case letter, then up to 47 of a-z, 0-9, _"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut CqlConfig)) -> &'static str {
        let mut config = CqlConfig::default();
        change(&mut config);
        config.check().unwrap_err().key
    }

    #[test]
    fn the_documented_keys_are_the_defaults_and_those_not_set_exist() {
        let documented = include_str!("cql.toml");
        let default = toml::to_string(&CqlConfig::default()).unwrap();
        assert_eq!(documented.parse::<toml::Table>().unwrap(), default.parse().unwrap());
        toml::from_str::<CqlConfig>(&documented.replace("#: ", "")).unwrap();
    }

    #[test]
    fn the_defaults_are_allowed_and_nonsense_is_refused_by_key() {
        CqlConfig::default().check().unwrap();
        assert_eq!(problem(|c| c.contact_points.clear()), "contact-points");
        assert_eq!(problem(|c| c.contact_points = vec!["host".into()]), "contact-points");
        assert_eq!(problem(|c| c.keyspace = "a; DROP".into()), "keyspace");
        assert_eq!(problem(|c| c.keyspace = "x".repeat(49)), "keyspace");
        assert_eq!(problem(|c| c.replication = [("dc'1".into(), 3)].into()), "replication");
        assert_eq!(problem(|c| c.replication = [("dc1".into(), 0)].into()), "replication");
        assert_eq!(problem(|c| c.tables.clear()), "tables");
        assert_eq!(problem(|c| c.tables.push(c.tables[0])), "tables");
        assert_eq!(problem(|c| c.in_flight_start = 0), "in-flight-start");
        assert_eq!(problem(|c| c.attempts_max = 0), "attempts-max");
        let key_alone = TlsConfig { ca_file: "ca".into(), cert_file: None, key_file: Some("key".into()) };
        assert_eq!(problem(|c| c.tls = Some(key_alone)), "tls");
    }
}
