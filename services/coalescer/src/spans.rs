//! One span per commit: linked to the traces of the records it consumed, named in the headers of the rows it sends.
//!
//! Owns: which inputs count as consumed (not what a recovery reads again). Never: a decision; the driver knows
//! nothing of traces.

use evenkeel_model::Topic;
use evenkeel_seam::{Header, LogAction, LogInput, TxnResult};
use evenkeel_telemetry::BatchSpans;
use std::collections::BTreeSet;

/// The spans of one worker.
#[derive(Debug)]
pub struct Spans {
    batches: BatchSpans,
    /// Partitions that flow: what comes of others is a recovery's.
    flowing: BTreeSet<u32>,
}

impl Spans {
    /// `system` as in [`evenkeel_telemetry::topic_span`].
    pub fn new(on: bool, system: &'static str) -> Self {
        Self { batches: BatchSpans::new(on, system, "events"), flowing: BTreeSet::new() }
    }

    /// The log said something.
    pub fn hear(&mut self, input: &LogInput<'_>) {
        if !self.batches.is_on() {
            return;
        }
        match input {
            LogInput::Assigned { partition, .. } => {
                self.flowing.remove(partition);
            }
            LogInput::Records { partition, topic: Topic::Events, records, .. }
                if self.flowing.contains(partition) =>
            {
                records.iter().for_each(|r| self.batches.record(r.headers.iter().map(|h| (h.name, h.value))));
            }
            LogInput::TxnDone { result, .. } => {
                self.batches.done(matches!(result, TxnResult::Committed(_)));
            }
            _ => {}
        }
    }

    /// The driver asks something of the log: a commit's rows get the context of its span.
    pub fn send(&mut self, action: &mut LogAction) {
        if !self.batches.is_on() {
            return;
        }
        match action {
            LogAction::Start { partition, .. } => {
                self.flowing.insert(*partition);
            }
            LogAction::Commit(commit) => {
                let Some(context) = self.batches.commit() else { return };
                let headers: Vec<Header<'_>> =
                    context.headers().map(|(name, value)| Header { name, value }).collect();
                commit.outputs.head(Topic::Windows, &headers);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_seam::{Commit, Outputs, RecordRef};

    /// Without a subscriber there is no span; what is checked is that nothing else happens either.
    #[test]
    fn without_tracing_a_commit_is_as_it_was() {
        let mut spans = Spans::new(false, "kafka");
        let value = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let headers = [Header { name: "traceparent", value }];
        let record = RecordRef { headers: &headers, ..RecordRef::default() };
        spans.send(&mut LogAction::Start { partition: 0, from: None });
        spans.hear(&LogInput::Records {
            partition: 0,
            topic: Topic::Events,
            records: &[record],
            next: 1,
            at_end: true,
        });
        let mut outputs = Outputs::new();
        outputs.push(Topic::Windows, 0, None, &[], |_| {});
        let mut action = LogAction::Commit(Commit { outputs, positions: vec![] });
        spans.send(&mut action);
        let LogAction::Commit(commit) = action else { panic!() };
        assert_eq!(commit.outputs.headers(&commit.outputs.records()[0]).count(), 0);
    }
}
