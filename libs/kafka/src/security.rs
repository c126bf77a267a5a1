//! How a client proves itself to the brokers and checks them: SASL and TLS, secrets from files.
//! Owns: the security part of the configuration. Never: logs or prints a secret.

use crate::ConnectError;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Security settings; the default is plaintext without authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Security {
    /// Transport and authentication.
    pub protocol: SecurityProtocol,
    /// SASL mechanism; needed with a `sasl-*` protocol.
    pub mechanism: Option<SaslMechanism>,
    /// SASL user name.
    pub username: Option<String>,
    /// File that holds the SASL password; trailing line ends are cut.
    pub password_file: Option<PathBuf>,
    /// File with the certificate authorities to trust (PEM); without it the system's.
    pub ca_file: Option<PathBuf>,
    /// File with the client certificate (PEM), for mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// File with the client's private key (PEM).
    pub key_file: Option<PathBuf>,
    /// File that holds the private key's password.
    pub key_password_file: Option<PathBuf>,
}

/// Transport and authentication of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityProtocol {
    /// No encryption, no authentication.
    #[default]
    Plaintext,
    /// TLS, with a client certificate if one is given.
    Ssl,
    /// SASL over an unencrypted connection.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// User name and password as they are.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Security {
    /// Puts the settings into a client's configuration. Reads the secret files.
    pub(crate) fn apply(&self, client: &mut ClientConfig) -> Result<(), ConnectError> {
        client.set(
            "security.protocol",
            match self.protocol {
                SecurityProtocol::Plaintext => "plaintext",
                SecurityProtocol::Ssl => "ssl",
                SecurityProtocol::SaslPlaintext => "sasl_plaintext",
                SecurityProtocol::SaslSsl => "sasl_ssl",
            },
        );
        if let Some(mechanism) = self.mechanism {
            client.set(
                "sasl.mechanism",
                match mechanism {
                    SaslMechanism::Plain => "PLAIN",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                },
            );
        }
        if let Some(username) = &self.username {
            client.set("sasl.username", username);
        }
        for (key, file) in [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.cert_file),
            ("ssl.key.location", &self.key_file),
        ] {
            if let Some(file) = file {
                client.set(key, file.to_string_lossy().as_ref());
            }
        }
        for (key, file) in
            [("sasl.password", &self.password_file), ("ssl.key.password", &self.key_password_file)]
        {
            if let Some(file) = file {
                client.set(key, secret(file)?);
            }
        }
        Ok(())
    }
}

fn secret(file: &Path) -> Result<String, ConnectError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConnectError::Secret { file: file.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_without_the_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let text = format!(
            "protocol = \"sasl-ssl\"\nmechanism = \"scram-sha-512\"\nusername = \"u\"\npassword-file = {file:?}"
        );
        let security: Security = toml::from_str(&text).unwrap();
        let mut client = ClientConfig::new();
        security.apply(&mut client).unwrap();
        assert_eq!(client.get("sasl.password"), Some("s3cret"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
    }

    #[test]
    fn a_missing_secret_names_its_file() {
        let security = Security { password_file: Some("/no/such/file".into()), ..Security::default() };
        let error = security.apply(&mut ClientConfig::new()).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
