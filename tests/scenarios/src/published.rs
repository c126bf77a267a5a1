//! The rules of the windows topic: what the coalescer published, read in order, aborted records left out.
//!
//! Keeps: EK-WIN-1, EK-WIN-2 (rows leave in the order of their windows), EK-LATE-0, and that a row holds
//! admitted events only.

use crate::judge::name;
use crate::reference::Reference;
use crate::settings::Settings;
use crate::violation::{Rule, Violation};
use evenkeel_model::{ClosedBy, LateRecord, StoredRow, WindowRow, WindowSpan, partition_of};
use evenkeel_seam::RowKey;
use std::collections::BTreeMap;

/// A committed record of the windows topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// What it says.
    pub body: Body,
}

/// What a record of the windows topic says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A window's row.
    Row(Box<WindowRow>),
    /// Late events of one window.
    Late(Box<LateRecord>),
}

impl Published {
    /// The window it is about.
    pub fn key(&self) -> RowKey {
        match &self.body {
            Body::Row(row) => RowKey { stream_id: row.stream_id.clone(), span: row.span },
            Body::Late(late) => {
                let span = WindowSpan { size_ms: late.size_ms, window_id: late.window_id };
                RowKey { stream_id: late.events.stream_id.clone(), span }
            }
        }
    }
}

/// Checks the records of the windows topic; each partition's in order of their offsets.
pub fn check_published(settings: &Settings, reference: &Reference, topic: &[Published]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut rows: BTreeMap<RowKey, u64> = BTreeMap::new();
    let mut late: BTreeMap<RowKey, u64> = BTreeMap::new();
    let mut emitted: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for record in topic {
        let key = record.key();
        let at = format!("{} at offset {} of partition {}", name(&key), record.offset, record.partition);
        if partition_of(&key.stream_id, settings.partitions) != record.partition {
            found.push(Violation::new(Rule::Win1, format!("{at}: the wrong partition")));
        }
        match &record.body {
            Body::Row(row) => {
                if let Some(first) = rows.insert(key.clone(), record.offset) {
                    found.push(Violation::new(
                        Rule::Win1,
                        format!("{at}: a second row, the first at {first}"),
                    ));
                }
                if let Some(before) = late.get(&key) {
                    found.push(Violation::new(
                        Rule::Late0,
                        format!("{at}: late events came before, at {before}"),
                    ));
                }
                let series = (key.stream_id.clone(), key.span.size_ms);
                let newest = emitted.entry(series).or_insert(i64::MIN);
                if key.span.t_end() < *newest {
                    let what = format!("{at}: leaves after the row that ends at {newest}");
                    found.push(Violation::new(Rule::Win2, what));
                }
                *newest = key.span.t_end().max(*newest);
                check_row(row, reference.windows.get(&key).map_or(0, Vec::len), &at, &mut found);
            }
            Body::Late(events) => {
                late.insert(key.clone(), record.offset);
                check_late(events, key.span, &at, &mut found);
            }
        }
    }
    found
}

fn check_row(row: &WindowRow, admitted: usize, at: &str, found: &mut Vec<Violation>) {
    if row.closed_by == ClosedBy::Late {
        found.push(Violation::new(Rule::Win1, format!("{at}: closed_by late is the sink's to say")));
    }
    if row.count == 0 || row.count > admitted as u64 {
        let what = format!("{at}: count {} of {admitted} admitted events", row.count);
        found.push(Violation::new(Rule::Late1, what));
    }
    let newest = row.stats.iter().map(|field| field.last_ts).max().unwrap_or(i64::MIN);
    if row.max_ts < newest {
        found.push(Violation::new(Rule::Win2, format!("{at}: max_ts {} below {newest}", row.max_ts)));
    }
}

fn check_late(late: &LateRecord, span: WindowSpan, at: &str, found: &mut Vec<Violation>) {
    let events = &late.events;
    if events.check_shape().is_err() || late.arrivals.len() != events.len() {
        found
            .push(Violation::new(Rule::Late0, format!("{at}: columns of a late record do not fit together")));
    }
    if events.ts.iter().any(|ts| WindowSpan::of(*ts, span.size_ms) != span) {
        found.push(Violation::new(
            Rule::Late0,
            format!("{at}: late events of another window: {:?}", events.ts),
        ));
    }
}

/// Checks what the store says about where each row came from: `closed_by = late` exactly where no row was
/// published, and a revision that counts the merged late events (EK-LATE-1).
pub fn check_origin<'a>(
    stored: impl IntoIterator<Item = &'a StoredRow>,
    topic: &[Published],
) -> Vec<Violation> {
    let rows: BTreeMap<RowKey, &WindowRow> = (topic.iter())
        .filter_map(|record| match &record.body {
            Body::Row(row) => Some((record.key(), &**row)),
            Body::Late(_) => None,
        })
        .collect();
    let mut found = Vec::new();
    for stored in stored {
        let key = RowKey { stream_id: stored.row.stream_id.clone(), span: stored.row.span };
        let (count, closed_by) = rows.get(&key).map_or((0, ClosedBy::Late), |row| (row.count, row.closed_by));
        if stored.row.closed_by != closed_by || stored.row.count != count + u64::from(stored.revision) {
            let what = format!(
                "{}: closed_by {}, count {} = {count} published + revision {}; published closed_by {closed_by}",
                name(&key),
                stored.row.closed_by,
                stored.row.count,
                stored.revision
            );
            found.push(Violation::new(Rule::Late1, what));
        }
    }
    found
}

/// Remembers every content that was ever written: a (key, revision) names one.
#[derive(Debug, Default)]
pub struct Contents {
    seen: BTreeMap<(RowKey, u32), StoredRow>,
}

impl Contents {
    /// A write reaches the store, applied or not. `dropped` is informative and outside the comparison.
    pub fn write(&mut self, row: &StoredRow) -> Option<Violation> {
        let key = RowKey { stream_id: row.row.stream_id.clone(), span: row.row.span };
        let mut bare = row.clone();
        bare.row.dropped.clear();
        let first = self.seen.entry((key.clone(), row.revision)).or_insert_with(|| bare.clone());
        (*first != bare).then(|| {
            let what = format!("{} revision {}: {first:?} and {bare:?}", name(&key), row.revision);
            Violation::new(Rule::Revision, what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::EventBatch;

    fn row(window_id: i64, offset: u64) -> Published {
        let row = WindowRow {
            stream_id: "s".into(),
            span: WindowSpan { size_ms: 5_000, window_id },
            closed_by: ClosedBy::Watermark,
            max_ts: 0,
            first_arrival: 0,
            last_arrival: 0,
            count: 1,
            seqs: vec![],
            dropped: vec![],
            stats: vec![],
            events: None,
        };
        Published { partition: 0, offset, body: Body::Row(Box::new(row)) }
    }

    fn late(window_id: i64, offset: u64) -> Published {
        let events =
            EventBatch { stream_id: "s".into(), ts: vec![window_id * 5_000], ..EventBatch::default() };
        let late = LateRecord { size_ms: 5_000, window_id, arrivals: vec![1], events };
        Published { partition: 0, offset, body: Body::Late(Box::new(late)) }
    }

    fn rules(topic: &[Published]) -> Vec<Rule> {
        let settings = Settings { partitions: 1, ..Settings::product() };
        let mut reference = Reference::default();
        for record in topic {
            let event = crate::Event { ts: 0, seq: None, arrival: 0, fields: vec![] };
            reference.windows.insert(record.key(), vec![event]);
        }
        check_published(&settings, &reference, topic).into_iter().map(|v| v.rule).collect()
    }

    #[test]
    fn each_rule_of_the_topic_is_noticed() {
        assert_eq!(rules(&[row(1, 0), late(1, 1), row(2, 2)]), []);
        assert_eq!(rules(&[row(1, 0), row(1, 1)]), [Rule::Win1]);
        assert_eq!(rules(&[row(2, 0), row(1, 1)]), [Rule::Win2]);
        assert_eq!(rules(&[late(1, 0), row(1, 1)]), [Rule::Late0]);
    }

    #[test]
    fn a_revision_names_one_content() {
        let Body::Row(first) = row(1, 0).body else { return };
        let mut contents = Contents::default();
        let mut stored = StoredRow { row: *first, revision: 0, late_offset: -1 };
        assert_eq!(contents.write(&stored), None);
        assert_eq!(contents.write(&stored), None);
        stored.row.dropped = vec![(evenkeel_model::DropReason::Duplicate, 1)];
        assert_eq!(contents.write(&stored), None, "dropped is informative");
        stored.row.count = 2;
        assert_eq!(contents.write(&stored).map(|v| v.rule), Some(Rule::Revision));
        stored.revision = 1;
        assert_eq!(contents.write(&stored), None);
    }

    #[test]
    fn the_origin_of_a_row_is_checked() {
        let Body::Row(first) = row(1, 0).body else { return };
        let good = StoredRow { row: *first, revision: 0, late_offset: -1 };
        assert_eq!(check_origin([&good], &[row(1, 0)]), []);
        assert_eq!(check_origin([&good], &[]).len(), 1, "no row was published");
        let mut merged = good.clone();
        (merged.revision, merged.row.count) = (2, 2);
        assert_eq!(check_origin([&merged], &[row(1, 0)]).len(), 1, "revision says 2 merged, count says 1");
    }
}
