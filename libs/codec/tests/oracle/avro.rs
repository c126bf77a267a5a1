//! Values of the model as a general Avro library sees them, from the words of the schemas alone.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use evenkeel_codec::schema;
use evenkeel_model::{
    Alert, EventBatch, FieldStats, LateRecord, Mark, Score, SeqRange, StoredRow, WindowRow, WindowSpan,
};

/// What the library reads from a record of ours; its header must name `of`, and it must end where the
/// library stops.
pub fn read(of: &schema::Schema, record: &[u8]) -> Value {
    let schema = Schema::parse_str(of.text).unwrap();
    let (header, mut body) = record.split_at(10);
    assert_eq!(header, header_of(of));
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut body).unwrap();
    assert!(body.is_empty(), "{} bytes left", body.len());
    value
}

/// The record the library writes.
pub fn write(of: &schema::Schema, value: Value) -> Vec<u8> {
    let schema = Schema::parse_str(of.text).unwrap();
    let mut record = header_of(of);
    record.extend(GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap());
    record
}

fn header_of(of: &schema::Schema) -> Vec<u8> {
    let fingerprint = Schema::parse_str(of.text).unwrap().fingerprint::<apache_avro::rabin::Rabin>();
    [vec![0xc3, 0x01], fingerprint.bytes].concat()
}

fn record(members: Vec<(&str, Value)>) -> Value {
    Value::Record(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn unsigned(value: u64) -> Value {
    Value::Long(value as i64)
}

fn optional(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

fn longs(values: impl IntoIterator<Item = i64>) -> Value {
    Value::Array(values.into_iter().map(Value::Long).collect())
}

/// Differences of neighbours; none if `empty` says so.
fn steps(values: &[i64], empty: bool) -> Value {
    longs(values.windows(2).filter(|_| !empty).map(|pair| pair[1].wrapping_sub(pair[0])))
}

pub fn batch(batch: &EventBatch) -> Value {
    let equal = batch.ts.windows(2).all(|pair| pair[0] == pair[1]);
    let seq: Vec<i64> = batch.seq.iter().map(|seq| *seq as i64).collect();
    let contiguous = seq.windows(2).all(|pair| pair[0].wrapping_add(1) == pair[1]);
    let column = |field: &evenkeel_model::FieldColumn| {
        record(vec![
            ("name", text(&field.name)),
            ("rows", Value::Array(field.rows.iter().map(|row| Value::Int(*row as i32)).collect())),
            ("values", Value::Array(field.values.iter().map(|value| Value::Double(*value)).collect())),
        ])
    };
    let payload = |bytes: &Option<Vec<u8>>| optional(bytes.clone().map(Value::Bytes));
    record(vec![
        ("stream_id", text(&batch.stream_id)),
        ("arrival_ms", Value::Long(batch.arrival_ms)),
        ("backfill", Value::Boolean(batch.backfill)),
        ("events", Value::Int(batch.len() as i32)),
        ("ts_first", Value::Long(batch.ts[0])),
        ("ts_steps", steps(&batch.ts, equal)),
        ("seq_first", optional(seq.first().map(|seq| Value::Long(*seq)))),
        ("seq_steps", steps(&seq, contiguous)),
        ("fields", Value::Array(batch.fields.iter().map(column).collect())),
        ("payloads", Value::Array(batch.payloads.iter().map(payload).collect())),
    ])
}

/// The one-event record of event 0.
pub fn event(batch: &EventBatch) -> Value {
    let fields = batch.fields.iter().filter_map(|f| Some((f.name.clone(), Value::Double(f.value(0)?))));
    record(vec![
        ("stream_id", text(&batch.stream_id)),
        ("ts", Value::Long(batch.ts[0])),
        ("seq", optional(batch.seq.first().map(|seq| unsigned(*seq)))),
        ("arrival_ms", Value::Long(batch.arrival_ms)),
        ("backfill", Value::Boolean(batch.backfill)),
        ("fields", Value::Map(fields.collect())),
        ("payload", optional(batch.payloads.first().cloned().flatten().map(Value::Bytes))),
    ])
}

fn head(kind: (u32, &str), stream_id: &str, span: WindowSpan) -> Vec<(&'static str, Value)> {
    vec![
        ("kind", Value::Enum(kind.0, kind.1.to_owned())),
        ("stream_id", text(stream_id)),
        ("size_ms", Value::Long(span.size_ms)),
        ("window_id", Value::Long(span.window_id)),
        ("t_start", Value::TimestampMillis(span.window_id * span.size_ms)),
        ("t_end", Value::TimestampMillis(span.window_id * span.size_ms + span.size_ms)),
    ]
}

pub fn row(row: &WindowRow) -> Value {
    let mut members = head((0, "row"), &row.stream_id, row.span);
    let dropped = row.dropped.iter().map(|(reason, n)| (reason.as_str().to_owned(), unsigned(*n)));
    let stats = row.stats.iter().map(|field| (field.name.clone(), field_stats(field)));
    members.extend([
        ("closed_by", Value::Enum(row.closed_by.index() as u32, row.closed_by.as_str().to_owned())),
        ("max_ts", Value::TimestampMillis(row.max_ts)),
        ("first_arrival", Value::TimestampMillis(row.first_arrival)),
        ("last_arrival", Value::TimestampMillis(row.last_arrival)),
        ("count", unsigned(row.count)),
        ("seq_min", optional(row.seqs.first().map(|r| unsigned(r.lo)))),
        ("seq_max", optional(row.seqs.last().map(|r| unsigned(r.hi)))),
        ("seq_ranges", seq_ranges(&row.seqs)),
        ("missing", unsigned(row.missing())),
        ("dropped", Value::Map(dropped.collect())),
        ("stats", Value::Map(stats.collect())),
        ("events", optional(row.events.as_ref().map(batch))),
        ("arrival_offsets", longs([])),
    ]);
    record(members)
}

pub fn late(late: &LateRecord) -> Value {
    let span = WindowSpan { size_ms: late.size_ms, window_id: late.window_id };
    let (first, last) = (*late.arrivals.iter().min().unwrap(), *late.arrivals.iter().max().unwrap());
    let offsets = late.arrivals.iter().filter(|_| first != last).map(|arrival| arrival.wrapping_sub(first));
    let mut members = head((1, "late"), &late.events.stream_id, span);
    members.extend([
        ("closed_by", Value::Enum(6, "late".to_owned())),
        ("max_ts", Value::TimestampMillis(*late.events.ts.iter().max().unwrap())),
        ("first_arrival", Value::TimestampMillis(first)),
        ("last_arrival", Value::TimestampMillis(last)),
        ("count", Value::Long(late.events.len() as i64)),
        ("seq_min", optional(None)),
        ("seq_max", optional(None)),
        ("seq_ranges", Value::Array(vec![])),
        ("missing", Value::Long(0)),
        ("dropped", Value::Map([].into())),
        ("stats", Value::Map([].into())),
        ("events", optional(Some(batch(&late.events)))),
        ("arrival_offsets", longs(offsets)),
    ]);
    record(members)
}

fn seq_ranges(seqs: &[SeqRange]) -> Value {
    let mut before = 0;
    let range = |range: &SeqRange| {
        let gap = range.lo - before;
        before = range.hi;
        record(vec![
            ("gap", unsigned(gap)),
            ("span", unsigned(range.hi - range.lo)),
            ("holes", unsigned(range.hi - range.lo - (range.count - 1))),
        ])
    };
    Value::Array(seqs.iter().map(range).collect())
}

fn field_stats(field: &FieldStats) -> Value {
    record(vec![
        ("count", unsigned(field.count)),
        ("min", Value::Double(field.min)),
        ("max", Value::Double(field.max)),
        ("sum", Value::Double(field.sum)),
        ("sum_lo", Value::Double(field.sum_lo)),
        ("mean", Value::Double(field.mean)),
        ("m2", Value::Double(field.m2)),
        ("first", Value::Double(field.first)),
        ("first_ts", Value::TimestampMillis(field.first_ts)),
        ("first_seq", unsigned(field.first_seq)),
        ("last", Value::Double(field.last)),
        ("last_ts", Value::TimestampMillis(field.last_ts)),
        ("last_seq", unsigned(field.last_seq)),
    ])
}

pub fn mark(mark: &Mark) -> Value {
    let emitted = |(size_ms, t_end_ms): &(i64, i64)| {
        record(vec![("size_ms", Value::Long(*size_ms)), ("t_end_ms", Value::Long(*t_end_ms))])
    };
    record(vec![
        ("stream_id", text(&mark.stream_id)),
        ("emitted", Value::Array(mark.emitted.iter().map(emitted).collect())),
        ("max_ts", Value::Long(mark.max_ts)),
    ])
}

pub fn stored(stored: &StoredRow) -> Value {
    record(vec![
        ("revision", Value::Int(stored.revision as i32)),
        ("late_offset", Value::Long(stored.late_offset)),
        ("row", Value::Bytes(write(&schema::WINDOW_ROW, row(&stored.row)))),
    ])
}

pub fn score(score: &Score) -> Value {
    let WindowSpan { size_ms, window_id } = score.span;
    record(vec![
        ("stream_id", text(&score.stream_id)),
        ("size_ms", Value::Long(size_ms)),
        ("window_id", Value::Long(window_id)),
        ("t_start", Value::TimestampMillis(window_id * size_ms)),
        ("t_end", Value::TimestampMillis(window_id * size_ms + size_ms)),
        ("event_ts", optional(score.event.map(|event| Value::TimestampMillis(event.ts)))),
        ("event_seq", optional(score.event.and_then(|event| event.seq).map(unsigned))),
        ("model", text(&score.model)),
        ("version", text(&score.version)),
        ("shadow", Value::Boolean(score.shadow)),
        ("score", Value::Double(score.score)),
        ("threshold", optional(score.threshold.map(Value::Double))),
        ("prediction", Value::Boolean(score.prediction)),
        ("last_arrival", Value::TimestampMillis(score.last_arrival)),
    ])
}

pub fn alert(alert: &Alert) -> Value {
    let symbol = |index: usize, name: &str| Value::Enum(index as u32, name.to_owned());
    record(vec![
        ("stream_id", text(&alert.stream_id)),
        ("id", text(&alert.id)),
        ("action", symbol(alert.action.index(), alert.action.as_str())),
        ("cause", symbol(alert.cause.index(), alert.cause.as_str())),
        ("rule", text(&alert.rule)),
        ("severity", symbol(alert.severity.index(), alert.severity.as_str())),
        ("field", text(&alert.field)),
        ("value", Value::Double(alert.value)),
        ("threshold", Value::Double(alert.threshold)),
        ("size_ms", Value::Long(alert.size_ms)),
        ("t_start", Value::TimestampMillis(alert.t_start)),
        ("since", Value::TimestampMillis(alert.since)),
    ])
}
