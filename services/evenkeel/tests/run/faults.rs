//! Wrong input and a full disk: a message that says what to do, an exit code, nothing lost.

use crate::case::{Case, file_settings};
use crate::recorded;
use std::process::Output;

fn refused(output: &Output) -> (Option<i32>, String) {
    assert_eq!(output.stdout, b"");
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn a_gzip_that_is_cut_off_is_refused_before_anything_is_loaded() {
    let case = Case::new();
    let whole = std::fs::read(recorded::path("river_waterflow.csv.gz")).unwrap();
    let (code, message) = refused(&case.run(&case.file("cut.csv.gz", &whole[..whole.len() / 2]), &[]));
    assert_eq!(code, Some(4));
    assert!(message.contains("cut.csv.gz:") && message.contains("cut off: fetch it again"), "{message}");
    // The whole file is another one, and all of it counts.
    case.run_ok(&case.file("whole.csv.gz", &whole), &[]);
    case.judge(&file_settings(), &recorded::events("river_waterflow.csv.gz"));
}

#[test]
fn what_is_no_file_of_events() {
    let case = Case::new();
    for (name, content, part) in [
        ("empty.csv", "", "empty.csv: is empty; it should hold events"),
        ("other.csv", "time,value\n1,2\n", "other.csv:1: no column stream_id; the first line must name"),
        ("semi.csv", "stream_id;ts;x\na;1;2\n", "separated by commas"),
    ] {
        let (code, message) = refused(&case.run(&case.file(name, content), &[]));
        assert_eq!(code, Some(4), "{message}");
        assert!(message.contains(part), "{message}");
    }
    let (code, message) = refused(&case.run(std::path::Path::new("no/such.csv"), &[]));
    assert_eq!(code, Some(2));
    assert!(message.contains("no/such.csv: cannot be opened"), "{message}");
}

#[test]
fn a_full_disk_stops_the_load_and_room_lets_it_go_on() {
    let case = Case::new();
    let path = recorded::path("nab_sensors.csv.gz");
    let (code, message) = refused(&case.run(&path, &["--set", "local.log-max=2MiB"]));
    assert_eq!(code, Some(5), "{message}");
    assert!(message.contains("full"), "{message}");
    case.run_ok(&path, &[]);
    case.judge(&file_settings(), &recorded::events("nab_sensors.csv.gz"));
}

#[test]
fn settings_that_do_not_fit_the_data() {
    let case = Case::new();
    let path = recorded::path("river_waterflow.csv.gz");
    case.run_ok(&path, &["--set", "local.partitions=2"]);
    let (code, message) = refused(&case.run(&path, &["--set", "local.partitions=3"]));
    assert_eq!(code, Some(4));
    assert!(message.contains("holds 2 partitions, 3 were asked for"), "{message}");
    let (code, message) = refused(&case.run(&path, &["--set", "nobody.key=1"]));
    assert_eq!(code, Some(2));
    assert!(message.contains("nobody"), "{message}");
}

#[test]
fn a_damaged_gzip_and_a_file_of_bytes_are_refused_before_anything_is_loaded() {
    let case = Case::new();
    let mut damaged = std::fs::read(recorded::path("river_waterflow.csv.gz")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 16].fill(0xff);
    let (code, message) = refused(&case.run(&case.file("damaged.csv.gz", damaged), &[]));
    assert_eq!(code, Some(4), "{message}");
    assert!(message.contains("damaged.csv.gz:") && message.contains("fetch it again"), "{message}");
    let container = b"Obj\x01\x04\x16avro.schema\x80\x02\xff\xfe\x00rest".repeat(20);
    let (code, message) = refused(&case.run(&case.file("events.avro", container), &[]));
    assert_eq!(code, Some(4), "{message}");
    assert!(message.contains("events.avro:1: "), "{message}");
}

/// NaN, 2^63, ids that are empty or hold a control character: the line alone is refused, in both formats.
#[test]
fn values_outside_the_contract_cost_their_line_only() {
    const T: i64 = 1_700_000_000_000;
    let ndjson = format!(
        "{{\"stream_id\":\"s\",\"ts\":{T},\"fields\":{{\"x\":NaN}}}}\n\
         {{\"stream_id\":\"s\",\"ts\":{T},\"fields\":{{\"x\":1e999}}}}\n\
         {{\"stream_id\":\"s\",\"ts\":9223372036854775808}}\n\
         {{\"stream_id\":\"\",\"ts\":{T}}}\n\
         {{\"stream_id\":\"a\\u0000b\",\"ts\":{T}}}\n\
         {{\"stream_id\":\"s\",\"ts\":{T},\"fields\":{{\"x\":1}}}}\n"
    );
    let csv = format!(
        "stream_id,ts,x\ns,{T},NaN\ns,{T},1e999\ns,9223372036854775808,1\n,{T},1\na\u{7}b,{T},1\ns,{T},1\n"
    );
    for (name, text, first) in [("a.ndjson", ndjson, 1), ("a.csv", csv, 2)] {
        let case = Case::new();
        let output = case.run(&case.file(name, text), &[]);
        let shown = String::from_utf8(output.stderr.clone()).unwrap();
        let summary = crate::case::summary(&output);
        assert_eq!((&summary["events_loaded"], &summary["lines_refused"]), (&1.into(), &5.into()), "{shown}");
        for line in first..first + 5 {
            assert!(shown.contains(&format!("{name}:{line}: ")), "{line} in\n{shown}");
        }
        case.judge(&file_settings(), &[crate::events::event("s", T, 1.0)]);
    }
}
