//! A late record folds into the stored row: the sink's rule, pure, so that every path (replay, zombie,
//! repetition) computes the same bytes for the same (key, revision).
//!
//! Keeps: EK-LATE-1.

use crate::accumulate::{Accumulator, Moment};
use crate::sabotage::Sabotage;
use crate::seqset::{Held, SeqSet};
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELDS_MAX, LATE_MERGED_MAX};
use evenkeel_model::{ClosedBy, EventBatch, FieldStats, LateRecord, StoredRow, WindowRow, WindowSpan};

/// What a late record came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The row to write; `None` = the record merges nothing, and nothing is written.
    pub row: Option<StoredRow>,
    /// Events that were merged.
    pub merged: u32,
    /// Events that the row holds already.
    pub held: u32,
    /// Positions in the record of events that must go to `dlq` as `overflow`, before the row is written.
    pub overflow: Vec<usize>,
}

/// Folds the events of `late`, which lies at `offset` of `windows`, into the row that the store holds, one
/// by one in log order. `revision` becomes the number of late events merged in all.
pub fn merge_late(
    stored: Option<&StoredRow>,
    late: &LateRecord,
    offset: i64,
    seq_intervals_max: usize,
) -> Merged {
    let mut merged = Merged { row: None, merged: 0, held: 0, overflow: Vec::new() };
    let repeated = stored.is_some_and(|s| offset <= s.late_offset) && !Sabotage::NoLateOffset.is_on();
    if repeated || late.events.is_empty() {
        merged.held = late.events.len() as u32;
        return merged;
    }
    let mut stored = stored.cloned().unwrap_or_else(|| born_late(late));
    let mut seqs = SeqSet::from_ranges(&stored.row.seqs);
    for at in 0..late.events.len() {
        let seq = late.events.seq.get(at).copied();
        let held = seq.map_or(Held::No, |s| seqs.held(s));
        let room = stored.revision < LATE_MERGED_MAX && fields_fit(&stored.row, &late.events, at);
        match held {
            Held::Exact => merged.held += 1,
            Held::Fuzzy if Sabotage::SinkIgnoresFuzzy.is_on() => merged.held += 1,
            Held::No if room => {
                if let Some(seq) = seq {
                    seqs.add(seq, seq_intervals_max);
                }
                fold_event(&mut stored.row, late, at);
                stored.revision += 1;
                merged.merged += 1;
            }
            Held::No | Held::Fuzzy => merged.overflow.push(at),
        }
    }
    if Sabotage::RevisionStoredPlus1.is_on() && merged.merged > 0 {
        stored.revision = stored.revision - merged.merged + 1;
    }
    if merged.merged > 0 || Sabotage::EmptyMergeWrites.is_on() {
        stored.late_offset = offset;
        stored.row.seqs = seqs.ranges().to_vec();
        merged.row = Some(stored);
    }
    merged
}

/// The row of a window that no row was sent for: without events, so its arrivals are those of the events
/// that are merged, not of repetitions beside them.
fn born_late(late: &LateRecord) -> StoredRow {
    let row = WindowRow {
        stream_id: late.events.stream_id.clone(),
        span: WindowSpan { size_ms: late.size_ms, window_id: late.window_id },
        closed_by: ClosedBy::Late,
        max_ts: late.events.ts.iter().copied().max().unwrap_or(0),
        first_arrival: i64::MAX,
        last_arrival: i64::MIN,
        count: 0,
        seqs: Vec::new(),
        dropped: Vec::new(),
        stats: Vec::new(),
        events: None,
    };
    StoredRow { row, revision: 0, late_offset: -1 }
}

fn fields_fit(row: &WindowRow, events: &EventBatch, at: usize) -> bool {
    let is_new = |name: &str| row.stats.binary_search_by(|s| s.name.as_str().cmp(name)).is_err();
    let fresh = events.fields.iter().filter(|f| f.value(at).is_some() && is_new(&f.name)).count();
    row.stats.len() + fresh <= FIELDS_MAX
}

fn fold_event(row: &mut WindowRow, late: &LateRecord, at: usize) {
    let t_start = row.span.t_start();
    let seq = late.events.seq.get(at).copied().unwrap_or(0);
    let moment = Moment { offset_ms: (late.events.ts[at] - t_start) as u32, seq };
    for field in &late.events.fields {
        let Some(value) = field.value(at) else { continue };
        let slot = match row.stats.binary_search_by(|s| s.name.cmp(&field.name)) {
            Ok(slot) => slot,
            Err(slot) => {
                let fresh = FieldStats { first_ts: t_start, last_ts: t_start, ..FieldStats::default() };
                row.stats.insert(slot, fresh);
                slot
            }
        };
        let mut accumulator = Accumulator::read(&row.stats[slot], t_start);
        accumulator.fold_one(value, moment);
        accumulator.write(t_start, &field.name, &mut row.stats[slot]);
    }
    let arrival = late.arrivals.get(at).copied().unwrap_or(late.events.arrival_ms);
    row.count += 1;
    row.first_arrival = row.first_arrival.min(arrival);
    row.last_arrival = row.last_arrival.max(arrival);
    if let Some(events) = row.events.as_mut().filter(|e| e.len() < BATCH_EVENTS_MAX) {
        push_aligned(events, &late.events, at);
    }
}

/// Appends an event to a row's raw events, also when one side carries seqs and the other does not.
fn push_aligned(events: &mut EventBatch, from: &EventBatch, at: usize) {
    let before = events.len();
    events.push_from(from, at);
    if events.has_seq() || from.has_seq() {
        let seq = from.seq.get(at).copied().unwrap_or(0);
        events.seq.resize(before, 0);
        events.seq.push(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{FieldColumn, SeqRange};

    fn late(ts: &[i64], seq: &[u64], values: &[f64]) -> LateRecord {
        let fields = vec![FieldColumn { name: "w".into(), rows: vec![], values: values.to_vec() }];
        let events = EventBatch {
            stream_id: "s".into(),
            arrival_ms: 70,
            ts: ts.to_vec(),
            seq: seq.to_vec(),
            fields,
            ..EventBatch::default()
        };
        LateRecord { size_ms: 10, window_id: 0, arrivals: vec![70; ts.len()], events }
    }

    #[test]
    fn without_a_row_late_events_make_one() {
        let got = merge_late(None, &late(&[3, 1], &[8, 7], &[2.0, 1.0]), 5, 8);
        let row = got.row.unwrap();
        assert_eq!((row.revision, row.late_offset, row.row.count), (2, 5, 2));
        assert_eq!(row.row.closed_by, ClosedBy::Late);
        assert_eq!((row.row.stats[0].first, row.row.stats[0].last), (1.0, 2.0));
        assert_eq!(row.row.seqs, vec![SeqRange { lo: 7, hi: 8, count: 2 }]);
    }

    #[test]
    fn repetition_changes_nothing_and_held_seqs_merge_nothing() {
        let record = late(&[3], &[8], &[2.0]);
        let first = merge_late(None, &record, 5, 8).row.unwrap();
        assert_eq!(merge_late(Some(&first), &record, 5, 8).row, None); // EK-LATE-1: the same record again
        let again = merge_late(Some(&first), &record, 6, 8); // the same event, sent again later
        assert_eq!((again.row, again.held), (None, 1));
        let more = merge_late(Some(&first), &late(&[4], &[9], &[3.0]), 7, 8).row.unwrap();
        assert_eq!((more.revision, more.row.count, more.late_offset), (2, 2, 7));
    }

    #[test]
    fn fuzzy_seqs_overflow_and_so_do_events_past_the_last_revision() {
        let mut row = merge_late(None, &late(&[3], &[8], &[2.0]), 5, 8).row.unwrap();
        row.row.seqs = vec![SeqRange { lo: 1, hi: 8, count: 2 }];
        let got = merge_late(Some(&row), &late(&[3, 4], &[4, 9], &[2.0, 2.0]), 6, 8);
        assert_eq!((got.overflow, got.merged), (vec![0], 1));
        row.revision = LATE_MERGED_MAX;
        let got = merge_late(Some(&row), &late(&[4], &[9], &[2.0]), 6, 8);
        assert_eq!((got.row, got.overflow), (None, vec![0]));
    }

    #[test]
    fn a_new_field_of_a_late_event_joins_the_row_in_order() {
        let row = merge_late(None, &late(&[3], &[8], &[2.0]), 5, 8).row.unwrap();
        let mut other = late(&[3], &[9], &[5.0]);
        other.events.fields[0].name = "a".into();
        let got = merge_late(Some(&row), &other, 6, 8).row.unwrap();
        let names: Vec<&str> = got.row.stats.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a", "w"]);
        assert_eq!((got.row.stats[0].first_ts, got.row.stats[0].count), (3, 1));
    }
}
