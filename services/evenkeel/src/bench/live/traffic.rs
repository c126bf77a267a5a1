//! Devices that send in real time: each stream one record every [`EVERY`], spread evenly, so that rows leave
//! in every tick.

use super::Outcome;
use crate::bench::fleet::{batch_of, placed};
use crate::bench::loader::Loader;
use evenkeel_kafka::KafkaConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two records of a stream.
pub const EVERY: Duration = Duration::from_secs(5);

/// How often records are handed over.
const SLICE: Duration = Duration::from_millis(20);

/// A load that runs until dropped.
pub struct Traffic {
    events_per_record: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Traffic {
    /// Starts sending: `streams` streams, `events_per_record` events in each record.
    pub fn start(config: &KafkaConfig, streams: usize, events_per_record: usize) -> Outcome<Self> {
        let events = Arc::new(AtomicUsize::new(events_per_record));
        let stop = Arc::new(AtomicBool::new(false));
        let mut sender = Sender::new(config, streams)?;
        let (rate, ended) = (Arc::clone(&events), Arc::clone(&stop));
        let thread = thread::spawn(move || sender.run(&rate, &ended).map_err(|e| e.to_string()));
        Ok(Self { events_per_record: events, stop, thread: Some(thread) })
    }

    /// From now on so many events per record.
    pub fn set(&self, events_per_record: usize) {
        self.events_per_record.store(events_per_record, Ordering::Release);
    }

    /// Whether it still sends; an error of the log ends it.
    pub fn check(&self) -> Outcome<()> {
        match self.thread.as_ref().is_some_and(|t| !t.is_finished()) {
            true => Ok(()),
            false => Err("the load ended early: the log did not keep up or refused".into()),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("the load: {error}");
        }
    }
}

struct Sender {
    loader: Loader,
    streams: Vec<(String, u32)>,
    seqs: Vec<u64>,
}

impl Sender {
    fn new(config: &KafkaConfig, streams: usize) -> Outcome<Self> {
        let loader = Loader::new(config)?;
        let streams = placed(streams, loader.partitions());
        Ok(Self { loader, seqs: vec![0; streams.len()], streams })
    }

    /// Sends whose turn it is, slice by slice, until stopped. A log that is slow makes it late, never less.
    fn run(&mut self, events: &AtomicUsize, stop: &AtomicBool) -> Outcome<()> {
        let began = Instant::now();
        let mut sent = 0usize;
        while !stop.load(Ordering::Acquire) {
            let rounds = began.elapsed().as_secs_f64() / EVERY.as_secs_f64();
            let due = (rounds * self.streams.len() as f64) as usize;
            let count = events.load(Ordering::Acquire);
            while sent < due {
                self.send(sent % self.streams.len(), count)?;
                sent += 1;
            }
            self.loader.flush()?;
            thread::sleep(SLICE);
        }
        self.loader.finish()
    }

    /// One record of a stream: `count` events over the last [`EVERY`].
    fn send(&mut self, stream: usize, count: usize) -> Outcome<()> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let mut events = batch_of(count);
        let (id, partition) = &self.streams[stream];
        events.stream_id.clone_from(id);
        events.arrival_ms = now_ms;
        let step = EVERY.as_millis() as i64 / count as i64;
        for at in 0..count {
            events.ts[at] = now_ms - step * (count - at) as i64;
            events.seq[at] = self.seqs[stream] + at as u64;
        }
        self.seqs[stream] += count as u64;
        self.loader.push(*partition, &events)
    }
}
