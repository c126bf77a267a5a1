//! Named histories: what recorded data does not show, at the rates of real devices. Each is a data history;
//! a world adds its own trouble.

use crate::rng::Rng;
use crate::sample::{Sample, batch_of};
use crate::settings::{Class, Settings};
use crate::step::{START_MS, Scenario, Service, Step, Timeline};

/// Every named history.
pub fn all() -> Vec<Scenario> {
    vec![
        shuffled_64_hz(),
        lossy_with_late_gaps(),
        reconnect_storm(),
        reboots_that_count_from_one(),
        stuck_and_skewed_clocks(),
        silence_and_return(),
        sorted_by_stream(),
        below_the_floor(),
    ]
}

struct Story {
    rng: Rng,
    uid: u64,
    line: Timeline,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), uid: 0, line: Timeline::default() }
    }

    fn sample(&mut self, ts: i64, seq: u64) -> Sample {
        self.uid += 1;
        Sample { ts: START_MS + ts, seq: Some(seq), uid: self.uid }
    }

    /// `hz` events per second over `[from, to)`, seq from `seq`.
    fn steady(&mut self, from: i64, to: i64, hz: i64, seq: u64) -> Vec<Sample> {
        let count = (to - from) * hz / 1_000;
        (0..count).map(|i| self.sample(from + i * 1_000 / hz, seq + i as u64)).collect()
    }

    /// Sends samples in batches of `per_batch`, each at the device time of its newest event.
    fn send(&mut self, name: &str, samples: &[Sample], per_batch: usize) {
        for chunk in samples.chunks(per_batch) {
            let newest = chunk.iter().map(|s| s.ts - START_MS).max().unwrap_or(0);
            self.send_at(name, newest, chunk);
        }
    }

    fn send_at(&mut self, name: &str, at: i64, samples: &[Sample]) {
        self.line.at(at, Step::Send { batch: batch_of(name, samples), held_ms: 0 });
    }

    fn told(self, name: &str) -> Scenario {
        let (settings, steps) = (Settings::product(), self.line.into_steps());
        Scenario { name: name.to_owned(), settings, start_ms: START_MS, steps }
    }
}

/// 64 Hz, every 3 s of data in random order (a radio that retries): seq sets of about 49 intervals.
pub fn shuffled_64_hz() -> Scenario {
    let mut story = Story::new(1);
    let mut samples = story.steady(0, 60_000, 64, 1);
    for chunk in samples.chunks_mut(64 * 3) {
        story.rng.shuffle(chunk);
    }
    story.send("imu/ankle", &samples, 16);
    story.told("64 Hz shuffled over 3 s")
}

/// 10 % of the events are lost and come 4 to 20 s later; some come twice.
pub fn lossy_with_late_gaps() -> Scenario {
    let mut story = Story::new(2);
    let samples = story.steady(0, 60_000, 40, 1);
    let (mut now, mut lost) = (Vec::new(), Vec::new());
    for sample in samples {
        if story.rng.chance(10) {
            lost.push(sample)
        } else {
            now.push(sample)
        }
        if story.rng.chance(2) {
            now.push(sample);
        }
    }
    story.send("imu/wrist", &now, 20);
    for sample in lost {
        let at = sample.ts - START_MS + story.rng.between(4_000, 20_000);
        story.send_at("imu/wrist", at, &[sample]);
    }
    story.told("10 % loss, gaps filled later")
}

/// 30 devices lose their connection for 20 s and send everything at once, then again from a replay.
pub fn reconnect_storm() -> Scenario {
    let mut story = Story::new(3);
    for device in 0..30 {
        let name = format!("bowl/{device}");
        let before = story.steady(device, 20_000 + device, 5, 1);
        let away = story.steady(20_000 + device, 40_000 + device, 5, 101);
        let after = story.steady(40_000 + device, 60_000 + device, 5, 201);
        story.send(&name, &before, 5);
        for (i, chunk) in away.chunks(25).enumerate() {
            story.send_at(&name, 40_000 + device + i as i64, chunk);
        }
        story.line.at(41_000, Step::Replay { stream_id: name.clone(), events_max: 150 });
        story.send(&name, &after, 5);
    }
    story.told("reconnect storm of 30 devices")
}

/// A device reboots every few seconds and counts from 1 again, partly with its clock set back.
pub fn reboots_that_count_from_one() -> Scenario {
    let mut story = Story::new(4);
    let mut at = 0;
    for reboot in 0..12 {
        let length = story.rng.between(1_000, 9_000);
        let back = if reboot % 3 == 2 { 4_000 } else { 0 };
        let samples = story.steady((at - back).max(0), (at - back).max(0) + length, 10, 1);
        for (i, chunk) in samples.chunks(5).enumerate() {
            story.send_at("toy/1", at + 500 * i as i64, chunk);
        }
        at += length + story.rng.pick(&[0, 1_000, 16_000]);
    }
    story.told("reboots that restart seq")
}

/// Clocks that stand still, run behind by a day, and jump ahead past max-future.
pub fn stuck_and_skewed_clocks() -> Scenario {
    let mut story = Story::new(5);
    for seq in 0..400 {
        let at = 250 * seq as i64;
        let stuck = story.sample(5_000 + at / 20_000, seq);
        let behind = story.sample(at - 86_400_000, seq);
        let ahead = story.sample(at + if seq % 50 == 7 { 3_600_000 } else { 0 }, seq);
        for (name, sample) in [("clock/stuck", stuck), ("clock/behind", behind), ("clock/ahead", ahead)] {
            story.send_at(name, at, &[sample]);
        }
    }
    story.told("stuck, late and early clocks")
}

/// One device is silent and returns with old and new events; then the whole fleet is silent.
pub fn silence_and_return() -> Scenario {
    let mut story = Story::new(6);
    let other = story.steady(0, 240_000, 2, 1);
    story.send("bowl/steady", &other, 2);
    let first = story.steady(0, 20_000, 4, 1);
    let kept = story.steady(20_000, 22_000, 4, 81);
    let later = story.steady(120_000, 140_000, 4, 89);
    story.send("bowl/silent", &first, 4);
    story.send_at("bowl/silent", 119_000, &kept);
    story.send("bowl/silent", &later, 4);
    let after_all = story.steady(500_000, 510_000, 4, 169);
    story.send("bowl/silent", &after_all, 4);
    story.told("silence and return")
}

/// A file sorted by stream: the second stream's data is as old as the first's, but lies behind it in the
/// log. Replayed in its own time (arrival = the largest ts so far of its stream), with max-age 100 years.
pub fn sorted_by_stream() -> Scenario {
    let mut story = Story::new(7);
    let mut now = 0;
    for stream in 0..5 {
        let mut samples = story.steady(0, 90_000, 4, 1);
        for chunk in samples.chunks_mut(6) {
            story.rng.shuffle(chunk);
        }
        let mut newest = 0;
        for chunk in samples.chunks(12) {
            now += 10;
            newest = chunk.iter().map(|s| s.ts - START_MS).fold(newest, i64::max);
            let batch = batch_of(&format!("file/{stream}"), chunk);
            story.line.at(now, Step::Send { batch, held_ms: now - newest });
        }
    }
    let mut scenario = story.told("a file sorted by stream");
    scenario.settings.max_age_ms = 100 * 365 * 86_400_000;
    scenario
}

/// A forgotten stream's mark becomes the floor; then an unknown stream sends an event below it (its ingest is
/// behind, so it is not `too_old`), and the worker dies before the windows around it are out: the replay
/// must find the event late again.
pub fn below_the_floor() -> Scenario {
    let mut story = Story::new(8);
    let first = story.sample(1_000, 1);
    story.send_at("quiet/1", 1_000, &[first]);
    let steady = story.steady(0, 100_000, 4, 1);
    story.send("steady/1", &steady, 4);
    for (at, name) in [(72_100, "late/1"), (72_300, "late/2")] {
        story.line.at(at - 10, Step::Skew { by_ms: -9_000 });
        let below = story.sample(9_200, 1);
        story.send_at(name, at, &[below]);
        story.line.at(at + 10, Step::Skew { by_ms: 0 });
    }
    let (service, worker) = (Service::Coalescer, 0);
    story.line.at(74_500, Step::Kill { service, worker, after_actions: 0 });
    story.line.at(75_000, Step::Restart { service, worker });
    let mut scenario = story.told("an event below the floor, then a crash");
    let class = Class {
        sizes_ms: vec![5_000, 15_000],
        lateness_ms: 3_000,
        idle_timeout_ms: 8_000,
        ..scenario.settings.classes[0].clone()
    };
    scenario.settings = Settings {
        partitions: 1,
        classes: vec![class],
        max_future_ms: 10_000,
        max_age_ms: 60_000,
        clock_slack_ms: 4_000,
        idle_evict_ms: 9_000,
        open_age_max_ms: 25_000,
        outage_max_ms: 12_000,
        mark_refresh_ms: 5_000,
        ..Settings::product()
    };
    scenario
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_history_is_well_formed_and_has_a_name_of_its_own() {
        let all = all();
        for (i, scenario) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other.name != scenario.name));
            let mut events = 0;
            for step in &scenario.steps {
                if let Step::Send { batch, .. } = step {
                    batch.check_shape().unwrap();
                    events += batch.len();
                }
            }
            assert!(events >= 200, "{}: {events} events", scenario.name);
        }
    }
}
