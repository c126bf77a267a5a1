//! What a credential may look at (schemas/ws/gateway.md, "Rights").

use crate::protocol::name::Name;
use evenkeel_auth::{Credential, Permission};

/// Why a topic is not for this credential, for a person; `None` = it may look at it.
pub(crate) fn refusal(credential: &Credential, name: &Name) -> Option<String> {
    let lacks = |permission: &str| Some(format!("the credential has not the permission `{permission}`"));
    if let Some(device) = name.device()
        && !credential.allows(device)
    {
        return Some(format!("the credential does not cover {device}"));
    }
    match name {
        Name::Fleet | Name::Devices if !credential.may(Permission::Fleet) => lacks("fleet"),
        Name::Alerts { .. } | Name::Notifications { .. } if !credential.may(Permission::Alerts) => {
            lacks("alerts")
        }
        Name::Notifications { user } if !is_user(credential, user) => {
            Some(format!("the credential is not that of {user} for all streams"))
        }
        _ => None,
    }
}

/// A user is told of every stream, so must cover every one.
fn is_user(credential: &Credential, user: &str) -> bool {
    credential.is_anonymous() || (&*credential.name == user && credential.allows_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_auth::{Origin, Pattern};
    use std::collections::BTreeSet;

    fn credential(streams: &str, permissions: &[Permission]) -> Credential {
        Credential {
            name: "ada".into(),
            streams: vec![Pattern::new(streams)],
            permissions: permissions.iter().copied().collect::<BTreeSet<_>>(),
            origin: Origin::Config,
            expires_at_ms: None,
        }
    }

    #[test]
    fn each_topic_needs_its_own_right() {
        let device = || "bowl/7".to_owned();
        let names = [
            Name::Telemetry { device: device() },
            Name::Windows { device: device(), size_ms: 5000 },
            Name::Status { device: device() },
            Name::Alerts { device: device() },
            Name::Fleet,
            Name::Devices,
            Name::Notifications { user: "ada".into() },
            Name::Notifications { user: "bob".into() },
        ];
        use Permission::{Alerts, Fleet};
        for (streams, permissions, want) in [
            ("bowl/*", &[][..], [true, true, true, false, false, false, false, false]),
            ("bowl/*", &[Alerts], [true, true, true, true, false, false, false, false]),
            ("imu/*", &[Alerts, Fleet], [false, false, false, false, true, true, false, false]),
            ("*", &[], [true, true, true, false, false, false, false, false]),
            ("*", &[Alerts], [true, true, true, true, false, false, true, false]),
            ("*", &[Alerts, Fleet], [true, true, true, true, true, true, true, false]),
        ] {
            let of = credential(streams, permissions);
            let may = names.each_ref().map(|name| refusal(&of, name).is_none());
            assert_eq!(may, want, "{streams} {permissions:?}");
        }
        assert!(names.iter().all(|name| refusal(&Credential::anonymous(), name).is_none()));
    }
}
