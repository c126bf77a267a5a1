//! Metrics of the sink.

use crate::declared::{AGE_SECONDS, SECONDS};

crate::metrics! {
    counter ROWS "evenkeel.sink.rows" "{row}" ["outcome"]
        "Row writes, by outcome.";
    counter SCORES "evenkeel.sink.scores" "{score}" []
        "Scores written.";
    gauge INFLIGHT "evenkeel.sink.inflight" "{request}" ["topic"]
        "Requests to the store that have no outcome yet.";
    gauge LIMIT "evenkeel.sink.limit" "{request}" ["topic"]
        "Requests that may be in flight now.";
    histogram ROW_AGE "evenkeel.sink.row.age" "s" ["size"] (AGE_SECONDS)
        "From a window's end to its row being durable.";
    histogram WRITE_DURATION "evenkeel.sink.write.duration" "s" [] (SECONDS)
        "From submitting a write to its being durable.";
    counter LATE_MERGED "evenkeel.sink.late.merged" "{event}" []
        "Late events merged into stored rows.";
    counter LATE_SKIPPED "evenkeel.sink.late.skipped" "{event}" ["reason"]
        "Late events a stored row held already or could not take, by reason.";
    counter EXPIRED "evenkeel.sink.expired" "{row}" []
        "Rows not written because their time to live had passed.";
    counter RETRIES "evenkeel.sink.retries" "{request}" ["class"]
        "Requests that are sent again because the store was away or said nothing.";
    gauge PAUSED "evenkeel.sink.partitions.paused" "{partition}" ["topic"]
        "Partitions paused because the store is away or slow.";
    gauge CONSUMER_LAG "evenkeel.sink.consumer.lag" "{record}" ["topic"]
        "Records in the log that were not consumed yet, sum over the partitions held, as far as fetches have told; of paused partitions what there was.";
}
