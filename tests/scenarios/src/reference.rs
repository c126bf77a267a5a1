//! The reference model: what must be stored, computed from the whole events log at once, lateness = ∞.
//!
//! Written plainly and independently of the product's core: maps, sorts, exact sums. It knows nothing of
//! windows that open and close; an event is admitted or not, and belongs to its windows. Keeps: the
//! admission table of docs/semantics.md as far as it does not depend on windows, and EK-LATE-1.

use crate::exact::{ExactSum, squared_distances};
use crate::settings::Settings;
use evenkeel_model::limits::{FIELDS_MAX, TS_MAX_MS, TS_MIN_MS};
use evenkeel_model::{DropReason, EventBatch, WindowSpan, check_field_name, check_stream_id, partition_of};
use evenkeel_seam::RowKey;
use std::collections::{BTreeMap, BTreeSet};

/// One record of the events topic.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its own timestamp, ms: the arrival where the batch carries none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` = cannot be decoded.
    pub batch: Option<EventBatch>,
}

/// An admitted event, as one window holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Event time, ms.
    pub ts: i64,
    /// Its seq, if any.
    pub seq: Option<u64>,
    /// When it counts as arrived, ms.
    pub arrival: i64,
    /// Its fields.
    pub fields: Vec<(String, f64)>,
}

/// What one field of one window must come to.
#[derive(Debug, Clone)]
pub struct ExactStats {
    /// Its values.
    pub values: Vec<f64>,
    /// Their sum.
    pub sum: ExactSum,
    /// Σ|x|, the scale of the tolerated error.
    pub sum_abs: f64,
    /// Sum of squared distances from the mean.
    pub m2: f64,
    /// `(ts, seq, value)` of the earliest event.
    pub first: (i64, u64, f64),
    /// `(ts, seq, value)` of the latest event.
    pub last: (i64, u64, f64),
}

/// How far one partition's ledger must have come after each record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events consumed, per size.
    pub consumed: u64,
    /// Events refused before any window was asked, by [`DropReason::index`].
    pub refused: [u64; DropReason::ALL.len()],
}

/// What must be stored once everything is drained.
#[derive(Debug, Default)]
pub struct Reference {
    /// The distinct events of each window, in log order.
    pub windows: BTreeMap<RowKey, Vec<Event>>,
    /// Per partition and size: the offset after a record, and the tally there.
    pub tallies: BTreeMap<(u32, i64), Vec<(u64, Tally)>>,
}

impl Reference {
    /// Computes the reference of a log. Records of one partition come in order of their offsets.
    pub fn of(settings: &Settings, log: impl IntoIterator<Item = LogRecord>) -> Self {
        let mut reference = Self::default();
        let mut clocks: BTreeMap<u32, i64> = BTreeMap::new();
        let mut seen: BTreeSet<(RowKey, u64)> = BTreeSet::new();
        for record in log {
            let Some(batch) = record.batch.as_ref().filter(|batch| well_formed(batch)) else {
                reference.count(settings, &record, None, Some(DropReason::Malformed));
                continue;
            };
            let stamp = if batch.arrival_ms > 0 { batch.arrival_ms } else { record.timestamp_ms };
            if misrouted(settings, &record, batch) {
                for _ in 0..batch.len() {
                    reference.count(settings, &record, Some(&batch.stream_id), Some(DropReason::Misrouted));
                }
                continue;
            }
            let clock = clocks.entry(record.partition).or_insert(i64::MIN);
            *clock = stamp.max(*clock);
            let arrival = stamp.max(*clock - settings.clock_slack_ms);
            for row in 0..batch.len() {
                let (event, refused) = admit(settings, batch, row, arrival);
                reference.count(settings, &record, Some(&batch.stream_id), refused);
                if refused.is_none() {
                    reference.place(settings, &batch.stream_id, event, &mut seen);
                }
            }
        }
        reference
    }

    /// The tally of a partition and size once everything below `offset` is consumed.
    pub fn tally(&self, partition: u32, size_ms: i64, offset: u64) -> Tally {
        let steps = self.tallies.get(&(partition, size_ms)).map_or(&[][..], Vec::as_slice);
        let below = steps.partition_point(|(after, _)| *after <= offset);
        below.checked_sub(1).map_or_else(Tally::default, |i| steps[i].1.clone())
    }

    /// Events admitted to some window, over all sizes.
    pub fn admitted(&self) -> usize {
        self.windows.values().map(Vec::len).sum()
    }

    /// EK-SUM-1: an event counts once per size of its class; an undecodable record counts 1 in every size.
    fn count(
        &mut self,
        settings: &Settings,
        record: &LogRecord,
        stream: Option<&str>,
        refused: Option<DropReason>,
    ) {
        let sizes = stream.map_or_else(|| settings.sizes_ms(), |id| settings.class_of(id).sizes_ms.clone());
        for size_ms in sizes {
            let steps = self.tallies.entry((record.partition, size_ms)).or_default();
            let mut tally = steps.last().map(|(_, tally)| tally.clone()).unwrap_or_default();
            tally.consumed += 1;
            if let Some(reason) = refused {
                tally.refused[reason.index()] += 1;
            }
            match steps.last_mut().filter(|(after, _)| *after == record.offset + 1) {
                Some(last) => last.1 = tally,
                None => steps.push((record.offset + 1, tally)),
            }
        }
    }

    /// Identity is (stream, window, seq); the first in log order counts. Without seq every event counts.
    fn place(
        &mut self,
        settings: &Settings,
        stream_id: &str,
        event: Event,
        seen: &mut BTreeSet<(RowKey, u64)>,
    ) {
        for &size_ms in &settings.class_of(stream_id).sizes_ms {
            let key = RowKey { stream_id: stream_id.to_owned(), span: WindowSpan::of(event.ts, size_ms) };
            if event.seq.is_none_or(|seq| seen.insert((key.clone(), seq))) {
                self.windows.entry(key).or_default().push(event.clone());
            }
        }
    }
}

/// Limits that concern a record as a whole.
fn well_formed(batch: &EventBatch) -> bool {
    batch.check_shape().is_ok()
        && check_stream_id(&batch.stream_id).is_ok()
        && batch.fields.len() <= FIELDS_MAX
        && batch.fields.iter().all(|column| check_field_name(&column.name).is_ok())
}

fn misrouted(settings: &Settings, record: &LogRecord, batch: &EventBatch) -> bool {
    record.key.as_deref().is_some_and(|key| key != batch.stream_id.as_bytes())
        || partition_of(&batch.stream_id, settings.partitions) != record.partition
}

/// The first reason that fits is the reason.
fn admit(settings: &Settings, batch: &EventBatch, row: usize, arrival: i64) -> (Event, Option<DropReason>) {
    let by_arrival = settings.class_of(&batch.stream_id).by_arrival;
    let ts = if by_arrival { arrival } else { batch.ts[row] };
    let value = |column: &evenkeel_model::FieldColumn| column.value(row).map(|x| (column.name.clone(), x));
    let fields: Vec<(String, f64)> = batch.fields.iter().filter_map(value).collect();
    let in_range = (TS_MIN_MS..=TS_MAX_MS).contains(&batch.ts[row]);
    let refused = if !in_range || fields.iter().any(|(_, x)| !x.is_finite()) {
        Some(DropReason::Malformed)
    } else if ts > arrival + settings.max_future_ms {
        Some(DropReason::Future)
    } else if ts < arrival - settings.max_age_ms && !batch.backfill {
        Some(DropReason::TooOld)
    } else {
        None
    };
    (Event { ts, seq: batch.seq.get(row).copied(), arrival, fields }, refused)
}

/// What each field of a window must come to, by name. Events in log order.
pub fn exact_stats(events: &[&Event]) -> BTreeMap<String, ExactStats> {
    let mut columns: BTreeMap<String, Vec<(i64, u64, f64)>> = BTreeMap::new();
    for event in events {
        for (name, x) in &event.fields {
            columns.entry(name.clone()).or_default().push((event.ts, event.seq.unwrap_or(0), *x));
        }
    }
    let exact = |column: Vec<(i64, u64, f64)>| {
        let values: Vec<f64> = column.iter().map(|(_, _, x)| *x).collect();
        let mut sum = ExactSum::default();
        values.iter().for_each(|&x| sum.add(x));
        // `min_by_key` keeps the first of equals and `max_by_key` the last: order of arrival.
        let at = |found: Option<&(i64, u64, f64)>| found.copied().unwrap_or_default();
        ExactStats {
            sum,
            sum_abs: values.iter().map(|x| x.abs()).sum(),
            m2: squared_distances(&values),
            first: at(column.iter().min_by_key(|(ts, seq, _)| (*ts, *seq))),
            last: at(column.iter().max_by_key(|(ts, seq, _)| (*ts, *seq))),
            values,
        }
    };
    columns.into_iter().map(|(name, column)| (name, exact(column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, batch_of};

    const NOW: i64 = 1_700_000_000_000;

    fn record(offset: u64, arrival_ms: i64, samples: &[(i64, u64)]) -> LogRecord {
        let samples: Vec<Sample> = (samples.iter().enumerate())
            .map(|(i, &(ts, seq))| Sample { ts, seq: Some(seq), uid: offset * 100 + i as u64 + 1 })
            .collect();
        let batch = EventBatch { arrival_ms, ..batch_of("s", &samples) };
        LogRecord { partition: 0, offset, timestamp_ms: 0, key: Some(b"s".to_vec()), batch: Some(batch) }
    }

    fn settings() -> Settings {
        Settings { partitions: 1, ..Settings::product() }
    }

    #[test]
    fn the_first_of_an_identity_counts_and_only_within_its_window() {
        let log =
            [record(0, NOW, &[(NOW, 1), (NOW + 1, 1)]), record(1, NOW, &[(NOW + 5_000, 1), (NOW + 2, 2)])];
        let reference = Reference::of(&settings(), log);
        let events = |ts, size_ms| {
            let key = RowKey { stream_id: "s".into(), span: WindowSpan::of(ts, size_ms) };
            reference.windows[&key].iter().map(|e| (e.ts - NOW, e.seq)).collect::<Vec<_>>()
        };
        assert_eq!(events(NOW, 5_000), [(0, Some(1)), (2, Some(2))]);
        assert_eq!(events(NOW + 5_000, 5_000), [(5_000, Some(1))]);
        assert_eq!(events(NOW, 60_000), [(0, Some(1)), (2, Some(2))], "one identity in the minute");
    }

    #[test]
    fn admission_uses_the_log_clock_with_slack_and_never_a_later_one() {
        let settings = settings();
        let late_stamp = NOW - 3_600_000; // an ingest an hour behind counts as arrived a minute ago
        let log = [
            record(0, NOW, &[(NOW + settings.max_future_ms, 1), (NOW + settings.max_future_ms + 1, 2)]),
            record(
                1,
                late_stamp,
                &[(NOW - 60_000 + settings.max_future_ms, 3), (NOW + settings.max_future_ms, 4)],
            ),
            record(2, NOW, &[(NOW - settings.max_age_ms, 5), (NOW - settings.max_age_ms - 1, 6)]),
            LogRecord { batch: None, ..record(3, NOW, &[]) },
            LogRecord { key: Some(b"other".to_vec()), ..record(4, NOW, &[(NOW, 9)]) },
        ];
        let reference = Reference::of(&settings, log);
        let tally = reference.tally(0, 5_000, 5);
        let refused = |reason: DropReason| tally.refused[reason.index()];
        assert_eq!(tally.consumed, 8);
        assert_eq!(refused(DropReason::Future), 2);
        assert_eq!(refused(DropReason::TooOld), 1);
        assert_eq!((refused(DropReason::Malformed), refused(DropReason::Misrouted)), (1, 1));
        assert_eq!(reference.tally(0, 5_000, 1).consumed, 2);
        assert_eq!(reference.tally(0, 5_000, 0), Tally::default());
    }

    #[test]
    fn stats_are_by_ts_then_seq_and_exact() {
        let event = |ts, seq, x| Event { ts, seq: Some(seq), arrival: 0, fields: vec![("x".into(), x)] };
        let events = [event(5, 2, 1e16), event(5, 1, 1.0), event(7, 3, -1e16), event(7, 3, 2.0)];
        let stats = &exact_stats(&events.iter().collect::<Vec<_>>())["x"];
        assert_eq!((stats.sum.value(), stats.first, stats.last), (3.0, (5, 1, 1.0), (7, 3, 2.0)));
    }
}
