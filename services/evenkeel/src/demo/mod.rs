//! `evenkeel demo`: everything in one process, a simulated fleet that sends over HTTP, a live view, and at the
//! end a count of what was acknowledged against what is stored.

mod device;
mod fleet;
mod send;
mod view;

use crate::machine::{Machine, MachineError};
use evenkeel_chassis::drain::{Cause, Drain};
use evenkeel_local::{FileError, Local, RowQuery};
use evenkeel_telemetry::LogTail;
use fleet::{Fleet, FleetOptions, Sending};
use send::{Sender, ndjson};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
pub use view::{LOG_LINES, Screen};

/// How large the demo is.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Smart bowls.
    pub bowls: u32,
    /// Wearables.
    pub wearables: u32,
    /// Time it runs; `None` = until somebody ends it.
    pub runs_for: Option<Duration>,
    /// Seed of the fleet.
    pub seed: u64,
}

/// Time between two steps of the fleet.
const STEP: Duration = Duration::from_millis(250);
/// Time between two refreshes of the view.
const REFRESH: Duration = Duration::from_millis(250);
/// Readings of one request.
const REQUEST_READINGS_MAX: usize = 2000;
/// How long the end may take without any progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the fleet has done, shared with the view.
#[derive(Debug, Clone, Default)]
struct Sent {
    acknowledged: u64,
    /// Readings acknowledged at least once, by stream, without the wrong clock's.
    by_stream: BTreeMap<String, u64>,
    wrong_clock: u64,
    storms: u64,
    replays: u64,
    problem: Option<String>,
}

/// Why a demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The pipeline.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] FileError),
    /// The terminal.
    #[error("the view: {0}")]
    View(#[from] std::io::Error),
    /// The fleet's task.
    #[error("the simulated fleet: {0}")]
    Fleet(#[from] tokio::task::JoinError),
}

/// What the end of a demo shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Different readings that were acknowledged.
    pub acknowledged: u64,
    /// Readings in stored rows of the base size.
    pub stored: u64,
    /// Readings of the wrong clock: in `dlq`.
    pub wrong_clock: u64,
    /// Streams whose counts differ, with both counts.
    pub differing: Vec<(String, u64, u64)>,
}

/// The parts a demo runs on.
pub struct Stage<'a> {
    /// The embedded log and store.
    pub local: &'a Local,
    /// Coalescer and sink.
    pub machine: &'a Machine,
    /// Where ingest listens.
    pub ingest: SocketAddr,
    /// Where the gateway serves its pages.
    pub gateway: SocketAddr,
    /// Where the metrics are.
    pub admin: SocketAddr,
    /// The last log lines, if they are not printed.
    pub log: Option<LogTail>,
    /// The process's drain.
    pub drain: Drain,
    /// What `plan` says, bytes.
    pub planned_bytes: u64,
    /// The base window size, ms.
    pub base_size_ms: i64,
}

/// Runs the fleet and shows it until the time is over or the drain begins; then closes every window and
/// compares.
pub fn run(
    stage: &Stage<'_>,
    options: &DemoOptions,
    runtime: &tokio::runtime::Runtime,
    show: &mut dyn FnMut(&Screen) -> std::io::Result<bool>,
) -> Result<Verdict, DemoError> {
    let sent = Arc::new(Mutex::new(Sent::default()));
    // The fleet ends before ingest drains: a request under way gets its answer.
    let over = Drain::new(PATIENCE);
    let devices = u64::from(options.bowls + options.wearables);
    let fleet = runtime.spawn(run_fleet(fleet_options(options), stage.ingest, over.clone(), sent.clone()));
    let began = Instant::now();
    let mut screen = Screen {
        total: options.runs_for,
        addresses: format!(
            "see http://{}/ · POST http://{}/v1/events · GET http://{}/metrics",
            stage.gateway, stage.ingest, stage.admin
        ),
        devices,
        planned_bytes: stage.planned_bytes,
        ..Screen::default()
    };
    loop {
        refresh(&mut screen, stage, &lock(&sent), began.elapsed());
        let done = options.runs_for.is_some_and(|t| began.elapsed() >= t);
        if show(&screen)? || done || stage.drain.is_draining() || stage.machine.has_failed() {
            break;
        }
        std::thread::sleep(REFRESH);
    }
    screen.ending = true;
    show(&screen)?;
    over.begin(Cause::Finished);
    runtime.block_on(fleet)?;
    stage.drain.begin(Cause::Finished);
    stage.machine.end_input();
    let (mut refreshed, mut shown) = (Instant::now(), Ok(false));
    stage.machine.wait_quiet(stage.local, PATIENCE, || {
        if refreshed.elapsed() >= REFRESH {
            refresh(&mut screen, stage, &lock(&sent), began.elapsed());
            (refreshed, shown) = (Instant::now(), show(&screen));
        }
    })?;
    shown?;
    refresh(&mut screen, stage, &lock(&sent), began.elapsed());
    show(&screen)?;
    let verdict = judge(stage.local, stage.base_size_ms, &lock(&sent))?;
    Ok(verdict)
}

fn fleet_options(options: &DemoOptions) -> FleetOptions {
    FleetOptions {
        bowls: options.bowls,
        wearables: options.wearables,
        storm_every_ms: 12_000,
        replay_every_ms: 5_000,
        seed: options.seed,
    }
}

/// Steps the fleet on its schedule until it is told to end.
async fn run_fleet(options: FleetOptions, ingest: SocketAddr, over: Drain, sent: Arc<Mutex<Sent>>) {
    let mut fleet = Fleet::new(options, now_ms());
    let mut sender = Sender::new(ingest);
    let mut ticker = tokio::time::interval(STEP);
    while !over.is_draining() {
        ticker.tick().await;
        let mut sendings = fleet.step(now_ms());
        while !sendings.is_empty() {
            let request = take_request(&mut sendings);
            send(&mut fleet, &mut sender, request, &sent).await;
        }
        let mut sent = lock(&sent);
        (sent.storms, sent.replays) = (fleet.happened.storms, fleet.happened.replays);
    }
}

/// The first sendings that fit one request; at least one.
fn take_request(sendings: &mut Vec<Sending>) -> Vec<Sending> {
    let mut readings = 0;
    let fits = sendings.iter().take_while(|s| {
        readings += s.readings.len();
        readings <= REQUEST_READINGS_MAX
    });
    let take = fits.count().max(1);
    sendings.drain(..take).collect()
}

async fn send(fleet: &mut Fleet, sender: &mut Sender, request: Vec<Sending>, sent: &Mutex<Sent>) {
    let answer = sender.send(ndjson(fleet, &request)).await;
    let mut sent = lock(sent);
    match answer {
        Ok(accepted) => {
            sent.acknowledged += accepted;
            sent.problem = None;
            for sending in request.iter().filter(|s| !s.again) {
                let readings = sending.readings.len() as u64;
                if fleet.is_wrong(sending.device) {
                    sent.wrong_clock += readings;
                } else {
                    *sent.by_stream.entry(fleet.id(sending.device).to_owned()).or_default() += readings;
                }
            }
        }
        Err(error) => {
            // Not acknowledged = the device sends again; what did arrive is a duplicate then.
            sent.problem = Some(error.to_string());
            request.into_iter().for_each(|sending| fleet.take_back(sending));
        }
    }
}

fn refresh(screen: &mut Screen, stage: &Stage<'_>, sent: &Sent, elapsed: Duration) {
    let since = (elapsed - screen.elapsed.min(elapsed)).as_secs_f64();
    if since > 0.0 {
        let rate = (sent.acknowledged - screen.acknowledged) as f64 / since;
        screen.rates.push_back(rate as u64);
        let over = screen.rates.len().saturating_sub(view::RATES_MAX);
        screen.rates.drain(..over);
    }
    screen.elapsed = elapsed;
    screen.acknowledged = sent.acknowledged;
    (screen.storms, screen.replays) = (sent.storms, sent.replays);
    screen.problem.clone_from(&sent.problem);
    screen.coalescer = stage.machine.coalescer.get();
    screen.sink = stage.machine.sink.get();
    screen.alerts = stage.machine.alerts().unwrap_or_default();
    screen.log = stage.log.as_ref().map(LogTail::lines).unwrap_or_default();
    screen.resident_bytes = evenkeel_chassis::memory::resident_bytes().unwrap_or(0);
}

/// Counts the stored rows of the base size against what was acknowledged.
fn judge(local: &Local, base_size_ms: i64, sent: &Sent) -> Result<Verdict, FileError> {
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    let store = local.store()?;
    let mut pages = store.rows(RowQuery { size_ms: Some(base_size_ms), ..RowQuery::default() })?;
    loop {
        let page = pages.next_page()?;
        if page.is_empty() {
            break;
        }
        for row in page {
            *stored.entry(row.row.stream_id).or_default() += row.row.count;
        }
    }
    let streams: std::collections::BTreeSet<&String> = sent.by_stream.keys().chain(stored.keys()).collect();
    let differing = streams
        .into_iter()
        .map(|id| {
            let count = |of: &BTreeMap<String, u64>| of.get(id).copied().unwrap_or(0);
            (id.clone(), count(&sent.by_stream), count(&stored))
        })
        .filter(|(_, acknowledged, stored)| acknowledged != stored)
        .collect();
    Ok(Verdict {
        acknowledged: sent.by_stream.values().sum(),
        stored: stored.values().sum(),
        wrong_clock: sent.wrong_clock,
        differing,
    })
}

fn lock(sent: &Mutex<Sent>) -> std::sync::MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
