//! What a core says, as records of the topics.

use evenkeel_codec::{encode_alert, encode_score};
use evenkeel_model::{Score, Topic};
use evenkeel_scoring::Output;
use evenkeel_seam::Outputs;

/// Appends an output of the core of `partition`.
pub fn encode(partition: u32, output: &Output<'_>, outputs: &mut Outputs) {
    match output {
        Output::Score(score) => push_score(partition, score, outputs),
        Output::Alert(alert) => {
            let key = Some(alert.stream_id.as_bytes());
            outputs.push(Topic::Alerts, partition, key, &[], |buf| encode_alert(alert, buf));
        }
    }
}

/// Appends a score.
pub fn push_score(partition: u32, score: &Score, outputs: &mut Outputs) {
    let key = Some(score.stream_id.as_bytes());
    outputs.push(Topic::Scores, partition, key, &[], |buf| encode_score(score, buf));
}
