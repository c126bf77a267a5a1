//! Signed tokens (JWT): whether one is good, and what it allows.
//!
//! Owns: the key set in force, the tokens verified already. Never: `none` or a shared secret as an algorithm; a key
//! set older than `trust-max`; a token, or a part of one, in a message.
//! Bounds: `remembered-max` verified tokens are remembered by their hash, past that one of them is verified again;
//! [`PATTERNS_MAX`] patterns per token.
//!
//! `crypto` is OpenSSL for the library, `keys` the key set, `refresh` when it is fetched, `fetch` how.

mod crypto;
mod fetch;
mod keys;
mod refresh;

use crate::config::JwtConfig;
use crate::credential::{Credential, Origin, Permission};
use crate::pattern::Pattern;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use keys::KeySet;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::Notify;

/// Most stream_id patterns of a token.
const PATTERNS_MAX: usize = 64;
/// Longest pattern and longest tenant, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Why the keys are refused at start.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The file cannot be read.
    #[error("jwt.jwks-file {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no keys.
    #[error("jwt.jwks-file {} {why}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Why a token is refused. Never names a part of it but a claim's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No JWT.
    #[error("it is no JWT of three parts in base64url with a header that names one of {allowed}")]
    Unreadable {
        /// The algorithms of the configuration.
        allowed: Arc<str>,
    },
    /// Signed by an algorithm that is not taken.
    #[error("its algorithm is none of {allowed}")]
    Algorithm {
        /// The algorithms of the configuration.
        allowed: Arc<str>,
    },
    /// Extensions that must be understood.
    #[error("its header has critical extensions, which are not understood here")]
    Critical,
    /// There are no keys, or they are too old.
    #[error("the keys of the issuer are not at hand; the server is fetching them")]
    NoKeys,
    /// The key it names is not there.
    #[error("it is signed with a key that the issuer's key set does not have")]
    UnknownKey,
    /// The signature is another.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it expired {ago_s} s ago")]
    Expired {
        /// s.
        ago_s: i64,
    },
    /// Its time is to come.
    #[error("it is not valid yet, for another {in_s} s")]
    NotYet {
        /// s.
        in_s: i64,
    },
    /// Of somebody else.
    #[error("its issuer (iss) is another")]
    Issuer,
    /// For somebody else.
    #[error("it is for another audience (aud)")]
    Audience,
    /// A claim is missing or wrong.
    #[error("its claim `{name}` {what}")]
    Claim {
        /// The claim.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// The signed tokens of one issuer.
#[derive(Debug)]
pub(crate) struct Jwt {
    rules: Rules,
    keys: RwLock<Option<Held>>,
    /// The file of the keys; `None` where a URL has them.
    file: Option<PathBuf>,
    /// What the file held when it was last looked at, good or not.
    seen: Mutex<Option<[u8; 32]>>,
    known: Mutex<Known>,
    /// Told when a token names a key that is not there.
    wanted: Notify,
}

/// The key set in force.
#[derive(Debug, Clone)]
struct Held {
    set: Arc<KeySet>,
    /// The hash of its document.
    of: [u8; 32],
    since_ms: i64,
}

#[derive(Debug)]
struct Rules {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    allowed: Arc<str>,
    leeway_ms: i64,
    trust_max_ms: i64,
    streams_claim: String,
    tenant_claim: String,
    /// `None` = this service has no permissions.
    permissions_claim: Option<String>,
}

impl Jwt {
    /// `None` while `issuer` is empty. A key file must be readable; a URL may be away at the start.
    pub(crate) fn load(
        config: &JwtConfig,
        permissions_claim: Option<&str>,
        now_ms: i64,
    ) -> Result<Option<Self>, JwtError> {
        if config.issuer.is_empty() {
            return Ok(None);
        }
        crypto::install();
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let jwt = Self {
            rules: Rules {
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                algorithms: config
                    .algorithms
                    .iter()
                    .filter_map(|name| Algorithm::from_str(name).ok())
                    .collect(),
                allowed: config.algorithms.join(", ").into(),
                leeway_ms: ms(config.leeway.ms()),
                trust_max_ms: ms(config.trust_max.ms()),
                streams_claim: config.streams_claim.clone(),
                tenant_claim: config.tenant_claim.clone(),
                permissions_claim: permissions_claim.map(str::to_owned),
            },
            keys: RwLock::new(None),
            file: (!config.jwks_file.as_os_str().is_empty()).then(|| config.jwks_file.clone()),
            seen: Mutex::new(None),
            known: Mutex::new(Known {
                tokens: BTreeMap::new(),
                tokens_max: config.remembered_max,
                swept_ms: i64::MIN,
            }),
            wanted: Notify::new(),
        };
        jwt.reload(now_ms)?;
        Ok(Some(jwt))
    }

    /// Looks at the key file; `true` = it had changed and is in force. A broken one changes nothing and is told once,
    /// but its keys age from now on; one that is as it was keeps them young.
    pub(crate) fn reload(&self, now_ms: i64) -> Result<bool, JwtError> {
        let Some(path) = &self.file else { return Ok(false) };
        let read = read_bounded(path);
        let hash = match &read {
            Ok(text) => *blake3::hash(text).as_bytes(),
            Err(error) => *blake3::hash(error.to_string().as_bytes()).as_bytes(),
        };
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(hash);
        if before == Some(hash) {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = keys.as_mut().filter(|held| held.of == hash) {
                held.since_ms = now_ms;
            }
            return Ok(false);
        }
        let text = read.map_err(|source| JwtError::Read { path: path.clone(), source })?;
        self.replace(&text, now_ms).map_err(|why| JwtError::Keys { path: path.clone(), why })?;
        Ok(true)
    }

    /// Takes a new document of keys; a broken one changes nothing. Answers how many keys there are.
    pub(crate) fn replace(&self, text: &[u8], now_ms: i64) -> Result<usize, String> {
        let set = Arc::new(KeySet::parse(text)?);
        let count = set.len();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Held { set, of: *blake3::hash(text).as_bytes(), since_ms: now_ms });
        // What a key verified that is gone must not outlive it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).tokens.clear();
        Ok(count)
    }

    /// The credential of a token at an arrival time.
    pub(crate) fn verify(&self, token: &[u8], now_ms: i64) -> Result<Arc<Credential>, Denied> {
        let keys = self.held(now_ms).ok_or_else(|| {
            self.wanted.notify_one();
            Denied::NoKeys
        })?;
        let hash = *blake3::hash(token).as_bytes();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash, now_ms);
        // A token may have been remembered while its key was being withdrawn.
        let trusted = |credential: &Arc<Credential>| match &credential.origin {
            Origin::Jwt { key } => keys.holds(key),
            _ => false,
        };
        if let Some(credential) = known.filter(trusted) {
            return Ok(credential);
        }
        let credential = Arc::new(self.judge(&keys, token, now_ms)?);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(hash, &credential, now_ms);
        Ok(credential)
    }

    /// Whether the key is trusted at this time.
    pub(crate) fn trusts(&self, key: &[u8; 32], now_ms: i64) -> bool {
        self.held(now_ms).is_some_and(|keys| keys.holds(key))
    }

    /// The key set, unless it is too old.
    fn held(&self, now_ms: i64) -> Option<Arc<KeySet>> {
        let held = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        (now_ms.saturating_sub(held.since_ms) <= self.rules.trust_max_ms).then_some(held.set)
    }

    fn judge(&self, keys: &KeySet, token: &[u8], now_ms: i64) -> Result<Credential, Denied> {
        let rules = &self.rules;
        let unreadable = || Denied::Unreadable { allowed: Arc::clone(&rules.allowed) };
        let header = decode_header(token).map_err(|_| unreadable())?;
        // Before any key is looked at: the client must not choose how it is verified.
        if !rules.algorithms.contains(&header.alg) {
            return Err(Denied::Algorithm { allowed: Arc::clone(&rules.allowed) });
        }
        if header.crit.is_some() {
            return Err(Denied::Critical);
        }
        let Some(key) = keys.find(header.kid.as_deref(), header.alg) else {
            self.wanted.notify_one();
            return Err(Denied::UnknownKey);
        };
        let claims = decode::<BTreeMap<String, Value>>(token, &key.decoding, &rules.validation(header.alg));
        let claims = claims.map_err(|error| match error.into_kind() {
            ErrorKind::InvalidSignature => Denied::Signature,
            ErrorKind::InvalidIssuer => Denied::Issuer,
            ErrorKind::InvalidAudience => Denied::Audience,
            ErrorKind::MissingRequiredClaim(name) => Denied::Claim { name, what: "is missing or unreadable" },
            _ => unreadable(),
        })?;
        rules.credential(&claims.claims, key.id, now_ms)
    }
}

impl Rules {
    /// What the library judges. Not the time: it would ask the machine's clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn credential(
        &self,
        claims: &BTreeMap<String, Value>,
        key: [u8; 32],
        now_ms: i64,
    ) -> Result<Credential, Denied> {
        let wrong = |name: &str, what| Denied::Claim { name: name.to_owned(), what };
        let time_ms = |name: &str| match claims.get(name) {
            Some(value) => match value.as_f64() {
                Some(s) => Ok(Some((s * 1000.0) as i64)), // saturates
                None => Err(wrong(name, "is no number of seconds")),
            },
            None => Ok(None),
        };
        let expires_at_ms = time_ms("exp")?.ok_or_else(|| wrong("exp", "is missing"))?;
        let expires_at_ms = expires_at_ms.saturating_add(self.leeway_ms);
        if expires_at_ms <= now_ms {
            return Err(Denied::Expired { ago_s: now_ms.saturating_sub(expires_at_ms) / 1000 });
        }
        let from_ms = time_ms("nbf")?.unwrap_or(i64::MIN).saturating_sub(self.leeway_ms);
        if from_ms > now_ms {
            return Err(Denied::NotYet { in_s: from_ms.saturating_sub(now_ms) / 1000 });
        }
        let name = match claims.get(&self.tenant_claim) {
            Some(Value::String(name)) => name.clone(),
            _ => return Err(wrong(&self.tenant_claim, "is missing or no text; it names the tenant")),
        };
        if !(1..=TEXT_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(wrong(
                &self.tenant_claim,
                "is empty, longer than 256 bytes or has control characters",
            ));
        }
        let streams =
            patterns(claims.get(&self.streams_claim)).map_err(|what| wrong(&self.streams_claim, what))?;
        let permissions = self.permissions_claim.as_ref().and_then(|claim| claims.get(claim));
        Ok(Credential {
            name: name.into(),
            streams,
            permissions: granted(permissions),
            origin: Origin::Jwt { key },
            expires_at_ms: Some(expires_at_ms),
        })
    }
}

/// A list of permissions, or one text with spaces. Those of other services are passed over.
fn granted(claim: Option<&Value>) -> BTreeSet<Permission> {
    match claim {
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).filter_map(Permission::named).collect()
        }
        Some(Value::String(text)) => text.split_ascii_whitespace().filter_map(Permission::named).collect(),
        _ => BTreeSet::new(),
    }
}

/// An array of patterns, or one text with spaces between them, as scopes are written.
fn patterns(claim: Option<&Value>) -> Result<Vec<Pattern>, &'static str> {
    let texts: Vec<&str> = match claim {
        Some(Value::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            texts.ok_or("holds something else than texts")?
        }
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        _ => return Err("is missing, or neither a list of stream_id patterns nor a text of them"),
    };
    if texts.is_empty() || texts.len() > PATTERNS_MAX {
        return Err("must hold 1 to 64 stream_id patterns");
    }
    if texts.iter().any(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        return Err("holds an empty pattern, or one longer than 256 bytes");
    }
    Ok(texts.into_iter().map(Pattern::new).collect())
}

/// One byte more than a key set may have says that it has too many.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(keys::KEYS_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Tokens verified already, by hash.
#[derive(Debug)]
struct Known {
    tokens: BTreeMap<[u8; 32], Arc<Credential>>,
    tokens_max: usize,
    /// When the expired ones were last looked for: that visits all of them.
    swept_ms: i64,
}

/// Time between two looks for expired tokens.
const SWEEP_MS: i64 = 5_000;

impl Known {
    /// One that has expired is forgotten, and verified again to say so.
    fn get(&mut self, hash: &[u8; 32], now_ms: i64) -> Option<Arc<Credential>> {
        let credential = self.tokens.get(hash)?;
        if credential.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.tokens.remove(hash);
            return None;
        }
        Some(Arc::clone(credential))
    }

    /// In a full table the expired ones go, or else the first: hashes are in no order that anybody chooses.
    fn put(&mut self, hash: [u8; 32], credential: &Arc<Credential>, now_ms: i64) {
        if self.tokens.len() >= self.tokens_max && now_ms >= self.swept_ms.saturating_add(SWEEP_MS) {
            self.swept_ms = now_ms;
            self.tokens.retain(|_, known| known.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms));
        }
        if self.tokens.len() >= self.tokens_max {
            self.tokens.pop_first();
        }
        self.tokens.insert(hash, Arc::clone(credential));
    }
}

#[cfg(test)]
mod tests;
