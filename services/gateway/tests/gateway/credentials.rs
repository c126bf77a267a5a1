//! Who may look at what, and for how long.

use crate::client::Client;
use crate::frames::alert;
use crate::keys::Issuer;
use crate::server::{Server, telemetry, wait_for};
use evenkeel_auth::Transport;
use evenkeel_model::{Alert, AlertAction};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;

const BOWLS: &str = "bowls-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";
const FILE: &str = r#"
    [[credential]]
    name = "bowls"
    token = "bowls-0123456789abcdef"
    streams = ["bowl/*"]

    [[credential]]
    name = "ada"
    token = "operator-0123456789abcdef"
    streams = ["*"]
    permissions = ["fleet", "alerts"]
"#;

/// A gateway whose credentials are in a file.
struct Filed {
    directory: tempfile::TempDir,
    server: Server,
}

impl Filed {
    async fn start() -> Self {
        Self::with(FILE).await
    }

    async fn with(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        let path = format!("'{}'", path.display());
        let server = Server::start(&[("tokens-file", path.as_str()), ("reload.every", "'10ms'")]).await;
        Self { directory, server }
    }

    /// Another text in the file's place, in one step, as a mounted secret changes.
    fn change(&self, text: &str) {
        let path = |name| self.directory.path().join(name);
        std::fs::write(path("next.toml"), text).unwrap();
        std::fs::rename(path("next.toml"), path("tokens.toml")).unwrap();
    }
}

/// A gateway that takes the tokens of an issuer.
async fn issued(issuer: &Issuer) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::fs::write(&path, issuer.key_set()).unwrap();
    let path = format!("'{}'", path.display());
    let server = Server::start(&[
        ("jwt.issuer", "'https://issuer.example'"),
        ("jwt.audience", "'screens'"),
        ("jwt.jwks-file", path.as_str()),
        ("jwt.leeway", "'0s'"),
        // A clock that is set is noticed when something is looked at.
        ("connection.ping-every", "'100ms'"),
    ])
    .await;
    (directory, server)
}

fn now_s() -> i64 {
    evenkeel_gateway::system_clock()() / 1000
}

async fn ended(client: &mut Client) -> Vec<(u64, String)> {
    let complete = client.hear_type("complete").await;
    let one = |end: &Value| (end["id"].as_u64().unwrap(), end["reason"].as_str().unwrap().to_owned());
    complete["ended"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn a_wrong_token_opens_nothing() {
    let filed = Filed::start().await;
    let server = &filed.server;
    for token in ["", "guessed-0123456789abcdef", "bowls-0123456789abcdeg", "a.b.c"] {
        assert_eq!(Client::with_token(server.address, token).await.1, Err(4501), "{token}");
    }
    let mut silent = Client::open(server.address, Some("evenkeel.v1.json"), None).await;
    assert_eq!(silent.init(None).await, Err(4501));
    assert!(server.value("evenkeel_gateway_credentials_refused_total{reason=\"unknown\"}") >= 4.0);
    let closes = "evenkeel_gateway_closes_total{reason=\"credential_refused\"} 5";
    wait_for("all five to be counted", || server.metric(closes)).await;
    for path in ["/v1/live/events?topic=device%2Fbowl%252F7%2Fstatus", "/debug/topics"] {
        let refused = server.get(path).await;
        assert!(
            refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Bearer"),
            "{refused}"
        );
    }
    assert!(server.get("/").await.starts_with("HTTP/1.1 200"), "the pages ask for the token");
    let (_, answer) = Client::with_token(server.address, BOWLS).await;
    let ack = answer.unwrap();
    assert_eq!(ack["type"], "connection_ack");
    assert!(ack.get("expires_in_ms").is_none(), "it ends when it leaves the file");
    // A client that can set headers needs no token in its first message.
    let stream = Transport::Plain(TcpStream::connect(server.address).await.unwrap());
    let header = ("authorization", "Bearer bowls-0123456789abcdef");
    let mut headed = Client::over(stream, server.address, Some("evenkeel.v1.json"), Some(header)).await;
    assert_eq!(headed.init(None).await.unwrap()["type"], "connection_ack");
    filed.server.stopped().await;
}

#[tokio::test]
async fn a_credential_opens_its_topics_only() {
    let filed = Filed::start().await;
    let server = &filed.server;
    let topics = [
        "device/bowl%2F7/telemetry",
        "device/imu%2F1/telemetry",
        "device/imu%2F1/windows/5s",
        "device/imu%2F1/status",
        "device/bowl%2F7/alerts",
        "fleet/summary",
        "fleet/devices",
        "user/bowls/notifications",
    ];
    let wishes: Vec<Value> =
        topics.iter().enumerate().map(|(n, topic)| json!({"id": n + 1, "topic": topic})).collect();
    let subscribe = json!({"type": "subscribe", "subscriptions": wishes});
    let (mut client, answer) = Client::with_token(server.address, BOWLS).await;
    answer.unwrap();
    client.say(subscribe.clone()).await;
    let all: Vec<(u64, String)> = (2..=8).map(|id| (id, "forbidden".to_owned())).collect();
    assert_eq!(ended(&mut client).await, all);
    server.wait_interest("bowl/7", |interest| !interest.wants.is_empty()).await;
    assert!(
        server.interests.lock().unwrap().iter().all(|one| one.stream_id == "bowl/7"),
        "nothing else is asked for"
    );
    let (mut operator, answer) = Client::with_token(server.address, OPERATOR).await;
    answer.unwrap();
    operator.say(subscribe).await;
    assert_eq!(ended(&mut operator).await, [(8, "forbidden".to_owned())], "another user");
    let sse = |device: &str| format!("/v1/live/events?topic=device%2F{device}%252F7%2Fstatus");
    let refused = server.get_as(&sse("imu"), "authorization: Bearer bowls-0123456789abcdef\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("does not cover imu/7"), "{refused}");
    let debug = |token| server.get_as("/debug/topics", token);
    assert!(debug("authorization: Bearer bowls-0123456789abcdef\r\n").await.starts_with("HTTP/1.1 403"));
    assert!(debug("authorization: Bearer operator-0123456789abcdef\r\n").await.starts_with("HTTP/1.1 200"));
    filed.server.stopped().await;
}

#[tokio::test]
async fn a_user_is_told_of_the_streams_that_the_credential_covers() {
    let filed =
        Filed::with(&FILE.replace("[\"bowl/*\"]", "[\"bowl/*\"]\n    permissions = [\"alerts\"]")).await;
    let server = &filed.server;
    let (mut bowls, answer) = Client::with_token(server.address, BOWLS).await;
    answer.unwrap();
    let (mut ada, answer) = Client::with_token(server.address, OPERATOR).await;
    answer.unwrap();
    for (client, user) in [(&mut bowls, "bowls"), (&mut ada, "ada")] {
        client.subscribe(1, &format!("user/{user}/notifications")).await;
        assert_eq!(client.fragment(1).await["events"]["events"], json!([]));
    }
    let imu = Alert { stream_id: "imu/1".into(), ..alert(AlertAction::Raise) };
    server.alert(3, &imu);
    server.alert(4, &alert(AlertAction::Raise));
    let told = async |client: &mut Client, count: usize| {
        let mut streams = Vec::new();
        while streams.len() < count {
            let events = client.fragment(1).await["events"]["events"].clone();
            streams.extend(events.as_array().unwrap().iter().map(|event| event["data"]["stream_id"].clone()));
        }
        streams
    };
    assert_eq!(told(&mut ada, 2).await, ["imu/1", "bowl/7"]);
    assert_eq!(told(&mut bowls, 1).await, ["bowl/7"]);
    filed.server.stopped().await;
}

#[tokio::test]
async fn a_token_that_leaves_the_file_closes_its_connections() {
    let filed = Filed::start().await;
    let (mut client, answer) = Client::with_token(filed.server.address, BOWLS).await;
    answer.unwrap();
    let (mut stays, answer) = Client::with_token(filed.server.address, OPERATOR).await;
    answer.unwrap();
    filed.change(&FILE.replace("bowls-", "wolbs-"));
    assert_eq!(client.closed().await, 4001);
    assert_eq!(Client::with_token(filed.server.address, BOWLS).await.1, Err(4501));
    stays.say(json!({"type": "ping"})).await;
    stays.hear_type("pong").await;
    // A connection is closed as soon as the file is in force, the count follows.
    let reloads = "evenkeel_gateway_reloads_total{outcome=\"good\",what=\"credentials\"} 1";
    wait_for("the reload to be counted", || filed.server.metric(reloads)).await;
    filed.server.stopped().await;
}

#[tokio::test]
async fn a_token_that_expires_ends_its_connection_unless_it_is_refreshed() {
    let issuer = Issuer::new();
    let (_directory, server) = issued(&issuer).await;
    let token = |exp_s: i64, streams: &str, permissions: &str| {
        issuer.token(json!({"sub": "ada", "exp": exp_s, "streams": streams, "permissions": permissions}))
    };
    let hour = now_s() + 3600;
    let (mut lapses, answer) = Client::with_token(server.address, &token(hour, "*", "fleet")).await;
    let expires_in_ms = answer.unwrap()["expires_in_ms"].as_i64().unwrap();
    assert!((3_500_000..=3_600_000).contains(&expires_in_ms), "{expires_in_ms}");
    let (mut refreshed, answer) = Client::with_token(server.address, &token(hour, "*", "fleet")).await;
    answer.unwrap();
    for (id, topic) in [(1, "device/bowl%2F7/telemetry"), (2, "device/imu%2F1/status"), (3, "fleet/summary")]
    {
        refreshed.subscribe(id, topic).await;
    }
    server.wait_interest("imu/1", |interest| !interest.wants.is_empty()).await;
    // Within refresh-before of the end both are asked.
    server.ahead_ms.store(3_570_000, Ordering::SeqCst);
    for client in [&mut lapses, &mut refreshed] {
        let asked = client.hear_type("refresh").await;
        assert_eq!(asked["wanted"], true);
        assert!(asked["expires_in_ms"].as_u64().unwrap() <= 60_000, "{asked}");
    }
    // The new one covers less: what it does not cover ends, the rest goes on.
    refreshed.say(json!({"type": "refresh", "token": token(hour + 3600, "bowl/*", "")})).await;
    let lost: BTreeMap<u64, String> = ended(&mut refreshed).await.into_iter().collect();
    assert_eq!(lost.into_keys().collect::<Vec<_>>(), [2, 3]);
    let taken = refreshed.hear_type("refresh").await;
    assert_eq!(taken["wanted"], false);
    assert!(taken["expires_in_ms"].as_u64().unwrap() > 3_000_000, "{taken}");
    server.ahead_ms.store(3_601_000, Ordering::SeqCst);
    assert_eq!(lapses.closed().await, 4001);
    server.frame(&telemetry("bowl/7", 1, 1000, 412.5));
    let frame = refreshed.fragment(1).await["frame"].clone();
    assert_eq!(frame["state"]["series"]["weight"]["v"], json!([412.5]));
    assert_eq!(
        Client::with_token(server.address, &token(hour, "*", "")).await.1,
        Err(4001),
        "come with a new one"
    );
    refreshed.say(json!({"type": "refresh", "token": "guessed-0123456789abcdef"})).await;
    assert_eq!(refreshed.closed().await, 4501);
    server.stopped().await;
}

#[tokio::test]
async fn a_stream_of_events_ends_with_its_credential() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let issuer = Issuer::new();
    let (_directory, server) = issued(&issuer).await;
    let token = issuer.token(json!({"sub": "ada", "exp": now_s() + 3600, "streams": "bowl/*"}));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let path = "/v1/live/events?topic=device%2Fbowl%252F7%2Ftelemetry";
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    server.wait_interest("bowl/7", |interest| !interest.wants.is_empty()).await;
    server.ahead_ms.store(3_601_000, Ordering::SeqCst);
    let mut text = String::new();
    let read = async {
        let mut bytes = [0; 4096];
        while !text.ends_with("0\r\n\r\n") {
            let read = stream.read(&mut bytes).await.unwrap();
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    };
    tokio::time::timeout(crate::server::DEADLINE, read).await.expect("the stream's end");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    server.stopped().await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_the_servers_fault() {
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("'http://{closed}/keys'");
    let server = Server::start(&[
        ("jwt.issuer", "'https://issuer.example'"),
        ("jwt.audience", "'screens'"),
        ("jwt.jwks-url", url.as_str()),
    ])
    .await;
    let token = Issuer::new().token(json!({"sub": "a", "exp": now_s() + 60, "streams": "*"}));
    let (_, answer) = Client::with_token(server.address, &token).await;
    assert_eq!(answer, Err(4499), "come again with the same token");
    let header = format!("authorization: Bearer {token}\r\n");
    let refused = server.get_as("/debug/topics", &header).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: "), "{refused}");
    wait_for("the failed fetch", || {
        server.value("evenkeel_gateway_reloads_total{outcome=\"failed\",what=\"keys\"}") >= 1.0
    })
    .await;
    server.stopped().await;
}

#[tokio::test]
async fn without_credentials_it_listens_on_loopback_only() {
    let refused = Server::try_with(&[("listen", "'0.0.0.0:0'")], BTreeMap::new()).await.err().unwrap();
    assert!(
        refused.to_string().contains("without credentials would serve anybody: set `tokens-file`"),
        "{refused}"
    );
}
