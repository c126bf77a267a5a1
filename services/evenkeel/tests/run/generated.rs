//! Generated logs: what recorded data does not show, written as files and judged the same way.

use crate::case::{Case, file_settings};
use crate::events::{FileEvent, ndjson};
use evenkeel_model::EventBatch;
use evenkeel_scenarios::{Devices, Rng, START_MS, Scenario, Settings, Step, Timeline, catalogue, history};

/// Every event of a history in the order in which ingest accepted it.
fn events(steps: &[Step]) -> Vec<FileEvent> {
    let (mut devices, mut now, mut events) = (Devices::default(), START_MS, Vec::new());
    for step in steps {
        if let Step::Advance { ms } = step {
            now += ms;
        }
        if let Some(batch) = devices.batch(now, step) {
            events.extend((0..batch.len()).map(|row| of_row(&batch, row)));
        }
    }
    events
}

fn of_row(batch: &EventBatch, row: usize) -> FileEvent {
    FileEvent {
        stream_id: batch.stream_id.clone(),
        ts: batch.ts[row],
        seq: batch.seq.get(row).copied(),
        arrival: Some(batch.arrival_ms),
        fields: batch.fields.iter().filter_map(|f| Some((f.name.clone(), f.value(row)?))).collect(),
    }
}

fn in_its_own_time(mut events: Vec<FileEvent>) -> Vec<FileEvent> {
    events.iter_mut().for_each(|event| event.arrival = None);
    events
}

#[track_caller]
fn judged(name: &str, settings: &Settings, sets: &[String], events: &[FileEvent]) {
    let case = Case::new();
    let input = case.file("events.ndjson", ndjson(events));
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    let summary = case.run_ok(&input, &sets);
    assert_eq!(summary["events_loaded"], events.len(), "{name}: {summary}");
    println!("{name}: {} windows equal", case.judge(settings, events));
}

/// The settings of a scenario on the command line.
fn sets(settings: &Settings) -> Vec<String> {
    let class = &settings.classes[0];
    let sizes: Vec<String> = class.sizes_ms.iter().map(|ms| format!("\"{ms}ms\"")).collect();
    let mut sets = vec![
        format!("local.partitions={}", settings.partitions),
        format!("coalescer.sizes=[{}]", sizes.join(",")),
        format!("coalescer.open-windows-max={}", class.open_windows_max),
        format!("coalescer.rows-per-tick-max={}", settings.rows_per_tick_max),
        format!("coalescer.seq-intervals-max={}", settings.seq_intervals_max.max(64)),
        format!("sink.seq-intervals-max={}", settings.seq_intervals_max.max(64)),
    ];
    for (key, ms) in [
        ("lateness", class.lateness_ms),
        ("idle-timeout", class.idle_timeout_ms),
        ("idle-evict", settings.idle_evict_ms),
        ("open-age-max", settings.open_age_max_ms),
        ("outage-max", settings.outage_max_ms),
        ("clock-slack", settings.clock_slack_ms),
        ("max-future", settings.max_future_ms),
        // A history that wants more than the 100 years there may be wants no limit.
        ("max-age", settings.max_age_ms.min(file_settings().max_age_ms)),
        ("mark-refresh", settings.mark_refresh_ms),
    ] {
        sets.push(format!("coalescer.{key}={ms}ms"));
    }
    sets
}

/// Storms, replays, shuffles, loss, reboots, stuck and skewed clocks, silence: with the arrivals of ingest.
#[test]
fn named_histories_as_ingest_saw_them() {
    for Scenario { name, settings, steps, .. } in catalogue::all() {
        judged(&name, &settings, &sets(&settings), &events(&steps));
    }
}

/// The same files without arrivals: each stream in its own time.
#[test]
fn named_histories_in_their_own_time() {
    for Scenario { name, steps, .. } in catalogue::all() {
        judged(&name, &file_settings(), &[], &in_its_own_time(events(&steps)));
    }
}

/// The same sorted by stream: every stream but the first begins long before the log clock.
#[test]
fn named_histories_sorted_by_stream() {
    for Scenario { name, steps, .. } in catalogue::all() {
        let mut events = in_its_own_time(events(&steps));
        events.sort_by(|a, b| a.stream_id.cmp(&b.stream_id));
        judged(&name, &file_settings(), &[], &events);
    }
}

/// Random devices with small bounds and short times, so that every reason and closing is met.
#[test]
fn random_histories_with_small_bounds() {
    for seed in 1..=12 {
        let rng = Rng::new(seed);
        let settings = Settings::small(&mut rng.fork(1));
        let mut line = Timeline::default();
        history::traffic(&mut rng.fork(2), settings.partitions, &mut line);
        judged(&format!("seed {seed}"), &settings, &sets(&settings), &events(&line.into_steps()));
    }
}
