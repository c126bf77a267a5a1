//! What a client may do wrong, and what that does to others: nothing.

use crate::client::Client;
use crate::server::{Server, telemetry, wait_for};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const INIT: &str = r#"{"type":"connection_init"}"#;

#[tokio::test]
async fn each_breach_has_its_code() {
    let server = Server::start(&[("origins", "['https://ops.example']")]).await;
    let at = server.address;
    let json = Some("evenkeel.v1.json");
    assert_eq!(Client::open(at, None, None).await.closed().await, 4505);
    assert_eq!(Client::open(at, Some("mqtt"), None).await.closed().await, 4505);
    assert_eq!(Client::open(at, json, Some("https://evil.example")).await.closed().await, 4503);
    assert!(
        Client::open(at, json, Some("https://ops.example"))
            .await
            .socket
            .get_ref()
            .socket()
            .peer_addr()
            .is_ok()
    );
    let many: Vec<_> = (1..200).map(|id| json!({"id": id, "topic": "fleet/summary"})).collect();
    for (first, then) in [
        (r#"{"type":"ping"}"#.to_owned(), None),
        ("{".to_owned(), None),
        (INIT.to_owned(), Some(INIT.to_owned())),
        (INIT.to_owned(), Some(r#"{"type":"subscribe"}"#.to_owned())),
        (INIT.to_owned(), Some(json!({"type": "subscribe", "subscriptions": many}).to_string())),
    ] {
        let mut client = Client::open(at, json, None).await;
        futures::SinkExt::send(&mut client.socket, Message::text(first.clone())).await.unwrap();
        if let Some(then) = &then {
            let _ = futures::SinkExt::send(&mut client.socket, Message::text(then.clone())).await;
        }
        assert_eq!(client.closed().await, 4500, "{first}");
    }
    let mut binary = Client::open(at, json, None).await;
    futures::SinkExt::send(&mut binary.socket, Message::binary(INIT.as_bytes().to_vec())).await.unwrap();
    assert_eq!(binary.closed().await, 4500);
    server.stopped().await;
}

#[tokio::test]
async fn what_cannot_be_subscribed_is_told_and_the_rest_goes_on() {
    let server = Server::start(&[
        ("session.subscriptions-max", "2"),
        ("topics.new-burst", "2"),
        ("topics.new-rate", "1"),
    ])
    .await;
    let mut client = Client::json(server.address).await;
    let topics = ["weather", "fleet/summary", "fleet/summary", "fleet/summary"];
    let all: Vec<_> =
        topics.iter().enumerate().map(|(n, topic)| json!({"id": n + 1, "topic": topic})).collect();
    client.say(json!({"type": "subscribe", "subscriptions": all})).await;
    let ended = client.hear_type("complete").await["ended"].clone();
    assert_eq!((&ended[0]["id"], &ended[0]["reason"]), (&json!(1), &json!("unknown_topic")));
    assert_eq!((&ended[1]["id"], &ended[1]["reason"]), (&json!(4), &json!("limit")));
    client.say(json!({"type": "complete", "ids": [2, 3]})).await;
    client.subscribe(5, "device/a/status").await;
    client.subscribe(6, "device/b/status").await;
    let ended = client.hear_type("complete").await["ended"].clone();
    assert_eq!((&ended[0]["id"], &ended[0]["reason"]), (&json!(6), &json!("overloaded")));
    assert!(ended[0]["retry_after_ms"].as_u64().unwrap() > 0);
    server.stopped().await;
}

#[tokio::test]
async fn who_never_begins_or_falls_silent_is_closed() {
    let server =
        Server::start(&[("connection.init-timeout", "'100ms'"), ("connection.ping-every", "'150ms'")]).await;
    let mut mute = Client::open(server.address, Some("evenkeel.v1.json"), None).await;
    assert_eq!(mute.closed().await, 4003);
    let mut silent = Client::json(server.address).await;
    assert_eq!(silent.hear().await["type"], "ping");
    assert_eq!(silent.closed().await, 4002);
    // One that answers stays.
    let mut alive = Client::json(server.address).await;
    for _ in 0..5 {
        assert_eq!(alive.hear().await["type"], "ping");
        alive.say(json!({"type": "pong"})).await;
    }
    server.stopped().await;
}

#[tokio::test]
async fn who_does_not_read_is_slowed_cut_and_costs_the_others_nothing() {
    let sets = [
        ("session.tick", "'20ms'"),
        ("connection.write-timeout", "'2s'"),
        ("connection.unsent-max", "'4KiB'"),
        ("session.bytes-rate-max", "'1GiB'"),
        ("session.bytes-burst", "'1GiB'"),
    ];
    let server = Server::start(&sets).await;
    let (mut stuck, mut good) = (Client::json(server.address).await, Client::json(server.address).await);
    let small = socket2::SockRef::from(stuck.socket.get_ref().socket());
    small.set_recv_buffer_size(4096).unwrap();
    stuck.subscribe(1, "device/a/telemetry").await;
    good.subscribe(1, "device/a/telemetry").await;
    server.wait_interest("a", |interest| interest.wants.len() == 1).await;
    let metric = |line: &str| server.metric(line);
    let mut seq = 0;
    let until = std::time::Instant::now() + crate::server::DEADLINE;
    // Large frames, until the one that does not read is cut.
    while !metric("evenkeel_gateway_closes_total{reason=\"too_slow\"} 1") {
        assert!(std::time::Instant::now() < until, "it was never cut");
        seq += 1;
        let mut frame = telemetry("a", seq, seq as i64 * 4000, 0.0);
        frame.series[0].ts = (0..4000).map(|n| seq as i64 * 4000 + n).collect();
        frame.series[0].values = (0..4000).map(|n| f64::from(n) + 0.123_456_789).collect();
        frame.to_ms = frame.from_ms + 3999;
        server.frame(&frame);
        // The other one has each of them before the next is made.
        while good.fragment(1).await["frame"]["state"]["to_ms"] != frame.to_ms {}
    }
    assert!(!metric("evenkeel_gateway_ticks_missed_total 0"), "it missed ticks");
    wait_for("the connection to be forgotten", || {
        metric("evenkeel_gateway_connections{rate_step=\"0\"} 1") && metric("evenkeel_gateway_refs 1")
    })
    .await;
    server.stopped().await;
}

#[tokio::test]
async fn a_connection_that_is_gone_without_a_word_is_forgotten() {
    let server = Server::start(&[("connection.ping-every", "'100ms'"), ("topics.linger", "'50ms'")]).await;
    let mut gone = Client::json(server.address).await;
    gone.subscribe(1, "device/a/status").await;
    server.wait_interest("a", |interest| !interest.wants.is_empty()).await;
    // Half open: it neither reads nor writes nor closes.
    let _held = gone;
    server.wait_interest("a", |interest| interest.wants.is_empty()).await;
    assert!(server.get("/debug/topics").await.contains("\"connections\":0"));
    server.stopped().await;
}
