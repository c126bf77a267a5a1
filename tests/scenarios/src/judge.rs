//! The comparer: what is stored against what must be stored, once the sink has drained (EK-LATE-1).
//!
//! Count, min, max, first, last and seqs exact; |Δsum| ≤ 4 ε Σ|x|; m2 to 1e-9 relative, with a floor where
//! the data's offset leaves fewer digits. A diverted event (reason `overflow`) may be missing: which of
//! them are is found by trying, and where that is hopeless the window counts as undetermined.

use crate::reference::{Event, ExactStats, Reference, exact_stats};
use crate::violation::{Rule, Violation};
use evenkeel_model::{ClosedBy, FieldStats, SeqRange, StoredRow, WindowRow};
use evenkeel_seam::RowKey;
use std::collections::{BTreeMap, BTreeSet};

/// An event that went to `dlq` as `overflow` instead of into a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diverted {
    /// The stream.
    pub stream_id: String,
    /// The size whose window refused it; `None` = not said.
    pub size_ms: Option<i64>,
    /// Event time, ms.
    pub ts: i64,
    /// Its seq.
    pub seq: Option<u64>,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Broken rules.
    pub violations: Vec<Violation>,
    /// Windows compared.
    pub compared: usize,
    /// Windows with so many diverted events that it cannot be told which are missing. Listed, not hidden.
    pub undetermined: Vec<RowKey>,
}

/// Most subsets of diverted events that are tried for one window.
const TRIES_MAX: usize = 20_000;

/// Compares stored rows with the reference.
pub fn judge(
    stored: impl IntoIterator<Item = StoredRow>,
    diverted: &[Diverted],
    reference: &Reference,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut rows: BTreeMap<RowKey, StoredRow> = BTreeMap::new();
    for row in stored {
        let key = RowKey { stream_id: row.row.stream_id.clone(), span: row.row.span };
        if rows.insert(key.clone(), row).is_some() {
            verdict.violations.push(Violation::new(Rule::Win1, format!("{} is stored twice", name(&key))));
        }
    }
    let keys: BTreeSet<&RowKey> = reference.windows.keys().chain(rows.keys()).collect();
    for key in keys {
        let events = reference.windows.get(key).map_or(&[][..], Vec::as_slice);
        verdict.compared += 1;
        match compare(key, rows.get(key), events, diverted) {
            Outcome::Equal => {}
            Outcome::Undetermined => verdict.undetermined.push(key.clone()),
            Outcome::Differs(what) => {
                let what = format!("{}: {what}", name(key));
                verdict.violations.push(Violation::new(Rule::Late1, what));
            }
        }
    }
    verdict
}

/// A window as a reader finds it again.
pub fn name(key: &RowKey) -> String {
    format!("{} {} ms window {}", key.stream_id, key.span.size_ms, key.span.window_id)
}

enum Outcome {
    Equal,
    Undetermined,
    Differs(String),
}

fn compare(key: &RowKey, row: Option<&StoredRow>, events: &[Event], diverted: &[Diverted]) -> Outcome {
    let maybe: Vec<usize> = (0..events.len()).filter(|&i| is_diverted(key, &events[i], diverted)).collect();
    let Some(row) = row else {
        return match maybe.len() == events.len() {
            true => Outcome::Equal,
            false => Outcome::Differs(format!("no row, {} events expected", events.len() - maybe.len())),
        };
    };
    if let Err(what) = check_frame(row) {
        return Outcome::Differs(what);
    }
    let count = row.row.count as usize;
    let missing = events.len().checked_sub(count).filter(|&missing| missing <= maybe.len());
    let Some(missing) = missing else {
        return Outcome::Differs(format!(
            "count {count}, expected {} ({} of them diverted); extra or lost: {}",
            events.len(),
            maybe.len(),
            lost_or_extra(&row.row, events)
        ));
    };
    let mut first = None;
    let mut tries = TRIES_MAX;
    let found = try_subsets(&maybe, missing, &mut Vec::new(), &mut tries, &mut |left_out| {
        let kept: Vec<&Event> =
            (0..events.len()).filter(|i| !left_out.contains(i)).map(|i| &events[i]).collect();
        match check_content(&row.row, &kept) {
            Ok(()) => true,
            Err(what) => {
                first.get_or_insert(what);
                false
            }
        }
    });
    match (found, tries) {
        (true, _) => Outcome::Equal,
        (false, 0) => Outcome::Undetermined,
        (false, _) => Outcome::Differs(first.unwrap_or_default()),
    }
}

fn is_diverted(key: &RowKey, event: &Event, diverted: &[Diverted]) -> bool {
    diverted.iter().any(|d| {
        d.stream_id == key.stream_id
            && d.size_ms.is_none_or(|size| size == key.span.size_ms)
            && (d.seq == event.seq && event.seq.is_some() || d.ts == event.ts && event.seq.is_none())
            && evenkeel_model::WindowSpan::of(d.ts, key.span.size_ms) == key.span
    })
}

/// Calls `test` with every choice of `missing` of `from` until it says yes or the tries are used up.
fn try_subsets(
    from: &[usize],
    missing: usize,
    chosen: &mut Vec<usize>,
    tries: &mut usize,
    test: &mut dyn FnMut(&[usize]) -> bool,
) -> bool {
    if missing == 0 {
        *tries = tries.saturating_sub(1);
        return test(chosen);
    }
    for (i, &candidate) in from.iter().enumerate() {
        if from.len() - i < missing || *tries == 0 {
            return false;
        }
        chosen.push(candidate);
        if try_subsets(&from[i + 1..], missing - 1, chosen, tries, test) {
            return true;
        }
        chosen.pop();
    }
    false
}

/// What a row must keep whatever its events are.
fn check_frame(stored: &StoredRow) -> Result<(), String> {
    let row = &stored.row;
    let late_only = row.closed_by == ClosedBy::Late;
    if late_only && u64::from(stored.revision) != row.count {
        return Err(format!(
            "made by late events alone, but revision {} ≠ count {}",
            stored.revision, row.count
        ));
    }
    if (stored.revision == 0) != (stored.late_offset < 0) {
        return Err(format!("revision {} with late_offset {}", stored.revision, stored.late_offset));
    }
    if !row.stats.windows(2).all(|pair| pair[0].name < pair[1].name) {
        return Err("stats do not rise by name".into());
    }
    Ok(())
}

/// Whether a row holds exactly these events.
fn check_content(row: &WindowRow, events: &[&Event]) -> Result<(), String> {
    check_seqs(&row.seqs, events)?;
    let arrivals = || events.iter().map(|event| event.arrival);
    if !arrivals().any(|at| at == row.first_arrival) || !arrivals().any(|at| at == row.last_arrival) {
        return Err(format!("arrivals {} … {} are nobody's", row.first_arrival, row.last_arrival));
    }
    let exact = exact_stats(events);
    let names: Vec<&String> = row.stats.iter().map(|field| &field.name).collect();
    if !names.iter().copied().eq(exact.keys()) {
        return Err(format!("fields {names:?}, expected {:?}", exact.keys().collect::<Vec<_>>()));
    }
    for field in &row.stats {
        check_field(field, &exact[&field.name]).map_err(|what| format!("field {}: {what}", field.name))?;
    }
    check_raw(row, events)
}

/// Each range counts exactly the events whose seq it spans; exact ranges hold no other seq.
fn check_seqs(ranges: &[SeqRange], events: &[&Event]) -> Result<(), String> {
    let seqs: BTreeSet<u64> = events.iter().filter_map(|event| event.seq).collect();
    if ranges.iter().any(|r| r.lo > r.hi) || !ranges.windows(2).all(|w| w[0].hi < w[1].lo) {
        return Err(format!("seq ranges overlap or do not rise: {ranges:?}"));
    }
    let counted: u64 = ranges.iter().map(|r| r.count).sum();
    let fits = |r: &SeqRange| {
        let inside = seqs.range(r.lo..=r.hi).count() as u64;
        inside == r.count && seqs.contains(&r.lo) && seqs.contains(&r.hi)
    };
    match counted == seqs.len() as u64 && ranges.iter().all(fits) {
        true => Ok(()),
        false => Err(format!("seq ranges {ranges:?}, expected {seqs:?}")),
    }
}

fn check_field(got: &FieldStats, want: &ExactStats) -> Result<(), String> {
    let n = want.values.len();
    let min = want.values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = want.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if (got.count, got.min, got.max) != (n as u64, min, max) {
        return Err(format!(
            "count, min, max {:?}, expected {:?}",
            (got.count, got.min, got.max),
            (n, min, max)
        ));
    }
    let (first, last) = ((got.first_ts, got.first_seq, got.first), (got.last_ts, got.last_seq, got.last));
    if (first, last) != (want.first, want.last) {
        return Err(format!("first, last {first:?} {last:?}, expected {:?} {:?}", want.first, want.last));
    }
    let error = want.sum.distance(got.sum, got.sum_lo);
    if error.is_nan() || error > 4.0 * f64::EPSILON * want.sum_abs {
        return Err(format!("sum {} + {} is off by {error:e}", got.sum, got.sum_lo));
    }
    let mean_error = (got.mean - want.sum.value() / n as f64).abs();
    if mean_error.is_nan() || mean_error > 8.0 * f64::EPSILON * want.sum_abs / n as f64 {
        return Err(format!("mean {} is off by {mean_error:e}", got.mean));
    }
    // Where the values differ only far behind the point, the doubles themselves carry no more digits.
    let scale = f64::EPSILON * min.abs().max(max.abs());
    let floor = 4.0 * scale * (n as f64 * want.m2).sqrt() + n as f64 * (4.0 * scale) * (4.0 * scale);
    let m2_error = (got.m2 - want.m2).abs();
    match m2_error <= 1e-9 * want.m2 + floor {
        true => Ok(()),
        false => Err(format!("m2 {}, expected {} (off by {m2_error:e})", got.m2, want.m2)),
    }
}

/// With include-events, a row that no late event changed carries its raw events.
fn check_raw(row: &WindowRow, events: &[&Event]) -> Result<(), String> {
    let Some(raw) = &row.events else { return Ok(()) };
    let mut got: Vec<_> = raw.ts.iter().enumerate().map(|(i, ts)| (*ts, raw.seq.get(i).copied())).collect();
    let mut want: Vec<_> = events.iter().map(|event| (event.ts, event.seq)).collect();
    got.sort_unstable();
    want.sort_unstable();
    match got == want || got.len() < want.len() {
        true => Ok(()),
        false => Err(format!("raw events {got:?}, expected {want:?}")),
    }
}

/// Which seqs are too few or too many, for the message.
fn lost_or_extra(row: &WindowRow, events: &[Event]) -> String {
    let seqs: BTreeSet<u64> = events.iter().filter_map(|event| event.seq).collect();
    let lost: Vec<u64> = (seqs.iter().copied())
        .filter(|seq| !row.seqs.iter().any(|r| r.lo <= *seq && *seq <= r.hi))
        .take(8)
        .collect();
    format!("seqs not held {lost:?}, ranges {:?}", &row.seqs[..row.seqs.len().min(4)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::WindowSpan;

    const T: i64 = 1_700_000_000_000;

    fn key() -> RowKey {
        RowKey { stream_id: "s".into(), span: WindowSpan::of(T, 5_000) }
    }

    fn event(seq: u64, x: f64) -> Event {
        Event { ts: T + seq as i64, seq: Some(seq), arrival: T, fields: vec![("x".into(), x)] }
    }

    /// The row of some events, written down naively.
    fn row_of(events: &[Event]) -> StoredRow {
        let stats =
            exact_stats(&events.iter().collect::<Vec<_>>()).into_iter().map(|(name, exact)| FieldStats {
                name,
                count: exact.values.len() as u64,
                min: exact.values.iter().copied().fold(f64::INFINITY, f64::min),
                max: exact.values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                sum: exact.sum.value(),
                sum_lo: 0.0,
                mean: exact.sum.value() / exact.values.len() as f64,
                m2: exact.m2,
                first: exact.first.2,
                first_ts: exact.first.0,
                first_seq: exact.first.1,
                last: exact.last.2,
                last_ts: exact.last.0,
                last_seq: exact.last.1,
            });
        let seqs = events.iter().map(|e| e.seq.unwrap()).map(|seq| SeqRange { lo: seq, hi: seq, count: 1 });
        let row = WindowRow {
            stream_id: "s".into(),
            span: key().span,
            closed_by: ClosedBy::Watermark,
            max_ts: T,
            first_arrival: T,
            last_arrival: T,
            count: events.len() as u64,
            seqs: seqs.collect(),
            dropped: vec![],
            stats: stats.collect(),
            events: None,
        };
        StoredRow { row, revision: 0, late_offset: -1 }
    }

    fn reference(events: &[Event]) -> Reference {
        Reference { windows: [(key(), events.to_vec())].into(), ..Reference::default() }
    }

    fn rules(row: StoredRow, diverted: &[Diverted], events: &[Event]) -> Vec<Rule> {
        judge([row], diverted, &reference(events)).violations.into_iter().map(|v| v.rule).collect()
    }

    #[test]
    fn equal_rows_pass_and_any_other_value_fails() {
        let events = [event(1, 0.1), event(2, 0.7), event(3, -5.0)];
        assert_eq!(rules(row_of(&events), &[], &events), []);
        assert_eq!(rules(row_of(&events[..2]), &[], &events), [Rule::Late1]);
        assert_eq!(rules(row_of(&events), &[], &events[..2]), [Rule::Late1]);
        let broken: [fn(&mut FieldStats); 7] = [
            |f| f.sum += 1e-12,
            |f| f.mean += 1e-12,
            |f| f.m2 *= 1.0 + 1e-8,
            |f| f.min -= 1.0,
            |f| f.first = f.last,
            |f| f.last_ts += 1,
            |f| f.count += 1,
        ];
        for (i, change) in broken.into_iter().enumerate() {
            let mut row = row_of(&events);
            change(&mut row.row.stats[0]);
            assert_eq!(rules(row, &[], &events), [Rule::Late1], "change {i}");
        }
        let mut row = row_of(&events);
        row.row.seqs = vec![SeqRange { lo: 1, hi: 4, count: 3 }];
        assert_eq!(rules(row.clone(), &[], &events), [Rule::Late1], "nobody sent seq 4");
        row.row.seqs = vec![SeqRange { lo: 1, hi: 3, count: 3 }];
        assert_eq!(rules(row, &[], &events), []);
        assert_eq!(judge([], &[], &reference(&events)).violations.len(), 1, "a row is missing");
    }

    #[test]
    fn a_diverted_event_may_be_missing_and_no_other() {
        let events = [event(1, 0.1), event(2, 0.7), event(3, -5.0), event(4, 9.0)];
        let diverted =
            |seq| Diverted { stream_id: "s".into(), size_ms: Some(5_000), ts: T + 1, seq: Some(seq) };
        let without_2 = row_of(&[events[0].clone(), events[2].clone(), events[3].clone()]);
        assert_eq!(rules(without_2.clone(), &[diverted(2), diverted(3)], &events), []);
        assert_eq!(rules(without_2.clone(), &[diverted(3), diverted(4)], &events), [Rule::Late1]);
        assert_eq!(rules(without_2, &[], &events), [Rule::Late1]);
        assert_eq!(rules(row_of(&events), &[diverted(3)], &events), [], "it was counted after all");
    }
}
