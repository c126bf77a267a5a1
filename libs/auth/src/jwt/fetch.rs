//! One GET of the key set.
//!
//! Owns: the connection. Never: follows a redirect (the operator named the place), reads more than
//! [`KEYS_BYTES_MAX`], waits longer than [`FETCH_TIME`], or asks a server beyond loopback without TLS: whoever could
//! change that answer could sign tokens.

use super::keys::KEYS_BYTES_MAX;
use crate::config::JwtConfig;
use crate::tls::trust_only;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Longest time for the whole of a fetch.
const FETCH_TIME: Duration = Duration::from_secs(10);

/// Why the keys did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} cannot be connected: {1}")]
    Connect(String, std::io::Error),
    #[error("TLS with {0} failed: {1}")]
    Tls(String, openssl::ssl::Error),
    #[error("TLS cannot be set up: {0}; check jwt.jwks-ca-file")]
    Setup(#[from] ErrorStack),
    #[error("{0} broke off: {1}")]
    Http(String, hyper::Error),
    #[error("{0} answered {1}; 200 is needed, redirects are not followed")]
    Status(String, StatusCode),
    #[error("the answer of {0} broke off, or is larger than {KEYS_BYTES_MAX} bytes: {1}")]
    Body(String, Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} did not answer within {FETCH_TIME:?}")]
    Slow(String),
}

/// Where the keys are.
#[derive(Debug)]
pub(super) struct Source {
    uri: Uri,
    host: String,
    port: u16,
    secure: bool,
    ca_file: PathBuf,
}

impl Source {
    /// `None` without a URL; what the configuration's check let through is one.
    pub(super) fn of(config: &JwtConfig) -> Option<Self> {
        let uri: Uri = config.jwks_url.parse().ok()?;
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { host, port, secure, uri, ca_file: config.jwks_ca_file.clone() })
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Fetches the document.
pub(super) async fn fetch(source: &Source) -> Result<Bytes, FetchError> {
    match tokio::time::timeout(FETCH_TIME, get(source)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(FetchError::Slow(source.name())),
    }
}

async fn get(source: &Source) -> Result<Bytes, FetchError> {
    let stream = TcpStream::connect((source.host.as_str(), source.port))
        .await
        .map_err(|error| FetchError::Connect(source.name(), error))?;
    if !source.secure {
        return ask(source, stream).await;
    }
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    if source.ca_file != Path::new("") {
        trust_only(&mut connector, &source.ca_file)?;
    }
    let ssl = connector.build().configure()?.into_ssl(&source.host)?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).connect().await.map_err(|error| FetchError::Tls(source.name(), error))?;
    ask(source, stream).await
}

async fn ask<S>(source: &Source, stream: S) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let http = |error| FetchError::Http(source.name(), error);
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(http)?;
    let path = source.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    let host = source.uri.authority().map_or(source.host.as_str(), |authority| authority.as_str());
    if let Ok(host) = host.parse() {
        headers.insert(HOST, host);
    }
    headers.insert(ACCEPT, hyper::header::HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, hyper::header::HeaderValue::from_static("evenkeel"));
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(source.name(), response.status()));
        }
        let body = Limited::new(response.into_body(), KEYS_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| FetchError::Body(source.name(), error))
    };
    tokio::pin!(answer);
    tokio::select! {
        outcome = &mut answer => outcome,
        // The connection may end before the answer has been taken out of it.
        _ = connection => answer.await,
    }
}
