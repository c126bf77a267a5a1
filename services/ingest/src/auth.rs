//! Who may write which streams: static tokens from a file, bound to stream_id patterns.
//!
//! Owns: the credentials. Never: a token in clear after loading (only its hash is kept), or a server that
//! anybody can reach without credentials.

use evenkeel_chassis::secret::{SecretError, SecretFile};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Shortest token, bytes: 16 random bytes in hex are 32.
const TOKEN_BYTES_MIN: usize = 16;

/// Why the credentials are refused at start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Anybody could write.
    #[error(
        "listening on {0} without credentials would let anybody write: set `tokens-file`, or listen on 127.0.0.1"
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
}

/// The credentials of the service.
#[derive(Debug)]
pub struct Auth {
    // None: no credentials are asked for (loopback only).
    by_hash: Option<BTreeMap<[u8; 32], Arc<Credential>>>,
    anonymous: Arc<Credential>,
}

/// Somebody who may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name: the tenant, in metrics and logs.
    pub name: String,
    streams: Vec<Pattern>,
    anonymous: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default)]
    credential: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    name: String,
    token: String,
    streams: Vec<String>,
}

impl Auth {
    /// Loads the credentials. Without a file (an empty path) everybody may write every stream, so `listen`
    /// must be loopback.
    pub fn load(tokens_file: &SecretFile, listen: SocketAddr) -> Result<Self, AuthError> {
        if tokens_file.path().as_os_str().is_empty() {
            return match listen.ip().is_loopback() {
                true => Ok(Self { by_hash: None, anonymous: Credential::anonymous() }),
                false => Err(AuthError::OpenToTheWorld(listen)),
            };
        }
        let text = tokens_file.read()?;
        let path = tokens_file.path().display().to_string();
        Self::parse(text.expose()).map_err(|why| AuthError::Format { path, why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message would print the line, and with it a token.
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if file.credential.is_empty() {
            return Err("holds no [[credential]]; add one with name, token and streams".into());
        }
        let mut by_hash = BTreeMap::new();
        for entry in file.credential {
            let name = entry.name;
            if entry.token.len() < TOKEN_BYTES_MIN {
                return Err(format!("credential {name:?}: the token has less than {TOKEN_BYTES_MIN} bytes"));
            }
            if entry.streams.is_empty() {
                return Err(format!("credential {name:?}: `streams` is empty; list at least one pattern"));
            }
            let streams = entry.streams.into_iter().map(Pattern).collect();
            let hash = *blake3::hash(entry.token.as_bytes()).as_bytes();
            if by_hash
                .insert(hash, Arc::new(Credential { name: name.clone(), streams, anonymous: false }))
                .is_some()
            {
                return Err(format!("credential {name:?}: another credential has the same token"));
            }
        }
        Ok(Self { by_hash: Some(by_hash), anonymous: Credential::anonymous() })
    }

    /// The credential of an `authorization` header; the error says what is wrong with it.
    pub fn authenticate(&self, header: Option<&[u8]>) -> Result<Arc<Credential>, &'static str> {
        let Some(by_hash) = &self.by_hash else { return Ok(Arc::clone(&self.anonymous)) };
        let header = header.ok_or("the authorization header is missing")?;
        let scheme = header.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        if scheme.is_none() {
            return Err("the authorization header is not `Bearer <token>`");
        }
        // Looking up a hash tells an attacker's clock nothing about the tokens.
        let found = by_hash.get(blake3::hash(header[7..].trim_ascii()).as_bytes());
        found.cloned().ok_or("the token is not known")
    }
}

impl Credential {
    fn anonymous() -> Arc<Self> {
        Arc::new(Self { name: "anonymous".into(), streams: vec![Pattern("*".into())], anonymous: true })
    }

    /// One of the configuration's own, for what comes by a way without credentials.
    pub(crate) fn of_config(name: &str, streams: &[String]) -> Arc<Self> {
        let streams = streams.iter().cloned().map(Pattern).collect();
        Arc::new(Self { name: name.to_owned(), streams, anonymous: false })
    }

    /// Whether nobody was asked for credentials.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Whether it may write the stream.
    pub fn allows(&self, stream_id: &str) -> bool {
        self.streams.iter().any(|pattern| pattern.matches(stream_id))
    }
}

/// A stream_id pattern: `*` stands for any run of characters (also `/`), `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    /// Linear in practice, at worst pattern × text: it only ever backs up to the last `*`.
    fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    last_star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == '?' || c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match last_star {
                    Some((star, from)) => {
                        last_star = Some((star, from + 1));
                        (p, t) = (star + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[credential]]
        name = "wearables"
        token = "wearables-0123456789"
        streams = ["imu/*", "app/?"]
    "#;

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, text, want) in [
            ("imu/*", "imu/S06/ankle", true),
            ("imu/*", "imu/", true),
            ("imu/*", "imu", false),
            ("imu/*", "ximu/a", false),
            ("*", "", true),
            ("*a*b", "xaab", true),
            ("*a*b", "xaabc", false),
            ("app/?", "app/ü", true),
            ("app/?", "app/ab", false),
            ("", "", true),
            ("a**", "a", true),
        ] {
            assert_eq!(Pattern(pattern.into()).matches(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn a_token_opens_its_streams_only() {
        let auth = Auth::parse(FILE).unwrap();
        let credential = auth.authenticate(Some(b"bearer wearables-0123456789")).unwrap();
        assert!(credential.allows("imu/1") && credential.allows("app/x") && !credential.allows("bowl/1"));
        assert!(auth.authenticate(None).is_err());
        assert!(auth.authenticate(Some(b"Bearer wearables-012345678")).is_err());
        assert!(auth.authenticate(Some(b"Basic d2VhcmFibGVz")).is_err());
        assert!(auth.authenticate(Some(b"Bearer")).is_err());
    }

    #[test]
    fn no_credentials_only_on_loopback() {
        let open = Auth::load(&SecretFile::new(""), "127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(open.authenticate(None).unwrap().allows("anything"));
        let refused = Auth::load(&SecretFile::new(""), "0.0.0.0:8080".parse().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("set `tokens-file`"), "{refused}");
    }

    #[test]
    fn files_with_holes_are_refused_without_showing_a_token() {
        for (text, want) in [
            ("", "no [[credential]]"),
            (&FILE.replace("wearables-0123456789", "short"), "less than 16"),
            (&FILE.replace(r#""imu/*", "app/?""#, ""), "`streams` is empty"),
            (&format!("{FILE}{FILE}"), "the same token"),
            (&FILE.replace("name", "nome"), "unknown field"),
        ] {
            let why = Auth::parse(text).unwrap_err();
            assert!(why.contains(want) && !why.contains("0123456789"), "{why}");
        }
    }
}
