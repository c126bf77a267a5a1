//! A thousand bodies of rubbish: an answer to each, no panic, no byte lost to the budget.

use crate::client::{AVRO, Connection, JSON, NDJSON};
use crate::server::start;
use crate::verdicts::gzip;
use evenkeel_codec::encode_batch;
use evenkeel_model::EventBatch;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Debug, Clone)]
struct Rubbish {
    body: Vec<u8>,
    content_type: &'static str,
    headers: &'static str,
}

/// Bytes at random, and good bodies with some bytes changed, cut or put twice.
fn rubbish() -> impl Strategy<Value = Rubbish> {
    let good = br#"[{"stream_id":"a","ts":1,"seq":7,"fields":{"x":1.5,"y":true},"payload":"AAEC"},{"ts":"2023-11-14T22:13:20Z"}]"#;
    let mut batch = Vec::new();
    let events =
        EventBatch { stream_id: "a".into(), ts: vec![1, 2, 9], seq: vec![1, 2, 3], ..Default::default() };
    encode_batch(&events, &mut batch);
    let seeds = vec![good.to_vec(), good[1..].to_vec(), gzip(good), batch, Vec::new()];
    let mutated = (
        prop::sample::select(seeds),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..6),
    )
        .prop_map(|(mut body, changes)| {
            for (at, byte, how) in changes {
                if body.is_empty() {
                    break;
                }
                let at = at.index(body.len());
                match how {
                    0 => body[at] = byte,
                    1 => body.truncate(at),
                    _ => body.insert(at, byte),
                }
            }
            body
        });
    let body = prop_oneof![prop::collection::vec(any::<u8>(), 0..400), mutated];
    let headers = prop::sample::select(vec!["", "content-encoding: gzip\r\n"]);
    (body, prop::sample::select(vec![JSON, NDJSON, AVRO]), headers)
        .prop_map(|(body, content_type, headers)| Rubbish { body, content_type, headers })
}

#[test]
fn a_thousand_bodies_of_rubbish_do_no_harm() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(start(&[]));
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(rubbish(), any::<bool>()), |(rubbish, own_path)| {
        let path = if own_path { "/v1/streams/a/events" } else { "/v1/events" };
        let reply = runtime.block_on(async {
            let mut connection = Connection::open(server.address).await;
            connection.post(path, rubbish.content_type, rubbish.headers, &rubbish.body).await
        });
        let reply = reply.expect("an answer");
        prop_assert!([200, 400, 422].contains(&reply.status), "{:?}", reply);
        Ok(())
    });
    outcome.unwrap();
    let accepted = server.log.durable().iter().map(|record| record.batch.len() as u64).sum::<u64>();
    assert!(accepted > 0, "some mutations are harmless");
    runtime.block_on(async {
        server.settles().await;
        server.stop().await;
    });
}
