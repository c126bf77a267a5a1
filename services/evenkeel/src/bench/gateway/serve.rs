//! The gateway that is measured: the real service in a process of its own, with a log that beats.
//!
//! Owns: the beat, ten points a frame. Never: a client.

use super::Outcome;
use evenkeel_chassis::drain::Drain;
use evenkeel_chassis::health::Health;
use evenkeel_codec::encode_frame;
use evenkeel_gateway::{
    Arrived, Config, DEFAULT_TOML, Edges, Gateway, Source, SourceError, Teller, system_clock,
};
use evenkeel_model::{Frame, FrameFlag, FrameKind, Interest, Series};
use evenkeel_telemetry::{Emitter, Metrics};
use std::time::{Duration, Instant};

/// Points of a frame.
const POINTS: i64 = 10;

/// A log in which so many streams, `s0` and on, have a frame so many times a second: so many of them at the same time,
/// and the next ones after their share of a period.
struct Beat {
    streams: usize,
    at_once: usize,
    next: usize,
    every: Option<Duration>,
    due: Instant,
    seq: u64,
    value: Vec<u8>,
}

impl Beat {
    fn beat(&mut self, made_ms: i64, each: &mut dyn FnMut(Arrived<'_>)) {
        for _ in 0..self.at_once {
            let stream = self.next % self.streams;
            self.seq += u64::from(stream == 0);
            self.next = stream + 1;
            self.value.clear();
            encode_frame(&frame(stream, self.seq, made_ms), &mut self.value);
            each(Arrived::Frame { value: &self.value });
        }
    }
}

impl Source for Beat {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Arrived<'_>)) -> Result<(), SourceError> {
        let now = Instant::now();
        let Some(every) = self.every.filter(|_| self.due <= now + wait) else {
            std::thread::sleep(wait);
            return Ok(());
        };
        std::thread::sleep(self.due.saturating_duration_since(now));
        let (now, now_ms) = (Instant::now(), system_clock()());
        while self.due <= now {
            // What was due a while ago is that old.
            let made_ms = now_ms - (now - self.due).as_millis() as i64;
            self.beat(made_ms, each);
            self.due += every;
        }
        Ok(())
    }

    fn partitions(&self) -> u32 {
        1
    }
}

/// Nobody hears what is watched: the streams beat anyway.
struct Nobody;

impl Teller for Nobody {
    fn tell(&mut self, _: &[Interest]) -> Result<(), SourceError> {
        Ok(())
    }
}

fn frame(stream: usize, seq: u64, now_ms: i64) -> Frame {
    let mut frame = Frame::empty(FrameKind::Telemetry, 0);
    frame.stream_id = format!("s{stream}");
    (frame.epoch, frame.seq, frame.ts_ms, frame.source) = (1, seq, now_ms, "bench".to_owned());
    (frame.from_ms, frame.to_ms) = (now_ms - 99, now_ms);
    frame.flags = vec![FrameFlag::Live];
    let ts: Vec<i64> = (0..POINTS).map(|n| now_ms - 90 + n * 10).collect();
    let values = ts.iter().map(|t| (t % 1000) as f64 / 8.0).collect();
    frame.series = vec![Series { name: "v".to_owned(), ts, values }];
    frame
}

/// Serves until the process is ended; says first where.
pub fn serve(streams: usize, hz: u64, spread: bool) -> Outcome<()> {
    let mut config: Config = toml::from_str(DEFAULT_TOML)?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.connections_max = 20_000;
    (config.topics.topics_max, config.topics.new_rate, config.topics.new_burst) = (200_000, 200_000, 200_000);
    // A chart of one beat: the peer sends no history either.
    config.topics.span = "100ms".parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads.get().into())
        .enable_all()
        .build()?;
    let metrics = Metrics::new()?;
    let at_once = if spread { 1 } else { streams };
    let every =
        (hz > 0).then(|| Duration::from_micros(1_000_000 * at_once as u64 / (hz.max(1) * streams as u64)));
    let source = Beat { streams, at_once, next: 0, every, due: Instant::now(), seq: 0, value: Vec::new() };
    let edges = Edges {
        emitter: Emitter::new(metrics.clone()),
        ready: Health::new(metrics).condition("gateway"),
        clock: system_clock(),
        source: Box::new(source),
        teller: Box::new(Nobody),
        histories: Vec::new(),
        pages: Vec::new(),
        metrics_text: None,
    };
    let gateway = runtime.block_on(Gateway::new(config, edges))?;
    println!("{}", gateway.address());
    Ok(runtime.block_on(gateway.run(&Drain::new(Duration::ZERO)))?)
}
