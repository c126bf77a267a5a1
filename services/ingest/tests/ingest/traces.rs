//! What a client says of its trace goes along with its events, whatever it speaks.

use crate::client::{NDJSON, post_with};
use crate::mqtt::TOPIC;
use crate::mqtt_bytes::{PUBACK, Raw, V3, V5, publish, publish_with, text};
use crate::server::start;
use crate::websocket::Client;
use serde_json::json;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "vendor=1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_trace_reaches_the_headers_of_the_record_by_every_protocol() {
    let server = start(&["mqtt.listen=127.0.0.1:0"]).await;
    let traced = [("traceparent".to_owned(), PARENT.to_owned()), ("tracestate".to_owned(), STATE.to_owned())];

    let lines = format!("traceparent: {PARENT}\r\ntracestate: {STATE}\r\n");
    let event = "{\"ts\": 1, \"seq\": 1, \"fields\": {\"v\": 1}}";
    for headers in [lines.as_str(), ""] {
        let sent = post_with(server.address, "/v1/streams/by/http/events", NDJSON, headers, event).await;
        assert_eq!(sent.status, 200);
    }

    let mut client = Client::open(server.address).await;
    let events = json!([{ "stream_id": "by/ws", "ts": 1, "seq": 1, "fields": { "v": 1 } }]);
    client.send(&json!({ "id": 1, "events": events, "traceparent": PARENT, "tracestate": STATE })).await;
    assert_eq!(client.json().await["type"], "ack");
    client.send(&json!({ "id": 2, "events": events })).await;
    assert_eq!(client.json().await["type"], "ack");

    let user = |key: &str, value: &str| [vec![0x26], text(key), text(value)].concat();
    let said = [user("traceparent", PARENT), user("tracestate", STATE)].concat();
    let address = server.mqtt.unwrap();
    let mut five = Raw::enter(address, V5, "five").await;
    five.send(&publish_with(V5, 2, 1, TOPIC, &said, event.as_bytes())).await;
    assert_eq!(five.read().await.unwrap().first, PUBACK);
    // Version 3 has no place for it.
    let mut three = Raw::enter(address, V3, "three").await;
    three.send(&publish(V3, 2, 1, TOPIC, event.as_bytes())).await;
    assert_eq!(three.read().await.unwrap().first, PUBACK);

    let records = server.log.durable();
    for stream in ["by/http", "by/ws", "bowl/1"] {
        let of_stream: Vec<_> = records.iter().filter(|r| r.key == stream).map(|r| &r.headers[..]).collect();
        assert_eq!(of_stream, [&traced[..], &[]], "{stream}");
    }
    server.stop().await;
}
