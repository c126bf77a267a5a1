//! The credentials file: who may what, by token or by client certificate.
//!
//! Owns: the parsed file. Never: a token in clear after parsing (only its hash is kept).

use crate::credential::{Credential, Origin, Permission};
use crate::pattern::Pattern;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Shortest token, bytes: 16 random bytes in hex are 32.
const TOKEN_BYTES_MIN: usize = 16;

/// The credentials of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    tokens: BTreeMap<[u8; 32], Arc<Credential>>,
    certificates: BTreeMap<String, Arc<Credential>>,
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
    token: Option<String>,
    certificate: Option<String>,
    streams: Vec<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

impl Table {
    /// Reads the text of a file; the error names the credential and never shows a token.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message would print the line, and with it a token.
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if file.credential.is_empty() {
            return Err(
                "holds no [[credential]]; add one with name, token or certificate, and streams".into()
            );
        }
        let mut table = Self::default();
        for entry in file.credential {
            table.add(entry)?;
        }
        Ok(table)
    }

    fn add(&mut self, entry: Entry) -> Result<(), String> {
        let Entry { name, token, certificate, streams, permissions } = entry;
        let wrong = |why: &str| Err(format!("credential {name:?}: {why}"));
        if streams.is_empty() {
            return wrong("`streams` is empty; list at least one pattern");
        }
        let streams: Vec<Pattern> = streams.into_iter().map(Pattern::new).collect();
        let mut granted = BTreeSet::new();
        for permission in &permissions {
            match Permission::named(permission) {
                Some(permission) => granted.insert(permission),
                None => return wrong(&format!("the permission {permission:?} is neither fleet nor alerts")),
            };
        }
        let shared: Arc<str> = name.as_str().into();
        let credential = |origin| {
            let permissions = granted;
            Arc::new(Credential { name: shared, streams, permissions, origin, expires_at_ms: None })
        };
        match (token, certificate) {
            (Some(token), None) => {
                if token.len() < TOKEN_BYTES_MIN {
                    return wrong(&format!("the token has less than {TOKEN_BYTES_MIN} bytes"));
                }
                let hash = *blake3::hash(token.as_bytes()).as_bytes();
                if self.tokens.insert(hash, credential(Origin::Token(hash))).is_some() {
                    return wrong("another credential has the same token");
                }
            }
            (None, Some(certificate)) => {
                if certificate.is_empty() {
                    return wrong(
                        "`certificate` is empty; name the subject's CN, or a DNS name or URI of its SAN",
                    );
                }
                let made = credential(Origin::Certificate(certificate.clone()));
                if self.certificates.insert(certificate, made).is_some() {
                    return wrong("another credential has the same certificate");
                }
            }
            _ => return wrong("it needs exactly one of `token` and `certificate`"),
        }
        Ok(())
    }

    /// The credential of a token. Looking up a hash tells an attacker's clock nothing about the tokens.
    pub(crate) fn by_token(&self, token: &[u8]) -> Option<&Arc<Credential>> {
        self.tokens.get(blake3::hash(token).as_bytes())
    }

    /// The credential of a name in a certificate.
    pub(crate) fn by_certificate(&self, name: &str) -> Option<&Arc<Credential>> {
        self.certificates.get(name)
    }

    /// Whether a credential that it gave out earlier is still in it, unchanged.
    pub(crate) fn holds(&self, credential: &Credential) -> bool {
        let now = match &credential.origin {
            Origin::Token(hash) => self.tokens.get(hash),
            Origin::Certificate(name) => self.certificates.get(name),
            Origin::Anonymous | Origin::Config | Origin::Jwt { .. } => None,
        };
        now.is_some_and(|now| {
            now.name == credential.name
                && now.streams == credential.streams
                && now.permissions == credential.permissions
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A credentials file.
    pub(crate) const FILE: &str = r#"
        [[credential]]
        name = "wearables"
        token = "wearables-0123456789"
        streams = ["imu/*", "app/?"]
    "#;

    #[test]
    fn files_with_holes_are_refused_without_showing_a_token() {
        for (text, want) in [
            ("", "no [[credential]]"),
            (&FILE.replace("wearables-0123456789", "short"), "less than 16"),
            (&FILE.replace(r#""imu/*", "app/?""#, ""), "`streams` is empty"),
            (&format!("{FILE}{FILE}"), "the same token"),
            (&FILE.replace("name", "nome"), "unknown field"),
            (&format!("{FILE}permissions = ['flet']"), "neither fleet nor alerts"),
            (&format!("{FILE}certificate = 'a'"), "exactly one of"),
            (
                &FILE.replace("token", "certificate").replace("wearables-0123456789", ""),
                "`certificate` is empty",
            ),
        ] {
            let why = Table::parse(text).unwrap_err();
            assert!(why.contains(want) && !why.contains("0123456789"), "{why}");
        }
    }

    #[test]
    fn a_changed_credential_is_no_longer_the_one_it_was() {
        let before = Table::parse(FILE).unwrap();
        let credential = Arc::clone(before.by_token(b"wearables-0123456789").unwrap());
        assert!(before.holds(&credential));
        let more = format!("{FILE}permissions = ['fleet']");
        for change in [FILE.replace("app/?", "app/*"), FILE.replace("0123456789", "9876543210"), more] {
            assert!(!Table::parse(&change).unwrap().holds(&credential), "{change}");
        }
    }
}
