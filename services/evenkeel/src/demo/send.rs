//! Sends what the simulated devices say, over HTTP like any device.
//!
//! One kept-alive connection; a request that fails opens the next one. Bounded: one request at a time.

use super::fleet::{Fleet, Sending};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a request may take before its readings are owed again.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why a request was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The connection.
    #[error("cannot reach ingest at {0}: {1}")]
    Connection(SocketAddr, String),
    /// No answer in time.
    #[error("no answer from ingest within {TIMEOUT:?}")]
    Timeout,
    /// Another answer than 200.
    #[error("ingest answered {0}")]
    Status(StatusCode),
    /// An answer that cannot be understood.
    #[error("ingest's answer cannot be read: {0}")]
    Answer(String),
}

/// A client of ingest.
#[derive(Debug)]
pub struct Sender {
    to: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Sender {
    /// A client that connects when it first sends.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, connection: None }
    }

    /// Sends events as NDJSON; how many were accepted. `Ok` = they are in the log.
    pub async fn send(&mut self, body: String) -> Result<u64, SendError> {
        let answer =
            tokio::time::timeout(TIMEOUT, self.exchange(body)).await.unwrap_or(Err(SendError::Timeout));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, body: String) -> Result<u64, SendError> {
        let broken = |error: &dyn std::fmt::Display| SendError::Connection(self.to, error.to_string());
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => {
                let stream = TcpStream::connect(self.to).await.map_err(|e| broken(&e))?;
                let (connection, io) = handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
                tokio::spawn(io);
                connection
            }
        };
        connection.ready().await.map_err(|e| broken(&e))?;
        let request = Request::post("/v1/events")
            .header("host", self.to.to_string())
            .header("content-type", "application/x-ndjson")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| broken(&e))?;
        let response = connection.send_request(request).await.map_err(|e| broken(&e))?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = read.map_err(|e| SendError::Answer(e.to_string()))?.to_bytes();
        self.connection = Some(connection);
        if status != StatusCode::OK {
            return Err(SendError::Status(status));
        }
        let answer: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| SendError::Answer(e.to_string()))?;
        answer["accepted"].as_u64().ok_or_else(|| SendError::Answer("no member `accepted`".to_owned()))
    }
}

/// The readings of some sendings, one JSON object per line.
pub fn ndjson(fleet: &Fleet, sendings: &[Sending]) -> String {
    let mut body = String::new();
    for sending in sendings {
        let id = fleet.id(sending.device);
        for reading in &sending.readings {
            let _ =
                write!(body, r#"{{"stream_id":"{id}","ts":{},"seq":{},"fields":{{"#, reading.ts, reading.seq);
            for (at, (name, value)) in reading.fields.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(body, r#"{comma}"{name}":{value}"#);
            }
            body.push_str("}}\n");
        }
    }
    body
}
