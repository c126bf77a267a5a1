//! What an MQTT client is refused, and in which words.

use crate::client::{JSON, post};
use crate::mqtt::{TOPIC, event, serve, stored};
use crate::mqtt_bytes::{
    BOTH, CONNACK, Connect, DISCONNECT, PUBACK, Raw, SUBACK, UNSUBACK, V3, V5, packet, publish, publish_with,
    text,
};
use crate::server::config;
use evenkeel_ingest::{AuthError, Ingest, StartError};
use std::collections::BTreeSet;
use std::io::Write;

/// The answer to a CONNECT, and that nothing comes after it.
async fn sent_away(address: std::net::SocketAddr, connect: Connect<'_>) -> (u8, String) {
    let mut client = Raw::open(address).await;
    client.send(&connect.bytes()).await;
    let answer = client.read().await.expect("a CONNACK");
    assert_eq!(answer.first, CONNACK);
    assert_eq!(client.read().await, None, "{connect:?}");
    (answer.body[1], answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_publish_only_server_does_not_have_is_refused_clearly() {
    let (server, address) = serve(&[]).await;
    for level in BOTH {
        let will = Connect { will: true, ..Connect::new(level, "d") };
        let (code, text_of) = sent_away(address, will).await;
        assert_eq!(code, if level == V5 { 0x83 } else { 5 });
        assert_eq!(text_of.contains("no last will"), level == V5);

        let mut client = Raw::enter(address, level, "d").await;
        client.send(&publish(level, 2 | 1, 1, TOPIC, &event(1))).await;
        client.ends(level, 0x9A).await;

        let mut client = Raw::enter(address, level, "d").await;
        client.send(&publish(level, 4, 1, TOPIC, &event(1))).await;
        client.ends(level, 0x9B).await;

        let mut client = Raw::enter(address, level, "d").await;
        let no_properties: &[u8] = if level == V5 { &[0] } else { &[] };
        let filters = [&[0, 9][..], no_properties, &text("a/b"), &[1], &text("#"), &[0]].concat();
        client.send(&packet(0x82, &filters)).await;
        let answer = client.read().await.unwrap();
        assert_eq!((answer.first, answer.id()), (SUBACK, 9));
        let code = if level == V5 { 0x87 } else { 0x80 };
        assert!(answer.body.ends_with(&[code, code]), "{answer:?}");
        assert_eq!(answer.text().contains("hands none out"), level == V5);
        client.send(&packet(0xA2, &[&[0, 10][..], no_properties, &text("a/b")].concat())).await;
        let answer = client.read().await.unwrap();
        assert_eq!((answer.first, answer.id()), (UNSUBACK, 10));
        // The connection goes on.
        client.send(&publish(level, 2, 11, TOPIC, &event(level.into()))).await;
        assert_eq!(client.read().await.unwrap().id(), 11);
    }
    assert_eq!(stored(&server), BTreeSet::from([4, 5]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_5_is_told_what_there_is() {
    let (server, address) = serve(&["mqtt.receive-max=7", "mqtt.keep-alive-max=30s"]).await;
    let mut client = Raw::open(address).await;
    client.send(&Connect { keep_alive_s: 0, ..Connect::new(V5, "") }.bytes()).await;
    let answer = client.read().await.unwrap();
    assert_eq!((answer.body[0], answer.body[1]), (0, 0), "a new session, success");
    let properties = &answer.body[3..];
    for part in [
        &[33, 0, 7][..],   // receive maximum
        &[36, 1],          // maximum QoS
        &[37, 0],          // no retained messages
        &[39, 0, 4, 0, 0], // 256 KiB at most
        &[40, 0],          // no wildcards
        &[42, 0],          // no shared subscriptions
        &[19, 0, 30],      // keep-alive of the server
        &[&[18, 0][..], &[10], b"evenkeel-0"].concat(),
    ] {
        assert!(properties.windows(part.len()).any(|w| w == part), "{part:?} is not in {properties:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_can_never_pass_are_acknowledged_with_the_reason() {
    let (server, address) = serve(&[]).await;
    let mut client = Raw::enter(address, V5, "d").await;
    let unknown = [&[3][..], &text("text/plain")].concat();
    let long = format!("streams/{}/events", "x".repeat(300));
    let cases = [
        (publish(V5, 2, 1, TOPIC, b"[{"), 0x99),
        (publish(V5, 2, 2, TOPIC, b"\xC3\x01nonsense"), 0x99),
        (publish(V5, 2, 3, TOPIC, br#"[{"seq": 1}, {"seq": 2}]"#), 0x99),
        (publish(V5, 2, 4, "somewhere/else", &event(1)), 0x90),
        (publish(V5, 2, 5, &long, &event(1)), 0x90),
        (publish_with(V5, 2, 6, TOPIC, &unknown, &event(1)), 0x99),
        (publish(V5, 2, 7, TOPIC, b""), 0x99),
    ];
    for (id, (bytes, code)) in (1..).zip(cases) {
        client.send(&bytes).await;
        let ack = client.read().await.unwrap();
        assert_eq!((ack.id(), ack.ack_code()), (id, code), "{}", ack.text());
        assert!(ack.body.len() > 10, "no reason string: {ack:?}");
    }
    assert!(stored(&server).is_empty());
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_bytes_end_their_connection_only() {
    let (server, address) = serve(&["mqtt.packet-max=16KiB"]).await;
    // Before a CONNECT.
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x10, 0xff, 0xff, 0x7f],
        &[0; 64],
        &[0xff; 64],
        &PUBLISH_FIRST,
    ] {
        let mut client = Raw::open(address).await;
        client.send(bytes).await;
        assert_eq!(client.read().await, None, "{bytes:?}");
    }
    // An old version is told which one there is.
    let mut old = Raw::open(address).await;
    old.send(&Connect::new(3, "d").bytes()).await;
    let answer = old.read().await.unwrap();
    assert_eq!((answer.first, &answer.body[..]), (CONNACK, &[0, 1][..]));
    // After it.
    for level in BOTH {
        for (bytes, code) in [
            (packet(0x30, &vec![0; 17 << 10])[..9].to_vec(), 0x95), // over packet-max
            (packet(0x36, b"\0\x01t\0\x01x"), 0x81),                // QoS 3
            (packet(0x32, b"\0\xffshort"), 0x81),                   // a topic past the end
            (vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff], 0x81),
            (Connect::new(level, "again").bytes(), 0x82),
        ] {
            let mut client = Raw::enter(address, level, "d").await;
            client.send(&bytes).await;
            let last = client.read().await;
            if let Some(read) = &last {
                assert_eq!((level, read.first), (V5, 0xE0), "{bytes:?} {read:?}");
                assert!(read.body[0] == code || read.body[0] >= 0x80, "{bytes:?} {read:?}");
                assert_eq!(client.read().await, None);
            }
        }
        let mut client = Raw::enter(address, level, "over").await;
        client.send(&packet(0x30, &vec![0; 17 << 10])[..9]).await;
        client.ends(level, 0x95).await;
    }
    assert_eq!(post(server.address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await.status, 200);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_its_devices_rate_may_come_again() {
    let (server, address) = serve(&["device.rate-max=1", "device.burst=1"]).await;
    for level in BOTH {
        let topic = format!("streams/{level}/events");
        let mut client = Raw::enter(address, level, "d").await;
        // The first is taken; sooner or later one comes too soon.
        let mut ids = 1..1000;
        let end = loop {
            let id = ids.next().expect("none was too many");
            client.send(&publish(level, 2, id, &topic, &event(id.into()))).await;
            match client.read().await {
                Some(read) if read.first == PUBACK => {}
                end => break end,
            }
        };
        assert!(ids.start > 2, "not even the first was taken");
        let code = end.map(|read| (read.first, read.body[0]));
        assert_eq!(code, (level == V5).then_some((DISCONNECT, 0x96)));
    }
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_by_an_exchange_is_refused() {
    let (server, address) = serve(&[]).await;
    let method = [&[21][..], &text("SCRAM")].concat();
    let parts = [&text("MQTT")[..], &[V5, 2, 0, 60, method.len() as u8], &method, &text("d")];
    let mut client = Raw::open(address).await;
    client.send(&packet(0x10, &parts.concat())).await;
    let answer = client.read().await.unwrap();
    assert_eq!((answer.first, answer.body[1]), (CONNACK, 0x8C));
    assert_eq!(client.read().await, None);
    server.stop().await;
}

/// A PUBLISH at QoS 0 of one byte.
const PUBLISH_FIRST: [u8; 6] = [0x30, 4, 0, 1, b't', b'x'];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_the_password_or_the_user_and_opens_its_streams() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "[[credential]]\nname = \"a\"\ntoken = \"0123456789abcdef\"\nstreams = [\"bowl/*\"]")
        .unwrap();
    let tokens = format!("tokens-file={}", file.path().display());
    let (server, address) = serve(&[&tokens]).await;
    let (token, wrong) = ("0123456789abcdef", "0123456789abcdeX");
    for level in BOTH {
        let code = if level == V5 { 0x87 } else { 4 };
        let new = Connect::new(level, "d");
        assert_eq!(sent_away(address, new).await.0, code);
        assert_eq!(
            sent_away(address, Connect { user: Some("u"), password: Some(wrong), ..new }).await.0,
            code
        );
        let (code_of, text_of) = sent_away(address, Connect { user: Some(wrong), ..new }).await;
        assert_eq!((code_of, text_of.contains("not known")), (code, level == V5));
        for connect in
            [Connect { user: Some("u"), password: Some(token), ..new }, Connect { user: Some(token), ..new }]
        {
            let mut client = Raw::open(address).await;
            client.send(&connect.bytes()).await;
            assert_eq!(client.read().await.unwrap().body[1], 0, "{connect:?}");
            client.send(&publish(level, 2, 1, "streams/imu/1/events", &event(1))).await;
            let ack = client.read().await.unwrap();
            assert_eq!((ack.id(), ack.ack_code()), (1, if level == V5 { 0x87 } else { 0 }));
        }
    }
    assert!(stored(&server).is_empty());
    let mut client = Raw::open(address).await;
    client.send(&Connect { user: Some(token), ..Connect::new(V3, "d") }.bytes()).await;
    assert_eq!(client.read().await.unwrap().body[1], 0);
    client.send(&publish(V3, 2, 1, TOPIC, &event(7))).await;
    assert_eq!(client.read().await.unwrap().id(), 1);
    assert_eq!(stored(&server), BTreeSet::from([7]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn without_credentials_it_listens_on_loopback_only() {
    let config = config(&["mqtt.listen=0.0.0.0:0"]);
    let metrics = evenkeel_telemetry::Metrics::new().unwrap();
    let health = evenkeel_chassis::health::Health::new(metrics.clone());
    let edges = evenkeel_ingest::Edges {
        now_ms: std::sync::Arc::new(|| 0),
        random: Box::new(|| 0),
        emitter: evenkeel_telemetry::Emitter::new(metrics),
        ready: health.condition("ingest"),
        clock: None,
        reread: None,
        log_system: "test",
    };
    let refused = Ingest::new(config, Box::new(crate::fake::Fake::new()), edges).await.map(|_| ());
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StartError::Auth(AuthError::OpenToTheWorld(_))), "{refused}");
}
