//! One span per commit of the sink, over the writes it settles: linked to the spans whose rows it stored; and within it
//! one over the store's part, from the first write to the commit that all of them precede.
//!
//! Owns: which inputs count. Never: a decision; the driver knows nothing of traces. A span per row.

use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, LogInput, RowAction, TxnResult};
use evenkeel_telemetry::{BatchSpans, store_span, stored};
use tracing::Span;

/// The spans of one worker.
#[derive(Debug)]
pub struct Spans {
    batches: BatchSpans,
    consumed: Topic,
    store_system: &'static str,
    /// Over the writes since the last commit, and how many they are.
    store: Option<(Span, u64)>,
}

impl Spans {
    /// `log_system` as in [`evenkeel_telemetry::topic_span`], `store_system` as in [`store_span`].
    pub fn new(on: bool, log_system: &'static str, store_system: &'static str, consumed: Topic) -> Self {
        let batches = BatchSpans::new(on, log_system, consumed.as_str());
        Self { batches, consumed, store_system, store: None }
    }

    /// The log said something.
    pub fn hear(&mut self, input: &LogInput<'_>) {
        let Self { batches, consumed, .. } = self;
        match input {
            LogInput::Records { topic, records, .. } if topic == consumed && batches.is_on() => {
                records.iter().for_each(|r| batches.record(r.headers.iter().map(|h| (h.name, h.value))));
            }
            LogInput::TxnDone { result, .. } => batches.done(matches!(result, TxnResult::Committed(_))),
            _ => {}
        }
    }

    /// The driver asks something of the store.
    pub fn write(&mut self, action: &RowAction) {
        let (RowAction::Write(_), Some(batch)) = (action, self.batches.open()) else { return };
        let (_, rows) = self.store.get_or_insert_with(|| (store_span(self.store_system, batch), 0));
        *rows += 1;
    }

    /// The driver asks something of the log: a commit ends a batch.
    pub fn send(&mut self, action: &LogAction) {
        if let LogAction::Commit(_) = action {
            if let Some((span, rows)) = self.store.take() {
                stored(&span, rows);
            }
            let _ = self.batches.commit(); // its records are for `dlq` only: nobody links to them
        }
    }
}
