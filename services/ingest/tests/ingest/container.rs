//! Avro container files: ours and others', every codec, every way to break one.

use crate::client::{Connection, Reply, post};
use crate::fake::Fake;
use crate::server::{Server, start};
use apache_avro::types::Value;
use apache_avro::{Codec, Schema, Writer};
use evenkeel_codec::schema::{EVENT, EVENT_BATCH};
use serde_json::json;
use std::collections::HashMap;
use std::io::Write as _;

const AVRO: &str = "application/avro";
const FOREIGN: &str = r#"{"type": "record", "name": "Reading", "fields": [
    {"name": "stream_id", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "seq", "type": ["null", "long"]},
    {"name": "weight", "type": ["null", "double"]},
    {"name": "lid", "type": "boolean"},
    {"name": "note", "type": "string"}]}"#;

fn record(members: Vec<(&str, Value)>) -> Value {
    Value::Record(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn some(at: u32, value: Value) -> Value {
    Value::Union(at, Box::new(value))
}

fn reading(seq: i64, weight: Option<f64>) -> Value {
    record(vec![
        ("stream_id", Value::String("bowl/1".into())),
        ("ts", Value::TimestampMicros(seq * 1_000_500)),
        ("seq", some(1, Value::Long(seq))),
        ("weight", weight.map_or(some(0, Value::Null), |w| some(1, Value::Double(w)))),
        ("lid", Value::Boolean(true)),
        ("note", Value::String("x".into())),
    ])
}

fn event(stream_id: &str, seq: i64) -> Value {
    record(vec![
        ("stream_id", Value::String(stream_id.into())),
        ("ts", Value::Long(seq * 1000)),
        ("seq", some(1, Value::Long(seq))),
        ("arrival_ms", Value::Long(-1)),
        ("backfill", Value::Boolean(false)),
        ("fields", Value::Map(HashMap::from([("g".to_owned(), Value::Double(seq as f64))]))),
        ("payload", some(0, Value::Null)),
    ])
}

/// A file as the library of the Avro project writes it.
fn written(schema: &str, codec: Codec, values: Vec<Value>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for value in values {
        writer.append_value(value).unwrap();
    }
    writer.into_inner().unwrap()
}

fn long(value: i64) -> Vec<u8> {
    let (mut bits, mut out) = (((value << 1) ^ (value >> 63)) as u64, Vec::new());
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
    out
}

/// A file by hand, for what no library writes.
fn by_hand(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let text = |text: &str| [long(text.len() as i64), text.into()].concat();
    let mut file = [b"Obj\x01".to_vec(), long(2)].concat();
    for (name, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        file.extend([text(name), text(value)].concat());
    }
    file.extend([0].iter().chain(&[7; 16]));
    for (records, data) in blocks {
        file.extend([long(*records), long(data.len() as i64), data.clone(), vec![7; 16]].concat());
    }
    file
}

async fn send(server: &Server, body: impl AsRef<[u8]>) -> Reply {
    post(server.address, "/v1/events", AVRO, body).await
}

fn stored(log: &Fake) -> Vec<(String, Vec<i64>, Vec<u64>)> {
    let records = log.durable();
    records.iter().map(|r| (r.batch.stream_id.clone(), r.batch.ts.clone(), r.batch.seq.clone())).collect()
}

#[tokio::test]
async fn events_of_our_schema_are_put_together_by_stream() {
    let server = start(&[]).await;
    let values = (1..=4).map(|seq| event(if seq == 3 { "b" } else { "a" }, seq)).collect();
    let reply = send(&server, written(EVENT.text, Codec::Null, values)).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(4)), "{reply:?}");
    let mut stored = stored(&server.log);
    stored.sort();
    let want = [("a".into(), vec![1000, 2000, 4000], vec![1, 2, 4]), ("b".into(), vec![3000], vec![3])];
    assert_eq!(stored, want);
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn batches_are_judged_event_by_event_and_counted_through() {
    let server = start(&[]).await;
    let batch = |ts: i64| {
        let column = record(vec![
            ("name", Value::String("g".into())),
            ("rows", Value::Array(vec![])),
            ("values", Value::Array(vec![Value::Double(1.0), Value::Double(f64::NAN)])),
        ]);
        record(vec![
            ("stream_id", Value::String("a".into())),
            ("arrival_ms", Value::Long(-1)),
            ("backfill", Value::Boolean(false)),
            ("events", Value::Int(2)),
            ("ts_first", Value::Long(ts)),
            ("ts_steps", Value::Array(vec![Value::Long(1)])),
            ("seq_first", some(0, Value::Null)),
            ("seq_steps", Value::Array(vec![])),
            ("fields", Value::Array(vec![column])),
            ("payloads", Value::Array(vec![])),
        ])
    };
    let reply = send(&server, written(EVENT_BATCH.text, Codec::Null, vec![batch(10), batch(20)])).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(2)), "{reply:?}");
    let rejected: Vec<_> =
        reply.json()["rejected"].as_array().unwrap().iter().map(|r| r["index"].clone()).collect();
    assert_eq!(rejected, [1, 3]);
    assert_eq!(stored(&server.log).iter().flat_map(|s| s.1.clone()).collect::<Vec<_>>(), [10, 20]);
    server.stop().await;
}

#[tokio::test]
async fn another_schema_is_read_by_the_names_of_its_members() {
    let server = start(&[]).await;
    let mut values: Vec<Value> = (1..=3).map(|seq| reading(seq, (seq != 2).then_some(40.5))).collect();
    values.push(reading(-4, None));
    let deflated = written(FOREIGN, Codec::Deflate(apache_avro::DeflateSettings::default()), values);
    let reply = send(&server, deflated).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(3)), "{reply:?}");
    assert!(reply.json()["rejected"][0]["message"].as_str().unwrap().contains("seq"), "{reply:?}");
    let batch = server.log.durable()[0].batch.clone();
    assert_eq!((&batch.ts[..], &batch.seq[..]), (&[1000, 2001, 3001][..], &[1, 2, 3][..]));
    assert_eq!((batch.value(0, 0), batch.value(1, 0)), (Some(40.5), Some(1.0)));
    assert_eq!(batch.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["weight", "lid"]);
    server.stop().await;
}

#[tokio::test]
async fn zstandard_blocks_are_read_and_bombs_are_not() {
    let server = start(&[]).await;
    let plain = written(EVENT.text, Codec::Null, vec![event("a", 1)]);
    // count, size, data, marker: the data of the only block is what is left between
    let head = plain.len() - 16;
    let data = &plain[..head];
    let body = &data[data.windows(2).rposition(|w| w == [2, b'a']).unwrap()..];
    let packed = |plain: &[u8]| {
        let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
        zstd_safe::compress(&mut out, plain, 3).unwrap();
        out
    };
    let reply = send(&server, by_hand(EVENT.text, "zstandard", &[(1, packed(body))])).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(1)), "{reply:?}");
    let bomb = vec![0; 64 << 20];
    let mut deflater = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflater.write_all(&bomb).unwrap();
    let deflated = deflater.finish().unwrap();
    for (codec, data) in [("zstandard", packed(&bomb)), ("deflate", deflated)] {
        let reply = send(&server, by_hand(EVENT.text, codec, &[(1, data)])).await;
        assert_eq!((reply.status, &*reply.slug()), (413, "too-large"), "{codec}: {reply:?}");
    }
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_broken_cut_or_unknown_is_named_and_stores_nothing() {
    let server = start(&[]).await;
    let whole = written(EVENT.text, Codec::Null, vec![event("a", 1)]);
    let nested = r#"{"type":"record","name":"R","fields":[{"name":"ts","type":"long"},{"name":"next","type":["null","R"]}]}"#;
    let wide: String = (0..101).map(|n| format!(",{{\"name\":\"f{n}\",\"type\":\"null\"}}")).collect();
    let wide = format!(
        "{{\"type\":\"record\",\"name\":\"R\",\"fields\":[{{\"name\":\"ts\",\"type\":\"long\"}}{wide}]}}"
    );
    let empty = r#"{"type":"record","name":"R","fields":[]}"#;
    let mut other_marker = whole.clone();
    *other_marker.last_mut().unwrap() ^= 1;
    for (body, status, want) in [
        (whole[..whole.len() - 1].to_vec(), 400, "ends within a block"),
        (whole[..40].to_vec(), 400, "within its header"),
        (b"Obj\x02".to_vec(), 400, "does not begin with"),
        (vec![], 400, "within its header"),
        (other_marker, 400, "sync marker"),
        (by_hand(nested, "null", &[(1, vec![2, 0])]), 400, "\"next\" nests"),
        (by_hand(&wide, "null", &[(1, vec![2])]), 400, "more than 100 members"),
        (by_hand(empty, "null", &[(i64::MAX, vec![])]), 400, "no member ts"),
        (by_hand(EVENT.text, "null", &[(i64::MAX, vec![])]), 413, "more than"),
        (by_hand(EVENT.text, "null", &[(1, vec![])]), 400, "ends at byte 0"),
        (by_hand(EVENT.text, "snappy", &[]), 415, "null, deflate and zstandard"),
        (by_hand(EVENT.text, "deflate", &[(1, vec![1, 2, 3])]), 400, "deflate"),
        (by_hand("{", "null", &[]), 400, "its schema"),
        (by_hand(EVENT.text, "null", &[(1, vec![0; 600 << 10])]), 413, "larger than"),
    ] {
        let reply = send(&server, body).await;
        let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(reply.status, status, "{want}: {reply:?}");
        assert!(detail.contains(want), "{want}: {detail}");
    }
    assert!(server.log.durable().is_empty());
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn few_bytes_never_stand_for_more_than_the_limits() {
    let server = start(&["body.inflated-max=2MiB"]).await;
    // A batch of 65,536 events at one time, without fields: some 20 bytes.
    let large =
        [long(1), b"a".to_vec(), long(-1), vec![0], long(65_536), long(5), vec![0, 0, 0, 0, 0]].concat();
    let reply = send(&server, by_hand(EVENT_BATCH.text, "null", &[(1, large)])).await;
    assert_eq!((reply.status, &*reply.slug()), (413, "too-large"), "{reply:?}");
    // Many blocks, each of which inflates to half a MiB.
    let body =
        [long(1), b"a".to_vec(), long(5), vec![0, 1, 0, 0, 2], long(500_000), vec![0; 500_000]].concat();
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(body.len()));
    zstd_safe::compress(&mut packed, &body, 3).unwrap();
    let blocks: Vec<_> = (0..200).map(|_| (1, packed.clone())).collect();
    let reply = send(&server, by_hand(EVENT.text, "zstandard", &blocks)).await;
    assert_eq!(reply.status, if reply.slug() == "too-large" { 413 } else { 400 }, "{reply:?}");
    assert!(server.log.durable().is_empty());
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_comes_byte_by_byte_is_read_as_one_that_comes_at_once() {
    let server = start(&[]).await;
    let whole = written(EVENT.text, Codec::Null, vec![event("a", 1), event("a", 2)]);
    let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/avro\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut connection = Connection::open(server.address).await;
    connection.send(head.as_bytes()).await;
    for byte in &whole {
        connection.send(&[b"1\r\n".as_slice(), &[*byte], b"\r\n"].concat()).await;
    }
    connection.send(b"0\r\n\r\n").await;
    let reply = connection.reply().await.unwrap();
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(2)), "{reply:?}");
    server.settles().await;
    server.stop().await;
}
