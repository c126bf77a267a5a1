//! The registry's HTTP interface: three requests, all that is needed of it.
//!
//! Owns: the connection and what its answers mean. Never: follows a redirect (the operator named the place), reads more
//! than [`ANSWER_BYTES_MAX`], shows a password.

use super::SchemaRegistry;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Request, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Longest answer read, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Why a schema registry is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answered, or not in HTTP.
    #[error(
        "no schema registry answered at {url} ({error}); check that it runs, kafka.schema-registry.url, and ca-file \
         if it speaks TLS"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What was seen last.
        error: String,
    },
    /// It does not know us.
    #[error(
        "the schema registry at {url} refused the login ({status}); check kafka.schema-registry.username and \
         password-file, and what that user may do"
    )]
    Login {
        /// Where.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// One of our schemas is not there, and may not be put there by us.
    #[error(
        "the schema registry at {url} has no such schema under subject {subject}; register schemas/avro/{schema}.avsc \
         there, or set kafka.schema-registry.register = true"
    )]
    NotRegistered {
        /// Where.
        url: String,
        /// The subject asked for.
        subject: String,
        /// The schema's name.
        schema: &'static str,
    },
    /// It answered, and would not.
    #[error("the schema registry at {url} refused {what}: {status} {text}")]
    Refused {
        /// Where.
        url: String,
        /// What was asked.
        what: String,
        /// The status it answered.
        status: u16,
        /// What it said.
        text: String,
    },
    /// A file of the settings.
    #[error("cannot use {file} of kafka.schema-registry: {error}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        error: String,
    },
}

impl RegistryError {
    /// Whether the same request may work a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// A schema as the registry tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub schema: String,
    /// Absent for Avro.
    #[serde(rename = "schemaType")]
    pub kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Id {
    id: u32,
}

/// A client of one registry.
pub(super) struct Client {
    agent: Agent,
    url: String,
    /// The value of the header, if there is a user.
    authorization: Option<String>,
}

impl Client {
    /// Reads the secret and the certificates; connects nowhere.
    pub fn new(config: &SchemaRegistry, attempt: Duration) -> Result<Self, RegistryError> {
        let mut tls =
            TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier);
        if let Some(file) = &config.ca_file {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(file)?)));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(attempt))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .user_agent("evenkeel")
            .build()
            .new_agent();
        let authorization = match (&config.username, &config.password_file) {
            (Some(user), Some(file)) => {
                let failed =
                    |e: std::io::Error| RegistryError::File { file: file.clone(), error: e.to_string() };
                let secret = std::fs::read_to_string(file).map_err(failed)?;
                Some(basic(user, secret.trim_end_matches(['\r', '\n'])))
            }
            _ => None,
        };
        Ok(Self { agent, url: config.url.trim_end_matches('/').to_owned(), authorization })
    }

    /// Puts a schema under a subject, where it may be already; its id.
    pub fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{}/versions", escape(subject));
        let (status, answer) = self.ask(&path, Some(text))?;
        self.id_of(&path, status, &answer)
    }

    /// The id of a schema under a subject; `None` = it is not there.
    pub fn find(&self, subject: &str, text: &str) -> Result<Option<u32>, RegistryError> {
        let path = format!("/subjects/{}", escape(subject));
        let (status, answer) = self.ask(&path, Some(text))?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.id_of(&path, status, &answer).map(Some),
        }
    }

    /// The schema of an id; `None` = there is none.
    pub fn schema(&self, id: u32) -> Result<Option<Told>, RegistryError> {
        let path = format!("/schemas/ids/{id}");
        match self.ask(&path, None)? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, answer) => self.read(&path, status, &answer).map(Some),
        }
    }

    fn id_of(&self, path: &str, status: StatusCode, answer: &str) -> Result<u32, RegistryError> {
        self.read::<Id>(path, status, answer).map(|answer| answer.id)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        status: StatusCode,
        answer: &str,
    ) -> Result<T, RegistryError> {
        let refused = |text: String| RegistryError::Refused {
            url: self.url.clone(),
            what: path.to_owned(),
            status: status.as_u16(),
            text,
        };
        match status {
            StatusCode::OK => {
                serde_json::from_str(answer).map_err(|e| refused(format!("what cannot be read: {e}")))
            }
            _ => Err(refused(answer.chars().take(300).collect())),
        }
    }

    /// GET, or POST of a schema.
    fn ask(&self, path: &str, schema: Option<&str>) -> Result<(StatusCode, String), RegistryError> {
        let unreachable = |error: ureq::Error| RegistryError::Unreachable {
            url: self.url.clone(),
            error: error.to_string(),
        };
        let mut request = Request::builder().uri(format!("{}{path}", self.url)).header("accept", MEDIA_TYPE);
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        let answer = match schema {
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
            Some(text) => request
                .method("POST")
                .header("content-type", MEDIA_TYPE)
                .body(serde_json::json!({ "schema": text }).to_string())
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
        };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(RegistryError::Login { url: self.url.clone(), status: status.as_u16() });
        }
        let text =
            answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        Ok((status, text))
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let failed = |error: String| RegistryError::File { file: file.clone(), error };
    let pem = std::fs::read(file).map_err(|e| failed(e.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err(failed("it holds no certificate in PEM".into())),
        false => Ok(found),
    }
}

/// A subject as a part of a path: what is not plain becomes %XX.
fn escape(subject: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    subject.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The header's value of HTTP's basic scheme.
fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_part_of_a_path() {
        assert_eq!(escape("evenkeel.events-value"), "evenkeel.events-value");
        assert_eq!(escape("a/b c"), "a%2Fb%20c");
    }

    /// The examples of RFC 7617 and RFC 4648.
    #[test]
    fn a_login_is_written_as_the_standard_has_it() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("f", "o"), "Basic Zjpv");
        assert_eq!(basic("fo", "b"), "Basic Zm86Yg==");
    }
}
