//! Events over a WebSocket, by a client of another make (tokio-tungstenite's own) and by hand where that one is too
//! well-behaved.

use crate::client::{Connection, DEADLINE};
use crate::fake::Mode;
use crate::server::{Server, start, until};
use evenkeel_chassis::drain::Cause;
use evenkeel_codec::encode_batch;
use evenkeel_model::EventBatch;
use evenkeel_telemetry::names::ingest::{CONNECTIONS, REQUESTS};
use futures::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

pub struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        let mut client = Self::open_with(address, &[]).await.unwrap();
        assert_eq!(client.json().await["type"], "hello");
        client
    }

    pub async fn open_with(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        client_async(request, stream).await.map(|(socket, _)| Self { socket })
    }

    pub async fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("no message before the deadline")
    }

    pub async fn json(&mut self) -> Value {
        loop {
            match self.next().await.expect("the end").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The bytes below, to write frames by hand.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// Whether nothing has come yet.
    pub fn next_is_quiet(&mut self) -> bool {
        self.socket.next().now_or_never().is_none()
    }

    /// The code of the server's goodbye; answers that come before it are passed over.
    pub async fn closed(&mut self) -> CloseCode {
        self.goodbye().await.0
    }

    /// Code and reason of the server's goodbye.
    pub async fn goodbye(&mut self) -> (CloseCode, String) {
        loop {
            match self.next().await.expect("an end without goodbye").unwrap() {
                Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
                Message::Close(None) => panic!("a goodbye without a code"),
                _ => {}
            }
        }
    }
}

pub fn batch(id: u64, seqs: std::ops::Range<u64>) -> Value {
    let event = |seq| json!({"stream_id": "bowl/1", "ts": 1, "seq": seq, "fields": {"v": 1.5}});
    json!({"id": id, "events": seqs.map(event).collect::<Vec<_>>()})
}

/// All seqs in the log, each once.
fn stored(server: &Server) -> BTreeSet<u64> {
    let all: Vec<u64> = server.log.durable().iter().flat_map(|record| record.batch.seq.clone()).collect();
    let set: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(set.len(), all.len(), "a seq is there twice");
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_go_up_and_answers_come_down_by_id() {
    let server = start(&["websocket.credits=4"]).await;
    let mut client =
        Client::open_with(server.address, &[("sec-websocket-protocol", "evenkeel.ingest.v1")]).await.unwrap();
    assert_eq!(client.json().await, json!({"type": "hello", "credits": 4, "message_max": 262_144}));
    client.send(&batch(7, 0..3)).await;
    let want = json!({"type": "ack", "id": 7, "accepted": 3, "rejected_total": 0, "rejected": []});
    assert_eq!(client.json().await, want);
    let mut record = 8u64.to_be_bytes().to_vec();
    let events =
        EventBatch { stream_id: "bowl/1".into(), ts: vec![1], seq: vec![3], ..EventBatch::default() };
    encode_batch(&events, &mut record);
    client.socket.send(Message::binary(record)).await.unwrap();
    assert_eq!(client.json().await["id"], 8);
    assert_eq!(stored(&server), (0..4).collect());
    // Judged event by event, as over HTTP.
    client.send(&json!({"id": 9, "events": [{"stream_id": "a", "ts": 1}, {"stream_id": "a"}]})).await;
    let answer = client.json().await;
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&1.into(), &1.into()));
    until("the connection is counted", || server.metrics.gauge(&CONNECTIONS, ["websocket"]).get() == 1.0)
        .await;
    client.socket.close(None).await.unwrap();
    until("it is gone", || server.metrics.gauge(&CONNECTIONS, ["websocket"]).get() == 0.0).await;
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_are_refused_and_the_connection_goes_on() {
    let server = start(&[]).await;
    let mut client = Client::open(server.address).await;
    for (text, id, slug) in [
        ("{", Value::Null, "unreadable-body"),
        (r#"{"id": 1}"#, Value::Null, "unreadable-body"),
        (r#"{"id": 2, "events": [{"stream_id": "s"}]}"#, json!(2), "events-refused"),
        (r#"{"id": 3, "events": 17}"#, json!(3), "unreadable-body"),
    ] {
        client.socket.send(Message::text(text)).await.unwrap();
        let answer = client.json().await;
        assert_eq!((&answer["type"], &answer["id"]), (&"refusal".into(), &id), "{text} {answer}");
        assert_eq!(answer["problem"]["type"], format!("urn:evenkeel:problem:{slug}"), "{text}");
    }
    client.socket.send(Message::binary(vec![0; 3])).await.unwrap();
    assert_eq!(client.json().await["type"], "refusal");
    client.send(&batch(4, 0..1)).await;
    assert_eq!(client.json().await["id"], 4);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_before_the_logs_and_one_batch_over_the_credits_ends_it() {
    let server = start(&["websocket.credits=2"]).await;
    server.log.set(Mode::Hold);
    let mut client = Client::open(server.address).await;
    for id in 0..2 {
        client.send(&batch(id, id * 10..id * 10 + 2)).await;
    }
    until("both are at the log", || server.log.records().len() == 2).await;
    client.send(&batch(2, 100..101)).await;
    let refused = || server.metrics.counter(&REQUESTS, ["websocket", "4xx"]).get();
    until("the third is refused", || refused() == 1).await;
    // The two before it get their answers first.
    server.log.release();
    let ids = BTreeSet::from([
        client.json().await["id"].clone().to_string(),
        client.json().await["id"].to_string(),
    ]);
    assert_eq!(ids, BTreeSet::from(["0".to_owned(), "1".to_owned()]));
    assert_eq!(client.closed().await, CloseCode::Policy);
    assert_eq!(stored(&server), BTreeSet::from([0, 1, 10, 11]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_is_charged_while_it_is_read() {
    let server = start(&[
        "in-flight-max=1MiB",
        "body.size-max=512KiB",
        "body.record-max=128KiB",
        "websocket.message-max=512KiB",
    ])
    .await;
    let mut client = Client::open(server.address).await;
    // The head of a frame of 400 KiB and half of it: what was read beyond 4 KiB is in the budget.
    let mut frame = vec![0x81, 0xff];
    frame.extend_from_slice(&(400u64 << 10).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + (200 << 10), b' ');
    let raw = client.socket.get_mut();
    tokio::io::AsyncWriteExt::write_all(raw, &frame).await.unwrap();
    until("it is charged", || server.in_flight_bytes() > f64::from(128 << 10)).await;
    // Others find the rest of the budget; too many do not fit, and are told to come back.
    let mut others = Vec::new();
    let busy = loop {
        let mut other = Client::open(server.address).await;
        let _ = tokio::io::AsyncWriteExt::write_all(other.socket.get_mut(), &frame).await;
        match tokio::time::timeout(Duration::from_millis(300), other.socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => {
                break (serde_json::from_str::<Value>(&text).unwrap(), other);
            }
            _ => others.push(other),
        }
        assert!(others.len() < 20, "the budget of 1 MiB never ends");
    };
    assert_eq!(busy.0["problem"]["type"], "urn:evenkeel:problem:busy");
    assert!(busy.0["retry_after_ms"].as_u64().is_some_and(|ms| ms >= 1_000));
    drop((client, others, busy));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_too_slow_and_malformed_frames_end_with_their_code() {
    let server = start(&["body.timeout=300ms", "websocket.message-max=16KiB"]).await;
    let mut client = Client::open(server.address).await;
    client.socket.send(Message::text(" ".repeat(17 << 10))).await.unwrap();
    assert_eq!(client.closed().await, CloseCode::Size);
    let mut slow = Client::open(server.address).await;
    let mut frame = vec![0x81, 0xfe, 0x3f, 0xff, 0, 0, 0, 0];
    frame.resize(frame.len() + 10_000, b' ');
    tokio::io::AsyncWriteExt::write_all(slow.socket.get_mut(), &frame).await.unwrap();
    let refusal = slow.json().await;
    assert_eq!(refusal["problem"]["type"], "urn:evenkeel:problem:slow-body");
    assert_eq!(slow.closed().await, CloseCode::Policy);
    // An unmasked frame, a reserved opcode, text that is no UTF-8, a fragmented ping.
    for (bytes, code) in [
        (&b"\x81\x02hi"[..], CloseCode::Protocol),
        (b"\x83\x80\0\0\0\0", CloseCode::Protocol),
        (b"\x81\x82\0\0\0\0\xff\xff", CloseCode::Invalid),
        (b"\x09\x80\0\0\0\0", CloseCode::Protocol),
    ] {
        let mut client = Client::open(server.address).await;
        tokio::io::AsyncWriteExt::write_all(client.socket.get_mut(), bytes).await.unwrap();
        assert_eq!(client.closed().await, code, "{bytes:?}");
    }
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_pinged_and_then_cut() {
    let server = start(&["websocket.ping-every=200ms"]).await;
    let mut client = Client::open(server.address).await;
    // Reading answers the pings: it stays.
    for _ in 0..4 {
        assert!(matches!(client.next().await, Some(Ok(Message::Ping(bytes))) if bytes == Bytes::new()));
    }
    // One that does not even read is cut.
    let mut raw = Connection::open(server.address).await;
    raw.send(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await;
    let reply = raw.reply().await.unwrap();
    assert_eq!(
        (reply.status, reply.header("sec-websocket-accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    );
    let gauge = || server.metrics.gauge(&CONNECTIONS, ["websocket"]).get();
    until("both are open", || gauge() == 2.0).await;
    let reading = async { while client.next().await.is_some() {} };
    tokio::select! {
        () = reading => panic!("the client that answers was cut"),
        () = until("the silent one is cut", || gauge() == 1.0) => {}
    }
    drop(raw);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_is_under_way_and_takes_nothing_new() {
    let server = start(&[]).await;
    let mut client = Client::open(server.address).await;
    server.log.set(Mode::Hold);
    client.send(&batch(1, 0..5)).await;
    until("it is at the log", || server.log.records().len() == 1).await;
    server.drain.begin(Cause::Terminate);
    assert_eq!(client.json().await["type"], "drain");
    client.send(&batch(2, 5..9)).await;
    let refusal = client.json().await;
    assert_eq!((&refusal["id"], &refusal["problem"]["status"]), (&2.into(), &503.into()));
    server.log.release();
    assert_eq!(client.json().await["type"], "ack");
    assert_eq!(client.closed().await, CloseCode::Restart);
    assert_eq!(stored(&server), (0..5).collect());
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_asked_for_before_the_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    let text = "[[credential]]\nname = \"a\"\ntoken = \"wearables-0123456789\"\nstreams = [\"imu/*\"]\n";
    std::fs::write(&path, text).unwrap();
    let server = start(&[&format!("tokens-file={}", path.display())]).await;
    let refused = |outcome: Result<Client, Error>| match outcome {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(refused(Client::open_with(server.address, &[]).await), 401);
    let bad = [("authorization", "Bearer wearables-0123456780")];
    assert_eq!(refused(Client::open_with(server.address, &bad).await), 401);
    let browser = [
        ("sec-websocket-protocol", "evenkeel.ingest.v1, bearer.wearables-0123456789"),
        ("origin", "https://app.example"),
    ];
    let mut client = Client::open_with(server.address, &browser).await.unwrap();
    assert_eq!(client.json().await["type"], "hello");
    client.send(&batch(1, 0..1)).await;
    assert_eq!(client.json().await["problem"]["type"], "urn:evenkeel:problem:forbidden");
    drop(client);
    server.stop().await;
    // Without credentials, on loopback, another site's page may not write.
    let server = start(&[]).await;
    let page = [("origin", "https://evil.example")];
    assert_eq!(refused(Client::open_with(server.address, &page).await), 403);
    let mut plain = Connection::open(server.address).await;
    plain.send(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let reply = plain.reply().await.unwrap();
    assert_eq!(
        (reply.status, &*reply.slug(), reply.header("upgrade")),
        (426, "upgrade-required", Some("websocket"))
    );
    drop(plain);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_before_its_answer_can_send_again() {
    let server = start(&[]).await;
    server.log.set(Mode::Hold);
    let mut client = Client::open(server.address).await;
    client.send(&batch(1, 0..5)).await;
    until("it is at the log", || server.log.records().len() == 1).await;
    drop(client);
    server.log.release();
    server.settles().await;
    server.log.set(Mode::Ack);
    let mut again = Client::open(server.address).await;
    again.send(&batch(1, 0..5)).await;
    assert_eq!(again.json().await["accepted"], 5);
    server.stop().await;
}
