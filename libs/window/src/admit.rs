//! Admission, event by event, before any window: the first reason that fits is the reason.
//! (`misrouted` is a matter of the whole record, see core.rs; `duplicate`, `late`, `overflow` of a window,
//! see place.rs.)

use crate::core::{Core, Met};
use crate::output::{Out, Refused};
use crate::settings::TimeSource;
use evenkeel_model::limits::{PAYLOAD_BYTES_MAX, TS_MAX_MS, TS_MIN_MS};
use evenkeel_model::{DropReason, EventBatch};

type Verdict = Option<(DropReason, &'static str)>;

impl Core {
    /// Sorts out what no window may see, and places the rest.
    pub(crate) fn admit(&mut self, met: &Met, batch: &EventBatch, out: &mut Out<'_>) {
        let by_arrival = self.settings.classes[met.class].time == TimeSource::Arrival;
        if self.all_fit(met, batch, by_arrival) {
            return self.place_at(met, batch, by_arrival, out);
        }
        let mut admitted = std::mem::take(&mut self.scratch.admitted);
        let mut refused = std::mem::take(&mut self.scratch.refused);
        let verdicts = self.verdicts(met, batch, by_arrival);
        restart(&mut admitted, batch);
        for row in (0..batch.len()).filter(|&r| verdicts[r].is_none()) {
            admitted.push_from(batch, row);
        }
        let mut kinds: Vec<_> = verdicts.iter().flatten().copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            restart(&mut refused, batch);
            for row in (0..batch.len()).filter(|&r| verdicts[r] == Some(kind)) {
                refused.push_from(batch, row);
            }
            let (reason, detail) = kind;
            let refused = Refused { reason, detail, size_ms: None, offset: met.offset, events: &refused };
            self.refuse(met.class, refused, out);
        }
        if !admitted.is_empty() {
            self.place_at(met, &admitted, by_arrival, out);
        }
        (self.scratch.admitted, self.scratch.refused) = (admitted, refused);
    }

    fn place_at(&mut self, met: &Met, batch: &EventBatch, by_arrival: bool, out: &mut Out<'_>) {
        if !by_arrival {
            self.place(met, batch, &batch.ts, out);
            return self.show(met, batch, &batch.ts);
        }
        let mut ts = std::mem::take(&mut self.scratch.ts);
        ts.clear();
        ts.resize(batch.len(), met.arrival);
        self.place(met, batch, &ts, out);
        self.show(met, batch, &ts);
        self.scratch.ts = ts;
    }

    /// What gateways look at keeps its points.
    #[inline]
    fn show(&mut self, met: &Met, batch: &EventBatch, ts: &[i64]) {
        if !self.watch.is_idle() {
            let bytes_max = self.settings.watch.history_bytes_max;
            self.watch.take(batch, ts, met.arrival, &self.settings.classes[met.class], bytes_max);
        }
    }

    /// The common case in a few passes over the columns.
    fn all_fit(&self, met: &Met, batch: &EventBatch, by_arrival: bool) -> bool {
        let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
        for ts in &batch.ts {
            (lowest, highest) = (lowest.min(*ts), highest.max(*ts));
        }
        let too_old = !batch.backfill && lowest < met.arrival - self.settings.max_age_ms;
        let future = highest > met.arrival + self.settings.max_future_ms;
        let in_time = (by_arrival || !(too_old || future)) && lowest >= TS_MIN_MS && highest <= TS_MAX_MS;
        // 0 · x is NaN for an infinite or undefined x, and NaN stays.
        let finite = |values: &[f64]| values.iter().fold(0.0, |sum, x| sum + 0.0 * x) == 0.0;
        let payload_fits = |p: &Option<Vec<u8>>| p.as_ref().is_none_or(|p| p.len() <= PAYLOAD_BYTES_MAX);
        in_time && batch.fields.iter().all(|f| finite(&f.values)) && batch.payloads.iter().all(payload_fits)
    }

    fn verdicts(&self, met: &Met, batch: &EventBatch, by_arrival: bool) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> =
            batch.ts.iter().map(|ts| self.time_verdict(met, batch, *ts, by_arrival)).collect();
        for (verdict, payload) in verdicts.iter_mut().zip(&batch.payloads) {
            if payload.as_ref().is_some_and(|p| p.len() > PAYLOAD_BYTES_MAX) {
                *verdict = Some((DropReason::Malformed, "the payload is longer than 64 KiB"));
            }
        }
        for column in &batch.fields {
            for (at, value) in column.values.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
                let _ = value;
                let row = column.rows.get(at).map_or(at, |r| *r as usize);
                verdicts[row] = Some((DropReason::Malformed, "a field's value is not a finite number"));
            }
        }
        verdicts
    }

    fn time_verdict(&self, met: &Met, batch: &EventBatch, ts: i64, by_arrival: bool) -> Verdict {
        if !(TS_MIN_MS..=TS_MAX_MS).contains(&ts) {
            return Some((DropReason::Malformed, "ts is outside 1970 to 9999"));
        }
        if by_arrival {
            return None;
        }
        if ts > met.arrival + self.settings.max_future_ms {
            return Some((DropReason::Future, "ts is further ahead of arrival than max-future"));
        }
        if ts < met.arrival - self.settings.max_age_ms && !batch.backfill {
            return Some((
                DropReason::TooOld,
                "ts is further behind arrival than max-age; flag old data as backfill",
            ));
        }
        None
    }
}

/// An empty batch of the same stream and arrival.
pub(crate) fn restart(batch: &mut EventBatch, like: &EventBatch) {
    batch.clear();
    batch.fields.clear();
    batch.stream_id.push_str(&like.stream_id);
    batch.arrival_ms = like.arrival_ms;
    batch.backfill = like.backfill;
}
