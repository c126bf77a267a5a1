//! Records of a schema that is not ours, by the names of their members.
//!
//! `ts` (long in ms, a timestamp of any unit, or text) must be there; `stream_id` unless the path names it; `seq`,
//! `payload` and `fields` (a map or record of numbers) may. Without `fields` every other number is one.
//! Owns: which schemas are read and what their members mean. Never: a schema that nests or names itself: records are
//! flat, so no bytes of a client can make the reader recurse.

use crate::collect::Collector;
use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use evenkeel_codec::json::{JsonEvent, parse_timestamp};

/// Longest schema read, bytes.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;

/// Most members of a record, those of inner records included: an event has at most 64 fields.
const MEMBERS_MAX: usize = 100;
/// Most that the library may reserve for one text or map on a client's word, bytes.
const RESERVE_MAX: usize = 1024 * 1024;

/// A reader of one writer's schema.
pub(super) struct Foreign {
    schema: Schema,
}

pub(super) fn parse(text: &str) -> Result<Schema, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("its schema is longer than {SCHEMA_BYTES_MAX} bytes"));
    }
    apache_avro::util::max_allocation_bytes(RESERVE_MAX); // for the process; the registry of libs/kafka, which reads with this library too, says the same
    Schema::parse_str(text).map_err(|error| format!("its schema: {error}"))
}

/// CRC-64-AVRO, as single-object encoding has it.
pub(super) fn fingerprint(schema: &Schema) -> u64 {
    let bytes = schema.fingerprint::<Rabin>().bytes;
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

impl Foreign {
    /// A reader of `schema`, if it is flat enough.
    pub(super) fn of(schema: Schema) -> Result<Self, String> {
        let Schema::Record(record) = &schema else {
            return Err("its schema is no record".into());
        };
        let inner = |schema: &Schema| match schema {
            Schema::Record(inner) => inner.fields.len(),
            _ => 0,
        };
        let members = record.fields.iter().map(|field| 1 + inner(&field.schema)).sum::<usize>();
        if members > MEMBERS_MAX {
            return Err(format!("its schema has more than {MEMBERS_MAX} members"));
        }
        for field in &record.fields {
            let nests = match &field.schema {
                Schema::Record(inner) => !inner.fields.iter().all(|f| is_plain(&f.schema)),
                Schema::Map(map) => !is_plain(&map.types),
                Schema::Union(union) => !union.variants().iter().all(is_flat),
                other => !is_plain(other),
            };
            if nests {
                return Err(format!(
                    "its member {:?} nests, or is of a kind that no event has; read are numbers, text, times, bytes, and maps and records of those",
                    field.name
                ));
            }
        }
        if !record.fields.iter().any(|field| field.name == "ts") {
            return Err("its schema has no member ts, the time of an event".into());
        }
        Ok(Self { schema })
    }

    /// The records of a block.
    pub(super) fn read(
        &self,
        mut data: &[u8],
        records: u32,
        collector: &mut Collector<'_>,
    ) -> Result<(), String> {
        let reader = GenericDatumReader::builder(&self.schema).build();
        let reader = reader.map_err(|error| format!("its schema: {error}"))?;
        for record in 0..records {
            let value = reader
                .read_value(&mut data)
                .map_err(|error| format!("record {record} of a block: {error}"))?;
            let Value::Record(members) = value else { return Err("a record is none".into()) };
            match event_of(members) {
                Ok(event) => collector.parsed(event),
                Err(why) => collector.malformed(why),
            }
        }
        match data.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes of a block follow its records")),
        }
    }
}

/// A value without others in it.
fn is_plain(schema: &Schema) -> bool {
    match schema {
        Schema::Null
        | Schema::Boolean
        | Schema::Int
        | Schema::Long
        | Schema::Float
        | Schema::Double
        | Schema::Bytes
        | Schema::String
        | Schema::Enum(_)
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => true,
        Schema::Union(union) => {
            union.variants().iter().all(|of| !matches!(of, Schema::Union(_)) && is_plain(of))
        }
        _ => false,
    }
}

/// What an optional member may hold.
fn is_flat(schema: &Schema) -> bool {
    match schema {
        Schema::Map(map) => is_plain(&map.types),
        Schema::Record(record) => record.fields.iter().all(|field| is_plain(&field.schema)),
        other => is_plain(other),
    }
}

fn event_of(members: Vec<(String, Value)>) -> Result<JsonEvent, String> {
    let (mut event, mut ts, mut others) = (JsonEvent::default(), None, Vec::new());
    let mut own_fields = false;
    for (name, value) in members {
        let value = bare(value);
        match (name.as_str(), value) {
            (_, Value::Null) => own_fields |= name == "fields",
            ("ts", value) => ts = Some(time_of(value)?),
            ("stream_id", Value::String(id)) => event.stream_id = Some(id),
            ("stream_id", other) => return Err(format!("stream_id is {other:?}; it must be text")),
            ("seq", value) => event.seq = Some(seq_of(&value)?),
            ("payload", Value::Bytes(payload)) => event.payload = Some(payload),
            ("arrival" | "arrival_ms" | "backfill", _) => {} // this service's to say
            ("fields", Value::Map(map)) => {
                own_fields = true;
                event.fields = numbers("fields.", map)?;
                event.fields.sort_by(|a, b| a.0.cmp(&b.0)); // a map has no order
            }
            ("fields", Value::Record(record)) => {
                own_fields = true;
                event.fields = numbers("fields.", record)?;
            }
            (_, value) => others.push((name, value)),
        }
    }
    if !own_fields {
        let is_number = |value: &Value| number(value).is_some();
        event.fields = numbers("", others.into_iter().filter(|(_, value)| is_number(value)))?;
    }
    event.ts = ts.ok_or("ts is null; it must be the event's time")?;
    evenkeel_codec::json::check_event(&event).map_err(|error| error.to_string())?;
    Ok(event)
}

/// A union's value.
fn bare(value: Value) -> Value {
    match value {
        Value::Union(_, inner) => bare(*inner),
        other => other,
    }
}

fn numbers(
    of: &str,
    members: impl IntoIterator<Item = (String, Value)>,
) -> Result<Vec<(String, f64)>, String> {
    let mut fields = Vec::new();
    for (name, value) in members {
        match (bare(value), of) {
            (Value::Null, _) => {}
            (value, _) => match number(&value) {
                Some(value) => fields.push((name, value)),
                None => {
                    return Err(format!("{of}{name} is {value:?}; a field must be a number or a boolean"));
                }
            },
        }
    }
    Ok(fields)
}

fn number(value: &Value) -> Option<f64> {
    match *value {
        Value::Boolean(value) => Some(f64::from(u8::from(value))),
        Value::Int(value) => Some(f64::from(value)),
        Value::Long(value) => Some(value as f64),
        Value::Float(value) => Some(f64::from(value)),
        Value::Double(value) => Some(value),
        _ => None,
    }
}

fn seq_of(value: &Value) -> Result<u64, String> {
    let seq = match *value {
        Value::Int(seq) => u64::try_from(seq).ok(),
        Value::Long(seq) => u64::try_from(seq).ok(),
        _ => None,
    };
    seq.ok_or_else(|| format!("seq is {value:?}; it must be an integer from 0"))
}

/// Milliseconds since the epoch.
fn time_of(value: Value) -> Result<i64, String> {
    match value {
        Value::Int(ms) => Ok(i64::from(ms)),
        Value::Long(ms) | Value::TimestampMillis(ms) | Value::LocalTimestampMillis(ms) => Ok(ms),
        Value::TimestampMicros(us) | Value::LocalTimestampMicros(us) => Ok(us.div_euclid(1_000)),
        Value::TimestampNanos(ns) | Value::LocalTimestampNanos(ns) => Ok(ns.div_euclid(1_000_000)),
        Value::Double(ms) if ms.fract() == 0.0 && ms.abs() <= 9_007_199_254_740_992.0 => Ok(ms as i64),
        Value::String(text) => parse_timestamp(&text).map_err(|error| error.to_string()),
        other => Err(format!("ts is {other:?}; it must be ms since the epoch, a timestamp or RFC 3339 text")),
    }
}
