//! `evenkeel score` as a user types it: the sample, the caps of a test run, exit codes.

use crate::case::Case;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Output;

fn sample(name: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/sample");
    dir.join(name).to_str().unwrap().to_owned()
}

fn score(case: &Case, more: &[&str], env: &[(&str, &str)]) -> Output {
    let config = sample("config.yaml");
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", "artifacts"] };
    let mut command = case.command(&[&["score", "--config", &config, "--json"], out, more].concat());
    command.env_remove("TEST_MODE").envs(env.iter().copied()).output().unwrap()
}

fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(case: &Case, more: &[&str]) -> (Option<i32>, String) {
    let output = score(case, more, &[]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_sample_is_scored_by_one_command() {
    let case = Case::new();
    let summary = summary(&score(&case, &[], &[]));
    assert_eq!((&summary["modes"]["batch"]["scored"], &summary["runtime"]), (&200.into(), &"own".into()));
    assert_eq!(summary["streaming_metrics"]["produced"], 64);
    assert_eq!(
        (&summary["streaming_metrics"]["jitter_ms"], &summary["out"]),
        (&2.0.into(), &"artifacts".into())
    );
    let again = score(&case, &["--mode", "batch"], &[]);
    assert_eq!(again.stderr, b"", "no bar, no line where nobody looks at a terminal");
}

#[test]
fn a_test_run_is_capped_and_the_command_line_wins_over_the_file() {
    let case = Case::new();
    let metrics =
        |more: &[&str], env: &[(&str, &str)]| summary(&score(&case, more, env))["streaming_metrics"].clone();
    let capped = metrics(&[], &[("TEST_MODE", "1")]);
    let figures =
        |m: &Value| ["produced", "workers", "queue_max", "jitter_ms"].map(|name| m[name].as_f64().unwrap());
    assert_eq!(figures(&capped), [16.0, 1.0, 8.0, 1.0]);
    let set = [
        ("TEST_MODE", "1"),
        ("TEST_STREAM_ROWS", "5"),
        ("TEST_QUEUE_MAX", "3"),
        ("TEST_STREAM_WORKERS", "2"),
    ];
    assert_eq!(figures(&metrics(&["--jitter-ms", "0.5"], &set)), [5.0, 2.0, 3.0, 0.5]);
    assert_eq!(figures(&metrics(&["--rows", "9", "--workers", "3"], &[])), [9.0, 3.0, 32.0, 2.0]);
    let env = [("EVENKEEL_SCORER__THRESHOLD", "0.25"), ("TEST_MODE", "0")];
    assert_eq!(figures(&metrics(&["--rows", "3"], &env))[0], 3.0);
}

#[test]
fn each_kind_of_trouble_has_its_exit_code_and_names_the_remedy() {
    let case = Case::new();
    for (more, code, part) in [
        (&["--workers", "0"][..], 2, "workers is 0; it must be from 1 to 1024"),
        (&["--jitter-ms", "-1"], 2, "jitter-ms is -1; it must be 0 or more"),
        (&["--queue-max", "0"], 2, "queue-max is 0"),
        (&["--mode", "twice"], 2, "possible values: batch, stream, async_stream, both"),
        (&["--model", "none.onnx"], 2, "none.onnx: cannot be read"),
        (&["--model", &sample("bowls.csv")], 4, "not an ONNX model"),
        (&["--input", &sample("config.yaml")], 4, "config.yaml"),
        (&["--runtime", "tract"], 4, "is none of float, double, int32, int64, bool"),
        (&["--runtime", "ort"], 4, "runtime is ort"),
        (&["--positive-class", "cat"], 4, "the model has no class \"cat\"; it has 0, 1"),
        (&["--out", "/dev/null/out"], 5, "cannot be written"),
    ] {
        let (got, message) = refused(&case, more);
        assert_eq!(got, Some(code), "{more:?}: {message}");
        assert!(message.contains(part), "{more:?}: {message}");
    }
    let output = case.command(&["score"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("name the ONNX file: --model FILE"));
}

#[test]
fn rows_that_cannot_be_scored_are_told_and_the_others_are_there() {
    let case = Case::new();
    let model =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/cases/linear_regression.onnx");
    let rows = case.file("rows.csv", "a,b,c,d,e,f\n1,2,3,4,5,6\n1,NA,3,4,5,6\n");
    let (code, message) = refused(
        &case,
        &["--model", model.to_str().unwrap(), "--input", rows.to_str().unwrap(), "--mode", "batch"],
    );
    assert_eq!(code, Some(4));
    assert!(message.contains("batch: row 2: the score is NaN"), "{message}");
    assert!(message.contains("1 rows could not be scored; the others are in artifacts"), "{message}");
}
