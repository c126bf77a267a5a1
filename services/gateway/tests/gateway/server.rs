//! A gateway and its clients.

use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::health::Health;
use evenkeel_codec::{encode_alert, encode_frame};
use evenkeel_gateway::{
    Arrived, Config, DEFAULT_TOML, Edges, Gateway, History, Listing, Page, Question, RunError, Source,
    SourceError,
};
use evenkeel_model::{Alert, Frame, FrameFlag, FrameKind, Interest, Series, StoredRow};
use evenkeel_telemetry::{Emitter, Metrics};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};
use tokio_tungstenite::{WebSocketStream, client_async};

/// No step takes near as long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the log says.
pub enum Said {
    Frame(Vec<u8>),
    Alert(u64, Vec<u8>),
}

struct Log {
    said: Receiver<Said>,
    interests: Arc<Mutex<Vec<Interest>>>,
    begun: bool,
}

impl Source for Log {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError> {
        if !std::mem::replace(&mut self.begun, true) {
            each(Arrived::AlertsBegin { partition: 0, offset: 0 });
        }
        let first = self.said.recv_timeout(wait).ok();
        for said in first.into_iter().chain(self.said.try_iter()) {
            match said {
                Said::Frame(value) => each(Arrived::Frame { value: &value }),
                Said::Alert(offset, value) => {
                    each(Arrived::Alert { partition: 0, offset, timestamp_ms: 7, value: &value });
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, interests: &[Interest]) -> Result<(), SourceError> {
        self.interests.lock().unwrap().extend_from_slice(interests);
        Ok(())
    }

    fn partitions(&self) -> u32 {
        1
    }
}

struct Store(BTreeMap<String, Vec<StoredRow>>);

impl History for Store {
    fn newest(&mut self, question: &Question) -> Result<Vec<StoredRow>, SourceError> {
        let mut rows = self.0.get(&question.stream_id).cloned().unwrap_or_default();
        rows.retain(|row| row.row.span.size_ms == question.size_ms);
        Ok(rows)
    }

    fn streams(&mut self, streams_max: usize) -> Result<Listing, SourceError> {
        let newest = self.0.values().filter_map(|rows| rows.last().cloned()).take(streams_max);
        Ok(Listing { newest: newest.collect(), total: self.0.len(), sizes_ms: vec![5_000] })
    }
}

/// A running gateway.
pub struct Server {
    pub address: SocketAddr,
    pub log: Sender<Said>,
    pub interests: Arc<Mutex<Vec<Interest>>>,
    pub metrics: Metrics,
    drain: Drain,
    running: JoinHandle<Result<(), RunError>>,
}

impl Server {
    pub async fn start(sets: &[(&str, &str)]) -> Self {
        Self::with(sets, BTreeMap::new()).await
    }

    pub async fn with(sets: &[(&str, &str)], rows: BTreeMap<String, Vec<StoredRow>>) -> Self {
        let mut whole: toml::Table = DEFAULT_TOML.parse().unwrap();
        for (key, value) in [("listen", "'127.0.0.1:0'"), ("instance", "'g'")].iter().chain(sets) {
            let value = format!("v = {value}").parse::<toml::Table>().unwrap()["v"].clone();
            match key.split_once('.') {
                Some((section, key)) => whole[section].as_table_mut().unwrap().insert(key.to_owned(), value),
                None => whole.insert((*key).to_owned(), value),
            };
        }
        let config: Config = whole.try_into().unwrap();
        let (log, said) = channel();
        let interests = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::new().unwrap();
        let page = Page { path: "/index.html", bytes: b"<title>pages</title>", tag: "1" };
        let edges = Edges {
            emitter: Emitter::new(metrics.clone()),
            ready: Health::new(metrics.clone()).condition("gateway"),
            source: Box::new(Log { said, interests: Arc::clone(&interests), begun: false }),
            histories: vec![Box::new(Store(rows))],
            pages: vec![page],
            metrics_text: None,
        };
        let gateway = Gateway::new(config, edges).await.unwrap();
        let (address, drain) = (gateway.address(), Drain::new(DEADLINE));
        let until = drain.clone();
        let running = tokio::spawn(async move { gateway.run(&until).await });
        Self { address, log, interests, metrics, drain, running }
    }

    pub fn frame(&self, frame: &Frame) {
        let mut value = Vec::new();
        encode_frame(frame, &mut value);
        self.log.send(Said::Frame(value)).unwrap();
    }

    pub fn alert(&self, offset: u64, alert: &Alert) {
        let mut value = Vec::new();
        encode_alert(alert, &mut value);
        self.log.send(Said::Alert(offset, value)).unwrap();
    }

    /// What was said last of a stream.
    pub async fn wait_interest(&self, stream: &str, good: impl Fn(&Interest) -> bool) {
        wait_for("an interest", || {
            let all = self.interests.lock().unwrap();
            all.iter().rev().find(|one| one.stream_id == stream).is_some_and(&good)
        })
        .await;
    }

    pub fn drain(&self) {
        self.drain.begin(Cause::Finished);
    }

    pub async fn stopped(self) {
        self.drain();
        self.running.await.unwrap().unwrap();
    }

    /// The body of a GET.
    pub async fn get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// Waits for a condition.
pub async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "{what} did not come within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client over one socket.
pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    binary: bool,
}

impl Client {
    /// Opens a socket and says nothing.
    pub async fn open(address: SocketAddr, protocol: Option<&str>, origin: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = hyper::Request::get(format!("ws://{address}/v1/live"))
            .header("host", address.to_string())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(protocol) = protocol {
            request = request.header("sec-websocket-protocol", protocol);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        // The library refuses an answer without the protocol it offered; the server's close says more.
        let binary = protocol.is_some_and(|name| name.ends_with("cbor"));
        match protocol.filter(|name| name.starts_with("evenkeel.")) {
            Some(_) => {
                Self { socket: client_async(request.body(()).unwrap(), stream).await.unwrap().0, binary }
            }
            None => Self { socket: raw(stream, address, protocol).await, binary },
        }
    }

    /// Opens a session.
    pub async fn connect(address: SocketAddr, protocol: &str) -> Self {
        let mut client = Self::open(address, Some(protocol), None).await;
        client.say(json!({"type": "connection_init", "client": "test"})).await;
        assert_eq!(client.hear().await["type"], "connection_ack");
        client
    }

    pub async fn json(address: SocketAddr) -> Self {
        Self::connect(address, "evenkeel.v1.json").await
    }

    pub async fn say(&mut self, message: Value) {
        let message = match self.binary {
            true => Message::Binary(cbor4ii::serde::to_vec(Vec::new(), &message).unwrap().into()),
            false => Message::text(message.to_string()),
        };
        self.socket.send(message).await.unwrap();
    }

    pub async fn subscribe(&mut self, id: u32, topic: &str) {
        self.say(json!({"type": "subscribe", "subscriptions": [{"id": id, "topic": topic, "max_hz": 10}]}))
            .await;
    }

    /// The next message, or the close.
    pub async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message =
                tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("a message in time");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => return Ok(cbor4ii::serde::from_slice(&bytes).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    pub async fn hear(&mut self) -> Value {
        self.next().await.expect("a message, not the end")
    }

    /// The next message of a type; pings are answered.
    pub async fn hear_type(&mut self, name: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["type"] == name {
                return message;
            }
            if message["type"] == "ping" {
                self.say(json!({"type": "pong"})).await;
            }
        }
    }

    /// The next fragment of a subscription.
    pub async fn fragment(&mut self, id: u32) -> Value {
        loop {
            let next = self.hear_type("next").await;
            let fragments = next["fragments"].as_array().unwrap();
            if let Some(fragment) = fragments.iter().find(|fragment| fragment["id"] == id) {
                return fragment.clone();
            }
        }
    }

    /// The code of the close.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(frame) => return frame.map_or(1006, |frame| frame.code.into()),
            }
        }
    }
}

/// A WebSocket whose handshake nobody checks.
async fn raw(
    mut stream: TcpStream,
    address: SocketAddr,
    protocol: Option<&str>,
) -> WebSocketStream<TcpStream> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let offer = protocol.map_or(String::new(), |name| format!("sec-websocket-protocol: {name}\r\n"));
    let head = format!(
        "GET /v1/live HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    // Byte by byte: a server that counts on whole heads would fail here.
    for byte in head.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A frame of telemetry with one point.
pub fn telemetry(stream: &str, seq: u64, t: i64, value: f64) -> Frame {
    let mut frame = Frame::empty(FrameKind::Telemetry, 0);
    frame.stream_id = stream.to_owned();
    (frame.epoch, frame.seq, frame.ts_ms, frame.source) = (1, seq, t, "c-0".to_owned());
    (frame.from_ms, frame.to_ms) = (t, t);
    frame.flags = vec![FrameFlag::Live];
    frame.series = vec![Series { name: "weight".to_owned(), ts: vec![t], values: vec![value] }];
    frame
}
