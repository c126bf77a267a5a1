//! The key set that tokens are verified with (JWKS, RFC 7517).
//!
//! Owns: which keys of a document are used. Never: a shared secret, an encryption key, an RSA key below 2048 bits;
//! what cannot be used is left out, as the RFC wants it.
//! Bounds: [`KEYS_BYTES_MAX`] of text, [`KEYS_MAX`] keys; a larger document is refused whole.

use super::crypto;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;

/// Largest document, bytes: some hundred keys.
pub(crate) const KEYS_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a document: issuers publish two or three, the last one and the next.
const KEYS_MAX: usize = 100;

/// The keys of one document.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// One public key.
#[derive(Debug)]
pub(crate) struct Key {
    name: Option<String>,
    /// What the document binds it to.
    algorithm: Option<Algorithm>,
    fallback: Algorithm,
    pub(crate) decoding: DecodingKey,
    /// The hash of its parameters: tells whether it is still the same key.
    pub(crate) id: [u8; 32],
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a document.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(format!("is larger than {KEYS_BYTES_MAX} bytes"));
        }
        let document: Document =
            serde_json::from_slice(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
        if document.keys.len() > KEYS_MAX {
            return Err(format!("holds {} keys, more than {KEYS_MAX}", document.keys.len()));
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(key).collect();
        match keys.is_empty() {
            true => {
                Err("holds no key that can verify tokens (RSA from 2048 bits, P-256, P-384, Ed25519)".into())
            }
            false => Ok(Self { keys }),
        }
    }

    /// The key that a token names; one that names none has the only key that fits.
    pub(crate) fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match name {
            Some(name) => fitting.find(|key| key.name.as_deref() == Some(name)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Whether the key is in it.
    pub(crate) fn holds(&self, id: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.id == *id)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match (self.algorithm, algorithm.family()) {
            (Some(bound), _) => bound == algorithm,
            // An RSA key without `alg` serves every RSA signature; a curve has one.
            (None, AlgorithmFamily::Rsa) => self.fallback.family() == AlgorithmFamily::Rsa,
            (None, _) => self.fallback == algorithm,
        }
    }
}

/// `None` for what cannot verify tokens.
fn key(value: serde_json::Value) -> Option<Key> {
    let id = *blake3::hash(value.to_string().as_bytes()).as_bytes();
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.is_some_and(|wanted| wanted != PublicKeyUse::Signature) {
        return None;
    }
    let fallback = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let algorithm = match jwk.common.key_algorithm {
        Some(named) => Some(Algorithm::try_from(named).ok()?),
        None => None,
    };
    let decoding =
        DecodingKey::from_jwk(&Jwk { common: Default::default(), algorithm: jwk.algorithm }).ok()?;
    crypto::check(algorithm.unwrap_or(fallback), &decoding).ok()?;
    Some(Key { name: jwk.common.key_id, algorithm, fallback, decoding, id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // RFC 8037 A.2, RFC 7515 A.3.
    fn ed(name: &str) -> serde_json::Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": name})
    }

    fn ec() -> serde_json::Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "ec",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
    }

    fn parse(keys: &[serde_json::Value]) -> Result<KeySet, String> {
        KeySet::parse(json!({"keys": keys, "more": 1}).to_string().as_bytes())
    }

    #[test]
    fn what_cannot_verify_is_left_out() {
        let mut off_curve = ec();
        off_curve["y"] = off_curve["x"].clone();
        let mut encrypts = ed("enc");
        encrypts["use"] = json!("enc");
        let secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko", "kid": "oct"});
        let short = json!({"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZpt", "e": "AQAB", "kid": "short"});
        let strange = json!({"kty": "new", "kid": "strange"});
        let set =
            parse(&[off_curve.clone(), encrypts, secret.clone(), short, strange, json!(7), ed("a")]).unwrap();
        assert_eq!(set.len(), 1);
        assert!(parse(&[secret, off_curve]).unwrap_err().contains("no key that can verify"));
        assert!(KeySet::parse(b"[]").unwrap_err().contains("no JSON Web Key Set"));
    }

    #[test]
    fn a_key_is_found_by_name_and_algorithm() {
        let set = parse(&[ed("a"), ec()]).unwrap();
        assert!(set.find(Some("a"), Algorithm::EdDSA).is_some());
        assert!(set.find(Some("a"), Algorithm::ES256).is_none());
        assert!(set.find(Some("b"), Algorithm::EdDSA).is_none());
        assert!(set.find(None, Algorithm::ES256).is_some());
        assert!(set.find(None, Algorithm::RS256).is_none());
        assert!(parse(&[ed("a"), ed("b")]).unwrap().find(None, Algorithm::EdDSA).is_none(), "two would fit");
        let id = set.find(Some("a"), Algorithm::EdDSA).unwrap().id;
        assert!(set.holds(&id) && !parse(&[ec()]).unwrap().holds(&id));
    }

    #[test]
    fn documents_without_an_end_are_refused() {
        assert!(KeySet::parse(&vec![b' '; KEYS_BYTES_MAX + 1]).unwrap_err().contains("larger than"));
        let many: Vec<_> = (0..=KEYS_MAX).map(|n| ed(&n.to_string())).collect();
        assert!(parse(&many).unwrap_err().contains("101 keys"));
    }
}
