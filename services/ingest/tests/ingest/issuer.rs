//! An issuer of signed tokens: its keys, its tokens, and the address where its key set is fetched.

use crate::authority::Pair;
use crate::client::Io;
use openssl::base64::encode_block;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;

pub const ISSUER: &str = "https://issuer.example";

/// One key pair, and what its tokens name.
pub struct SigningKey {
    name: &'static str,
    algorithm: &'static str,
    pub key: PKey<Private>,
}

impl SigningKey {
    pub fn rsa(name: &'static str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        Self { name, algorithm: "RS256", key }
    }

    pub fn ec(name: &'static str) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        Self { name, algorithm: "ES256", key: PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap() }
    }

    pub fn ed(name: &'static str) -> Self {
        Self { name, algorithm: "EdDSA", key: PKey::generate_ed25519().unwrap() }
    }

    /// The public part, as in a key set.
    pub fn public(&self) -> Value {
        let text = |bytes: &[u8]| Value::String(base64(bytes));
        let mut jwk = match self.algorithm {
            "RS256" => {
                let rsa = self.key.rsa().unwrap();
                json!({"kty": "RSA", "n": text(&rsa.n().to_vec()), "e": text(&rsa.e().to_vec())})
            }
            "ES256" => {
                let ec = self.key.ec_key().unwrap();
                let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
                let mut context = BigNumContext::new().unwrap();
                let point = ec.public_key().to_bytes(ec.group(), form, &mut context).unwrap();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            _ => json!({"kty": "OKP", "crv": "Ed25519", "x": text(&self.key.raw_public_key().unwrap())}),
        };
        jwk["kid"] = self.name.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "typ": "JWT", "kid": self.name});
        self.token_with(&header, claims)
    }

    /// A token with a header of the test's own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = match self.algorithm {
            "EdDSA" => Signer::new_without_digest(&self.key)
                .unwrap()
                .sign_oneshot_to_vec(message.as_bytes())
                .unwrap(),
            algorithm => {
                let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
                let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
                match algorithm {
                    "ES256" => {
                        let signature = EcdsaSig::from_der(&signature).unwrap();
                        let padded = |n: &openssl::bn::BigNumRef| n.to_vec_padded(32).unwrap();
                        [padded(signature.r()), padded(signature.s())].concat()
                    }
                    _ => signature,
                }
            }
        };
        format!("{message}.{}", base64(&signature))
    }
}

/// What is signed: header and claims.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()))
}

/// base64url without padding.
pub fn base64(bytes: &[u8]) -> String {
    encode_block(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}

/// The text of a key set.
pub fn key_set(keys: &[&SigningKey]) -> String {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}).to_string()
}

/// Where a key set is fetched, and how often it was.
#[derive(Clone)]
pub struct KeyServer {
    pub address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        Self::start_with(keys, None).await
    }

    /// Over TLS, with this certificate.
    pub async fn start_tls(keys: &[&SigningKey], pair: &Pair) -> Self {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate(&pair.certificate).unwrap();
        builder.set_private_key(&pair.key).unwrap();
        Self::start_with(keys, Some(builder.build())).await
    }

    async fn start_with(keys: &[&SigningKey], tls: Option<SslAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new((200, key_set(keys)))),
            asked: Arc::default(),
        };
        let served = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream: Box<dyn Io> = match &tls {
                    None => Box::new(stream),
                    Some(tls) => {
                        let mut stream = SslStream::new(Ssl::new(tls.context()).unwrap(), stream).unwrap();
                        if Pin::new(&mut stream).accept().await.is_err() {
                            continue;
                        }
                        Box::new(stream)
                    }
                };
                let (mut head, mut piece) = (Vec::new(), [0; 1024]);
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => break,
                        Ok(n) => head.extend_from_slice(&piece[..n]),
                    }
                }
                let (status, body) = served.answer.lock().unwrap().clone();
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                served.asked.fetch_add(1, Ordering::SeqCst);
            }
        });
        server
    }

    pub fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn setting(&self) -> String {
        format!("jwt.jwks-url=http://{}/keys", self.address)
    }

    pub fn secure_setting(&self) -> String {
        format!("jwt.jwks-url=https://localhost:{}/keys", self.address.port())
    }
}
