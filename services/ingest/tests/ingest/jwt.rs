//! Signed tokens over real sockets: what opens, what does not, and what happens to connections that outlive theirs.

use crate::authority::Authority;
use crate::client::{JSON, Reply, post_with};
use crate::fake::Mode;
use crate::issuer::{ISSUER, KeyServer, SigningKey, base64, key_set, unsigned};
use crate::server::{NOW_MS, Server, start, until};
use crate::websocket::{Client, batch};
use evenkeel_telemetry::names::ingest::{CREDENTIALS_REFUSED, RELOADS};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const NOW_S: i64 = NOW_MS / 1000;

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "evenkeel", "sub": "plant-7", "exp": NOW_S + 600, "streams": ["imu/*"]})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

async fn start_with(keys: &str, more: &[&str]) -> Server {
    let mut changes =
        vec!["jwt.issuer=https://issuer.example", "jwt.audience=evenkeel", "jwt.leeway=0ms", keys];
    changes.extend(more);
    start(&changes).await
}

/// A key set in a file.
struct KeyFile(tempfile::TempDir);

impl KeyFile {
    fn new(keys: &[&SigningKey]) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        std::fs::write(file.0.path().join("keys.json"), key_set(keys)).unwrap();
        file
    }

    fn setting(&self) -> String {
        format!("jwt.jwks-file={}", self.0.path().join("keys.json").display())
    }
}

async fn send(server: &Server, token: &str) -> Reply {
    let header = format!("authorization: Bearer {token}\r\n");
    post_with(server.address, "/v1/streams/imu/1/events", JSON, &header, r#"{"ts":1}"#).await
}

/// Refused with 401, and with these words.
async fn refused(server: &Server, token: &str, words: &str) {
    let reply = send(server, token).await;
    assert_eq!((reply.status, &*reply.slug()), (401, "unauthenticated"), "{words}");
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(text.contains(words), "{words}: {text}");
    let secret = token.rsplit('.').next().filter(|part| part.len() > 8);
    assert!(secret.is_none_or(|part| !text.contains(part)), "the answer shows the token: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_every_kind_of_key_write_their_streams() {
    let keys = [SigningKey::rsa("rsa"), SigningKey::ec("ec"), SigningKey::ed("ed")];
    let file = KeyFile::new(&keys.iter().collect::<Vec<_>>());
    let server = start_with(&file.setting(), &[]).await;
    for key in &keys {
        let token = key.token(&claims());
        for _ in 0..2 {
            assert_eq!(send(&server, &token).await.status, 200, "the second time from the table");
        }
        let header = format!("authorization: Bearer {token}\r\n");
        let reply =
            post_with(server.address, "/v1/streams/bowl/1/events", JSON, &header, r#"{"ts":1}"#).await;
        assert_eq!((reply.status, &*reply.slug()), (403, "forbidden"));
        assert!(reply.json()["detail"].as_str().unwrap().contains("plant-7"));
        let several = with("aud", json!(["other", "evenkeel"]));
        assert_eq!(send(&server, &key.token(&several)).await.status, 200);
        assert_eq!(send(&server, &key.token(&with("streams", json!("bowl/* imu/1")))).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_token_is_said_precisely() {
    let (key, other) = (SigningKey::ed("a"), SigningKey::ed("a"));
    let file = KeyFile::new(&[&key]);
    let server = start_with(&file.setting(), &[]).await;
    let audience = "it is for another audience";
    for (token, words) in [
        (key.token(&with("exp", json!(NOW_S - 5))), "it expired 5 s ago"),
        (key.token(&with("nbf", json!(NOW_S + 60))), "not valid yet, for another 60 s"),
        (key.token(&with("aud", json!("somebody"))), audience),
        (key.token(&with("aud", json!(["somebody", "else"]))), audience),
        (key.token(&with("iss", json!("https://evil.example"))), "its issuer (iss) is another"),
        (key.token(&with("streams", json!([]))), "its claim `streams`"),
        (key.token(&with("sub", Value::Null)), "its claim `sub`"),
        (key.token(&with("exp", Value::Null)), "its claim `exp` is missing"),
        (key.token(&with("aud", Value::Null)), "its claim `aud` is missing"),
        (SigningKey::ed("b").token(&claims()), "a key that the issuer's key set does not have"),
        (other.token(&claims()), "its signature is wrong"),
        (format!("{}x", key.token(&claims())), "base64url"),
        ("a.b.c".into(), "no JWT of three parts"),
        ("wearables-0123456789".into(), "the token is not known"),
    ] {
        refused(&server, &token, words).await;
    }
    // Claims of one token under the signature of another.
    let (good, greedy) = (key.token(&claims()), key.token(&with("streams", json!(["*"]))));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let spliced = [&parts(&good)[0], &parts(&greedy)[1], &parts(&good)[2]].map(String::as_str).join(".");
    refused(&server, &spliced, "its signature is wrong").await;
    let critical = json!({"alg": "EdDSA", "kid": "a", "crit": ["b64"], "b64": false});
    refused(&server, &key.token_with(&critical, &claims()), "critical extensions").await;
    let counted = |reason| server.metrics.counter(&CREDENTIALS_REFUSED, [reason]).get();
    assert_eq!((counted("expired"), counted("unknown_key"), counted("unknown")), (1, 1, 1));
    assert!(server.log.records().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_does_not_choose_how_it_is_verified() {
    let key = SigningKey::rsa("a");
    let file = KeyFile::new(&[&key]);
    let server = start_with(&file.setting(), &[]).await;
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let message = unsigned(&json!({"alg": name, "kid": "a"}), &claims());
        for signature in ["", "AAAA"] {
            refused(&server, &format!("{message}.{signature}"), "RS256, ES256, EdDSA").await;
        }
    }
    // The public key as if it were a shared secret, in every form an attacker might try.
    let message = unsigned(&json!({"alg": "HS256", "kid": "a"}), &claims());
    let rsa = key.key.rsa().unwrap();
    let forms = [
        key.key.public_key_to_pem().unwrap(),
        key.key.public_key_to_der().unwrap(),
        rsa.public_key_to_pem_pkcs1().unwrap(),
        rsa.n().to_vec(),
        key_set(&[&key]).into_bytes(),
    ];
    for secret in forms {
        let secret = PKey::hmac(&secret).unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &secret).unwrap();
        let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
        refused(&server, &format!("{message}.{}", base64(&signature)), "its algorithm is none of").await;
    }
    // A key of one's own in the header, or the name of another kind of key.
    let own = SigningKey::ed("own");
    let header = json!({"alg": "EdDSA", "kid": "own", "jwk": own.public(), "jku": "http://evil.example/"});
    refused(&server, &own.token_with(&header, &claims()), "key set does not have").await;
    refused(&server, &own.token_with(&json!({"alg": "EdDSA", "kid": "a"}), &claims()), "does not have").await;
    refused(&server, &own.token_with(&json!({"alg": "RS256", "kid": "a"}), &claims()), "signature is wrong")
        .await;
    // RS384 is real, but not among what the operator allows.
    refused(&server, &key.token_with(&json!({"alg": "RS384", "kid": "a"}), &claims()), "is none of").await;
    assert!(server.log.records().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captured_token_is_worth_nothing_after_its_expiry() {
    let key = SigningKey::ec("a");
    let file = KeyFile::new(&[&key]);
    let server = start_with(&file.setting(), &[]).await;
    let token = key.token(&claims());
    assert_eq!(send(&server, &token).await.status, 200);
    server.clock.store(NOW_MS + 599_999, Ordering::SeqCst);
    assert_eq!(send(&server, &token).await.status, 200);
    server.clock.store(NOW_MS + 600_000, Ordering::SeqCst);
    refused(&server, &token, "it expired 0 s ago").await;
    assert_eq!(send(&server, &key.token(&with("exp", json!(NOW_S + 601)))).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_its_token_after_the_batches_under_way() {
    let key = SigningKey::ed("a");
    let file = KeyFile::new(&[&key]);
    let server = start_with(&file.setting(), &[]).await;
    let bearer = format!("Bearer {}", key.token(&with("streams", json!(["*"]))));
    let mut client = Client::open_with(server.address, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(client.json().await["type"], "hello");
    server.log.set(Mode::Hold);
    client.send(&batch(1, 0..3)).await;
    until("it is at the log", || server.log.records().len() == 1).await;
    server.clock.store(NOW_MS + 600_000, Ordering::SeqCst);
    client.send(&batch(2, 3..5)).await;
    server.log.release();
    let answer = client.json().await;
    assert_eq!((&answer["type"], &answer["id"]), (&"ack".into(), &1.into()));
    let (code, reason) = client.goodbye().await;
    assert_eq!((code, &*reason), (CloseCode::Policy, "the credential has expired"));
    assert_eq!(server.log.records().len(), 1, "nothing after the expiry");
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_socket_ends_with_its_token_by_its_own_timer() {
    let key = SigningKey::ed("a");
    let file = KeyFile::new(&[&key]);
    let server = start_with(&file.setting(), &[]).await;
    // A hundredth of a second is left, by the arrival clock and by the timer alike.
    let bearer = format!("Bearer {}", key.token(&claims()));
    server.clock.store(NOW_MS + 599_990, Ordering::SeqCst);
    let mut client = Client::open_with(server.address, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(client.json().await["type"], "hello");
    server.clock.store(NOW_MS + 600_000, Ordering::SeqCst);
    assert_eq!(client.goodbye().await.0, CloseCode::Policy);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (SigningKey::ed("old"), SigningKey::ed("new"));
    let issuer = KeyServer::start(&[&old]).await;
    let server = start_with(&issuer.setting(), &["jwt.refresh=1h", "jwt.refresh-min=1ms"]).await;
    let reloads = |outcome| server.metrics.counter(&RELOADS, ["keys", outcome]).get();
    until("the first keys are there", || reloads("good") == 1).await;
    let (first, second) = (old.token(&claims()), new.token(&claims()));
    assert_eq!(send(&server, &first).await.status, 200);
    refused(&server, &second, "key set does not have").await;
    until("they were fetched again", || reloads("good") >= 2).await;
    issuer.answer(200, &key_set(&[&new]));
    let mut rounds = 0;
    while send(&server, &second).await.status != 200 {
        rounds += 1;
        assert!(rounds < 10_000, "the new key never came");
    }
    refused(&server, &first, "key set does not have").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_away_costs_nothing_until_its_keys_are_too_old() {
    let key = SigningKey::ed("a");
    let issuer = KeyServer::start(&[&key]).await;
    issuer.answer(500, "");
    let more = ["jwt.refresh=1ms", "jwt.refresh-min=1ms", "jwt.trust-max=5m"];
    let server = start_with(&issuer.setting(), &more).await;
    let reloads = |outcome| server.metrics.counter(&RELOADS, ["keys", outcome]).get();
    let token = key.token(&claims());
    // Before the first keys: nothing is wrong with the client.
    let reply = send(&server, &token).await;
    assert_eq!((reply.status, &*reply.slug()), (503, "keys-unavailable"));
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    issuer.answer(200, &key_set(&[&key]));
    until("the keys are there", || reloads("good") > 0).await;
    assert_eq!(send(&server, &token).await.status, 200);
    let bearer = format!("Bearer {token}");
    let mut client = Client::open_with(server.address, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(client.json().await["type"], "hello");
    let huge = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300_000));
    for (status, body) in [(500, ""), (302, ""), (200, "{"), (200, "{\"keys\": []}"), (200, &huge)] {
        issuer.answer(status, body);
        let (asked, failed) = (issuer.asked(), reloads("failed"));
        until("this answer was refused", || issuer.asked() > asked + 1 && reloads("failed") > failed + 1)
            .await;
        assert_eq!(send(&server, &token).await.status, 200, "{status} {body:.20}");
    }
    server.clock.store(NOW_MS + 300_001, Ordering::SeqCst);
    assert_eq!(send(&server, &token).await.slug(), "keys-unavailable");
    assert_eq!(client.goodbye().await.0, CloseCode::Policy, "open connections too");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_over_tls_from_an_issuer_whose_certificate_is_good_only() {
    let (key, authority) = (SigningKey::ec("a"), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    authority.write(&directory.path().join("ca.pem"));
    let ca_file = format!("jwt.jwks-ca-file={}", directory.path().join("ca.pem").display());
    let more = [ca_file.as_str(), "jwt.refresh-min=1ms"];
    let good = authority.issue("issuer", &["localhost"]);
    let impostors =
        [Authority::new().issue("issuer", &["localhost"]), authority.issue("issuer", &["elsewhere"])];
    for (pair, want) in impostors.iter().map(|pair| (pair, 503)).chain([(&good, 200)]) {
        let issuer = KeyServer::start_tls(&[&key], pair).await;
        let server = start_with(&issuer.secure_setting(), &more).await;
        let outcome = if want == 200 { "good" } else { "failed" };
        until("a fetch ended", || server.metrics.counter(&RELOADS, ["keys", outcome]).get() > 0).await;
        assert_eq!(send(&server, &key.token(&claims())).await.status, want);
        server.stop().await;
    }
}
