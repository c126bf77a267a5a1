//! `device/{id}/windows/{size}`: the newest closed windows, from the log and from the store.

use super::shape::{ClosedWindow, Stats, WindowsState, Wire};
use super::telemetry::stats_of;
use super::{Head, Origin};
use evenkeel_fanout::Format;
use evenkeel_model::{ClosedBy, Frame, StoredRow};
use std::collections::BTreeMap;

/// Most windows.
pub(crate) const ROWS_MAX: usize = 120;

#[derive(Debug, Clone)]
struct Row {
    closed_by: ClosedBy,
    revision: u32,
    count: u64,
    missing: u64,
    stats: BTreeMap<String, Stats>,
}

/// The content of one topic.
#[derive(Debug)]
pub(crate) struct Windows {
    pub(crate) head: Head,
    origin: Origin,
    size_ms: i64,
    rows: BTreeMap<i64, Row>,
}

impl Windows {
    pub(crate) fn new(size_ms: i64) -> Self {
        Self { head: Head::default(), origin: Origin::default(), size_ms, rows: BTreeMap::new() }
    }

    /// A frame of the log; `false` = it is old.
    pub(crate) fn frame(&mut self, frame: &Frame) -> bool {
        if !self.origin.takes(frame.epoch, frame.seq) {
            return false;
        }
        for window in frame.windows.iter().filter(|window| window.size_ms == self.size_ms) {
            let Some(closed_by) = window.closed_by else { continue };
            let stats = window.stats.iter().map(|stats| (stats.name.clone(), stats_of(stats)));
            let row = Row {
                closed_by,
                revision: 0,
                count: window.count,
                missing: window.missing,
                stats: stats.collect(),
            };
            // The store's later revision knows more than the log's frame.
            self.rows.entry(window.t_start).or_insert(row);
        }
        self.trim();
        let head = Head {
            ts_ms: frame.ts_ms,
            source: frame.source.clone(),
            watermark: frame.watermark,
            ..Head::default()
        };
        self.head = Head { alerting: self.head.alerting, ..head };
        super::status::take_flags(&mut self.head, &frame.flags);
        true
    }

    /// Rows of the store.
    pub(crate) fn history(&mut self, rows: &[StoredRow], now_ms: i64) -> bool {
        for stored in rows.iter().filter(|stored| stored.row.span.size_ms == self.size_ms) {
            let row = &stored.row;
            let stats = row.stats.iter().map(|of| {
                (
                    of.name.clone(),
                    Stats { count: of.count, min: of.min, max: of.max, mean: of.mean, last: of.last },
                )
            });
            let new = Row {
                closed_by: row.closed_by,
                revision: stored.revision,
                count: row.count,
                missing: row.missing(),
                stats: stats.collect(),
            };
            self.rows.insert(row.span.t_start(), new);
        }
        self.trim();
        if self.head.source.is_empty() && !self.rows.is_empty() {
            self.head.source = "store".to_owned();
            (self.head.ts_ms, self.head.stale) = (now_ms, true);
        }
        !rows.is_empty()
    }

    fn trim(&mut self) {
        while self.rows.len() > ROWS_MAX {
            self.rows.pop_first();
        }
    }

    pub(crate) fn encode(&self, at: (&str, u32), format: Format, out: &mut Vec<u8>) {
        let rows = self.rows.iter().map(|(t_start, row)| ClosedWindow {
            t_start: *t_start,
            closed_by: row.closed_by.as_str(),
            revision: row.revision,
            count: row.count,
            missing: row.missing,
            stats: row.stats.iter().map(|(name, stats)| (name.as_str(), *stats)).collect(),
        });
        let state = WindowsState { size_ms: self.size_ms, rows: rows.collect() };
        crate::protocol::write::encode(format, &Wire::of(&self.head, at, state), out);
    }
}
