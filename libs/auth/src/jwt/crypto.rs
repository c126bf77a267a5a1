//! Signatures of tokens, verified by OpenSSL: the library that reads tokens brings no cryptography of its own here.
//!
//! Owns: how a public key of the key set becomes one of OpenSSL. Never: signs; knows a shared secret (HS256 and
//! its like have no key here, so no token can name one).

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{self, RsaPssSaltlen};

/// Smallest RSA key that is trusted, bits (RFC 7518 demands as much).
const RSA_BITS_MIN: u32 = 2048;

static OPENSSL: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: |algorithm, key| Ok(Box::new(OpenSsl::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes OpenSSL verify from now on. Again is no harm.
pub(super) fn install() {
    let _ = OPENSSL.install_default(); // the second time it is there already
}

/// Whether the key can verify tokens of the algorithm.
pub(super) fn check(algorithm: Algorithm, key: &DecodingKey) -> Result<(), Error> {
    OpenSsl::new(algorithm, key).map(|_| ())
}

struct OpenSsl {
    algorithm: Algorithm,
    key: PKey<Public>,
}

impl OpenSsl {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        if key.family() != algorithm.family() {
            return Err(new_error(ErrorKind::InvalidAlgorithm));
        }
        let public = match algorithm.family() {
            AlgorithmFamily::Rsa => rsa(key),
            AlgorithmFamily::Ec => ec(algorithm, key),
            AlgorithmFamily::Ed => ed(key),
            AlgorithmFamily::Hmac => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        };
        let key = public.map_err(|error| new_error(ErrorKind::Provider(error.to_string())))?;
        if algorithm.family() == AlgorithmFamily::Rsa && key.bits() < RSA_BITS_MIN {
            let why = format!("an RSA key of {} bits is too short", key.bits());
            return Err(new_error(ErrorKind::InvalidRsaKey(why)));
        }
        Ok(Self { algorithm, key })
    }

    fn verified(&self, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let digest = match self.algorithm {
            Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => MessageDigest::sha256(),
            Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => MessageDigest::sha384(),
            Algorithm::RS512 | Algorithm::PS512 => MessageDigest::sha512(),
            _ => return sign::Verifier::new_without_digest(&self.key)?.verify_oneshot(signature, message),
        };
        let mut verifier = sign::Verifier::new(digest, &self.key)?;
        match self.algorithm {
            Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => {
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.set_rsa_mgf1_md(digest)?;
                verifier.verify_oneshot(signature, message)
            }
            Algorithm::ES256 | Algorithm::ES384 => {
                // A token has r and s one after the other, OpenSSL wants them in DER.
                let half = if self.algorithm == Algorithm::ES256 { 32 } else { 48 };
                if signature.len() != 2 * half {
                    return Ok(false);
                }
                let (r, s) = signature.split_at(half);
                let signature =
                    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                verifier.verify_oneshot(&signature.to_der()?, message)
            }
            _ => verifier.verify_oneshot(signature, message),
        }
    }
}

impl Verifier<Vec<u8>> for OpenSsl {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match self.verified(message, signature) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(signature::Error::new()),
        }
    }
}

impl JwtVerifier for OpenSsl {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn rsa(key: &DecodingKey) -> Result<PKey<Public>, ErrorStack> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_slice(e)?)?)
        }
        DecodingKeyKind::SecretOrDer(der) => PKey::from_rsa(Rsa::public_key_from_der_pkcs1(der)?),
    }
}

fn ec(algorithm: Algorithm, key: &DecodingKey) -> Result<PKey<Public>, ErrorStack> {
    let curve = if algorithm == Algorithm::ES256 { Nid::X9_62_PRIME256V1 } else { Nid::SECP384R1 };
    let group = EcGroup::from_curve_name(curve)?;
    let point = EcPoint::from_bytes(&group, raw(key), &mut *BigNumContext::new()?)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

fn ed(key: &DecodingKey) -> Result<PKey<Public>, ErrorStack> {
    PKey::public_key_from_raw_bytes(raw(key), Id::ED25519)
}

fn raw(key: &DecodingKey) -> &[u8] {
    key.try_get_as_bytes().unwrap_or_default()
}
