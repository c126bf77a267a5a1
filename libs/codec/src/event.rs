//! The record Event: one event of one stream, for producers that do not batch. Read only: this program
//! writes EventBatch.

use crate::DecodeError;
use crate::batch::{read_field_name, read_payload, read_stream_id};
use crate::wire::Reader;
use evenkeel_model::limits::FIELDS_MAX;
use evenkeel_model::{EventBatch, FieldColumn};

/// Reads the body as a batch of one event. The caller checks the shape.
pub(crate) fn read_body(reader: &mut Reader<'_>, into: &mut EventBatch) -> Result<(), DecodeError> {
    read_stream_id(reader, &mut into.stream_id)?;
    into.ts.clear();
    into.ts.push(reader.long("ts")?);
    into.seq.clear();
    if reader.present("seq")? {
        into.seq.push(reader.u64("seq")?);
    }
    into.arrival_ms = reader.long("arrival_ms")?;
    into.backfill = reader.boolean("backfill")?;
    let mut read = 0;
    loop {
        let items = reader.block("fields", FIELDS_MAX - read)?;
        if items == 0 {
            break;
        }
        for _ in 0..items {
            if read == into.fields.len() {
                into.fields.push(FieldColumn::default());
            }
            let column = &mut into.fields[read];
            read_field_name(reader, &mut column.name)?;
            column.rows.clear();
            column.values.clear();
            column.values.push(reader.double("fields")?);
            read += 1;
        }
    }
    into.fields.truncate(read);
    into.payloads.truncate(1);
    if into.payloads.is_empty() {
        into.payloads.push(None);
    }
    read_payload(reader, &mut into.payloads[0])?;
    if into.payloads[0].is_none() {
        into.payloads.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_batch, schema};

    fn record(body: &[&[u8]]) -> Vec<u8> {
        let mut record = Vec::new();
        schema::write_header(&schema::EVENT, &mut record);
        record.extend(body.concat());
        record
    }

    #[test]
    fn golden_bytes() {
        // stream, ts 5, seq 9, arrival not set, no backfill, {a: 1.0}, payload 07 08
        let one = 1.0f64.to_le_bytes();
        let bytes = record(&[b"\x02s", &[10, 2, 18, 1, 0, 2, 2, b'a'], &one, &[0, 2, 4, 7, 8]]);
        assert_eq!(bytes[..10], [0xc3, 1, 0x39, 0x13, 0xdf, 0x9a, 0x7e, 0x93, 0x17, 0x63]);
        let mut read = EventBatch { payloads: vec![None; 3], ..EventBatch::default() };
        decode_batch(&bytes, &mut read).unwrap();
        let want = EventBatch {
            stream_id: "s".into(),
            arrival_ms: crate::ARRIVAL_UNSET_MS,
            backfill: false,
            ts: vec![5],
            seq: vec![9],
            fields: vec![FieldColumn { name: "a".into(), rows: vec![], values: vec![1.0] }],
            payloads: vec![Some(vec![7, 8])],
        };
        assert_eq!(read, want);
        // The same memory for an event without anything that may be left out.
        decode_batch(&record(&[b"\x02s", &[10, 0, 2, 1, 0, 0]]), &mut read).unwrap();
        let want = EventBatch {
            stream_id: "s".into(),
            arrival_ms: 1,
            backfill: true,
            ts: vec![5],
            ..EventBatch::default()
        };
        assert_eq!(read, want);
    }

    #[test]
    fn a_field_twice_is_refused() {
        let zero = [0u8; 8];
        let body: [&[u8]; 6] = [b"\x02s", &[10, 0, 0, 0, 4, 2, b'a'], &zero, &[2, b'a'], &zero, &[0, 0]];
        let error = decode_batch(&record(&body), &mut EventBatch::default()).unwrap_err();
        assert_eq!(error, evenkeel_model::BatchError::Twice("a".into()).into());
    }
}
