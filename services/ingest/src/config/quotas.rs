//! Keys of `[device]` and `[tenant]`, the checks between them, and the limits they make.

use super::{Config, ConfigMisfit, check};
use crate::driver::Quotas;
use evenkeel_chassis::units::{Bytes, PositiveBytes};
use evenkeel_limits::{Rate, Rates, TenantBytes};
use serde::{Deserialize, Serialize};

/// Keys of `[device]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Device {
    /// Events per second of one stream; 0 = not limited.
    pub rate_max: u32,
    /// Events at once after a pause.
    pub burst: u32,
    /// Bytes per second of one stream; 0 = not limited.
    pub bytes_rate_max: Bytes,
    /// Bytes at once after a pause.
    pub bytes_burst: PositiveBytes,
    /// Streams with a rate of their own.
    pub streams_max: usize,
}

/// Keys of `[tenant]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tenant {
    /// Events per second; 0 = not limited.
    pub rate_max: u32,
    /// Events at once after a pause.
    pub burst: u32,
    /// Bytes in flight; 0 = not limited.
    pub in_flight_max: Bytes,
    /// Tenants with limits of their own.
    pub tenants_max: usize,
}

impl Config {
    pub(super) fn check_quotas(&self) -> Result<(), ConfigMisfit> {
        check(
            "device.bytes-burst",
            self.device.bytes_burst.to_string(),
            self.device.bytes_rate_max.bytes() == 0
                || self.device.bytes_burst.bytes() >= self.body.record_max.bytes(),
            "must be at least body.record-max: a larger record would never pass",
        )?;
        let tenant_bytes = self.tenant.in_flight_max.bytes();
        check(
            "tenant.in-flight-max",
            self.tenant.in_flight_max.to_string(),
            tenant_bytes == 0
                || (2 * self.body.record_max.bytes()..=self.in_flight_max.bytes()).contains(&tenant_bytes),
            "must be 0B (not limited), or at least twice body.record-max and at most in-flight-max",
        )
    }

    pub(crate) fn quotas(&self) -> Quotas {
        let rates = |per_s, burst, keys_max| (per_s > 0).then(|| Rates::new(Rate { per_s, burst }, keys_max));
        let (device, tenant) = (&self.device, &self.tenant);
        let tenant_bytes = tenant.in_flight_max.bytes();
        Quotas {
            device_events: rates(device.rate_max.into(), device.burst.into(), device.streams_max),
            device_bytes: rates(
                device.bytes_rate_max.bytes(),
                device.bytes_burst.bytes(),
                device.streams_max,
            ),
            tenant_events: rates(tenant.rate_max.into(), tenant.burst.into(), tenant.tenants_max),
            tenant_bytes: (tenant_bytes > 0).then(|| TenantBytes::new(tenant_bytes, tenant.tenants_max)),
        }
    }

    /// What one tenant may have in flight, bytes.
    pub(crate) fn tenant_bytes_max(&self) -> u64 {
        match self.tenant.in_flight_max.bytes() {
            0 => u64::MAX,
            bytes => bytes,
        }
    }

    /// Whether any limit is counted in events, so that deliveries have to ask.
    pub(crate) fn rated(&self) -> bool {
        self.device.rate_max > 0 || self.device.bytes_rate_max.bytes() > 0 || self.tenant.rate_max > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    #[test]
    fn a_burst_below_a_record_would_never_let_it_pass() {
        let mut config: Config = toml::from_str(DEFAULT_TOML).unwrap();
        assert!(!config.rated());
        config.device.bytes_burst = "256KiB".parse().unwrap();
        assert_eq!(config.check(), Ok(()), "nothing is limited");
        config.device.bytes_rate_max = "1KiB".parse().unwrap();
        assert_eq!(config.check().unwrap_err().key, "device.bytes-burst");
        config.device.bytes_burst = "512KiB".parse().unwrap();
        assert!(config.check().is_ok() && config.rated() && config.quotas().device_bytes.is_some());
    }
}
