//! One simulated device: its clock, its readings, and what it still owes after being offline.
//!
//! Pure: time is an argument, randomness a seeded generator of its own.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;

/// What a device measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A smart bowl: weight and water temperature, 10 Hz.
    Bowl,
    /// A wearable: acceleration and pulse, 40 Hz.
    Wearable,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The device's clock, ms.
    pub ts: i64,
    /// Rises by one per reading.
    pub seq: u64,
    /// Names and values.
    pub fields: Vec<(&'static str, f64)>,
}

/// One device.
#[derive(Debug)]
pub struct Device {
    /// Its stream id.
    pub id: String,
    /// Its clock runs ahead of the world's by this much, ms.
    pub skew_ms: i64,
    /// Its water warms and cools from this time on, ms.
    pub warms_from_ms: Option<i64>,
    kind: Kind,
    rng: Pcg32,
    next_ms: i64,
    seq: u64,
    offline_until_ms: i64,
    /// Readings not sent yet: at most [`OWED_MAX`]; beyond, the oldest are lost on the device.
    owed: VecDeque<Reading>,
    /// The last readings that were sent, for a replay.
    sent: VecDeque<Reading>,
    level: f64,
}

/// How warm water gets above its usual temperature, degrees, and how long that takes up and down again, ms.
const WARMTH: f64 = 5.0;
const WARMTH_MS: i64 = 24_000;
/// Memory of a device, readings.
const OWED_MAX: usize = 4000;
/// What a device can send again, readings.
const SENT_MAX: usize = 200;

impl Device {
    /// A device that starts at `now_ms`.
    pub fn new(id: String, kind: Kind, seed: u64, now_ms: i64) -> Self {
        let mut rng = Pcg32::seed_from_u64(seed);
        let next_ms = now_ms + i64::from(rng.next_u32() % 100);
        Self {
            id,
            skew_ms: 0,
            warms_from_ms: None,
            kind,
            rng,
            next_ms,
            seq: 0,
            offline_until_ms: i64::MIN,
            owed: VecDeque::new(),
            sent: VecDeque::new(),
            level: 400.0,
        }
    }

    /// Loses its connection until `until_ms`; it goes on measuring.
    pub fn go_offline(&mut self, until_ms: i64) {
        self.offline_until_ms = self.offline_until_ms.max(until_ms);
    }

    /// Measures up to `now_ms` and, when connected, hands over what it owes, at most `max` readings.
    pub fn run_to(&mut self, now_ms: i64, max: usize) -> Vec<Reading> {
        while self.next_ms <= now_ms {
            let reading = self.measure();
            self.owed.push_back(reading);
            if self.owed.len() > OWED_MAX {
                self.owed.pop_front();
            }
        }
        if now_ms < self.offline_until_ms {
            return Vec::new();
        }
        let send: Vec<Reading> = (0..max).map_while(|_| self.owed.pop_front()).collect();
        self.sent.extend(send.iter().cloned());
        let over = self.sent.len().saturating_sub(SENT_MAX);
        self.sent.drain(..over);
        send
    }

    /// The last readings once more, as after a lost acknowledgement.
    pub fn replay(&self) -> Vec<Reading> {
        self.sent.iter().cloned().collect()
    }

    /// A request failed: its readings are owed again.
    pub fn take_back(&mut self, readings: Vec<Reading>) {
        for reading in readings.into_iter().rev() {
            self.owed.push_front(reading);
        }
    }

    fn measure(&mut self) -> Reading {
        let period_ms = match self.kind {
            Kind::Bowl => 100,
            Kind::Wearable => 25,
        };
        let ts = self.next_ms + self.skew_ms;
        self.next_ms += period_ms;
        self.seq += 1;
        let noise = self.noise();
        let fields = match self.kind {
            Kind::Bowl => {
                self.level = if self.level < 20.0 { 400.0 } else { self.level - 0.02 };
                let temp = 18.0 + self.warmth(ts) + noise / 4.0;
                vec![("weight", self.level + noise), ("temp", temp)]
            }
            Kind::Wearable => {
                let phase = ts as f64 / 160.0;
                let (ax, ay) = (phase.sin() + noise / 8.0, phase.cos() + noise / 8.0);
                vec![
                    ("ax", ax),
                    ("ay", ay),
                    ("az", 1.0 + noise / 16.0),
                    ("pulse", 72.0 + 8.0 * (phase / 50.0).sin()),
                ]
            }
        };
        Reading { ts, seq: self.seq, fields }
    }

    fn warmth(&self, ts: i64) -> f64 {
        let Some(since) = self.warms_from_ms.filter(|from| *from <= ts) else { return 0.0 };
        let turn = (ts - since) as f64 / WARMTH_MS as f64 * std::f64::consts::TAU;
        WARMTH * (1.0 - turn.cos()) / 2.0
    }

    /// Uniform in [−1, 1).
    fn noise(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_owes_what_it_measured_offline_and_loses_nothing_within_its_memory() {
        let mut device = Device::new("bowl/1".into(), Kind::Bowl, 1, 0);
        device.go_offline(5_000);
        assert!(device.run_to(4_999, 1_000).is_empty());
        let mut seqs: Vec<u64> = device.run_to(5_000, 30).iter().map(|r| r.seq).collect();
        seqs.extend(device.run_to(5_001, 1_000).iter().map(|r| r.seq));
        let count = seqs.len() as u64;
        assert!((49..=51).contains(&count), "{count}");
        assert!(seqs.into_iter().eq(1..=count));
        assert_eq!(device.replay().len() as u64, count);
    }

    /// The demo's rule raises above 21 and clears below 19.5.
    #[test]
    fn warm_water_is_beyond_the_demos_rule_and_comes_back_wherever_windows_begin() {
        for window_ms in (0..5_000).step_by(500) {
            let mut device = Device::new("bowl/1".into(), Kind::Bowl, 1, 0);
            device.warms_from_ms = Some(window_ms);
            let readings = device.run_to(40_000, 1_000);
            let means = readings.chunks(50).map(|window| {
                let temps = window.iter().filter_map(|r| r.fields.iter().find(|(name, _)| *name == "temp"));
                temps.map(|(_, temp)| temp).sum::<f64>() / window.len() as f64
            });
            let means: Vec<f64> = means.collect();
            let raised = means.iter().position(|mean| *mean > 21.0).unwrap();
            assert!(means[..raised].iter().all(|mean| *mean < 21.0) && means[0] < 19.0);
            assert!(means[raised..].iter().any(|mean| *mean < 19.5), "{means:?}");
        }
    }

    #[test]
    fn what_could_not_be_sent_is_sent_first_next_time() {
        let mut device = Device::new("w/1".into(), Kind::Wearable, 1, 0);
        let first = device.run_to(1_000, 10);
        device.take_back(first.clone());
        assert_eq!(device.run_to(1_000, 10), first);
    }
}
