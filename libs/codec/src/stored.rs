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
    let row = reader.bytes("row", Reader::LENGTH_MAX)?;
    reader.end()?;
    match decode_window_record(row)? {
        WindowRecord::Row(row) => Ok(StoredRow { row: *row, revision, late_offset }),
        WindowRecord::Late(_) => Err(DecodeError::Contradiction {
            member: "row",
            why: "a store holds rows, this is a late record",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_late;
    use crate::schema::hex;
    use evenkeel_model::{ClosedBy, EventBatch, LateRecord, WindowRow, WindowSpan};

    #[test]
    fn golden_bytes() {
        let row = WindowRow {
            stream_id: "s".into(),
            span: WindowSpan { size_ms: 5, window_id: 2 },
            closed_by: ClosedBy::End,
            max_ts: 14,
            first_arrival: 12,
            last_arrival: 14,
            count: 1,
            seqs: vec![],
            dropped: vec![],
            stats: vec![],
            events: None,
        };
        let stored = StoredRow { row, revision: 3, late_offset: -1 };
        let mut out = Vec::new();
        encode_stored(&stored, &mut out);
        // revision, offset, length, then the row with its own header
        let want = "c301b6357e177eca6cf0 06 01 3c c3018a1f1ec95fc15d59 00 02 73 0a 04 14 1e 0a 1c 18 1c 02 0000000000000000";
        assert_eq!(hex(&out), want.replace(' ', ""));
        assert_eq!(decode_stored(&out), Ok(stored));
    }

    #[test]
    fn a_late_record_is_no_stored_row() {
        let events = EventBatch { stream_id: "s".into(), ts: vec![1], ..EventBatch::default() };
        let late = LateRecord { size_ms: 5, window_id: 0, arrivals: vec![1], events };
        let (mut row, mut out) = (Vec::new(), Vec::new());
        encode_late(&late, &mut row);
        schema::write_header(&schema::STORED_ROW, &mut out);
        out.extend_from_slice(&[0, 1, 2 * row.len() as u8]);
        out.extend_from_slice(&row);
        assert!(matches!(decode_stored(&out), Err(DecodeError::Contradiction { member: "row", .. })));
    }
}
