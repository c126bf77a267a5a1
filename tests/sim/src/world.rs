//! One run: a scenario's steps over the simulated log and store, until everything has come to rest.
//!
//! Owns: virtual time, in small quanta; the seats in which processes live, die and come back. Never:
//! knowledge of what is right (that is tests/scenarios' part).

use crate::checks::Checks;
use crate::gateway::Gateway;
use crate::log::{Record, SimLog};
use crate::process::{Around, COALESCERS, Coalescer, Process, SINKS, Sink, Turn};
use crate::store::SimStore;
use evenkeel_codec::encode_batch;
use evenkeel_model::{EventBatch, Topic, partition_of};
use evenkeel_scenarios::{Devices, Rule, Scenario, Service, Settings, Step};
use std::collections::VecDeque;

/// How finely time passes, ms.
const QUANTUM_MS: i64 = 25;
/// How long a run may take to come to rest after its last step, ms, beyond what its settings ask for.
const REST_MS: i64 = 300_000;
/// How long rest must last to be rest, ms.
const CALM_MS: i64 = 5_000;
/// How long a fenced process takes to start anew, ms.
const RESTART_MS: i64 = 300;

/// A place for a process.
#[derive(Debug, Default)]
struct Seat {
    process: Option<Process>,
    fuse: Option<u32>,
    frozen_until_ms: i64,
    /// Dead by a scenario's will: only a `Restart` (or the end) brings it back.
    killed: bool,
    start_at_ms: i64,
}

/// One run.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    /// The log.
    pub log: SimLog,
    /// The store.
    pub store: SimStore,
    /// What was seen meanwhile.
    pub checks: Checks,
    devices: Devices,
    gateway: Gateway,
    /// Accepted by ingest, not in the log yet: the log is away.
    held: VecDeque<(u32, Record)>,
    coalescers: Vec<Seat>,
    sinks: Vec<Seat>,
    /// Coalescer and sink workers that there are to be.
    wanted: [usize; 2],
    ending: bool,
    /// The steps are over: whoever still dies comes back by itself.
    resting: bool,
    /// Steps that are faults and were carried out.
    pub faults: u64,
}

impl World {
    /// A world in which nothing has happened, at a virtual time.
    pub fn new(settings: &Settings, start_ms: i64) -> Self {
        Self {
            settings: settings.clone(),
            log: SimLog::new(settings.partitions, start_ms),
            store: SimStore::new(start_ms),
            checks: Checks::new(settings),
            devices: Devices::default(),
            gateway: Gateway::default(),
            held: VecDeque::new(),
            coalescers: (0..3).map(|_| Seat::default()).collect(),
            sinks: (0..2).map(|_| Seat::default()).collect(),
            wanted: [1, 1],
            ending: false,
            resting: false,
            faults: 0,
        }
    }

    /// Plays all steps, then lets the world come to rest.
    pub fn play(&mut self, scenario: &Scenario) {
        for step in &scenario.steps {
            self.faults += u64::from(step.is_fault());
            self.step(step);
        }
        self.come_to_rest();
    }

    /// Virtual time, ms.
    fn now_ms(&self) -> i64 {
        self.log.cluster().now_ms()
    }

    fn step(&mut self, step: &Step) {
        let now = self.now_ms();
        if let Some(batch) = self.devices.batch(now, step) {
            return self.send(&batch, matches!(step, Step::Misroute(_)));
        }
        match step {
            Step::Advance { ms } => self.advance(*ms),
            Step::Garble { stream_id } => self.garble(stream_id),
            Step::Rebalance { service, workers } => {
                let most = self.seats(*service).len();
                self.wanted[*service as usize] = (*workers).clamp(1, most);
            }
            Step::Kill { service, worker, after_actions } => self.kill(*service, *worker, *after_actions),
            Step::Restart { service, worker } => {
                if let Some(seat) = self.seats(*service).get_mut(*worker) {
                    (seat.killed, seat.start_at_ms) = (false, now);
                }
            }
            Step::Freeze { service, worker, for_ms } => self.freeze(*service, *worker, now + for_ms),
            Step::AbortNext => self.log.cluster().faults.abort_next = true,
            Step::BrokerDown { for_ms } => self.log.cluster().faults.down_until_ms = now + for_ms,
            Step::FetchMax { records } => self.log.cluster().faults.fetch_max = *records,
            Step::MarkerLag { windows_ms, marks_ms, offsets_ms } => {
                let faults = &mut self.log.cluster().faults;
                faults.marker_lag_ms = [(Topic::Windows, *windows_ms), (Topic::Marks, *marks_ms)].into();
                faults.offsets_lag_ms = *offsets_ms;
            }
            Step::StoreDown { for_ms } => self.store.get().faults.down_until_ms = now + for_ms,
            Step::StoreSlow { for_ms, delay_ms } => {
                let faults = &mut self.store.get().faults;
                (faults.slow_until_ms, faults.delay_ms) = (now + for_ms, *delay_ms);
            }
            Step::StoreUnknown { write, outcome, kills } => {
                self.store.get().faults.unknown = Some((*write, *outcome, *kills));
            }
            Step::Compact => {
                let mut cluster = self.log.cluster();
                (0..self.settings.partitions).for_each(|p| cluster.log(Topic::Marks, p).compact());
            }
            Step::Send { .. } | Step::Replay { .. } | Step::Misroute(_) | Step::Skew { .. } => {}
        }
    }

    fn send(&mut self, batch: &EventBatch, misroute: bool) {
        let partitions = self.settings.partitions;
        let owner = partition_of(&batch.stream_id, partitions);
        let partition = if misroute { (owner + 1) % partitions } else { owner };
        let mut value = Vec::new();
        encode_batch(batch, &mut value);
        self.gateway.look(&self.log, &batch.stream_id);
        self.append(partition, batch.stream_id.as_bytes(), value);
    }

    fn garble(&mut self, stream_id: &str) {
        let partition = partition_of(stream_id, self.settings.partitions);
        self.append(partition, stream_id.as_bytes(), b"\xC3\x01 not a batch".to_vec());
    }

    /// Ingest hands a record to the log, in order, as soon as the log is there.
    fn append(&mut self, partition: u32, key: &[u8], value: Vec<u8>) {
        let timestamp_ms = self.now_ms();
        let record = Record { timestamp_ms, key: Some(key.to_vec()), value: Some(value), headers: vec![] };
        self.held.push_back((partition, record));
        self.release_held();
    }

    fn release_held(&mut self) {
        let mut cluster = self.log.cluster();
        while !cluster.is_down() {
            let Some((partition, record)) = self.held.pop_front() else { return };
            cluster.append(Topic::Events, partition, record);
        }
    }

    fn seats(&mut self, service: Service) -> &mut Vec<Seat> {
        match service {
            Service::Coalescer => &mut self.coalescers,
            Service::Sink => &mut self.sinks,
        }
    }

    fn kill(&mut self, service: Service, worker: usize, after_actions: u32) {
        let Some(seat) = self.seats(service).get_mut(worker) else { return };
        match after_actions {
            0 => (seat.process, seat.fuse, seat.killed) = (None, None, true),
            actions => seat.fuse = Some(actions - 1),
        }
    }

    fn freeze(&mut self, service: Service, worker: usize, until_ms: i64) {
        let Some(seat) = self.seats(service).get_mut(worker) else { return };
        if let Some(process) = &mut seat.process {
            process.freeze(until_ms);
            seat.frozen_until_ms = until_ms;
        }
    }

    fn advance(&mut self, ms: i64) {
        let until = self.now_ms() + ms;
        while self.now_ms() < until {
            let now = (self.now_ms() + QUANTUM_MS).min(until);
            self.log.cluster().advance_to(now);
            self.store.get().advance_to(now);
            self.release_held();
            for worker in 0..self.coalescers.len() {
                self.turn(Service::Coalescer, worker, now);
            }
            for worker in 0..self.sinks.len() {
                self.turn(Service::Sink, worker, now);
            }
        }
    }

    fn turn(&mut self, service: Service, worker: usize, now: i64) {
        let wanted = worker < self.wanted[service as usize];
        let (log, store, settings) = (self.log.clone(), self.store.clone(), self.settings.clone());
        let (ending, resting) = (self.ending, self.resting);
        let mut checks = std::mem::replace(&mut self.checks, Checks::new(&settings));
        checks.now_ms = now;
        let seat = &mut self.seats(service)[worker];
        if seat.process.is_none() && wanted && !seat.killed && now >= seat.start_at_ms {
            seat.process = Some(match service {
                Service::Coalescer => Process::Coalescer(Box::new(Coalescer::start(&log, &settings, worker))),
                Service::Sink => Process::Sink(Box::new(Sink::start(&log, &store, &settings, worker))),
            });
            (seat.fuse, seat.frozen_until_ms) = (None, 0);
        }
        if let Some(process) = seat.process.as_mut().filter(|_| now >= seat.frozen_until_ms) {
            let (checks, fuse) = (&mut checks, &mut seat.fuse);
            let mut around = Around { log: &log, checks, fuse, ending, draining: !wanted };
            match process.turn(now, &mut around) {
                Turn::Alive => {}
                Turn::Left => seat.process = None,
                Turn::Died => (seat.process, seat.fuse, seat.killed) = (None, None, !resting),
                Turn::Fenced => {
                    around.checks.seen.fenced += 1;
                    (seat.process, seat.start_at_ms) = (None, now + RESTART_MS);
                }
                Turn::Broken(what) => {
                    log.cluster().note_of("broken", &format!("{service:?} {worker}: {what}"));
                    checks_broken(around.checks, service, worker, &what);
                    (seat.process, seat.start_at_ms) = (None, now + RESTART_MS);
                }
            }
        }
        self.checks = checks;
    }

    /// No more misfortune: everybody comes back, and the world runs until nothing is left to do.
    fn come_to_rest(&mut self) {
        let now = self.now_ms();
        {
            let faults = &mut self.log.cluster().faults;
            (faults.down_until_ms, faults.abort_next, faults.fetch_max) = (now, false, 500);
            (faults.marker_lag_ms, faults.offsets_lag_ms) = (Default::default(), 0);
            let faults = &mut self.store.get().faults;
            (faults.down_until_ms, faults.slow_until_ms, faults.unknown) = (now, now, None);
        }
        for seat in self.coalescers.iter_mut().chain(&mut self.sinks) {
            (seat.killed, seat.fuse) = (false, None);
        }
        (self.ending, self.resting) = (!self.settings.facts, true);
        // Without traffic the live clock stands for outage-max before silence closes anything.
        let silence = self.settings.classes.iter().map(|class| class.idle_timeout_ms).max().unwrap_or(0);
        let limit = match self.settings.facts {
            true => REST_MS + 2 * self.settings.outage_max_ms + self.settings.open_age_max_ms + silence,
            false => REST_MS,
        };
        let (mut calm_ms, mut left_ms) = (0, limit);
        while calm_ms < CALM_MS && left_ms > 0 {
            self.advance(500);
            left_ms -= 500;
            calm_ms = if self.is_at_rest() { calm_ms + 500 } else { 0 };
        }
        if calm_ms < CALM_MS {
            let why = format!("not at rest {limit} ms after the last step");
            self.checks.report(Rule::Drained, why);
        }
    }

    fn is_at_rest(&self) -> bool {
        let now = self.now_ms();
        let all_owned = |seats: &[Seat]| {
            let owned = seats.iter().filter_map(|seat| seat.process.as_ref()).map(Process::partitions);
            owned.sum::<usize>() == self.settings.partitions as usize
        };
        let quiet =
            |seat: &Seat| now >= seat.frozen_until_ms && seat.process.as_ref().is_none_or(Process::is_quiet);
        let seats = || self.coalescers.iter().chain(&self.sinks);
        all_owned(&self.coalescers)
            && all_owned(&self.sinks)
            && seats().all(quiet)
            && self.held.is_empty()
            && self.store.get().is_quiet()
            && self.is_consumed()
    }

    /// Whether both groups have committed the end of their topic in every partition.
    fn is_consumed(&self) -> bool {
        let mut cluster = self.log.cluster();
        (0..self.settings.partitions).all(|partition| {
            [(Topic::Events, COALESCERS), (Topic::Windows, SINKS)].into_iter().all(|(topic, group)| {
                let end = cluster.log(topic, partition).end();
                let committed = cluster.group(group).committed(partition).map_or(0, |(offset, _)| *offset);
                committed >= end
            })
        })
    }
}

fn checks_broken(checks: &mut Checks, service: Service, worker: usize, what: &str) {
    checks.report(Rule::Protocol, format!("{service:?} {worker}: {what}"));
}
