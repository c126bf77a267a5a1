//! A file counts once; another file adds; numbering goes on.

use crate::case::{Case, file_settings, summary};
use crate::events::{FileEvent, csv, event, ndjson, reference_of_files};
use crate::recorded;
use evenkeel_scenarios::judge;

/// 200 events of two streams, 700 ms apart, from `from` seconds on.
fn some(from: i64) -> Vec<FileEvent> {
    let at = |i: i64| 1_700_000_000_000 + from * 1_000 + i * 700;
    (0..200).map(|i| event(["bowl/1", "bowl/2"][i as usize % 2], at(i), i as f64 / 3.0)).collect()
}

#[test]
fn the_same_file_twice_changes_nothing() {
    let case = Case::new();
    let path = recorded::path("river_waterflow.csv.gz");
    case.run_ok(&path, &[]);
    let before = case.query("json", &[]);
    let again = case.run_ok(&path, &[]);
    assert_eq!((&again["loaded_before"], &again["events_loaded"]), (&true.into(), &0.into()));
    assert_eq!(again["stored"]["rows"], 0);
    assert_eq!(case.query("json", &[]), before);
    // Unpacked, under another name, it is still the same file.
    let mut content = Vec::new();
    let packed = std::fs::File::open(&path).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut content).unwrap();
    assert_eq!(case.run_ok(&case.file("copy.csv", content), &[])["loaded_before"], true);
    assert_eq!(case.query("json", &[]), before);
}

#[test]
fn another_file_adds_also_to_windows_that_are_stored() {
    let case = Case::new();
    // The second file overlaps the first: its events are late and are merged. The third is older than both.
    let files = [some(0), some(60), some(-600)];
    for (n, events) in files.iter().enumerate() {
        case.run_ok(&case.file(&format!("{n}.ndjson"), ndjson(events)), &[]);
    }
    let reference = reference_of_files(&file_settings(), &[&files[0], &files[1], &files[2]]);
    let stored = case.stored();
    assert!(stored.iter().any(|row| row.revision > 0), "some events are late");
    let verdict = judge(stored, &[], &reference);
    assert_eq!(verdict.violations, []);
}

#[test]
fn numbering_goes_on_from_file_to_file_and_stays_clear_of_given_numbers() {
    let case = Case::new();
    let numbered = |events: &mut Vec<FileEvent>, from: u64| {
        events.iter_mut().zip(from..).for_each(|(event, seq)| event.seq = Some(seq));
    };
    let (first, mut second, third) = (some(0), some(5), some(9));
    numbered(&mut second, 1_000); // a file with its own numbers between two without
    for (name, text) in [("a.csv", csv(&first)), ("b.ndjson", ndjson(&second)), ("c.csv", csv(&third))] {
        case.run_ok(&case.file(name, text), &[]);
    }
    let reference = reference_of_files(&file_settings(), &[&first, &second, &third]);
    let stored = case.stored();
    let newest = stored.iter().filter_map(|row| row.row.seq_bounds()).map(|(_, hi)| hi).max();
    assert_eq!(newest, Some(1_299), "1000 … 1199 were given, then the third file's hundred per stream");
    assert_eq!(judge(stored, &[], &reference).violations, []);
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let case = Case::new();
    let events = some(0);
    let text = csv(&events);
    assert_eq!(case.run_stdin(text.as_bytes())["events_loaded"], 200);
    case.judge(&file_settings(), &events);
    assert_eq!(case.run_ok(&case.file("same.csv", &text), &[])["loaded_before"], true);
    let left: Vec<_> = std::fs::read_dir(case.data_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "input.spool"), "{left:?}");
}

#[test]
fn every_key_can_be_set() {
    let case = Case::new();
    let path = case.file("a.ndjson", ndjson(&some(0)));
    let sets = ["--set", "coalescer.sizes=[\"10s\"]", "--set", "coalescer.lateness=5s"];
    case.run_ok(&path, &sets);
    assert!(case.stored().iter().all(|row| row.row.span.size_ms == 10_000));
    let wrong = case.run(&path, &["--set", "coalescer.latenes=5s"]);
    let message = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        message.contains("--set") && message.contains("latenes") && message.contains("lateness"),
        "{message}"
    );
}

#[test]
fn arrival_now_takes_the_clock() {
    let case = Case::new();
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let events = some(0);
    let began = now();
    case.run_ok(&case.file("a.ndjson", ndjson(&events)), &["--arrival", "now"]);
    let stored = case.stored();
    assert_eq!(
        stored.iter().filter(|row| row.row.span.size_ms == 5_000).map(|row| row.row.count).sum::<u64>(),
        200
    );
    for row in stored {
        assert!((began..=now()).contains(&row.row.first_arrival), "{row:?}");
    }
    // Then what is old is too old, unless a file run's own max-age stands.
    let case = Case::new();
    let sets = ["--arrival", "now", "--set", "coalescer.max-age=7d"];
    let summary = case.run_ok(&case.file("a.ndjson", ndjson(&events)), &sets);
    assert_eq!(summary["events"]["5000"]["too_old"], 200);
}

#[test]
fn the_summary_is_for_people_unless_asked_otherwise() {
    let case = Case::new();
    let path = case.file("a.ndjson", ndjson(&some(0)));
    let output = case.command(&["run", "--input", path.to_str().unwrap(), "--once"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.starts_with("file     a.ndjson: 200 events loaded, 0 lines refused\n"), "{text}");
    assert!(text.contains("ledger   0 ("), "{text}");
    assert_eq!(output.stderr, b"", "no bar, no line where nobody looks at a terminal");
    let windows = &summary(&case.run(&case.file("b.ndjson", ndjson(&some(900))), &[]))["windows"]["5000"];
    assert!(windows["end"].as_u64() >= Some(2), "each stream's last windows close by the end: {windows}");
}
