//! Metrics of the gateway.

use crate::declared::SECONDS;

crate::metrics! {
    gauge CONNECTIONS "evenkeel.gateway.connections" "{connection}" ["rate_step"]
        "Open connections, by the step of the ladder of slower rates they are on; 0 is full rate.";
    gauge TOPICS "evenkeel.gateway.topics.active" "{topic}" []
        "Topics that somebody looks at, with those that linger.";
    gauge TOPICS_LIMIT "evenkeel.gateway.topics.limit" "{topic}" []
        "Most topics; past it a subscription is refused as overloaded.";
    gauge REFS "evenkeel.gateway.refs" "{subscription}" []
        "Subscriptions over all connections.";
    gauge WATCHED "evenkeel.gateway.streams.watched" "{stream}" []
        "Streams that frames are asked for.";
    gauge CACHED "evenkeel.gateway.cached" "By" []
        "Encoded fragments that are kept to be shared.";
    counter FRAMES "evenkeel.gateway.frames" "{frame}" []
        "Fragments handed to connections.";
    counter FRAME_BYTES "evenkeel.gateway.frame.bytes" "By" []
        "Bytes of fragments handed to connections.";
    counter ENCODED "evenkeel.gateway.frames.encoded" "{frame}" []
        "Fragments that were encoded; the others were shared.";
    counter CONFLATED "evenkeel.gateway.frames.conflated" "{frame}" []
        "Versions of a topic that a subscription was never sent, because a newer one replaced them.";
    counter MISSED "evenkeel.gateway.ticks.missed" "{tick}" []
        "Paint ticks on which a connection could not take what there was.";
    counter FRAMES_IN "evenkeel.gateway.frames.received" "{frame}" []
        "Frames of the log.";
    counter FRAMES_IGNORED "evenkeel.gateway.frames.ignored" "{frame}" []
        "Frames of the log of an owner that was replaced, or older than what there is.";
    counter SUBSCRIBES_REFUSED "evenkeel.gateway.subscribes.refused" "{subscription}" []
        "Subscriptions that the server ended at once.";
    counter QUESTIONS_DROPPED "evenkeel.gateway.history.dropped" "{question}" []
        "Questions for the store that found no room; their charts begin empty.";
    counter CLOSES "evenkeel.gateway.closes" "{connection}" ["reason"]
        "Connections that the server closed, by why.";
    counter CREDENTIALS_REFUSED "evenkeel.gateway.credentials.refused" "{request}" ["reason"]
        "Connections and requests without a good credential, by what was wrong with it.";
    counter HANDSHAKES_FAILED "evenkeel.gateway.handshakes.failed" "{connection}" ["reason"]
        "TLS handshakes that came to nothing: slow or failed.";
    counter RELOADS "evenkeel.gateway.reloads" "{reload}" ["what", "outcome"]
        "Credentials, keys and certificates that were read again because they changed or were due, by whether they could be taken.";
    counter UNKNOWN_MESSAGES "evenkeel.gateway.messages.unknown" "{message}" []
        "Messages of a type that this version does not know.";
    histogram FRAME_AGE "evenkeel.gateway.frame.age" "s" [] (SECONDS)
        "From a frame's arrival here to its being given to a connection.";
    histogram TICK_LATENESS "evenkeel.gateway.tick.lateness" "s" [] (SECONDS)
        "How late a group of connections was painted.";
    counter TICKS_MERGED "evenkeel.gateway.ticks.merged" "{tick}" []
        "Groups that were painted once though they were due more often.";
    counter SOURCE_ERRORS "evenkeel.gateway.source.errors" "{error}" []
        "Times the log or the store could not be read or written; it is tried again.";
}
