//! Events over MQTT, by hand and by a client of another make (rumqttc).

use crate::client::{DEADLINE, JSON, post};
use crate::fake::Mode;
use crate::mqtt_bytes::{BOTH, Connect, PINGREQ, PINGRESP, PUBACK, Raw, V3, V5, publish, publish_with};
use crate::server::{Server, start, until};
use evenkeel_chassis::drain::Cause;
use evenkeel_codec::encode_batch;
use evenkeel_model::EventBatch;
use evenkeel_telemetry::names::ingest::{CONNECTIONS, EVENTS, MESSAGES_REFUSED};
use std::collections::BTreeSet;
use std::net::SocketAddr;

pub const TOPIC: &str = "streams/bowl/1/events";
const LISTEN: &str = "mqtt.listen=127.0.0.1:0";

/// A server that speaks MQTT, and where.
pub async fn serve(changes: &[&str]) -> (Server, SocketAddr) {
    let server = start(&[&[LISTEN], changes].concat()).await;
    let address = server.mqtt.expect("mqtt.listen is set");
    (server, address)
}

pub fn event(seq: u64) -> Vec<u8> {
    format!(r#"{{"ts": 1, "seq": {seq}, "fields": {{"v": 1.5}}}}"#).into_bytes()
}

/// All seqs in the log, each once.
pub fn stored(server: &Server) -> BTreeSet<u64> {
    let all: Vec<u64> = server.log.durable().iter().flat_map(|record| record.batch.seq.clone()).collect();
    let set: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(set.len(), all.len(), "a seq is there twice: {all:?}");
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_come_after_the_logs_and_in_order() {
    let (server, address) = serve(&[]).await;
    for (n, level) in BOTH.into_iter().enumerate() {
        let base = n as u64 * 10;
        server.log.set(Mode::Hold);
        let mut client = Raw::enter(address, level, "d").await;
        for id in 1..=3 {
            client.send(&publish(level, 2, id, TOPIC, &event(base + u64::from(id)))).await;
        }
        // Refused at once, but behind the others.
        client.send(&publish(level, 2, 4, TOPIC, b"{")).await;
        until("they are at the log", || server.log.records().len() == 3 * (n + 1)).await;
        client.send(&PINGREQ).await;
        assert_eq!(client.read().await.unwrap().first, PINGRESP, "an acknowledgement before the log's");
        server.log.release();
        for id in 1..=4 {
            let ack = client.read().await.unwrap();
            assert_eq!((ack.first, ack.id()), (PUBACK, id));
            let code = if level == V5 && id == 4 { 0x99 } else { 0 };
            assert_eq!(ack.ack_code(), code, "{ack:?}");
        }
        until("it is counted", || server.metrics.gauge(&CONNECTIONS, ["mqtt"]).get() == 1.0).await;
        client.send(&[0xE0, 0]).await;
        assert_eq!(client.read().await, None);
        until("it is gone", || server.metrics.gauge(&CONNECTIONS, ["mqtt"]).get() == 0.0).await;
    }
    assert_eq!(stored(&server), BTreeSet::from([1, 2, 3, 11, 12, 13]));
    assert_eq!(server.log.records()[0].key, "bowl/1");
    assert_eq!(server.metrics.counter(&EVENTS, ["mqtt", "accepted"]).get(), 6);
    assert_eq!(server.metrics.counter(&MESSAGES_REFUSED, ["mqtt", "unreadable-body"]).get(), 2);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_does_not_take_is_not_acknowledged_and_comes_again() {
    let (server, address) = serve(&[]).await;
    for (n, level) in BOTH.into_iter().enumerate() {
        let seq = n as u64;
        server.log.set(Mode::Fail);
        let mut client = Raw::enter(address, level, "d").await;
        client.send(&publish(level, 2, 1, TOPIC, &event(seq))).await;
        client.ends(level, 0x89).await;
        server.log.set(Mode::Ack);
        let mut client = Raw::enter(address, level, "d").await;
        client.send(&publish(level, 2 | 8, 1, TOPIC, &event(seq))).await; // 8: it is a repetition
        assert_eq!(client.read().await.unwrap().id(), 1);
    }
    assert_eq!(stored(&server), BTreeSet::from([0, 1]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_version_5_that_ignores_the_receive_maximum_is_cut() {
    let (server, address) = serve(&["mqtt.receive-max=2"]).await;
    server.log.set(Mode::Hold);
    let mut client = Raw::enter(address, V5, "d").await;
    for id in 1..=3 {
        client.send(&publish(V5, 2, id, TOPIC, &event(id.into()))).await;
    }
    client.ends(V5, 0x93).await;
    until("the others are at the log", || server.log.records().len() == 2).await;
    server.log.release();
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_version_3_nothing_more_is_read_at_the_bound() {
    let (server, address) = serve(&["mqtt.receive-max=2"]).await;
    server.log.set(Mode::Hold);
    let mut client = Raw::enter(address, V3, "d").await;
    for id in 1..=9 {
        client.send(&publish(V3, 2, id, TOPIC, &event(id.into()))).await;
    }
    for id in 1..=9 {
        if server.log.durable().len() < usize::from(id) {
            let durable = server.log.durable().len();
            until("more is at the log", || server.log.records().len() > durable).await;
            assert!(server.log.records().len() <= durable + 2);
            server.log.release();
        }
        assert_eq!(client.read().await.unwrap().id(), id);
    }
    assert_eq!(stored(&server), (1..=9).collect());
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bytes_are_put_together() {
    let (server, address) = serve(&[]).await;
    for level in BOTH {
        let mut client = Raw::open(address).await;
        client.stream.set_nodelay(true).unwrap();
        let large = format!(r#"{{"ts": 1, "seq": {level}, "payload": "{}"}}"#, "A".repeat(8000));
        let all = [
            Connect::new(level, "slow").bytes(),
            publish(level, 2, 1, TOPIC, &event(level.into())),
            publish(level, 2, 2, "streams/large/events", large.as_bytes()),
        ];
        for byte in all.concat() {
            client.send(&[byte]).await;
        }
        assert_eq!(client.read().await.unwrap().body[1], 0);
        assert_eq!(client.read().await.unwrap().id(), 1);
        let ack = client.read().await.unwrap();
        assert_eq!((ack.id(), ack.ack_code()), (2, 0), "{ack:?}");
    }
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_is_taken_and_part_of_a_message_may_be_refused() {
    let (server, address) = serve(&[]).await;
    let mut client = Raw::enter(address, V5, "d").await;
    let mut avro = Vec::new();
    let events =
        EventBatch { stream_id: "bowl/1".into(), ts: vec![1], seq: vec![3], ..EventBatch::default() };
    encode_batch(&events, &mut avro);
    client.send(&publish(V5, 2, 1, TOPIC, &avro)).await;
    client.send(&publish(V5, 2, 2, TOPIC, br#"[{"ts": 1, "seq": 4}, {"ts": 1, "seq": 5}]"#)).await;
    let ndjson = [&[3][..], &crate::mqtt_bytes::text("application/x-ndjson")].concat();
    let lines = b"{\"ts\": 1, \"seq\": 6}\n{\"ts\": 1, \"seq\": 7}\n";
    client.send(&publish_with(V5, 2, 3, TOPIC, &ndjson, lines)).await;
    client.send(&publish(V5, 2, 4, TOPIC, br#"[{"ts": 1, "seq": 8}, {"seq": 9}]"#)).await;
    for id in 1..=4 {
        let ack = client.read().await.unwrap();
        assert_eq!((ack.id(), ack.ack_code()), (id, 0), "{ack:?}");
        let says = ack.text().contains("1 accepted, 1 refused; first, event 1");
        assert_eq!(says, id == 4, "{ack:?}");
    }
    assert_eq!(stored(&server), (3..=8).collect());
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_at_qos_0_is_taken_though_its_client_leaves_at_once() {
    let (server, address) = serve(&[]).await;
    for level in BOTH {
        let mut client = Raw::enter(address, level, &format!("d{level}")).await;
        let goodbye = [0xE0, 0];
        client.send(&[&publish(level, 0, 0, TOPIC, &event(level.into()))[..], &goodbye].concat()).await;
        drop(client);
    }
    until("both are there", || stored(&server).len() == 2).await;
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_connection_of_a_client_id_cuts_the_older_one() {
    let (server, address) = serve(&[]).await;
    for level in BOTH {
        let mut older = Raw::enter(address, level, "same").await;
        let mut other = Raw::enter(address, level, "other").await;
        let mut newer = Raw::enter(address, level, "same").await;
        older.ends(level, 0x8E).await;
        for client in [&mut other, &mut newer] {
            client.send(&PINGREQ).await;
            assert_eq!(client.read().await.unwrap().first, PINGRESP);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_connection_and_a_ping_is_none() {
    let (server, address) = serve(&["mqtt.keep-alive-max=1s"]).await;
    for level in BOTH {
        // It asks for more than it gets.
        let mut client = Raw::enter(address, level, "d").await;
        for _ in 0..3 {
            client.send(&PINGREQ).await;
            assert_eq!(client.read().await.unwrap().first, PINGRESP);
        }
        client.ends(level, 0x8D).await;
    }
    let mut late = Raw::open(address).await;
    late.send(&[0x10]).await;
    server.stop().await;
    assert_eq!(late.read().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_acknowledges_what_is_in_flight_and_says_goodbye() {
    let (server, address) = serve(&[]).await;
    let mut idle = Raw::enter(address, V5, "idle").await;
    let mut clients = [(V3, Raw::enter(address, V3, "3").await), (V5, Raw::enter(address, V5, "5").await)];
    server.log.set(Mode::Hold);
    for (level, client) in &mut clients {
        client.send(&publish(*level, 2, 1, TOPIC, &event((*level).into()))).await;
    }
    until("they are at the log", || server.log.records().len() == 2).await;
    server.drain.begin(Cause::Terminate);
    idle.ends(V5, 0x8B).await;
    server.log.release();
    for (level, client) in &mut clients {
        assert_eq!(client.read().await.unwrap().id(), 1);
        client.ends(*level, 0x8B).await;
    }
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_is_asked_before_a_large_message_is_read() {
    let (server, address) =
        serve(&["in-flight-max=16MiB", "mqtt.packet-max=8MiB", "mqtt.keep-alive-max=1h"]).await;
    let begun = &publish(V5, 2, 1, TOPIC, &vec![b' '; 6 << 20])[..8];
    let mut holding = Vec::new();
    for n in 0..2 {
        let mut client = Raw::enter(address, V5, &format!("large {n}")).await;
        client.send(begun).await;
        holding.push(client);
    }
    until("both have their share", || server.in_flight_bytes() > f64::from(12 << 20)).await;
    let mut third = Raw::enter(address, V5, "third").await;
    third.send(begun).await;
    third.ends(V5, 0x97).await;
    assert_eq!(post(server.address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await.status, 200);
    drop(holding);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_make_is_understood() {
    let (server, address) = serve(&[]).await;
    let (host, port) = (address.ip().to_string(), address.port());
    let options = rumqttc::MqttOptions::new("rumqttc-4", &host, port);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    for seq in 0..5 {
        client.publish(TOPIC, rumqttc::QoS::AtLeastOnce, false, event(seq)).await.unwrap();
    }
    let acknowledged = async {
        let mut acks = 0;
        while acks < 5 {
            let event = events.poll().await.unwrap();
            acks += usize::from(matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))));
        }
    };
    tokio::time::timeout(DEADLINE, acknowledged).await.unwrap();
    let options = rumqttc::v5::MqttOptions::new("rumqttc-5", &host, port);
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 10);
    for seq in 5..10 {
        let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
        client.publish(TOPIC, qos, false, event(seq)).await.unwrap();
    }
    let acknowledged = async {
        let mut acks = 0;
        while acks < 5 {
            use rumqttc::v5::{Event, mqttbytes::v5::Packet};
            let event = events.poll().await.unwrap();
            acks += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
        }
    };
    tokio::time::timeout(DEADLINE, acknowledged).await.unwrap();
    assert_eq!(stored(&server), (0..10).collect());
    server.drain.begin(Cause::Terminate);
    let ended = async {
        loop {
            if let Err(error) = events.poll().await {
                return error.to_string();
            }
        }
    };
    let why = tokio::time::timeout(DEADLINE, ended).await.unwrap();
    assert!(why.contains("ServerShuttingDown"), "{why}");
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_so_that_clients_send_again() {
    let (server, address) = serve(&[]).await;
    for level in BOTH {
        let name = format!("d{level}");
        let connect = Connect { resume: true, ..Connect::new(level, &name) };
        for present in [0, 1, 1] {
            let mut client = Raw::open(address).await;
            client.send(&connect.bytes()).await;
            assert_eq!(client.read().await.unwrap().body[..2], [present, 0], "{connect:?}");
        }
        drop(Raw::enter(address, level, &name).await); // a new session that ends with its connection
        let mut client = Raw::open(address).await;
        client.send(&connect.bytes()).await;
        assert_eq!(client.read().await.unwrap().body[..2], [0, 0]);
    }
    // A client that forgets what was not acknowledged unless the session is there.
    server.log.set(Mode::Fail);
    let mut options = rumqttc::v5::MqttOptions::new("rumqttc", address.ip().to_string(), address.port());
    options.set_clean_start(false).set_session_expiry_interval(Some(3600));
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 10);
    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    client.publish(TOPIC, qos, false, event(1)).await.unwrap();
    let acknowledged = async {
        use rumqttc::v5::{Event, mqttbytes::v5::Packet};
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => break,
                Ok(_) => {}
                Err(_) => server.log.set(Mode::Ack),
            }
        }
    };
    tokio::time::timeout(DEADLINE, acknowledged).await.unwrap();
    assert_eq!(stored(&server), BTreeSet::from([1]));
    server.stop().await;
}
