//! Every metric of every service, declared in one place per service.
//!
//! Owns: the names. A dashboard, an alert rule and a document may name nothing that is not here. Never: a
//! stream id, a key or anything else a client chooses as a label.

pub mod coalescer;
pub mod gateway;
pub mod ingest;
pub mod process;
pub mod scorer;
pub mod sink;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_well_formed_and_never_labelled_by_stream() {
        let mut seen = BTreeSet::new();
        let lists = [
            super::coalescer::ALL,
            super::gateway::ALL,
            super::ingest::ALL,
            super::process::ALL,
            super::scorer::ALL,
            super::sink::ALL,
        ];
        for list in lists {
            for metric in list {
                assert!(seen.insert(metric.name), "{} is declared twice", metric.name);
                assert!(metric.name.starts_with("evenkeel.") || metric.name.starts_with("process."));
                assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'));
                assert!(metric.description.ends_with('.'), "{}", metric.name);
                assert!(!metric.unit.is_empty(), "{}", metric.name);
                for forbidden in ["stream_id", "stream", "device", "key", "client"] {
                    assert!(!metric.labels.contains(&forbidden), "{} has label {forbidden}", metric.name);
                }
            }
        }
    }
}
