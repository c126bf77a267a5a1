//! The record EventBatch: events of one stream in columns. The hot decoder.
//!
//! Owns: bytes <-> [`EventBatch`]. Never allocates per event: the columns of the batch given are
//! overwritten, and grow only past what they ever held.

use crate::wire::{Reader, put_block, put_bytes, put_end, put_long, put_u64};
use crate::{DecodeError, event, schema};
use evenkeel_model::limits::{BATCH_EVENTS_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, PAYLOAD_BYTES_MAX};
use evenkeel_model::{EventBatch, FieldColumn, check_field_name, check_stream_id};

/// Appends `batch` as one record. The batch must keep its shape ([`EventBatch::check_shape`]): otherwise
/// readers refuse the record, or (a `seq` of one number for several events) read other numbers.
pub fn encode_batch(batch: &EventBatch, out: &mut Vec<u8>) {
    schema::write_header(&schema::EVENT_BATCH, out);
    write_body(batch, out);
}

/// Reads a record of the topic events, EventBatch or the one-event record Event, into `into`, whose
/// memory is reused. Checks limits, shape and texts; not whether numbers are finite or times plausible.
/// After an error `into` is empty. `arrival_ms` may be [`crate::ARRIVAL_UNSET_MS`].
pub fn decode_batch(bytes: &[u8], into: &mut EventBatch) -> Result<(), DecodeError> {
    let read = read_record(bytes, into);
    if read.is_err() {
        into.clear();
    }
    read
}

/// What follows one another without headers, e.g. in a block of an Avro container file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// Bodies of Event.
    Events,
    /// Bodies of EventBatch.
    Batches,
}

/// Reads `records` bodies that fill `bytes`, each checked as [`decode_batch`] does; an Event comes as a batch of one.
/// Stops where `each` answers `false`.
pub fn decode_sequence(
    sequence: Sequence,
    bytes: &[u8],
    records: u32,
    each: &mut dyn FnMut(EventBatch) -> bool,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    for _ in 0..records {
        let mut batch = EventBatch::default();
        match sequence {
            Sequence::Events => event::read_body(&mut reader, &mut batch)?,
            Sequence::Batches => read_body(&mut reader, &mut batch)?,
        }
        batch.check_shape()?;
        if !each(batch) {
            return Ok(());
        }
    }
    reader.end()
}

fn read_record(bytes: &[u8], into: &mut EventBatch) -> Result<(), DecodeError> {
    let (fingerprint, body) = schema::split_header(bytes)?;
    let mut reader = Reader::new(body);
    if fingerprint == schema::EVENT_BATCH.fingerprint {
        read_body(&mut reader, into)?;
    } else if fingerprint == schema::EVENT.fingerprint {
        event::read_body(&mut reader, into)?;
    } else {
        return Err(schema::unknown(fingerprint, "EventBatch, Event"));
    }
    reader.end()?;
    into.check_shape()?;
    Ok(())
}

/// Appends the body; also used inside WindowRow.
pub(crate) fn write_body(batch: &EventBatch, out: &mut Vec<u8>) {
    put_bytes(out, batch.stream_id.as_bytes());
    put_long(out, batch.arrival_ms);
    out.push(u8::from(batch.backfill));
    put_long(out, batch.ts.len() as i64);
    put_long(out, batch.ts.first().copied().unwrap_or(0));
    let all_equal = batch.ts.iter().all(|ts| *ts == batch.ts[0]);
    if !all_equal {
        put_block(out, batch.ts.len() - 1);
        batch.ts.windows(2).for_each(|pair| put_long(out, pair[1].wrapping_sub(pair[0])));
    }
    put_end(out);
    put_long(out, i64::from(batch.has_seq()));
    if let Some(first) = batch.seq.first() {
        put_u64(out, *first);
    }
    let contiguous = batch.seq.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
        && batch.seq.len() == batch.ts.len();
    if batch.seq.len() > 1 && !contiguous {
        put_block(out, batch.seq.len() - 1);
        batch.seq.windows(2).for_each(|pair| put_u64(out, pair[1].wrapping_sub(pair[0])));
    }
    put_end(out);
    put_block(out, batch.fields.len());
    batch.fields.iter().for_each(|field| write_column(field, out));
    put_end(out);
    put_block(out, batch.payloads.len());
    for payload in &batch.payloads {
        put_long(out, i64::from(payload.is_some()));
        if let Some(bytes) = payload {
            put_bytes(out, bytes);
        }
    }
    put_end(out);
}

fn write_column(field: &FieldColumn, out: &mut Vec<u8>) {
    put_bytes(out, field.name.as_bytes());
    put_block(out, field.rows.len());
    field.rows.iter().for_each(|row| put_long(out, i64::from(*row)));
    put_end(out);
    put_block(out, field.values.len());
    let start = out.len();
    out.resize(start + 8 * field.values.len(), 0);
    let (slots, _) = out[start..].as_chunks_mut::<8>();
    for (slot, value) in slots.iter_mut().zip(&field.values) {
        *slot = value.to_le_bytes();
    }
    put_end(out);
}

/// Reads the body; also used inside WindowRow. The caller checks the shape.
pub(crate) fn read_body(reader: &mut Reader<'_>, into: &mut EventBatch) -> Result<(), DecodeError> {
    read_stream_id(reader, &mut into.stream_id)?;
    into.arrival_ms = reader.long("arrival_ms")?;
    into.backfill = reader.boolean("backfill")?;
    let got = reader.int("events")?;
    let Some(events) = usize::try_from(got).ok().filter(|&n| n <= BATCH_EVENTS_MAX) else {
        return Err(DecodeError::Limit { member: "events", got: i64::from(got), max: BATCH_EVENTS_MAX });
    };
    into.ts.clear();
    let first = reader.long("ts_first")?;
    if !read_steps(reader, "ts_steps", first, events, &mut into.ts, |ts| ts)? {
        into.ts.resize(events, first);
    }
    into.seq.clear();
    let first = if reader.present("seq_first")? { Some(reader.long("seq_first")?) } else { None };
    // Steps without a first number are refused: there is nothing they could be steps from.
    let numbered = if first.is_some() { events } else { 0 };
    let given =
        read_steps(reader, "seq_steps", first.unwrap_or(0), numbered, &mut into.seq, |seq| seq as u64)?;
    if let (Some(first), false) = (first, given) {
        into.seq.extend((0..events as u64).map(|i| (first as u64).wrapping_add(i)));
    }
    read_columns(reader, events, &mut into.fields)?;
    read_payloads(reader, events, &mut into.payloads)
}

pub(crate) fn read_stream_id(reader: &mut Reader<'_>, into: &mut String) -> Result<(), DecodeError> {
    let text = reader.text("stream_id")?;
    check_stream_id(text).map_err(|source| DecodeError::Text { member: "stream_id", source })?;
    into.clear();
    into.push_str(text);
    Ok(())
}

/// Reads a field's name over the one that `into` holds: mostly the same, one record after the other, and
/// then there is nothing to copy or to decode.
pub(crate) fn read_field_name(reader: &mut Reader<'_>, into: &mut String) -> Result<(), DecodeError> {
    const MEMBER: &str = "field name";
    let bytes = reader.bytes(MEMBER, Reader::LENGTH_MAX)?;
    let plain = !bytes.is_empty() && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    if bytes == into.as_bytes() && plain && bytes.len() <= FIELD_NAME_BYTES_MAX {
        return Ok(());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { member: MEMBER })?;
    check_field_name(text).map_err(|source| DecodeError::Text { member: MEMBER, source })?;
    into.clear();
    into.push_str(text);
    Ok(())
}

/// Appends `first` and its sums with the steps to `into` (as `of` makes them); false if the array of
/// steps is empty, and then nothing is appended.
#[inline]
fn read_steps<T: Copy>(
    reader: &mut Reader<'_>,
    member: &'static str,
    first: i64,
    events: usize,
    into: &mut Vec<T>,
    of: impl Fn(i64) -> T,
) -> Result<bool, DecodeError> {
    let wanted = events.saturating_sub(1);
    let mut items = reader.block(member, wanted)?;
    if items == 0 {
        return Ok(false);
    }
    into.reserve(events);
    into.push(of(first));
    let mut value = first;
    while items > 0 {
        let mut left = items;
        while left > 0 {
            if left >= 8
                && let Some(steps) = reader.eight_short_longs()
            {
                into.extend_from_slice(&steps.map(|step| {
                    value = value.wrapping_add(step);
                    of(value)
                }));
                left -= 8;
            } else {
                value = value.wrapping_add(reader.step(member)?);
                into.push(of(value));
                left -= 1;
            }
        }
        items = reader.block(member, events - into.len())?;
    }
    match into.len() == events {
        true => Ok(true),
        false => Err(DecodeError::Contradiction { member, why: "has fewer entries than events, less one" }),
    }
}

fn read_columns(
    reader: &mut Reader<'_>,
    events: usize,
    columns: &mut Vec<FieldColumn>,
) -> Result<(), DecodeError> {
    let mut read = 0;
    loop {
        let items = reader.block("fields", FIELDS_MAX - read)?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            if read == columns.len() {
                columns.push(FieldColumn::default());
            }
            read_column(reader, events, &mut columns[read])?;
            read += 1;
        }
    }
    columns.truncate(read);
    Ok(())
}

fn read_column(reader: &mut Reader<'_>, events: usize, into: &mut FieldColumn) -> Result<(), DecodeError> {
    read_field_name(reader, &mut into.name)?;
    into.rows.clear();
    loop {
        let items = reader.block("rows", events - into.rows.len())?;
        if items == 0 {
            break;
        }
        into.rows.reserve(items);
        for _ in 0..items {
            let got = reader.int("rows")?;
            let row = u32::try_from(got).map_err(|_| DecodeError::Limit {
                member: "rows",
                got: i64::from(got),
                max: events,
            })?;
            into.rows.push(row);
        }
    }
    let wanted = if into.rows.is_empty() { events } else { into.rows.len() };
    into.values.clear();
    loop {
        let items = reader.block("values", wanted - into.values.len())?;
        if items == 0 {
            return Ok(());
        }
        let (values, _) = reader.take(8 * items, "values")?.as_chunks::<8>();
        into.values.extend(values.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    }
}

fn read_payloads(
    reader: &mut Reader<'_>,
    events: usize,
    payloads: &mut Vec<Option<Vec<u8>>>,
) -> Result<(), DecodeError> {
    let mut read = 0;
    loop {
        let items = reader.block("payloads", events - read)?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            if read == payloads.len() {
                payloads.push(None);
            }
            read_payload(reader, &mut payloads[read])?;
            read += 1;
        }
    }
    payloads.truncate(read);
    Ok(())
}

/// Reads an optional payload, into the old one's memory if there is one.
pub(crate) fn read_payload(reader: &mut Reader<'_>, into: &mut Option<Vec<u8>>) -> Result<(), DecodeError> {
    if !reader.present("payload")? {
        *into = None;
        return Ok(());
    }
    let bytes = reader.bytes("payload", PAYLOAD_BYTES_MAX)?;
    let slot = into.get_or_insert_default();
    slot.clear();
    slot.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::hex;

    fn golden(batch: &EventBatch, body: &str) {
        let (mut record, mut read) = (Vec::new(), EventBatch::default());
        encode_batch(batch, &mut record);
        assert_eq!(hex(&record), format!("c301558f1a222a96f4b0{}", body.replace([' ', '|'], "")));
        decode_batch(&record, &mut read).unwrap();
        assert_eq!(&read, batch);
    }

    #[test]
    fn golden_bytes_of_a_regular_batch() {
        let values = vec![1.0, -2.5, 0.0];
        let batch = EventBatch {
            stream_id: "bowl/7".into(),
            arrival_ms: 1_700_000_000_250,
            ts: vec![1_700_000_000_000, 1_700_000_000_100, 1_700_000_000_200],
            seq: vec![41, 42, 43],
            fields: vec![FieldColumn { name: "g".into(), rows: vec![], values }],
            ..EventBatch::default()
        };
        // stream | arrival, no backfill, 3 events | first ts, steps | first seq, contiguous | one column | no payload
        golden(
            &batch,
            "0c 626f776c2f37 | f4a3abfef962 00 06 | 80a0abfef962 04 c801 c801 00 | 02 52 00 \
             | 02 02 67 00 06 000000000000f03f 00000000000004c0 0000000000000000 00 00 | 00",
        );
    }

    #[test]
    fn golden_bytes_of_an_irregular_batch() {
        let batch = EventBatch {
            stream_id: "s".into(),
            arrival_ms: -1,
            backfill: true,
            ts: vec![5, 5],
            seq: vec![u64::MAX, 1],
            fields: vec![FieldColumn { name: "a".into(), rows: vec![1], values: vec![1.0] }],
            payloads: vec![None, Some(vec![7, 8])],
        };
        // Equal times need no steps; seqs step by wrapping; the column names its one row.
        golden(
            &batch,
            "02 73 | 01 01 04 | 0a 00 | 02 01 02 04 00 | 02 02 61 02 02 00 02 000000000000f03f 00 00 | 04 00 02 04 0708 00",
        );
    }

    #[test]
    fn a_batch_that_keeps_no_shape_is_refused_by_its_readers() {
        let whole =
            EventBatch { stream_id: "s".into(), ts: vec![1, 2], seq: vec![1, 2], ..EventBatch::default() };
        let column = |rows, values| vec![FieldColumn { name: "a".into(), rows, values }];
        for broken in [
            EventBatch { ts: vec![], seq: vec![], ..whole.clone() },
            EventBatch { seq: vec![7, 8, 9], ..whole.clone() },
            EventBatch { fields: column(vec![], vec![1.0]), ..whole.clone() },
            EventBatch { fields: column(vec![1, 0], vec![1.0, 2.0]), ..whole.clone() },
            EventBatch { fields: column(vec![2], vec![1.0]), ..whole.clone() },
            EventBatch { payloads: vec![None], ..whole.clone() },
        ] {
            let mut record = Vec::new();
            encode_batch(&broken, &mut record);
            let mut into = whole.clone();
            assert!(decode_batch(&record, &mut into).is_err(), "{broken:?}");
            assert!(into.is_empty());
        }
    }

    /// The memory of one batch serves the next: nothing grows once it held the largest.
    #[test]
    fn decoding_reuses_the_columns() {
        let batch = EventBatch {
            stream_id: "s".into(),
            ts: (0..100).collect(),
            seq: (0..100).collect(),
            fields: vec![FieldColumn { name: "a".into(), rows: vec![], values: vec![1.0; 100] }],
            payloads: vec![Some(vec![1; 10]); 100],
            ..EventBatch::default()
        };
        let (mut record, mut into) = (Vec::new(), EventBatch::default());
        encode_batch(&batch, &mut record);
        decode_batch(&record, &mut into).unwrap();
        let at = |b: &EventBatch| {
            let payload = b.payloads[99].as_ref().map(Vec::as_ptr);
            (b.ts.as_ptr(), b.seq.as_ptr(), b.fields[0].values.as_ptr(), b.fields[0].name.as_ptr(), payload)
        };
        let before = at(&into);
        decode_batch(&record, &mut into).unwrap();
        assert_eq!(at(&into), before);
    }
}
