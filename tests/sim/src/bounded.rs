//! The bound of the replay, checked from outside: no window stays open or pending past open-age-max while a
//! tick has room for its row, or gives the room to a row that is younger.
//!
//! A young row may go first if an overdue window of its own series is behind it. Whether one was is known
//! only when that one's row is out, so such ticks are suspects until the run is over.

use crate::log::SimLog;
use evenkeel_codec::{WindowRecord, decode_batch, decode_window_record};
use evenkeel_model::{EventBatch, Topic};
use evenkeel_scenarios::{Body, Published, Settings};
use evenkeel_seam::{CommitMeta, Outputs, RowKey};
use std::collections::BTreeSet;

/// One partition in one tick.
#[derive(Debug, Clone, Copy)]
pub struct Tick<'a> {
    /// The partition.
    pub partition: u32,
    /// Its position.
    pub offset: u64,
    /// Its live clock, ms.
    pub live: i64,
    /// Rows that the tick sent, all partitions together.
    pub rows: usize,
    /// The outputs of its transaction.
    pub outputs: Option<&'a Outputs>,
}

/// What was seen of a run so far.
#[derive(Debug, Default)]
pub struct Bounded {
    suspects: Vec<Suspect>,
}

/// A tick that sent a young row although an overdue window had to wait.
#[derive(Debug)]
struct Suspect {
    what: String,
    young: RowKey,
    live: i64,
}

/// Suspects kept; a run with more has long failed.
const SUSPECTS_MAX: usize = 1_000;

impl Bounded {
    /// Looks at a partition after a tick; what is certainly wrong is returned.
    pub fn look(
        &mut self,
        log: &SimLog,
        settings: &Settings,
        tick: &Tick<'_>,
        meta: &CommitMeta,
    ) -> Option<String> {
        let (stream, arrival) = oldest_unsent(log, tick, meta, settings)?;
        let age = tick.live.saturating_sub(arrival);
        if age < settings.open_age_max_ms {
            return None;
        }
        let what = format!("partition {}: {stream} has a window unsent for {age} ms", tick.partition);
        if tick.rows < settings.rows_per_tick_max {
            return Some(format!("{what}; {} rows left, there was room", tick.rows));
        }
        let young = young_row(tick, &stream, settings)?;
        if self.suspects.len() < SUSPECTS_MAX {
            let what = format!("{what}; a young row of {} took its room", evenkeel_scenarios::name(&young));
            self.suspects.push(Suspect { what, young, live: tick.live });
        }
        None
    }

    /// The suspects whose young row had no overdue window of its series behind it.
    pub fn conclude(&mut self, published: &[Published], open_age_max_ms: i64) -> Vec<String> {
        let overdue_behind = |suspect: &Suspect| {
            published.iter().any(|record| {
                let (key, young) = (record.key(), &suspect.young);
                let Body::Row(row) = &record.body else { return false };
                key.stream_id == young.stream_id
                    && key.span.size_ms == young.span.size_ms
                    && key.span.window_id > young.span.window_id
                    && suspect.live - row.first_arrival >= open_age_max_ms
            })
        };
        let suspects = std::mem::take(&mut self.suspects);
        suspects.into_iter().filter(|suspect| !overdue_behind(suspect)).map(|suspect| suspect.what).collect()
    }
}

/// A row of the tick that was not overdue, and that neither `stream` nor a late record explains.
fn young_row(tick: &Tick<'_>, stream: &str, settings: &Settings) -> Option<RowKey> {
    let (mut sent, mut excused) = (Vec::new(), BTreeSet::from([stream.to_owned()]));
    let outputs = tick.outputs?;
    let here = |topic: Topic, partition: u32| topic == Topic::Windows && partition == tick.partition;
    for record in outputs.records().iter().filter(|record| here(record.topic, record.partition)) {
        match decode_window_record(outputs.value(record).unwrap_or_default()) {
            Ok(WindowRecord::Row(row)) => {
                if tick.live - row.first_arrival >= settings.open_age_max_ms {
                    excused.insert(row.stream_id.clone()); // overdue itself, with the rows ahead of it
                }
                sent.push(RowKey { stream_id: row.stream_id.clone(), span: row.span });
            }
            Ok(WindowRecord::Late(late)) => {
                excused.insert(late.events.stream_id.clone()); // EK-LATE-0 takes rows along
            }
            Err(_) => {}
        }
    }
    sent.into_iter().find(|key| !excused.contains(&key.stream_id))
}

/// The stream and arrival of the first event of the oldest unsent window.
fn oldest_unsent(
    log: &SimLog,
    tick: &Tick<'_>,
    meta: &CommitMeta,
    settings: &Settings,
) -> Option<(String, i64)> {
    if meta.replay_from >= tick.offset {
        return None;
    }
    let fetched = log.cluster().log(Topic::Events, tick.partition).read(meta.replay_from, 1, false);
    let (at, record) = fetched.records.first()?;
    let mut batch = EventBatch::default();
    decode_batch(record.value.as_deref()?, &mut batch).ok()?;
    let clock = meta.log_clock_at_replay_from.max(batch.arrival_ms);
    (*at == meta.replay_from)
        .then(|| (batch.stream_id, batch.arrival_ms.max(clock - settings.clock_slack_ms)))
}
