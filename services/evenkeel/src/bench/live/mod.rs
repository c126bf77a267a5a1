//! Benches of coalescer processes under a live load: the real binary over a real Kafka, devices that send in
//! real time.

pub mod memory;
mod process;
pub mod recovery;
mod rows;
mod traffic;

use super::Outcome;
use super::topics::Made;
use evenkeel_kafka::KafkaConfig;
use process::Process;
use std::thread;
use std::time::{Duration, Instant};

/// Where and how large.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Active streams.
    pub streams: usize,
    /// Partitions of the topics.
    pub partitions: u32,
    /// Runs; medians count.
    pub runs: usize,
}

/// Starts a coalescer on the bench's topics; `more` = further `--set`s.
fn coalescer(config: &KafkaConfig, more: &[&str]) -> Outcome<Process> {
    let mut sets = vec![
        format!("kafka.brokers={}", config.brokers),
        format!("kafka.prefix={}", config.prefix),
        "coalescer.workers=1".to_owned(),
        "process.admin.listen=127.0.0.1:0".to_owned(),
        "process.log.filter=warn".to_owned(),
    ];
    sets.extend(more.iter().map(|set| (*set).to_owned()));
    Process::start("coalescer", &sets)
}

/// Looks at `process` every half second for `time`; the resident sizes seen, bytes.
fn watch(process: &mut Process, time: Duration, say: &mut dyn FnMut(&str), what: &str) -> Outcome<Vec<u64>> {
    let (began, mut seen, mut said) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < time {
        thread::sleep(Duration::from_millis(500));
        seen.push(process.resident()?);
        let passed = began.elapsed().as_secs();
        if passed >= said + 10 {
            said = passed;
            let mib = seen.last().map_or(0, |b| b >> 20);
            say(&format!("{what}: {passed} of {} s, resident {mib} MiB", time.as_secs()));
        }
    }
    Ok(seen)
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len().max(1) as f64
}
