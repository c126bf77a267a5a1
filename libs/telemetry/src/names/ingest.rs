//! Metrics of ingest.

use crate::declared::{BYTES, SECONDS};

crate::metrics! {
    counter EVENTS "evenkeel.ingest.events" "{event}" ["protocol", "outcome"]
        "Events received, by protocol and by what became of them (accepted or the reason).";
    counter REQUESTS "evenkeel.ingest.requests" "{request}" ["protocol", "status"]
        "Requests answered, by protocol and status class.";
    counter MESSAGES_REFUSED "evenkeel.ingest.messages.refused" "{message}" ["protocol", "reason"]
        "Whole MQTT messages refused for good (or at QoS 0), by the slug of the problem.";
    histogram ACK_DURATION "evenkeel.ingest.ack.duration" "s" ["protocol"] (SECONDS)
        "From the last byte of a request to the log's acknowledgement of all of it.";
    gauge FLUSH_MODE "evenkeel.ingest.flush.mode" "{mode}" ["mode"]
        "1 for the flush mode a lane is in, 0 for the others; the number of lanes where there are several.";
    histogram FLUSH_SIZE "evenkeel.ingest.flush.size" "By" [] (BYTES)
        "Bytes sent to the log in one flush.";
    histogram FLUSH_INTERVAL "evenkeel.ingest.flush.interval" "s" [] (SECONDS)
        "Time between two flushes of one lane.";
    gauge QUEUE_DEPTH "evenkeel.ingest.queue.depth" "By" []
        "Bytes accepted and not yet acknowledged by the log.";
    gauge QUEUE_LIMIT "evenkeel.ingest.queue.limit" "By" []
        "The byte budget of everything in flight; beyond it requests are answered 503.";
    gauge CONNECTIONS "evenkeel.ingest.connections" "{connection}" ["protocol"]
        "Open client connections; for the protocol bridge 1 while the subscription at the broker stands, else 0.";
    gauge LIMITED_DEVICES "evenkeel.ingest.limiter.entries" "{entry}" []
        "Devices in the bounded table of rate limits.";
    gauge LIMITED_TENANTS "evenkeel.ingest.limiter.tenants" "{entry}" []
        "Tenants in the bounded tables of rates and bytes in flight.";
    counter TENANT_BUSY "evenkeel.ingest.tenant.refused" "{request}" []
        "Requests refused because their tenant had too many bytes in flight.";
    gauge CLOCK_OFFSET "evenkeel.ingest.clock.offset" "s" []
        "Own clock minus the log's clock; beyond clock-slack this instance is not ready.";
    counter CREDENTIALS_REFUSED "evenkeel.ingest.credentials.refused" "{request}" ["reason"]
        "Requests and connections without a good credential, by what was wrong with it.";
    counter CONNECTIONS_CUT "evenkeel.ingest.connections.cut" "{connection}" ["reason"]
        "Connections ended from this side: handshakes, slow or silent clients, credentials that lapsed.";
    gauge ACCEPT_RATE "evenkeel.ingest.accept.rate" "{connection}" []
        "Connections that may be accepted per second now; it grows after the start and falls under pressure.";
    counter RELOADS "evenkeel.ingest.reloads" "{reload}" ["what", "outcome"]
        "Configuration, credentials, keys and certificates that were read again because they changed or were due, by whether they could be taken.";
    gauge RECORDINGS "evenkeel.ingest.recordings" "{recording}" []
        "Recordings on disk.";
    gauge RECORDINGS_LIMIT "evenkeel.ingest.recordings.limit" "{recording}" []
        "Recordings that may be on disk; past it a new one is answered 507.";
    gauge RECORDINGS_DISK "evenkeel.ingest.recordings.disk" "By" []
        "What recordings and their journals take on disk.";
    gauge RECORDINGS_DISK_LIMIT "evenkeel.ingest.recordings.disk.limit" "By" []
        "What they may take; past it uploads are answered 507.";
    gauge RECORDINGS_OPEN "evenkeel.ingest.recordings.open" "{recording}" []
        "Recordings with open files.";
    gauge RECORDINGS_OPEN_LIMIT "evenkeel.ingest.recordings.open.limit" "{recording}" []
        "Recordings that may have open files; past it, when all are in use, requests are answered 503.";
    gauge RECORDINGS_MEMORY "evenkeel.ingest.recordings.memory" "By" []
        "What uploads and downloads of recordings may hold in memory now.";
    gauge RECORDINGS_MEMORY_LIMIT "evenkeel.ingest.recordings.memory.limit" "By" []
        "What all of them together may hold; past it requests are answered 503.";
    counter RECORDINGS_BYTES "evenkeel.ingest.recordings.bytes" "By" ["direction"]
        "Bytes of recordings that were stored (in) and read (out).";
    counter RECORDINGS_REFUSED "evenkeel.ingest.recordings.refused" "{request}" ["reason"]
        "Requests about recordings that met a limit: disk, count, open, transfers, ingests.";
    gauge RECORDINGS_INGESTS "evenkeel.ingest.recordings.ingests" "{recording}" []
        "Recordings on their way into the log.";
    counter RECORDINGS_EXPIRED "evenkeel.ingest.recordings.expired" "{recording}" []
        "Recordings that were removed because their retention was over.";
}
