//! When rows became visible, per partition.

use super::Outcome;
use evenkeel_kafka::{KafkaConfig, KafkaWorker, WorkerOptions};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, Worker};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Seen = Arc<Mutex<BTreeMap<u32, Vec<Instant>>>>;

/// Reads `windows` as the sink does (committed rows only) and notes when something came.
pub struct Rows {
    seen: Seen,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rows {
    /// Starts reading.
    pub fn watch(config: &KafkaConfig) -> Outcome<Self> {
        let own = KafkaConfig { group: Some(format!("{}.watch", config.prefix)), ..config.clone() };
        let options = WorkerOptions {
            service: "watch".to_owned(),
            transactional_id: format!("{}-watch", config.prefix),
            topic: Topic::Windows,
            headers: false,
        };
        let mut worker = KafkaWorker::connect(&own, options)?;
        let (seen, stop) = (Seen::default(), Arc::new(AtomicBool::new(false)));
        let (notes, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                if let Err(error) = step(&mut worker, &notes) {
                    return eprintln!("reading rows: {error}");
                }
            }
            let _ = worker.close();
        });
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// The longest time without a new row of one partition, over all partitions, that ends after `from`.
    /// `None`: a partition has had no row since.
    pub fn longest_gap(&self, from: Instant, partitions: u32) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest = Duration::ZERO;
        for partition in 0..partitions {
            let times = seen.get(&partition)?;
            times.last().filter(|last| **last > from)?;
            let gaps = times.windows(2).filter(|pair| pair[1] > from).map(|pair| pair[1] - pair[0]);
            longest = longest.max(gaps.max()?);
        }
        Some(longest)
    }

    /// Whether every partition has had a row after `from`.
    pub fn all_flow_since(&self, from: Instant, partitions: u32) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let flows = |p| seen.get(&p).and_then(|times| times.last()).is_some_and(|last| *last > from);
        (0..partitions).all(flows)
    }
}

fn step(worker: &mut KafkaWorker, notes: &Seen) -> Outcome<()> {
    let mut assigned = Vec::new();
    worker.poll(Duration::from_millis(20), &mut |input| match input {
        LogInput::Assigned { partition, .. } => assigned.push(partition),
        LogInput::Records { partition, records, .. } if !records.is_empty() => {
            let mut seen = notes.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(partition).or_default().push(Instant::now());
        }
        _ => {}
    })?;
    for partition in assigned {
        worker.perform(LogAction::Start { partition, from: None })?;
    }
    Ok(())
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
