//! TLS and client certificates.

use crate::client::Client;
use crate::keys::Pair;
use crate::server::{Server, telemetry, wait_for};
use evenkeel_auth::Transport;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FILE: &str = r#"
    [[credential]]
    name = "screen-3"
    certificate = "screen-3"
    streams = ["bowl/*"]
"#;

#[tokio::test]
async fn frames_go_through_tls_to_whom_a_certificate_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (authority, clients) = (Pair::authority(), Pair::authority());
    authority.issue("localhost").write(&path("server.pem"), &path("server.key"));
    clients.write(&path("clients.pem"), &path("clients.key"));
    std::fs::write(path("tokens.toml"), FILE).unwrap();
    let quoted = |name: &str| format!("'{}'", path(name).display());
    let server = Server::start(&[
        ("listen", "'0.0.0.0:0'"),
        ("tokens-file", quoted("tokens.toml").as_str()),
        ("tls.cert-file", quoted("server.pem").as_str()),
        ("tls.key-file", quoted("server.key").as_str()),
        ("tls.client-ca-file", quoted("clients.pem").as_str()),
        ("tls.client-certificates", "'optional'"),
        ("tls.handshake-timeout", "'200ms'"),
        ("reload.every", "'10ms'"),
    ])
    .await;
    let address = ([127, 0, 0, 1], server.address.port()).into();
    let screen = clients.issue("screen-3");
    let stream = authority.connect(address, Some(&screen)).await.unwrap();
    let mut client =
        Client::over(Transport::Tls(Box::new(stream)), address, Some("evenkeel.v1.cbor"), None).await;
    let ack = client.init(None).await.unwrap();
    let month_ms = 30 * 86_400_000;
    let expires_in_ms = ack["expires_in_ms"].as_u64().unwrap();
    assert!((month_ms - 600_000..=month_ms).contains(&expires_in_ms), "with the certificate: {ack}");
    client.subscribe(1, "device/bowl%2F7/telemetry").await;
    server.wait_interest("bowl/7", |interest| !interest.wants.is_empty()).await;
    server.frame(&telemetry("bowl/7", 1, 1000, 412.5));
    assert_eq!(client.fragment(1).await["frame"]["state"]["series"]["weight"]["v"], json!([412.5]));
    // Somebody whom the authority knows and the file does not.
    let other = authority.connect(address, Some(&clients.issue("screen-4"))).await.unwrap();
    let mut other =
        Client::over(Transport::Tls(Box::new(other)), address, Some("evenkeel.v1.json"), None).await;
    assert_eq!(other.init(None).await, Err(4501));
    // Who speaks no TLS, and who says nothing.
    let mut clear = TcpStream::connect(address).await.unwrap();
    clear.write_all(b"GET /v1/live HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = clear.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    let _mute = TcpStream::connect(address).await.unwrap();
    wait_for("both to be counted", || {
        ["failed", "slow"].iter().all(|why| {
            server.metric(&format!("evenkeel_gateway_handshakes_failed_total{{reason=\"{why}\"}} 1"))
        })
    })
    .await;
    // Another certificate is in force for new connections; the open one goes on.
    let (next, before) = (Pair::authority(), authority);
    next.issue("localhost").write(&path("server.pem"), &path("server.key"));
    wait_for("the new certificate", || {
        server.metric("evenkeel_gateway_reloads_total{outcome=\"good\",what=\"certificate\"} 1")
    })
    .await;
    assert!(before.connect(address, None).await.is_err());
    next.connect(address, None).await.unwrap();
    server.frame(&telemetry("bowl/7", 2, 2000, 413.5));
    while client.fragment(1).await["frame"]["state"]["to_ms"] != 2000 {}
    server.stopped().await;
}
