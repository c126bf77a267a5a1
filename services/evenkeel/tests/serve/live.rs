//! What a device sends is seen through the gateway, from ingest over the coalescer's frames.

use crate::server::{DEADLINE, Server, get, metric, post, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The device's telemetry and windows.
const DEVICE: &str = "topic=device%2Fbowl%252F7%2Ftelemetry&topic=device%2Fbowl%252F7%2Fwindows%2F5s";
/// What the first page of the dashboard looks at.
const FLEET: &str = "topic=fleet%2Fsummary&topic=fleet%2Fdevices";

/// Opens topics as server-sent events, and reads until the text holds all of `wanted`.
fn read_until(live: &str, topics: &str, wanted: &[&str]) -> String {
    let mut stream = TcpStream::connect(live).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /v1/live/events?{topics} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let (began, mut text) = (Instant::now(), String::new());
    while !wanted.iter().all(|part| text.contains(part)) {
        assert!(began.elapsed() < DEADLINE, "{wanted:?} is not all in {text}");
        let mut bytes = [0; 16_384];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text
}

/// Ends the sender also when the test fails before it is done.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_device_is_seen_live_and_after_it_fell_silent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["gateway.drain-spread=50ms", "coalescer.idle-timeout=1s"]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = EndOf(&over);
        scope.spawn(|| {
            let mut sent = 0u32;
            while !over.load(Ordering::Acquire) {
                let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
                let event = format!(
                    "{{\"stream_id\":\"bowl/7\",\"ts\":{now_ms},\"seq\":{sent},\"fields\":{{\"weight\":412.5}}}}\n"
                );
                assert_eq!(post(&server.ingest, &event).unwrap().0, 200);
                sent += 1;
                std::thread::sleep(std::time::Duration::from_millis(30)); // a device's own rate, not a wait
            }
        });
        // A frame of the coalescer: live, with points and the window that is filling.
        let text = read_until(&server.live, DEVICE, &["\"live\"", "412.5", "\"open\":[{\"size_ms\":5000"]);
        assert!(text.contains("\"topic\":\"device/bowl%2F7/telemetry\""), "{text}");
        until("a row is stored", || {
            metric(&server.admin, "evenkeel_sink_rows_total{outcome=\"written\"}")
                .is_some_and(|rows| rows > 0.0)
        });
    });
    assert!(get(&server.live, "/debug/topics").1.contains("\"connections\":"));
    // Silent now: whoever opens the page sees its past from the store.
    read_until(&server.live, DEVICE, &["412.5", "\"rows\":[{\"t_start\":"]);
    let listed = "\"devices\":[{\"stream_id\":\"bowl/7\"";
    read_until(&server.live, FLEET, &[listed, "\"window_sizes\":[\"5s\"", "\"streams_active\":"]);
    assert!(get(&server.live, "/").1.contains("<title>"), "the dashboard is in the binary");
    assert_eq!(server.terminate(), Some(0));
}

/// A rule's alert is raised and cleared before the eyes of whoever looks at the device, and of whoever comes later.
#[test]
fn an_alert_is_seen_raised_and_cleared() {
    const RULE: &str =
        "scorer.live.rule=[{ name = \"warm\", match = \"bowl/*\", field = \"temp.max\", above = 21.0 }]";
    const ALERTS: &str = "topic=device%2Fbowl%252F7%2Falerts";
    let dir = tempfile::tempdir().unwrap();
    let sets = ["gateway.drain-spread=50ms", "scorer.live.sizes=[\"5s\"]", RULE];
    let server = Server::start(dir.path(), &sets);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 / 5_000 * 5_000;
    let send = |before_ms: i64, temp: f64| {
        let ts = now_ms - before_ms;
        let event = format!("{{\"stream_id\":\"bowl/7\",\"ts\":{ts},\"fields\":{{\"temp\":{temp}}}}}\n");
        assert_eq!(post(&server.ingest, &event).unwrap().0, 200);
    };
    send(60_000, 18.0);
    send(55_000, 22.5);
    send(40_000, 22.0); // closes the window before
    let raised = [
        "\"topic\":\"device/bowl%2F7/alerts\"",
        "\"action\":\"raise\"",
        "\"rule\":\"warm\"",
        "\"value\":22.5",
        "\"threshold\":21",
    ];
    read_until(&server.live, ALERTS, &raised);
    read_until(&server.live, FLEET, &["\"alerts_raised\":1"]);
    send(35_000, 18.0);
    send(20_000, 18.0);
    let text = read_until(&server.live, ALERTS, &["\"action\":\"raise\"", "\"action\":\"clear\""]);
    assert_eq!(text.matches("\"action\":\"raise\"").count(), 1, "{text}");
    read_until(&server.live, FLEET, &["\"alerts_raised\":0"]);
    assert_eq!(server.terminate(), Some(0));
}
