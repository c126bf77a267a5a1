//! The credentials in force: the table of the file, and the keys of signed tokens.

use crate::config::JwtConfig;
use crate::credential::{Credential, Origin};
use crate::jwt::{Denied, Jwt, JwtError};
use crate::table::Table;
use crate::tls::Peer;
use evenkeel_chassis::secret::{Secret, SecretError, SecretFile};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Why the credentials are refused at start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Anybody could come.
    #[error(
        "listening on {0} without credentials would serve anybody: set `tokens-file` or `jwt.issuer`, or listen on 127.0.0.1"
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

/// The credentials of a service.
#[derive(Debug)]
pub struct Auth {
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

/// Why a request has no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Nothing was sent.
    #[error("the authorization header is missing")]
    Missing,
    /// Another scheme.
    #[error("the authorization header is not `Bearer <token>`")]
    NotBearer,
    /// A token nobody knows.
    #[error("the token is not known")]
    Token,
    /// A certificate nobody knows.
    #[error("there is no authorization header, and the client certificate is not known")]
    Certificate,
    /// A certificate whose time is over.
    #[error("the client certificate has expired")]
    CertificateExpired,
    /// A signed token that is refused.
    #[error("the token is refused: {0}")]
    Jwt(Denied),
}

impl Unknown {
    /// Every label of the metric.
    pub const LABELS: [&'static str; 6] =
        ["missing", "unknown", "expired", "invalid", "unknown_key", "keys_unavailable"];

    /// Whether its time is over, so that a new one may be good.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::CertificateExpired | Self::Jwt(Denied::Expired { .. }))
    }

    /// Whether nothing is wrong with the client: it may come again with the same token.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Jwt(Denied::NoKeys))
    }

    /// Its place in [`Self::LABELS`].
    pub fn label(&self) -> usize {
        match self {
            Self::Missing | Self::NotBearer => 0,
            Self::Token | Self::Certificate => 1,
            Self::CertificateExpired | Self::Jwt(Denied::Expired { .. }) => 2,
            Self::Jwt(Denied::UnknownKey) => 4,
            Self::Jwt(Denied::NoKeys) => 5,
            Self::Jwt(_) => 3,
        }
    }
}

/// Where a service's credentials come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The credentials file; an empty path = none.
    pub tokens_file: &'a SecretFile,
    /// Signed tokens.
    pub jwt: &'a JwtConfig,
    /// Their claim with permissions, where the service has such.
    pub permissions_claim: Option<&'a str>,
}

impl Auth {
    /// Loads the credentials. Without a file (an empty path) and without JWTs everybody may everything, so `listen`
    /// must be loopback.
    pub fn load(sources: Sources<'_>, now_ms: i64) -> Result<Self, AuthError> {
        let from_file = !sources.tokens_file.path().as_os_str().is_empty();
        let jwt = Jwt::load(sources.jwt, sources.permissions_claim, now_ms)?;
        let open = !from_file && jwt.is_none();
        let file = from_file.then(|| sources.tokens_file.clone());
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
        auth.may_listen(sources.listen)?;
        Ok(auth)
    }

    /// Whether this address may be served: without credentials nobody else may reach it.
    pub fn may_listen(&self, listen: SocketAddr) -> Result<(), AuthError> {
        match self.open && !listen.ip().is_loopback() {
            true => Err(AuthError::OpenToTheWorld(listen)),
            false => Ok(()),
        }
    }

    /// The credential of an `authorization` header at an arrival time; the error says what is wrong with it.
    /// A certificate counts where there is no header.
    pub fn authenticate(
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
    pub fn check(&self, credential: &Credential, now_ms: i64) -> Result<(), &'static str> {
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
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks at the credentials file; `true` = it had changed and is in force. A broken one changes nothing, and is
    /// told once.
    pub fn reload(&self) -> Result<bool, AuthError> {
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

    /// Looks at the file of keys, if there is one; `true` = it had changed and is in force.
    pub fn reload_keys(&self, now_ms: i64) -> Result<bool, JwtError> {
        let Some(jwt) = &self.jwt else { return Ok(false) };
        let looked = jwt.reload(now_ms);
        if !matches!(looked, Ok(false)) {
            self.changed();
        }
        looked
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::jwt;
    use crate::table::tests::FILE;

    fn load(listen: &str) -> Result<Auth, AuthError> {
        let none = JwtConfig { issuer: String::new(), ..jwt() };
        let (listen, tokens_file) = (listen.parse().unwrap(), &SecretFile::new(""));
        Auth::load(Sources { listen, tokens_file, jwt: &none, permissions_claim: None }, 0)
    }

    #[test]
    fn a_token_opens_its_streams_only() {
        let mut auth = load("127.0.0.1:0").unwrap();
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
        let auth = load("127.0.0.1:0").unwrap();
        let table = Table::parse(FILE).unwrap();
        let mut credential = Credential::clone(table.by_token(b"wearables-0123456789").unwrap());
        assert_eq!(auth.check(&credential, 0), Err("the credential was withdrawn"));
        credential.expires_at_ms = Some(5);
        assert_eq!(auth.check(&credential, 5), Err("the credential has expired"));
        assert_eq!(auth.check(&auth.anonymous, i64::MAX), Ok(()));
    }

    #[test]
    fn no_credentials_only_on_loopback() {
        let open = load("127.0.0.1:0").unwrap();
        assert!(open.authenticate(None, None, 0).unwrap().allows("anything"));
        let refused = load("0.0.0.0:8080").unwrap_err();
        assert!(refused.to_string().contains("set `tokens-file`"), "{refused}");
    }
}
