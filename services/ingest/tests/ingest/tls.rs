//! TLS and client certificates over real sockets.

use crate::authority::{Authority, Pair};
use crate::client::{Connection, JSON};
use crate::server::{Server, start, until};
use crate::websocket::batch;
use evenkeel_telemetry::names::ingest::{CONNECTIONS_CUT, RELOADS};
use futures::{SinkExt, StreamExt};
use openssl::ssl::SslVersion;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const PATH: &str = "/v1/streams/imu/1/events";
const ONE: &[u8] = br#"{"ts":1}"#;

/// The files of a server, and who signs for it and for its clients.
struct Files {
    directory: tempfile::TempDir,
    authority: Authority,
    clients: Authority,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory, authority: Authority::new(), clients: Authority::new() };
        files.install(&files.authority.issue("server", &["localhost"]));
        files.clients.write(&files.path("clients.pem"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, pair: &Pair) {
        pair.write(&self.path("server.pem"), &self.path("server.key"));
    }

    fn credentials(&self, text: &str) {
        std::fs::write(self.path("tokens.toml"), text).unwrap();
    }

    async fn start(&self, more: &[&str]) -> Server {
        let file = |key: &str, name: &str| format!("tls.{key}={}", self.path(name).display());
        let mut changes = vec![file("cert-file", "server.pem"), file("key-file", "server.key")];
        if self.path("tokens.toml").exists() {
            changes.push(format!("tokens-file={}", self.path("tokens.toml").display()));
            changes.push(file("client-ca-file", "clients.pem"));
        }
        changes.push("reload.every=10ms".into());
        changes.extend(more.iter().map(|text| (*text).to_owned()));
        start(&changes.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

fn cut(server: &Server, reason: &'static str) -> u64 {
    server.metrics.counter(&CONNECTIONS_CUT, [reason]).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_through_tls_by_http_and_by_websocket() {
    let files = Files::new();
    let server = files.start(&[]).await;
    let mut client = files.authority.client(None).connect(server.address).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    }
    let stream = files.authority.client(None).open(server.address).await.unwrap();
    let url = format!("wss://localhost:{}/v1/ws", server.address.port());
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("hello"));
    socket.send(Message::text(batch(1, 0..3).to_string())).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("\"accepted\":3"));
    drop((client, socket));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_old_versions_and_strangers_are_refused_and_counted() {
    let files = Files::new();
    let server = files.start(&[]).await;
    let mut plain = Connection::open(server.address).await;
    assert!(plain.post(PATH, JSON, "", ONE).await.is_none());
    until("plain text is counted", || cut(&server, "handshake_failed") == 1).await;
    let old = files.authority.client(None).with(|tls| {
        tls.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    });
    assert!(old.connect(server.address).await.is_err());
    until("TLS 1.1 is counted", || cut(&server, "handshake_failed") == 2).await;
    // A client that trusts somebody else does not take this server for its own.
    assert!(Authority::new().client(None).connect(server.address).await.is_err());
    let mut good = files.authority.client(None).connect(server.address).await.unwrap();
    assert_eq!(good.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    drop(good);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_cut_and_gives_its_turn_back() {
    let files = Files::new();
    let server = files.start(&["tls.handshakes-max=1", "tls.handshake-timeout=50ms"]).await;
    let silent = Connection::open(server.address).await;
    let mut slow = Connection::open(server.address).await;
    slow.send(&[0x16, 3, 1]).await;
    // There is one turn: this client has it once the silent ones have lost it.
    let mut client = files.authority.client(None).connect(server.address).await.unwrap();
    assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    until("both are cut", || cut(&server, "handshake_slow") == 2).await;
    drop((silent, slow, client));
    server.stop().await;
}

const BY_CERTIFICATE: &str = "
    [[credential]]\nname = 'plant'\ncertificate = 'gateway-7'\nstreams = ['imu/*']\n
    [[credential]]\nname = 'uri'\ncertificate = 'spiffe://plant/gateway-8'\nstreams = ['imu/*']\n
    [[credential]]\nname = 'dns'\ncertificate = 'gateway-9.plant.example'\nstreams = ['imu/*']\n
    [[credential]]\nname = 'token'\ntoken = '0123456789abcdef'\nstreams = ['bowl/*']\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_a_credential() {
    let files = Files::new();
    files.credentials(BY_CERTIFICATE);
    let server = files.start(&["tls.client-certificates=optional"]).await;
    let address = server.address;
    for (common_name, names) in [
        ("gateway-7", &[][..]),
        ("a", &["spiffe://plant/gateway-8"]),
        ("b", &["localhost", "gateway-9.plant.example"]),
    ] {
        let own = files.clients.issue(common_name, names);
        let mut client = files.authority.client(Some(&own)).connect(address).await.unwrap();
        assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 200, "{common_name}");
        let reply = client.post("/v1/streams/bowl/1/events", JSON, "", ONE).await.unwrap();
        assert_eq!((reply.status, &*reply.slug()), (403, "forbidden"));
        // A token on the same connection speaks for itself.
        let token = "authorization: Bearer 0123456789abcdef\r\n";
        assert_eq!(client.post("/v1/streams/bowl/1/events", JSON, token, ONE).await.unwrap().status, 200);
    }
    let unknown = files.clients.issue("gateway-70", &[]);
    let mut client = files.authority.client(Some(&unknown)).connect(address).await.unwrap();
    let reply = client.post(PATH, JSON, "", ONE).await.unwrap();
    assert_eq!((reply.status, &*reply.slug()), (401, "unauthenticated"));
    assert!(reply.json()["detail"].as_str().unwrap().contains("certificate"), "{reply:?}");
    let mut none = files.authority.client(None).connect(address).await.unwrap();
    assert_eq!(none.post(PATH, JSON, "", ONE).await.unwrap().status, 401);
    // By the arrival clock the certificate has long expired: the connection is no way around it.
    let own = files.clients.issue("gateway-7", &[]);
    let mut client = files.authority.client(Some(&own)).connect(address).await.unwrap();
    assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    server.clock.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 401);
    drop((none, client));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_another_authority_have_no_connection() {
    let files = Files::new();
    files.credentials(BY_CERTIFICATE);
    for wanted in ["optional", "required"] {
        let server = files.start(&[&format!("tls.client-certificates={wanted}")]).await;
        let foreign = Authority::new().issue("gateway-7", &[]);
        let own = [files.authority.issue("gateway-7", &[]), foreign];
        for pair in own.iter().map(Some).chain((wanted == "required").then_some(None)) {
            let refused = match files.authority.client(pair).connect(server.address).await {
                Ok(mut client) => client.post(PATH, JSON, "", ONE).await.is_none(),
                Err(_) => true,
            };
            assert!(refused, "{wanted}");
        }
        let own = files.clients.issue("gateway-7", &[]);
        let mut client = files.authority.client(Some(&own)).connect(server.address).await.unwrap();
        assert_eq!(client.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
        assert!(cut(&server, "handshake_failed") >= 2);
        drop(client);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let files = Files::new();
    let server = files.start(&[]).await;
    let reloads = |outcome| server.metrics.counter(&RELOADS, ["certificate", outcome]).get();
    let serial = async || {
        let stream = files.authority.client(None).open(server.address).await.unwrap();
        let certificate = stream.ssl().peer_certificate().unwrap();
        certificate.serial_number().to_bn().unwrap().to_vec()
    };
    let first = serial().await;
    let mut old = files.authority.client(None).connect(server.address).await.unwrap();
    assert_eq!(old.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    // A key that belongs to no such certificate, then nothing at all.
    let other = files.authority.issue("server", &["localhost"]);
    std::fs::write(files.path("server.key"), other.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    // Writing is not one step: the empty file may be counted on the way.
    until("the broken pair is counted", || reloads("failed") >= 1).await;
    assert_eq!(serial().await, first);
    let before = reloads("failed");
    std::fs::remove_file(files.path("server.pem")).unwrap();
    until("the missing file is counted", || reloads("failed") > before).await;
    assert_eq!((serial().await, reloads("good")), (first.clone(), 0));
    files.install(&other);
    until("the new pair is in force", || reloads("good") > 0).await;
    assert_ne!(serial().await, first);
    // A connection of before goes on.
    assert_eq!(old.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    drop(old);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_cut_behind_tls_too() {
    let files = Files::new();
    let server = files.start(&["connections-max=1", "connection.write-timeout=100ms"]).await;
    let mut deaf = files.authority.client(None).connect(server.address).await.unwrap();
    let asks = b"GET /v1/openapi.yaml HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4000);
    let deaf = tokio::spawn(async move {
        deaf.send(&asks).await;
        deaf
    });
    until("it is cut", || cut(&server, "write_stalled") == 1).await;
    let mut next = files.authority.client(None).connect(server.address).await.unwrap();
    assert_eq!(next.post(PATH, JSON, "", ONE).await.unwrap().status, 200);
    drop((deaf.await.unwrap(), next));
    server.stop().await;
}
