//! One span per commit of the sink, over the writes it settles: linked to the spans whose rows it stored.
//!
//! Owns: which inputs count. Never: a decision; the driver knows nothing of traces.

use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, TxnResult};
use evenkeel_telemetry::BatchSpans;

/// The spans of one worker.
#[derive(Debug)]
pub struct Spans(BatchSpans, Topic);

impl Spans {
    /// `system` as in [`evenkeel_telemetry::topic_span`].
    pub fn new(on: bool, system: &'static str, topic: Topic) -> Self {
        Self(BatchSpans::new(on, system, topic.as_str()), topic)
    }

    /// The log said something.
    pub fn hear(&mut self, input: &LogInput<'_>) {
        let Self(batches, consumed) = self;
        match input {
            LogInput::Records { topic, records, .. } if topic == consumed && batches.is_on() => {
                records.iter().for_each(|r| batches.record(r.headers.iter().map(|h| (h.name, h.value))));
            }
            LogInput::TxnDone { result, .. } => batches.done(matches!(result, TxnResult::Committed(_))),
            _ => {}
        }
    }

    /// The driver asks something of the log: a commit ends a batch.
    pub fn send(&mut self, action: &LogAction) {
        if let LogAction::Commit(_) = action {
            let _ = self.0.commit(); // its records are for `dlq` only: nobody links to them
        }
    }
}
