//! When records leave for the log: the keys of `[flush]`, and their change while the service runs.
//!
//! Owns: which policy and caps the keys mean, the wish for others. Never: a decision (libs/flush makes it).

use evenkeel_chassis::units::{PositiveBytes, PositiveMs};
use evenkeel_flush::{Caps, Linger, Policy, PolicyError, Rate, RateMerged, SelfClocked, Static};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys of `[flush]`. The settings of every policy are there; those of `policy` count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Flush {
    /// Which policy.
    pub policy: PolicyName,
    /// The largest send.
    pub send_max: PositiveBytes,
    /// Longest wait of a record.
    pub age_max: PositiveMs,
    /// Most sends of a lane without an answer.
    pub in_flight_max: usize,
    /// Of `self-clocked`.
    pub self_clocked: SelfClocked,
    /// Of `rate`.
    pub rate: Rate,
    /// Of `rate-merged`.
    pub rate_merged: RateMerged,
    /// Of `static`.
    #[serde(rename = "static")]
    pub fixed: Static,
    /// Of `linger`.
    pub linger: Linger,
}

/// The policies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyName {
    /// Sends when nothing is in flight, else paced by what the broker's answers teach.
    SelfClocked,
    /// By the rolling event rate.
    Rate,
    /// By the rolling event rate, repaired.
    RateMerged,
    /// A fixed buffer.
    Static,
    /// A plain linger.
    Linger,
}

impl Flush {
    /// The policy chosen, with its settings.
    pub fn policy(&self) -> Policy {
        match self.policy {
            PolicyName::SelfClocked => Policy::SelfClocked(self.self_clocked.clone()),
            PolicyName::Rate => Policy::Rate(self.rate.clone()),
            PolicyName::RateMerged => Policy::RateMerged(self.rate_merged.clone()),
            PolicyName::Static => Policy::Static(self.fixed.clone()),
            PolicyName::Linger => Policy::Linger(self.linger.clone()),
        }
    }

    /// What no policy may exceed.
    pub fn caps(&self) -> Caps {
        Caps {
            bytes_per_send_max: self.send_max.bytes(),
            age_max_ms: self.age_max.ms(),
            in_flight_max: self.in_flight_max,
        }
    }
}

/// How the lanes are to work.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The policy.
    pub policy: Policy,
    /// What no policy may exceed.
    pub caps: Caps,
    /// What may wait and fly, all lanes together, bytes.
    pub bytes_max: u64,
}

#[derive(Debug, Default)]
struct Wishes {
    flush: Mutex<Option<Wish>>,
    is_new: AtomicBool,
    draining: AtomicBool,
}

/// Changes the flush policy of a running service.
#[derive(Debug, Clone, Default)]
pub struct FlushControl(Arc<Wishes>);

impl FlushControl {
    /// From the next look of the lanes on (within a second) these hold. What waits stays, and so does what was learnt.
    pub fn set(&self, wish: Wish) -> Result<(), PolicyError> {
        wish.policy.check()?;
        wish.caps.check()?;
        *self.0.flush.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish);
        self.0.is_new.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn wanted(&self) -> Option<Wish> {
        if !self.0.is_new.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.0.flush.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on everything leaves at once: the service is ending.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    pub(crate) fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_checked_heard_once_and_the_last_one_counts() {
        let control = FlushControl::default();
        let wrong = Static { bytes_max: 0, ..Static::default() };
        let wish = |policy| Wish { policy, caps: Caps::default(), bytes_max: 1 << 20 };
        assert!(control.set(wish(Policy::Static(wrong))).is_err());
        assert_eq!(control.wanted(), None);
        control.set(wish(Policy::Rate(Rate::default()))).unwrap();
        control.set(wish(Policy::default())).unwrap();
        assert_eq!(control.wanted(), Some(wish(Policy::default())));
        assert_eq!(control.wanted(), None);
    }
}
