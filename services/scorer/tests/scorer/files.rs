//! What the modes leave: names, members, digits, and the same scores in each.

use crate::case::{Case, models};
use evenkeel_scorer::{Mode, RuntimeName};
use serde_json::Value;

const ALL: [&str; 4] = [
    "batch_inference.csv",
    "stream_inference.jsonl",
    "stream_inference_async.jsonl",
    "streaming_metrics.json",
];

/// Score and prediction of each row of the batch file.
fn batch_scores(case: &Case) -> Vec<(f64, u64)> {
    let text = case.text(ALL[0]);
    let last_two = |line: &str| {
        let mut cells = line.rsplit(',');
        let prediction = cells.next().unwrap().parse().unwrap();
        (cells.next().unwrap().parse().unwrap(), prediction)
    };
    text.lines().skip(1).map(last_two).collect()
}

/// Score and prediction of each line, read as written: serde_json rounds the last digit on its way in.
fn scores(text: &str) -> Vec<(f64, u64)> {
    let member = |line: &str, name: &str| -> String {
        let (_, rest) = line.split_once(&format!("\"{name}\":")).unwrap();
        rest.split([',', '}']).next().unwrap().to_owned()
    };
    let pair = |line| (member(line, "score").parse().unwrap(), member(line, "prediction").parse().unwrap());
    text.lines().map(pair).collect()
}

#[test]
fn all_modes_leave_their_files_and_give_the_same_scores() {
    let case = Case::new();
    let summary = case.run().unwrap();
    assert_eq!((summary.rows, summary.errors()), (200, 0));
    assert_eq!(case.left(), ALL);
    let batch = batch_scores(&case);
    assert_eq!(batch.len(), 200, "batch scores the whole file");
    assert!(batch.iter().all(|(score, prediction)| u64::from(*score >= 0.5) == *prediction));
    assert!(batch.iter().any(|b| b.1 == 1) && batch.iter().any(|b| b.1 == 0));
    assert_eq!(scores(&case.text(ALL[1])), batch[..64]);
    let mut queued = scores(&case.text(ALL[2]));
    let mut expected = batch[..64].to_vec();
    queued.sort_by(|a, b| a.0.total_cmp(&b.0));
    expected.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(queued, expected, "workers may finish in another order");
}

/// A network runs on tract: the modes agree to the bit, alone and beside other rows.
#[test]
fn a_neural_network_is_scored_in_every_mode() {
    let mut case = Case::new();
    case.config.model = models().join("networks/dense.onnx");
    let row = |n: i32| {
        (0..6).map(|c| format!("{}", f64::from(n * (c + 1) % 7) / 4.0)).collect::<Vec<_>>().join(",")
    };
    let rows: Vec<String> = (0..50).map(row).collect();
    case.rows(&format!("f0,f1,f2,f3,f4,f5\n{}\n", rows.join("\n")));
    let summary = case.run().unwrap();
    assert_eq!((summary.errors(), summary.runtime), (0, "tract"));
    let batch = batch_scores(&case);
    assert!(
        batch.iter().any(|b| b.0 != batch[0].0) && batch.iter().all(|b| (0.0..=1.0).contains(&b.0)),
        "{batch:?}"
    );
    assert_eq!(scores(&case.text(ALL[1])), batch);
    assert_eq!(scores(&case.text(ALL[2])).len(), 50);
    case.config.runtime = RuntimeName::Tract;
    case.run().unwrap();
    assert_eq!(batch_scores(&case), batch);
}

#[test]
fn the_batch_file_is_the_input_with_two_columns_more() {
    let mut case = Case::new();
    case.rows("visits,room,weight_max,weight_mean,score\n1.50,NA,431,,9\n2,\"hall, east\",430.10,400,8\n");
    case.config.mode = Mode::Batch;
    case.run().unwrap();
    assert_eq!(case.left(), ["batch_inference.csv"]);
    let text = case.text(ALL[0]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0], "visits,room,weight_max,weight_mean,score,prediction",
        "no index, the old score is replaced"
    );
    assert!(lines[1].starts_with("1.50,NA,431,,0."), "{}", lines[1]);
    assert!(lines[2].starts_with("2,\"hall, east\",430.10,400,0."), "{}", lines[2]);
    let score = lines[1].rsplit(',').nth(1).unwrap();
    assert!(score.len() > 12, "full digits: {score}");
}

#[test]
fn the_lines_have_their_members_in_order_and_times_in_unix_seconds() {
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let case = Case::new();
    case.run().unwrap();
    let order = |text: &str, members: &[&str]| {
        let places: Vec<usize> = members.iter().map(|m| text.find(&format!("\"{m}\":")).unwrap()).collect();
        assert!(places.is_sorted() && text.matches("\":").count() == members.len(), "{text}");
    };
    order(case.text(ALL[1]).lines().next().unwrap(), &["timestamp", "score", "prediction"]);
    let first = case.text(ALL[2]).lines().next().unwrap().to_owned();
    order(&first, &["timestamp", "queue_latency_ms", "score", "prediction"]);
    let metrics = case.text(ALL[3]);
    let names =
        ["produced", "consumed", "dropped", "drop_rate", "queue_latency_ms_p50", "queue_latency_ms_p95"];
    order(&metrics, &[&names[..], &["workers", "queue_max", "jitter_ms", "errors"]].concat());
    for line in case.lines(ALL[1]).iter().chain(&case.lines(ALL[2])) {
        let timestamp = line["timestamp"].as_f64().unwrap();
        assert!((before..before + 600.0).contains(&timestamp), "{line}");
    }
    assert!(case.lines(ALL[2]).iter().all(|line| line["queue_latency_ms"].as_f64().unwrap() >= 0.0));
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!((&metrics["produced"], &metrics["consumed"]), (&64.into(), &64.into()));
    assert_eq!((&metrics["workers"], &metrics["queue_max"]), (&2.into(), &1_000.into()));
}

#[test]
fn parquet_rows_score_as_the_same_rows_in_csv() {
    let mut case = Case::new();
    case.config.mode = Mode::Batch;
    case.run().unwrap();
    let csv = batch_scores(&case);
    case.config.input = models().join("sample/bowls.parquet");
    case.run().unwrap();
    let parquet = batch_scores(&case);
    assert_eq!(parquet.len(), csv.len());
    // The CSV has three digits after the point, the Parquet file all of them.
    let far = csv.iter().zip(&parquet).filter(|(a, b)| (a.0 - b.0).abs() > 1e-4).count();
    assert_eq!(far, 0);
    assert!(
        case.text(ALL[0])
            .starts_with("stream_id,weight_mean,weight_max,visits,room,score,prediction\nbowl/0,,")
    );
}

#[test]
fn threshold_rows_and_an_earlier_run_s_files() {
    let mut case = Case::new();
    (case.config.threshold, case.config.rows, case.config.mode) = (0.9, 7, Mode::AsyncStream);
    std::fs::create_dir_all(&case.config.out).unwrap();
    std::fs::write(case.config.out.join(ALL[2]), "{\"old\": 1}\n").unwrap();
    case.run().unwrap();
    let lines = scores(&case.text(ALL[2]));
    assert_eq!(lines.len(), 7, "replaced, not continued");
    assert!(lines.into_iter().all(|(score, prediction)| u64::from(score >= 0.9) == prediction));
    assert_eq!(case.left(), [ALL[2], ALL[3]], "only the files of the mode");
}
