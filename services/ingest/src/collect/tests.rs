//! Which batch an event lands in, and which are refused.

use super::*;
use proptest::prelude::*;

const LIMITS: CollectLimits =
    CollectLimits { record_bytes_max: 128 * 1024, line_bytes_max: 1024, listed_max: 10 };

fn collect(stream_id: Option<&str>, lines: &[&str]) -> (Vec<Group>, Rejected) {
    let credential = Credential::anonymous();
    let mut collector = Collector::new(&credential, stream_id, LIMITS);
    for line in lines {
        collector.item(Item::Text(line.as_bytes()));
    }
    collector.into_parts()
}

#[test]
fn one_batch_per_stream_and_seq_in_order() {
    let (groups, rejected) = collect(
        None,
        &[
            r#"{"stream_id":"a","ts":1,"seq":1,"fields":{"x":1}}"#,
            r#"{"stream_id":"b","ts":2}"#,
            r#"{"stream_id":"a","ts":3}"#,
            r#"{"stream_id":"a","ts":0,"seq":2,"fields":{"y":2},"payload":"AA=="}"#,
        ],
    );
    assert_eq!(rejected.total(), 0);
    let heads: Vec<_> =
        groups.iter().map(|g| (&*g.batch.stream_id, &g.batch.ts[..], &g.indices[..])).collect();
    let want: Vec<(&str, &[i64], &[u32])> =
        vec![("a", &[1, 0], &[0, 3]), ("b", &[2], &[1]), ("a", &[3], &[2])];
    assert_eq!(heads, want);
    let batch = &groups[0].batch;
    batch.check_shape().unwrap();
    assert_eq!((batch.value(0, 0), batch.value(0, 1), batch.value(1, 1)), (Some(1.0), None, Some(2.0)));
    assert_eq!(batch.payloads, vec![None, Some(vec![0])]);
}

#[test]
fn more_than_64_distinct_fields_of_one_stream_take_another_batch() {
    let event = |first: usize| {
        let fields: Vec<String> = (first..first + 40).map(|n| format!("\"f{n}\":1")).collect();
        format!("{{\"ts\":1,\"fields\":{{{}}}}}", fields.join(","))
    };
    let (groups, rejected) = collect(Some("s"), &[&event(0), &event(40), &event(50)]);
    assert_eq!(rejected.total(), 0);
    let sizes: Vec<_> = groups.iter().map(|g| (g.batch.len(), g.batch.fields.len())).collect();
    assert_eq!(sizes, [(1, 40), (2, 50)]);
    groups.iter().for_each(|g| g.batch.check_shape().unwrap());
}

#[test]
fn a_record_stays_below_its_limit() {
    let payload = format!("{{\"ts\":1,\"payload\":\"{}\"}}", "AAAA".repeat(10_000));
    let (groups, _) = collect(Some("s"), &[payload.as_str(); 10]);
    assert_eq!(groups.len(), 3); // 30,000 bytes each, four to a record
    for group in groups {
        let mut out = Vec::new();
        evenkeel_codec::encode_batch(&group.batch, &mut out);
        assert!(out.len() <= LIMITS.record_bytes_max);
    }
}

#[test]
fn what_breaks_the_contract_is_refused_alone() {
    let (groups, rejected) = collect(
        Some("s"),
        &[
            r#"{"ts":9223372036854775808}"#,
            r#"{"ts":-1}"#,
            r#"{"ts":253402300800000}"#,
            r#"{"ts":1,"fields":{"x":NaN}}"#,
            r#"{"ts":1,"fields":{"x":Infinity}}"#,
            r#"{"ts":1,"fields":{"x":1e999}}"#,
            r#"{"ts":1,"stream_id":"other"}"#,
            r#"{"ts":1,"stream_id":"s"}"#,
            r#"[]"#,
        ],
    );
    assert_eq!((groups.len(), rejected.count(Reason::Malformed)), (1, 8));
    assert_eq!(groups[0].indices, [7]);
    let (groups, rejected) =
        collect(None, &[r#"{"ts":1}"#, r#"{"ts":1,"stream_id":""}"#, r#"{"ts":1,"stream_id":"a\nb"}"#]);
    assert_eq!((groups.len(), rejected.total()), (0, 3));
    let list = rejected.into_list();
    assert!(list[0].message.contains("stream_id is missing"), "{list:?}");
    assert!(
        list[1].message.contains("is empty") && list[2].message.contains("control character"),
        "{list:?}"
    );
}

#[test]
fn rows_of_a_batch_are_judged_one_by_one() {
    let credential = Credential::anonymous();
    let mut collector = Collector::new(&credential, Some("s"), LIMITS);
    let values = vec![1.0, f64::NAN, 3.0, f64::INFINITY];
    let field = FieldColumn { name: "x".into(), rows: vec![], values };
    let ts = vec![1, 2, -3, 4];
    let batch = EventBatch { stream_id: "s".into(), ts, fields: vec![field], ..EventBatch::default() };
    assert!(collector.own_stream("t").is_err());
    collector.batch(batch);
    let (groups, rejected) = collector.into_parts();
    assert_eq!((groups[0].batch.ts.clone(), groups[0].indices.clone()), (vec![1], vec![0]));
    assert_eq!(rejected.into_list().iter().map(|r| r.index).collect::<Vec<_>>(), [1, 2, 3]);
}

proptest! {
    // What comes out is what went in, whatever was cut off behind it.
    #[test]
    fn batches_hold_the_events_and_truncate_to_a_prefix(
        events in prop::collection::vec((0i64..100, prop::collection::vec((0usize..4, -9i64..9), 0..4)), 1..30),
        keep in 0usize..30,
    ) {
        let lines: Vec<String> = events.iter().map(|(ts, fields)| {
            let mut seen = BTreeMap::new();
            for (name, value) in fields { seen.insert(name, value); }
            let fields: Vec<String> = seen.iter().map(|(name, value)| format!("\"f{name}\":{value}")).collect();
            format!("{{\"ts\":{ts},\"fields\":{{{}}}}}", fields.join(","))
        }).collect();
        let (mut groups, _) = collect(Some("s"), &lines.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(groups.len(), 1);
        let cut = groups[0].truncate(keep);
        prop_assert_eq!(cut.len(), events.len().saturating_sub(keep));
        let batch = &groups[0].batch;
        if keep == 0 { return Ok(()) }
        prop_assert_eq!(batch.check_shape(), Ok(()));
        for (row, (ts, fields)) in events.iter().take(keep).enumerate() {
            prop_assert_eq!(batch.ts[row], *ts);
            for name in 0..4 {
                let want = fields.iter().rev().find(|f| f.0 == name).map(|f| f.1 as f64);
                let column = batch.fields.iter().position(|f| f.name == format!("f{name}"));
                prop_assert_eq!(column.and_then(|c| batch.value(c, row)), want);
            }
        }
    }
}
