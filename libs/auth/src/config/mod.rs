//! Keys of `[jwt]` and `[tls]`: the same in every service that has clients.

mod jwt;
mod tls;

pub use jwt::JwtConfig;
pub use tls::{ClientCertificates, TlsConfig};

/// Keys that do not fit together, or a number that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {got}: {why}")]
pub struct KeyMisfit {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub got: String,
    /// Why that cannot work, and what can.
    pub why: &'static str,
}

/// A key whose value must fit: else what is wrong with it.
pub fn check_key(
    key: &'static str,
    got: impl ToString,
    fits: bool,
    why: &'static str,
) -> Result<(), KeyMisfit> {
    match fits {
        true => Ok(()),
        false => Err(KeyMisfit { key, got: got.to_string(), why }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::JwtConfig;

    /// The section of a service, with an issuer.
    pub(crate) fn jwt() -> JwtConfig {
        let section = r#"
            issuer = "https://issuer.example"
            audience = "evenkeel"
            jwks-file = ""
            jwks-url = "https://issuer.example/keys"
            jwks-ca-file = ""
            refresh = "10m"
            refresh-min = "10s"
            trust-max = "24h"
            leeway = "30s"
            algorithms = ["RS256", "ES256", "EdDSA"]
            streams-claim = "streams"
            tenant-claim = "sub"
            remembered-max = 10000
        "#;
        toml::from_str(section).unwrap()
    }
}
