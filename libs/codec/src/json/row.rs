//! One window row as one JSON object: what `query` prints and other programs read.
//!
//! Names are those of the record WindowRow; times are ms since the epoch; numbers are the shortest that
//! read back as the same number. `late_merged` is `revision` under the name the store's column has.

use evenkeel_model::{EventBatch, FieldStats, StoredRow};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// Appends `row` as one JSON object on one line, without a newline.
pub fn write_row(row: &StoredRow, out: &mut Vec<u8>) {
    let start = out.len();
    // Writing to memory cannot fail, and no name here is anything but text.
    if serde_json::to_writer(&mut *out, &Row(row)).is_err() {
        out.truncate(start);
    }
}

struct Row<'a>(&'a StoredRow);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredRow { row, revision, late_offset } = self.0;
        let bounds = row.seq_bounds();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", "row")?;
        map.serialize_entry("stream_id", &row.stream_id)?;
        map.serialize_entry("size_ms", &row.span.size_ms)?;
        map.serialize_entry("window_id", &row.span.window_id)?;
        map.serialize_entry("t_start", &row.span.t_start())?;
        map.serialize_entry("t_end", &row.span.t_end())?;
        map.serialize_entry("closed_by", row.closed_by.as_str())?;
        map.serialize_entry("max_ts", &row.max_ts)?;
        map.serialize_entry("first_arrival", &row.first_arrival)?;
        map.serialize_entry("last_arrival", &row.last_arrival)?;
        map.serialize_entry("count", &row.count)?;
        map.serialize_entry("seq_min", &bounds.map(|(lo, _)| lo))?;
        map.serialize_entry("seq_max", &bounds.map(|(_, hi)| hi))?;
        let ranges: Vec<[u64; 3]> = row.seqs.iter().map(|r| [r.lo, r.hi, r.count]).collect();
        map.serialize_entry("seq_ranges", &ranges)?;
        map.serialize_entry("missing", &row.missing())?;
        map.serialize_entry("dropped", &Pairs(row.dropped.iter().map(|(reason, n)| (reason.as_str(), *n))))?;
        map.serialize_entry(
            "stats",
            &Pairs(row.stats.iter().map(|field| (field.name.as_str(), Stats(field)))),
        )?;
        map.serialize_entry("late_merged", revision)?;
        map.serialize_entry("revision", revision)?;
        map.serialize_entry("late_offset", late_offset)?;
        if let Some(events) = &row.events {
            map.serialize_entry("events", &Events(events))?;
        }
        map.end()
    }
}

/// An object of names and values.
struct Pairs<I>(I);

impl<'a, V: Serialize, I: Iterator<Item = (&'a str, V)> + Clone> Serialize for Pairs<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

struct Stats<'a>(&'a FieldStats);

impl Serialize for Stats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let field = self.0;
        let mut map = serializer.serialize_map(Some(13))?;
        map.serialize_entry("count", &field.count)?;
        map.serialize_entry("min", &field.min)?;
        map.serialize_entry("max", &field.max)?;
        map.serialize_entry("sum", &field.sum)?;
        map.serialize_entry("sum_lo", &field.sum_lo)?;
        map.serialize_entry("mean", &field.mean)?;
        map.serialize_entry("m2", &field.m2)?;
        map.serialize_entry("first", &field.first)?;
        map.serialize_entry("first_ts", &field.first_ts)?;
        map.serialize_entry("first_seq", &field.first_seq)?;
        map.serialize_entry("last", &field.last)?;
        map.serialize_entry("last_ts", &field.last_ts)?;
        map.serialize_entry("last_seq", &field.last_seq)?;
        map.end()
    }
}

struct Events<'a>(&'a EventBatch);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for row in 0..self.0.len() {
            list.serialize_element(&OneEvent { batch: self.0, row })?;
        }
        list.end()
    }
}

struct OneEvent<'a> {
    batch: &'a EventBatch,
    row: usize,
}

impl Serialize for OneEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { batch, row } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ts", &batch.ts[row])?;
        if let Some(seq) = batch.seq.get(row) {
            map.serialize_entry("seq", seq)?;
        }
        let fields = batch.fields.iter().filter_map(|f| Some((f.name.as_str(), f.value(row)?)));
        map.serialize_entry("fields", &Pairs(fields))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{ClosedBy, DropReason, FieldColumn, SeqRange, WindowRow, WindowSpan};
    use proptest::prelude::*;

    fn example(value: f64) -> StoredRow {
        let events = EventBatch {
            stream_id: "bowl/7".into(),
            ts: vec![12_000, 14_000],
            seq: vec![7, 9],
            fields: vec![FieldColumn { name: "g".into(), rows: vec![1], values: vec![value] }],
            ..EventBatch::default()
        };
        let stats = FieldStats {
            name: "g \"x\"".into(),
            count: 1,
            min: value,
            max: value,
            sum: value,
            sum_lo: -0.0,
            mean: value,
            m2: 0.0,
            first: value,
            first_ts: 14_000,
            first_seq: 9,
            last: value,
            last_ts: 14_000,
            last_seq: 9,
        };
        let row = WindowRow {
            stream_id: "bowl/7".into(),
            span: WindowSpan { size_ms: 5_000, window_id: 2 },
            closed_by: ClosedBy::Watermark,
            max_ts: 17_000,
            first_arrival: 12_001,
            last_arrival: 14_001,
            count: 2,
            seqs: vec![SeqRange { lo: 7, hi: 7, count: 1 }, SeqRange { lo: 9, hi: 9, count: 1 }],
            dropped: vec![(DropReason::Duplicate, 1), (DropReason::Late, 2)],
            stats: vec![stats],
            events: Some(events),
        };
        StoredRow { row, revision: 2, late_offset: 31 }
    }

    fn text(row: &StoredRow) -> String {
        let mut out = b"before ".to_vec();
        write_row(row, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn golden_text() {
        let want = concat!(
            r#"{"kind":"row","stream_id":"bowl/7","size_ms":5000,"window_id":2,"t_start":10000,"t_end":15000,"#,
            r#""closed_by":"watermark","max_ts":17000,"first_arrival":12001,"last_arrival":14001,"count":2,"#,
            r#""seq_min":7,"seq_max":9,"seq_ranges":[[7,7,1],[9,9,1]],"missing":1,"#,
            r#""dropped":{"duplicate":1,"late":2},"stats":{"g \"x\"":{"count":1,"min":0.1,"max":0.1,"sum":0.1,"#,
            r#""sum_lo":-0.0,"mean":0.1,"m2":0.0,"first":0.1,"first_ts":14000,"first_seq":9,"last":0.1,"#,
            r#""last_ts":14000,"last_seq":9}},"late_merged":2,"revision":2,"late_offset":31,"#,
            r#""events":[{"ts":12000,"seq":7,"fields":{}},{"ts":14000,"seq":9,"fields":{"g":0.1}}]}"#,
        );
        assert_eq!(text(&example(0.1)), want);
    }

    #[test]
    fn a_row_without_seq_and_events_keeps_its_members() {
        let mut stored = example(1.0);
        (stored.row.seqs, stored.row.events, stored.row.dropped) = (vec![], None, vec![]);
        let value: serde_json::Value = serde_json::from_str(&text(&stored)).unwrap();
        assert!(value["seq_min"].is_null() && value["seq_ranges"] == serde_json::json!([]));
        assert!(value.get("events").is_none() && value["dropped"] == serde_json::json!({}));
    }

    proptest! {
        #[test]
        fn every_number_is_valid_json_and_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let read: serde_json::Value = serde_json::from_str(&text(&example(value))).unwrap();
            let min = &read["stats"]["g \"x\""]["min"];
            match value.is_finite() {
                true => prop_assert_eq!(min.as_f64().unwrap().to_bits(), bits),
                false => prop_assert!(min.is_null()), // no row holds one
            }
        }
    }
}
