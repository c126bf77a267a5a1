//! Metrics of the coalescer.

use crate::declared::{AGE_SECONDS, COUNTS, SECONDS, SKEW_SECONDS};

crate::metrics! {
    gauge STREAMS_ACTIVE "evenkeel.coalescer.streams.active" "{stream}" []
        "Streams that hold state.";
    gauge MARKS "evenkeel.coalescer.marks" "{mark}" []
        "Streams of which only the marks are kept.";
    counter EVENTS "evenkeel.coalescer.events" "{event}" ["outcome", "size"]
        "Events consumed, by window size and by what became of them (counted or the reason).";
    gauge LEDGER_IMBALANCE "evenkeel.coalescer.ledger.imbalance" "{event}" ["size"]
        "Consumed minus everything accounted for (EK-SUM-1). Anything but 0 is a defect.";
    gauge LOST "evenkeel.coalescer.lost" "{event}" []
        "Events gone from the log before they were read again at a recovery.";
    gauge MEMORY_USED "evenkeel.coalescer.memory.used" "By" ["component"]
        "Accounted bytes of state, by component.";
    gauge MEMORY_PLANNED "evenkeel.coalescer.memory.planned" "By" []
        "What `evenkeel plan` says of the streams held now, of the default class: steady state.";
    gauge MEMORY_BUDGET "evenkeel.coalescer.memory.budget" "By" []
        "Bytes of state the process may hold.";
    histogram TICK_DURATION "evenkeel.coalescer.tick.duration" "s" [] (SECONDS)
        "Time a tick took, from its start to its transaction being handed over.";
    histogram TICK_JITTER "evenkeel.coalescer.tick.jitter" "s" [] (SECONDS)
        "How late a tick started against its absolute schedule.";
    counter TICK_MERGED "evenkeel.coalescer.tick.merged" "{tick}" []
        "Ticks that were overrun and merged into the next.";
    counter WINDOWS_CLOSED "evenkeel.coalescer.windows.closed" "{window}" ["closed_by", "size"]
        "Windows closed, by what closed them.";
    gauge WINDOWS_OPEN "evenkeel.coalescer.windows.open" "{window}" []
        "Windows open now.";
    gauge WINDOWS_PENDING "evenkeel.coalescer.windows.pending" "{window}" []
        "Closed windows whose row has not left yet, about.";
    histogram ROWS_PER_TICK "evenkeel.coalescer.rows.per_tick" "{row}" [] (COUNTS)
        "Rows that left in one tick.";
    counter LATE_RECORDS "evenkeel.coalescer.late.records" "{record}" []
        "Late records sent.";
    gauge WATERMARK_LAG "evenkeel.coalescer.watermark.lag" "s" []
        "Live clock minus the end of the oldest window whose row has not left: how far behind the slowest stream is. Of several workers the largest.";
    histogram SKEW "evenkeel.coalescer.skew" "s" [] (SKEW_SECONDS)
        "Arrival minus event time of the newest event, a sample per worker and tick: transport delay plus clock error.";
    histogram RECOVERY_DURATION "evenkeel.coalescer.recovery.duration" "s" ["step"] (AGE_SECONDS)
        "Time one step of a partition's recovery took: reading back marks, windows or events.";
    counter COMMITS "evenkeel.coalescer.commits" "{transaction}" ["outcome"]
        "Transactions, by outcome.";
    histogram COMMIT_DURATION "evenkeel.coalescer.commit.duration" "s" [] (SECONDS)
        "From handing a transaction over to its outcome.";
    gauge PARTITIONS "evenkeel.coalescer.partitions" "{partition}" ["state"]
        "Partitions held, by state.";
    counter FRAMES "evenkeel.coalescer.frames" "{frame}" ["outcome"]
        "Live frames, one per gateway: made, and those of them not known to have reached the log (dropped).";
    gauge WATCHED "evenkeel.coalescer.watched" "{stream}" []
        "Streams that gateways look at.";
    gauge WATCHED_LIMIT "evenkeel.coalescer.watched.limit" "{stream}" []
        "Streams that gateways may look at in the partitions held.";
    counter INTEREST_REFUSED "evenkeel.coalescer.interest.refused" "{record}" []
        "Records of interest that found a full table or could not be read.";
    counter HISTORY_DROPPED "evenkeel.coalescer.history.dropped" "{point}" []
        "Points for live frames that a bound took; no aggregate lacks them.";
    gauge CONSUMER_LAG "evenkeel.coalescer.consumer.lag" "{record}" ["topic"]
        "Records in the log that were not consumed yet, sum over the partitions held, as far as fetches have told.";
}
