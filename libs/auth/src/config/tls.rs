//! Keys of `[tls]`, and the checks between them.

use super::KeyMisfit;
use evenkeel_chassis::units::PositiveMs;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Keys of `[tls]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and its chain, PEM; empty = no TLS.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Who signs client certificates, PEM.
    pub client_ca_file: PathBuf,
    /// Whether clients show a certificate.
    pub client_certificates: ClientCertificates,
    /// Longest handshake.
    pub handshake_timeout: PositiveMs,
    /// Most handshakes at once.
    pub handshakes_max: usize,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// They are not asked.
    Off,
    /// Asked; who has none needs a token.
    Optional,
    /// Who has none has no connection.
    Required,
}

impl TlsConfig {
    /// Checks what a single key's type cannot.
    pub fn check(&self) -> Result<(), KeyMisfit> {
        let misfit = |key, got: String, why| Err(KeyMisfit { key, got, why });
        let empty = |path: &PathBuf| path.as_os_str().is_empty();
        if empty(&self.cert_file) != empty(&self.key_file) {
            let why = "set both tls.cert-file and tls.key-file, or neither";
            return misfit("tls.key-file", format!("{:?}", self.key_file), why);
        }
        if self.client_certificates != ClientCertificates::Off
            && (empty(&self.cert_file) || empty(&self.client_ca_file))
        {
            let why = "needs tls.cert-file, tls.key-file and tls.client-ca-file";
            return misfit("tls.client-certificates", format!("{:?}", self.client_certificates), why);
        }
        if !(1..=100_000).contains(&self.handshakes_max) {
            return misfit("tls.handshakes-max", self.handshakes_max.to_string(), "must be 1 to 100000");
        }
        Ok(())
    }
}
