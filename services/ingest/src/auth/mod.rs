//! Who may write which streams: tokens and certificates from a file, and JWTs, bound to stream_id patterns.
//!
//! Owns: the credentials in force, and what is told to those without. Never: a token in clear after loading (only
//! its hash is kept), or a server that anybody can reach without credentials.
//!
//! `table` is the credentials file, `pattern` what a credential covers; [`crate::jwt`] verifies signed tokens.

mod pattern;
mod table;

use crate::config::Config;
use crate::jwt::{Denied, Jwt, JwtError};
use crate::problem::{Kind, Problem};
use crate::tls::Peer;
use evenkeel_chassis::secret::{Secret, SecretError, SecretFile};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

pub(crate) use pattern::Pattern;
pub(crate) use table::Table;

/// Why the credentials are refused at start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Anybody could write.
    #[error(
        "listening on {0} without credentials would let anybody write: set `tokens-file` or `jwt.issuer`, or listen on 127.0.0.1"
    )]
    OpenToTheWorld(SocketAddr),
    /// The file cannot be read.
    #[error("tokens-file: {0}")]
    Read(#[from] SecretError),
    /// The file is not what it should be.
    #[error("tokens-file {path}: {why}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The keys of signed tokens.
    #[error(transparent)]
    Jwt(#[from] JwtError),
}

/// The credentials of the service.
#[derive(Debug)]
pub(crate) struct Auth {
    /// Nobody is asked for credentials (loopback only).
    open: bool,
    table: RwLock<Arc<Table>>,
    /// The file of the table; `None` without one.
    file: Option<SecretFile>,
    /// What the file held when it was last looked at, good or not.
    seen: Mutex<[u8; 32]>,
    jwt: Option<Jwt>,
    anonymous: Arc<Credential>,
    /// Counts the changes: connections that last look again at theirs.
    changes: watch::Sender<u64>,
}

/// Somebody who may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// Its name: the tenant, in quotas and messages.
    pub(crate) name: Arc<str>,
    pub(crate) streams: Vec<Pattern>,
    pub(crate) origin: Origin,
    /// From this arrival time on it is worth nothing, ms since the epoch.
    pub(crate) expires_at_ms: Option<i64>,
}

/// Where a credential comes from, and so what may take it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody was asked.
    Anonymous,
    /// The configuration: what comes by a way of our own.
    Config,
    /// A token of the file, by its hash.
    Token([u8; 32]),
    /// A certificate that the file names.
    Certificate(String),
    /// A signed token, and the key that signed it.
    Jwt { key: [u8; 32] },
}

/// Why a request has no credential. The metric's label, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the authorization header is missing")]
    Missing,
    #[error("the authorization header is not `Bearer <token>`")]
    NotBearer,
    #[error("the token is not known")]
    Token,
    #[error("there is no authorization header, and the client certificate is not known")]
    Certificate,
    #[error("the client certificate has expired")]
    CertificateExpired,
    #[error("the token is refused: {0}")]
    Jwt(Denied),
}

impl Unknown {
    /// Every label of the metric.
    pub(crate) const LABELS: [&'static str; 6] =
        ["missing", "unknown", "expired", "invalid", "unknown_key", "keys_unavailable"];

    /// Its place in [`Self::LABELS`].
    pub(crate) fn label(&self) -> usize {
        match self {
            Self::Missing | Self::NotBearer => 0,
            Self::Token | Self::Certificate => 1,
            Self::CertificateExpired | Self::Jwt(Denied::Expired { .. }) => 2,
            Self::Jwt(Denied::UnknownKey) => 4,
            Self::Jwt(Denied::NoKeys) => 5,
            Self::Jwt(_) => 3,
        }
    }

    /// The answer. `spread` is drawn per client.
    pub(crate) fn problem(&self, spread: u64) -> Problem {
        match self {
            // Nothing is wrong with the client: it may come again with the same token.
            Self::Jwt(Denied::NoKeys) => Problem {
                retry_after_ms: Some(1000 + spread % 4000),
                ..Problem::new(Kind::KeysUnavailable, self.to_string())
            },
            _ => Problem::new(Kind::Unauthenticated, self.to_string()),
        }
    }
}

impl Auth {
    /// Loads the credentials. Without a file (an empty path) and without JWTs everybody may write every stream, so
    /// `listen` must be loopback.
    pub(crate) fn load(config: &Config, now_ms: i64) -> Result<Self, AuthError> {
        let path = config.tokens_file.path();
        let (listen, from_file) = (config.listen, !path.as_os_str().is_empty());
        let jwt = Jwt::load(&config.jwt, now_ms)?;
        let open = !from_file && jwt.is_none();
        let file = from_file.then(|| config.tokens_file.clone());
        let (table, seen) = match &file {
            Some(file) => {
                let secret = file.read()?;
                (table_of(file, &secret)?, hash_of(Ok(&secret)))
            }
            None => (Table::default(), [0; 32]),
        };
        let auth = Self {
            open,
            table: RwLock::new(Arc::new(table)),
            file,
            seen: Mutex::new(seen),
            jwt,
            anonymous: Credential::anonymous(),
            changes: watch::channel(0).0,
        };
        auth.may_listen(listen)?;
        Ok(auth)
    }

    /// Whether this address may be served: without credentials nobody else may reach it.
    pub(crate) fn may_listen(&self, listen: SocketAddr) -> Result<(), AuthError> {
        match self.open && !listen.ip().is_loopback() {
            true => Err(AuthError::OpenToTheWorld(listen)),
            false => Ok(()),
        }
    }

    /// The credential of an `authorization` header at an arrival time; the error says what is wrong with it.
    /// A certificate counts where there is no header.
    pub(crate) fn authenticate(
        &self,
        header: Option<&[u8]>,
        peer: Option<&Peer>,
        now_ms: i64,
    ) -> Result<Arc<Credential>, Unknown> {
        if self.open {
            return Ok(Arc::clone(&self.anonymous));
        }
        let Some(header) = header else {
            return peer.map_or(Err(Unknown::Missing), |peer| self.by_certificate(peer, now_ms));
        };
        header.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")).ok_or(Unknown::NotBearer)?;
        let token = header[7..].trim_ascii();
        if let Some(credential) = self.table().by_token(token) {
            return Ok(Arc::clone(credential));
        }
        match &self.jwt {
            Some(jwt) if token.iter().filter(|&&byte| byte == b'.').count() == 2 => {
                jwt.verify(token, now_ms).map_err(Unknown::Jwt)
            }
            _ => Err(Unknown::Token),
        }
    }

    /// The credential of the first of its names that has one. It ends with the certificate.
    fn by_certificate(&self, peer: &Peer, now_ms: i64) -> Result<Arc<Credential>, Unknown> {
        if peer.expires_at_ms <= now_ms {
            return Err(Unknown::CertificateExpired);
        }
        let table = self.table();
        let named =
            peer.names.iter().find_map(|name| table.by_certificate(name)).ok_or(Unknown::Certificate)?;
        Ok(Arc::new(Credential { expires_at_ms: Some(peer.expires_at_ms), ..Credential::clone(named) }))
    }

    /// Whether a credential of a connection that lasts is still good; the error is what the client is told.
    pub(crate) fn check(&self, credential: &Credential, now_ms: i64) -> Result<(), &'static str> {
        if credential.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            return Err("the credential has expired");
        }
        let stands = match &credential.origin {
            Origin::Anonymous | Origin::Config => true,
            Origin::Token(_) | Origin::Certificate(_) => self.table().holds(credential),
            Origin::Jwt { key } => self.jwt.as_ref().is_some_and(|jwt| jwt.trusts(key, now_ms)),
        };
        if stands { Ok(()) } else { Err("the credential was withdrawn") }
    }

    /// Told at each change of the credentials.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks at the credentials file; `true` = it had changed and is in force. A broken one changes nothing, and is
    /// told once.
    pub(crate) fn reload(&self) -> Result<bool, AuthError> {
        let Some(file) = &self.file else { return Ok(false) };
        let read = file.read();
        let hash = hash_of(read.as_ref());
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == hash {
                return Ok(false);
            }
            *seen = hash;
        }
        let table = table_of(file, &read?)?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.changed();
        Ok(true)
    }

    /// The signed tokens, if there are any.
    pub(crate) fn jwt(&self) -> Option<&Jwt> {
        self.jwt.as_ref()
    }

    /// Connections that last look again at their credentials.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn hash_of(read: Result<&Secret, &SecretError>) -> [u8; 32] {
    *match read {
        Ok(secret) => blake3::hash(secret.expose().as_bytes()),
        Err(error) => blake3::hash(error.to_string().as_bytes()),
    }
    .as_bytes()
}

fn table_of(file: &SecretFile, text: &Secret) -> Result<Table, AuthError> {
    let path = file.path().display().to_string();
    Table::parse(text.expose()).map_err(|why| AuthError::Format { path, why })
}

impl Credential {
    pub(crate) fn anonymous() -> Arc<Self> {
        let streams = vec![Pattern("*".into())];
        Arc::new(Self { name: "anonymous".into(), streams, origin: Origin::Anonymous, expires_at_ms: None })
    }

    /// One of the configuration, for what comes by a way without credentials.
    pub(crate) fn of_config(name: &str, streams: &[String]) -> Arc<Self> {
        let streams = streams.iter().cloned().map(Pattern).collect();
        Arc::new(Self { name: name.into(), streams, origin: Origin::Config, expires_at_ms: None })
    }

    /// Whether nobody was asked for credentials.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.origin == Origin::Anonymous
    }

    /// Whether it may write the stream.
    pub(crate) fn allows(&self, stream_id: &str) -> bool {
        self.streams.iter().any(|pattern| pattern.matches(stream_id))
    }
}

#[cfg(test)]
mod tests {
    use super::table::tests::FILE;
    use super::*;
    use crate::config::DEFAULT_TOML;

    fn config(listen: &str) -> Config {
        let mut config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        config.listen = listen.parse().unwrap();
        config
    }

    #[test]
    fn a_token_opens_its_streams_only() {
        let mut auth = Auth::load(&config("127.0.0.1:0"), 0).unwrap();
        auth.open = false;
        auth.table = RwLock::new(Arc::new(Table::parse(FILE).unwrap()));
        let credential = auth.authenticate(Some(b"bearer wearables-0123456789"), None, 0).unwrap();
        assert!(credential.allows("imu/1") && credential.allows("app/x") && !credential.allows("bowl/1"));
        assert_eq!(auth.check(&credential, i64::MAX), Ok(()));
        let with = |header: &'static [u8]| auth.authenticate(Some(header), None, 0).unwrap_err();
        assert_eq!(auth.authenticate(None, None, 0).unwrap_err(), Unknown::Missing);
        assert_eq!(with(b"Bearer wearables-012345678"), Unknown::Token);
        assert_eq!(with(b"Basic d2VhcmFibGVz"), Unknown::NotBearer);
        assert_eq!(with(b"Bearer"), Unknown::NotBearer);
    }

    #[test]
    fn what_has_expired_or_was_taken_away_is_told_apart() {
        let auth = Auth::load(&config("127.0.0.1:0"), 0).unwrap();
        let table = Table::parse(FILE).unwrap();
        let mut credential = Credential::clone(table.by_token(b"wearables-0123456789").unwrap());
        assert_eq!(auth.check(&credential, 0), Err("the credential was withdrawn"));
        credential.expires_at_ms = Some(5);
        assert_eq!(auth.check(&credential, 5), Err("the credential has expired"));
        assert_eq!(auth.check(&auth.anonymous, i64::MAX), Ok(()));
    }

    #[test]
    fn no_credentials_only_on_loopback() {
        let open = Auth::load(&config("127.0.0.1:0"), 0).unwrap();
        assert!(open.authenticate(None, None, 0).unwrap().allows("anything"));
        let refused = Auth::load(&config("0.0.0.0:8080"), 0).unwrap_err();
        assert!(refused.to_string().contains("set `tokens-file`"), "{refused}");
    }
}
