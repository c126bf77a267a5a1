//! `device/{id}/status`: when a device was last heard, and how complete its data is.

use super::shape::{StatusState, Wire};
use super::{Head, Origin};
use evenkeel_fanout::Format;
use evenkeel_model::{Frame, FrameFlag, StoredRow};

/// The content of one topic.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) head: Head,
    origin: Origin,
    pub(crate) state: StatusState,
}

impl Status {
    /// A frame of the log; `false` = it is old.
    pub(crate) fn frame(&mut self, frame: &Frame) -> bool {
        if !self.origin.takes(frame.epoch, frame.seq) {
            return false;
        }
        self.state = StatusState {
            // An owner that has just taken over may not have heard the stream yet.
            last_ts: frame.last_ts.max(self.state.last_ts),
            last_arrival_ms: frame.last_arrival_ms.max(self.state.last_arrival_ms),
            events_per_s: frame.events_per_s,
            missing: frame.missing,
            alerts_raised: self.state.alerts_raised,
        };
        let head = Head {
            ts_ms: frame.ts_ms,
            source: frame.source.clone(),
            watermark: frame.watermark,
            ..Head::default()
        };
        self.head = Head { alerting: self.head.alerting, ..head };
        take_flags(&mut self.head, &frame.flags);
        true
    }

    /// Rows of the store: when it was last heard, for one that is silent now.
    pub(crate) fn history(&mut self, rows: &[StoredRow], now_ms: i64) -> bool {
        let Some(last) = rows.last() else { return false };
        self.state.last_ts = self.state.last_ts.max(Some(last.row.max_ts));
        self.state.last_arrival_ms = self.state.last_arrival_ms.max(Some(last.row.last_arrival));
        if self.head.source.is_empty() {
            self.head.source = "store".to_owned();
            (self.head.ts_ms, self.head.stale) = (now_ms, true);
        }
        true
    }

    pub(crate) fn encode(&self, at: (&str, u32), format: Format, out: &mut Vec<u8>) {
        crate::protocol::write::encode(format, &Wire::of(&self.head, at, self.state), out);
    }
}

/// The flags that a frame of the log sets.
pub(crate) fn take_flags(head: &mut Head, flags: &[FrameFlag]) {
    head.live = flags.contains(&FrameFlag::Live);
    head.recent = flags.contains(&FrameFlag::Recent);
    head.partial = flags.contains(&FrameFlag::Partial);
    head.stale = flags.contains(&FrameFlag::Stale);
}
