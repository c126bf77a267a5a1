//! A screen over a real broker: ingest, coalescer, gateway, and a WebSocket that stays open while the broker is killed
//! and started again.

use crate::site::{DEADLINE, Site, deliver, now_ms, shared_cql};
use evenkeel_live::parts::kafka::LocalBroker;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

const TOKEN: &str = "screen-0123456789abcdef";
const FILE: &str =
    "[[credential]]\nname = \"screen\"\ntoken = \"screen-0123456789abcdef\"\nstreams = [\"bowl/*\"]\n";

/// A device that counts: each event's value is its number, ten a second, each sent until it is acknowledged.
fn device(address: &str, acknowledged: &AtomicU64, stop: &AtomicBool) {
    for seq in 1.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let event = json!({"stream_id": "bowl/7", "ts": now_ms(), "seq": seq, "fields": {"v": seq}});
        deliver(address, &format!("{event}\n"));
        acknowledged.store(seq, Ordering::Release);
        // The device's own pace: nothing is waited for here.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One connection that looks at the device, and what it has seen.
struct Screen {
    socket: WebSocket<TcpStream>,
    /// The newest `seq` by epoch.
    seqs: BTreeMap<String, u64>,
    newest: u64,
    stale: bool,
}

impl Screen {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = Request::get(format!("ws://{address}/v1/live"))
            .header("host", address)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", "evenkeel.v1.json");
        let (socket, _) = client(request.body(()).unwrap(), stream).unwrap();
        let mut screen = Self { socket, seqs: BTreeMap::new(), newest: 0, stale: false };
        screen.say(&json!({"type": "connection_init", "token": TOKEN}));
        let subscriptions = json!([
            {"id": 1, "topic": "device/bowl%2F7/telemetry"},
            {"id": 2, "topic": "device/imu%2F1/telemetry"},
        ]);
        screen.say(&json!({"type": "subscribe", "subscriptions": subscriptions}));
        screen
    }

    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// Takes messages until it has seen enough; `enough` is asked after each.
    #[track_caller]
    fn until(&mut self, what: &str, enough: impl Fn(&Self, Option<&Value>) -> bool) {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < DEADLINE, "{what}: {} seen, stale {}", self.newest, self.stale);
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(frame)) => panic!("{what}: it was closed, {frame:?}"),
                Ok(_) => continue,
                Err(error) => panic!("{what}: {error}"),
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            match message["type"].as_str().unwrap() {
                "ping" => self.say(&json!({"type": "pong"})),
                "next" => self.frame(&message["fragments"][0]["frame"]),
                _ => {}
            }
            if enough(self, Some(&message)) {
                return;
            }
        }
    }

    fn frame(&mut self, frame: &Value) {
        let (epoch, seq) = (frame["epoch"].as_str().unwrap().to_owned(), frame["seq"].as_u64().unwrap());
        let before = self.seqs.insert(epoch, seq);
        assert!(before.is_none_or(|before| before < seq), "seq falls: {before:?}, {seq}");
        self.stale = frame["flags"].as_array().unwrap().contains(&json!("stale"));
        let values = frame["state"]["series"]["v"]["v"].as_array();
        let newest = values.and_then(|values| values.last()?.as_f64());
        self.newest = newest.map_or(self.newest, |newest| newest as u64);
    }
}

#[test]
fn a_screen_goes_on_over_a_restart_of_the_broker_and_has_the_last_value() {
    let mut broker = LocalBroker::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.toml");
    std::fs::write(&tokens, FILE).unwrap();
    let site = Site::at("gateway", &broker.address(), shared_cql())
        .set("kafka.timeouts.append=3s")
        .set("ingest.ack-timeout=2s")
        .set("gateway.listen=127.0.0.1:0")
        .set("gateway.topics.stale-after=2s")
        .set(format!("gateway.tokens-file={}", tokens.display()));
    site.make_topics();
    site.make_tables();
    let (mut ingest, mut coalescer, mut gateway) =
        (site.start("ingest", &[]), site.start("coalescer", &[]), site.start("gateway", &[]));
    let at = gateway.wait_for_line("where screens connect", |line| {
        Some(line.strip_prefix("live     http://")?.trim_end_matches('/').to_owned())
    });
    let (acknowledged, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let (to, count, told) = (ingest.address(), Arc::clone(&acknowledged), Arc::clone(&stop));
    let device = std::thread::spawn(move || device(&to, &count, &told));

    let mut screen = Screen::open(&at);
    screen.until("the topic that its token does not cover", |_, said| {
        said.is_some_and(|said| {
            said["ended"][0]
                == json!({"id": 2, "reason": "forbidden",
            "message": "the credential does not cover imu/1"})
        })
    });
    screen.until("frames", |screen, _| screen.newest >= 20);
    site.settle();
    broker.kill().unwrap();
    screen.until("the frames are said to be stale", |screen, _| screen.stale);
    broker.launch().unwrap();
    let behind = acknowledged.load(Ordering::Acquire);
    screen.until("frames after the restart", |screen, _| screen.newest > behind + 20 && !screen.stale);
    stop.store(true, Ordering::Release);
    device.join().unwrap();
    let last = acknowledged.load(Ordering::Acquire);
    screen.until("the last value", |screen, _| screen.newest == last);
    assert!(screen.seqs.len() <= 2, "one epoch, or one more after the restart: {:?}", screen.seqs);
    for service in [&mut ingest, &mut coalescer, &mut gateway] {
        service.still_runs();
    }
    assert_eq!(gateway.metric("evenkeel_gateway_refs "), Some(1.0));
    assert_eq!(gateway.terminate(), Some(0));
}
