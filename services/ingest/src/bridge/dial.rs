//! The way to the broker: TCP, or TLS over it where a certificate authority is configured.

use super::BridgeError;
use evenkeel_auth::trust_only;
use openssl::ssl::{SslConnector, SslMethod};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// A connection to the broker, whatever it runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where the broker is.
#[derive(Clone)]
pub(crate) struct Dial {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) timeout: Duration,
    tls: Option<SslConnector>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl Dial {
    /// With an empty `ca_file` nothing is encrypted.
    pub(crate) fn new(address: &str, ca_file: &Path, timeout: Duration) -> Result<Self, BridgeError> {
        let trusting = || {
            let mut builder = SslConnector::builder(SslMethod::tls_client())?;
            trust_only(&mut builder, ca_file)?;
            Ok(builder.build())
        };
        let tls =
            match ca_file.as_os_str().is_empty() {
                true => None,
                false => Some(trusting().map_err(|source| BridgeError::Authority {
                    path: ca_file.display().to_string(),
                    source,
                })?),
            };
        Ok(Self { address: address.to_owned(), timeout, tls })
    }

    /// Connects; the host's name must be that of its certificate.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let ssl = tls.configure()?.into_ssl(host.trim_matches(['[', ']']))?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(Box::new(stream))
    }
}
