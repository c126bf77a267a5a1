//! Bytes nobody should send: every decoder says no (or reads them), none panics, none allocates for counts
//! that the record cannot hold.

use crate::values;
use evenkeel_codec::{
    DecodeError, decode_alert, decode_batch, decode_mark, decode_row_head, decode_score, decode_stored,
    decode_window_record, encode_alert, encode_batch, encode_late, encode_mark, encode_row, encode_score,
    encode_stored, schema,
};
use evenkeel_model::{BatchError, EventBatch, FieldColumn, StreamIdError};
use proptest::prelude::*;

/// Lets every decoder read `record`; what a batch decoder accepts keeps the contract's shape.
fn read_as_anything(record: &[u8]) {
    let mut batch = EventBatch::default();
    match decode_batch(record, &mut batch) {
        Ok(()) => batch.check_shape().unwrap(),
        Err(_) => assert!(batch.is_empty() && batch.stream_id.is_empty()),
    }
    let _ = decode_window_record(record);
    let _ = decode_row_head(record);
    let _ = decode_mark(record);
    let _ = decode_stored(record);
    let _ = decode_score(record);
    let _ = decode_alert(record);
}

fn records() -> impl Strategy<Value = Vec<u8>> {
    fn written<T>(value: T, write: fn(&T, &mut Vec<u8>)) -> Vec<u8> {
        let mut record = Vec::new();
        write(&value, &mut record);
        record
    }
    prop_oneof![
        values::batch().prop_map(|batch| written(batch, encode_batch)),
        values::row().prop_map(|row| written(row, encode_row)),
        values::late().prop_map(|late| written(late, encode_late)),
        values::mark().prop_map(|mark| written(mark, encode_mark)),
        values::stored().prop_map(|stored| written(stored, encode_stored)),
        values::score().prop_map(|score| written(score, encode_score)),
        values::alert().prop_map(|alert| written(alert, encode_alert)),
    ]
}

proptest! {
    #[test]
    fn random_bytes(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_as_anything(&body);
        for of in &schema::ALL {
            read_as_anything(&[&[0xc3, 0x01][..], &of.fingerprint.to_le_bytes(), &body].concat());
        }
    }

    #[test]
    fn mutated_records(
        record in records(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut record = record;
        for (at, byte) in changes {
            let at = 10 + at.index(record.len() - 10);
            record[at] = byte;
        }
        read_as_anything(&record);
    }

    #[test]
    fn every_cut_is_refused(batch in values::batch(), row in values::row(), mark in values::mark()) {
        let mut record = Vec::new();
        encode_batch(&batch, &mut record);
        for end in 0..record.len() {
            prop_assert!(decode_batch(&record[..end], &mut EventBatch::default()).is_err());
        }
        record.push(0);
        prop_assert_eq!(decode_batch(&record, &mut EventBatch::default()), Err(DecodeError::Trailing(1)));
        record.clear();
        encode_row(&row, &mut record);
        for end in 0..record.len() {
            prop_assert!(decode_window_record(&record[..end]).is_err());
        }
        record.clear();
        encode_mark(&mark, &mut record);
        for end in 0..record.len() {
            prop_assert!(decode_mark(&record[..end]).is_err());
        }
    }
}

/// A record of EventBatch from the parts of its body.
fn batch_of(parts: &[&[u8]]) -> Vec<u8> {
    [&[0xc3, 0x01][..], &schema::EVENT_BATCH.fingerprint.to_le_bytes(), &parts.concat()].concat()
}

fn refused(parts: &[&[u8]]) -> DecodeError {
    decode_batch(&batch_of(parts), &mut EventBatch::default()).unwrap_err()
}

const HEAD: &[u8] = &[2, b's', 0, 0]; // stream "s", arrival 0, no backfill
const NO_SEQ_NO_FIELDS_NO_PAYLOADS: &[u8] = &[0, 0, 0, 0];

#[test]
fn arrays_in_several_blocks_with_and_without_sizes_are_read() {
    let values = |n: f64| n.to_le_bytes();
    let record = batch_of(&[
        HEAD,
        &[8, 20],                   // four events, the first at 10
        &[2, 2, 3, 4, 2, 5, 0],     // ts_steps 1 | (−2 items in 2 bytes) 1 −3 | end
        &[2, 14, 4, 4, 6, 2, 8, 0], // seq_first 7, steps 2 3 | 4 | end
        &[1, 98, 2, b'a', 0],       // (−1 item in 49 bytes) field a, rows all
        &[4],
        &values(1.5),
        &values(-2.0),
        &[3, 32],
        &values(0.0),
        &values(4.0),
        &[0],
        &[2, 2, b'b', 2, 2, 1, 2, 6, 0], // field b, rows 1 | (−1 item in 1 byte) 3 | end
        &[4],
        &values(8.0),
        &values(9.0),
        &[0],
        &[0],
        &[6, 0, 2, 2, 0xff, 0, 1, 2, 0, 0], // payloads none, [255], none | (−1 in 1) none | end
    ]);
    let mut batch = EventBatch::default();
    decode_batch(&record, &mut batch).unwrap();
    let want = EventBatch {
        stream_id: "s".into(),
        ts: vec![10, 11, 12, 9],
        seq: vec![7, 9, 12, 16],
        fields: vec![
            FieldColumn { name: "a".into(), rows: vec![], values: vec![1.5, -2.0, 0.0, 4.0] },
            FieldColumn { name: "b".into(), rows: vec![1, 3], values: vec![8.0, 9.0] },
        ],
        payloads: vec![None, Some(vec![255]), None, None],
        ..EventBatch::default()
    };
    assert_eq!(batch, want);
}

#[test]
fn numbers_that_are_not_finite_pass_as_they_are_for_admission_to_judge() {
    let values = vec![f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(0x7ff8_0000_0000_0001)];
    let batch = EventBatch {
        stream_id: "s".into(),
        ts: vec![i64::MIN, i64::MAX, 0],
        fields: vec![FieldColumn { name: "a".into(), rows: vec![], values }],
        ..EventBatch::default()
    };
    let (mut record, mut read) = (Vec::new(), EventBatch::default());
    encode_batch(&batch, &mut record);
    decode_batch(&record, &mut read).unwrap();
    let bits = |batch: &EventBatch| batch.fields[0].values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!((read.ts.clone(), bits(&read)), (batch.ts.clone(), bits(&batch)));
}

#[test]
fn counts_beyond_a_limit_are_refused_before_they_are_believed() {
    let limit = |member, got, max| DecodeError::Limit { member, got, max };
    let many = [0x82, 0x80, 8]; // 65 537
    assert_eq!(refused(&[HEAD, &many]), limit("events", 65_537, 65_536));
    assert_eq!(refused(&[HEAD, &[1]]), limit("events", -1, 65_536));
    let all = [0x80, 0x80, 8, 0]; // 65 536 events, the first at 0
    assert_eq!(refused(&[HEAD, &all, &[0x80, 0x80, 4], &[0; 9]]), limit("ts_steps", 32_768, 9));
    assert_eq!(refused(&[HEAD, &[4, 0, 4, 2, 2, 0]]), limit("ts_steps", 2, 1));
    assert_eq!(refused(&[HEAD, &[4, 0, 0, 0, 2, 2, 0]]), limit("seq_steps", 1, 0));
    assert_eq!(refused(&[HEAD, &[2, 0, 0, 0, 0, 0x82, 1], &[0; 99]]), limit("fields", 65, 64));
    assert_eq!(refused(&[HEAD, &[2, 0, 0, 0, 0, 2, 2, b'a', 0, 4], &[0; 17]]), limit("values", 2, 1));
    assert_eq!(refused(&[HEAD, &[2, 0, 0, 0, 0, 2, 2, b'a', 4, 0, 2, 0]]), limit("rows", 2, 1));
    assert_eq!(refused(&[HEAD, &[2, 0, 0, 0, 0, 0, 4, 0, 0, 0]]), limit("payloads", 2, 1));
    let big = [0x82, 0x80, 8]; // 65 537 bytes
    assert_eq!(refused(&[HEAD, &[2, 0, 0, 0, 0, 0, 2, 2], &big]), limit("payload", 65_537, 65_536));
    assert_eq!(
        refused(&[&[0xfe, 0xff, 0xff, 0xff, 0x0f]]),
        DecodeError::Truncated { member: "stream_id", at: 5 }
    );
    assert_eq!(refused(&[&[0x80, 0x80, 0x80, 0x80, 0x10]]), limit("stream_id", 2_147_483_648, 2_147_483_647));
    assert_eq!(refused(&[&[1, b's']]), limit("stream_id", -1, 2_147_483_647));
}

#[test]
fn what_the_contract_forbids_is_refused_by_name() {
    let text = |source| DecodeError::Text { member: "stream_id", source };
    assert_eq!(refused(&[&[0]]), text(StreamIdError::Empty));
    assert_eq!(refused(&[&[4, b's', 7]]), text(StreamIdError::Control(1)));
    assert_eq!(refused(&[&[0x82, 4], &[b's'; 257]]), text(StreamIdError::TooLong(257)));
    assert_eq!(refused(&[&[4, 0xc3, 0x28]]), DecodeError::Utf8 { member: "stream_id" });
    let field = |name: &[u8]| refused(&[HEAD, &[2, 0, 0, 0, 0, 2, 2 * name.len() as u8], name, &[0; 9]]);
    assert_eq!(field(b"a\n"), DecodeError::Text { member: "field name", source: StreamIdError::Control(1) });
    assert_eq!(field(&[0xff]), DecodeError::Utf8 { member: "field name" });
    assert_eq!(refused(&[HEAD, &[0, 0, 0], NO_SEQ_NO_FIELDS_NO_PAYLOADS]), BatchError::Empty.into());
    assert!(matches!(
        refused(&[HEAD, &[6, 0, 2, 2, 0]]),
        DecodeError::Contradiction { member: "ts_steps", .. }
    ));
    assert!(matches!(refused(&[&[2, b's', 0, 2]]), DecodeError::Choice { member: "backfill", got: 2, .. }));
    assert!(matches!(
        refused(&[HEAD, &[2, 0, 0, 4]]),
        DecodeError::Choice { member: "seq_first", got: 2, .. }
    ));
    let twice = [2, b'a', 0, 0, 2, b'a', 0, 0];
    assert!(matches!(refused(&[HEAD, &[2, 0, 0, 0, 0, 4], &twice, &[0, 0]]), DecodeError::Shape(_)));
}

/// A name that is already in the memory is checked like any other.
#[test]
fn a_bad_name_in_the_reused_memory_opens_no_door() {
    let record = batch_of(&[HEAD, &[2, 0, 0, 0, 0, 2, 4, b'a', b'\n', 0, 2], &[0; 8], &[0, 0, 0]]);
    let column = FieldColumn { name: "a\n".into(), ..FieldColumn::default() };
    let mut into = EventBatch { fields: vec![column], ..EventBatch::default() };
    assert!(matches!(decode_batch(&record, &mut into), Err(DecodeError::Text { member: "field name", .. })));
}

#[test]
fn a_record_of_another_schema_is_named() {
    let mut record = Vec::new();
    encode_batch(&EventBatch { stream_id: "s".into(), ts: vec![1], ..EventBatch::default() }, &mut record);
    let message = decode_mark(&record).unwrap_err().to_string();
    assert!(message.contains("(EventBatch)") && message.contains("it reads Mark"), "{message}");
    record[2] ^= 1;
    let message = decode_batch(&record, &mut EventBatch::default()).unwrap_err().to_string();
    assert!(
        message.contains("it reads EventBatch, Event") && message.contains("upgrade readers"),
        "{message}"
    );
}
