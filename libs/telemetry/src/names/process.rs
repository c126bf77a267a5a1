//! Metrics every process has, whatever runs in it.

crate::metrics! {
    gauge BUILD_INFO "evenkeel.build.info" "{build}" ["version", "commit", "service"]
        "Always 1; the labels say which build this is.";
    gauge MEMORY_RESIDENT "process.memory.usage" "By" []
        "Resident set of the process.";
    gauge MEMORY_LIMIT "evenkeel.process.memory.limit" "By" []
        "Memory the process may use: the control group's limit or the machine's memory.";
    gauge READY "evenkeel.process.ready" "{condition}" ["condition"]
        "1 where a readiness condition holds, else 0.";
    counter LOG_SUPPRESSED "evenkeel.log.suppressed" "{line}" ["event"]
        "Log lines left out by the rate limit, by event.";
}
