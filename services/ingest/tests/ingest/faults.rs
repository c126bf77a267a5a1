//! Bad input: each gets a clear answer, none costs more than its share, none stops the server.

use crate::client::{AVRO, Connection, JSON, NDJSON, post, post_with};
use crate::server::{Server, start};
use crate::verdicts::gzip;

const PATH: &str = "/v1/streams/s/events";
const GZIP: &str = "content-encoding: gzip\r\n";

/// The server still works, and holds nothing.
async fn sound(server: Server) {
    server.settles().await;
    assert_eq!(post(server.address, PATH, JSON, r#"{"ts":1}"#).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_cut_and_a_slow_body_is_told() {
    let server = start(&["connection.head-timeout=150ms", "body.timeout=150ms"]).await;
    let mut silent = Connection::open(server.address).await;
    assert!(silent.reply().await.is_none());
    let mut slow = Connection::open(server.address).await;
    slow.send(b"POST /v1/events HTTP/1.1\r\nhost: ").await;
    assert!(slow.reply().await.is_none_or(|reply| reply.status == 408));
    let mut body = Connection::open(server.address).await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ncontent-length: 100\r\n\r\n{{\"ts\""
    );
    body.send(head.as_bytes()).await;
    let reply = body.reply().await.unwrap();
    assert_eq!((reply.status, &*reply.slug(), reply.header("connection")), (408, "slow-body", Some("close")));
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_a_limit_is_a_413() {
    let changes =
        ["body.size-max=64KiB", "body.inflated-max=256KiB", "body.events-max=3", "body.record-max=96KiB"];
    let server = start(&changes).await;
    let big = vec![b' '; 64 * 1024 + 1];
    let over = |reply: crate::client::Reply, what: &str| {
        assert_eq!((reply.status, &*reply.slug()), (413, "too-large"), "{what} {reply:?}");
        assert_eq!(reply.header("connection"), Some("close"));
    };
    over(post(server.address, PATH, NDJSON, &big).await, "announced");
    let mut chunked = Connection::open(server.address).await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    chunked.send(head.as_bytes()).await;
    chunked.send(&[format!("{:x}\r\n", big.len()).as_bytes(), &big, b"\r\n0\r\n\r\n"].concat()).await;
    over(chunked.reply().await.unwrap(), "chunked");
    let mut polite = Connection::open(server.address).await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        big.len()
    );
    polite.send(head.as_bytes()).await;
    over(polite.reply().await.unwrap(), "asked first");
    over(post(server.address, PATH, NDJSON, "{\"ts\":1}\n".repeat(4)).await, "events");
    assert_eq!(post(server.address, PATH, NDJSON, "{\"ts\":1}\n".repeat(3)).await.status, 200);
    let bomb = gzip(&vec![b' '; 50 << 20]);
    over(post_with(server.address, PATH, NDJSON, GZIP, &bomb).await, "bomb");
    over(post_with(server.address, PATH, AVRO, GZIP, gzip(&vec![0; 100 * 1024])).await, "batch");
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_10_mb_line_is_refused_alone_where_the_body_may_be_that_long() {
    let server = start(&["body.size-max=16MiB"]).await;
    let line = format!("{{\"ts\":1,\"payload\":\"{}\"}}", "A".repeat(10 << 20));
    let body = format!("{{\"ts\":1}}\n{line}\n{{\"ts\":2}}\n");
    let reply = post(server.address, PATH, NDJSON, &body).await;
    assert_eq!((reply.status, reply.json()["accepted"].as_u64()), (200, Some(2)), "{reply:?}");
    assert_eq!(reply.json()["rejected"][0]["index"], 1);
    let reply = post(server.address, PATH, JSON, format!("[{line}]")).await;
    assert_eq!((reply.status, &*reply.slug()), (422, "events-refused"));
    let reply = post_with(server.address, PATH, NDJSON, GZIP, gzip(body.as_bytes())).await;
    assert_eq!(reply.json()["accepted"], 2);
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_10_mb_line_under_the_default_limits_is_a_413() {
    let server = start(&[]).await;
    assert_eq!(post(server.address, PATH, NDJSON, vec![b'x'; 10 << 20]).await.status, 413);
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_framing_is_a_400_and_stores_nothing() {
    let server = start(&[]).await;
    let whole = gzip(&b"{\"ts\":1}\n".repeat(1000));
    let mut wrong_sum = whole.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    for (body, headers, kind) in [
        (whole[..whole.len() / 2].to_vec(), GZIP, NDJSON),
        (whole[..whole.len() - 1].to_vec(), GZIP, NDJSON),
        (wrong_sum, GZIP, NDJSON),
        ([&whole[..], b"trailing"].concat(), GZIP, NDJSON),
        (b"{\"ts\":1}".to_vec(), GZIP, NDJSON),
        (Vec::new(), GZIP, NDJSON),
        (b"[{\"ts\":1}".to_vec(), "", JSON),
        (b"[{\"ts\":1} {\"ts\":2}]".to_vec(), "", JSON),
        (b"hello".to_vec(), "", JSON),
        (Vec::new(), "", JSON),
        (b"{\"ts\":1}".to_vec(), "", AVRO),
        (Vec::new(), "", AVRO),
    ] {
        let reply = post_with(server.address, PATH, kind, headers, &body).await;
        assert_eq!((reply.status, &*reply.slug()), (400, "unreadable-body"), "{reply:?}");
    }
    assert!(server.log.records().is_empty());
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_outside_the_contract_are_malformed() {
    let server = start(&[]).await;
    for text in [
        r#"{"ts":1,"fields":{"x":NaN}}"#,
        r#"{"ts":1,"fields":{"x":Infinity}}"#,
        r#"{"ts":1,"fields":{"x":-Infinity}}"#,
        r#"{"ts":1,"fields":{"x":1e999}}"#,
        r#"{"ts":1,"fields":{"x":"NaN"}}"#,
        r#"{"ts":9223372036854775808}"#,
        r#"{"ts":-1}"#,
        r#"{"ts":1e30}"#,
        r#"{"ts":"yesterday"}"#,
        r#"{"fields":{"x":1}}"#,
        r#"{"ts":1,"seq":-1}"#,
        r#"{"ts":1,"stream_id":"t"}"#,
        "{\"ts\":1,\"fields\":{\"x\":1}} trailing",
        "\u{feff}{\"ts\":1}",
    ] {
        let reply = post(server.address, PATH, NDJSON, text).await;
        assert_eq!((reply.status, &*reply.slug()), (422, "events-refused"), "{text} {reply:?}");
        assert_eq!(reply.json()["rejected"][0]["reason"], "malformed", "{text}");
        assert!(!reply.json()["rejected"][0]["message"].as_str().unwrap().is_empty(), "{text}");
    }
    for text in [r#"{"ts":1,"stream_id":""}"#, r#"{"ts":1,"stream_id":"a\u0000b"}"#, r#"{"ts":1}"#] {
        assert_eq!(post(server.address, "/v1/events", NDJSON, text).await.status, 422, "{text}");
    }
    assert!(server.log.records().is_empty());
    sound(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_methods_and_types_that_are_not_ours() {
    let server = start(&[]).await;
    let body = r#"{"ts":1}"#;
    for (path, status, slug) in [
        ("/v1/streams//events", 400, "bad-stream-id"),
        ("/v1/streams/a%0Ab/events", 400, "bad-stream-id"),
        ("/v1/streams/a%FF/events", 400, "bad-stream-id"),
        ("/v1/streams/a%2/events", 400, "bad-stream-id"),
        ("/v1/streams/a", 404, "not-found"),
        ("/", 404, "not-found"),
        ("/v1/openapi.yaml", 405, "method-not-allowed"),
    ] {
        let reply = post(server.address, path, JSON, body).await;
        assert_eq!((reply.status, &*reply.slug()), (status, slug), "{path}");
    }
    let long = format!("/v1/streams/{}/events", "x".repeat(257));
    assert_eq!(post(server.address, &long, JSON, body).await.slug(), "bad-stream-id");
    for kind in ["text/plain", "application/x-avro", "application/json+x"] {
        assert_eq!(post(server.address, PATH, kind, body).await.slug(), "unsupported-media-type", "{kind}");
    }
    let reply = post_with(server.address, PATH, JSON, "content-encoding: br\r\n", body).await;
    assert_eq!((reply.status, &*reply.slug()), (415, "unsupported-media-type"));
    let mut connection = Connection::open(server.address).await;
    connection.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let reply = connection.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    connection.send(b"GET /v1/openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let reply = connection.reply().await.unwrap();
    assert_eq!((reply.status, reply.body), (200, evenkeel_ingest::OPENAPI_YAML.as_bytes().to_vec()));
    sound(server).await;
}
