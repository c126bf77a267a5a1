//! A client of a gateway.

use crate::server::DEADLINE;
use evenkeel_auth::Transport;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// A client over one socket.
pub struct Client {
    pub socket: WebSocketStream<Transport>,
    binary: bool,
}

impl Client {
    /// Opens a socket and says nothing.
    pub async fn open(address: SocketAddr, protocol: Option<&str>, origin: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let origin = origin.map(|origin| ("origin", origin));
        Self::over(Transport::Plain(stream), address, protocol, origin).await
    }

    /// Opens a socket over a connection, with a header more.
    pub async fn over(
        stream: Transport,
        address: SocketAddr,
        protocol: Option<&str>,
        header: Option<(&str, &str)>,
    ) -> Self {
        let mut request = hyper::Request::get(format!("ws://{address}/v1/live"))
            .header("host", address.to_string())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(protocol) = protocol {
            request = request.header("sec-websocket-protocol", protocol);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        // The library refuses an answer without the protocol it offered; the server's close says more.
        let binary = protocol.is_some_and(|name| name.ends_with("cbor"));
        match protocol.filter(|name| name.starts_with("evenkeel.")) {
            Some(_) => {
                // There are thousands of them here, and the library's buffers are 128 KiB.
                let config = WebSocketConfig::default().read_buffer_size(4096);
                let opened = client_async_with_config(request.body(()).unwrap(), stream, Some(config));
                Self { socket: opened.await.unwrap().0, binary }
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

    /// Opens a session with a token; the answer to its first message, or the close.
    pub async fn with_token(address: SocketAddr, token: &str) -> (Self, Result<Value, u16>) {
        let mut client = Self::open(address, Some("evenkeel.v1.json"), None).await;
        let answer = client.init(Some(token)).await;
        (client, answer)
    }

    /// Says the first message.
    pub async fn init(&mut self, token: Option<&str>) -> Result<Value, u16> {
        let mut init = json!({"type": "connection_init", "client": "test"});
        if let Some(token) = token {
            init["token"] = token.into();
        }
        self.say(init).await;
        self.next().await.map_err(|frame| frame.map_or(1006, |frame| frame.code.into()))
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
    mut stream: Transport,
    address: SocketAddr,
    protocol: Option<&str>,
) -> WebSocketStream<Transport> {
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
