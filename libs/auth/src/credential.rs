//! A credential: whose it is, which streams it covers, what else it may.

use crate::pattern::Pattern;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Somebody who may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name: the tenant, in quotas and messages; for a screen, its user.
    pub name: Arc<str>,
    /// The streams it covers.
    pub streams: Vec<Pattern>,
    /// What it may beside them.
    pub permissions: BTreeSet<Permission>,
    /// Where it comes from.
    pub origin: Origin,
    /// From this arrival time on it is worth nothing, ms since the epoch.
    pub expires_at_ms: Option<i64>,
}

/// What no stream pattern says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// The totals and the list of all devices, whatever streams it covers.
    Fleet,
    /// The alerts of the streams it covers.
    Alerts,
}

impl Permission {
    const ALL: [(Self, &'static str); 2] = [(Self::Fleet, "fleet"), (Self::Alerts, "alerts")];

    /// By its name in files and claims.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, of)| *of == name).map(|(permission, _)| permission)
    }

    fn all() -> BTreeSet<Self> {
        Self::ALL.into_iter().map(|(permission, _)| permission).collect()
    }
}

/// Where a credential comes from, and so what may take it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody was asked.
    Anonymous,
    /// The configuration: what comes by a way of our own.
    Config,
    /// A token of the file, by its hash.
    Token([u8; 32]),
    /// A certificate that the file names.
    Certificate(String),
    /// A signed token.
    Jwt {
        /// The key that signed it.
        key: [u8; 32],
    },
}

impl Credential {
    /// Of whoever reaches a server without credentials: everything.
    pub fn anonymous() -> Arc<Self> {
        let streams = vec![Pattern::new("*")];
        let (permissions, origin) = (Permission::all(), Origin::Anonymous);
        Arc::new(Self { name: "anonymous".into(), streams, permissions, origin, expires_at_ms: None })
    }

    /// One of the configuration, for what comes by a way without credentials.
    pub fn of_config(name: &str, streams: &[String]) -> Arc<Self> {
        let streams = streams.iter().map(Pattern::new).collect();
        let (permissions, origin) = (BTreeSet::new(), Origin::Config);
        Arc::new(Self { name: name.into(), streams, permissions, origin, expires_at_ms: None })
    }

    /// Whether nobody was asked for credentials.
    pub fn is_anonymous(&self) -> bool {
        self.origin == Origin::Anonymous
    }

    /// Whether it covers the stream.
    pub fn allows(&self, stream_id: &str) -> bool {
        self.streams.iter().any(|pattern| pattern.matches(stream_id))
    }

    /// Whether it has the permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_have_one_name_each_and_are_not_given_with_streams() {
        assert_eq!(Permission::named("fleet"), Some(Permission::Fleet));
        assert_eq!(Permission::named("alerts"), Some(Permission::Alerts));
        assert_eq!(Permission::named("Fleet"), None);
        let bridge = Credential::of_config("bridge", &["*".to_owned()]);
        assert!(bridge.allows("imu/1") && !bridge.may(Permission::Fleet) && !bridge.may(Permission::Alerts));
        assert!(Credential::anonymous().may(Permission::Fleet));
    }
}
