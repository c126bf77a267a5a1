//! When frames of a kind are due: on a schedule of their own, as often as the most demanding gateway asks.

use evenkeel_model::{FrameKind, Want};

/// Most frames per second of one kind and stream.
pub const HZ_MAX: f64 = 10.0;
/// Fewest: a slower wish gets as many.
const HZ_MIN: f64 = 0.1;
/// An unchanged stream has a frame so often: it says that its source lives, ms.
pub const HEARTBEAT_MS: i64 = 1_000;

/// Frames of one kind (and size) of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// The kind.
    pub kind: FrameKind,
    /// For windows their length, ms; else 0.
    pub size_ms: i64,
    /// Time between frames, ms.
    period_ms: i64,
    /// When the next one is due, ms.
    next_ms: i64,
    /// When the last one was made, ms, and the version it showed.
    sent: Option<(i64, u64)>,
    /// Rows of the size that left since the last one.
    pub rows_left: u64,
}

impl Due {
    /// Whether a frame is to be made now.
    pub fn is_due(&self, now_ms: i64, version: u64) -> bool {
        // A clock's tick may come a moment early; the schedule stays.
        let time = now_ms.saturating_add(self.period_ms / 4) >= self.next_ms;
        time && self
            .sent
            .is_none_or(|(at_ms, seen)| seen != version || now_ms.saturating_sub(at_ms) >= HEARTBEAT_MS)
    }

    /// A frame of this version was made now. What was missed is not made up for.
    pub fn made(&mut self, now_ms: i64, version: u64) {
        let next = self.next_ms.saturating_add(self.period_ms);
        let behind = now_ms.saturating_sub(self.next_ms) >= self.period_ms;
        self.next_ms = if behind { now_ms.saturating_add(self.period_ms) } else { next };
        (self.sent, self.rows_left) = (Some((now_ms, version)), 0);
    }
}

/// What all wants come to: one entry per kind and size, at the highest rate. Those that were there keep their schedule.
pub fn merge<'a>(wants: impl Iterator<Item = &'a Want>, now_ms: i64, dues: &mut Vec<Due>) {
    let before = std::mem::take(dues);
    for want in wants {
        let size_ms = if want.kind == FrameKind::Windows { want.size_ms } else { 0 };
        let period_ms = (1_000.0 / want.hz.clamp(HZ_MIN, HZ_MAX)).ceil() as i64;
        let same = |due: &&mut Due| due.kind == want.kind && due.size_ms == size_ms;
        if let Some(due) = dues.iter_mut().find(same) {
            due.period_ms = due.period_ms.min(period_ms);
            continue;
        }
        let new = Due { kind: want.kind, size_ms, period_ms, next_ms: now_ms, sent: None, rows_left: 0 };
        let old = before.iter().find(|due| due.kind == want.kind && due.size_ms == size_ms);
        dues.push(old.map_or(new, |old| Due {
            period_ms,
            next_ms: old.next_ms.min(now_ms + period_ms),
            ..*old
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn want(kind: FrameKind, size_ms: i64, hz: f64) -> Want {
        Want { kind, size_ms, hz }
    }

    #[test]
    fn wants_of_several_gateways_are_one_at_the_highest_rate() {
        let wants = [
            want(FrameKind::Telemetry, 0, 2.0),
            want(FrameKind::Windows, 5, 1.0),
            want(FrameKind::Telemetry, 7, 5.0),
            want(FrameKind::Windows, 60, 1_000.0),
        ];
        let mut dues = Vec::new();
        merge(wants.iter(), 0, &mut dues);
        let seen: Vec<_> = dues.iter().map(|d| (d.kind, d.size_ms, d.period_ms)).collect();
        let windows = FrameKind::Windows;
        assert_eq!(seen, [(FrameKind::Telemetry, 0, 200), (windows, 5, 1_000), (windows, 60, 100)]);
        dues[0].made(0, 1);
        merge(wants[..1].iter(), 10, &mut dues);
        assert_eq!((dues.len(), dues[0].period_ms, dues[0].next_ms), (1, 500, 200), "its schedule stays");
    }

    #[test]
    fn a_stream_without_change_only_has_a_heartbeat() {
        let mut dues = Vec::new();
        merge([want(FrameKind::Status, 0, 10.0)].iter(), 0, &mut dues);
        let mut at = Vec::new();
        for now in (0..3_000).step_by(100) {
            if dues[0].is_due(now, 7) {
                dues[0].made(now, 7);
                at.push(now);
            }
        }
        assert_eq!(at, [0, 1_000, 2_000]);
    }

    proptest! {
        /// Whatever the clock does: never more than the rate allows, and with a steady clock not much less.
        #[test]
        fn the_rate_is_kept(hz in 0.05f64..50.0, steps in prop::collection::vec(1i64..400, 1..400)) {
            let mut dues = Vec::new();
            merge([want(FrameKind::Telemetry, 0, hz)].iter(), 0, &mut dues);
            let (mut now, mut made, mut longest) = (0, 0u32, 0);
            for (version, step) in steps.iter().enumerate() {
                if dues[0].is_due(now, version as u64) {
                    dues[0].made(now, version as u64);
                    made += 1;
                }
                now += step;
                longest = longest.max(*step);
            }
            let rate = hz.clamp(HZ_MIN, HZ_MAX);
            let most = rate * (now as f64 / 1_000.0 + 0.25 / rate) + 1.0;
            prop_assert!(f64::from(made) <= most + 1e-9, "{made} > {most}");
            let least = (now - longest) as f64 / ((1_000.0 / rate).ceil() + longest as f64) - 1.0;
            prop_assert!(f64::from(made) >= least, "{made} < {least}");
        }
    }
}
