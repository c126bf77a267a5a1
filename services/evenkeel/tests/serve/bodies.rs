//! Bad input at the door of a real server: a clear answer to each, nothing of it in the log, and the next good
//! request is served.

use crate::log;
use crate::machine::{FLEET, stored};
use crate::server::{NDJSON, Server, get, metric, post, post_as, until};
use evenkeel_codec::encode_batch;
use evenkeel_model::{EventBatch, FieldColumn};
use std::io::Write;

const AVRO: &str = "application/vnd.evenkeel.batch+avro";
const GZIP: &str = "content-encoding: gzip\r\n";
const T: i64 = 1_700_000_000_000;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn avro(events: usize, x: f64) -> Vec<u8> {
    let batch = EventBatch {
        stream_id: "avro/1".into(),
        ts: vec![T; events],
        seq: (0..events as u64).collect(),
        fields: ["x", "y"]
            .map(|name| FieldColumn { name: name.into(), rows: vec![], values: vec![x; events] })
            .to_vec(),
        ..EventBatch::default()
    };
    let mut bytes = Vec::new();
    encode_batch(&batch, &mut bytes);
    bytes
}

/// What is sent (type, headers, body), and what comes back (status, slug, a part of the body).
type Case = (&'static str, (&'static str, &'static str, Vec<u8>), (u16, &'static str, &'static str));

fn cases() -> Vec<Case> {
    let line = |text: &str| (NDJSON, "", text.as_bytes().to_vec());
    let good = avro(3, 1.0);
    let mut foreign = good.clone();
    foreign[2..10].copy_from_slice(&[0x5a; 8]); // another schema's fingerprint
    let mut flipped = good.clone();
    flipped[10] = 0xff; // the length of the stream id
    let zipped = gzip(&FLEET.body(0, T).into_bytes());
    let ten_mb = format!("{{\"stream_id\":\"s\",\"ts\":1,\"payload\":\"{}\"}}\n", "A".repeat(10_000_000));
    let many = "{\"stream_id\":\"s\",\"ts\":1}\n".repeat(50_001);
    vec![
        (
            "Avro cut off",
            (AVRO, "", good[..good.len() - 3].to_vec()),
            (400, "unreadable-body", "ends at byte"),
        ),
        ("Avro damaged", (AVRO, "", flipped), (400, "unreadable-body", "")),
        ("unknown schema", (AVRO, "", foreign), (400, "unreadable-body", "5a5a5a5a5a5a5a5a")),
        ("NaN in Avro", (AVRO, "", avro(3, f64::NAN)), (422, "events-refused", "malformed")),
        ("gzip cut off", (NDJSON, GZIP, zipped[..zipped.len() / 2].to_vec()), (400, "unreadable-body", "")),
        (
            "NaN",
            line("{\"stream_id\":\"s\",\"ts\":1,\"fields\":{\"x\":NaN}}"),
            (422, "events-refused", "malformed"),
        ),
        (
            "ts = 2^63",
            line("{\"stream_id\":\"s\",\"ts\":9223372036854775808}"),
            (422, "events-refused", "ts"),
        ),
        (
            "ts beyond 9999",
            line("{\"stream_id\":\"s\",\"ts\":9223372036854775807}"),
            (422, "events-refused", "ts"),
        ),
        ("empty stream_id", line("{\"stream_id\":\"\",\"ts\":1}"), (422, "events-refused", "stream_id")),
        (
            "control character",
            line("{\"stream_id\":\"a\\u0007b\",\"ts\":1}"),
            (422, "events-refused", "control"),
        ),
        ("a line of 10 MB", (NDJSON, "", ten_mb.into_bytes()), (413, "too-large", "limit")),
        ("too many events", (NDJSON, "", many.into_bytes()), (413, "too-large", "")),
        ("an oversized batch", (AVRO, "", avro(40_000, 0.5)), (413, "too-large", "")),
    ]
}

#[test]
fn bad_bodies_are_refused_one_by_one_and_the_server_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &["coalescer.max-age=36525d"]);
    for (name, (content_type, headers, body), (status, slug, part)) in cases() {
        let reply = post_as(&server.ingest, content_type, headers, &body);
        let reply = reply.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!((reply.status, &*reply.slug()), (status, slug), "{name}: {reply:?}");
        assert!(reply.body.contains(part) && reply.body.contains("\"help\""), "{name}: {reply:?}");
        server.still_runs();
    }
    assert_eq!(get(&server.admin, "/readyz").0, 200);
    // The good ones of a mixed request are taken.
    let mixed = format!("{}not json\n", FLEET.body(0, T));
    let (status, answer) = post(&server.ingest, &mixed).unwrap();
    assert!(
        status == 200 && answer.contains("\"accepted\":50") && answer.contains("\"index\":50"),
        "{answer}"
    );
    assert_eq!(post(&server.ingest, &FLEET.body(1, T + 60_000)).unwrap().0, 200);
    until("the first windows are stored", || stored(dir.path(), T + 5_000).len() == 5);
    assert_eq!(metric(&server.admin, "evenkeel_coalescer_ledger_imbalance{size=\"5000\"}"), Some(0.0)); // EK-SUM-1
    assert_eq!(server.terminate(), Some(0));
    let refused = log::dlq(&log::open(dir.path()));
    assert!(refused.is_empty(), "what is refused at the door is not in the log: {refused:?}");
}
