//! `bench flush --live`: the policies before a real Kafka, in a loop like the one that ingest sends from.
//!
//! Owns: the load, which is an open loop (an event's latency counts from the moment it was due, whatever the log or
//! this process did meanwhile), the blocks, the floor. Never: a policy's state from an earlier block. In each block
//! every policy plays the same arrivals, in an order drawn for the block, because a shared machine changes its speed
//! within minutes; ratios are taken within a block and the median of the blocks counts.
//! The floor is a lone record's way to the same broker at the same time, through no lane: what is above it was added.

use super::super::cpu;
use super::super::report::{Machine, Report};
use super::super::topics::Made;
use super::{Cell, Figures, Grid, Outcome, goals, policies};
use evenkeel_flush::Policy;
use evenkeel_flush::simulate::{Arrival, Trace};
use evenkeel_ingest::appending::{FlushSettings, Job, Outlet};
use evenkeel_kafka::{KafkaAppender, KafkaConfig};
use evenkeel_model::Topic;
use evenkeel_seam::{Ack, AppendError, Appender, Bell, Outputs};
use evenkeel_telemetry::Metrics;
use hdrhistogram::Histogram;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// How much is played.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Blocks; the median counts.
    pub blocks: u64,
    /// Length of a trace, s.
    pub seconds: u64,
    /// Traces by name.
    pub traces: Vec<String>,
}

/// What this grid's cells name as their broker.
pub(super) const LIVE: &str = "real Kafka";
/// What may wait and fly, bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Jobs between the load and the lanes.
const JOBS_MAX: usize = 65_536;
/// Longest wait for the last answers of a block.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the floor is probed.
const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBE_BYTES: usize = 100;

/// Plays every trace; `say` hears of each block.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<(Report, Grid)> {
    let all = Trace::all(1);
    if let Some(name) = options.traces.iter().find(|name| all.iter().all(|t| t.name != **name)) {
        let known: Vec<&str> = all.iter().map(|t| t.name).collect();
        return Err(format!("no trace is called {name:?}; there are {}", known.join(", ")).into());
    }
    let made = Made::new(&options.brokers, options.partitions)?;
    let metrics = Metrics::new()?;
    let mut grid = Grid { cells: Vec::new() };
    for name in &options.traces {
        for block in 1..=options.blocks {
            let Some(trace) = Trace::all(block).into_iter().find(|t| t.name == *name) else { continue };
            let arrivals = trace.clone().within(options.seconds).arrivals(block);
            for (policy_name, policy) in shuffled(block) {
                let log = || Ok::<_, Box<dyn std::error::Error>>(KafkaAppender::connect(&made.config)?);
                let figures = play(&arrivals, options.partitions, &policy, log, &metrics)?;
                say(&format!(
                    "{name}, block {block} of {}, {policy_name}: p50 {:.2} p99 {:.2} p99.9 {:.2} ms, floor {:.2} ms, {:.1} µs CPU an event",
                    options.blocks, figures.p50, figures.p99, figures.p999, figures.floor, figures.cpu_us
                ));
                grid.cell(LIVE, trace.name, policy_name).seeds.push(figures);
            }
        }
    }
    made.topics.remove()?;
    let settings = json!({
        "blocks": options.blocks, "seconds": options.seconds, "partitions": options.partitions,
        "events": "100 B", "latency": "from the moment an event was due to its acknowledgement by the broker",
        "log": KafkaConfig::default().prefix + ".events, one broker, one replica",
    });
    let report = Report {
        bench: "flush --live",
        machine: Machine::here(),
        settings,
        results: grid.measured(),
        goals: goals::of_live(&grid),
    };
    Ok((report, grid))
}

/// The policies that can be played, in the order of this block.
fn shuffled(block: u64) -> Vec<(&'static str, Policy)> {
    let mut all: Vec<_> = policies().into_iter().filter_map(|(name, p)| Some((name, p?))).collect();
    let mut dice = Pcg32::seed_from_u64(block);
    for at in (1..all.len()).rev() {
        all.swap(at, (dice.next_u64() % (at as u64 + 1)) as usize);
    }
    all
}

/// Plays one policy; `log` makes the way to the log, for the lanes and for the probe.
fn play<A: Appender + 'static>(
    arrivals: &[Arrival],
    partitions: u32,
    policy: &Policy,
    log: impl Fn() -> Outcome<A>,
    metrics: &Metrics,
) -> Outcome<Figures> {
    let (jobs, waiting) = mpsc::channel(JOBS_MAX);
    let sends = Arc::new(AtomicU64::new(0));
    let (lanes_log, probe_log) = (warm(log()?)?, warm(log()?)?);
    let appender = Counted { log: lanes_log, sends: Arc::clone(&sends) };
    let probe = Probe::start(probe_log);
    let book = Arc::new(Mutex::new(Book::new(arrivals)));
    let (heard, settings) = (Arc::clone(&book), FlushSettings::fixed(policy.clone(), BYTES_MAX, metrics));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lanes = thread::spawn(move || {
        let mut tell = |ack: Ack| locked(&heard).heard(ack);
        runtime.block_on(send_all(Box::new(appender), settings, waiting, &mut tell));
    });
    let (cpu, began) = (cpu::own_seconds_exact(), Instant::now());
    locked(&book).began = began;
    for (ticket, arrival) in (0..).zip(arrivals) {
        sleep_until(began + Duration::from_micros(arrival.at_us));
        let mut records = Outputs::new();
        let value = |arena: &mut Vec<u8>| arena.resize(arena.len() + arrival.bytes as usize, 0);
        records.push(Topic::Events, arrival.key % partitions, Some(b"bench"), &[], value);
        let give_up = Instant::now() + PATIENCE;
        jobs.blocking_send(Job { ticket, records, events: arrival.events, give_up })?;
    }
    let until = Instant::now() + PATIENCE;
    while locked(&book).answered < arrivals.len() {
        if Instant::now() > until {
            let answered = locked(&book).answered;
            return Err(format!("{answered} of {} items were answered", arrivals.len()).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let (cpu, seconds) = (cpu::own_seconds_exact() - cpu, began.elapsed().as_secs_f64());
    drop(jobs);
    lanes.join().map_err(|_| "the lanes panicked")?;
    let floor = probe.stop()?;
    Ok(locked(&book).figures(&floor, cpu, sends.load(Ordering::Relaxed) as f64 / seconds))
}

/// Appends until the sender of `jobs` is gone, woken as ingest is.
async fn send_all(
    mut appender: Box<dyn Appender>,
    settings: FlushSettings,
    mut jobs: mpsc::Receiver<Job>,
    tell: &mut dyn FnMut(Ack),
) {
    let rung = Arc::new(Notify::new());
    let bell = Arc::clone(&rung);
    appender.wake_by(Arc::new(move || bell.notify_one()));
    let mut outlet = Outlet::new(appender, settings, Instant::now());
    let (mut due, mut came) = (None, Vec::new());
    loop {
        let until = due.unwrap_or_else(|| Instant::now() + PATIENCE);
        tokio::select! {
            n = jobs.recv_many(&mut came, JOBS_MAX) => if n == 0 { return },
            () = rung.notified() => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
        let now = Instant::now();
        for job in came.drain(..) {
            outlet.offer(now, job, tell);
        }
        due = outlet.turn(now, tell);
    }
}

/// Connects to every leader: a client's first records wait for that, and no policy is to blame.
fn warm<A: Appender>(mut log: A) -> Outcome<A> {
    let (mut records, mut acks, began) = (Outputs::new(), Vec::new(), Instant::now());
    for partition in 0..log.partitions() {
        records.push(Topic::Events, partition, Some(b"warm"), &[], |arena| arena.push(0));
    }
    log.append(&records, u64::MAX)?;
    while acks.is_empty() {
        if began.elapsed() > PATIENCE {
            return Err("the broker does not acknowledge".into());
        }
        log.acks(Duration::from_millis(100), &mut acks);
    }
    Ok(log)
}

/// What was due when, and how long it took.
struct Book {
    began: Instant,
    due_us: Vec<u64>,
    events: Vec<u32>,
    took_us: Histogram<u64>,
    answered: usize,
    refused: u64,
}

impl Book {
    fn new(arrivals: &[Arrival]) -> Self {
        Self {
            began: Instant::now(),
            due_us: arrivals.iter().map(|a| a.at_us).collect(),
            events: arrivals.iter().map(|a| a.events).collect(),
            took_us: histogram(),
            answered: 0,
            refused: 0,
        }
    }

    fn heard(&mut self, Ack { ticket, result }: Ack) {
        let at = ticket as usize;
        let (due, events) = (self.began + Duration::from_micros(self.due_us[at]), self.events[at]);
        self.answered += 1;
        match result {
            Ok(()) => self.took_us.saturating_record_n(micros(due.elapsed()), u64::from(events)),
            Err(_) => self.refused += u64::from(events),
        }
    }

    fn figures(&self, floor: &Histogram<u64>, cpu_s: f64, sends_per_s: f64) -> Figures {
        let ms = |us: u64| us as f64 / 1e3;
        let events = self.took_us.len() as f64;
        Figures {
            mean: self.took_us.mean() / 1e3,
            p50: ms(self.took_us.value_at_quantile(0.5)),
            p99: ms(self.took_us.value_at_quantile(0.99)),
            p999: ms(self.took_us.value_at_quantile(0.999)),
            requests: sends_per_s,
            refused: self.refused as f64 / (events + self.refused as f64).max(1.0),
            floor: ms(floor.value_at_quantile(0.5)),
            cpu_us: cpu_s * 1e6 / events.max(1.0),
        }
    }
}

/// Lone records, one after the other, while a policy plays.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Histogram<u64>, String>>,
}

impl Probe {
    fn start<A: Appender + 'static>(mut log: A) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut took_us, mut acks, began) = (histogram(), Vec::new(), Instant::now());
            let mut record = Outputs::new();
            record.push(Topic::Events, 0, Some(b"probe"), &[], |arena| {
                arena.resize(arena.len() + PROBE_BYTES, 0)
            });
            let mut due = began;
            for ticket in 0.. {
                due = (due + PROBE_EVERY).max(Instant::now());
                sleep_until(due);
                if asked.load(Ordering::Acquire) {
                    break;
                }
                log.append(&record, ticket).map_err(|e| format!("probing the broker: {e}"))?;
                while acks.is_empty() && due.elapsed() < PATIENCE {
                    log.acks(Duration::from_millis(100), &mut acks);
                }
                acks.clear();
                took_us.saturating_record(micros(due.elapsed()));
            }
            Ok(took_us)
        });
        Self { stop, thread }
    }

    fn stop(self) -> Outcome<Histogram<u64>> {
        self.stop.store(true, Ordering::Release);
        Ok(self.thread.join().map_err(|_| "the probe panicked")??)
    }
}

/// Counts the sends.
struct Counted<A> {
    log: A,
    sends: Arc<AtomicU64>,
}

impl<A: Appender> Appender for Counted<A> {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        self.sends.fetch_add(1, Ordering::Relaxed);
        self.log.append(records, ticket)
    }

    fn wake_by(&mut self, bell: Bell) {
        self.log.wake_by(bell);
    }

    fn acks(&mut self, wait: Duration, out: &mut Vec<Ack>) {
        self.log.acks(wait, out);
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    fn lanes(&self) -> usize {
        self.log.lanes()
    }

    fn lane_of(&self, partition: u32) -> usize {
        self.log.lane_of(partition)
    }
}

impl Cell {
    /// Whether it was measured and not simulated.
    pub(super) fn is_live(&self) -> bool {
        self.broker == LIVE
    }
}

/// 1 µs to a minute, three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sleep_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_flush::Linger;

    /// A log that has everything at once.
    #[derive(Default)]
    struct Prompt(Vec<Ack>, Option<Bell>);

    impl Appender for Prompt {
        fn append(&mut self, _: &Outputs, ticket: u64) -> Result<(), AppendError> {
            self.0.push(Ack { ticket, result: Ok(()) });
            self.1.iter().for_each(|bell| bell());
            Ok(())
        }
        fn wake_by(&mut self, bell: Bell) {
            self.1 = Some(bell);
        }
        fn acks(&mut self, _: Duration, out: &mut Vec<Ack>) {
            out.append(&mut self.0);
        }
        fn partitions(&self) -> u32 {
            4
        }
    }

    #[test]
    fn every_event_of_a_block_is_counted_and_a_linger_shows() {
        let arrivals = Trace::steady("steady", 400.0, 1).arrivals(1);
        let metrics = Metrics::new().unwrap();
        let policy = Policy::Linger(Linger { linger_ms: 40, ..Linger::default() });
        let figures = play(&arrivals, 4, &policy, || Ok(Prompt::default()), &metrics).unwrap();
        assert!(figures.refused == 0.0 && figures.p99 >= 39.0, "{figures:?}");
        assert!(figures.requests > 1.0 && figures.cpu_us > 0.0, "{figures:?}");
    }

    #[test]
    fn each_block_has_every_policy_once_in_an_order_of_its_own() {
        let names = |block| shuffled(block).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let (mut one, other) = (names(1), names(2));
        assert_ne!(one, other);
        assert_eq!(one, names(1));
        one.sort_unstable();
        one.dedup();
        assert_eq!(one.len(), policies().len() - 1);
    }

    #[test]
    fn an_unknown_trace_is_named_with_those_there_are() {
        let traces = vec!["thursday".to_owned()];
        let options = Options { brokers: "127.0.0.1:1".into(), partitions: 1, blocks: 1, seconds: 1, traces };
        let why = run(&options, &mut |_| {}).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains("thursday") && why.contains("diurnal"), "{why}");
    }
}
