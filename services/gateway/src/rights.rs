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
        Name::Notifications { user, .. } if !credential.is_anonymous() && &*credential.name != user => {
            Some(format!("the credential is not that of {user}"))
        }
        Name::Notifications { streams, .. } if *streams != credential.streams => {
            Some("the credential covers other streams than it did; subscribe again".into())
        }
        _ => None,
    }
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
            Name::Notifications { user: "ada".into(), streams: Vec::new() },
            Name::Notifications { user: "bob".into(), streams: Vec::new() },
        ];
        use Permission::{Alerts, Fleet};
        for (streams, permissions, want) in [
            ("bowl/*", &[][..], [true, true, true, false, false, false, false, false]),
            ("bowl/*", &[Alerts], [true, true, true, true, false, false, true, false]),
            ("imu/*", &[Alerts, Fleet], [false, false, false, false, true, true, true, false]),
            ("*", &[], [true, true, true, false, false, false, false, false]),
            ("*", &[Alerts], [true, true, true, true, false, false, true, false]),
            ("*", &[Alerts, Fleet], [true, true, true, true, true, true, true, false]),
        ] {
            let of = credential(streams, permissions);
            let may = names.clone().map(|name| refusal(&of, &name.of(&of)).is_none());
            assert_eq!(may, want, "{streams} {permissions:?}");
        }
        let anybody = Credential::anonymous();
        assert!(names.into_iter().all(|name| refusal(&anybody, &name.of(&anybody)).is_none()));
    }

    #[test]
    fn another_credential_of_a_user_does_not_keep_notifications_of_streams_it_does_not_cover() {
        let (wide, narrow) =
            (credential("*", &[Permission::Alerts]), credential("bowl/*", &[Permission::Alerts]));
        let name = Name::Notifications { user: "ada".into(), streams: Vec::new() }.of(&wide);
        assert_eq!(refusal(&wide, &name), None);
        assert!(refusal(&narrow, &name).unwrap().contains("other streams"));
    }
}
