//! How long the log takes: a recovery's steps, a transaction. Clocks are the loop's, not the driver's.

use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, TxnResult};
use evenkeel_telemetry::names::coalescer as names;
use evenkeel_telemetry::{Counter, Emitter, Histogram};
use std::collections::BTreeMap;
use std::time::Instant;

/// What was asked of the log and has no answer yet. Bound: one read per partition held, one transaction.
#[derive(Debug)]
pub(crate) struct Timings {
    emitter: Emitter,
    commits: Histogram,
    committed: Counter,
    reads: BTreeMap<(u32, Topic), Instant>,
    commit: Option<Instant>,
}

impl Timings {
    pub(crate) fn new(emitter: Emitter) -> Self {
        let commits = emitter.metrics().histogram(&names::COMMIT_DURATION, []);
        let committed = emitter.metrics().counter(&names::COMMITS, ["committed"]);
        Self { emitter, commits, committed, reads: BTreeMap::new(), commit: None }
    }

    /// Something is asked.
    pub(crate) fn send(&mut self, action: &LogAction) {
        match action {
            LogAction::Read { partition, topic, .. } => {
                self.reads.insert((*partition, *topic), Instant::now());
            }
            LogAction::Commit(_) => self.commit = Some(Instant::now()),
            LogAction::Release { partition } => self.reads.retain(|(of, _), _| of != partition),
            _ => {}
        }
    }

    /// Something is answered.
    pub(crate) fn hear(&mut self, input: &LogInput<'_>) {
        match input {
            LogInput::ReadDone { partition, topic, .. } => {
                if let Some(since) = self.reads.remove(&(*partition, *topic)) {
                    let step = [topic.as_str()];
                    let steps = self.emitter.metrics().histogram(&names::RECOVERY_DURATION, step);
                    steps.record_duration(since.elapsed());
                }
            }
            LogInput::TxnDone { result, .. } => {
                if let Some(since) = self.commit.take() {
                    self.commits.record_duration(since.elapsed());
                }
                // What was aborted is counted with its event.
                self.committed.add(u64::from(matches!(result, TxnResult::Committed(_))));
            }
            LogInput::Assigned { partition, .. } => self.reads.retain(|(of, _), _| of != partition),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_seam::{Commit, Outputs};
    use evenkeel_telemetry::Metrics;

    #[test]
    fn each_answer_is_counted_once_and_what_left_is_forgotten() {
        let metrics = Metrics::new().unwrap();
        let mut timings = Timings::new(Emitter::new(metrics.clone()));
        let read =
            |partition, topic| LogAction::Read { partition, topic, from: 0, to: 9, committed_only: true };
        let done = |partition, topic| LogInput::ReadDone { partition, topic, log_start: 0, next: 9 };
        for (partition, topic) in
            [(0, Topic::Marks), (0, Topic::Windows), (1, Topic::Marks), (2, Topic::Marks)]
        {
            timings.send(&read(partition, topic));
        }
        timings.send(&LogAction::Release { partition: 1 });
        timings.hear(&LogInput::Assigned { partition: 2, partitions: 3, committed: None });
        for partition in [0, 0, 1, 2] {
            timings.hear(&done(partition, Topic::Marks));
        }
        timings.hear(&done(0, Topic::Windows));
        timings.send(&LogAction::Commit(Commit::default()));
        let txn = || LogInput::TxnDone { result: TxnResult::Committed(Vec::new()), outputs: Outputs::new() };
        timings.hear(&txn());
        timings.hear(&txn());
        let text = metrics.render().unwrap();
        for line in [
            "evenkeel_coalescer_recovery_duration_seconds_count{step=\"marks\"} 1",
            "evenkeel_coalescer_recovery_duration_seconds_count{step=\"windows\"} 1",
            "evenkeel_coalescer_commit_duration_seconds_count 1",
            "evenkeel_coalescer_commits_total{outcome=\"committed\"} 2",
        ] {
            assert!(text.lines().any(|of| of == line), "{line} in\n{text}");
        }
    }
}
