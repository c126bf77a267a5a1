//! What one writes, the other reads.

use crate::{avro, values};
use evenkeel_codec::{
    RowHead, WindowRecord, decode_alert, decode_batch, decode_mark, decode_row_head, decode_score,
    decode_stored, decode_window_record, encode_alert, encode_batch, encode_late, encode_mark, encode_row,
    encode_score, encode_stored, schema,
};
use evenkeel_model::{EventBatch, FieldColumn};
use proptest::prelude::*;

fn ours(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = b"before".to_vec(); // encoders append
    write(&mut record);
    assert_eq!(&record[..6], b"before");
    record.split_off(6)
}

proptest! {
    #[test]
    fn batches(batch in values::batch(), into in values::batch()) {
        let record = ours(|out| encode_batch(&batch, out));
        prop_assert_eq!(avro::read(&schema::EVENT_BATCH, &record), avro::batch(&batch));
        // Whatever the memory held before.
        for record in [record, avro::write(&schema::EVENT_BATCH, avro::batch(&batch))] {
            let mut read = into.clone();
            decode_batch(&record, &mut read).unwrap();
            prop_assert_eq!(&read, &batch);
        }
    }

    #[test]
    fn single_events(batch in values::batch(), into in values::batch()) {
        let mut want = EventBatch { stream_id: batch.stream_id.clone(), ..EventBatch::default() };
        (want.arrival_ms, want.backfill) = (batch.arrival_ms, batch.backfill);
        want.ts.push(batch.ts[0]);
        want.seq.extend(batch.seq.first());
        want.payloads.extend(batch.payloads.first().filter(|payload| payload.is_some()).cloned());
        for field in &batch.fields {
            if let Some(value) = field.value(0) {
                want.fields.push(FieldColumn { name: field.name.clone(), rows: vec![], values: vec![value] });
            }
        }
        want.fields.sort_by(|a, b| a.name.cmp(&b.name));
        let mut read = into;
        decode_batch(&avro::write(&schema::EVENT, avro::event(&batch)), &mut read).unwrap();
        read.fields.sort_by(|a, b| a.name.cmp(&b.name)); // a map has no order
        prop_assert_eq!(read, want);
    }

    #[test]
    fn rows(row in values::row()) {
        let record = ours(|out| encode_row(&row, out));
        prop_assert_eq!(avro::read(&schema::WINDOW_ROW, &record), avro::row(&row));
        for record in [record, avro::write(&schema::WINDOW_ROW, avro::row(&row))] {
            let (stream_id, span) = (row.stream_id.as_str(), row.span);
            let head = RowHead { stream_id, span, max_ts: row.max_ts, last_arrival: row.last_arrival };
            prop_assert_eq!(decode_row_head(&record), Ok(Some(head)));
            prop_assert_eq!(decode_window_record(&record), Ok(WindowRecord::Row(Box::new(row.clone()))));
        }
    }

    #[test]
    fn late_records(late in values::late()) {
        let record = ours(|out| encode_late(&late, out));
        prop_assert_eq!(avro::read(&schema::WINDOW_ROW, &record), avro::late(&late));
        for record in [record, avro::write(&schema::WINDOW_ROW, avro::late(&late))] {
            prop_assert_eq!(decode_row_head(&record), Ok(None));
            prop_assert_eq!(decode_window_record(&record), Ok(WindowRecord::Late(Box::new(late.clone()))));
        }
    }

    #[test]
    fn marks(mark in values::mark()) {
        let record = ours(|out| encode_mark(&mark, out));
        let theirs = avro::write(&schema::MARK, avro::mark(&mark));
        prop_assert_eq!(&record, &theirs);
        prop_assert_eq!(avro::read(&schema::MARK, &record), avro::mark(&mark));
        prop_assert_eq!(decode_mark(&record), Ok(mark));
    }

    #[test]
    fn scores(score in values::score()) {
        let record = ours(|out| encode_score(&score, out));
        prop_assert_eq!(avro::read(&schema::SCORE, &record), avro::score(&score));
        let theirs = avro::write(&schema::SCORE, avro::score(&score));
        prop_assert_eq!(&record, &theirs);
        prop_assert_eq!(decode_score(&record), Ok(score));
    }

    #[test]
    fn alerts(alert in values::alert()) {
        let record = ours(|out| encode_alert(&alert, out));
        prop_assert_eq!(avro::read(&schema::ALERT, &record), avro::alert(&alert));
        let theirs = avro::write(&schema::ALERT, avro::alert(&alert));
        prop_assert_eq!(&record, &theirs);
        prop_assert_eq!(decode_alert(&record), Ok(alert));
    }

    #[test]
    fn stored_rows(stored in values::stored()) {
        let record = ours(|out| encode_stored(&stored, out));
        prop_assert_eq!(decode_stored(&record), Ok(stored.clone()));
        let theirs = avro::write(&schema::STORED_ROW, avro::stored(&stored));
        prop_assert_eq!(decode_stored(&theirs), Ok(stored));
    }
}
