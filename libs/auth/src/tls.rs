//! TLS, for every listener: one certificate, and which client certificates are taken.
//!
//! Owns: the server's certificate and key, read again when their files change; handshakes and their bounds. Never: a
//! key in a message; a handshake without an end; a new pair that does not fit in place of an old one that does.
//! Bounds: `handshakes-max` at once per listener. Who has no turn waits in the kernel's backlog, so the deadline of a handshake
//! counts its own time only.
//! It is OpenSSL, because librdkafka and the CQL driver bring it anyway and deny.toml wants one TLS library.

use crate::config::{ClientCertificates, TlsConfig};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{
    Ssl, SslAcceptor, SslConnectorBuilder, SslContext, SslFiletype, SslMethod, SslVerifyMode,
};
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::{X509, X509Ref};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_openssl::SslStream;

/// Largest file of certificates or keys, bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Why a certificate, key or authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls: {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("tls: {} {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// OpenSSL refuses it.
    #[error("tls: {what}: {source}")]
    OpenSsl {
        /// Which step.
        what: &'static str,
        /// Why.
        source: ErrorStack,
    },
}

/// Why a client has no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client took too long.
    #[error("the handshake was not complete within tls.handshake-timeout")]
    Slow,
    /// The two did not agree.
    #[error("the handshake failed: {0}")]
    Failed(#[from] openssl::ssl::Error),
    /// OpenSSL refuses to begin.
    #[error("the handshake could not begin: {0}")]
    Setup(#[from] ErrorStack),
}

/// Who a client's certificate says it is; an authority of `client-ca-file` has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// URIs and DNS names of the SAN, then the subject's CN: the order in which a credential is looked for.
    pub names: Vec<String>,
    /// When the certificate expires, ms since the epoch.
    pub expires_at_ms: i64,
}

/// A listener's TLS. Shared by all of them.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    context: RwLock<SslContext>,
    /// What the files held when they were last looked at, good or not.
    seen: Mutex<[u8; 32]>,
    handshake_timeout: Duration,
}

impl Tls {
    /// `None` while `cert-file` is empty.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        if config.cert_file.as_os_str().is_empty() {
            return Ok(None);
        }
        let files = Files::read(config)?;
        Ok(Some(Self {
            context: RwLock::new(files.context(config)?),
            seen: Mutex::new(files.hash()),
            handshake_timeout: config.handshake_timeout.duration(),
            config: config.clone(),
        }))
    }

    /// The turns of one listener: one is taken before a connection is accepted. Each listener has its own, because an
    /// idle one keeps a turn at hand.
    pub fn turns(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.config.handshakes_max))
    }

    /// Shakes hands.
    pub async fn accept(
        &self,
        stream: TcpStream,
        turn: OwnedSemaphorePermit,
    ) -> Result<(SslStream<TcpStream>, Option<Peer>), HandshakeError> {
        let ssl = Ssl::new(&self.context.read().unwrap_or_else(PoisonError::into_inner))?;
        let mut stream = SslStream::new(ssl, stream)?;
        match tokio::time::timeout(self.handshake_timeout, Pin::new(&mut stream).accept()).await {
            Ok(shaken) => shaken?,
            Err(_) => return Err(HandshakeError::Slow),
        }
        drop(turn);
        let peer = stream.ssl().peer_certificate().and_then(|certificate| peer(&certificate));
        Ok((stream, peer))
    }

    /// Looks at the files; `true` = they had changed and are in force for new connections. What cannot be used
    /// changes nothing, and is told once.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let read = Files::read(&self.config);
        let hash = match &read {
            Ok(files) => files.hash(),
            Err(error) => *blake3::hash(error.to_string().as_bytes()).as_bytes(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == hash {
            return Ok(false);
        }
        *seen = hash;
        let context = read?.context(&self.config)?;
        *self.context.write().unwrap_or_else(PoisonError::into_inner) = context;
        Ok(true)
    }
}

/// Makes a client trust the authorities of this file and nobody else: the builder comes with those of the machine.
pub fn trust_only(connector: &mut SslConnectorBuilder, ca_file: &Path) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    let lookup = store.add_lookup(X509Lookup::file())?;
    lookup.load_cert_file(ca_file, SslFiletype::PEM)?;
    connector.set_cert_store(store.build());
    Ok(())
}

/// The files as read.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let authority = match config.client_certificates {
            ClientCertificates::Off => None,
            ClientCertificates::Optional | ClientCertificates::Required => {
                Some(read(&config.client_ca_file)?)
            }
        };
        Ok(Self { certificate: read(&config.cert_file)?, key: read(&config.key_file)?, authority })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.certificate, &self.key].into_iter().chain(&self.authority) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }

    fn context(&self, config: &TlsConfig) -> Result<SslContext, TlsError> {
        let failed = |what| move |source| TlsError::OpenSsl { what, source };
        // TLS 1.2 and 1.3 with forward secrecy only.
        let mut builder =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(failed("OpenSSL"))?;
        let mut chain = certificates(&config.cert_file, &self.certificate)?.into_iter();
        if let Some(leaf) = chain.next() {
            builder.set_certificate(&leaf).map_err(failed("the certificate of cert-file"))?;
        }
        for above in chain {
            builder.add_extra_chain_cert(above).map_err(failed("the chain of cert-file"))?;
        }
        // With a passphrase given, OpenSSL does not ask a terminal for one.
        let key = PKey::private_key_from_pem_passphrase(&self.key, b"")
            .map_err(|_| TlsError::Content { path: config.key_file.clone(), what: NO_KEY })?;
        builder.set_private_key(&key).map_err(failed("the key of key-file does not fit cert-file"))?;
        builder.check_private_key().map_err(failed("the key of key-file does not fit cert-file"))?;
        if let Some(authority) = &self.authority {
            let mut store = X509StoreBuilder::new().map_err(failed("client-ca-file"))?;
            let mut names = Stack::new().map_err(failed("client-ca-file"))?;
            for certificate in certificates(&config.client_ca_file, authority)? {
                let name = certificate.subject_name().to_owned().map_err(failed("client-ca-file"))?;
                names.push(name).map_err(failed("client-ca-file"))?;
                store.add_cert(certificate).map_err(failed("client-ca-file"))?;
            }
            builder.set_cert_store(store.build());
            builder.set_client_ca_list(names);
            // Sessions are resumed within this context only: a new authority asks everybody again.
            builder.set_session_id_context(b"evenkeel").map_err(failed("sessions"))?;
        }
        builder.set_verify(match config.client_certificates {
            ClientCertificates::Off => SslVerifyMode::NONE,
            ClientCertificates::Optional => SslVerifyMode::PEER,
            ClientCertificates::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        });
        Ok(builder.build().into_context())
    }
}

const NO_KEY: &str = "holds no private key in PEM without a passphrase";

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > PEM_BYTES_MAX {
        true => Err(TlsError::Content { path: path.to_owned(), what: "is larger than 1 MiB" }),
        false => Ok(bytes),
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    match X509::stack_from_pem(pem) {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Content { path: path.to_owned(), what: "holds no certificate in PEM" }),
    }
}

/// `None` for a certificate whose end cannot be told.
fn peer(certificate: &X509Ref) -> Option<Peer> {
    let mut names = Vec::new();
    let alternatives = certificate.subject_alt_names();
    let alternatives = || alternatives.iter().flatten();
    names.extend(alternatives().filter_map(|name| name.uri()).map(str::to_owned));
    names.extend(alternatives().filter_map(|name| name.dnsname()).map(str::to_owned));
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    names.extend(common.filter_map(|entry| entry.data().to_string().ok()));
    Some(Peer { names, expires_at_ms: since_epoch_ms(certificate.not_after())? })
}

fn since_epoch_ms(time: &Asn1TimeRef) -> Option<i64> {
    let diff = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some((i64::from(diff.days) * 86_400 + i64::from(diff.secs)) * 1000)
}
