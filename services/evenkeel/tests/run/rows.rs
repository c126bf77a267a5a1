//! What `query --format json` prints, read back into the model.

use evenkeel_model::{ClosedBy, DropReason, FieldStats, SeqRange, StoredRow, WindowRow, WindowSpan};
use serde_json::Value;

/// The row of one line.
pub fn stored_row(line: &str) -> StoredRow {
    let value: Value = serde_json::from_str(line).unwrap();
    let int = |name: &str| value[name].as_i64().unwrap_or_else(|| panic!("{name} in {line}"));
    let object = |name: &str| value[name].as_object().unwrap().iter();
    let range = |r: &Value| SeqRange { lo: of_u64(&r[0]), hi: of_u64(&r[1]), count: of_u64(&r[2]) };
    let row = WindowRow {
        stream_id: value["stream_id"].as_str().unwrap().to_owned(),
        span: WindowSpan { size_ms: int("size_ms"), window_id: int("window_id") },
        closed_by: ClosedBy::parse(value["closed_by"].as_str().unwrap()).unwrap(),
        max_ts: int("max_ts"),
        first_arrival: int("first_arrival"),
        last_arrival: int("last_arrival"),
        count: of_u64(&value["count"]),
        seqs: value["seq_ranges"].as_array().unwrap().iter().map(range).collect(),
        dropped: object("dropped").map(|(name, n)| (DropReason::parse(name).unwrap(), of_u64(n))).collect(),
        stats: object("stats").map(|(name, stats)| field_stats(name, stats)).collect(),
        events: None,
    };
    assert_eq!((int("t_start"), int("t_end")), (row.span.t_start(), row.span.t_end()));
    assert_eq!(of_u64(&value["missing"]), row.missing());
    StoredRow { row, revision: int("revision") as u32, late_offset: int("late_offset") }
}

fn field_stats(name: &str, stats: &Value) -> FieldStats {
    let number = |member: &str| stats[member].as_f64().unwrap();
    let time = |member: &str| stats[member].as_i64().unwrap();
    FieldStats {
        name: name.to_owned(),
        count: of_u64(&stats["count"]),
        min: number("min"),
        max: number("max"),
        sum: number("sum"),
        sum_lo: number("sum_lo"),
        mean: number("mean"),
        m2: number("m2"),
        first: number("first"),
        first_ts: time("first_ts"),
        first_seq: of_u64(&stats["first_seq"]),
        last: number("last"),
        last_ts: time("last_ts"),
        last_seq: of_u64(&stats["last_seq"]),
    }
}

fn of_u64(value: &Value) -> u64 {
    value.as_u64().unwrap()
}
