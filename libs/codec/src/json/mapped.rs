//! Records of another system's topic: one JSON object per record, and a configured mapping that says where an event's
//! time, number and fields are.
//!
//! Owns: the paths and units, what a value may be under them. Never: drops a record in silence: what does not fit the
//! mapping is an error that names the path; a member no path names is not ours to judge. Of a member given twice the
//! last one counts, as most writers' own readers have it.

use super::event::EventTextError;
use super::scalar::Scalar;
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{EventBatch, FieldColumn, check_field_name, check_stream_id};
use serde::Deserialize as _;
use serde_json::Value;

/// Where an event is in a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The stream's id; `None` = the record's key.
    pub stream_id: Option<Path>,
    /// The event's time; `None` = the record's own timestamp.
    pub ts: Option<Path>,
    /// What a number there counts.
    pub unit: TimeUnit,
    /// The sequence number; `None` = no dedup.
    pub seq: Option<Path>,
    /// The fields.
    pub fields: Fields,
}

/// Members from the outside in: `device.id` in text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<String>);

/// Which members are fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// Every number, true or false below this member (the empty path: the whole record) that no other path names;
    /// nested ones by their names joined with dots.
    Below(Path),
    /// These, by the name they get. One that a record lacks, or has as null, is not in its event.
    Named(Vec<(String, Path)>),
}

/// What a number of a time counts. Text is RFC 3339, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// Seconds; fractions count.
    S,
    /// Milliseconds.
    #[default]
    Ms,
    /// Microseconds, rounded down.
    Us,
    /// Nanoseconds, rounded down.
    Ns,
}

/// Why a record does not fit the mapping.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MappedError {
    /// No value, though the record must have one.
    #[error("the record is a tombstone or empty; a record needs a JSON object")]
    Empty,
    /// Not JSON, or no object.
    #[error("not a JSON object: {0}")]
    Syntax(String),
    /// The stream's id is to come from the key.
    #[error(
        "the record has no key, or one that is not UTF-8; the mapping takes the stream's id from the key"
    )]
    NoKey,
    /// A member that must be there.
    #[error("{0} is missing; the mapping takes it from there")]
    Missing(String),
    /// A member that does not fit.
    #[error("{path}: {source}")]
    Member {
        /// Where.
        path: String,
        /// What is wrong with it.
        source: EventTextError,
    },
    /// An id or a field's name that breaks a limit.
    #[error("{path}: the name {source}")]
    Name {
        /// Where.
        path: String,
        /// Which limit.
        source: evenkeel_model::StreamIdError,
    },
    /// Two members come to one name: `a.b`, and `b` in `a`.
    #[error("two members make one field named {0}; name those that count in the mapping")]
    Twice(String),
    /// More fields than an event may have.
    #[error("more than {max} fields; name those that count in the mapping", max = FIELDS_MAX)]
    TooManyFields,
}

impl Default for Fields {
    fn default() -> Self {
        Self::Below(Path::default())
    }
}

impl Path {
    /// Of `a.b.c`; empty text is the record itself. A member whose own name holds a dot cannot be named.
    pub fn of(text: &str) -> Self {
        Self(text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, member| value.get(member)).filter(|found| !found.is_null())
    }

    fn shown(&self) -> String {
        match self.0.is_empty() {
            true => "the record".into(),
            false => self.0.join("."),
        }
    }
}

impl Mapping {
    /// Reads one record into `into`, as a batch of one event without an arrival. After an error `into` is empty.
    pub fn read(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: i64,
        into: &mut EventBatch,
    ) -> Result<(), MappedError> {
        into.clear();
        into.fields.clear(); // `clear` keeps the columns for a decoder that overwrites them; this one adds its own
        let read = self.read_into(key, value, timestamp_ms, into);
        if read.is_err() {
            into.clear();
            into.fields.clear();
        }
        read
    }

    fn read_into(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: i64,
        into: &mut EventBatch,
    ) -> Result<(), MappedError> {
        let value = value.filter(|bytes| !bytes.is_empty()).ok_or(MappedError::Empty)?;
        // A schema registry's JSON serializer writes 00 and an id in front; no JSON begins with 00.
        let value = match value {
            [0, _, _, _, _, json @ ..] => json,
            json => json,
        };
        let value: Value = serde_json::from_slice(value).map_err(|e| MappedError::Syntax(e.to_string()))?;
        if !value.is_object() {
            return Err(MappedError::Syntax("the record is another JSON value".into()));
        }
        let ts = match &self.ts {
            None => timestamp_ms,
            Some(path) => time_of(self.unit, needed(path, &value)?).map_err(|source| at(path, source))?,
        };
        if let Some(path) = &self.seq {
            let seq =
                scalar(needed(path, &value)?).and_then(Scalar::seq).map_err(|source| at(path, source))?;
            into.seq.push(seq);
        }
        into.stream_id = self.id_of(key, &value)?;
        into.ts.push(ts);
        into.arrival_ms = crate::ARRIVAL_UNSET_MS;
        self.fields_of(&value, into)
    }

    fn id_of(&self, key: Option<&[u8]>, value: &Value) -> Result<String, MappedError> {
        let (path, id) = match &self.stream_id {
            None => {
                let key = key.and_then(|key| std::str::from_utf8(key).ok()).ok_or(MappedError::NoKey)?;
                ("the key".to_owned(), key.to_owned())
            }
            Some(path) => match needed(path, value)? {
                Value::String(id) => (path.shown(), id.clone()),
                Value::Number(id) if id.is_i64() || id.is_u64() => (path.shown(), id.to_string()),
                other => {
                    let want = "an id must be text or an integer";
                    return Err(at(path, refused("the id", other, want)));
                }
            },
        };
        check_stream_id(&id).map_err(|source| MappedError::Name { path, source })?;
        Ok(id)
    }

    fn fields_of(&self, value: &Value, into: &mut EventBatch) -> Result<(), MappedError> {
        match &self.fields {
            Fields::Named(named) => {
                for (name, path) in named {
                    let Some(found) = path.find(value) else { continue };
                    let number = scalar(found)
                        .and_then(|found| found.number(name))
                        .map_err(|source| at(path, source))?;
                    push(name.clone(), number, into)?;
                }
                Ok(())
            }
            Fields::Below(path) => {
                let Some(found) = path.find(value) else { return Ok(()) };
                self.below(found, &mut path.0.clone(), path.0.len(), into)
            }
        }
    }

    /// Numbers below `value`, which is at `place`; names count from the member at depth `from` on.
    fn below(
        &self,
        value: &Value,
        place: &mut Vec<String>,
        from: usize,
        into: &mut EventBatch,
    ) -> Result<(), MappedError> {
        let Value::Object(members) = value else { return Ok(()) };
        for (name, member) in members {
            place.push(name.clone());
            match member {
                Value::Object(_) => self.below(member, place, from, into)?,
                Value::Number(_) | Value::Bool(_) if !self.is_named(place) => {
                    let number = scalar(member)
                        .and_then(|member| member.number(name))
                        .map_err(|source| MappedError::Member { path: place.join("."), source })?;
                    push(place[from..].join("."), number, into)?;
                }
                _ => {}
            }
            place.pop();
        }
        Ok(())
    }

    fn is_named(&self, place: &[String]) -> bool {
        [&self.stream_id, &self.ts, &self.seq].into_iter().flatten().any(|path| path.0 == place)
    }
}

/// The value as the reader of events sees it. It is parsed already, so this cannot fail.
fn scalar(value: &Value) -> Result<Scalar<'_>, EventTextError> {
    Scalar::deserialize(value).map_err(|error| EventTextError::Syntax(error.to_string()))
}

fn refused(what: &str, value: &Value, want: &'static str) -> EventTextError {
    match scalar(value) {
        Ok(scalar) => scalar.refused(what, want),
        Err(error) => error,
    }
}

fn needed<'v>(path: &Path, value: &'v Value) -> Result<&'v Value, MappedError> {
    path.find(value).ok_or_else(|| MappedError::Missing(path.shown()))
}

fn at(path: &Path, source: EventTextError) -> MappedError {
    MappedError::Member { path: path.shown(), source }
}

fn push(name: String, value: f64, into: &mut EventBatch) -> Result<(), MappedError> {
    if into.fields.len() == FIELDS_MAX {
        return Err(MappedError::TooManyFields);
    }
    if into.fields.iter().any(|field| field.name == name) {
        return Err(MappedError::Twice(name));
    }
    check_field_name(&name).map_err(|source| MappedError::Name { path: name.clone(), source })?;
    into.fields.push(FieldColumn { name, values: vec![value], ..FieldColumn::default() });
    Ok(())
}

/// Milliseconds of a number in this unit, or of RFC 3339 text.
fn time_of(unit: TimeUnit, value: &Value) -> Result<i64, EventTextError> {
    const WANT: &str = "a time must be a number in the mapping's unit that fits 64 bits, or RFC 3339 text";
    let refused = || refused("the time", value, WANT);
    let scale = |number: i64| match unit {
        TimeUnit::S => number.checked_mul(1_000),
        TimeUnit::Ms => Some(number),
        TimeUnit::Us => Some(number.div_euclid(1_000)),
        TimeUnit::Ns => Some(number.div_euclid(1_000_000)),
    };
    match value {
        Value::String(text) => match text.parse::<i64>() {
            Ok(number) => scale(number).ok_or_else(refused),
            Err(_) => super::parse_timestamp(text),
        },
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => scale(number).ok_or_else(refused),
            (None, Some(seconds)) if unit == TimeUnit::S && seconds.abs() < 9e12 => {
                // To the microsecond first: 0.1 as a double is a little less or more than a tenth.
                Ok(((seconds * 1e6).round() as i64).div_euclid(1_000))
            }
            // Some writers know no integers: up to 2⁵³ a double holds every one.
            (None, Some(number)) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
                scale(number as i64).ok_or_else(refused)
            }
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"device": {"id": "bowl-7", "fw": 3}, "at": 1700000000123, "n": 12,
        "body": {"weight": 41.5, "lid": true, "water": {"ml": 210}, "note": "x", "gone": null}}"#;

    fn mapping() -> Mapping {
        Mapping {
            stream_id: Some(Path::of("device.id")),
            ts: Some(Path::of("at")),
            unit: TimeUnit::Ms,
            seq: Some(Path::of("n")),
            fields: Fields::Below(Path::of("body")),
        }
    }

    fn read(mapping: &Mapping, text: &str) -> Result<EventBatch, String> {
        let mut batch = EventBatch::default();
        let read = mapping.read(Some(b"key-1"), Some(text.as_bytes()), 77, &mut batch);
        read.map(|()| batch).map_err(|error| error.to_string())
    }

    fn fields(batch: &EventBatch) -> Vec<(&str, f64)> {
        let mut fields: Vec<_> = batch.fields.iter().map(|f| (f.name.as_str(), f.values[0])).collect();
        fields.sort_by_key(|field| field.0); // a JSON object has no order
        fields
    }

    #[test]
    fn the_header_of_a_registrys_json_is_passed_over() {
        let framed = format!("\0\0\0\0\u{7}{RECORD}");
        assert_eq!(read(&mapping(), &framed), read(&mapping(), RECORD));
        assert!(read(&mapping(), "\0\0\0{}").is_err());
    }

    #[test]
    fn the_batch_before_leaves_nothing_in_the_next() {
        let mut batch = EventBatch::default();
        let mut read =
            |text: &str| mapping().read(None, Some(text.as_bytes()), 77, &mut batch).map(|()| batch.clone());
        let first = read(RECORD).unwrap();
        for _ in 0..FIELDS_MAX {
            assert_eq!(read(RECORD), Ok(first.clone()));
        }
        assert!(
            read(r#"{"device": {"id": "b"}, "at": 1, "n": 1, "body": {"a": 1, "b": {}, "c": 1e999}}"#)
                .is_err()
        );
        let none = read(r#"{"device": {"id": "b"}, "at": 1, "n": 1}"#).unwrap();
        assert_eq!((none.stream_id.as_str(), none.fields.len()), ("b", 0));
    }

    #[test]
    fn a_record_is_read_where_the_mapping_says() {
        let batch = read(&mapping(), RECORD).unwrap();
        assert_eq!(
            (batch.stream_id.as_str(), &batch.ts[..], &batch.seq[..]),
            ("bowl-7", &[1_700_000_000_123][..], &[12][..])
        );
        assert_eq!(fields(&batch), [("lid", 1.0), ("water.ml", 210.0), ("weight", 41.5)]);
        assert_eq!(batch.arrival_ms, crate::ARRIVAL_UNSET_MS);
        batch.check_shape().unwrap();
    }

    #[test]
    fn the_key_and_the_records_time_serve_where_a_device_has_none() {
        let bare = Mapping { stream_id: None, ts: None, seq: None, ..mapping() };
        let batch = read(&bare, RECORD).unwrap();
        assert_eq!((batch.stream_id.as_str(), batch.ts[0], batch.has_seq()), ("key-1", 77, false));
        let whole = Mapping { fields: Fields::default(), ..mapping() };
        let names: Vec<_> =
            fields(&read(&whole, RECORD).unwrap()).into_iter().map(|f| f.0.to_owned()).collect();
        assert_eq!(names, ["body.lid", "body.water.ml", "body.weight", "device.fw"]);
    }

    #[test]
    fn named_fields_are_those_that_are_there() {
        let named = [("g", "body.weight"), ("none", "body.none"), ("gone", "body.gone")];
        let named = named.map(|(name, path)| (name.to_owned(), Path::of(path))).to_vec();
        let batch = read(&Mapping { fields: Fields::Named(named), ..mapping() }, RECORD).unwrap();
        assert_eq!(fields(&batch), [("g", 41.5)]);
        let text = Fields::Named(vec![("t".into(), Path::of("body.note"))]);
        let why = read(&Mapping { fields: text, ..mapping() }, RECORD).unwrap_err();
        assert!(why.contains("body.note") && why.contains("must be a number"), "{why}");
    }

    #[test]
    fn times_in_every_unit() {
        for (unit, text, want) in [
            (TimeUnit::S, "1700000000.25", 1_700_000_000_250),
            (TimeUnit::S, "1700000000", 1_700_000_000_000),
            (TimeUnit::Ms, "\"1700000000001\"", 1_700_000_000_001),
            (TimeUnit::Ms, "1.7e12", 1_700_000_000_000),
            (TimeUnit::Us, "1700000000123456", 1_700_000_000_123),
            (TimeUnit::Ns, "1700000000123456789", 1_700_000_000_123),
            (TimeUnit::Ns, "-1", -1),
            (TimeUnit::Ns, "\"2023-11-14T22:13:20Z\"", 1_700_000_000_000),
        ] {
            let record = RECORD.replace("1700000000123", text);
            assert_eq!(read(&Mapping { unit, ..mapping() }, &record).unwrap().ts, [want], "{unit:?} {text}");
        }
        // What a decimal says to the millisecond is what is read.
        for ms in 0..1000 {
            let record = RECORD.replace("1700000000123", &format!("1763746548.{ms:03}"));
            let batch = read(&Mapping { unit: TimeUnit::S, ..mapping() }, &record).unwrap();
            assert_eq!(batch.ts, [1_763_746_548_000 + ms]);
        }
        for text in ["1.5", "true", "\"yesterday\"", "{}", "1e300"] {
            let why = read(&mapping(), &RECORD.replace("1700000000123", text)).unwrap_err();
            assert!(why.starts_with("at: "), "{text}: {why}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, want) in [
            ("[1]", "not a JSON object"),
            ("{", "not a JSON object"),
            (&RECORD.replace("\"at\"", "\"when\""), "at is missing"),
            (&RECORD.replace("12,", "-12,"), "n: "),
            (&RECORD.replace("\"bowl-7\"", "true"), "device.id: "),
            (&RECORD.replace("bowl-7", ""), "device.id: the name"),
            ("", "tombstone"),
        ] {
            let why = read(&mapping(), text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
        let keyless = Mapping { stream_id: None, ..mapping() };
        let mut batch = EventBatch::default();
        assert_eq!(keyless.read(None, Some(RECORD.as_bytes()), 0, &mut batch), Err(MappedError::NoKey));
        let whole = Mapping { fields: Fields::default(), ..mapping() };
        let twice = r#"{"device": {"id": "x"}, "at": 1, "n": 1, "a.b": 1, "a": {"b": 2}}"#;
        assert!(read(&whole, twice).unwrap_err().contains("one field named a.b"));
        let many: String = (0..65).map(|i| format!("\"f{i}\":1,")).collect();
        let many = format!("{{{many}\"device\":{{\"id\":\"a\"}},\"at\":1,\"n\":1}}");
        let whole = Mapping { fields: Fields::default(), ..mapping() };
        assert!(read(&whole, &many).unwrap_err().contains("more than 64 fields"));
        assert!(batch.stream_id.is_empty() && batch.ts.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let mut batch = EventBatch::default();
            let _ = mapping().read(Some(&bytes), Some(&bytes), 0, &mut batch);
            let _ = mapping().read(None, Some(&[&RECORD.as_bytes()[..40], &bytes].concat()), 0, &mut batch);
        }
    }
}
