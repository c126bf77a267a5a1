//! Ingest under a load that does not stop for it: killed at full speed, its broker frozen and away for minutes, and
//! every device back at once. Devices send a batch until it is acknowledged, then the next.

use crate::site::{DEADLINE, Service, Site, now_ms};
use crate::topics::batch;
use evenkeel_live::parts::kafka::LocalBroker;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream as TcpSocket;
use tokio::task::JoinSet;

/// Senders, each with streams of its own.
const SENDERS: usize = 16;
/// Streams of a sender, in turn: enough that none runs ahead of the clock.
const STREAMS: u64 = 64;
const BATCH_EVENTS: u64 = 100;
/// Memory that ingest may take on top while its broker is away.
const GROWTH_MAX: u64 = 96 << 20;

/// What the senders have seen.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    over: AtomicBool,
    /// Requests without an answer: their connection ended, or nothing came for 20 s.
    unanswered: AtomicU64,
}

/// Devices that send.
struct Load {
    seen: Arc<Seen>,
    /// Where ingest is now.
    address: Arc<Mutex<String>>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// `pause` after each acknowledgement.
    fn start(address: &str, pause: Duration) -> Self {
        let (seen, address) = (Arc::<Seen>::default(), Arc::new(Mutex::new(address.to_owned())));
        let start = now_ms() - 6 * 3_600_000;
        let sender = |n: usize| {
            let (seen, address) = (Arc::clone(&seen), Arc::clone(&address));
            std::thread::spawn(move || send(n, start, pause, &seen, &address))
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { seen, address, senders }
    }

    fn acknowledged(&self) -> u64 {
        self.seen.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for so many batches more.
    #[track_caller]
    fn more(&self, batches: u64) {
        let (want, began) = (self.acknowledged() + batches, Instant::now());
        while self.acknowledged() < want {
            assert!(began.elapsed() < DEADLINE, "{} of {want} batches acknowledged", self.acknowledged());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets every sender have its last acknowledgement; events acknowledged, and batches sent more than once.
    fn end(self) -> (u64, u64) {
        self.seen.over.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.join().unwrap();
        }
        let all = self.seen.acknowledged.load(Ordering::SeqCst) * BATCH_EVENTS;
        (all, self.seen.repeated.load(Ordering::SeqCst))
    }
}

/// One sender: a batch of each of its streams in turn, each until it is acknowledged.
fn send(sender: usize, start: i64, pause: Duration, seen: &Seen, address: &Mutex<String>) {
    let mut connection: Option<BufReader<TcpStream>> = None;
    for n in 0.. {
        if seen.over.load(Ordering::SeqCst) {
            return;
        }
        let (stream, first) = (format!("load/{sender}/{}", n % STREAMS), n / STREAMS * BATCH_EVENTS);
        let record = batch(&stream, start, first..first + BATCH_EVENTS, now_ms());
        let (mut tries, began) = (0, Instant::now());
        loop {
            let posted = post(&mut connection, address, &record);
            if matches!(posted, Ok(true)) {
                break;
            }
            tries += 1;
            seen.unanswered.fetch_add(u64::from(posted.is_err()), Ordering::SeqCst);
            assert!(began.elapsed() < 2 * DEADLINE, "never acknowledged: {stream} from {first}: {posted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        seen.repeated.fetch_add(u64::from(tries > 0), Ordering::SeqCst);
        seen.acknowledged.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(pause);
    }
}

/// Whether the whole batch was acknowledged; an error = nobody knows, and the connection is gone.
fn post(
    connection: &mut Option<BufReader<TcpStream>>,
    address: &Mutex<String>,
    record: &[u8],
) -> std::io::Result<bool> {
    let open = connection.take().map_or_else(|| open(&address.lock().unwrap()), Ok);
    let mut stream = open?;
    let ok = exchange(&mut stream, record)?;
    *connection = Some(stream);
    Ok(ok)
}

fn open(address: &str) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(BufReader::new(stream))
}

/// One request on a kept connection.
fn exchange(stream: &mut BufReader<TcpStream>, record: &[u8]) -> std::io::Result<bool> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/vnd.evenkeel.batch+avro\r\n\
         content-length: {}\r\n\r\n",
        record.len()
    );
    stream.get_mut().write_all(&[head.as_bytes(), record].concat())?;
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let (all, body) = (format!("\"accepted\":{BATCH_EVENTS},"), String::from_utf8_lossy(&body));
    let busy = status.contains(" 503 ") && body.contains("problem:busy");
    assert!(busy || status.contains(" 200 ") || body.contains("log-unavailable"), "{status} {body}");
    Ok(body.contains(&all))
}

/// Windows everything that lies in `events`: each acknowledged event is counted once, whatever was sent again.
#[track_caller]
fn judge(site: &Site, events: u64, repeated: u64) {
    let mut coalescer = site.start("coalescer", &[]);
    let of = |coalescer: &Service, outcome: &str| {
        let line = format!("evenkeel_coalescer_events_total{{outcome=\"{outcome}\",size=\"5000\"}}");
        coalescer.metric(&line).unwrap_or(0.0) as u64
    };
    let mut shown = [0; 8];
    coalescer.until("every acknowledged event is counted", |c| {
        let names =
            ["counted", "duplicate", "late", "future", "too_old", "malformed", "misrouted", "overflow"];
        let now = names.map(|outcome| of(c, outcome));
        if std::mem::replace(&mut shown, now) != now {
            eprintln!("{now:?} of {names:?}, {events} acknowledged"); // says what is wrong if it never comes
        }
        now[0] >= events
    });
    // What came twice is behind what came once, or among it: the log's end shows all of it.
    coalescer.until("the end of the log", |c| {
        let all: u64 = ["counted", "duplicate"].map(|outcome| of(c, outcome)).iter().sum();
        let lag = c.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}");
        std::thread::sleep(Duration::from_millis(500)); // two ticks
        all == ["counted", "duplicate"].map(|outcome| of(c, outcome)).iter().sum::<u64>() && lag == Some(0.0)
    });
    let refused =
        ["late", "future", "too_old", "malformed", "misrouted", "overflow"].map(|o| of(&coalescer, o));
    assert_eq!((of(&coalescer, "counted"), refused), (events, [0; 6]));
    eprintln!(
        "{events} events acknowledged, {repeated} batches sent again, {} events twice in the log",
        of(&coalescer, "duplicate")
    );
    assert_eq!(coalescer.terminate(), Some(0));
}

#[test]
fn ingest_killed_at_full_speed_keeps_what_it_acknowledged_and_doubles_nothing() {
    let site = Site::on_kafka("full-speed");
    let mut ingest = site.start("ingest", &[]);
    let load = Load::start(&ingest.address(), Duration::ZERO);
    load.more(500);
    let (before, began) = (load.acknowledged(), Instant::now());
    load.more(2_000);
    let rate = (load.acknowledged() - before) as f64 * BATCH_EVENTS as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} events/s");
    for _ in 0..5 {
        load.more(500);
        ingest.kill();
        ingest = site.start("ingest", &[]);
        *load.address.lock().unwrap() = ingest.address();
    }
    load.more(500);
    let (events, repeated) = load.end();
    assert!(repeated > 0, "no kill met a batch under way");
    judge(&site, events, repeated);
    assert_eq!(ingest.terminate(), Some(0));
}

#[test]
fn a_broker_that_stands_still_and_is_away_for_minutes_costs_ingest_time_only() {
    let mut broker = LocalBroker::start().unwrap();
    let site = Site::at("stalls", &broker.address(), "127.0.0.1:1");
    site.make_topics();
    let mut ingest = site.start("ingest", &[]);
    let load = Load::start(&ingest.address(), Duration::from_millis(20));
    load.more(500);
    let before = ingest.resident();
    broker.freeze().unwrap();
    std::thread::sleep(Duration::from_secs(5)); // the length of the stall
    broker.thaw().unwrap();
    load.more(500);
    broker.kill().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        ingest.still_runs();
        assert_eq!(ingest.get("/livez").0, 200);
        let grown = ingest.resident();
        assert!(grown < before + GROWTH_MAX, "{before} bytes before, {grown} while the broker is away");
        std::thread::sleep(Duration::from_secs(1)); // how often it is looked at
    }
    broker.launch().unwrap();
    load.more(500);
    let (events, repeated) = load.end();
    assert!(repeated > 0, "the outage met nobody");
    judge(&site, events, repeated);
    assert_eq!(ingest.terminate(), Some(0));
}

/// This process may open so many files, and a few hundred are not connections.
fn devices() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let open_max = line.split_whitespace().nth(3).and_then(|text| text.parse().ok()).unwrap_or(1024usize);
    open_max.saturating_sub(500).min(20_000)
}

#[test]
fn twenty_thousand_devices_that_come_back_at_once_leave_those_already_in_alone() {
    let site = Site::on_kafka("comeback").set("ingest.connections-max=30000");
    let ingest = site.start("ingest", &[]);
    let mut service = ingest;
    let steady = Load::start(&service.address(), Duration::from_millis(100));
    steady.more(50);
    let address = service.address();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (devices, began) = (devices(), Instant::now());
    let (connections, again) = runtime.block_on(comeback(&address, devices));
    let storm = began.elapsed();
    let unanswered = steady.seen.unanswered.load(Ordering::SeqCst);
    assert_eq!(
        (connections.len(), unanswered),
        (devices, 0),
        "all are in, and those already in have answers"
    );
    let open = service.metric("evenkeel_ingest_connections{protocol=\"http\"}").unwrap();
    assert!(open >= devices as f64, "{open} connections");
    eprintln!(
        "{devices} devices are in after {:.1} s, {again} came twice; {} MiB resident",
        storm.as_secs_f64(),
        service.resident() >> 20
    );
    steady.more(50);
    drop(connections);
    let (events, repeated) = steady.end();
    eprintln!("those already in: {events} events, {repeated} batches were asked to come again");
    assert_eq!(service.terminate(), Some(0));
}

/// So many connections at once; each sends an event and stays. Whoever is turned away in the kernel (its queue of
/// connections is shorter than the storm) tries again, as a device does. The connections, and how often that was.
async fn comeback(address: &str, devices: usize) -> (Vec<TcpSocket>, u64) {
    let (mut all, again) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for device in 0..devices {
        let (address, again) = (address.to_owned(), Arc::clone(&again));
        all.spawn(async move {
            let began = Instant::now();
            loop {
                match come_in(&address, device).await {
                    Ok(stream) => return stream,
                    Err(error) => assert!(began.elapsed() < DEADLINE, "device {device}: {error}"),
                }
                again.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(500 + device as u64 % 1_000)).await; // its backoff
            }
        });
    }
    (all.join_all().await, again.load(Ordering::SeqCst))
}

async fn come_in(address: &str, device: usize) -> std::io::Result<TcpSocket> {
    let body = format!("{{\"stream_id\":\"comeback/{device}\",\"ts\":{}}}", now_ms());
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpSocket::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 64];
    let n = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    match answer.starts_with("HTTP/1.1 200") {
        true => Ok(stream),
        false => Err(std::io::Error::other(answer)),
    }
}
