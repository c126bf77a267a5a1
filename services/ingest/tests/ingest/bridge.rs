//! Events from somebody else's broker: one played by hand, and Mosquitto.

use crate::client::{JSON, post};
use crate::fake::Mode;
use crate::mosquitto::{Broker, publish as mosquitto_pub};
use crate::mqtt::{TOPIC, event, stored};
use crate::mqtt_bytes::{DISCONNECT, PUBACK, Raw, V5, publish};
use crate::server::{Server, start, until};
use evenkeel_chassis::drain::Cause;
use evenkeel_telemetry::names::ingest::{CONNECTIONS, MESSAGES_REFUSED, QUEUE_LIMIT};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use std::collections::BTreeSet;
use tokio::net::TcpListener;

/// First bytes of a client's packets.
const CONNECT: u8 = 0x10;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xC0;

/// A broker played by the test.
struct Played(TcpListener);

impl Played {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// An instance that is to connect here.
    async fn instance(&self, changes: &[&str]) -> Server {
        instance(self.0.local_addr().unwrap().port(), "a", changes).await
    }

    /// The next connection, up to its subscription; also the bytes of CONNECT.
    async fn subscribed(&self) -> (Raw, Vec<u8>) {
        let (stream, _) = self.0.accept().await.unwrap();
        let mut raw = Raw::new(stream);
        let connect = raw.read().await.unwrap();
        assert_eq!(connect.first, CONNECT);
        raw.send(&[0x20, 3, 0, 0, 0]).await;
        let subscribe = raw.read().await.unwrap();
        assert_eq!(subscribe.first, SUBSCRIBE);
        assert!(subscribe.text().contains("$share/evenkeel/streams/#"), "{subscribe:?}");
        assert_eq!(subscribe.body.last(), Some(&1), "QoS 1");
        raw.send(&[0x90, 4, subscribe.body[0], subscribe.body[1], 0, 1]).await;
        (raw, connect.body)
    }
}

async fn instance(port: u16, name: &str, changes: &[&str]) -> Server {
    let (broker, name) = (format!("bridge.broker=127.0.0.1:{port}"), format!("bridge.client-id={name}"));
    let waits = ["bridge.filter=streams/#", "bridge.backoff-min=10ms", "bridge.backoff-max=100ms"];
    start(&[&[&*broker, &*name], &waits[..], changes].concat()).await
}

fn is_connected(server: &Server) -> bool {
    server.metrics.gauge(&CONNECTIONS, ["bridge"]).get() == 1.0
}

/// All seqs that are durable, whatever came twice.
fn seqs(server: &Server) -> BTreeSet<u64> {
    server.log.durable().iter().flat_map(|record| record.batch.seq.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_told_after_the_log_and_in_order() {
    let broker = Played::new().await;
    let server = broker.instance(&["bridge.receive-max=5", "bridge.streams=[\"bowl/*\"]"]).await;
    let (mut raw, connect) = broker.subscribed().await;
    assert_eq!(connect[7] & 2, 0, "the session is resumed");
    assert!(connect.windows(3).any(|w| w == [33, 0, 5]), "receive maximum: {connect:?}");
    server.log.set(Mode::Hold);
    raw.send(&publish(V5, 2, 1, TOPIC, &event(1))).await;
    raw.send(&publish(V5, 2, 2, TOPIC, b"{")).await;
    raw.send(&publish(V5, 2, 3, "streams/imu/1/events", &event(2))).await;
    raw.send(&publish(V5, 2, 4, "streams/imu", &event(3))).await;
    raw.send(&publish(V5, 2, 5, TOPIC, &event(4))).await;
    until("two are at the log", || server.log.records().len() == 2).await;
    for reason in ["unreadable-body", "forbidden", "not-found"] {
        let counter = server.metrics.counter(&MESSAGES_REFUSED, ["bridge", reason]);
        until(reason, || counter.get() == 1).await;
    }
    until("it is connected", || is_connected(&server)).await;
    server.log.release();
    for id in 1..=5 {
        let ack = raw.read().await.unwrap();
        assert_eq!((ack.first, ack.id(), ack.ack_code()), (PUBACK, id, 0));
    }
    assert_eq!(stored(&server), BTreeSet::from([1, 4]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_may_pass_later_is_kept_and_tried_again() {
    let broker = Played::new().await;
    let server = broker.instance(&["retry.base=1ms", "retry.spread=1ms", "bridge.keep-alive=1s"]).await;
    let (mut raw, _) = broker.subscribed().await;
    server.log.set(Mode::Fail);
    raw.send(&publish(V5, 2, 1, TOPIC, &event(1))).await;
    until("it was tried again", || server.log.records().len() >= 3).await;
    server.log.set(Mode::Full);
    assert_eq!(raw.read().await.unwrap().first, PINGREQ, "an acknowledgement before the log's");
    raw.send(&[0xD0, 0]).await;
    server.log.set(Mode::Ack);
    let ack = loop {
        match raw.read().await.unwrap() {
            ping if ping.first == PINGREQ => raw.send(&[0xD0, 0]).await,
            other => break other,
        }
    };
    assert_eq!((ack.first, ack.id()), (PUBACK, 1));
    assert_eq!(stored(&server), BTreeSet::from([1]));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_over_its_rate_waits_and_loses_nothing() {
    let broker = Played::new().await;
    let limits = ["device.rate-max=5", "device.burst=2", "retry.base=1ms", "retry.spread=1ms"];
    let server = broker.instance(&limits).await;
    let (mut raw, _) = broker.subscribed().await;
    let both = [&b"["[..], &event(10), b",", &event(11), b"]"].concat();
    raw.send(&publish(V5, 2, 1, TOPIC, &both)).await;
    raw.send(&publish(V5, 2, 2, TOPIC, &event(12))).await;
    // More than the rate ever takes at once: what it takes is taken, and the rest is refused.
    let three = [&b"["[..], &event(13), b",", &event(14), b",", &event(15), b"]"].concat();
    raw.send(&publish(V5, 2, 3, "streams/bowl/2/events", &three)).await;
    for id in 1..=3 {
        assert_eq!(raw.read().await.unwrap().id(), id);
    }
    assert!(seqs(&server).is_superset(&BTreeSet::from([10, 11, 12, 13, 14])));
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_hears_nothing_of_an_earlier_ones_numbers() {
    let broker = Played::new().await;
    let server = broker.instance(&["bridge.keep-alive=1s"]).await;
    let (mut raw, _) = broker.subscribed().await;
    server.log.set(Mode::Hold);
    raw.send(&publish(V5, 2, 1, TOPIC, &event(1))).await;
    until("it is at the log", || server.log.records().len() == 1).await;
    drop(raw);
    let (mut raw, connect) = broker.subscribed().await;
    assert_eq!(connect[7] & 2, 0, "the session is resumed");
    // Another message under the same number, and then the log acknowledges the first one only.
    server.log.release();
    raw.send(&publish(V5, 2, 1, TOPIC, &event(2))).await;
    until("it is at the log", || server.log.records().len() == 2).await;
    assert_eq!(raw.read().await.unwrap().first, PINGREQ, "an acknowledgement of an earlier connection");
    server.log.release();
    raw.send(&[0xD0, 0]).await;
    loop {
        let read = raw.read().await.unwrap();
        if read.first == PUBACK {
            break assert_eq!(read.id(), 1);
        }
    }
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let broker = Played::new().await;
    let server = broker.instance(&[]).await;
    let (mut raw, _) = broker.subscribed().await;
    server.log.set(Mode::Hold);
    raw.send(&publish(V5, 2, 1, TOPIC, &event(1))).await;
    until("it is at the log", || server.log.records().len() == 1).await;
    server.drain.begin(Cause::Terminate);
    until("it is not ready", || !server.health.ready().well).await;
    server.log.release();
    assert_eq!(raw.read().await.unwrap().id(), 1);
    let goodbye = raw.read().await.unwrap();
    assert_eq!((goodbye.first, goodbye.body.first().copied().unwrap_or(0)), (DISCONNECT, 0));
    assert_eq!(raw.read().await, None);
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_sends_us_away_is_asked_again_and_http_goes_on() {
    let broker = Played::new().await;
    let server = broker.instance(&["in-flight-max=64MiB"]).await;
    for answer in [&[0x20, 3, 0, 0x87, 0][..], b"HTTP/1.1 400", &[0x20, 0xff, 0xff, 0xff, 0xff], &[]] {
        let (stream, _) = broker.0.accept().await.unwrap();
        let mut raw = Raw::new(stream);
        assert_eq!(raw.read().await.unwrap().first, CONNECT);
        raw.send(answer).await;
    }
    assert!(server.health.ready().well && !is_connected(&server));
    assert_eq!(post(server.address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await.status, 200);
    let budget = server.metrics.gauge(&QUEUE_LIMIT, []).get();
    assert_eq!(budget, f64::from(56 << 20), "room for 32 messages of 256 KiB is set aside");
    let (raw, _) = broker.subscribed().await;
    until("it is connected", || is_connected(&server)).await;
    drop(raw);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_mosquittos_messages_and_each_is_stored_once() {
    let broker = Broker::start("").await;
    let (a, b) = (instance(broker.port, "a", &[]).await, instance(broker.port, "b", &[]).await);
    until("both are connected", || is_connected(&a) && is_connected(&b)).await;
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (0..200).map(event).collect()).await;
    until("all are stored", || stored(&a).len() + stored(&b).len() == 200).await;
    assert!(stored(&a).len() > 50 && stored(&b).len() > 50, "{} and {}", stored(&a).len(), stored(&b).len());
    // Messages at QoS 0 come too; those that nobody can read do not hold up the others.
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], vec![b"nonsense".to_vec(); 50]).await;
    mosquitto_pub(broker.port, &["-q", "0", "-t", TOPIC], (200..220).map(event).collect()).await;
    until("all are stored", || stored(&a).len() + stored(&b).len() == 220).await;
    assert_eq!(stored(&a).union(&stored(&b)).count(), 220);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosquitto_held_when_it_was_killed_is_stored_when_it_is_back() {
    let mut broker = Broker::start("").await;
    let (a, b) = (instance(broker.port, "a", &[]).await, instance(broker.port, "b", &[]).await);
    until("both are connected", || is_connected(&a) && is_connected(&b)).await;
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (0..20).map(event).collect()).await;
    until("all are stored", || stored(&a).len() + stored(&b).len() == 20).await;
    // 100 messages that the broker has acknowledged to their device, and the log not to us.
    for server in [&a, &b] {
        server.log.set(Mode::Hold);
    }
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (20..120).map(event).collect()).await;
    until("both are full", || a.log.records().len() + b.log.records().len() == 20 + 2 * 32).await;
    broker.save().await;
    broker.kill();
    until("it is missed", || !is_connected(&a) && !is_connected(&b)).await;
    for server in [&a, &b] {
        server.log.release(); // nobody waits for these any more
        server.log.set(Mode::Ack);
    }
    broker.again().await;
    until("all are stored", || seqs(&a).union(&seqs(&b)).count() == 120).await;
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (120..140).map(event).collect()).await;
    until("all are stored", || seqs(&a).union(&seqs(&b)).count() == 140).await;
    // A repetition is the same event under the same seq: the coalescer counts it once.
    for record in a.log.durable().iter().chain(&b.log.durable()) {
        assert_eq!((&*record.key, &record.batch.ts[..]), ("bowl/1", &[1][..]));
    }
    a.stop().await;
    b.stop().await;
    // Everything was acknowledged: the sessions of the next instances begin with what comes now.
    let (a, b) = (instance(broker.port, "a", &[]).await, instance(broker.port, "b", &[]).await);
    until("both are connected", || is_connected(&a) && is_connected(&b)).await;
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (1000..1040).map(event).collect()).await;
    until("all are stored", || seqs(&a).len() + seqs(&b).len() >= 40).await;
    assert_eq!(seqs(&a).union(&seqs(&b)).copied().collect::<BTreeSet<_>>(), (1000..1040).collect());
    assert!(!seqs(&a).is_empty() && !seqs(&b).is_empty());
    a.stop().await;
    b.stop().await;
}

/// A key and a certificate for `localhost` that is its own authority, both PEM.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names =
        SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (key.private_key_to_pem_pkcs8().unwrap(), builder.build().to_pem().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_is_spoken_to_over_tls_with_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (key, certificate) = certificate();
    std::fs::write(path("key"), key).unwrap();
    std::fs::write(path("cert"), certificate).unwrap();
    std::fs::write(path("other"), self::certificate().1).unwrap();
    std::fs::write(path("password"), "tide and time\n").unwrap();
    Broker::password(&path("users"), "bridge", "tide and time");
    let (cert, key, users) = (path("cert"), path("key"), path("users"));
    let tls = format!("certfile {cert}\nkeyfile {key}\npassword_file {users}");
    let broker = Broker::start(&tls).await;
    let at = format!("bridge.broker=localhost:{}", broker.port);
    let login = ["bridge.user=bridge".to_owned(), format!("bridge.password-file={}", path("password"))];
    let of = |ca: &str| [&[at.clone(), format!("bridge.ca-file={}", path(ca))][..], &login[..]].concat();
    // An authority that did not sign it, and one that did.
    let other = of("other");
    let stranger = instance(broker.port, "b", &other.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let right = of("cert");
    let a = instance(broker.port, "a", &right.iter().map(String::as_str).collect::<Vec<_>>()).await;
    until("it is connected", || is_connected(&a)).await;
    let args = ["-q", "1", "-t", TOPIC, "--cafile", &cert, "-u", "bridge", "-P", "tide and time"];
    mosquitto_pub(broker.port, &[&args[..], &["-h", "localhost"]].concat(), (0..10).map(event).collect())
        .await;
    until("all are stored", || stored(&a).len() == 10).await;
    assert!(!is_connected(&stranger));
    a.stop().await;
    stranger.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_at_mosquitto_while_the_only_instance_is_away() {
    let broker = Broker::start("").await;
    let a = instance(broker.port, "a", &[]).await;
    until("it is connected", || is_connected(&a)).await;
    a.stop().await;
    mosquitto_pub(broker.port, &["-q", "1", "-t", TOPIC], (0..100).map(event).collect()).await;
    let a = instance(broker.port, "a", &[]).await;
    until("all are stored", || stored(&a).len() == 100).await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_restart_under_load_lose_nothing() {
    let broker = Broker::start("").await;
    let (a, b) = (instance(broker.port, "a", &[]).await, instance(broker.port, "b", &[]).await);
    until("both are connected", || is_connected(&a) && is_connected(&b)).await;
    let port = broker.port;
    let publishing = tokio::spawn(async move {
        for part in 0..20 {
            mosquitto_pub(port, &["-q", "1", "-t", TOPIC], (part * 50..part * 50 + 50).map(event).collect())
                .await;
        }
    });
    let mut stored = BTreeSet::new();
    let (mut left, mut stays) = (a, b);
    for name in ["a", "b", "a"] {
        let reached = seqs(&left).len();
        until("there is load", || seqs(&left).len() > reached || publishing.is_finished()).await;
        let log = left.log.clone();
        left.stop().await;
        stored.extend(log.durable().iter().flat_map(|record| record.batch.seq.clone()));
        (left, stays) = (stays, instance(port, name, &[]).await);
    }
    publishing.await.unwrap();
    until("all are stored", || {
        stored.extend(seqs(&left));
        stored.extend(seqs(&stays));
        stored.len() == 1000
    })
    .await;
    left.stop().await;
    stays.stop().await;
}
