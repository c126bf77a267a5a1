//! Bytes in flight per tenant: none may take the whole of the budget.
//!
//! Owns: the sum of each tenant that holds something. Never: frees by itself; a hold lives until it is given back.
//! Bound: at most `tenants_max` sums. A tenant that finds the table full shares one sum with all others in that
//! position: it is limited harder, never unlimited. One that holds nothing has no entry.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes in flight of all tenants.
#[derive(Debug)]
pub struct TenantBytes {
    limit_bytes: u64,
    tenants_max: usize,
    own: BTreeMap<Arc<str>, Sum>,
    shared: Sum,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    bytes: u64,
    holds: u64,
}

/// A part of a tenant's bytes in somebody's hands. Not a guard: dropping it returns nothing.
#[derive(Debug)]
pub struct TenantHold {
    /// `None` = of the shared sum.
    tenant: Option<Arc<str>>,
    bytes: u64,
}

/// The tenant has too much in flight. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant has {used_bytes} of {limit_bytes} bytes in flight, and {asked_bytes} more do not fit")]
pub struct TenantFull {
    /// What was asked on top of what the caller already held, bytes.
    pub asked_bytes: u64,
    /// What the tenant holds, bytes.
    pub used_bytes: u64,
    /// What it may hold, bytes.
    pub limit_bytes: u64,
}

impl TenantBytes {
    /// Nobody holds anything. Each tenant may hold `limit_bytes`.
    pub fn new(limit_bytes: u64, tenants_max: usize) -> Self {
        Self { limit_bytes, tenants_max, own: BTreeMap::new(), shared: Sum::default() }
    }

    /// Takes `bytes` for the tenant, or nothing.
    pub fn take(&mut self, tenant: &Arc<str>, bytes: u64) -> Result<TenantHold, TenantFull> {
        let owns = self.own.contains_key(tenant) || self.own.len() < self.tenants_max;
        let tenant = owns.then(|| Arc::clone(tenant));
        let limit_bytes = self.limit_bytes;
        let used_bytes =
            tenant.as_ref().map_or(self.shared, |name| self.own.get(name).copied().unwrap_or_default());
        charge(used_bytes.bytes, bytes, limit_bytes)?;
        let sum = match &tenant {
            Some(name) => self.own.entry(Arc::clone(name)).or_default(),
            None => &mut self.shared,
        };
        sum.bytes += bytes;
        sum.holds += 1;
        Ok(TenantHold { tenant, bytes })
    }

    /// Makes `hold` hold `bytes` in all. Shrinking always succeeds; growing that does not fit changes nothing.
    pub fn resize(&mut self, hold: &mut TenantHold, bytes: u64) -> Result<(), TenantFull> {
        let limit_bytes = self.limit_bytes;
        let Some(sum) = self.sum(hold) else { return Ok(()) };
        if bytes > hold.bytes {
            charge(sum.bytes, bytes - hold.bytes, limit_bytes)?;
        }
        sum.bytes = sum.bytes - hold.bytes + bytes;
        hold.bytes = bytes;
        Ok(())
    }

    /// Gives everything of `hold` back.
    pub fn give(&mut self, hold: TenantHold) {
        let Some(sum) = self.sum(&hold) else { return };
        sum.bytes -= hold.bytes;
        sum.holds -= 1;
        if sum.holds == 0
            && let Some(tenant) = &hold.tenant
        {
            self.own.remove(tenant);
        }
    }

    /// How many tenants hold something of their own.
    pub fn tenants(&self) -> usize {
        self.own.len()
    }

    fn sum(&mut self, hold: &TenantHold) -> Option<&mut Sum> {
        match &hold.tenant {
            Some(tenant) => self.own.get_mut(tenant),
            None => Some(&mut self.shared),
        }
    }
}

fn charge(used_bytes: u64, asked_bytes: u64, limit_bytes: u64) -> Result<(), TenantFull> {
    match used_bytes.saturating_add(asked_bytes) > limit_bytes {
        true => Err(TenantFull { asked_bytes, used_bytes, limit_bytes }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_tenant_is_full_and_another_is_not() {
        let mut tenants = TenantBytes::new(1000, 8);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut first = tenants.take(&a, 600).unwrap();
        let full = TenantFull { asked_bytes: 401, used_bytes: 600, limit_bytes: 1000 };
        assert_eq!(tenants.take(&a, 401).unwrap_err(), full);
        assert!(tenants.resize(&mut first, 1001).is_err());
        tenants.resize(&mut first, 1000).unwrap();
        let other = tenants.take(&b, 1000).unwrap();
        tenants.resize(&mut first, 1).unwrap();
        let second = tenants.take(&a, 999).unwrap();
        assert_eq!(tenants.tenants(), 2);
        for hold in [first, second, other] {
            tenants.give(hold);
        }
        assert_eq!(tenants.tenants(), 0);
    }

    #[test]
    fn past_the_table_newcomers_share() {
        let mut tenants = TenantBytes::new(1000, 1);
        let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
        let first = tenants.take(&names[0], 1000).unwrap();
        let second = tenants.take(&names[1], 600).unwrap();
        assert!(tenants.take(&names[2], 600).is_err());
        tenants.give(first);
        let third = tenants.take(&names[2], 600).unwrap();
        tenants.give(second);
        tenants.give(third);
        assert_eq!((tenants.tenants(), tenants.shared.bytes, tenants.shared.holds), (0, 0, 0));
    }

    proptest! {
        // Against the naive version: no sum passes the limit, and all of it comes back.
        #[test]
        fn everything_comes_back(steps in prop::collection::vec((0u8..3, 0usize..5, 0u64..700), 0..200)) {
            let mut tenants = TenantBytes::new(1000, 3);
            let names: Vec<Arc<str>> = ["a", "b", "c", "d", "e"].map(Arc::from).to_vec();
            let mut held: Vec<TenantHold> = Vec::new();
            for (step, at, bytes) in steps {
                match step {
                    0 => held.extend(tenants.take(&names[at], bytes)),
                    1 if !held.is_empty() => {
                        let at = at % held.len();
                        let _ = tenants.resize(&mut held[at], bytes);
                    }
                    2 if !held.is_empty() => tenants.give(held.swap_remove(at % held.len())),
                    _ => {}
                }
                let all: u64 = tenants.own.values().map(|sum| sum.bytes).sum::<u64>() + tenants.shared.bytes;
                prop_assert_eq!(all, held.iter().map(|hold| hold.bytes).sum::<u64>());
                prop_assert!(tenants.own.values().chain([&tenants.shared]).all(|sum| sum.bytes <= 1000));
                prop_assert!(tenants.tenants() <= 3);
            }
            held.into_iter().for_each(|hold| tenants.give(hold));
            prop_assert_eq!((tenants.tenants(), tenants.shared.bytes), (0, 0));
        }
    }
}
