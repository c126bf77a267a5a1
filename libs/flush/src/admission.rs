//! One byte budget over all lanes: who may still enter.
//!
//! Owns: the sum of what is queued and in flight. Never: an effect on batch sizes but through the panic
//! threshold, which a policy may read. Bound: an item is charged at least [`ITEM_BYTES_MIN`], so there are never
//! more items than `limit / ITEM_BYTES_MIN`.

/// The least an item is charged, bytes: its place in the lane's queue and in the caller's.
pub const ITEM_BYTES_MIN: u64 = 64;

/// A fixed number of bytes, shared by the lanes that are handed the same value.
#[derive(Debug, Clone)]
pub struct Admission {
    limit_bytes: u64,
    used_bytes: u64,
    refused_total: u64,
}

impl Admission {
    /// A budget of `limit_bytes`, all of it free.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, refused_total: 0 }
    }

    /// Another limit from now on. What is inside already stays, also above a smaller limit.
    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    /// The whole budget, bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Bytes charged to items that are queued or in flight.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Items refused since the start.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// How full the budget is: 0 is empty, 1 is full.
    pub fn fill(&self) -> f64 {
        self.used_bytes as f64 / self.limit_bytes.max(1) as f64
    }

    /// What an item of `bytes` is charged, bytes.
    pub(crate) fn charge_of(bytes: u32) -> u64 {
        u64::from(bytes).max(ITEM_BYTES_MIN)
    }

    /// Takes `charge` or nothing; answers whether it fit.
    pub(crate) fn take(&mut self, charge: u64) -> bool {
        let fits = charge <= self.limit_bytes.saturating_sub(self.used_bytes);
        if fits {
            self.used_bytes += charge;
        } else {
            self.refused_total += 1;
        }
        fits
    }

    pub(crate) fn give(&mut self, charge: u64) {
        self.used_bytes = self.used_bytes.saturating_sub(charge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_limit_keeps_what_is_inside_and_refuses_the_next() {
        let mut admission = Admission::new(1000);
        assert!(admission.take(1000) && !admission.take(1));
        admission.set_limit(500);
        assert_eq!((admission.used_bytes(), admission.fill()), (1000, 2.0));
        admission.give(600);
        assert!(!admission.take(101) && admission.take(100));
        assert_eq!((admission.used_bytes(), admission.refused_total()), (500, 2));
    }

    #[test]
    fn a_small_item_is_charged_its_place() {
        assert_eq!((Admission::charge_of(0), Admission::charge_of(65)), (ITEM_BYTES_MIN, 65));
    }
}
