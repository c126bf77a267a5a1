//! Random values of the model: any shape the contract allows, with small and extreme numbers.

use evenkeel_model::{
    Alert, AlertAction, AlertCause, AlertSeverity, ClosedBy, DropReason, EventBatch, FieldColumn, FieldStats,
    LateRecord, Mark, Score, ScoredEvent, SeqRange, StoredRow, WindowRow, WindowSpan,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Finite, and all kinds of it.
pub fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![-100.0..100.0f64, POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO]
}

fn stream_id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}/[0-9]{1,4}", "[^\\p{Cc}]{1,60}"]
}

fn field_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,12}", "[^\\p{Cc}]{1,30}"]
}

/// Times or numbers in rising steps, equal, or anything at all.
fn series(events: usize) -> impl Strategy<Value = Vec<i64>> {
    let steps = |range| (any::<i64>(), vec(range, events)).prop_map(|(first, steps)| running(first, &steps));
    prop_oneof![
        any::<i64>().prop_map(move |ts| vec![ts; events]),
        steps(1..2i64),
        steps(-60..60),
        steps(0..3_000),
        vec(any::<i64>(), events),
    ]
}

fn running(first: i64, steps: &[i64]) -> Vec<i64> {
    let sum = |at: &mut i64, step: &i64| {
        let now = *at;
        *at = at.wrapping_add(*step);
        Some(now)
    };
    steps.iter().scan(first, sum).collect()
}

fn column(events: usize) -> impl Strategy<Value = (Vec<u32>, Vec<f64>)> {
    let sparse = btree_set(0..events as u32, 1..=events);
    option::of(sparse).prop_flat_map(move |rows| {
        let rows: Vec<u32> = rows.into_iter().flatten().collect();
        let values = if rows.is_empty() { events } else { rows.len() };
        (Just(rows), vec(number(), values))
    })
}

fn columns(events: usize) -> impl Strategy<Value = Vec<FieldColumn>> {
    btree_map(field_name(), column(events), 0..6)
        .prop_map(|named| {
            let column = |(name, (rows, values))| FieldColumn { name, rows, values };
            named.into_iter().map(column).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn payloads(events: usize) -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let some = vec(option::of(vec(any::<u8>(), 0..40)), events);
    prop_oneof![3 => Just(Vec::new()), 1 => some]
}

pub fn batch() -> impl Strategy<Value = EventBatch> {
    (1..40usize).prop_flat_map(|events| {
        let seq = option::of(series(events));
        let head = (stream_id(), any::<i64>(), any::<bool>());
        (head, series(events), seq, columns(events), payloads(events)).prop_map(
            |((stream_id, arrival_ms, backfill), ts, seq, fields, payloads)| EventBatch {
                stream_id,
                arrival_ms,
                backfill,
                ts,
                seq: seq.into_iter().flatten().map(|seq| seq as u64).collect(),
                fields,
                payloads,
            },
        )
    })
}

fn span() -> impl Strategy<Value = WindowSpan> {
    let time = prop_oneof![0..253_402_300_799_999i64, -10_000_000..10_000_000i64];
    (1..300_001i64, time).prop_map(|(size_ms, ts)| WindowSpan::of(ts, size_ms))
}

/// Rising, disjoint intervals, exact and fuzzy, up to the largest number.
fn seqs() -> impl Strategy<Value = Vec<SeqRange>> {
    let bounds = prop_oneof![btree_set(0..1_000u64, 0..20), btree_set(any::<u64>(), 0..20)];
    (bounds, any::<u64>()).prop_map(|(bounds, salt)| {
        let bounds: Vec<u64> = bounds.into_iter().collect();
        let (pairs, _) = bounds.as_chunks::<2>();
        let range = |[lo, hi]: &[u64; 2]| {
            let holes = if salt % 3 == 0 { (hi - lo) / 2 } else { 0 };
            SeqRange { lo: *lo, hi: *hi, count: (hi - lo - holes).saturating_add(1) }
        };
        pairs.iter().map(range).collect()
    })
}

/// Count, the eight doubles in the schema's order, first and last ts, first and last seq.
type Numbers = (u64, Vec<f64>, [i64; 2], [u64; 2]);

fn stats() -> impl Strategy<Value = Vec<FieldStats>> {
    let one = (any::<u64>(), vec(number(), 8), any::<[i64; 2]>(), any::<[u64; 2]>());
    btree_map(field_name(), one, 0..5).prop_map(|named| {
        let field = |(name, (count, v, ts, seq)): (String, Numbers)| FieldStats {
            name,
            count,
            min: v[0],
            max: v[1],
            sum: v[2],
            sum_lo: v[3],
            mean: v[4],
            m2: v[5],
            first: v[6],
            first_ts: ts[0],
            first_seq: seq[0],
            last: v[7],
            last_ts: ts[1],
            last_seq: seq[1],
        };
        named.into_iter().map(field).collect()
    })
}

pub fn row() -> impl Strategy<Value = WindowRow> {
    let closed_by = proptest::sample::select(ClosedBy::ALL);
    let dropped = btree_map(proptest::sample::select(DropReason::ALL), 1..u64::MAX, 0..7);
    let head = (stream_id(), span(), closed_by, any::<[i64; 3]>(), any::<u64>());
    (head, seqs(), dropped, stats(), option::of(batch())).prop_map(
        |(
            (stream_id, span, closed_by, [max_ts, first_arrival, last_arrival], count),
            seqs,
            dropped,
            stats,
            events,
        )| {
            let events = events.map(|batch| EventBatch { stream_id: stream_id.clone(), ..batch });
            let dropped = dropped.into_iter().collect();
            WindowRow {
                stream_id,
                span,
                closed_by,
                max_ts,
                first_arrival,
                last_arrival,
                count,
                seqs,
                dropped,
                stats,
                events,
            }
        },
    )
}

pub fn late() -> impl Strategy<Value = LateRecord> {
    (span(), batch()).prop_flat_map(|(span, batch)| {
        let arrivals = prop_oneof![
            vec(any::<i64>(), batch.len()),
            vec(1_700_000_000_000..1_700_000_009_000i64, batch.len()),
            Just(vec![1_700_000_000_000; batch.len()]),
        ];
        (Just(span), Just(batch), arrivals).prop_map(|(span, mut events, arrivals)| {
            events.arrival_ms = arrivals.iter().copied().min().unwrap_or(0);
            LateRecord { size_ms: span.size_ms, window_id: span.window_id, arrivals, events }
        })
    })
}

pub fn mark() -> impl Strategy<Value = Mark> {
    (stream_id(), btree_map(1..400_000i64, any::<i64>(), 0..9), any::<i64>()).prop_map(
        |(stream_id, emitted, max_ts)| Mark { stream_id, emitted: emitted.into_iter().collect(), max_ts },
    )
}

pub fn stored() -> impl Strategy<Value = StoredRow> {
    (row(), 0..1_000_000u32, -1..i64::MAX).prop_map(|(row, revision, late_offset)| StoredRow {
        row,
        revision,
        late_offset,
    })
}

pub fn score() -> impl Strategy<Value = Score> {
    let event = option::of((any::<i64>(), option::of(any::<u64>())));
    let event = event.prop_map(|event| event.map(|(ts, seq)| ScoredEvent { ts, seq }));
    let names = (stream_id(), "[a-z0-9.-]{1,40}", "[0-9a-f]{1,16}");
    let flags = (any::<bool>(), any::<bool>());
    (names, span(), event, flags, number(), option::of(number()), any::<i64>()).prop_map(
        |((stream_id, model, version), span, event, (shadow, prediction), score, threshold, last_arrival)| {
            Score {
                stream_id,
                span,
                event,
                model,
                version,
                shadow,
                score,
                threshold,
                prediction,
                last_arrival,
            }
        },
    )
}

pub fn alert() -> impl Strategy<Value = Alert> {
    let words = (stream_id(), "[a-z/0-9]{1,60}", "[a-z]{1,20}", "[a-z.]{1,20}");
    let (actions, causes) = (select(AlertAction::ALL), select(AlertCause::ALL));
    let words_and = (words, actions, causes, select(AlertSeverity::ALL));
    (words_and, number(), number(), any::<[i64; 3]>()).prop_map(|(symbols, value, threshold, times)| {
        let ((stream_id, id, rule, field), action, cause, severity) = symbols;
        let [size_ms, t_start, since] = times;
        Alert {
            stream_id,
            id,
            action,
            cause,
            rule,
            severity,
            field,
            value,
            threshold,
            size_ms,
            t_start,
            since,
        }
    })
}
