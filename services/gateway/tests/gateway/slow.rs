//! Clients and networks that are slow, and what that does to the others: nothing.

use crate::client::Client;
use crate::server::{DEADLINE, Server, telemetry, wait_for};
use evenkeel_model::Frame;
use serde_json::{Value, json};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const TOPIC: &str = "device/a/telemetry";
/// Far more than the kernel holds of a connection whose client does not read.
const POINTS: i64 = 1000;

/// A frame of some 30 KiB, of which nothing is like the one before.
fn large(seq: u64) -> Frame {
    let from = seq as i64 * POINTS;
    let mut frame = telemetry("a", seq, from, 0.0);
    frame.series[0].ts = (from..from + POINTS).collect();
    frame.series[0].values = (from..from + POINTS).map(|n| n as f64 + 0.123_456_789).collect();
    frame.to_ms = from + POINTS - 1;
    frame
}

fn sets() -> [(&'static str, &'static str); 5] {
    [
        ("session.tick", "'20ms'"),
        ("connection.unsent-max", "'4KiB'"),
        ("connection.write-timeout", "'60s'"),
        ("session.bytes-rate-max", "'1GiB'"),
        ("session.bytes-burst", "'1GiB'"),
    ]
}

/// Its receive window is shut as soon as it does not read.
fn shut(client: &Client) {
    socket2::SockRef::from(client.socket.get_ref().socket()).set_recv_buffer_size(4096).unwrap();
}

#[tokio::test]
async fn one_of_a_hundred_that_stalls_costs_the_others_no_tick() {
    let server = Server::start(&sets()).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::json(server.address).await;
        client.subscribe(1, TOPIC).await;
        clients.push(client);
    }
    let stalled = clients.swap_remove(40);
    shut(&stalled);
    server.wait_interest("a", |interest| !interest.wants.is_empty()).await;
    wait_for("all subscriptions", || server.metric("evenkeel_gateway_refs 100")).await;
    // Each of the others is painted in every round: none waits for the one whose ticks are missed.
    let mut seq = 0;
    let until = Instant::now() + DEADLINE;
    while server.value("evenkeel_gateway_ticks_missed_total") < 3.0 {
        assert!(Instant::now() < until, "nobody ever missed a tick");
        seq += 1;
        server.frame(&large(seq));
        for client in &mut clients {
            let frame = client.fragment(1).await["frame"].clone();
            assert_eq!(frame["state"]["to_ms"], large(seq).to_ms, "one frame a round, the round's own");
        }
    }
    assert_eq!(
        server.value("evenkeel_gateway_connections{rate_step=\"0\"}"),
        99.0,
        "one is on a slower step"
    );
    drop(stalled);
    server.stopped().await;
}

#[tokio::test]
async fn a_window_that_opens_again_brings_the_newest_and_no_queue() {
    let server = Server::start(&sets()).await;
    let (mut slow, mut good) = (Client::json(server.address).await, Client::json(server.address).await);
    shut(&slow);
    slow.subscribe(1, TOPIC).await;
    good.subscribe(1, TOPIC).await;
    server.wait_interest("a", |interest| !interest.wants.is_empty()).await;
    wait_for("both subscriptions", || server.metric("evenkeel_gateway_refs 2")).await;
    let rounds = 60;
    for seq in 1..=rounds {
        server.frame(&large(seq));
        while good.fragment(1).await["frame"]["state"]["to_ms"] != large(seq).to_ms {}
    }
    assert!(server.value("evenkeel_gateway_ticks_missed_total") > 0.0, "it was never behind");
    let mut came: Vec<Value> = Vec::new();
    while came.last().is_none_or(|state| state["to_ms"] != large(rounds).to_ms) {
        came.push(slow.fragment(1).await["frame"]["state"].clone());
    }
    assert!(came.len() < rounds as usize / 4, "{} frames of {rounds} had been kept for it", came.len());
    // What lay between is in the newest frame: nothing is missing up to its end.
    let ends = |state: &Value| (state["from_ms"].as_i64().unwrap(), state["to_ms"].as_i64().unwrap());
    assert!(came.windows(2).all(|pair| ends(&pair[1]).0 <= ends(&pair[0]).1 + 1), "a gap");
    server.stopped().await;
}

#[tokio::test]
async fn bytes_that_come_and_go_one_by_one_are_messages_all_the_same() {
    let server = Server::start(&[]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap(); // the least the system gives
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "GET /v1/live HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: evenkeel.v1.json\r\n\r\n",
        server.address
    );
    drip(&mut stream, head.as_bytes()).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(byte(&mut stream).await);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    for message in [
        json!({"type": "connection_init"}),
        json!({"type": "subscribe", "subscriptions": [{"id": 1, "topic": TOPIC}]}),
    ] {
        drip(&mut stream, &masked(&message.to_string())).await;
    }
    assert_eq!(message(&mut stream).await["type"], "connection_ack");
    server.wait_interest("a", |interest| !interest.wants.is_empty()).await;
    let mut frame = telemetry("a", 1, 0, 0.0);
    frame.series[0].ts = (0..500).collect();
    frame.series[0].values = (0..500).map(f64::from).collect();
    frame.to_ms = 499;
    server.frame(&frame);
    let next = message(&mut stream).await;
    let values = next["fragments"][0]["frame"]["state"]["series"]["weight"]["v"].as_array().unwrap().len();
    assert_eq!((&next["type"], values), (&json!("next"), 500));
    server.stopped().await;
}

/// Writes byte by byte.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).await.unwrap();
    }
}

async fn byte(stream: &mut TcpStream) -> u8 {
    tokio::time::timeout(DEADLINE, stream.read_u8()).await.expect("a byte in time").unwrap()
}

/// A text message of a client (RFC 6455, 5.2), under a mask of zeros.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The next message of the server, read byte by byte.
async fn message(stream: &mut TcpStream) -> Value {
    assert_eq!(byte(stream).await, 0x81, "one whole text message");
    let mut length = usize::from(byte(stream).await);
    let more = match length {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if more > 0 {
        length = 0;
        for _ in 0..more {
            length = length << 8 | usize::from(byte(stream).await);
        }
    }
    let mut text = Vec::with_capacity(length);
    for _ in 0..length {
        text.push(byte(stream).await);
    }
    serde_json::from_slice(&text).unwrap()
}
