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
