//! Bodies in zstd: taken as gzip is, with the same caps.

use crate::client::{JSON, NDJSON, post_with};
use crate::server::start;

const PATH: &str = "/v1/streams/s/events";
const ZSTD: &str = "content-encoding: zstd\r\n";

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
    zstd_safe::compress(&mut out, plain, 3).unwrap();
    out
}

#[tokio::test]
async fn a_zstd_body_is_read_also_of_several_frames() {
    let server = start(&[]).await;
    let lines: String = (0..5_000).map(|n| format!("{{\"ts\":{n},\"fields\":{{\"v\":{n}}}}}\n")).collect();
    let (first, second) = lines.split_at(lines.find("{\"ts\":2500").unwrap());
    let body = [packed(first.as_bytes()), packed(second.as_bytes())].concat();
    let reply = post_with(server.address, PATH, NDJSON, ZSTD, body).await;
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &5_000.into()));
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn a_zstd_body_that_is_cut_or_broken_stores_nothing() {
    let server = start(&[]).await;
    let whole = packed(br#"{"ts":1}"#);
    for body in [&whole[..whole.len() - 1], b"not zstd at all", &[]] {
        let reply = post_with(server.address, PATH, JSON, ZSTD, body).await;
        assert_eq!((reply.status, &*reply.slug()), (400, "unreadable-body"), "{body:?}");
    }
    assert!(server.log.durable().is_empty());
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn a_zstd_bomb_meets_its_cap_and_gives_its_bytes_back() {
    let server = start(&["body.inflated-max=1MiB", "body.line-max=64KiB"]).await;
    let bomb = packed(&vec![b'\n'; 200 << 20]);
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    let reply = post_with(server.address, PATH, NDJSON, ZSTD, bomb).await;
    assert_eq!((reply.status, &*reply.slug()), (413, "too-large"));
    server.settles().await;
    server.stop().await;
}

#[tokio::test]
async fn a_window_above_8_mib_is_refused() {
    let server = start(&[]).await;
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::WindowLog(27)).unwrap();
    let plain = vec![b'\n'; 1 << 20];
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(plain.len()));
    let mut output = zstd_safe::OutBuffer::around(&mut out);
    let mut input = zstd_safe::InBuffer::around(&plain);
    // Streamed, so that the frame names its window instead of its size.
    context.compress_stream(&mut output, &mut input).unwrap();
    while context.end_stream(&mut output).unwrap() > 0 {}
    let reply = post_with(server.address, PATH, NDJSON, ZSTD, out).await;
    assert_eq!((reply.status, &*reply.slug()), (400, "unreadable-body"));
    server.stop().await;
}
