//! Lines that are no events: counted, shown, kept, and no obstacle to the rest.

use crate::case::{Case, file_settings};
use crate::events::{FileEvent, event};
use evenkeel_local::{Local, LocalOptions};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, Worker as _};
use std::time::{Duration, Instant};

const T: i64 = 1_700_000_000_000;

/// A record's value and its headers.
type Refused = (Vec<u8>, Vec<(String, String)>);

/// Every record of `dlq`: its value and its headers.
fn dlq(case: &Case) -> Vec<Refused> {
    let local = Local::open(&case.data_dir(), LocalOptions::default()).unwrap();
    let mut worker = local.worker("test", Topic::Dlq).unwrap();
    worker.read_headers(true);
    let (mut records, mut ends, mut new) = (Vec::new(), 0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(30);
    while ends < local.partitions() {
        assert!(Instant::now() < deadline);
        let each = &mut |input: LogInput<'_>| match input {
            LogInput::Assigned { partition, .. } => new.push(partition),
            LogInput::Records { records: some, at_end, .. } => {
                ends += u32::from(at_end);
                for record in some {
                    let text = |h: &evenkeel_seam::Header<'_>| String::from_utf8(h.value.to_vec()).unwrap();
                    let headers = record.headers.iter().map(|h| (h.name.to_owned(), text(h))).collect();
                    records.push((record.value.unwrap().to_vec(), headers));
                }
            }
            _ => {}
        };
        worker.poll(Duration::from_millis(100), each).unwrap();
        for partition in new.drain(..) {
            worker.perform(LogAction::Start { partition, from: None }).unwrap();
        }
    }
    records
}

#[test]
fn a_bad_line_is_counted_shown_with_its_number_and_kept() {
    let case = Case::new();
    let good: Vec<FileEvent> = (0..4).map(|i| event("s", T + i * 1_000, i as f64)).collect();
    let text = format!(
        "{{\"stream_id\":\"s\",\"ts\":{},\"fields\":{{\"x\":0.0}}}}\n\
         not json\n\
         \n\
         {{\"stream_id\":\"s\",\"ts\":\"2023-11-14T22:13:21Z\",\"fields\":{{\"x\":1}}}}\r\n\
         {{\"stream_id\":\"s\",\"ts\":9223372036854775807}}\n\
         {{\"stream_id\":\"s\",\"ts\":{},\"fields\":{{\"x\":2}}}}\n\
         {{\"stream_id\":\"\",\"ts\":5}}\n\
         {{\"stream_id\":\"a\\u0007b\",\"ts\":5}}\n\
         {{\"ts\":5}}\n\
         {{\"stream_id\":\"s\",\"ts\":{},\"fields\":{{\"x\":3}}}}",
        T,
        T + 2_000,
        T + 3_000
    );
    let input = case.file("mixed.ndjson", &text);
    let output = case.run(&input, &[]);
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    let summary = crate::case::summary(&output);
    assert_eq!((&summary["events_loaded"], &summary["lines_refused"]), (&4.into(), &5.into()));
    for (line, part) in [
        (2, "not a JSON object"),
        (5, "ts is 9223372036854775807; it must be between"),
        (7, "stream_id is empty"),
        (8, "stream_id holds a control character"),
        (9, "stream_id is missing"),
    ] {
        let found =
            shown.lines().any(|l| l.starts_with(&format!("mixed.ndjson:{line}: ")) && l.contains(part));
        assert!(found, "{line}: {part} in\n{shown}");
    }
    case.judge(&file_settings(), &good);
    let kept = dlq(&case);
    assert_eq!(kept.len(), 5);
    let lines: Vec<&str> = text.lines().collect();
    for (value, headers) in kept {
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).unwrap().1.as_str();
        let line: usize = header("source-line").parse().unwrap();
        assert_eq!(value, lines[line - 1].as_bytes());
        assert_eq!((header("reason"), header("source-file")), ("malformed", "mixed.ndjson"));
        assert!(!header("error").is_empty());
    }
}

#[test]
fn a_line_of_ten_megabytes_is_one_bad_line() {
    let case = Case::new();
    let mut text = format!("stream_id,ts,x\ns,{T},1\n").into_bytes();
    text.resize(text.len() + 10_000_000, b'7');
    text.extend_from_slice(format!("\ns,{},2\n", T + 1).as_bytes());
    let output = case.run(&case.file("long.csv", text), &[]);
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(crate::case::summary(&output)["events_loaded"], 2);
    assert_eq!(shown, "long.csv:3: the line is 10000000 bytes long; the limit is 1048576\n");
    case.judge(&file_settings(), &[event("s", T, 1.0), event("s", T + 1, 2.0)]);
    assert_eq!(dlq(&case)[0].0.len(), 1 << 20);
}

#[test]
fn many_bad_lines_are_shown_only_in_part() {
    let case = Case::new();
    let text = format!("stream_id,ts,x\ns,{T},1\n{}", "s,yesterday,2\n".repeat(20_000));
    let output = case.run(&case.file("bad.csv", text), &[]);
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    let summary = crate::case::summary(&output);
    assert_eq!(summary["lines_refused"], 20_000);
    assert_eq!(summary["first_refused"].as_array().unwrap().len(), 20);
    assert_eq!(shown.lines().count(), 21);
    assert!(
        shown.ends_with("… and 19980 more lines refused; all are in dlq with their reasons\n"),
        "{shown}"
    );
}

#[test]
fn csv_of_the_real_world() {
    let case = Case::new();
    let text = "\u{feff}ts, room ,\"stream_id\",weight,on,seq\r\n\
                2023-11-14T22:13:20Z,kitchen,\"bowl,7\",12.5,true,3\r\n\
                2023-11-15T00:13:21.5+02:00,hall,\"bowl,7\",,false,4\r\n\
                1700000002000,,\"bowl,7\",NaN,,5\r\n\
                1700000003000,,\"bowl,7\",1,\r\n\
                1700000004000,,\"bowl,7\",-3,,6";
    let output = case.run(&case.file("real.csv", text), &[]);
    let shown = String::from_utf8(output.stderr.clone()).unwrap();
    let summary = crate::case::summary(&output);
    assert_eq!(summary["columns_left_out"], serde_json::json!(["room"]));
    assert_eq!((&summary["events_loaded"], &summary["lines_refused"]), (&3.into(), &2.into()));
    assert!(shown.contains("real.csv:4: weight is \"NaN\"; it must be a finite number"), "{shown}");
    assert!(shown.contains("real.csv:5: 5 cells for 6 columns"), "{shown}");
    let of = |ts, seq, fields: &[(&str, f64)]| FileEvent {
        stream_id: "bowl,7".into(),
        ts: T + ts,
        seq: Some(seq),
        arrival: None,
        fields: fields.iter().map(|(name, x)| ((*name).to_owned(), *x)).collect(),
    };
    let events = [
        of(0, 3, &[("weight", 12.5), ("on", 1.0)]),
        of(1_500, 4, &[("on", 0.0)]),
        of(4_000, 6, &[("weight", -3.0)]),
    ];
    case.judge(&file_settings(), &events);
}
