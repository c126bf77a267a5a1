//! Keys of `[jwt]`, and the checks between them.

use super::KeyMisfit;
use evenkeel_chassis::units::{Ms, PositiveMs};
use hyper::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// Keys of `[jwt]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JwtConfig {
    /// Who signs; empty = no signed tokens.
    pub issuer: String,
    /// Whom the tokens are for.
    pub audience: String,
    /// The key set as a file.
    pub jwks_file: PathBuf,
    /// Or where it is fetched.
    pub jwks_url: String,
    /// Who signs the URL's certificate; empty = whom the machine trusts.
    pub jwks_ca_file: PathBuf,
    /// Time between two fetches.
    pub refresh: PositiveMs,
    /// The least time between two fetches.
    pub refresh_min: PositiveMs,
    /// How long keys are trusted that cannot be fetched again.
    pub trust_max: PositiveMs,
    /// How far the clocks of issuer and server may differ.
    pub leeway: Ms,
    /// What a token may be signed with.
    pub algorithms: Vec<String>,
    /// The claim with the stream_id patterns.
    pub streams_claim: String,
    /// The claim with the tenant.
    pub tenant_claim: String,
    /// Most verified tokens that are remembered.
    pub remembered_max: usize,
}

impl JwtConfig {
    /// Checks what a single key's type cannot.
    pub fn check(&self) -> Result<(), KeyMisfit> {
        if self.issuer.is_empty() {
            return Ok(());
        }
        let misfit = |key, got: &str, why| Err(KeyMisfit { key, got: format!("{got:?}"), why });
        if self.audience.is_empty() {
            let why = "must name this service: a token for somebody else would be taken";
            return misfit("jwt.audience", "", why);
        }
        if self.jwks_file.as_os_str().is_empty() == self.jwks_url.is_empty() {
            return misfit("jwt.jwks-url", &self.jwks_url, "set exactly one of jwks-file and jwks-url");
        }
        if !self.jwks_url.is_empty() && !trustworthy(&self.jwks_url) {
            let why = "must be an https address, or http on loopback: whoever can change the answer can sign tokens";
            return misfit("jwt.jwks-url", &self.jwks_url, why);
        }
        let asymmetric = |name: &String| {
            Algorithm::from_str(name).is_ok_and(|algorithm| algorithm.family() != AlgorithmFamily::Hmac)
        };
        if self.algorithms.is_empty() || !self.algorithms.iter().all(asymmetric) {
            let why = "must be a list of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
            return misfit("jwt.algorithms", &self.algorithms.join(" "), why);
        }
        if self.streams_claim.is_empty() || self.tenant_claim.is_empty() {
            return misfit(
                "jwt.streams-claim",
                &self.streams_claim,
                "it and jwt.tenant-claim must name a claim",
            );
        }
        if self.remembered_max == 0 {
            return misfit("jwt.remembered-max", "0", "must be at least 1");
        }
        Ok(())
    }
}

fn trustworthy(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::jwt;

    fn with(change: impl FnOnce(&mut JwtConfig)) -> Result<(), &'static str> {
        let mut config = jwt();
        change(&mut config);
        config.check().map_err(|misfit| misfit.key)
    }

    #[test]
    fn what_would_let_others_sign_is_refused() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|jwt| jwt.audience.clear()), Err("jwt.audience"));
        assert_eq!(with(|jwt| jwt.jwks_url.clear()), Err("jwt.jwks-url"));
        assert_eq!(with(|jwt| jwt.jwks_file = "keys.json".into()), Err("jwt.jwks-url"));
        for url in ["http://issuer.example/keys", "ftp://127.0.0.1/", "keys", "https://"] {
            assert_eq!(with(|jwt| jwt.jwks_url = url.into()), Err("jwt.jwks-url"), "{url}");
        }
        assert_eq!(with(|jwt| jwt.jwks_url = "http://127.0.0.1:9/keys".into()), Ok(()));
        for algorithm in ["none", "HS256", "HS512", "rs256"] {
            assert_eq!(
                with(|jwt| jwt.algorithms.push(algorithm.into())),
                Err("jwt.algorithms"),
                "{algorithm}"
            );
        }
        assert_eq!(with(|jwt| jwt.algorithms.clear()), Err("jwt.algorithms"));
        assert_eq!(with(|jwt| jwt.remembered_max = 0), Err("jwt.remembered-max"));
        assert_eq!(with(|jwt| jwt.issuer.clear()), Ok(()), "all of it is off");
    }
}
