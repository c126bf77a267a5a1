//! What clients are told, and when: per event, and only after the log.

use crate::client::{AVRO, Connection, JSON, NDJSON, post, post_with};
use crate::fake::{Mode, PARTITIONS};
use crate::server::{NOW_MS, start, until};
use evenkeel_codec::encode_batch;
use evenkeel_model::{EventBatch, FieldColumn, partition_of};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_verdict_and_the_rest_is_in_the_log() {
    let server = start(&[]).await;
    let body = concat!(
        "{\"stream_id\":\"imu/1\",\"ts\":1700000000000,\"seq\":1,\"fields\":{\"ax\":0.5,\"still\":true}}\n\n",
        "not json\r\n",
        "{\"stream_id\":\"bowl/7\",\"ts\":\"2023-11-14T22:13:20Z\",\"fields\":{\"w\":2}}\n",
        "{\"stream_id\":\"imu/1\",\"ts\":1700000000025,\"seq\":2,\"fields\":{\"ax\":0.25}}",
    );
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let reply = post_with(server.address, "/v1/events", NDJSON, trace, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = reply.json();
    assert_eq!((&answer["accepted"], &answer["rejected_total"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&answer["rejected"][0]["index"], &answer["rejected"][0]["reason"]),
        (&json!(1), &json!("malformed"))
    );
    let records = server.log.durable();
    assert_eq!(records.len(), 2);
    let imu = records.iter().find(|record| record.key == "imu/1").unwrap();
    assert_eq!((imu.batch.stream_id.as_str(), imu.batch.arrival_ms), ("imu/1", NOW_MS));
    assert_eq!((&imu.batch.ts[..], &imu.batch.seq[..]), (&[NOW_MS, NOW_MS + 25][..], &[1, 2][..]));
    assert_eq!((imu.batch.value(0, 1), imu.batch.value(1, 0)), (Some(0.25), Some(1.0)));
    assert_eq!(imu.partition, partition_of("imu/1", PARTITIONS));
    let header = |name: &str| imu.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str());
    assert_eq!(header("traceparent"), trace.strip_prefix("traceparent: ").map(str::trim));
    assert_eq!(imu.headers.len(), 1, "{:?}", imu.headers);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrays_gzip_and_chunks_say_the_same_as_plain_lines() {
    let server = start(&[]).await;
    let array = br#"[{"ts":1,"seq":1,"fields":{"a":1}}, {"ts":2,"seq":2,"fields":{"a":2}}]"#;
    let lines = b"{\"ts\":1,\"seq\":1,\"fields\":{\"a\":1}}\n{\"ts\":2,\"seq\":2,\"fields\":{\"a\":2}}\n";
    let path = "/v1/streams/imu%2FS06/events";
    assert_eq!(post(server.address, path, JSON, array).await.status, 200);
    assert_eq!(post(server.address, path, "application/json; charset=utf-8", array).await.status, 200);
    let twice = [gzip(&lines[..30]), gzip(&lines[30..])].concat(); // two gzip members are one body
    let encoding = "content-encoding: gzip\r\n";
    assert_eq!(
        post_with(server.address, "/v1/streams/imu/S06/events", NDJSON, encoding, twice).await.status,
        200
    );
    let mut connection = Connection::open(server.address).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    connection.send(head.as_bytes()).await;
    for part in lines.chunks(7) {
        connection
            .send(format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)).as_bytes())
            .await;
    }
    connection.send(b"0\r\n\r\n").await;
    assert_eq!(connection.reply().await.unwrap().json()["accepted"], 2);
    let records = server.log.durable();
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!((&record.key[..], &record.batch), ("imu/S06", &records[0].batch));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_avro_is_judged_row_by_row_and_stamped() {
    let server = start(&[]).await;
    let field = FieldColumn { name: "x".into(), rows: vec![], values: vec![1.0, f64::NAN, 3.0] };
    let batch = EventBatch {
        stream_id: "imu/1".into(),
        arrival_ms: 5,
        ts: vec![10, 20, 30],
        seq: vec![1, 2, 3],
        fields: vec![field],
        ..EventBatch::default()
    };
    let mut body = Vec::new();
    encode_batch(&batch, &mut body);
    let reply = post(server.address, "/v1/events", AVRO, &body).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(2)));
    assert_eq!(reply.json()["rejected"][0]["index"], 1);
    let stored = &server.log.durable()[0].batch;
    assert_eq!((stored.arrival_ms, &stored.ts[..], &stored.seq[..]), (NOW_MS, &[10, 30][..], &[1, 3][..]));
    assert_eq!(post(server.address, "/v1/streams/imu%2F2/events", AVRO, &body).await.slug(), "bad-stream-id");
    assert_eq!(post(server.address, "/v1/events", AVRO, &body[..9]).await.slug(), "unreadable-body");
    server.stop().await;
}

// recovery.md "Ingest": acknowledged only after the log acknowledged every event of the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_before_the_logs() {
    let server = start(&[]).await;
    server.log.set(Mode::Hold);
    let mut connection = Connection::open(server.address).await;
    let address = server.address;
    let mut pending =
        tokio::spawn(
            async move { connection.post("/v1/streams/s/events", JSON, "", br#"[{"ts":1}]"#).await },
        );
    let log = server.log.clone();
    until("the record is at the log", || log.records().len() == 1).await;
    // The other requests of this server are answered; this one is not.
    assert_eq!(post(address, "/v1/nothing", JSON, "").await.status, 404);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut pending).await.is_err());
    server.log.release();
    assert_eq!(pending.await.unwrap().unwrap().json()["accepted"], 1);
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_fails_or_has_no_room_is_a_503_with_a_time() {
    let server = start(&["ack-timeout=100ms", "retry.base=2s", "retry.spread=3s"]).await;
    let mut seen = Vec::new();
    for mode in [Mode::Fail, Mode::Full, Mode::Hold] {
        server.log.set(mode);
        let reply = post(server.address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await;
        assert_eq!((reply.status, &*reply.slug()), (503, "log-unavailable"), "{mode:?} {reply:?}");
        seen.push(reply.header("retry-after").unwrap().parse::<u64>().unwrap());
    }
    // Injected randomness 1000, 2000, 3000: each client has its own time.
    assert_eq!(seen, [3, 4, 2]);
    assert!(server.in_flight_bytes() > 0.0, "the log still holds a record");
    server.log.release();
    server.settles().await;
    server.log.set(Mode::Ack);
    assert_eq!(post(server.address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_that_gets_room_in_time_is_waited_out() {
    let server = start(&[]).await;
    server.log.set(Mode::Full);
    let address = server.address;
    let pending =
        tokio::spawn(async move { post(address, "/v1/streams/s/events", JSON, r#"{"ts":1}"#).await });
    until("it waits", || server.in_flight_bytes() > 0.0).await;
    server.log.set(Mode::Ack);
    assert_eq!(pending.await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_accept_is_no_error_and_nothing_accepted_is_one() {
    let server = start(&["body.listed-max=2"]).await;
    let reply = post(server.address, "/v1/events", JSON, "[]").await;
    assert_eq!(
        (reply.status, reply.json()),
        (200, json!({"accepted": 0, "rejected_total": 0, "rejected": []}))
    );
    assert_eq!(post(server.address, "/v1/events", NDJSON, "\n\n").await.status, 200);
    let reply = post(server.address, "/v1/events", NDJSON, "1\n2\n3\n").await;
    assert_eq!((reply.status, &*reply.slug()), (422, "events-refused"));
    assert_eq!(
        (&reply.json()["rejected_total"], reply.json()["rejected"].as_array().unwrap().len()),
        (&json!(3), 2)
    );
    assert!(server.log.records().is_empty());
    server.settles().await;
    server.stop().await;
}
