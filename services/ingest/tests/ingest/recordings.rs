//! Recordings over real sockets: resumed uploads, ranges of what still arrives, every refusal.

use crate::client::{Connection, DEADLINE, Reply};
use crate::server::{Server, start, until};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const PATH: &str = "/v1/streams/imu%2F7/recordings/walk";

/// A server with recordings in a directory of the test's.
pub async fn serve(dir: &TempDir, changes: &[&str]) -> Server {
    let dir = format!("recordings.dir={}", dir.path().join("recordings").display());
    start(&[&[dir.as_str(), "recordings.disk-reserve=0B"], changes].concat()).await
}

/// One request on a connection of its own.
pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut connection = Connection::open(address).await;
    send(&mut connection, method, path, headers, body).await;
    connection.reply_to(method).await.expect("an answer")
}

async fn send(connection: &mut Connection, method: &str, path: &str, headers: &str, body: &[u8]) {
    let length = match method {
        "PUT" | "PATCH" | "POST" => format!("content-length: {}\r\n", body.len()),
        _ => String::new(),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n");
    connection.send(&[head.as_bytes(), body].concat()).await;
}

/// Bytes that are not the same at any two places near each other.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + i / 65_536) as u8).collect()
}

/// An upload of unknown length that a test feeds.
pub struct Feed(Connection);

impl Feed {
    pub async fn begin(address: SocketAddr, method: &str, headers: &str) -> Self {
        let mut connection = Connection::open(address).await;
        let head =
            format!("{method} {PATH} HTTP/1.1\r\nhost: x\r\n{headers}transfer-encoding: chunked\r\n\r\n");
        connection.send(head.as_bytes()).await;
        Self(connection)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        let size = format!("{:x}\r\n", bytes.len());
        self.0.send(&[size.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    pub async fn end(mut self) -> Reply {
        self.0.send(b"0\r\n\r\n").await;
        self.0.reply().await.unwrap()
    }
}

async fn offset(address: SocketAddr) -> (u64, String) {
    let reply = ask(address, "HEAD", PATH, "", b"").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let offset = reply.header("upload-offset").unwrap().parse().unwrap();
    (offset, reply.header("upload-complete").unwrap().to_owned())
}

/// Waits until so many bytes are there; at first there may be no recording.
pub async fn arrives(address: SocketAddr, bytes: u64) {
    let begun = Instant::now();
    let want = bytes.to_string();
    while ask(address, "HEAD", PATH, "", b"").await.header("upload-offset") != Some(want.as_str()) {
        assert!(begun.elapsed() < DEADLINE, "not {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_at_once_is_read_in_any_part() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let (address, all) = (server.address, content(300_000));
    let put = ask(address, "PUT", PATH, "content-type: video/mp4\r\n", &all).await;
    assert_eq!((put.status, put.header("upload-offset")), (201, Some("300000")));
    assert_eq!(put.header("upload-complete"), Some("?1"));
    let etag = put.header("etag").unwrap().to_owned();

    let get = ask(address, "GET", PATH, "", b"").await;
    assert_eq!(
        (get.status, get.header("content-type"), get.header("etag")),
        (200, Some("video/mp4"), Some(&*etag))
    );
    assert_eq!(
        (get.header("accept-ranges"), get.header("x-content-type-options")),
        (Some("bytes"), Some("nosniff"))
    );
    let policy = get.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox allow-same-origin; default-src 'none';"), "no script runs: {policy}");
    assert_eq!(get.body, all);
    let head = ask(address, "HEAD", PATH, "", b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("300000"), 0));

    for (range, want, part) in [
        ("0-99", "bytes 0-99/300000", &all[..100]),
        ("299990-", "bytes 299990-299999/300000", &all[299_990..]),
        ("299990-400000", "bytes 299990-299999/300000", &all[299_990..]),
        ("-7", "bytes 299993-299999/300000", &all[299_993..]),
        ("100-199999", "bytes 100-199999/300000", &all[100..200_000]),
    ] {
        let reply = ask(address, "GET", PATH, &format!("range: bytes={range}\r\n"), b"").await;
        assert_eq!((reply.status, reply.header("content-range")), (206, Some(want)), "{range}");
        assert!(reply.body == part, "{range}");
        assert_eq!(reply.header("content-length"), Some(&*part.len().to_string()), "{range}");
    }
    let beyond = ask(address, "GET", PATH, "range: bytes=300000-\r\n", b"").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */300000")));
    assert_eq!(beyond.slug(), "range-not-satisfiable");
    let many = format!("range: bytes={}\r\n", ["0-0"; 17].join(","));
    assert_eq!(ask(address, "GET", PATH, &many, b"").await.status, 416);

    let same = ask(address, "GET", PATH, &format!("range: bytes=0-9\r\nif-range: {etag}\r\n"), b"").await;
    assert_eq!((same.status, same.body.len()), (206, 10));
    for other in ["\"another\"", "Sat, 01 Mar 2025 12:00:00 GMT"] {
        let reply =
            ask(address, "GET", PATH, &format!("range: bytes=0-9\r\nif-range: {other}\r\n"), b"").await;
        assert_eq!((reply.status, reply.body.len()), (200, 300_000), "{other}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_come_as_parts() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let all = content(1_000);
    ask(server.address, "PUT", PATH, "content-type: text/plain\r\n", &all).await;
    let reply = ask(server.address, "GET", PATH, "range: bytes=10-19, 5000-, -5, 0-0\r\n", b"").await;
    assert_eq!(reply.status, 206);
    let kind = reply.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut want = Vec::new();
    for (range, part) in [("10-19", &all[10..20]), ("995-999", &all[995..]), ("0-0", &all[..1])] {
        let head = format!(
            "\r\n--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes {range}/1000\r\n\r\n"
        );
        want.extend_from_slice(head.as_bytes());
        want.extend_from_slice(part);
    }
    want.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(&reply.body), String::from_utf8_lossy(&want));
    let none = ask(server.address, "GET", PATH, "range: bytes=2000-2001,3000-\r\n", b"").await;
    assert_eq!(none.status, 416);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let (address, all) = (server.address, content(200_000));
    let mut first = Feed::begin(address, "PUT", "").await;
    first.send(&all[..70_000]).await;
    arrives(address, 70_000).await;
    drop(first); // the connection breaks
    assert_eq!(offset(address).await, (70_000, "?0".into()));

    // Not from anywhere else, and not anew.
    for at in [0, 69_999, 70_001, u64::MAX] {
        let reply = ask(address, "PATCH", PATH, &format!("upload-offset: {at}\r\n"), b"xyz").await;
        assert_eq!((reply.status, reply.slug().as_str()), (409, "offset-mismatch"), "{at}");
        assert_eq!(reply.header("upload-offset"), Some("70000"), "{at}");
    }
    assert_eq!(ask(address, "PUT", PATH, "", &all).await.slug(), "offset-mismatch");
    for headers in ["", "upload-offset: x\r\n", "upload-offset: 70000\r\nupload-complete: yes\r\n"] {
        let reply = ask(address, "PATCH", PATH, headers, b"").await;
        assert_eq!((reply.status, reply.slug().as_str()), (400, "bad-upload"), "{headers:?}");
    }

    let part =
        ask(address, "PATCH", PATH, "upload-offset: 70000\r\nupload-complete: ?0\r\n", &all[70_000..90_000])
            .await;
    assert_eq!(
        (part.status, part.header("upload-offset"), part.header("upload-complete")),
        (204, Some("90000"), Some("?0"))
    );
    let rest = ask(address, "PATCH", PATH, "upload-offset: 90000\r\n", &all[90_000..]).await;
    assert_eq!((rest.status, rest.header("upload-complete")), (204, Some("?1")));
    assert!(ask(address, "GET", PATH, "", b"").await.body == all);

    let more = ask(address, "PATCH", PATH, "upload-offset: 200000\r\n", b"more").await;
    assert_eq!(
        (more.status, more.slug().as_str(), more.header("upload-offset")),
        (409, "recording-finished", Some("200000"))
    );
    assert_eq!(ask(address, "PUT", PATH, "", b"other").await.slug(), "recording-finished");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_here_is_read_while_the_rest_arrives() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let (address, all) = (server.address, content(150_000));
    let mut feed = Feed::begin(address, "PUT", "").await;
    feed.send(&all[..100_000]).await;
    arrives(address, 100_000).await;

    let here = ask(address, "GET", PATH, "range: bytes=50000-50009\r\n", b"").await;
    assert_eq!((here.status, here.header("content-range")), (206, Some("bytes 50000-50009/*")));
    assert_eq!(here.body, &all[50_000..50_010]);
    let so_far = ask(address, "GET", PATH, "range: bytes=99000-\r\n", b"").await;
    assert_eq!((so_far.header("content-range"), so_far.body.len()), (Some("bytes 99000-99999/*"), 1_000));

    // These wait: for all of it, for a part that straddles, for one ahead, for the end, for several.
    let mut waiting = Vec::new();
    for (range, status, want) in [
        ("bytes=0-", 200, &all[..]),
        ("bytes=99990-120000", 206, &all[99_990..120_001]),
        ("bytes=140000-9007199254740991", 206, &all[140_000..]),
        ("bytes=-10", 206, &all[149_990..]),
        ("bytes=130000-130009", 206, &all[130_000..130_010]),
    ] {
        let mut reader = Connection::open(address).await;
        send(&mut reader, "GET", PATH, &format!("range: {range}\r\n"), b"").await;
        waiting.push((reader, range, status, want.to_vec()));
    }
    let mut several = Connection::open(address).await;
    send(&mut several, "GET", PATH, "range: bytes=0-0,149999-\r\n", b"").await;
    feed.send(&all[100_000..]).await;
    assert_eq!(feed.end().await.status, 201);
    for (mut reader, range, status, want) in waiting {
        let reply = reader.reply().await.unwrap();
        assert_eq!(reply.status, status, "{range}");
        assert!(reply.body == want, "{range}: {} of {} bytes", reply.body.len(), want.len());
    }
    assert_eq!(several.reply().await.unwrap().status, 206);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_what_nobody_sends_is_told() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.idle-timeout=300ms"]).await;
    let address = server.address;
    ask(address, "PUT", PATH, "upload-complete: ?0\r\n", b"half").await;
    let reply = ask(address, "GET", PATH, "range: bytes=4-9\r\n", b"").await;
    assert_eq!((reply.status, reply.slug().as_str()), (409, "recording-unfinished"));
    assert_eq!(reply.header("upload-offset"), Some("4"));
    // It can go on all the same, and be silent for too long.
    let mut feed = Feed::begin(address, "PATCH", "upload-offset: 4\r\n").await;
    feed.send(b"more").await;
    let slow = feed.0.reply().await.unwrap();
    assert_eq!((slow.status, slow.slug().as_str()), (408, "slow-body"));
    assert_eq!(offset(address).await, (8, "?0".into()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_refuse_and_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let limits = [
        "recordings.disk-max=100000B",
        "recordings.size-max=90000B",
        "recordings.count-max=2",
        "recordings.transfers-max=1",
    ];
    let server = serve(&dir, &limits).await;
    let (address, all) = (server.address, content(80_000));
    let too_large = ask(address, "PUT", PATH, "", &content(90_001)).await;
    assert_eq!((too_large.status, too_large.slug().as_str()), (413, "too-large"));
    assert_eq!(ask(address, "PUT", PATH, "", &all).await.status, 201);

    let second = "/v1/streams/imu/recordings/b";
    let full = ask(address, "PUT", second, "", &all).await;
    assert_eq!((full.status, full.slug().as_str()), (507, "spool-full"));
    let third = ask(address, "PUT", "/v1/streams/imu/recordings/c", "", b"").await;
    assert_eq!((third.status, third.slug().as_str()), (507, "spool-full"));

    use evenkeel_telemetry::names::ingest;
    let refused = |limit| server.metrics.counter(&ingest::RECORDINGS_REFUSED, [limit]).get();
    assert_eq!((refused("disk"), refused("count")), (1, 1));

    // One transfer at a time: another is told to come back.
    let mut feed = Connection::open(address).await;
    let got = ask(address, "HEAD", second, "", b"").await;
    let at: usize = got.header("upload-offset").unwrap().parse().unwrap();
    assert!(at < 20_000, "what fitted stays: {at}");
    let head =
        format!("PATCH {second} HTTP/1.1\r\nhost: x\r\nupload-offset: {at}\r\ncontent-length: 80000\r\n\r\n");
    feed.send(head.as_bytes()).await;
    let begun = Instant::now();
    let busy = loop {
        let reply = ask(address, "GET", PATH, "range: bytes=0-0\r\n", b"").await;
        if reply.status != 206 {
            break reply;
        }
        assert!(begun.elapsed() < DEADLINE);
    };
    assert_eq!((busy.status, busy.slug().as_str()), (503, "busy"));
    assert!(busy.header("retry-after").is_some());
    drop(feed);

    // Room is made by removing, and the upload goes on.
    let begun = Instant::now();
    while ask(address, "GET", PATH, "", b"").await.status == 503 {
        assert!(begun.elapsed() < DEADLINE);
    }
    assert_eq!(ask(address, "DELETE", PATH, "", b"").await.status, 204);
    assert_eq!(ask(address, "GET", PATH, "", b"").await.slug(), "not-found");
    let rest = ask(address, "PATCH", second, &format!("upload-offset: {at}\r\n"), &all[at..]).await;
    assert_eq!(rest.status, 204, "{rest:?}");
    assert!(ask(address, "GET", second, "", b"").await.body == all);
    let gauge = |name| server.metrics.gauge(name, []).get();
    let files = dir.path().join("recordings").read_dir().unwrap().map(|entry| entry.unwrap());
    let sizes: u64 = files
        .filter(|file| !file.file_name().to_string_lossy().ends_with(".about"))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert_eq!(gauge(&ingest::RECORDINGS_DISK), sizes as f64, "the quota is what is on disk");
    assert_eq!((gauge(&ingest::RECORDINGS), gauge(&ingest::RECORDINGS_DISK_LIMIT)), (1.0, 100_000.0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_recordings_than_may_be_open_take_turns() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &["recordings.open-max=1"]).await;
    let address = server.address;
    for id in ["a", "b", "c"] {
        let put = ask(address, "PUT", &format!("/v1/streams/s/recordings/{id}"), "", id.as_bytes()).await;
        assert_eq!(put.status, 201);
    }
    for id in ["a", "b", "c", "a"] {
        assert_eq!(
            ask(address, "GET", &format!("/v1/streams/s/recordings/{id}"), "", b"").await.body,
            id.as_bytes()
        );
    }
    let mut feed = Feed::begin(address, "PUT", "").await;
    feed.send(b"x").await;
    arrives(address, 1).await;
    let refused = ask(address, "GET", "/v1/streams/s/recordings/a", "", b"").await;
    assert_eq!((refused.status, refused.slug().as_str()), (503, "busy"));
    assert_eq!(feed.end().await.status, 201);
    assert_eq!(ask(address, "GET", "/v1/streams/s/recordings/a", "", b"").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_refusal_has_its_status() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let address = server.address;
    for (method, path, headers, status, slug) in [
        ("GET", PATH, "", 404, "not-found"),
        ("PATCH", PATH, "upload-offset: 0\r\n", 404, "not-found"),
        ("DELETE", PATH, "", 404, "not-found"),
        ("POST", PATH, "", 405, "method-not-allowed"),
        ("GET", "/v1/streams/s/recordings/a/ingest", "", 405, "method-not-allowed"),
        ("PUT", "/v1/streams/s/recordings/..", "", 400, "bad-recording-id"),
        ("PUT", "/v1/streams/s/recordings/a%zz", "", 400, "bad-recording-id"),
        ("PUT", "/v1/streams/s%00/recordings/a", "", 400, "bad-stream-id"),
        ("PUT", PATH, "content-encoding: gzip\r\n", 415, "unsupported-media-type"),
        ("GET", "/v1/streams/s/recordings/a/other", "", 404, "not-found"),
    ] {
        let reply = ask(address, method, path, headers, b"").await;
        assert_eq!((reply.status, reply.slug().as_str()), (status, slug), "{method} {path}");
    }
    let other = ask(address, "POST", PATH, "", b"").await;
    assert_eq!(other.header("allow"), Some("PUT, PATCH, HEAD, GET, DELETE"));
    let off = start(&[]).await;
    assert_eq!(ask(off.address, "PUT", PATH, "", b"x").await.slug(), "not-found");
    off.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_write_the_stream_may_read_its_recordings() {
    let dir = TempDir::new().unwrap();
    let tokens = dir.path().join("tokens.toml");
    std::fs::write(
        &tokens,
        "[[credential]]\nname = \"imu\"\ntoken = \"imu-0123456789abcdef\"\nstreams = [\"imu/*\"]\n",
    )
    .unwrap();
    let server = serve(&dir, &[&format!("tokens-file={}", tokens.display())]).await;
    let token = "authorization: Bearer imu-0123456789abcdef\r\n";
    assert_eq!(ask(server.address, "PUT", PATH, token, b"mine").await.status, 201);
    for method in ["PUT", "PATCH", "HEAD", "GET", "DELETE"] {
        assert_eq!(ask(server.address, method, PATH, "", b"").await.status, 401, "{method}");
        let foreign = ask(server.address, method, "/v1/streams/bowl/recordings/walk", token, b"").await;
        assert_eq!(foreign.status, 403, "{method}");
    }
    assert_eq!(ask(server.address, "GET", PATH, token, b"").await.body, b"mine");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_what_was_sent() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    ask(server.address, "PUT", PATH, "content-type: text/csv\r\nupload-complete: ?0\r\n", b"ts,x\n1,").await;
    let etag = ask(server.address, "HEAD", PATH, "", b"").await.header("etag").unwrap().to_owned();
    server.stop().await;
    let server = serve(&dir, &[]).await;
    assert_eq!(offset(server.address).await, (7, "?0".into()));
    assert_eq!(ask(server.address, "PATCH", PATH, "upload-offset: 7\r\n", b"2\n").await.status, 204);
    let reply = ask(server.address, "GET", PATH, "", b"").await;
    assert_eq!(
        (reply.body.as_slice(), reply.header("content-type")),
        (&b"ts,x\n1,2\n"[..], Some("text/csv"))
    );
    assert_eq!(reply.header("etag"), Some(&*etag));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_uploads_resumes_and_reads_ranges() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let (all, file) = (content(400_000), dir.path().join("walk.bin"));
    std::fs::write(&file, &all).unwrap();
    let url = format!("http://{}{PATH}", server.address);
    let curl = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        async move {
            let run = move || Command::new("curl").args(["-sSf"]).args(&arguments).output();
            let output = tokio::task::spawn_blocking(run).await.unwrap().expect("curl is installed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        }
    };
    curl(&["-T", file.to_str().unwrap(), "-H", "transfer-encoding: chunked", &url]).await;
    assert!(curl(&[&url]).await == all);
    assert_eq!(curl(&["-r", "1000-1999", &url]).await, &all[1_000..2_000]);
    assert_eq!(curl(&["-r", "-50", &url]).await, &all[399_950..]);
    let copy = dir.path().join("copy.bin");
    std::fs::write(&copy, &all[..150_000]).unwrap();
    curl(&["-C", "-", "-o", copy.to_str().unwrap(), &url]).await;
    assert!(std::fs::read(&copy).unwrap() == all, "a download that broke off is completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_cut_by_the_end_of_the_server_and_kept() {
    let dir = TempDir::new().unwrap();
    let server = serve(&dir, &[]).await;
    let address = server.address;
    let mut feed = Feed::begin(address, "PUT", "").await;
    feed.send(&content(1_000)).await;
    arrives(address, 1_000).await;
    server.stop().await;
    let server = serve(&dir, &[]).await;
    assert_eq!(offset(server.address).await, (1_000, "?0".into()));
    until("nothing is transferred", || {
        server.metrics.gauge(&evenkeel_telemetry::names::ingest::RECORDINGS_MEMORY, []).get() == 0.0
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), server.stop()).await.unwrap();
}
