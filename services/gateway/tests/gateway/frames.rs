//! Frames and events, from the log to a client.

use crate::client::Client;
use crate::server::{Server, telemetry, wait_for};
use evenkeel_model::{
    Alert, AlertAction, AlertCause, AlertSeverity, ClosedBy, FieldStats, StoredRow, WindowRow, WindowSpan,
};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOPIC: &str = "device/bowl%2F7/telemetry";

fn row(window: i64, value: f64) -> StoredRow {
    let span = WindowSpan { size_ms: 5000, window_id: window };
    let stats = FieldStats {
        name: "weight".into(),
        count: 2,
        min: value,
        max: value,
        mean: value,
        first: value,
        first_ts: span.t_start(),
        last: value,
        last_ts: span.t_start() + 1000,
        ..FieldStats::default()
    };
    let row = WindowRow {
        stream_id: "bowl/7".into(),
        span,
        closed_by: ClosedBy::Watermark,
        max_ts: span.t_start() + 1000,
        first_arrival: 0,
        last_arrival: 0,
        count: 2,
        seqs: vec![],
        dropped: vec![],
        stats: vec![stats],
        events: None,
    };
    StoredRow { row, revision: 0, late_offset: -1 }
}

#[tokio::test]
async fn a_frame_of_the_log_reaches_every_client_in_its_format() {
    let server = Server::start(&[]).await;
    for protocol in ["evenkeel.v1.json", "evenkeel.v1.cbor"] {
        let mut client = Client::connect(server.address, protocol).await;
        client.subscribe(3, TOPIC).await;
        server.wait_interest("bowl/7", |interest| interest.wants.len() == 1 && interest.gateway == "g").await;
        let seq = if protocol.ends_with("json") { 1 } else { 2 };
        let mut said = telemetry("bowl/7", seq, 1000 * seq as i64, 412.5);
        said.from_ms -= 999; // up to where the one before it ended: nothing is missing between
        server.frame(&said);
        let mut frame = client.fragment(3).await["frame"].clone();
        while frame["state"]["to_ms"] != 1000 * seq {
            frame = client.fragment(3).await["frame"].clone();
        }
        assert_eq!(frame["source"], "c-0");
        assert_eq!(frame["flags"], json!(["live"]));
        let values = frame["state"]["series"]["weight"]["v"].as_array().unwrap();
        assert_eq!(values.last(), Some(&json!(412.5)));
    }
    // Both are gone, so nobody looks any more.
    server.wait_interest("bowl/7", |interest| interest.wants.is_empty()).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_chart_begins_with_what_the_store_holds() {
    let rows = BTreeMap::from([("bowl/7".to_owned(), vec![row(0, 1.0), row(1, 2.0)])]);
    let server = Server::with(&[], rows).await;
    let mut client = Client::json(server.address).await;
    client.subscribe(1, TOPIC).await;
    client.subscribe(2, "device/bowl%2F7/windows/5s").await;
    client.subscribe(3, "device/bowl%2F7/status").await;
    let frame = client.fragment(1).await["frame"].clone();
    assert_eq!(frame["state"]["series"]["weight"]["v"], json!([1.0, 1.0, 2.0, 2.0]));
    assert_eq!((&frame["flags"], &frame["source"]), (&json!(["stale"]), &json!("store")));
    let mut other = Client::json(server.address).await;
    other.subscribe(1, "device/bowl%2F7/windows/5s").await;
    other.subscribe(2, "device/bowl%2F7/status").await;
    let windows = other.fragment(1).await["frame"]["state"]["rows"].clone();
    assert_eq!((windows.as_array().unwrap().len(), &windows[1]["t_start"]), (2, &json!(5000)));
    // What is live goes on from there.
    server.frame(&telemetry("bowl/7", 1, 9000, 3.0));
    let mut live = client.fragment(1).await["frame"].clone();
    while live["source"] != "c-0" {
        live = client.fragment(1).await["frame"].clone();
    }
    assert_eq!((&live["state"]["from_ms"], &live["epoch"]), (&json!(9000), &frame["epoch"]));
    assert!(live["seq"].as_u64() > frame["seq"].as_u64());
    server.stopped().await;
}

/// Of `bowl/7`.
pub fn alert(action: AlertAction) -> Alert {
    Alert {
        stream_id: "bowl/7".into(),
        id: "heavy/5000/0".into(),
        action,
        cause: AlertCause::Value,
        rule: "heavy".into(),
        severity: AlertSeverity::Warning,
        field: "weight.mean".into(),
        value: 9.0,
        threshold: 5.0,
        size_ms: 5000,
        t_start: 0,
        since: 0,
    }
}

#[tokio::test]
async fn alerts_come_in_order_and_are_recovered_from_a_position() {
    let server = Server::start(&[]).await;
    let mut client = Client::json(server.address).await;
    client.subscribe(1, "device/bowl%2F7/alerts").await;
    let first = client.fragment(1).await["events"].clone();
    assert_eq!((&first["after"], &first["events"]), (&json!(-1), &json!([])));
    assert!(first.get("recovered").is_none());
    server.alert(4, &alert(AlertAction::Raise));
    server.alert(9, &alert(AlertAction::Clear));
    let mut offsets = Vec::new();
    while offsets.len() < 2 {
        let events = client.fragment(1).await["events"]["events"].clone();
        offsets.extend(events.as_array().unwrap().iter().map(|event| event["offset"].as_i64().unwrap()));
    }
    assert_eq!(offsets, [4, 9]);
    // Another connection goes on from a position.
    let mut other = Client::json(server.address).await;
    for (epoch, offset, recovered, count) in [
        (first["epoch"].clone(), 4, true, 1),
        (first["epoch"].clone(), 9, true, 0),
        (json!("x"), 4, false, 2),
    ] {
        let position = json!({"epoch": epoch, "offset": offset});
        let ask = json!([{"id": 5, "topic": "device/bowl%2F7/alerts", "position": position}]);
        other.say(json!({"type": "subscribe", "subscriptions": ask})).await;
        let events = other.fragment(5).await["events"].clone();
        assert_eq!(
            (&events["recovered"], events["events"].as_array().unwrap().len()),
            (&json!(recovered), count)
        );
    }
    server.stopped().await;
}

#[tokio::test]
async fn devices_are_listed_those_with_raised_alerts_first() {
    let stored = |stream: &str, window| {
        let mut stored = row(window, 1.0);
        stored.row.stream_id = stream.to_owned();
        (stream.to_owned(), vec![stored])
    };
    let rows = BTreeMap::from([stored("bowl/7", 0), stored("collar/2", 1)]);
    let server = Server::with(&[], rows).await;
    let mut client = Client::json(server.address).await;
    client.subscribe(1, "fleet/devices").await;
    let state = client.fragment(1).await["frame"]["state"].clone();
    let glance = |id: &str, last_ts: i64, raised: u32| json!({"stream_id": id, "last_ts": last_ts, "events_per_s": 0.0, "alerts_raised": raised});
    let devices = json!([glance("collar/2", 6000, 0), glance("bowl/7", 1000, 0)]);
    assert_eq!(state, json!({"devices": devices, "total": 2, "window_sizes": ["5s"]}));
    server.alert(4, &alert(AlertAction::Raise));
    let mut state = state;
    while state["devices"][0]["alerts_raised"] != 1 {
        state = client.fragment(1).await["frame"]["state"].clone();
    }
    assert_eq!(state["devices"], json!([glance("bowl/7", 1000, 1), glance("collar/2", 6000, 0)]));
    server.stopped().await;
}

#[tokio::test]
async fn a_pause_is_a_pause_and_diagnostics_return_to_nothing() {
    let server = Server::start(&[("topics.linger", "'50ms'")]).await;
    let mut client = Client::json(server.address).await;
    client.subscribe(1, TOPIC).await;
    server.wait_interest("bowl/7", |interest| interest.wants.len() == 1).await;
    server.frame(&telemetry("bowl/7", 1, 1000, 1.0));
    client.fragment(1).await;
    client.say(json!({"type": "rate", "rates": [{"id": 1, "max_hz": 0}]})).await;
    client.say(json!({"type": "ping"})).await;
    client.hear_type("pong").await;
    server.frame(&telemetry("bowl/7", 2, 2000, 2.0));
    wait_for("the second frame", || {
        server.metrics.render().unwrap().contains("evenkeel_gateway_frames_received_total 2")
    })
    .await;
    client.say(json!({"type": "rate", "rates": [{"id": 1, "max_hz": 10}]})).await;
    let frame = client.fragment(1).await["frame"].clone();
    assert_eq!(
        frame["state"]["series"]["weight"]["v"],
        json!([1.0, 2.0]),
        "the first after a pause is whole"
    );
    assert!(server.get("/debug/topics").await.contains("\"refs\":1"));
    client.say(json!({"type": "complete", "ids": [1]})).await;
    server.wait_interest("bowl/7", |interest| interest.wants.is_empty()).await;
    let text = server.get("/debug/topics").await;
    assert!(text.contains("\"refs\":0") && text.contains("\"topics\":[]"), "{text}");
    server.stopped().await;
}

#[tokio::test]
async fn server_sent_events_bring_the_same_and_go_on_from_their_id() {
    let server = Server::start(&[]).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let path = "/v1/live/events?topic=device%2Fbowl%252F7%2Ftelemetry";
    let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    server.wait_interest("bowl/7", |interest| interest.wants.len() == 1).await;
    server.frame(&telemetry("bowl/7", 1, 1000, 412.5));
    let mut text = String::new();
    while !text.contains("\nid: ") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(
        text.contains("event: next\ndata: [{\"topic\":\"device/bowl%2F7/telemetry\",\"frame\":{"),
        "{text}"
    );
    assert!(text.contains("412.5") && text.contains("id: 0=g."), "{text}");
    let refused = server.get("/v1/live/events?topic=nothing").await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("nothing is no topic"), "{refused}");
    assert!(server.get("/").await.contains("<title>pages</title>"));
    assert!(server.get("/../Cargo.toml").await.starts_with("HTTP/1.1 404"));
    drop(stream);
    server.stopped().await;
}
