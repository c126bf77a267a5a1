//! The model of a broker: one connection, served in order, at a speed that changes with the time of day.
//!
//! Owns: when a send is acknowledged. Never: a policy's business. A request costs a fixed time and its bytes; the
//! speed of each millisecond is drawn from (seed, millisecond), with a heavy tail, and now and then the broker stands
//! still. At most `in_flight_max` sends are on the way; the others wait at the sender.

use super::noise::{pareto, uniform};

/// A broker, its network included.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// Shown in tables.
    pub name: &'static str,
    /// Partitions of ours that it leads, at most 64: a send makes at most so many requests.
    pub partitions: u32,
    /// Fixed cost of a request at full speed, µs.
    pub request_us: f64,
    /// Cost of a byte at full speed, µs.
    pub byte_us: f64,
    /// One way through the network at its best, µs.
    pub network_us: f64,
    /// Sends on the way at most.
    pub in_flight_max: usize,
    /// How often a tenth of a second starts with a stand-still, 0 to 1.
    pub stall_part: f64,
    /// Shortest stand-still, µs; the tail is heavy, up to 16 times that, never longer than 90 ms.
    pub stall_us: f64,
}

const SLOT_US: u64 = 1_000;
const STALL_SLOT_US: u64 = 100_000;
const STALL_MAX_US: f64 = 90_000.0;
/// A broker slower than this for ever would make a loop without end; no slot is.
const SLOW_MAX: f64 = 20.0;

impl Broker {
    /// A broker in the same data centre: 200 µs per request, 100 MB/s, six partitions.
    pub fn ordinary() -> Self {
        Self {
            name: "ordinary",
            partitions: 6,
            request_us: 200.0,
            byte_us: 0.01,
            network_us: 250.0,
            in_flight_max: 5,
            stall_part: 0.01,
            stall_us: 5_000.0,
        }
    }

    /// A slow one, acknowledged across zones: 800 µs per request, 50 MB/s, twelve partitions.
    pub fn slow() -> Self {
        Self {
            name: "slow",
            partitions: 12,
            request_us: 800.0,
            byte_us: 0.02,
            network_us: 1_000.0,
            ..Self::ordinary()
        }
    }

    /// Latency of a lone item of `bytes` that leaves at once, µs.
    pub(super) fn floor_us(&self, seed: u64, at_us: u64, bytes: u64) -> u64 {
        Served::default().send(self, seed, at_us, 1, bytes) - at_us
    }

    fn network_at(&self, seed: u64, at_us: f64) -> f64 {
        self.network_us * pareto(seed, 1, at_us as u64 / SLOT_US, 3.0, 20.0)
    }

    /// When `work` µs at full speed are done, begun at `at`.
    fn done(&self, seed: u64, mut at: f64, mut work: f64) -> f64 {
        loop {
            at = self.after_stall(seed, at);
            let slot = at as u64 / SLOT_US;
            let slow = pareto(seed, 2, slot, 2.5, SLOW_MAX);
            let left = ((slot + 1) * SLOT_US) as f64 - at;
            if work * slow <= left {
                return at + work * slow;
            }
            work -= left / slow;
            at = ((slot + 1) * SLOT_US) as f64;
        }
    }

    /// `at`, or the end of the stand-still it falls into.
    fn after_stall(&self, seed: u64, at: f64) -> f64 {
        let slot = at as u64 / STALL_SLOT_US;
        if uniform(seed, 3, slot) > self.stall_part {
            return at;
        }
        let length = (self.stall_us * pareto(seed, 4, slot, 1.2, 16.0)).min(STALL_MAX_US);
        at.max((slot * STALL_SLOT_US) as f64 + length)
    }
}

/// The sends so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Served {
    done_us: f64,
    acked_us: f64,
    /// The last acknowledgements, as many as may be on the way.
    recent: std::collections::VecDeque<f64>,
}

impl Served {
    /// When a send handed over at `now_us` is acknowledged, µs.
    pub(super) fn send(&mut self, broker: &Broker, seed: u64, now_us: u64, requests: u32, bytes: u64) -> u64 {
        let mut sent = now_us as f64;
        if self.recent.len() >= broker.in_flight_max {
            sent = sent.max(self.recent.pop_front().unwrap_or(0.0));
        }
        let start = (sent + broker.network_at(seed, sent)).max(self.done_us);
        let work = f64::from(requests) * broker.request_us + bytes as f64 * broker.byte_us;
        self.done_us = broker.done(seed, start, work);
        let acked = self.done_us + broker.network_at(seed, self.done_us);
        self.acked_us = self.acked_us.max(acked);
        self.recent.push_back(self.acked_us);
        self.acked_us.ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_never_faster_than_the_best_case() {
        let broker = Broker::ordinary();
        let mut served = Served::default();
        let mut last = 0;
        for i in 0..2000u64 {
            let now = i * 700;
            let acked = served.send(&broker, 5, now, 3, 1000);
            assert!(acked >= last && acked >= now + 500 + 610, "{i}: {acked}");
            last = acked;
        }
    }

    #[test]
    fn the_weather_does_not_depend_on_what_was_sent_before() {
        let broker = Broker::ordinary();
        let lone = broker.floor_us(9, 5_000_000, 100);
        let mut served = Served::default();
        served.send(&broker, 9, 1_000_000, 6, 500_000);
        assert_eq!(served.send(&broker, 9, 5_000_000, 1, 100) - 5_000_000, lone);
    }

    #[test]
    fn past_the_flights_allowed_a_send_waits_at_the_sender() {
        let broker = Broker { in_flight_max: 1, ..Broker::ordinary() };
        let mut served = Served::default();
        let first = served.send(&broker, 9, 0, 1, 100);
        assert!(served.send(&broker, 9, 0, 1, 100) >= first + 500);
    }
}
