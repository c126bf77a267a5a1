//! A gateway, with a log and a store that say what the test wants.

use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_chassis::health::Health;
use evenkeel_codec::{encode_alert, encode_frame};
use evenkeel_gateway::{
    Arrived, Config, DEFAULT_TOML, Edges, Gateway, History, Listing, Page, Question, RunError, Source,
    SourceError, StartError, Teller, system_clock,
};
use evenkeel_model::{Alert, Frame, FrameFlag, FrameKind, Interest, Series, StoredRow};
use evenkeel_telemetry::{Emitter, Metrics};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// No step takes near as long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What the log says.
pub enum Said {
    Frame(Vec<u8>),
    Alert(u64, Vec<u8>),
}

struct Log {
    said: Receiver<Said>,
    begun: bool,
}

impl Source for Log {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError> {
        if !std::mem::replace(&mut self.begun, true) {
            each(Arrived::AlertsBegin { partition: 0, offset: 0 });
        }
        let first = self.said.recv_timeout(wait).ok();
        for said in first.into_iter().chain(self.said.try_iter()) {
            match said {
                Said::Frame(value) => each(Arrived::Frame { value: &value }),
                Said::Alert(offset, value) => {
                    each(Arrived::Alert { partition: 0, offset, timestamp_ms: 7, value: &value });
                }
            }
        }
        Ok(())
    }

    fn partitions(&self) -> u32 {
        1
    }
}

/// Keeps what is watched.
struct Interests(Arc<Mutex<Vec<Interest>>>);

impl Teller for Interests {
    fn tell(&mut self, interests: &[Interest]) -> Result<(), SourceError> {
        self.0.lock().unwrap().extend_from_slice(interests);
        Ok(())
    }
}

struct Store(BTreeMap<String, Vec<StoredRow>>);

impl History for Store {
    fn newest(&mut self, question: &Question) -> Result<Vec<StoredRow>, SourceError> {
        let mut rows = self.0.get(&question.stream_id).cloned().unwrap_or_default();
        rows.retain(|row| row.row.span.size_ms == question.size_ms);
        Ok(rows)
    }

    fn streams(&mut self, streams_max: usize) -> Result<Listing, SourceError> {
        let newest = self.0.values().filter_map(|rows| rows.last().cloned()).take(streams_max);
        Ok(Listing { newest: newest.collect(), total: self.0.len(), sizes_ms: vec![5_000] })
    }
}

/// A running gateway.
pub struct Server {
    pub address: SocketAddr,
    pub log: Sender<Said>,
    pub interests: Arc<Mutex<Vec<Interest>>>,
    pub metrics: Metrics,
    /// How far the gateway's wall clock is ahead, ms.
    pub ahead_ms: Arc<AtomicI64>,
    drain: Drain,
    running: JoinHandle<Result<(), RunError>>,
}

impl Server {
    pub async fn start(sets: &[(&str, &str)]) -> Self {
        Self::with(sets, BTreeMap::new()).await
    }

    pub async fn with(sets: &[(&str, &str)], rows: BTreeMap<String, Vec<StoredRow>>) -> Self {
        Self::try_with(sets, rows).await.unwrap()
    }

    pub async fn try_with(
        sets: &[(&str, &str)],
        rows: BTreeMap<String, Vec<StoredRow>>,
    ) -> Result<Self, StartError> {
        let mut whole: toml::Table = DEFAULT_TOML.parse().unwrap();
        for (key, value) in [("listen", "'127.0.0.1:0'"), ("instance", "'g'")].iter().chain(sets) {
            let value = format!("v = {value}").parse::<toml::Table>().unwrap()["v"].clone();
            match key.split_once('.') {
                Some((section, key)) => whole[section].as_table_mut().unwrap().insert(key.to_owned(), value),
                None => whole.insert((*key).to_owned(), value),
            };
        }
        let config: Config = whole.try_into().unwrap();
        let (log, said) = channel();
        let interests = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::new().unwrap();
        let ahead_ms = Arc::<AtomicI64>::default();
        let page = Page { path: "/index.html", bytes: b"<title>pages</title>", tag: "1" };
        let edges = Edges {
            emitter: Emitter::new(metrics.clone()),
            ready: Health::new(metrics.clone()).condition("gateway"),
            clock: {
                let (real, ahead_ms) = (system_clock(), Arc::clone(&ahead_ms));
                Arc::new(move || real() + ahead_ms.load(Ordering::SeqCst))
            },
            source: Box::new(Log { said, begun: false }),
            teller: Box::new(Interests(Arc::clone(&interests))),
            histories: vec![Box::new(Store(rows))],
            pages: vec![page],
            metrics_text: None,
        };
        let gateway = Gateway::new(config, edges).await?;
        let (address, drain) = (gateway.address(), Drain::new(DEADLINE));
        let until = drain.clone();
        let running = tokio::spawn(async move { gateway.run(&until).await });
        Ok(Self { address, log, interests, metrics, ahead_ms, drain, running })
    }

    pub fn frame(&self, frame: &Frame) {
        let mut value = Vec::new();
        encode_frame(frame, &mut value);
        self.log.send(Said::Frame(value)).unwrap();
    }

    pub fn alert(&self, offset: u64, alert: &Alert) {
        let mut value = Vec::new();
        encode_alert(alert, &mut value);
        self.log.send(Said::Alert(offset, value)).unwrap();
    }

    /// What was said last of a stream.
    pub async fn wait_interest(&self, stream: &str, good: impl Fn(&Interest) -> bool) {
        wait_for("an interest", || {
            let all = self.interests.lock().unwrap();
            all.iter().rev().find(|one| one.stream_id == stream).is_some_and(&good)
        })
        .await;
    }

    pub fn drain(&self) {
        self.drain.begin(Cause::Finished);
    }

    pub async fn stopped(self) {
        self.drain();
        self.running.await.unwrap().unwrap();
    }

    /// Whether a metric's line begins so.
    pub fn metric(&self, line: &str) -> bool {
        self.metrics.render().unwrap().lines().any(|of| of.starts_with(line))
    }

    /// What a metric says; 0 where it says nothing.
    pub fn value(&self, name: &str) -> f64 {
        let text = self.metrics.render().unwrap();
        let of = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        of.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The answer to a GET.
    pub async fn get(&self, path: &str) -> String {
        self.get_as(path, "").await
    }

    /// The answer to a GET with a header more.
    pub async fn get_as(&self, path: &str, header: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{header}connection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// Waits for a condition.
pub async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "{what} did not come within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A frame of telemetry with one point.
pub fn telemetry(stream: &str, seq: u64, t: i64, value: f64) -> Frame {
    let mut frame = Frame::empty(FrameKind::Telemetry, 0);
    frame.stream_id = stream.to_owned();
    (frame.epoch, frame.seq, frame.ts_ms, frame.source) = (1, seq, t, "c-0".to_owned());
    (frame.from_ms, frame.to_ms) = (t, t);
    frame.flags = vec![FrameFlag::Live];
    frame.series = vec![Series { name: "weight".to_owned(), ts: vec![t], values: vec![value] }];
    frame
}
