//! A load that is killed goes on where it was: what is stored is as if nothing had happened.

use crate::case::{Case, file_settings};
use crate::recorded;
use std::time::{Duration, Instant};

/// Size of the log, bytes; what is not there yet counts 0.
fn log_bytes(case: &Case) -> u64 {
    let size = |name: &str| std::fs::metadata(case.data_dir().join(name)).map_or(0, |m| m.len());
    size("log.db") + size("log.db-wal")
}

#[test]
fn killed_again_and_again_in_the_middle_of_a_load() {
    let case = Case::new();
    let name = "nab_tweets.csv.gz";
    let mut kills = 0;
    // Each attempt is killed a little later than the last, until one is done before.
    for attempt in 1..=4u64 {
        let mut child = case.start(&recorded::path(name));
        let deadline = Instant::now() + Duration::from_secs(120);
        let enough = log_bytes(&case) + attempt * 1_500_000;
        while log_bytes(&case) < enough && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the log does not grow");
            std::thread::sleep(Duration::from_millis(2));
        }
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 2, "only {kills} runs were killed in the middle");
    let summary = case.run_ok(&recorded::path(name), &[]);
    assert_eq!(summary["events"]["5000"]["consumed"], 158_631, "{summary}");
    case.judge(&file_settings(), &recorded::events(name));
    assert_eq!(case.run_ok(&recorded::path(name), &[])["loaded_before"], true);
}

#[test]
fn a_signal_stops_it_in_good_order_and_the_same_command_goes_on() {
    let case = Case::new();
    let name = "nab_tweets.csv.gz";
    let child = case.start(&recorded::path(name));
    let deadline = Instant::now() + Duration::from_secs(120);
    while log_bytes(&case) < 1_500_000 {
        assert!(Instant::now() < deadline, "the log does not grow");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{message}");
    assert!(message.contains("stopped after line") && message.contains("goes on from there"), "{message}");
    case.run_ok(&recorded::path(name), &[]);
    case.judge(&file_settings(), &recorded::events(name));
}
