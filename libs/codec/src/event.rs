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
