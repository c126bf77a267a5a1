//! One scenario in two worlds: what does not depend on real time must come out the same.
//!
//! Compared: which events each window admitted; how many events were consumed and refused, by reason; and, to
//! the bit, every row that the log alone closed in both worlds, as long as no fact (silence, age, memory) had
//! closed a window of its series before, and no event of its stream is undetermined. Left out of rows: arrivals,
//! and max_ts, which is the stream's at sending. Undetermined, and counted: events so close to max-future or
//! max-age that the real delay decides, and streams without seq of which something had to be sent twice.

use super::Played;
use evenkeel_model::{ClosedBy, DropReason, WindowRow};
use evenkeel_scenarios::{Body, Event, Evidence, Reference, Settings, name};
use evenkeel_seam::RowKey;
use evenkeel_sim::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Real arrivals differ from simulated ones at most by the slowest acknowledgement and this, ms.
const MARGIN_MS: i64 = 1_000;

/// What two worlds agree on, and what not.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Windows with the same events.
    pub windows: usize,
    /// Rows that are the same to the bit.
    pub rows: usize,
    /// Counts per reason and size that are the same.
    pub counts: usize,
    /// Windows whose events depend on the real delay.
    pub undetermined: usize,
    /// What differs.
    pub differences: Vec<String>,
}

/// Compares a play with the simulator's run of the same scenario.
pub fn compare(live: &Played, sim: &Report) -> Comparison {
    let mut comparison = Comparison::default();
    let unsure = comparison.admission(live, &sim.reference);
    comparison.outcomes(live, sim, &unsure);
    // An event that only one world took moves the watermark of its stream, and with it what any row leaves with.
    let unsure: BTreeSet<&str> = unsure.keys().map(|key| &*key.stream_id).collect();
    let (real, simulated) = (log_rows(&live.evidence), log_rows(&sim.evidence));
    for (key, row) in &simulated {
        let Some(other) = real.get(key).filter(|_| !unsure.contains(&*key.stream_id)) else { continue };
        match difference(&plain(row), &plain(other)) {
            None => comparison.rows += 1,
            Some(what) => comparison.differences.push(format!("{}: {what}", name(key))),
        }
    }
    comparison
}

impl Comparison {
    /// Which windows hold which events; returns those of which it cannot be told, with how many events
    /// differ.
    fn admission(&mut self, live: &Played, simulated: &Reference) -> BTreeMap<RowKey, usize> {
        let real = &live.finding.reference;
        let margin_ms = live.sent.slip_ms + MARGIN_MS;
        let keys: BTreeSet<&RowKey> = real.windows.keys().chain(simulated.windows.keys()).collect();
        let mut unsure = BTreeMap::new();
        for key in keys.into_iter().filter(|key| !live.open.contains(*key)) {
            let of = |reference: &Reference| reference.windows.get(key).cloned().unwrap_or_default();
            let (real, simulated) = (of(real), of(simulated));
            let (in_real, in_simulated) = (identities(&real), identities(&simulated));
            if in_real == in_simulated {
                self.windows += 1;
                continue;
            }
            let only = |of: &[Identity], other: &[Identity]| -> Vec<Identity> {
                of.iter().filter(|event| !other.contains(event)).cloned().collect()
            };
            let (mut more, mut less) = (only(&in_real, &in_simulated), only(&in_simulated, &in_real));
            let close = |event: &Event| is_close(event, &live.scenario.settings, margin_ms);
            let twice = live.sent.again.contains(&key.stream_id) && real.iter().any(|e| e.seq.is_none());
            unsure.insert(key.clone(), more.len() + less.len());
            if twice || real.iter().chain(&simulated).any(close) {
                self.undetermined += 1;
            } else {
                more.truncate(4);
                less.truncate(4);
                let what = format!("{}: only in the real log {more:?}, only simulated {less:?}", name(key));
                self.differences.push(what);
            }
        }
        unsure
    }

    /// Consumed and refused, per size. Every repeated batch and every undetermined event may move a count.
    fn outcomes(&mut self, live: &Played, sim: &Report, unsure: &BTreeMap<RowKey, usize>) {
        let events = |evidence: &Evidence| -> usize {
            evidence.events.iter().map(|record| record.batch.as_ref().map_or(1, |batch| batch.len())).sum()
        };
        let repeated = events(&live.evidence).saturating_sub(events(&sim.evidence));
        if repeated > 0 && live.sent.again.is_empty() || events(&live.evidence) < events(&sim.evidence) {
            let (real, simulated) = (events(&live.evidence), events(&sim.evidence));
            self.differences.push(format!("{real} events in the real log, {simulated} in the simulated"));
        }
        let settings = &live.scenario.settings;
        for size_ms in settings.sizes_ms() {
            let differ =
                unsure.iter().filter(|(key, _)| key.span.size_ms == size_ms).map(|(_, events)| events);
            let differ = repeated + differ.sum::<usize>();
            let total = |reference: &Reference, reason: DropReason| -> u64 {
                let tallies = (0..settings.partitions).map(|p| reference.tally(p, size_ms, u64::MAX));
                tallies.map(|tally| tally.refused[reason.index()]).sum()
            };
            for reason in
                [DropReason::Malformed, DropReason::Misrouted, DropReason::Future, DropReason::TooOld]
            {
                let (real, simulated) =
                    (total(&live.finding.reference, reason), total(&sim.reference, reason));
                if real == simulated {
                    self.counts += 1;
                } else if real.abs_diff(simulated) > differ as u64 {
                    let what = format!("size {size_ms}: {real} events {reason}, {simulated} simulated");
                    self.differences.push(what);
                }
            }
        }
    }
}

/// What an event is, however it came: its time, seq and fields by name.
type Identity = (i64, Option<u64>, Vec<(String, u64)>);

fn identities(events: &[Event]) -> Vec<Identity> {
    let identity = |event: &Event| {
        let mut fields: Vec<_> = event.fields.iter().map(|(name, x)| (name.clone(), x.to_bits())).collect();
        fields.sort_unstable();
        (event.ts, event.seq, fields)
    };
    let mut all: Vec<Identity> = events.iter().map(identity).collect();
    all.sort_unstable();
    all
}

fn is_close(event: &Event, settings: &Settings, margin_ms: i64) -> bool {
    let near = |limit: i64| (event.ts - limit).abs() <= margin_ms;
    near(event.arrival + settings.max_future_ms) || near(event.arrival - settings.max_age_ms)
}

/// The rows that follow from the log alone.
fn log_rows(evidence: &Evidence) -> BTreeMap<RowKey, WindowRow> {
    let (mut rows, mut facts) = (BTreeMap::new(), BTreeSet::new());
    for published in &evidence.published {
        let Body::Row(row) = &published.body else { continue };
        let series = (row.stream_id.clone(), row.span.size_ms);
        match row.closed_by {
            ClosedBy::Watermark | ClosedBy::Crowded if !facts.contains(&series) => {
                rows.insert(published.key(), (**row).clone());
            }
            ClosedBy::Watermark | ClosedBy::Crowded => {}
            _ => {
                facts.insert(series);
            }
        }
    }
    rows
}

/// What differs first, simulated and real.
fn difference(simulated: &WindowRow, real: &WindowRow) -> Option<String> {
    if simulated == real {
        return None;
    }
    let fields = simulated.stats.iter().zip(&real.stats).find(|(a, b)| a != b);
    Some(match fields {
        Some((a, b)) if simulated.count == real.count => format!("simulated {a:?}, real {b:?}"),
        _ => {
            let brief = |row: &WindowRow| format!("{}, count {}, {:?}", row.closed_by, row.count, row.seqs);
            format!("simulated {}, real {}", brief(simulated), brief(real))
        }
    })
}

/// A row without what depends on real time.
fn plain(row: &WindowRow) -> WindowRow {
    let (max_ts, first_arrival, last_arrival, dropped) = (0, 0, 0, Vec::new());
    WindowRow { max_ts, first_arrival, last_arrival, dropped, ..row.clone() }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "as in the simulator: {} windows, {} rows to the bit, {} counts; {} windows undetermined, {} differences",
            self.windows,
            self.rows,
            self.counts,
            self.undetermined,
            self.differences.len()
        )
    }
}
