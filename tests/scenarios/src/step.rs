//! Everything that can happen in a scenario: one closed enum, the same for the simulated world and the
//! real one. A scenario is a plain list of steps, so a failing one can be printed, shrunk and kept.

use crate::settings::Settings;
use evenkeel_model::EventBatch;
use std::collections::BTreeMap;

/// Start of every scenario, ms since the epoch. Real times, so that nothing in the product is tested only
/// near zero.
pub const START_MS: i64 = 1_700_000_000_000;

/// One run: settings and what happens, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name: a name of the catalogue, or the seed.
    pub name: String,
    /// What the services are configured with.
    pub settings: Settings,
    /// When it begins, ms since the epoch; event times are told relative to this.
    pub start_ms: i64,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A service that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// A coalescer worker.
    Coalescer,
    /// A sink.
    Sink,
}

/// What becomes of a write whose answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It was applied.
    Applied,
    /// It was not.
    Lost,
    /// It lands later, after younger writes.
    Delayed,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A device's batch reaches the log. Ingest's clock set `arrival_ms` when it accepted it.
    Send {
        /// The events.
        batch: EventBatch,
        /// How long ago ingest accepted them, ms.
        held_ms: i64,
    },
    /// A device reconnects and sends its newest events again, as one batch.
    Replay {
        /// The device.
        stream_id: String,
        /// How many at most.
        events_max: usize,
    },
    /// A foreign producer appends bytes that are no batch.
    Garble {
        /// Its key.
        stream_id: String,
    },
    /// A foreign producer with another partitioner appends a good batch to the next partition (needs two).
    Misroute(EventBatch),
    /// From here on ingest's clock is off by this much.
    Skew {
        /// How far it is ahead (negative: behind), ms.
        by_ms: i64,
    },
    /// From here on a service has so many workers; those above leave in good order.
    Rebalance {
        /// Which service.
        service: Service,
        /// At least 1.
        workers: usize,
    },
    /// A service dies without a word (kill -9) just before its n-th action from now is carried out. It
    /// comes back by `Restart`, or by itself at the end of the steps.
    Kill {
        /// Which service.
        service: Service,
        /// Which of its workers.
        worker: usize,
        /// 0 = at once, n = n actions later.
        after_actions: u32,
    },
    /// A killed worker starts again, under the same name.
    Restart {
        /// Which service.
        service: Service,
        /// Which of its workers.
        worker: usize,
    },
    /// A worker stands still and then goes on as if nothing had happened (a zombie, if it takes long).
    Freeze {
        /// Which service.
        service: Service,
        /// Which of its workers.
        worker: usize,
        /// For how long, ms.
        for_ms: i64,
    },
    /// The log is away: nothing is fetched, appended or committed.
    BrokerDown {
        /// For how long, ms.
        for_ms: i64,
    },
    /// The next transaction to end is aborted by the log.
    AbortNext,
    /// From here on commit markers reach the topics so much later than the answer.
    MarkerLag {
        /// `windows`, ms.
        windows_ms: i64,
        /// `marks`, ms.
        marks_ms: i64,
        /// The committed offsets, ms.
        offsets_ms: i64,
    },
    /// From here on a fetch brings at most so many records.
    FetchMax {
        /// Records; 0 stands for nothing at all (a slow link).
        records: usize,
    },
    /// Writes to the store take so much longer.
    StoreSlow {
        /// For how long, ms.
        for_ms: i64,
        /// Delay of each write, ms.
        delay_ms: i64,
    },
    /// The store refuses everything as unavailable.
    StoreDown {
        /// For how long, ms.
        for_ms: i64,
    },
    /// The n-th write to the store from now has an unknown outcome; its sink may die of it.
    StoreUnknown {
        /// Which write, from 0.
        write: u32,
        /// What becomes of it.
        outcome: Unknown,
        /// Whether the sink dies at that moment.
        kills: bool,
    },
    /// The broker compacts `marks`.
    Compact,
    /// Time passes.
    Advance {
        /// How much, ms.
        ms: i64,
    },
}

impl Step {
    /// Whether the step injects a fault (as opposed to sending data or letting time pass).
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Send { .. }
                | Self::Replay { .. }
                | Self::Advance { .. }
                | Self::Restart { .. }
                | Self::Compact
        )
    }
}

/// Collects steps with their times and puts them in order.
#[derive(Debug, Default)]
pub struct Timeline {
    steps: Vec<(i64, Step)>,
}

impl Timeline {
    /// Something happens `at_ms` after the start.
    pub fn at(&mut self, at_ms: i64, step: Step) {
        self.steps.push((at_ms.max(0), step));
    }

    /// The time of the last step, ms after the start.
    pub fn end_ms(&self) -> i64 {
        self.steps.iter().map(|(at, _)| *at).max().unwrap_or(0)
    }

    /// The steps in order of time (order of insertion within one ms), with `Advance` between.
    pub fn into_steps(mut self) -> Vec<Step> {
        self.steps.sort_by_key(|(at, _)| *at);
        let (mut now, mut steps) = (0, Vec::with_capacity(self.steps.len() * 2));
        for (at, step) in self.steps {
            if at > now {
                steps.push(Step::Advance { ms: at - now });
                now = at;
            }
            steps.push(step);
        }
        steps
    }
}

/// The devices and ingest's clock, as every world plays them: turns steps into batches for the log.
#[derive(Debug, Default)]
pub struct Devices {
    sent: BTreeMap<String, EventBatch>,
    skew_ms: i64,
}

impl Devices {
    /// Ingest's clock.
    pub fn ingest_clock(&self, now_ms: i64) -> i64 {
        now_ms + self.skew_ms
    }

    /// The batch that a step puts on the log now, if any.
    pub fn batch(&mut self, now_ms: i64, step: &Step) -> Option<EventBatch> {
        match step {
            Step::Skew { by_ms } => {
                self.skew_ms = *by_ms;
                None
            }
            Step::Send { batch, held_ms } => {
                let sent = self.sent.entry(batch.stream_id.clone()).or_insert_with(|| EventBatch {
                    stream_id: batch.stream_id.clone(),
                    ..EventBatch::default()
                });
                if sent.is_empty() || sent.has_seq() == batch.has_seq() {
                    (0..batch.len()).for_each(|row| sent.push_from(batch, row));
                }
                Some(EventBatch { arrival_ms: self.ingest_clock(now_ms) - held_ms, ..batch.clone() })
            }
            Step::Misroute(batch) => {
                Some(EventBatch { arrival_ms: self.ingest_clock(now_ms), ..batch.clone() })
            }
            Step::Replay { stream_id, events_max } => {
                let sent = self.sent.get(stream_id)?;
                let mut batch = EventBatch {
                    stream_id: stream_id.clone(),
                    arrival_ms: self.ingest_clock(now_ms),
                    ..EventBatch::default()
                };
                (sent.len().saturating_sub(*events_max)..sent.len())
                    .for_each(|row| batch.push_from(sent, row));
                (!batch.is_empty()).then_some(batch)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ts: &[i64]) -> EventBatch {
        EventBatch {
            stream_id: "s".into(),
            ts: ts.to_vec(),
            seq: ts.iter().map(|&t| t as u64).collect(),
            ..EventBatch::default()
        }
    }

    #[test]
    fn a_timeline_keeps_time_and_order() {
        let mut line = Timeline::default();
        line.at(50, Step::AbortNext);
        line.at(10, Step::Rebalance { service: Service::Sink, workers: 2 });
        line.at(10, Step::Compact);
        let want = [
            Step::Advance { ms: 10 },
            Step::Rebalance { service: Service::Sink, workers: 2 },
            Step::Compact,
            Step::Advance { ms: 40 },
            Step::AbortNext,
        ];
        assert_eq!(line.into_steps(), want);
    }

    #[test]
    fn a_replay_repeats_the_newest_events_under_a_new_arrival() {
        let mut devices = Devices::default();
        devices.batch(100, &Step::Send { batch: batch(&[1, 2, 3]), held_ms: 0 });
        devices.batch(0, &Step::Skew { by_ms: -7 });
        let again = devices.batch(200, &Step::Replay { stream_id: "s".into(), events_max: 2 }).unwrap();
        assert_eq!((again.ts.as_slice(), again.arrival_ms), (&[2, 3][..], 193));
        assert_eq!(devices.batch(0, &Step::Replay { stream_id: "x".into(), events_max: 2 }), None);
    }
}
