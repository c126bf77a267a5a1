//! Events per second per device: GCRA cells in a bounded table.
//!
//! Owns: one theoretical arrival time per device that is ahead of now. Never: a timer; a cell whose time
//! has come says the same as no cell, so forgetting it loses nothing.
//! Bound: at most `devices_max` cells. A new device that finds the table full of busy cells shares one
//! common cell with all others in that position: it is limited harder, never unlimited.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What one device may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRate {
    /// Sustained rate, events per second, at least 1.
    pub events_per_s: u32,
    /// How many events may come at once after a pause, at least 1.
    pub burst_events: u32,
}

/// The answer for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How many of the events asked for may pass; the first ones, in their order.
    pub admitted: u32,
    /// When the next event would pass, ms from now; 0 if all passed.
    pub retry_after_ms: u64,
}

/// The rates of all devices.
#[derive(Debug)]
pub struct DeviceRates {
    step_ns: u64,
    burst_ns: u64,
    devices_max: usize,
    // Theoretical arrival time of the next event, ns on the caller's clock.
    cells: BTreeMap<Box<str>, u64>,
    shared_cell: u64,
    sweep_from: Option<Box<str>>,
}

/// How many old cells each new one looks at. More than one, so that forgetting outruns creating.
const SWEEP_CELLS: usize = 4;

impl DeviceRates {
    /// No device has sent anything yet. `devices_max` bounds the table.
    pub fn new(rate: DeviceRate, devices_max: usize) -> Self {
        let step_ns = 1_000_000_000 / u64::from(rate.events_per_s.max(1));
        Self {
            step_ns: step_ns.max(1),
            burst_ns: step_ns.max(1) * u64::from(rate.burst_events.max(1)),
            devices_max,
            cells: BTreeMap::new(),
            shared_cell: 0,
            sweep_from: None,
        }
    }

    /// Lets pass as many of `events` as the device's rate allows at `now_ns`, and charges those.
    pub fn admit(&mut self, device: &str, events: u32, now_ns: u64) -> Verdict {
        let (step_ns, burst_ns) = (self.step_ns, self.burst_ns);
        let cell = self.cell(device, now_ns);
        let ahead_ns = cell.saturating_sub(now_ns);
        let room = burst_ns.saturating_sub(ahead_ns) / step_ns;
        let admitted = u64::from(events).min(room);
        *cell = (*cell).max(now_ns) + admitted * step_ns;
        let wait_ns = match admitted == u64::from(events) {
            true => 0,
            false => (*cell - now_ns + step_ns).saturating_sub(burst_ns),
        };
        Verdict { admitted: admitted as u32, retry_after_ms: wait_ns.div_ceil(1_000_000) }
    }

    /// How many devices have a cell.
    pub fn devices(&self) -> usize {
        self.cells.len()
    }

    fn cell(&mut self, device: &str, now_ns: u64) -> &mut u64 {
        if !self.cells.contains_key(device) {
            self.sweep(now_ns);
            if self.cells.len() >= self.devices_max {
                return &mut self.shared_cell;
            }
        }
        self.cells.entry(device.into()).or_insert(0)
    }

    /// Looks at the next few cells, round robin, and forgets those that are no longer ahead.
    fn sweep(&mut self, now_ns: u64) {
        let from = match self.sweep_from.take() {
            Some(name) => Bound::Excluded(name),
            None => Bound::Unbounded,
        };
        let mut expired = Vec::new();
        let mut last = None;
        let range = self.cells.range::<str, _>((from.as_ref().map(|n| &**n), Bound::Unbounded));
        for (name, cell) in range.take(SWEEP_CELLS) {
            last = Some(name.clone());
            if *cell <= now_ns {
                expired.push(name.clone());
            }
        }
        for name in &expired {
            self.cells.remove(name);
        }
        self.sweep_from = last; // None at the end of the table: the next sweep starts over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn rates(events_per_s: u32, burst_events: u32, devices_max: usize) -> DeviceRates {
        DeviceRates::new(DeviceRate { events_per_s, burst_events }, devices_max)
    }

    #[test]
    fn a_burst_passes_then_the_rate_does() {
        let mut rates = rates(10, 20, 8);
        assert_eq!(rates.admit("a", 25, S), Verdict { admitted: 20, retry_after_ms: 100 });
        assert_eq!(rates.admit("a", 1, S + S / 20), Verdict { admitted: 0, retry_after_ms: 50 });
        assert_eq!(rates.admit("a", 3, S + S / 10), Verdict { admitted: 1, retry_after_ms: 100 });
        assert_eq!(rates.admit("b", 20, S), Verdict { admitted: 20, retry_after_ms: 0 });
        assert_eq!(rates.admit("a", 20, 10 * S).admitted, 20);
    }

    #[test]
    fn a_full_table_of_busy_devices_limits_newcomers_together() {
        let mut rates = rates(1, 5, 3);
        for name in ["a", "b", "c"] {
            assert_eq!(rates.admit(name, 5, S).admitted, 5);
        }
        assert_eq!(rates.admit("d", 4, S).admitted, 4);
        assert_eq!(rates.admit("e", 4, S).admitted, 1);
        assert_eq!(rates.devices(), 3);
        // Once the old ones have been silent, newcomers get cells of their own.
        assert_eq!(rates.admit("f", 5, 60 * S).admitted, 5);
        assert_eq!(rates.admit("g", 5, 60 * S).admitted, 5);
        assert!(rates.devices() <= 3);
    }

    proptest! {
        // Over any span a device passes at most burst + rate * span.
        #[test]
        fn never_more_than_burst_plus_rate(asks in prop::collection::vec((1u32..50, 0u64..300_000_000), 1..100)) {
            let mut rates = rates(100, 40, 4);
            let (mut now_ns, mut passed) = (S, 0u64);
            for (events, pause_ns) in asks {
                now_ns += pause_ns;
                passed += u64::from(rates.admit("a", events, now_ns).admitted);
                prop_assert!(passed <= 40 + (now_ns - S) * 100 / S + 1);
            }
        }
    }
}
