//! Plays the steps of a scenario in real time.
//!
//! Owns: when what happens to which part. Never: a step that is left out in silence.

use super::Parts;
use super::proxy::Proxy;
use super::seats::{Kind, Seats};
use super::sender::{Parcel, Senders};
use anyhow::Context;
use evenkeel_codec::encode_batch;
use evenkeel_model::partition_of;
use evenkeel_scenarios::{Devices, Scenario, Service, Step};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How finely time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes that are no batch.
const GARBAGE: &[u8] = b"\xC3\x01 not a batch";

/// Something to do later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Kill(Kind, usize),
    Restart(Kind, usize),
    Thaw(Kind, usize),
    ThawBroker,
}

/// Plays one scenario.
pub struct Director<'a> {
    parts: &'a Parts,
    scenario: &'a Scenario,
    /// The processes.
    pub seats: Seats,
    /// The way in.
    pub senders: Senders,
    proxy: Proxy,
    devices: Devices,
    skew_ms: i64,
    later: Vec<(Instant, Later)>,
    /// Faults that were carried out.
    pub faults: u64,
    /// Steps that real parts do not do on demand, by name.
    pub left_out: BTreeMap<&'static str, u32>,
}

impl<'a> Director<'a> {
    /// Everything is ready; nothing has happened.
    pub fn new(
        parts: &'a Parts,
        scenario: &'a Scenario,
        seats: Seats,
        senders: Senders,
        proxy: Proxy,
    ) -> Self {
        Self {
            parts,
            scenario,
            seats,
            senders,
            proxy,
            devices: Devices::default(),
            skew_ms: 0,
            later: Vec::new(),
            faults: 0,
            left_out: BTreeMap::new(),
        }
    }

    /// Plays all steps from the scenario's start on; then everybody is back and nothing is away. Ingest, which
    /// no step names, is killed twice.
    pub fn play(&mut self) -> anyhow::Result<()> {
        let start = Instant::now() + ms(self.scenario.start_ms - now_ms());
        let third = ms(self.scenario.length_ms() / 3);
        for nth in [1, 2] {
            self.later.push((start + third * nth, Later::Kill(Kind::Ingest, 0)));
            self.later.push((start + third * nth + ms(300), Later::Restart(Kind::Ingest, 0)));
        }
        let mut now = start;
        let steps = &self.scenario.steps;
        self.wait_until(start)?;
        for step in steps {
            match step {
                Step::Advance { ms: time } => {
                    now += ms(*time);
                    self.wait_until(now)?;
                }
                step => self.step(step)?,
            }
        }
        while !self.later.is_empty() || !self.senders.is_idle()? {
            self.turn()?;
        }
        self.proxy.heal();
        self.seats.restart_all();
        for kind in [Kind::Ingest, Kind::Coalescer, Kind::Sink] {
            self.seats.want(kind, 1);
        }
        Ok(())
    }

    fn wait_until(&mut self, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.turn()?;
        }
        Ok(())
    }

    /// Does what is due, and waits a little.
    pub fn turn(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, what) in due {
            match what {
                Later::Kill(kind, seat) => self.seats.kill(kind, seat)?,
                Later::Restart(kind, seat) => self.seats.restart(kind, seat),
                Later::Thaw(kind, seat) => self.seats.thaw(kind, seat)?,
                Later::ThawBroker => self.parts.thaw_broker()?,
            }
        }
        if self.proxy.take_doom() {
            self.seats.kill(Kind::Sink, 0)?;
            self.seats.kill(Kind::Sink, 1)?;
        }
        self.seats.turn()?;
        let next = self.later.iter().map(|(at, _)| at.saturating_duration_since(now)).min();
        std::thread::sleep(LOOK_EVERY.min(next.unwrap_or(LOOK_EVERY)).max(ms(1)));
        Ok(())
    }

    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        if self.data(step)? {
            return Ok(());
        }
        match step {
            Step::Rebalance { service, workers } => self.seats.want(kind_of(*service), (*workers).max(1)),
            Step::Kill { service, worker, after_actions } => {
                // An action of a worker takes some milliseconds.
                let at = Instant::now() + ms(20 * i64::from(*after_actions));
                self.later.push((at, Later::Kill(kind_of(*service), *worker)));
            }
            Step::Restart { service, worker } => self.seats.restart(kind_of(*service), *worker),
            Step::Freeze { service, worker, for_ms } => {
                let kind = kind_of(*service);
                if self.seats.freeze(kind, *worker)? {
                    self.later.push((Instant::now() + ms(*for_ms), Later::Thaw(kind, *worker)));
                }
            }
            Step::BrokerDown { for_ms } => {
                if !self.parts.freeze_broker()? {
                    return self.leave_out("BrokerDown (the broker was given)");
                }
                self.later.push((Instant::now() + ms(*for_ms), Later::ThawBroker));
            }
            Step::StoreDown { for_ms } => self.proxy.down(ms(*for_ms)),
            Step::StoreSlow { for_ms, delay_ms } => self.proxy.slow(ms(*for_ms), ms(*delay_ms)),
            Step::StoreUnknown { write, outcome, kills } => self.proxy.unknown(*write, *outcome, *kills),
            Step::AbortNext => return self.leave_out("AbortNext"),
            Step::MarkerLag { .. } => return self.leave_out("MarkerLag"),
            Step::FetchMax { .. } => return self.leave_out("FetchMax"),
            Step::Compact => return self.leave_out("Compact"),
            Step::Send { .. }
            | Step::Replay { .. }
            | Step::Garble { .. }
            | Step::Misroute(_)
            | Step::Skew { .. }
            | Step::Advance { .. } => {}
        }
        self.faults += u64::from(step.is_fault());
        Ok(())
    }

    fn leave_out(&mut self, what: &'static str) -> anyhow::Result<()> {
        *self.left_out.entry(what).or_default() += 1;
        Ok(())
    }

    /// Sends what the step sends; whether it is a step that sends.
    fn data(&mut self, step: &Step) -> anyhow::Result<bool> {
        let partitions = self.scenario.settings.partitions;
        if let Step::Garble { stream_id } = step {
            let partition = partition_of(stream_id, partitions);
            let (stream_id, value) = (stream_id.clone(), GARBAGE.to_vec());
            self.senders.send(Parcel::Append { partition, stream_id, value });
            self.faults += 1;
            return Ok(true);
        }
        if let Step::Skew { by_ms } = step {
            self.skew_ms = *by_ms;
        }
        let Some(batch) = self.devices.batch(now_ms(), step) else { return Ok(false) };
        let owner = partition_of(&batch.stream_id, partitions);
        let misrouted = matches!(step, Step::Misroute(_));
        let held = matches!(step, Step::Send { held_ms, .. } if *held_ms != 0);
        if !misrouted && !held && self.skew_ms == 0 {
            self.senders.send(Parcel::Post(batch));
            return Ok(true);
        }
        let mut value = Vec::new();
        encode_batch(&batch, &mut value);
        let partition = if misrouted { (owner + 1) % partitions } else { owner };
        self.senders.send(Parcel::Append { partition, stream_id: batch.stream_id, value });
        self.faults += u64::from(misrouted);
        Ok(true)
    }
}

fn kind_of(service: Service) -> Kind {
    match service {
        Service::Coalescer => Kind::Coalescer,
        Service::Sink => Kind::Sink,
    }
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Waits until `done` says so, with a deadline.
pub fn wait_for(
    what: &str,
    deadline: Duration,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done().with_context(|| what.to_owned())? {
        anyhow::ensure!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
