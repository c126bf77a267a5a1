//! Kinds of devices: how their events come about, get lost, come late, twice, or with a wrong clock.
//!
//! Modelled on the kinds of the design's executable recovery model: a second there = a second here, with
//! milliseconds drawn at random between.

use crate::rng::Rng;
use crate::sample::{Sample, batch_of};
use crate::step::{START_MS, Step, Timeline};

/// How a device misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not at all (now and then an event is a little late).
    Normal,
    /// Events overtake each other by up to 12 s.
    OutOfOrder,
    /// It loses its connection for 20 s and sends what it kept in one go.
    Offline,
    /// It sends some events again.
    Repeats,
    /// Some event times are far ahead.
    Future,
    /// Its clock stands still for 45 s.
    Stuck,
    /// It sends no seq.
    NoSeq,
    /// Its clock is so far behind that its events are close to `too_old`.
    Behind,
    /// It lives for a few seconds only.
    Short,
    /// It sends with long gaps.
    Sparse,
    /// A share of its events is lost; the gaps are filled later.
    Lossy,
    /// It reboots and counts from 1 again.
    Reboot,
    /// It reboots, counts from 1 again, and its clock jumps back.
    ClockBack,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::OutOfOrder,
        Self::Offline,
        Self::Repeats,
        Self::Future,
        Self::Stuck,
        Self::NoSeq,
        Self::Behind,
        Self::Short,
        Self::Sparse,
        Self::Lossy,
        Self::Reboot,
        Self::ClockBack,
    ];
}

const SECOND: i64 = 1_000;

/// A device of one kind at work.
struct Device<'a> {
    kind: Kind,
    name: &'a str,
    rng: &'a mut Rng,
    uid: &'a mut u64,
    /// When it began, ms after the start.
    began: i64,
    seq: u64,
    /// How far its clock is off.
    skew: i64,
    /// How far its clock has jumped back since.
    back: i64,
    stuck_at: Option<i64>,
    sent: Vec<Sample>,
}

/// Puts the life of one device on the timeline: events over up to `horizon_ms`, then perhaps a replay long
/// after.
pub fn play(kind: Kind, name: &str, horizon_ms: i64, rng: &mut Rng, uid: &mut u64, line: &mut Timeline) {
    let short = kind == Kind::Short;
    let began = rng.between(0, if short { 50 } else { 30 }) * SECOND;
    let skew = match kind {
        Kind::Behind => (rng.between(2, 12) - 60) * SECOND,
        _ => rng.pick(&[0, 0, 0, 6, 9]) * SECOND,
    };
    let end = match short {
        true => began + 6 * SECOND,
        false => rng.between(began + 8 * SECOND, horizon_ms.max(began + 8 * SECOND)),
    };
    let mut device =
        Device { kind, name, rng, uid, began, seq: 0, skew, back: 0, stuck_at: None, sent: Vec::new() };
    let last = device.live(end, line);
    device.return_long_after(last, line);
}

impl Device<'_> {
    /// Sends events until `end`; returns when it stopped.
    fn live(&mut self, end: i64, line: &mut Timeline) -> i64 {
        let mut kept: Vec<Sample> = Vec::new(); // what an offline device holds back
        let mut t = self.began;
        while t < end {
            let mut new = Vec::new();
            for _ in 0..self.rng.between(1, 2) {
                new.push(self.measure(&mut t));
            }
            self.sent.extend(&new);
            if self.kind == Kind::Lossy && self.rng.chance(40) {
                let gaps = self.fill_gaps();
                self.sent.extend(&gaps);
                new.extend(gaps);
            }
            if self.kind == Kind::Repeats && self.rng.chance(30) {
                new.extend(self.some_sent(3));
            }
            let away = (self.began + 5 * SECOND + 1..self.began + 25 * SECOND).contains(&t);
            if self.kind == Kind::Offline && away {
                kept.append(&mut new);
            } else {
                self.catch_up(line, t, &mut kept);
                let slow = self.rng.pick(&[0, 9]);
                let held = self.rng.pick(&[0, 0, 0, 1, 2, slow]) * SECOND;
                self.send(line, t + held, held, &new);
            }
            let rare = self.kind == Kind::Sparse || self.rng.chance(10);
            let long = if rare { 12 } else { 1 };
            t += self.rng.pick(&[1, 1, 2, 3, long]) * SECOND + self.rng.between(-400, 400);
        }
        self.catch_up(line, t, &mut kept);
        t
    }

    /// Sends what was held back, in small batches at once.
    fn catch_up(&self, line: &mut Timeline, t: i64, kept: &mut Vec<Sample>) {
        for chunk in kept.chunks(3) {
            self.send(line, t, 0, chunk);
        }
        kept.clear();
    }

    /// The next event, at about `t`; a reboot may take time.
    fn measure(&mut self, t: &mut i64) -> Sample {
        let mut ts = *t + self.skew - self.back + self.rng.between(0, 900);
        if self.kind == Kind::OutOfOrder || self.rng.chance(10) {
            ts -= self.rng.between(0, 12_000);
        }
        if self.kind == Kind::Future && self.rng.chance(30) {
            ts += self.rng.between(5_000, 40_000);
        }
        if self.kind == Kind::Stuck && *t < self.began + 45 * SECOND {
            ts = *self.stuck_at.get_or_insert(ts);
        }
        let reboots = matches!(self.kind, Kind::Reboot | Kind::ClockBack);
        if reboots && self.seq > 6 && self.rng.chance(15) {
            self.seq = 0;
            *t += self.rng.pick(&[0, 1, 16]) * SECOND;
            self.back = if self.kind == Kind::ClockBack { self.rng.pick(&[0, 4, 9]) * SECOND } else { 0 };
        }
        self.seq += if self.kind == Kind::Lossy { self.rng.pick(&[1, 2, 2]) } else { 1 };
        self.sample(ts, self.seq)
    }

    fn sample(&mut self, ts: i64, seq: u64) -> Sample {
        *self.uid += 1;
        let seq = (self.kind != Kind::NoSeq).then_some(seq);
        Sample { ts: START_MS + ts, seq, uid: *self.uid }
    }

    /// The seqs that are missing just below the newest events.
    fn fill_gaps(&mut self) -> Vec<Sample> {
        let newest: Vec<Sample> = self.sent[self.sent.len().saturating_sub(4)..].to_vec();
        let mut gaps = Vec::new();
        for sample in newest {
            let Some(below) = sample.seq.and_then(|seq| seq.checked_sub(1)).filter(|&seq| seq > 0) else {
                continue;
            };
            if !self.sent.iter().any(|s| s.seq == Some(below)) {
                *self.uid += 1;
                gaps.push(Sample { ts: sample.ts, seq: Some(below), uid: *self.uid });
            }
        }
        gaps
    }

    fn some_sent(&mut self, most: usize) -> Vec<Sample> {
        let mut some = self.sent.clone();
        self.rng.shuffle(&mut some);
        some.truncate(most);
        some
    }

    /// A reconnect long after: a replay, then perhaps new events.
    fn return_long_after(&mut self, t: i64, line: &mut Timeline) {
        if !self.rng.chance(30) || self.sent.is_empty() {
            return;
        }
        let later = t + self.rng.pick(&[10, 25, 45, 60, 68]) * SECOND;
        match self.rng.chance(50) {
            true => {
                let replay = self.some_sent(3);
                self.send(line, later, 0, &replay);
            }
            false => line.at(later, Step::Replay { stream_id: self.name.to_owned(), events_max: 3 }),
        }
        if self.rng.chance(50) {
            let (young, old) = (self.sample(later + self.skew + SECOND, self.seq + 1), self.seq + 2);
            let old = self.sample(t + self.skew + SECOND, old);
            self.send(line, later + SECOND, 0, &[young, old]);
        }
    }

    fn send(&self, line: &mut Timeline, at: i64, held_ms: i64, samples: &[Sample]) {
        if !samples.is_empty() {
            line.at(at, Step::Send { batch: batch_of(self.name, samples), held_ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_sends_well_formed_batches() {
        for (part, kind) in Kind::ALL.iter().enumerate() {
            let (mut line, mut uid) = (Timeline::default(), 0);
            play(*kind, "s", 70_000, &mut Rng::new(1).fork(part as u64), &mut uid, &mut line);
            let mut sends = 0;
            for step in line.into_steps() {
                if let Step::Send { batch, .. } = step {
                    batch.check_shape().unwrap();
                    assert_eq!(batch.has_seq(), *kind != Kind::NoSeq);
                    sends += 1;
                }
            }
            assert!(sends >= 3, "{kind:?} sent {sends} batches");
        }
    }
}
