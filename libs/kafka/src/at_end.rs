//! "This is the end of the log for now": a fetch was answered and nothing more was there.
//!
//! Owns: the judgement, per partition. Never: the wall clock; without answered fetches it says nothing, so
//! an outage of the broker is not taken for silence of the devices.
//!
//! Why not librdkafka's end-of-partition messages: they come once, not for each answered fetch, and taken
//! through the batch call they move the consumed position one too far, so that the pause of the next
//! rebalance skips a record. Two sources instead: the high watermark right after records were handed over,
//! and the client's statistics, which count the fetch requests of each broker (a consumer has one at a time
//! per broker, so one more sent = the last one answered, unless the connection broke in between).

use serde::Deserialize;
use std::collections::HashMap;

/// The part of librdkafka's statistics that matters here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Stats {
    #[serde(default)]
    brokers: HashMap<String, BrokerStats>,
    #[serde(default)]
    topics: HashMap<String, TopicStats>,
}

#[derive(Debug, Deserialize)]
struct BrokerStats {
    nodeid: i32,
    #[serde(default)]
    req: HashMap<String, i64>,
    #[serde(default)]
    disconnects: i64,
}

#[derive(Debug, Deserialize)]
struct TopicStats {
    #[serde(default)]
    partitions: HashMap<String, PartitionStats>,
}

#[derive(Debug, Deserialize)]
struct PartitionStats {
    broker: i32,
    fetchq_cnt: i64,
    next_offset: i64,
    app_offset: i64,
    hi_offset: i64,
    ls_offset: i64,
}

/// What the statistics say about one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance {
    /// The broker that is asked.
    broker: i32,
    /// Fetch requests sent to it.
    fetches: i64,
    /// Connections to it that broke.
    disconnects: i64,
    /// Where the next fetch begins.
    pub next: Option<u64>,
    /// Where read_committed readers end.
    stable_end: Option<u64>,
    /// Nothing that was fetched waits to be handed over.
    drained: bool,
}

impl Glance {
    /// Nothing that was fetched waits to be handed over.
    pub fn drained(&self) -> bool {
        self.drained
    }

    /// Fetches answered since an earlier glance; `None` = over another connection, so nobody knows.
    pub fn answered_since(&self, earlier: &Self) -> Option<i64> {
        let same = (self.broker, self.disconnects) == (earlier.broker, earlier.disconnects);
        same.then_some(self.fetches - earlier.fetches)
    }
}

impl Stats {
    /// The glance at one partition, if its broker is known.
    pub fn glance(&self, topic: &str, partition: u32) -> Option<Glance> {
        let found = self.topics.get(topic)?.partitions.get(&partition.to_string())?;
        let broker = self.brokers.values().find(|b| b.nodeid == found.broker && b.nodeid >= 0)?;
        let end = if found.ls_offset >= 0 { found.ls_offset } else { found.hi_offset };
        Some(Glance {
            broker: found.broker,
            fetches: broker.req.get("Fetch").copied().unwrap_or(0),
            disconnects: broker.disconnects,
            next: u64::try_from(found.next_offset).ok(),
            stable_end: u64::try_from(end).ok(),
            drained: found.fetchq_cnt == 0
                || (found.app_offset >= 0 && found.app_offset >= found.next_offset),
        })
    }
}

/// Watches one partition's end.
#[derive(Debug, Default)]
pub(crate) struct EndWatch {
    /// Records were handed over since the start: the client's watermark is of this run.
    fetched: bool,
    /// The end was told and nothing came since.
    at_end: bool,
    base: Option<Glance>,
    /// The next fetch was to begin past what was taken, here, when the end was confirmed last.
    beyond: Option<u64>,
}

impl EndWatch {
    /// Records were handed over.
    pub fn records(&mut self) {
        self.fetched = true;
        self.at_end = false;
        self.beyond = None;
    }

    /// Whether records were handed over since the start.
    pub fn has_records(&self) -> bool {
        self.fetched
    }

    /// Right after records: whether the position has reached the high watermark, told for the first time.
    pub fn reached(&mut self, position: u64, high: u64) -> bool {
        let told = self.fetched && !self.at_end && position >= high;
        self.at_end |= told;
        told
    }

    /// New statistics: whether a fetch answered since the last time confirms that nothing follows what was taken off
    /// the queue, up to `taken`.
    ///
    /// The client may say that its next fetch begins further on. Where nothing was taken yet that is a transaction's
    /// marker. It is also what it says, for a moment, after a rebalance has made it throw away what it had fetched:
    /// then records lie in between, so it is believed only when it says the same after one more answer, and nobody's
    /// position ever follows it.
    pub fn confirmed(&mut self, seen: Glance, taken: u64) -> bool {
        let Some(base) = self.base.replace(seen) else { return false };
        let Some(answered) = seen.answered_since(&base) else { return false };
        // The first request after the start may not have held this partition yet.
        let needed = if self.fetched || self.at_end { 1 } else { 2 };
        if answered < needed {
            self.base = Some(base);
            return false;
        }
        let (Some(next), Some(end)) = (seen.next, seen.stable_end) else { return false };
        let beyond = std::mem::replace(&mut self.beyond, (next > taken).then_some(next));
        let stands = next == taken || (next > taken && beyond == Some(next));
        self.at_end = seen.drained && next >= end && stands;
        self.at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(fetches: i64, next: u64, end: u64) -> Glance {
        Glance { broker: 1, fetches, disconnects: 0, next: Some(next), stable_end: Some(end), drained: true }
    }

    #[test]
    fn an_unanswered_fetch_is_no_end() {
        let mut watch = EndWatch::default();
        assert!(!watch.confirmed(glance(7, 5, 5), 5));
        assert!(!watch.confirmed(glance(7, 5, 5), 5));
        assert!(!watch.confirmed(glance(8, 5, 5), 5), "it may not have held the partition");
        assert!(watch.confirmed(glance(9, 5, 5), 5));
        assert!(!watch.confirmed(glance(9, 5, 5), 5), "none answered since");
        assert!(watch.confirmed(glance(10, 5, 5), 5));
    }

    #[test]
    fn a_broken_connection_starts_over() {
        let mut watch = EndWatch::default();
        watch.records();
        assert!(!watch.confirmed(glance(7, 5, 5), 5));
        let broken = Glance { disconnects: 1, ..glance(9, 5, 5) };
        assert!(!watch.confirmed(broken, 5));
        assert!(watch.confirmed(Glance { fetches: 10, ..broken }, 5));
    }

    #[test]
    fn records_behind_the_end_are_no_end() {
        let mut watch = EndWatch::default();
        assert!(!watch.reached(5, 5), "the watermark may be of an earlier run");
        watch.records();
        assert!(!watch.reached(5, 9));
        assert!(watch.reached(9, 9));
        assert!(!watch.reached(9, 9), "told once");
        assert!(!watch.confirmed(glance(7, 9, 12), 9));
        assert!(!watch.confirmed(glance(8, 9, 12), 9));
    }

    /// Fetched up to 9 and thrown away again by a rebalance; 5 to 8 come once more.
    #[test]
    fn what_was_fetched_and_thrown_away_is_no_end() {
        let mut watch = EndWatch::default();
        watch.records();
        assert!(!watch.confirmed(glance(7, 5, 5), 5));
        assert!(!watch.confirmed(glance(8, 9, 9), 5), "of before the rebalance");
        assert!(!watch.confirmed(glance(9, 5, 9), 5), "fetching again");
        watch.records();
        assert!(watch.confirmed(glance(10, 9, 9), 9));
    }

    #[test]
    fn a_marker_behind_the_last_record_is_an_end_after_one_more_answer() {
        let mut watch = EndWatch::default();
        watch.records();
        assert!(!watch.confirmed(glance(7, 6, 6), 5));
        assert!(!watch.confirmed(glance(8, 6, 6), 5));
        assert!(watch.confirmed(glance(9, 6, 6), 5));
        watch.records();
        assert!(!watch.confirmed(glance(10, 9, 9), 8));
        assert!(!watch.confirmed(glance(10, 9, 9), 8), "none answered since");
        assert!(watch.confirmed(glance(11, 9, 9), 8));
    }

    #[test]
    fn reads_what_librdkafka_writes() {
        let text = r#"{"brokers":{"h:1/1":{"nodeid":1,"req":{"Fetch":3},"disconnects":2,"rx":9}},
            "topics":{"t":{"topic":"t","partitions":{"0":{"partition":0,"broker":1,"fetchq_cnt":0,
            "next_offset":5,"app_offset":5,"hi_offset":8,"ls_offset":5,"lo_offset":0}}}}}"#;
        let stats: Stats = serde_json::from_str(text).unwrap();
        let seen = stats.glance("t", 0).unwrap();
        assert_eq!(seen, Glance { disconnects: 2, ..glance(3, 5, 5) });
        assert_eq!(stats.glance("t", 1), None);
    }
}
