//! What devices and tenants may use, as the driver asks it: every limit has to agree before any is charged.
//!
//! Owns: the rates and the tenants' bytes. Never: charges what is then refused by another limit.

use super::DeviceAsk;
use evenkeel_limits::{Rates, TenantBytes};

/// The limits in force; `None` = not limited.
#[derive(Debug, Default)]
pub struct Quotas {
    /// Events per second of a device.
    pub device_events: Option<Rates>,
    /// Bytes per second of a device.
    pub device_bytes: Option<Rates>,
    /// Events per second of a tenant.
    pub tenant_events: Option<Rates>,
    /// Bytes in flight of a tenant.
    pub tenant_bytes: Option<TenantBytes>,
}

/// Which limit refused the events of an ask that may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Events per second of the device.
    DeviceEvents,
    /// Bytes per second of the device.
    DeviceBytes,
    /// Events per second of the tenant.
    TenantEvents,
}

/// What becomes of one ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The first so many events pass.
    pub events: u32,
    /// Who refused the others; `None` if all pass.
    pub refused_by: Option<Limit>,
}

impl Quotas {
    /// Judges one ask and charges what passes; with the wait for the next event if some do not, ms.
    pub(super) fn admit(&mut self, tenant: &str, ask: &DeviceAsk, now_ns: u64) -> (Admitted, u64) {
        // A batch's bytes are shared out evenly: which of its events are the large ones decides nothing.
        let each_bytes = ask.bytes.div_ceil(u64::from(ask.events.max(1))).max(1);
        let device = ask.stream_id.as_str();
        let mut events = u64::from(ask.events);
        let mut refused_by = None;
        let limits = [
            (Limit::DeviceEvents, &mut self.device_events, device, 1),
            (Limit::DeviceBytes, &mut self.device_bytes, device, each_bytes),
            (Limit::TenantEvents, &mut self.tenant_events, tenant, 1),
        ];
        for (limit, rates, key, each) in limits {
            let Some(rates) = rates else { continue };
            let room = rates.room(key, now_ns) / each;
            if ask.whole && room >= events.min(rates.burst() / each).max(1) {
                continue;
            }
            if room < events {
                (events, refused_by) = (if ask.whole { 0 } else { room }, Some(limit));
            }
        }
        let mut wait_ms = 0;
        let limits = [
            (&mut self.device_events, device, 1),
            (&mut self.device_bytes, device, each_bytes),
            (&mut self.tenant_events, tenant, 1),
        ];
        for (rates, key, each) in limits {
            let Some(rates) = rates else { continue };
            rates.charge(key, events * each, now_ns);
            if refused_by.is_some() {
                let wanted = if ask.whole { u64::from(ask.events) } else { 1 };
                wait_ms = wait_ms.max(rates.wait_ms(key, wanted * each, now_ns));
            }
        }
        (Admitted { events: events as u32, refused_by }, wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_limits::Rate;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_must_pass_whole_waits_for_its_room_or_for_a_full_burst() {
        let mut quotas = Quotas { device_events: rates(10, 20), ..Quotas::default() };
        let whole = |events| DeviceAsk { whole: true, ..ask("a", events, 0) };
        assert_eq!(quotas.admit("t", &whole(15), 0).0.events, 15);
        let (refused, wait_ms) = quotas.admit("t", &whole(15), 0);
        assert_eq!((refused.events, refused.refused_by, wait_ms), (0, Some(Limit::DeviceEvents), 1_000));
        assert_eq!(quotas.admit("t", &whole(15), S).0.events, 15);
        // More than a burst: with the full one, and what is beyond it is owed.
        let (refused, wait_ms) = quotas.admit("t", &whole(50), S);
        assert_eq!((refused.events, wait_ms), (0, 2_000));
        assert_eq!(quotas.admit("t", &whole(50), 3 * S).0.events, 50);
        assert_eq!(quotas.admit("t", &whole(1), 6 * S).0.events, 0);
        assert_eq!(quotas.admit("t", &whole(1), 6 * S + S / 10).0.events, 1);
    }

    fn rates(per_s: u64, burst: u64) -> Option<Rates> {
        Some(Rates::new(Rate { per_s, burst }, 10))
    }

    fn ask(device: &str, events: u32, bytes: u64) -> DeviceAsk {
        DeviceAsk { stream_id: device.into(), events, bytes, whole: false }
    }

    #[test]
    fn each_limit_refuses_in_its_own_name() {
        let cases = [
            (Quotas { device_events: rates(10, 3), ..Quotas::default() }, Limit::DeviceEvents, 100),
            (Quotas { device_bytes: rates(1000, 350), ..Quotas::default() }, Limit::DeviceBytes, 50),
            (Quotas { tenant_events: rates(10, 3), ..Quotas::default() }, Limit::TenantEvents, 100),
        ];
        for (mut quotas, limit, wait) in cases {
            let (admitted, wait_ms) = quotas.admit("t", &ask("d", 5, 500), S);
            assert_eq!((admitted, wait_ms), (Admitted { events: 3, refused_by: Some(limit) }, wait));
        }
        let all = Admitted { events: 5, refused_by: None };
        assert_eq!(Quotas::default().admit("t", &ask("d", 5, 500), S), (all, 0));
    }

    #[test]
    fn what_one_limit_refuses_the_others_do_not_charge() {
        let mut quotas = Quotas {
            device_events: rates(1, 100),
            device_bytes: rates(1, 1000),
            tenant_events: rates(1, 2),
            tenant_bytes: None,
        };
        let (admitted, _) = quotas.admit("t", &ask("d", 50, 500), S);
        assert_eq!(admitted, Admitted { events: 2, refused_by: Some(Limit::TenantEvents) });
        assert_eq!(quotas.device_events.as_mut().unwrap().room("d", S), 98);
        assert_eq!(quotas.device_bytes.as_mut().unwrap().room("d", S), 980);
        // Another tenant's devices are not touched by it.
        assert_eq!(quotas.admit("u", &ask("e", 2, 20), S).0.events, 2);
    }
}
