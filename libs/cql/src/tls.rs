//! Certificates and keys from files.

use crate::config::TlsConfig;
use openssl::ssl::{SslContext, SslContextBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};

/// Why encryption cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cql.tls.{key}: {path} cannot be used: {reason}; give a readable PEM file")]
pub struct TlsError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The file.
    pub path: String,
    /// What the TLS library said.
    pub reason: String,
}

/// A context that trusts `ca-file` alone and asks for TLS 1.2 or newer.
pub(crate) fn tls_context(config: &TlsConfig) -> Result<SslContext, TlsError> {
    let fail = |key, path: &std::path::Path| {
        let path = path.display().to_string();
        move |error: openssl::error::ErrorStack| TlsError { key, path, reason: error.to_string() }
    };
    let ca = &config.ca_file;
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).map_err(fail("ca-file", ca))?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(fail("ca-file", ca))?;
    builder.set_ca_file(ca).map_err(fail("ca-file", ca))?;
    builder.set_verify(SslVerifyMode::PEER);
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        builder.set_certificate_chain_file(cert).map_err(fail("cert-file", cert))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(fail("key-file", key))?;
        builder.check_private_key().map_err(fail("key-file", key))?;
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, "not a certificate").unwrap();
        let config = TlsConfig { ca_file, cert_file: None, key_file: None };
        let text = tls_context(&config).err().unwrap().to_string();
        assert!(text.contains("ca-file") && text.contains("ca.pem"), "{text}");
    }
}
