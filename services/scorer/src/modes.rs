//! The three ways to score, and the files each leaves.

use crate::config::Config;
use crate::error::{OutputError, RunError};
use crate::monitor::Clock;
use crate::output::Staged;
use crate::pool::{Pace, PoolError, Scored, score_through_queue, unix_seconds};
use crate::run::{Counted, Prepared, Progress};
use evenkeel_scoring::{Memory, Report};
use serde::Serialize;
use std::io::Write;

/// Rows between two reports of progress, and of one block of the batch.
const BLOCK_ROWS: usize = 4_096;

/// A line of stream_inference.jsonl; the members in this order.
#[derive(Serialize)]
struct Line {
    timestamp: f64,
    score: f64,
    prediction: u8,
}

/// A line of stream_inference_async.jsonl; the members in this order.
#[derive(Serialize)]
struct AsyncLine {
    timestamp: f64,
    queue_latency_ms: f64,
    score: f64,
    prediction: u8,
}

fn prediction(score: f64, threshold: f64) -> u8 {
    u8::from(score >= threshold)
}

fn put<T: Serialize>(file: &mut Staged, line: &T) -> Result<(), OutputError> {
    let written = serde_json::to_writer(&mut *file, line).map_err(std::io::Error::from);
    written.and_then(|()| file.write_all(b"\n")).map_err(|source| file.failed(source))
}

/// All rows at once: the input's columns, then score and prediction. A row without a score has empty cells there.
pub fn batch(
    prepared: &Prepared,
    config: &Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Counted, RunError> {
    const NEW: [&str; 2] = ["score", "prediction"];
    let frame = &prepared.frame;
    let mut file = Staged::create(&config.out, "batch_inference.csv")?;
    let kept: Vec<_> = frame.columns.iter().filter(|column| !NEW.contains(&column.name.as_str())).collect();
    let (mut counted, mut memory) = (Counted::default(), Memory::default());
    let mut writer = csv::Writer::from_writer(&mut file);
    let written = (|| {
        writer.write_record(kept.iter().map(|column| column.name.as_str()).chain(NEW))?;
        for start in (0..frame.rows).step_by(BLOCK_ROWS) {
            let range = start..frame.rows.min(start + BLOCK_ROWS);
            let scores = prepared.model.score_rows(&prepared.binding, frame, range.clone(), &mut memory);
            for (row, score) in range.clone().zip(scores) {
                let [score, prediction] = match counted.take(score) {
                    Some(score) => [score.to_string(), prediction(score, config.threshold).to_string()],
                    None => [String::new(), String::new()],
                };
                for column in &kept {
                    writer.write_field(&column.cells[row])?;
                }
                writer.write_record([score, prediction])?;
            }
            progress(Progress { what: "batch", done: range.end, rows: frame.rows });
        }
        writer.flush().map_err(csv::Error::from)
    })();
    drop(writer);
    written.map_err(|error| file.failed(std::io::Error::other(error)))?;
    file.finish()?;
    Ok(counted)
}

/// The first rows, one after the other.
pub fn stream(
    prepared: &Prepared,
    config: &Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Counted, RunError> {
    let rows = config.rows.min(prepared.frame.rows);
    let mut file = Staged::create(&config.out, "stream_inference.jsonl")?;
    let (mut counted, mut memory) = (Counted::default(), Memory::default());
    for row in 0..rows {
        let score = prepared.model.score(&prepared.binding, &prepared.frame, row, &mut memory);
        if let Some(score) = counted.take(score) {
            let prediction = prediction(score, config.threshold);
            put(&mut file, &Line { timestamp: unix_seconds(), score, prediction })?;
        }
        if row % BLOCK_ROWS == 0 {
            progress(Progress { what: "stream", done: row, rows });
        }
    }
    file.finish()?;
    Ok(counted)
}

/// The first rows, as they arrive, through the queue and the workers.
pub fn async_stream(
    prepared: &Prepared,
    config: &Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Counted, Report), RunError> {
    let rows = config.rows.min(prepared.frame.rows);
    let mut file = Staged::create(&config.out, "stream_inference_async.jsonl")?;
    let mut metrics = Staged::create(&config.out, "streaming_metrics.json")?;
    let pace = Pace {
        rows,
        jitter_ms: config.jitter_ms,
        seed: config.seed,
        queue_max: config.queue_max,
        policy: config.drop_policy,
        workers: config.workers,
        clock: Clock::Wall,
    };
    let (mut counted, mut latencies_ms) = (Counted::default(), Vec::new());
    let counts =
        score_through_queue(&prepared.model, &prepared.binding, &prepared.frame, pace, |scored: Scored| {
            let Scored { row, timestamp, latency_ms: queue_latency_ms, score } = scored;
            if let Some(score) = counted.take(score) {
                latencies_ms.push(queue_latency_ms);
                let prediction = prediction(score, config.threshold);
                put(&mut file, &AsyncLine { timestamp, queue_latency_ms, score, prediction })?;
            }
            progress(Progress { what: "async stream", done: row + 1, rows });
            Ok(())
        });
    let counts = counts.map_err(|error| match error {
        PoolError::Taking(error) => RunError::Output(error),
        PoolError::Panicked(name) => RunError::Panicked(name),
    })?;
    let report = Report::new(
        counts.dropped,
        counted.errors,
        latencies_ms,
        (config.workers, config.queue_max, config.jitter_ms),
    );
    let written = serde_json::to_writer_pretty(&mut metrics, &report).map_err(std::io::Error::from);
    written.and_then(|()| metrics.write_all(b"\n")).map_err(|source| metrics.failed(source))?;
    file.finish()?;
    metrics.finish()?;
    Ok((counted, report))
}
