//! An issuer of signed tokens, and a certificate authority, of a test.

use openssl::asn1::Asn1Time;
use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Name};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

fn base64(bytes: &[u8]) -> String {
    encode_block(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}

/// Who signs tokens.
pub struct Issuer(PKey<Private>);

impl Issuer {
    pub fn new() -> Self {
        Self(PKey::generate_ed25519().unwrap())
    }

    /// The text of its key set.
    pub fn key_set(&self) -> String {
        let x = base64(&self.0.raw_public_key().unwrap());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "a", "x": x}]}).to_string()
    }

    /// A token of these claims beside issuer and audience.
    pub fn token(&self, mut claims: Value) -> String {
        (claims["iss"], claims["aud"]) = ("https://issuer.example".into(), "screens".into());
        let header = json!({"alg": "EdDSA", "kid": "a"}).to_string();
        let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.to_string().as_bytes()));
        let mut signer = Signer::new_without_digest(&self.0).unwrap();
        format!("{message}.{}", base64(&signer.sign_oneshot_to_vec(message.as_bytes()).unwrap()))
    }
}

/// A certificate and its key.
pub struct Pair {
    certificate: X509,
    key: PKey<Private>,
}

impl Pair {
    /// Signed by itself.
    pub fn authority() -> Self {
        Self::make("authority", None)
    }

    /// Signed by this one.
    pub fn issue(&self, name: &str) -> Self {
        Self::make(name, Some(self))
    }

    fn make(name: &str, above: Option<&Self>) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
        builder.set_issuer_name(above.map_or(&subject, |pair| pair.certificate.subject_name())).unwrap();
        match above {
            None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()),
            Some(_) => {
                let names =
                    SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None));
                builder.append_extension(names.unwrap())
            }
        }
        .unwrap();
        builder.sign(above.map_or(&key, |pair| &pair.key), MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    pub fn write(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, self.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    }

    /// A stream to `localhost`, from a client that trusts this authority only and may show a certificate.
    pub async fn connect(
        &self,
        address: SocketAddr,
        own: Option<&Self>,
    ) -> Result<SslStream<TcpStream>, String> {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.certificate.clone()).unwrap();
        builder.set_cert_store(store.build());
        if let Some(own) = own {
            builder.set_certificate(&own.certificate).unwrap();
            builder.set_private_key(&own.key).unwrap();
        }
        let ssl = builder.build().configure().unwrap().into_ssl("localhost").unwrap();
        let mut stream = SslStream::new(ssl, TcpStream::connect(address).await.unwrap()).unwrap();
        Pin::new(&mut stream).connect().await.map_err(|error| error.to_string())?;
        Ok(stream)
    }
}
