//! The flush policies and their settings, as a configuration writes them.
//!
//! Owns: names, defaults, what is nonsense ([`Policy::check`]). Never: a decision (rules.rs makes it).
//!
//! ## How the words of source B were read (`rate`)
//!
//! Wherever a word allows two readings, the one that serves the rule better was taken, because `rate` is what the
//! others are measured against.
//!
//! * *rolling 5-second event rate*: events offered in the last 5 s, divided by 5 s, in buckets of 100 ms.
//! * *cold, flush every 5 ms whatever the fill*: a send as soon as 5 ms have passed since the last one, and with it
//!   whatever is there. Not a metronome: an item that comes later than that after the last send leaves at once.
//! * *warm, linear interpolation between time-based and size-based*: x = (rate − 1K) / (50K − 1K). The send is due
//!   at (1 − x) · the bytes of 5 ms + x · 512 KiB, and also, because one end is "time-based", when its oldest item is
//!   as old as that many bytes take to arrive at the present rate. In steady flow both say the same; after a fall
//!   of the rate only the second saves the rest of the batch from waiting for arrivals that do not come.
//! * *hot, fill to 512 KB*: 512 KiB and nothing else. A rest waits until the rolling rate has left hot, or for the
//!   cap of age.
//! * *panic flush: above 80 % queue depth the size threshold drops at once*: queue depth is how full the admission
//!   budget is (queued and in flight, over all lanes). The threshold drops to 16 KiB (the source names no figure; it
//!   is Kafka's default batch): what is collected leaves as one send, then many small ones.
//! * The rule knows nothing of sends in flight: it seals while the broker is busy, and what is sealed stays sealed.

use serde::{Deserialize, Serialize};

/// When a lane's queue becomes a send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum Policy {
    /// A fixed buffer: so many bytes, or so old.
    Static(Static),
    /// A plain linger, as log clients have it.
    Linger(Linger),
    /// Source B's rule, faithful (the module's header says how it was read).
    Rate(Rate),
    /// Source B's rule with three repairs: never seals while a send is in flight, hot has a time limit, panic is one
    /// large send of everything.
    RateMerged(RateMerged),
    /// Sends when nothing is in flight, else paced by what the broker's answers teach.
    SelfClocked(SelfClocked),
}

/// `static`: seals at `bytes_max`, or `age_ms` after the first item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Static {
    /// Seal at this many bytes.
    pub bytes_max: u64,
    /// Seal when the first item is this old, ms.
    pub age_ms: u64,
}

/// `linger`: seals when the first item is `linger_ms` old, or at `bytes_max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Linger {
    /// Seal when the first item is this old, ms. 0: at each poll.
    pub linger_ms: u64,
    /// Seal at this many bytes.
    pub bytes_max: u64,
}

/// `rate`: source B's rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rate {
    /// Cold below this rate, events/s.
    pub warm_per_s: u64,
    /// Hot from this rate on, events/s.
    pub hot_per_s: u64,
    /// Cold: time between sends, ms.
    pub cold_ms: u64,
    /// Hot: seal at this many bytes.
    pub bytes_max: u64,
    /// Panic above this part of the admission budget, 0 to 1.
    pub panic_above: f64,
    /// Panic: the size threshold, bytes.
    pub panic_bytes: u64,
}

/// `rate-merged`: [`Rate`] with its repairs. It has no size threshold in panic: everything leaves in one send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RateMerged {
    /// Cold below this rate, events/s.
    pub warm_per_s: u64,
    /// Hot from this rate on, events/s.
    pub hot_per_s: u64,
    /// Cold: time between sends, ms.
    pub cold_ms: u64,
    /// Hot: seal at this many bytes.
    pub bytes_max: u64,
    /// Warm and hot: seal when the first item is this old, ms.
    pub age_ms: u64,
    /// Panic above this part of the admission budget, 0 to 1.
    pub panic_above: f64,
}

/// `self-clocked`: sends at once when nothing is in flight. Else when a full send waits, or when all of this holds:
/// fewer than `in_flight_max` sends are in flight, `alpha` · RTT_min has passed since the last one, and what the
/// broker still has to do of them costs no more than `backlog_requests` requests. RTT_min is the shortest round trip
/// of the last 5 to 10 s; a send's cost is partitions · f + bytes · c, over `rho`, with f and c learnt from answers.
///
/// In other words the gap behind a send is g = max(α · RTT_min, (partitions · f + bytes · c) / ρ − backlog), less
/// what the broker has done meanwhile. What the simulation taught about it ([`crate::simulate`]):
///
/// * A gap that counts the fixed cost of the *next* send and no backlog is 1.3 to 1.5 × the oracle's p99: it holds back
///   small sends whose waiting saves nothing (few items meet few partitions, so they share no request), and forgets
///   that the bytes of a large send take time too (at 200K events/s before a slow broker, 1.7 ×).
/// * The guess of what the broker still has to do is set right at each answer; without that it drifts at stalls.
/// * A backlog of about three requests keeps the broker from idling between sends, and makes single items at a low
///   rate leave as if nothing held them. ρ below 1 costs a little and gains nothing, because the learnt cost is
///   wall time: it contains already what other clients take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SelfClocked {
    /// Sends in flight at most (W).
    pub in_flight_max: usize,
    /// Least time between sends while one is in flight, in shortest round trips (α).
    pub alpha: f64,
    /// The part of the broker's time that this lane may take (ρ), above 0, at most 1.
    pub rho: f64,
    /// How many requests the broker may still have to do when the next send leaves.
    pub backlog_requests: f64,
}

/// What no policy may exceed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Caps {
    /// The largest send, bytes, so that each request made of it fits what a broker takes. A larger item is refused.
    pub bytes_per_send_max: u64,
    /// No item waits longer than this, ms, but for sends in flight.
    pub age_max_ms: u64,
    /// Sends in flight at most, whatever the policy. At this bound nothing is sealed until an answer comes.
    pub in_flight_max: usize,
}

const KIB: u64 = 1024;

impl Default for Static {
    fn default() -> Self {
        Self { bytes_max: 256 * KIB, age_ms: 500 }
    }
}

impl Default for Linger {
    fn default() -> Self {
        Self { linger_ms: 5, bytes_max: 1_000_000 }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            warm_per_s: 1_000,
            hot_per_s: 50_000,
            cold_ms: 5,
            bytes_max: 512 * KIB,
            panic_above: 0.8,
            panic_bytes: 16 * KIB,
        }
    }
}

impl Default for RateMerged {
    fn default() -> Self {
        let Rate { warm_per_s, hot_per_s, cold_ms, bytes_max, panic_above, .. } = Rate::default();
        Self { warm_per_s, hot_per_s, cold_ms, bytes_max, age_ms: 50, panic_above }
    }
}

impl Default for SelfClocked {
    fn default() -> Self {
        Self { in_flight_max: 5, alpha: 0.25, rho: 1.0, backlog_requests: 3.0 }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self { bytes_per_send_max: 1_000_000, age_max_ms: 10_000, in_flight_max: 1024 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::SelfClocked(SelfClocked::default())
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A size of zero seals nothing, or everything.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// A part outside of its range, or not a number.
    #[error("{0} must be above 0 and at most {1}")]
    Range(&'static str, u32),
    /// Cold would reach above hot.
    #[error("warm-per-s must be below hot-per-s")]
    Order,
}

impl Policy {
    /// The name of the policy, as the configuration has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Linger(_) => "linger",
            Self::Rate(_) => "rate",
            Self::RateMerged(_) => "rate-merged",
            Self::SelfClocked(_) => "self-clocked",
        }
    }

    /// What the learnt cost of a send is multiplied with to leave the broker its part.
    pub(crate) fn stretch(&self) -> f64 {
        match self {
            Self::SelfClocked(settings) => 1.0 / settings.rho.clamp(0.01, 1.0),
            _ => 1.0,
        }
    }

    /// Whether the settings make sense. A lane works with any settings, so a policy that was never checked harms
    /// only its own batches.
    pub fn check(&self) -> Result<(), PolicyError> {
        match self {
            Self::Static(s) => above_zero("bytes-max", s.bytes_max),
            Self::Linger(s) => above_zero("bytes-max", s.bytes_max),
            Self::Rate(s) => {
                above_zero("bytes-max", s.bytes_max)?;
                above_zero("panic-bytes", s.panic_bytes)?;
                part("panic-above", s.panic_above, 1)?;
                rising(s.warm_per_s, s.hot_per_s)
            }
            Self::RateMerged(s) => {
                above_zero("bytes-max", s.bytes_max)?;
                part("panic-above", s.panic_above, 1)?;
                rising(s.warm_per_s, s.hot_per_s)
            }
            Self::SelfClocked(s) => {
                above_zero("in-flight-max", s.in_flight_max as u64)?;
                part("alpha", s.alpha, 100)?;
                part("rho", s.rho, 1)?;
                part("backlog-requests", s.backlog_requests, 1000)
            }
        }
    }
}

impl Caps {
    /// Whether the caps let anything through.
    pub fn check(&self) -> Result<(), PolicyError> {
        above_zero("bytes-per-send-max", self.bytes_per_send_max)?;
        above_zero("in-flight-max", self.in_flight_max as u64)
    }
}

fn above_zero(name: &'static str, value: u64) -> Result<(), PolicyError> {
    if value == 0 { Err(PolicyError::Zero(name)) } else { Ok(()) }
}

fn part(name: &'static str, value: f64, max: u32) -> Result<(), PolicyError> {
    if value > 0.0 && value <= f64::from(max) { Ok(()) } else { Err(PolicyError::Range(name, max)) }
}

fn rising(warm: u64, hot: u64) -> Result<(), PolicyError> {
    if warm < hot { Ok(()) } else { Err(PolicyError::Order) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_named_by_its_tag_and_keeps_defaults_for_what_is_not_said() {
        let policy: Policy = serde_json::from_str(r#"{"policy": "static", "age-ms": 100}"#).unwrap();
        assert_eq!(policy, Policy::Static(Static { age_ms: 100, ..Static::default() }));
        let policy: Policy = serde_json::from_str(r#"{"policy": "self-clocked"}"#).unwrap();
        assert_eq!((policy.name(), policy), ("self-clocked", Policy::default()));
        for name in ["static", "linger", "rate", "rate-merged", "self-clocked"] {
            let policy: Policy = serde_json::from_str(&format!(r#"{{"policy": "{name}"}}"#)).unwrap();
            assert_eq!((policy.name(), policy.check()), (name, Ok(())));
        }
        assert_eq!(Caps::default().check(), Ok(()));
    }

    #[test]
    fn unknown_keys_and_policies_are_refused() {
        assert!(serde_json::from_str::<Policy>(r#"{"policy": "linger", "age-ms": 1}"#).is_err());
        assert!(serde_json::from_str::<Policy>(r#"{"policy": "magic"}"#).is_err());
        assert!(serde_json::from_str::<Policy>(r#"{}"#).is_err());
        assert!(serde_json::from_str::<Caps>(r#"{"age-max": 1}"#).is_err());
    }

    #[test]
    fn nonsense_is_named() {
        let wrong = SelfClocked { rho: f64::NAN, ..SelfClocked::default() };
        assert_eq!(Policy::SelfClocked(wrong).check(), Err(PolicyError::Range("rho", 1)));
        let wrong = Rate { warm_per_s: 50_000, ..Rate::default() };
        assert_eq!(Policy::Rate(wrong).check(), Err(PolicyError::Order));
        let wrong = Static { bytes_max: 0, age_ms: 1 };
        assert_eq!(Policy::Static(wrong).check(), Err(PolicyError::Zero("bytes-max")));
    }
}
