//! The first minutes of a connection: reach the cluster, find out what it is, choose the data centre.
//!
//! Owns: the session and everything that can go wrong at a start, each with its remedy, within a deadline.
//! Never: rows, DDL.

use crate::class::{ErrorClass, class_of};
use crate::config::{ConfigError, CqlConfig};
use crate::schema::SchemaError;
use crate::tls::{TlsError, tls_context};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Which server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// Apache Cassandra, or anything that speaks like it.
    Cassandra,
    /// ScyllaDB: it announces its shards in SUPPORTED, or keeps `system.scylla_local`.
    Scylla,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of the configuration cannot be read.
    #[error("cannot read {path}: {source}; check cql.auth.password-file")]
    PasswordFile {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answers.
    #[error(
        "no CQL server answers at {contact_points}: {reason}; check cql.contact-points, the network, and that the server is up"
    )]
    Unreachable {
        /// Where was asked.
        contact_points: String,
        /// What was heard last.
        reason: String,
    },
    /// A server answers, and not in time.
    #[error(
        "the CQL cluster at {contact_points} was not ready within {waited_ms} ms (cql.start-timeout); is it overloaded or still starting?"
    )]
    TooSlow {
        /// Where was asked.
        contact_points: String,
        /// How long, ms.
        waited_ms: u64,
    },
    /// The server wants a login, or refuses this one.
    #[error(
        "the CQL server refused the login of {user}: {reason}; check cql.auth.user and cql.auth.password-file"
    )]
    Login {
        /// Role, or `nobody`.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// The role may not do what is needed.
    #[error(
        "the CQL server forbids it: {reason}; grant the role SELECT and MODIFY on the keyspace (migrations: CREATE and ALTER)"
    )]
    Forbidden {
        /// What the server said.
        reason: String,
    },
    /// No such data centre, or none was chosen among several.
    #[error("cql.local-dc = {asked}; the cluster has: {known}; set it to one of these")]
    UnknownDc {
        /// What is configured.
        asked: String,
        /// What there is.
        known: String,
    },
    /// The keyspace is not as this program needs it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A table or keyspace that was asked for is not there (yet).
    #[error("the keyspace is not complete: {reason}; run `evenkeel cql migrate`, or wait for one that runs")]
    Incomplete {
        /// What the server said.
        reason: String,
    },
    /// A request at the start failed.
    #[error("the CQL server did not answer as needed: {0}")]
    Request(String),
    /// The same, and the server may do better in a moment: a timeout, or a fault of its own. Cassandra answers
    /// `Unknown CF` to a request for a table that it is just creating for somebody else.
    #[error("the CQL server did not answer as needed: {0}")]
    Passing(String),
    /// The operating system gave no thread or timer.
    #[error("cannot start the CQL thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<ExecutionError> for ConnectError {
    fn from(error: ExecutionError) -> Self {
        let reason = error.to_string();
        match class_of(&error) {
            ErrorClass::Setup if reason.to_ascii_lowercase().contains("permission") => {
                Self::Forbidden { reason }
            }
            ErrorClass::Setup => Self::Incomplete { reason },
            ErrorClass::Repeat => Self::Passing(reason),
            _ => Self::Request(reason),
        }
    }
}

impl From<PrepareError> for ConnectError {
    fn from(error: PrepareError) -> Self {
        Self::from(ExecutionError::PrepareError(error))
    }
}

/// A session with the cluster, and what it is.
pub(crate) struct Cluster {
    pub session: Session,
    pub server: ServerKind,
    /// Release as the server tells it, e.g. `5.0.9`.
    pub release: String,
    /// Nodes per data centre.
    pub nodes: BTreeMap<String, u32>,
    /// The data centre whose nodes are used.
    pub local_dc: String,
    /// Shards (ScyllaDB) or nodes (Cassandra) of it.
    pub targets: u32,
}

impl Cluster {
    /// Connects within `start-timeout`.
    pub async fn connect(config: &CqlConfig) -> Result<Self, ConnectError> {
        config.check()?;
        let waited_ms = config.start_timeout.get();
        match tokio::time::timeout(config.start_timeout.duration(), Self::connect_unbounded(config)).await {
            Ok(result) => result,
            Err(_) => {
                Err(ConnectError::TooSlow { contact_points: config.contact_points.join(", "), waited_ms })
            }
        }
    }

    async fn connect_unbounded(config: &CqlConfig) -> Result<Self, ConnectError> {
        let mut builder = SessionBuilder::new()
            .known_nodes(&config.contact_points)
            .connection_timeout(config.connect_timeout.duration())
            .keepalive_interval(Duration::from_secs(5))
            .keepalive_timeout(Duration::from_secs(5))
            .keyspaces_to_fetch([config.keyspace.as_str()])
            .fetch_full_schema_metadata(false)
            .default_execution_profile_handle(profile(config, None).into_handle())
            .tls_context(config.tls.as_ref().map(tls_context).transpose()?);
        if let Some(auth) = &config.auth {
            builder = builder.user(auth.user.as_str(), password(&auth.password_file)?);
        }
        let session = builder.build().await.map_err(|error| session_error(config, error))?;

        let (nodes, targets_by_dc) = survey(&session);
        if nodes.keys().all(String::is_empty) {
            // The driver goes on without metadata; nothing could be routed or checked then.
            let contact_points = config.contact_points.join(", ");
            let reason = "system.local and system.peers cannot be read".to_owned();
            return Err(ConnectError::Unreachable { contact_points, reason });
        }
        let local_dc = choose_dc(config.local_dc.as_deref(), &nodes)?;
        let targets = targets_by_dc.get(&local_dc).copied().unwrap_or(1).max(1);
        session
            .get_default_execution_profile_handle()
            .clone()
            .map_to_another_profile(profile(config, Some(&local_dc)));
        let server = detect(&session).await?;
        let release = release(&session).await?;
        tracing::info!(?server, release, local_dc, targets, "connected to the CQL cluster");
        Ok(Self { session, server, release, nodes, local_dc, targets })
    }
}

/// Token- and shard-aware; nothing is retried by the driver: class.rs and store.rs decide.
fn profile(config: &CqlConfig, local_dc: Option<&str>) -> ExecutionProfile {
    let mut policy = DefaultPolicy::builder().token_aware(true).permit_dc_failover(false);
    if let Some(dc) = local_dc {
        policy = policy.prefer_datacenter(dc.to_owned());
    }
    ExecutionProfile::builder()
        .consistency(config.consistency.level())
        .request_timeout(Some(config.request_timeout.duration()))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .load_balancing_policy(policy.build())
        .build()
}

fn password(path: &std::path::Path) -> Result<String, ConnectError> {
    let mut text = std::fs::read_to_string(path)
        .map_err(|source| ConnectError::PasswordFile { path: path.display().to_string(), source })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Nodes, and shards or nodes, per data centre.
fn survey(session: &Session) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let (mut nodes, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for node in session.get_cluster_state().get_nodes_info() {
        let dc = node.datacenter.clone().unwrap_or_default();
        let shards = node.sharder().map_or(1, |sharder| u32::from(sharder.nr_shards.get()));
        *nodes.entry(dc.clone()).or_default() += 1;
        *targets.entry(dc).or_default() += shards;
    }
    (nodes, targets)
}

fn choose_dc(asked: Option<&str>, nodes: &BTreeMap<String, u32>) -> Result<String, ConnectError> {
    let known = || nodes.keys().cloned().collect::<Vec<_>>().join(", ");
    match asked {
        Some(dc) if nodes.contains_key(dc) => Ok(dc.to_owned()),
        Some(dc) => Err(ConnectError::UnknownDc { asked: format!("{dc:?}"), known: known() }),
        None => match nodes.keys().next() {
            Some(only) if nodes.len() == 1 => Ok(only.clone()),
            _ => Err(ConnectError::UnknownDc { asked: "(unset)".to_owned(), known: known() }),
        },
    }
}

async fn detect(session: &Session) -> Result<ServerKind, ConnectError> {
    if session.get_cluster_state().get_nodes_info().iter().any(|node| node.sharder().is_some()) {
        return Ok(ServerKind::Scylla);
    }
    // Behind a proxy the shards may be hidden; the server's own tables are not.
    let tables = crate::schema::tables_of(session, "system").await?;
    match tables.contains("scylla_local") {
        true => Ok(ServerKind::Scylla),
        false => Ok(ServerKind::Cassandra),
    }
}

async fn release(session: &Session) -> Result<String, ConnectError> {
    let rows = session.query_unpaged(crate::statements::SELECT_RELEASE, ()).await?.into_rows_result();
    let release = rows.ok().and_then(|rows| rows.first_row::<(Option<String>,)>().ok()?.0);
    Ok(release.unwrap_or_else(|| "unknown".to_owned()))
}

fn session_error(config: &CqlConfig, error: NewSessionError) -> ConnectError {
    let user =
        || config.auth.as_ref().map_or("nobody (cql.auth is unset)".to_owned(), |a| format!("{:?}", a.user));
    let broken = match &error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        })) => Some(last_connection_error),
        _ => None,
    };
    if let Some(ConnectionError::ConnectionSetupRequestError(setup)) = broken {
        match setup.get_error() {
            ConnectionSetupRequestErrorKind::DbError(
                DbError::AuthenticationError | DbError::Unauthorized,
                reason,
            ) => return ConnectError::Login { user: user(), reason: reason.clone() },
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                return ConnectError::Login { user: user(), reason: "it wants a login".to_owned() };
            }
            _ => {}
        }
    }
    let reason = broken.map_or_else(|| error.to_string(), ToString::to_string);
    ConnectError::Unreachable { contact_points: config.contact_points.join(", "), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::RequestAttemptError;

    #[test]
    fn the_data_centre_is_named_or_the_only_one() {
        let one = BTreeMap::from([("dc1".to_owned(), 3)]);
        let two = BTreeMap::from([("dc1".to_owned(), 3), ("dc2".to_owned(), 3)]);
        assert_eq!(choose_dc(None, &one).unwrap(), "dc1");
        assert_eq!(choose_dc(Some("dc2"), &two).unwrap(), "dc2");
        let text = choose_dc(None, &two).unwrap_err().to_string();
        assert!(text.contains("dc1, dc2"), "{text}");
        assert!(choose_dc(Some("dc9"), &one).unwrap_err().to_string().contains("\"dc9\""));
    }

    #[test]
    fn what_is_not_there_yet_and_what_is_forbidden_are_told_apart() {
        let invalid = |error, text: &str| {
            ConnectError::from(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
                error,
                text.into(),
            )))
        };
        let gone = invalid(DbError::Invalid, "table schema_version does not exist");
        assert!(matches!(gone, ConnectError::Incomplete { .. }), "{gone}");
        let forbidden = invalid(DbError::Unauthorized, "User x has no CREATE permission on <all keyspaces>");
        assert!(matches!(forbidden, ConnectError::Forbidden { .. }), "{forbidden}");
        let passing = invalid(DbError::ServerError, "Unknown CF 95494200-e5ba-11f1-9dfa-b956c317cb77");
        assert!(matches!(passing, ConnectError::Passing(_)), "{passing}");
        let other = invalid(DbError::Overloaded, "busy");
        assert!(matches!(other, ConnectError::Request(_)), "{other}");
    }

    #[test]
    fn one_newline_is_not_part_of_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for (content, want) in [("a b\n", "a b"), ("x\r\n", "x"), ("y\n\n", "y\n"), ("z", "z")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(password(&path).unwrap(), want);
        }
        assert!(matches!(password(&dir.path().join("none")), Err(ConnectError::PasswordFile { .. })));
    }
}
