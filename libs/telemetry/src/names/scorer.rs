//! Metrics of the scorer.

use crate::declared::{AGE_SECONDS, SECONDS};

crate::metrics! {
    counter ROWS "evenkeel.scorer.rows" "{row}" ["outcome"]
        "Rows, or their events where a model scores these, by outcome: scored, dropped, error, without_events; and records passed over: late, refused.";
    gauge QUEUE_DEPTH "evenkeel.scorer.queue.depth" "{row}" []
        "Rows that wait for the model.";
    gauge QUEUE_LIMIT "evenkeel.scorer.queue.limit" "{row}" []
        "Rows that may wait for the model.";
    histogram QUEUE_DURATION "evenkeel.scorer.queue.duration" "s" [] (SECONDS)
        "From a row being read to its score.";
    counter BATCHES "evenkeel.scorer.batches" "{batch}" []
        "Calls of the model; rows of different streams are scored together.";
    histogram LATENCY "evenkeel.scorer.latency" "s" [] (AGE_SECONDS)
        "From the arrival of the last event of a window at ingest to its score being durable.";
    counter ALERTS "evenkeel.scorer.alerts" "{alert}" ["action", "severity"]
        "Alerts raised, cleared, and said again.";
    gauge ALERTS_STANDING "evenkeel.scorer.alerts.standing" "{alert}" []
        "Alerts that stand.";
    gauge SERIES "evenkeel.scorer.series" "{series}" []
        "Streams times window sizes that are remembered.";
    gauge SERIES_LIMIT "evenkeel.scorer.series.limit" "{series}" []
        "How many may be, over the partitions held.";
    gauge DRIFT "evenkeel.scorer.drift" "{index}" ["feature"]
        "Population stability index of a feature against the training profile; of several workers the largest.";
    counter RELOADS "evenkeel.scorer.reloads" "{reload}" ["outcome"]
        "New versions of a model, by outcome: loaded, refused.";
    counter COMMITS "evenkeel.scorer.commits" "{commit}" ["outcome"]
        "Transactions, by outcome: committed, aborted.";
    gauge PARTITIONS "evenkeel.scorer.partitions" "{partition}" ["state"]
        "Partitions held, by state: live, recovering.";
    gauge CONSUMER_LAG "evenkeel.scorer.consumer.lag" "{record}" ["topic"]
        "Records in the log that were not consumed yet, sum over the partitions held, as far as fetches have told.";
}
