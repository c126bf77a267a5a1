//! A certificate authority of a test, and clients that trust it.

use crate::client::{Connection, DEADLINE};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

pub struct Authority(Pair);

impl Authority {
    pub fn new() -> Self {
        Self(make("authority", &[], None))
    }

    /// A certificate of a subject, with DNS names and URIs.
    pub fn issue(&self, common_name: &str, names: &[&str]) -> Pair {
        make(common_name, names, Some(&self.0))
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.0.certificate.to_pem().unwrap()).unwrap();
    }

    /// A client that trusts this authority only.
    pub fn client(&self, own: Option<&Pair>) -> Client {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        let mut store = openssl::x509::store::X509StoreBuilder::new().unwrap();
        store.add_cert(self.0.certificate.clone()).unwrap();
        builder.set_cert_store(store.build());
        if let Some(pair) = own {
            builder.set_certificate(&pair.certificate).unwrap();
            builder.set_private_key(&pair.key).unwrap();
        }
        Client(builder)
    }
}

impl Pair {
    pub fn write(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, self.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    }
}

fn make(common_name: &str, names: &[&str], issuer: Option<&Pair>) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    let above = issuer.map(|pair| pair.certificate.subject_name()).unwrap_or(&subject);
    builder.set_issuer_name(above).unwrap();
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match (name.parse::<std::net::IpAddr>(), name.contains("://")) {
                (Ok(_), _) => alternatives.ip(name),
                (_, true) => alternatives.uri(name),
                _ => alternatives.dns(name),
            };
        }
        let extension = alternatives.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(extension).unwrap();
    }
    let signing = issuer.map_or(&key, |pair| &pair.key);
    builder.sign(signing, MessageDigest::sha256()).unwrap();
    Pair { certificate: builder.build(), key }
}

pub struct Client(SslConnectorBuilder);

impl Client {
    /// Changes how it shakes hands.
    pub fn with(mut self, change: impl FnOnce(&mut SslConnectorBuilder)) -> Self {
        change(&mut self.0);
        self
    }

    /// A stream to the server, called localhost; the error is the handshake's. In TLS 1.3 a client is done before
    /// the server has judged its certificate: then the first read tells.
    pub async fn open(self, address: SocketAddr) -> Result<SslStream<TcpStream>, String> {
        let ssl = self.0.build().configure().unwrap().into_ssl("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = SslStream::new(ssl, stream).unwrap();
        let shaken = tokio::time::timeout(DEADLINE, Pin::new(&mut stream).connect()).await;
        shaken.expect("no handshake before the deadline").map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// A connection to talk HTTP over.
    pub async fn connect(self, address: SocketAddr) -> Result<Connection, String> {
        self.open(address).await.map(Connection::over)
    }
}
