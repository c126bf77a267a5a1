//! The record StoredRow: a window row as the embedded store holds it, with what late events added.

use crate::wire::{Reader, put_long};
use crate::{DecodeError, WindowRecord, decode_window_record, encode_row, schema};
use evenkeel_model::StoredRow;

/// Appends `stored` as one record.
pub fn encode_stored(stored: &StoredRow, out: &mut Vec<u8>) {
    schema::write_header(&schema::STORED_ROW, out);
    put_long(out, i64::from(stored.revision));
    put_long(out, stored.late_offset);
    // The row's length goes in front of it and is known after it: write both, then swap them.
    let start = out.len();
    encode_row(&stored.row, out);
    let row_bytes = out.len() - start;
    put_long(out, row_bytes as i64);
    out[start..].rotate_left(row_bytes);
}

/// Reads a row of the embedded store.
pub fn decode_stored(bytes: &[u8]) -> Result<StoredRow, DecodeError> {
    let mut reader = Reader::new(schema::body_of(&schema::STORED_ROW, bytes)?);
    let got = reader.int("revision")?;
    let revision = u32::try_from(got).map_err(|_| DecodeError::Limit {
        member: "revision",
        got: i64::from(got),
        max: i32::MAX as usize,
    })?;
    let late_offset = reader.long("late_offset")?;
    let row = reader.bytes("row", reader.left())?;
    reader.end()?;
    match decode_window_record(row)? {
        WindowRecord::Row(row) => Ok(StoredRow { row: *row, revision, late_offset }),
        WindowRecord::Late(_) => Err(DecodeError::Contradiction {
            member: "row",
            why: "a store holds rows, this is a late record",
        }),
    }
}
