//! What `query windows` answers.

use crate::case::Case;
use crate::events::{csv, event};

const T: i64 = 1_700_000_000_000; // the start of a 5 s window and of no minute

fn case() -> Case {
    let case = Case::new();
    let events: Vec<_> =
        (0..40).map(|i| event(["bowl/1", "bowl/2"][i as usize % 2], T + i * 1_000, i as f64)).collect();
    case.run_ok(&case.file("a.csv", csv(&events)), &[]);
    case
}

#[test]
fn by_stream_size_and_time() {
    let case = case();
    let count = |more: &[&str]| case.query("json", more).len();
    assert_eq!(count(&["--size", "5s"]), 16);
    assert_eq!(count(&["--size", "5s", "--stream", "bowl/1"]), 8);
    assert_eq!(count(&["--size", "1m", "--stream", "bowl/1"]), 1);
    assert_eq!(count(&["--stream", "nobody"]), 0);
    let (from, to) = ((T + 5_000).to_string(), "2023-11-14T22:13:35Z");
    assert_eq!(count(&["--size", "5s", "--from", &from]), 14);
    assert_eq!(count(&["--size", "5s", "--to", to]), 6);
    assert_eq!(count(&["--size", "5s", "--from", &from, "--to", to]), 4);
}

#[test]
fn the_latest_of_each_stream_and_size() {
    let case = case();
    let rows: Vec<serde_json::Value> =
        case.query("json", &["--latest"]).iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut got: Vec<_> = rows
        .iter()
        .map(|r| (r["stream_id"].as_str(), r["size_ms"].as_i64(), r["t_start"].as_i64()))
        .collect();
    got.sort_unstable();
    let minute = T + 40_000; // 22:14:00
    let of = |stream, size, start| (Some(stream), Some(size), Some(start));
    let want = [
        of("bowl/1", 5_000, T + 35_000),
        of("bowl/1", 60_000, minute - 60_000),
        of("bowl/2", 5_000, T + 35_000),
        of("bowl/2", 60_000, minute - 60_000),
    ];
    assert_eq!(got, want);
}

#[test]
fn tables_and_csv_say_the_same_as_json() {
    let case = case();
    let stored = case.stored();
    let csv = case.query("csv", &[]);
    assert_eq!(csv.len(), 1 + stored.len(), "a header, and one line per window of one field");
    for (line, row) in csv[1..].iter().zip(&stored) {
        let start = format!("{},{},{}", row.row.stream_id, row.row.span.size_ms, row.row.span.window_id);
        assert!(line.starts_with(&start) && line.contains(&format!(",x,{},", row.row.count)), "{line}");
    }
    let table = case.query("table", &["--size", "5s", "--stream", "bowl/2"]);
    assert!(table[0].starts_with("STREAM") && table.len() == 9, "{table:#?}");
    assert!(table[1].starts_with("bowl/2  2023-11-14 22:13:20    5s"), "{}", table[1]);
}

#[test]
fn rows_come_by_size_stream_and_time_and_a_reader_may_leave() {
    let case = case();
    let keys: Vec<_> = case.stored().into_iter().map(|r| (r.row.stream_id, r.row.span)).collect();
    let mut sorted = keys.clone();
    sorted.sort_by(|a, b| (a.1.size_ms, &a.0, a.1.window_id).cmp(&(b.1.size_ms, &b.0, b.1.window_id)));
    assert_eq!(keys, sorted);
    let mut child = case.command(&["query", "windows", "--format", "json"]).spawn().unwrap();
    drop(child.stdout.take()); // like `| head -0`
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_directory_without_data_is_an_error_with_a_remedy() {
    let case = Case::new();
    let output = case.command(&["query", "windows"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("data") && message.contains("evenkeel run"), "{message}");
    assert!(!case.data_dir().exists(), "asking makes nothing");
}

#[test]
fn a_cql_store_that_nobody_serves_is_an_error_with_a_remedy() {
    let case = Case::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = case.command(&["query", "windows", "--cql", &nobody]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains(&nobody) && message.contains("check cql.contact-points"), "{message}");
}
