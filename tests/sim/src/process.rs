//! The processes of a run: a driver with its connections, as its `run.rs` would drive it.
//!
//! A process dies by being dropped. Its fuse counts actions: when it burns down, the process is gone just
//! before the next action is carried out, so that a crash is possible at every action boundary.

use crate::checks::Checks;
use crate::log::{SimLog, SimWorker, WorkerOptions};
use crate::store::{SimRows, SimStore};
use evenkeel_coalescer as coalescer;
use evenkeel_model::Topic;
use evenkeel_scenarios::{Rule, Settings};
use evenkeel_seam::{LogAction, LogInput, Position, Rows, Worker, WorkerError};
use evenkeel_sink as sink;
use std::collections::BTreeSet;
use std::time::Duration;

/// The coalescers' consumer group.
pub const COALESCERS: &str = "coalescer";
/// The sinks' consumer group.
pub const SINKS: &str = "sink";
/// How often frames are looked for, ms.
const FRAME_INTERVAL_MS: i64 = 250;

/// What became of a process in one turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Alive,
    /// Its fuse burnt down, or its store connection killed it.
    Died,
    /// It was told to leave and has left.
    Left,
    /// A newer process under its name fenced it.
    Fenced,
    /// It did what it must not, or gave up; says what.
    Broken(String),
}

/// A coalescer worker.
#[derive(Debug)]
pub struct Coalescer {
    name: String,
    watched: Watched,
    worker: SimWorker,
    metronome: Metronome,
    frame_clock: Metronome,
    told_end: bool,
    told_drain: bool,
}

/// A coalescer's driver, checked after each input.
#[derive(Debug)]
struct Watched {
    driver: coalescer::Driver,
    actions: Vec<coalescer::Action>,
    /// Partitions that saw the end of the log since the last tick.
    at_end: BTreeSet<u32>,
}

/// A sink worker.
#[derive(Debug)]
pub struct Sink {
    name: String,
    driver: sink::Driver,
    worker: SimWorker,
    rows: SimRows,
    store: SimStore,
    actions: Vec<sink::Action>,
    metronome: Metronome,
    told_drain: bool,
}

/// Either.
#[derive(Debug)]
pub enum Process {
    /// A coalescer worker.
    Coalescer(Box<Coalescer>),
    /// A sink worker.
    Sink(Box<Sink>),
}

/// What a turn may use.
pub struct Around<'a> {
    /// The log.
    pub log: &'a SimLog,
    /// What is checked meanwhile.
    pub checks: &'a mut Checks,
    /// Actions left before the process dies; `None` = it lives.
    pub fuse: &'a mut Option<u32>,
    /// The input has ended.
    pub ending: bool,
    /// The process is to leave.
    pub draining: bool,
}

/// Ticks on an absolute schedule; a tick that comes too late merges with the next.
#[derive(Debug)]
struct Metronome {
    interval_ms: i64,
    next_ms: i64,
}

impl Metronome {
    fn is_due(&mut self, now_ms: i64) -> bool {
        let due = now_ms >= self.next_ms;
        while self.next_ms <= now_ms {
            self.next_ms += self.interval_ms;
        }
        due
    }
}

impl Around<'_> {
    /// Whether the process dies before its next action.
    fn burns(&mut self) -> bool {
        match self.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn note(&self, name: &str, what: &LogAction) {
        let what = match what {
            LogAction::Commit(commit) => {
                let brief = |p: &Position| {
                    let meta = p.meta.clone().unwrap_or_default();
                    let ledger: Vec<String> = (meta.ledger.sizes.iter())
                        .map(|z| {
                            format!(
                                "{}: {}={}+{}+{:?}",
                                z.size_ms, z.consumed, z.in_rows, z.in_open, z.reasons
                            )
                        })
                        .collect();
                    format!(
                        "{}@{} replay {} windows {}..{} marks {} floor {} log {} live {} {ledger:?}",
                        p.partition,
                        p.offset,
                        meta.replay_from,
                        meta.windows_from,
                        meta.windows_to,
                        meta.marks_to,
                        meta.floor,
                        meta.log_clock,
                        meta.live_clock
                    )
                };
                let records = commit.outputs.records().len();
                format!(
                    "Commit {records} records, {:?}",
                    commit.positions.iter().map(brief).collect::<Vec<_>>()
                )
            }
            LogAction::Send(outputs) => format!("Send {} records", outputs.len()),
            other => format!("{other:?}"),
        };
        self.log.cluster().note_of(name, &what);
    }
}

impl Coalescer {
    /// Starts worker `number`.
    pub fn start(log: &SimLog, settings: &Settings, number: usize) -> Self {
        let name = format!("coalescer-{number}");
        let now_ms = log.cluster().now_ms();
        let options = coalescer::Options {
            settings: crate::config::core_settings(settings),
            writer: name.clone(),
            rows_per_tick_max: settings.rows_per_tick_max,
            memory_budget_bytes: settings.memory_budget_bytes,
            output_bytes_max: 1 << 20,
            refuse_cut_log: false,
            hash_seed: 1,
            records: coalescer::Records::default(),
        };
        let (topic, group, transactional_id) = (Topic::Events, COALESCERS.to_owned(), name.clone());
        Self {
            watched: Watched {
                driver: coalescer::Driver::new(options),
                actions: Vec::new(),
                at_end: BTreeSet::new(),
            },
            worker: SimWorker::new(log, WorkerOptions { topic, group, transactional_id }),
            name,
            metronome: Metronome {
                interval_ms: settings.interval_ms,
                next_ms: now_ms + settings.interval_ms,
            },
            frame_clock: Metronome { interval_ms: FRAME_INTERVAL_MS, next_ms: now_ms },
            told_end: false,
            told_drain: false,
        }
    }

    fn turn(&mut self, now_ms: i64, around: &mut Around<'_>) -> Turn {
        let watched = &mut self.watched;
        let polled = self.worker.poll(Duration::ZERO, &mut |input| {
            watched.apply(now_ms, coalescer::Input::Log(input), around);
        });
        if let Err(error) = polled {
            return broken(error);
        }
        if around.ending && !std::mem::replace(&mut self.told_end, true) {
            self.watched.apply(now_ms, coalescer::Input::End, around);
        }
        if around.draining && !std::mem::replace(&mut self.told_drain, true) {
            self.watched.apply(now_ms, coalescer::Input::Drain, around);
        }
        let turn = self.perform(around);
        if turn != Turn::Alive {
            return turn;
        }
        if self.frame_clock.is_due(now_ms) && self.watched.driver.is_watched() {
            self.watched.apply(now_ms, coalescer::Input::Frames, around);
        }
        if self.metronome.is_due(now_ms) {
            self.watched.apply(now_ms, coalescer::Input::Tick, around);
        }
        self.perform(around)
    }

    fn perform(&mut self, around: &mut Around<'_>) -> Turn {
        for action in std::mem::take(&mut self.watched.actions) {
            match action {
                coalescer::Action::Log(action) => {
                    // What is beside the transactions is no step of any of them.
                    let beside = matches!(action, LogAction::Follow { .. } | LogAction::Send(_));
                    if !beside && around.burns() {
                        return Turn::Died;
                    }
                    around.note(&self.name, &action);
                    if let Err(error) = self.worker.perform(action) {
                        return broken(error);
                    }
                }
                coalescer::Action::Say(coalescer::Event::Ticked { .. }) => {}
                coalescer::Action::Say(event) => {
                    around.log.cluster().note_of(&self.name, &format!("{event:?}"));
                }
                coalescer::Action::Stop(coalescer::Stop::Drained) => {
                    let closed = self.worker.close();
                    return closed.map_or_else(broken, |()| Turn::Left);
                }
                coalescer::Action::Stop(stop) => return Turn::Broken(format!("{stop:?}")),
            }
        }
        Turn::Alive
    }
}

impl Watched {
    fn apply(&mut self, now_ms: i64, input: coalescer::Input<'_>, around: &mut Around<'_>) {
        if let coalescer::Input::Log(LogInput::Records {
            partition,
            topic: Topic::Events,
            at_end: true,
            ..
        }) = &input
        {
            self.at_end.insert(*partition);
        }
        if let coalescer::Input::Log(LogInput::Revoking { partitions, lost }) = &input {
            let live = |p: &u32| self.driver.cores().any(|(partition, _)| partition == *p);
            around.checks.seen.interrupted += u64::from(!partitions.iter().all(live));
            around.checks.seen.lost += u64::from(*lost);
        }
        let before = self.actions.len();
        self.driver.apply(now_ms, input, &mut self.actions);
        let new = &self.actions[before..];
        let outputs = new.iter().find_map(|action| match action {
            coalescer::Action::Log(LogAction::Commit(commit)) => Some(&commit.outputs),
            _ => None,
        });
        for action in new {
            match action {
                coalescer::Action::Say(coalescer::Event::Ticked { rows, .. }) => {
                    let at_end = std::mem::take(&mut self.at_end);
                    around.checks.ticked(around.log, &self.driver, &at_end, *rows, outputs);
                }
                coalescer::Action::Say(coalescer::Event::Recovered { partition, imbalances, .. }) => {
                    let core = self.driver.cores().find(|(p, _)| p == partition).map(|(_, core)| core);
                    around.checks.recovered(around.log, COALESCERS, *partition, core, imbalances);
                }
                coalescer::Action::Say(coalescer::Event::Aborted(_)) => around.checks.seen.aborted += 1,
                coalescer::Action::Say(event @ coalescer::Event::LogCut { .. }) => {
                    around.checks.report(Rule::Recovery, format!("{event:?}"));
                }
                _ => {}
            }
        }
    }
}

impl Sink {
    /// Starts worker `number`.
    pub fn start(log: &SimLog, store: &SimStore, settings: &Settings, number: usize) -> Self {
        let name = format!("sink-{number}");
        let now_ms = log.cluster().now_ms();
        let options =
            sink::Options { in_flight_max: 16, seq_intervals_max: settings.seq_intervals_max, retry_ms: 250 };
        let (topic, group, transactional_id) = (Topic::Windows, SINKS.to_owned(), name.clone());
        Self {
            driver: sink::Driver::new(options),
            worker: SimWorker::new(log, WorkerOptions { topic, group, transactional_id }),
            name,
            rows: store.connect(),
            store: store.clone(),
            actions: Vec::new(),
            metronome: Metronome { interval_ms: 500, next_ms: now_ms + 500 },
            told_drain: false,
        }
    }

    fn turn(&mut self, now_ms: i64, around: &mut Around<'_>) -> Turn {
        if self.store.get().is_doomed(&self.rows) {
            return Turn::Died;
        }
        let (driver, actions) = (&mut self.driver, &mut self.actions);
        let polled = self.worker.poll(Duration::ZERO, &mut |input| {
            driver.apply(now_ms, sink::Input::Log(input), actions);
        });
        if let Err(error) = polled {
            return broken(error);
        }
        let mut results = Vec::new();
        self.rows.done(Duration::ZERO, &mut results);
        for (id, result) in results {
            self.driver.apply(now_ms, sink::Input::Row(id, result), &mut self.actions);
        }
        if around.draining && !std::mem::replace(&mut self.told_drain, true) {
            self.driver.apply(now_ms, sink::Input::Drain, &mut self.actions);
        }
        if self.metronome.is_due(now_ms) {
            self.driver.apply(now_ms, sink::Input::Tick, &mut self.actions);
        }
        self.perform(around)
    }

    fn perform(&mut self, around: &mut Around<'_>) -> Turn {
        for action in std::mem::take(&mut self.actions) {
            match action {
                sink::Action::Say(event) => around.log.cluster().note_of(&self.name, &format!("{event:?}")),
                sink::Action::Drained => {
                    let closed = self.worker.close();
                    return closed.map_or_else(broken, |()| Turn::Left);
                }
                sink::Action::Log(action) => {
                    if around.burns() {
                        return Turn::Died;
                    }
                    around.note(&self.name, &action);
                    if let Err(error) = self.worker.perform(action) {
                        return broken(error);
                    }
                }
                sink::Action::Row(id, action) => {
                    if around.burns() {
                        return Turn::Died;
                    }
                    self.rows.submit(id, action);
                }
            }
        }
        Turn::Alive
    }
}

impl Process {
    /// One turn of its loop.
    pub fn turn(&mut self, now_ms: i64, around: &mut Around<'_>) -> Turn {
        match self {
            Self::Coalescer(process) => process.turn(now_ms, around),
            Self::Sink(process) => process.turn(now_ms, around),
        }
    }

    /// Stands still until a time.
    pub fn freeze(&mut self, until_ms: i64) {
        match self {
            Self::Coalescer(process) => process.worker.freeze(until_ms),
            Self::Sink(process) => process.worker.freeze(until_ms),
        }
    }

    /// Partitions it works on.
    pub fn partitions(&self) -> usize {
        match self {
            Self::Coalescer(process) => process.watched.driver.cores().count(),
            Self::Sink(process) => process.driver.positions().count(),
        }
    }

    /// Whether nothing is left for it to do.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Coalescer(process) => process.watched.driver.is_quiet(),
            Self::Sink(process) => process.driver.is_quiet(),
        }
    }
}

fn broken(error: WorkerError) -> Turn {
    match error {
        WorkerError::Fenced(_) => Turn::Fenced,
        WorkerError::Fatal(what) => Turn::Broken(what),
    }
}
