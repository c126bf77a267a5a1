//! The ledger at every commit (EK-SUM-1), and that the way back only moves forward (EK-WIN-2).
//!
//! Each commit's counters are compared with the events log up to its offset and with the records its
//! transaction and all before it published.

use crate::judge::name;
use crate::published::{Body, Published};
use crate::reference::Reference;
use crate::violation::{Rule, Violation};
use evenkeel_model::{ClosedBy, DropReason};
use evenkeel_seam::{CommitMeta, RowKey, SizeLedger};
use std::collections::{BTreeMap, BTreeSet};

/// A committed transaction of one partition, in order of commit.
#[derive(Debug, Clone)]
pub struct CommitSeen {
    /// The partition.
    pub partition: u32,
    /// The committed offset.
    pub offset: u64,
    /// The metadata as committed.
    pub meta: CommitMeta,
    /// What the transaction published.
    pub published: Vec<Published>,
}

/// Watches the commits of every partition.
#[derive(Debug, Default)]
pub struct LedgerWatch {
    partitions: BTreeMap<u32, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    last: Option<(u64, CommitMeta)>,
    /// Events in published rows and in late records, per size.
    rows: BTreeMap<i64, u64>,
    late: BTreeMap<i64, u64>,
}

impl LedgerWatch {
    /// Checks one commit; call in order of commit.
    pub fn commit(&mut self, seen: &CommitSeen, reference: &Reference) -> Vec<Violation> {
        let watched = self.partitions.entry(seen.partition).or_default();
        for record in &seen.published {
            let (of, events) = match &record.body {
                Body::Row(row) => (&mut watched.rows, row.count),
                Body::Late(late) => (&mut watched.late, late.events.len() as u64),
            };
            *of.entry(record.key().span.size_ms).or_default() += events;
        }
        let mut found = Vec::new();
        let at = format!("partition {} commit at {}", seen.partition, seen.offset);
        for ledger in &seen.meta.ledger.sizes {
            watched.check_size(seen, ledger, reference, &at, &mut found);
        }
        watched.check_forward(seen, &at, &mut found);
        check_facts(seen, &at, &mut found);
        watched.last = Some((seen.offset, seen.meta.clone()));
        found
    }
}

/// A window that silence, age or the budget closes stays open, and counts events, until the very tick that
/// sends its row: so that transaction holds no late event of it.
fn check_facts(seen: &CommitSeen, at: &str, found: &mut Vec<Violation>) {
    let late: BTreeSet<RowKey> = (seen.published.iter())
        .filter(|record| matches!(record.body, Body::Late(_)))
        .map(Published::key)
        .collect();
    for record in &seen.published {
        let Body::Row(row) = &record.body else { continue };
        let fact = matches!(row.closed_by, ClosedBy::Idle | ClosedBy::Age | ClosedBy::Evicted);
        if fact && late.contains(&record.key()) {
            let what =
                format!("{at}: {} closed by {} before its row left", name(&record.key()), row.closed_by);
            found.push(Violation::new(Rule::Fact, what));
        }
    }
}

impl Watched {
    fn check_size(
        &self,
        seen: &CommitSeen,
        ledger: &SizeLedger,
        reference: &Reference,
        at: &str,
        found: &mut Vec<Violation>,
    ) {
        let size_ms = ledger.size_ms;
        let mut differ = |what: &str, got: u64, want: u64| {
            if got != want {
                let text = format!("{at}, size {size_ms}: {what} {got}, expected {want}");
                found.push(Violation::new(Rule::Sum1, text));
            }
        };
        if ledger.imbalance() != 0 {
            differ("imbalance", ledger.imbalance().unsigned_abs(), 0);
        }
        let of = |map: &BTreeMap<i64, u64>| map.get(&size_ms).copied().unwrap_or(0);
        differ("in_rows", ledger.in_rows, of(&self.rows));
        differ("late", ledger.reasons[DropReason::Late.index()], of(&self.late));
        if seen.meta.ledger.lost > 0 {
            return; // the log was cut: what was consumed can no longer be counted from it
        }
        let tally = reference.tally(seen.partition, size_ms, seen.offset);
        differ("consumed", ledger.consumed, tally.consumed);
        for reason in [DropReason::Malformed, DropReason::Misrouted, DropReason::Future, DropReason::TooOld] {
            differ(reason.as_str(), ledger.reasons[reason.index()], tally.refused[reason.index()]);
        }
    }

    /// EK-WIN-2: offsets, clocks, floor and the way back never move backwards.
    fn check_forward(&self, seen: &CommitSeen, at: &str, found: &mut Vec<Violation>) {
        let meta = &seen.meta;
        let mut broken = |what: String| found.push(Violation::new(Rule::Win2, format!("{at}: {what}")));
        if meta.replay_from > seen.offset {
            broken(format!("replay_from {} lies ahead", meta.replay_from));
        }
        if meta.windows_from > meta.windows_to {
            broken(format!("windows_from {} > windows_to {}", meta.windows_from, meta.windows_to));
        }
        if meta.log_clock_at_replay_from > meta.log_clock {
            broken("the log clock at replay_from lies ahead".to_owned());
        }
        let Some((offset, last)) = &self.last else { return };
        for (name, before, now) in [
            ("offset", *offset, seen.offset),
            ("replay_from", last.replay_from, meta.replay_from),
            ("windows_from", last.windows_from, meta.windows_from),
            ("windows_to", last.windows_to, meta.windows_to),
            ("marks_to", last.marks_to, meta.marks_to),
            ("epoch", last.epoch, meta.epoch),
        ] {
            if now < before {
                broken(format!("{name} went back from {before} to {now}"));
            }
        }
        for (name, before, now) in [
            ("floor", last.floor, meta.floor),
            ("log clock", last.log_clock, meta.log_clock),
            ("live clock", last.live_clock, meta.live_clock),
        ] {
            if now < before {
                broken(format!("{name} went back from {before} to {now}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_seam::Ledger;

    fn seen(offset: u64, ledger: SizeLedger, floor: i64) -> CommitSeen {
        let ledger = Ledger { sizes: vec![ledger], lost: 0 };
        let meta = CommitMeta { ledger, floor, ..CommitMeta::default() };
        CommitSeen { partition: 0, offset, meta, published: vec![] }
    }

    #[test]
    fn counters_are_compared_with_the_log_and_the_floor_only_rises() {
        let mut reference = Reference::default();
        let tally = Tally { consumed: 3, ..Tally::default() };
        reference.tallies.insert((0, 5_000), vec![(1, tally)]);
        let good = SizeLedger { size_ms: 5_000, consumed: 3, in_open: 3, ..SizeLedger::default() };
        let mut watch = LedgerWatch::default();
        assert_eq!(watch.commit(&seen(1, good.clone(), 5), &reference), []);
        let back = watch.commit(&seen(1, good.clone(), 4), &reference);
        assert_eq!(back.iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::Win2]);
        let short = SizeLedger { consumed: 2, in_open: 2, ..good.clone() };
        let short = watch.commit(&seen(1, short, 5), &reference);
        assert_eq!(short.iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::Sum1]);
        let torn = SizeLedger { in_open: 2, ..good };
        let torn = watch.commit(&seen(1, torn, 5), &reference);
        assert_eq!(torn.iter().map(|v| v.rule).collect::<Vec<_>>(), [Rule::Sum1]);
    }

    use crate::reference::Tally;
}
