//! What the scorer of the cluster must have said: read from the topics, compared with the rows that were sent.

use anyhow::{bail, ensure};
use evenkeel_codec::{WindowRecord, decode_alert, decode_score, decode_window_record};
use evenkeel_kafka::{KafkaConfig, KafkaWorker, WorkerOptions};
use evenkeel_model::{AlertAction, Topic, WindowRow};
use evenkeel_seam::{LogAction, LogInput, Worker};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const SIZE_MS: i64 = 5_000;
/// Raises in the second window in a row above it.
const HIGH: f64 = 200.0;
/// Raises below it, clears at 40 above it.
const LOW: f64 = 100.0;

/// A model of six columns that takes all its features from one row, and two rules.
pub fn settings() -> Vec<String> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/cases/linear_regression.onnx");
    vec![
        "scorer.live.workers=1".to_owned(),
        "scorer.live.sizes=[\"5s\"]".to_owned(),
        format!("scorer.live.model={model}"),
        "scorer.live.features=[\"v.mean\", \"v.max\", \"v.min\", \"count\", \"missing\", \"v.last\"]"
            .to_owned(),
        "scorer.live.threshold.value=1e300".to_owned(),
        format!(
            "scorer.live.rule=[{{ name = \"high\", field = \"v.mean\", above = {HIGH:?}, windows = 2 }}, \
             {{ name = \"low\", field = \"v.mean\", below = {LOW:?}, hysteresis = 40.0 }}]"
        ),
    ]
}

/// Every committed value of a topic, partition by partition, up to the ends as they are now.
fn read(config: &KafkaConfig, topic: Topic) -> anyhow::Result<Vec<Vec<u8>>> {
    let options = WorkerOptions {
        service: format!("witness-{topic}"),
        transactional_id: format!("{}-witness-{topic}", config.prefix),
        topic,
        headers: false,
    };
    let mut worker = KafkaWorker::connect(config, options)?;
    let mut values: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    let (mut count, mut ended) = (None, BTreeSet::new());
    let began = Instant::now();
    while count.is_none_or(|count: u32| ended.len() < count as usize) {
        ensure!(began.elapsed() < Duration::from_secs(60), "the end of {topic} was not seen");
        let mut starts = Vec::new();
        worker.poll(Duration::from_millis(100), &mut |input| match input {
            LogInput::Assigned { partition, partitions, .. } => {
                count = Some(partitions);
                starts.push(LogAction::Start { partition, from: None });
            }
            LogInput::Records { partition, records, at_end, .. } => {
                let into = values.entry(partition).or_default();
                into.extend(records.iter().map(|r| r.value.unwrap_or_default().to_vec()));
                if at_end {
                    ended.insert(partition);
                }
            }
            _ => {}
        })?;
        starts.into_iter().try_for_each(|start| worker.perform(start))?;
    }
    worker.close()?;
    Ok(values.into_values().flatten().collect())
}

/// Waits until each row of a window that starts before `before` has a score, then compares everything about these
/// windows. The scores, by stream and start of the window, and how many alerts there were.
pub fn check(
    config: &KafkaConfig,
    before: i64,
    deadline: Duration,
) -> anyhow::Result<(Vec<(String, i64)>, usize)> {
    let mut rows: Vec<WindowRow> = Vec::new();
    for value in read(config, Topic::Windows)? {
        if let WindowRecord::Row(row) = decode_window_record(&value)?
            && row.span.size_ms == SIZE_MS
            && row.span.t_start() < before
        {
            rows.push(*row);
        }
    }
    let mut want: Vec<_> = rows.iter().map(|row| (row.stream_id.clone(), row.span.window_id)).collect();
    want.sort_unstable();
    let began = Instant::now();
    let scores = loop {
        let mut scores = Vec::new();
        for value in read(config, Topic::Scores)? {
            scores.extend(Some(decode_score(&value)?).filter(|score| score.span.t_start() < before));
        }
        if scores.len() >= want.len() {
            break scores;
        }
        if began.elapsed() > deadline {
            bail!("{} scores of {}", scores.len(), want.len());
        }
    };
    let mut got = Vec::new();
    for score in scores {
        ensure!(score.model == "linear_regression" && score.threshold == Some(1e300), "{score:?}");
        got.push((score.stream_id, score.span.window_id));
    }
    got.sort_unstable();
    ensure!(got == want, "each row has one score: {} scores of {} rows", got.len(), want.len());
    let mut alerts: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut said = 0;
    for value in read(config, Topic::Alerts)? {
        let alert = decode_alert(&value)?;
        if alert.action != AlertAction::Hold && alert.t_start < before {
            said += 1;
            let text = format!("{} {} {}", alert.action, alert.t_start, alert.since);
            alerts.entry((alert.stream_id, alert.rule)).or_default().push(text);
        }
    }
    let expected = expected(&rows);
    ensure!(alerts == expected, "alerts {alerts:?}, but the rows say {expected:?}");
    ensure!(said >= 3 * 7, "every stream raises both and clears one: {said}");
    Ok((got.into_iter().map(|(stream, window)| (stream, window * SIZE_MS)).collect(), said))
}

/// What the two rules make of the rows, which lie in order per stream.
fn expected(rows: &[WindowRow]) -> BTreeMap<(String, String), Vec<String>> {
    let mut said: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut state: BTreeMap<&str, (f64, Option<i64>, Option<i64>)> = BTreeMap::new();
    for row in rows {
        let mean = row.stats.iter().find(|s| s.name == "v").map_or(f64::NAN, |s| s.mean);
        let start = row.span.t_start();
        let (before, high, low) = state.entry(&row.stream_id).or_insert((f64::NAN, None, None));
        let mut say = |rule: &str, action: &str, since: i64| {
            let key = (row.stream_id.clone(), rule.to_owned());
            said.entry(key).or_default().push(format!("{action} {start} {since}"));
        };
        match *high {
            None if mean > HIGH && *before > HIGH => {
                *high = Some(start);
                say("high", "raise", start);
            }
            Some(since) if mean <= HIGH => {
                *high = None;
                say("high", "clear", since);
            }
            _ => {}
        }
        match *low {
            None if mean < LOW => {
                *low = Some(start);
                say("low", "raise", start);
            }
            Some(since) if mean >= LOW + 40.0 => {
                *low = None;
                say("low", "clear", since);
            }
            _ => {}
        }
        *before = mean;
    }
    said
}
