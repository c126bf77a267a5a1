//! The simulated fleet: bowls and wearables, reconnect storms, replays, warm water, one wrong clock.
//!
//! Pure: `step` says what every device sends now. Bounded: a device sends at most [`BATCH_MAX`] readings a
//! step and remembers a bounded past.

use super::device::{Device, Kind, Reading};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// How large the fleet is and what happens to it.
#[derive(Debug, Clone, Copy)]
pub struct FleetOptions {
    /// Smart bowls, 10 Hz each.
    pub bowls: u32,
    /// Wearables, 40 Hz each.
    pub wearables: u32,
    /// Time between reconnect storms, ms.
    pub storm_every_ms: i64,
    /// Time between replays, ms.
    pub replay_every_ms: i64,
    /// Seed of everything random.
    pub seed: u64,
}

/// Readings of one device in one step.
pub const BATCH_MAX: usize = 500;

/// What one device sends in one step.
#[derive(Debug)]
pub struct Sending {
    /// Which device.
    pub device: usize,
    /// Its readings.
    pub readings: Vec<Reading>,
    /// They were sent before.
    pub again: bool,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// Reconnect storms.
    pub storms: u64,
    /// Devices that sent their past again.
    pub replays: u64,
}

/// The fleet.
#[derive(Debug)]
pub struct Fleet {
    devices: Vec<Device>,
    options: FleetOptions,
    rng: Pcg32,
    next_storm_ms: i64,
    next_replay_ms: i64,
    /// What has happened so far.
    pub happened: Happened,
}

/// How far the one wrong clock runs ahead, ms: beyond max-future.
const WRONG_CLOCK_MS: i64 = 3_600_000;

/// Bowls whose water warms: the first, every so manieth, and how much later each begins, ms.
const WARM_FIRST: usize = 7;
const WARM_EVERY: usize = 20;
const WARM_AFTER_MS: i64 = 8_000;

impl Fleet {
    /// A fleet that starts at `now_ms`. The water of a few bowls warms and cools, again and again. Its last wearable's clock is an hour ahead.
    pub fn new(options: FleetOptions, now_ms: i64) -> Self {
        let seed = |n: u32| options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(n));
        let bowl = |n| Device::new(format!("bowl/{n:04}"), Kind::Bowl, seed(n), now_ms);
        let wearable =
            |n| Device::new(format!("wearable/{n:04}"), Kind::Wearable, seed(n ^ 0x8000_0000), now_ms);
        let mut devices: Vec<Device> =
            (0..options.bowls).map(bowl).chain((0..options.wearables).map(wearable)).collect();
        let bowls = devices.iter_mut().take(options.bowls as usize);
        for (nth, device) in bowls.skip(WARM_FIRST).step_by(WARM_EVERY).enumerate() {
            device.warms_from_ms = Some(now_ms + nth as i64 * WARM_AFTER_MS);
        }
        if let Some(last) = devices.last_mut() {
            last.skew_ms = WRONG_CLOCK_MS;
        }
        Self {
            devices,
            rng: Pcg32::seed_from_u64(options.seed),
            next_storm_ms: now_ms + options.storm_every_ms,
            next_replay_ms: now_ms + options.replay_every_ms,
            options,
            happened: Happened::default(),
        }
    }

    /// A device's stream id.
    pub fn id(&self, device: usize) -> &str {
        &self.devices[device].id
    }

    /// Whether a device's clock is the wrong one.
    pub fn is_wrong(&self, device: usize) -> bool {
        self.devices[device].skew_ms != 0
    }

    /// Everything that is sent at `now_ms`.
    pub fn step(&mut self, now_ms: i64) -> Vec<Sending> {
        if now_ms >= self.next_storm_ms {
            self.next_storm_ms += self.options.storm_every_ms;
            self.storm(now_ms);
        }
        let mut sendings = Vec::new();
        for (device, d) in self.devices.iter_mut().enumerate() {
            let readings = d.run_to(now_ms, BATCH_MAX);
            if !readings.is_empty() {
                sendings.push(Sending { device, readings, again: false });
            }
        }
        if now_ms >= self.next_replay_ms && !self.devices.is_empty() {
            self.next_replay_ms += self.options.replay_every_ms;
            self.happened.replays += 1;
            let device = self.rng.next_u32() as usize % self.devices.len();
            let readings = self.devices[device].replay();
            if !readings.is_empty() {
                sendings.push(Sending { device, readings, again: true });
            }
        }
        sendings
    }

    /// A sending was not acknowledged: the device keeps it.
    pub fn take_back(&mut self, sending: Sending) {
        if !sending.again {
            self.devices[sending.device].take_back(sending.readings);
        }
    }

    /// A third of the fleet loses its connection and comes back at the same moment.
    fn storm(&mut self, now_ms: i64) {
        self.happened.storms += 1;
        let until_ms = now_ms + 2_000 + i64::from(self.rng.next_u32() % 3_000);
        for device in &mut self.devices {
            if self.rng.next_u32().is_multiple_of(3) {
                device.go_offline(until_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reading_is_sent_once_and_replays_say_so() {
        let options =
            FleetOptions { bowls: 3, wearables: 3, storm_every_ms: 7_000, replay_every_ms: 2_000, seed: 7 };
        let mut fleet = Fleet::new(options, 0);
        let (mut seen, mut again) = (BTreeSet::new(), 0);
        for now in (0..30_000).step_by(250) {
            for sending in fleet.step(now) {
                for reading in &sending.readings {
                    let new = seen.insert((sending.device, reading.seq));
                    assert_eq!(new, !sending.again, "device {} seq {}", sending.device, reading.seq);
                }
                again += usize::from(sending.again);
            }
        }
        assert_eq!(fleet.happened.storms, 4);
        assert!(again > 5 && fleet.is_wrong(5) && !fleet.is_wrong(4));
        assert!(seen.len() > 4 * 3 * 30 * 10);
    }
}
