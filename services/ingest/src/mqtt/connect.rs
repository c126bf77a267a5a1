//! A CONNECT: what a client asks for, whether it may come in, and the answer.
//!
//! Owns: the closed list of reasons to send a client away. A token is the password, or the user name where there is
//! no password.

use super::MqttLimits;
use super::reply::{Manners, reason};
use super::table::{Claim, Session};
use crate::delivery::Edge;
use crate::problem::Kind;
use evenkeel_auth::Credential;
use evenkeel_auth::Peer;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumPacketSize, MaximumQos, Packet, Property, ReceiveMaximum,
    RetainAvailable, ServerKeepAlive, SharedSubscriptionAvailable, SubscriptionIdentifierAvailable,
    WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use std::sync::Arc;
use std::time::Duration;

/// Longest client id, bytes: it is kept while its client is away.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// Least packet size of a client at which reason strings are sent, bytes.
const EXPLAIN_BYTES_MIN: u32 = 512;
/// The answer of version 3.1.1 to a version that is neither 3.1.1 nor 5.
pub(super) const UNKNOWN_VERSION: [u8; 4] = [0x20, 2, 0, 1];

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) manners: Manners,
    pub(super) client_id: String,
    token: Option<Vec<u8>>,
    keep_alive_s: u16,
    pub(super) session: Session,
    will: bool,
    method: bool,
}

impl Asked {
    /// Reads a CONNECT; `None` if it is another packet.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        match packet {
            Packet::V3_1_1Connect(packet) => Some(Self {
                manners: Manners { version: Version::V3_1_1, explain: false },
                client_id: packet.client_id().to_owned(),
                token: packet.password().or(packet.user_name().map(str::as_bytes)).map(<[u8]>::to_vec),
                keep_alive_s: packet.keep_alive(),
                session: Session {
                    clean: packet.clean_session(),
                    expiry: if packet.clean_session() { Duration::ZERO } else { Duration::MAX },
                },
                will: packet.will_flag(),
                method: false,
            }),
            Packet::V5_0Connect(packet) => {
                let (mut explain, mut method, mut expiry) = (true, false, Duration::ZERO);
                for property in packet.props() {
                    match property {
                        Property::RequestProblemInformation(asked) => explain &= asked.val() != 0,
                        Property::MaximumPacketSize(size) => explain &= size.val() >= EXPLAIN_BYTES_MIN,
                        Property::AuthenticationMethod(_) => method = true,
                        Property::SessionExpiryInterval(asked) if asked.val() == u32::MAX => {
                            expiry = Duration::MAX;
                        }
                        Property::SessionExpiryInterval(asked) => {
                            expiry = Duration::from_secs(asked.val().into());
                        }
                        _ => {}
                    }
                }
                Some(Self {
                    manners: Manners { version: Version::V5_0, explain },
                    client_id: packet.client_id().to_owned(),
                    token: packet.password().or(packet.user_name().map(str::as_bytes)).map(<[u8]>::to_vec),
                    keep_alive_s: packet.keep_alive(),
                    session: Session { clean: packet.clean_start(), expiry },
                    will: packet.will_flag(),
                    method,
                })
            }
            _ => None,
        }
    }

    /// Whether it may come in.
    pub(super) fn judge(&self, edge: &Edge, peer: Option<&Peer>) -> Result<Arc<Credential>, Unwelcome> {
        if self.method {
            return Err(Unwelcome::Method);
        }
        if self.manners.version != Version::V5_0 && self.client_id.is_empty() && !self.session.clean {
            return Err(Unwelcome::ClientId);
        }
        if self.client_id.len() > CLIENT_ID_BYTES_MAX {
            return Err(Unwelcome::LongClientId);
        }
        let header = self.token.as_ref().map(|token| [b"Bearer ", token.as_slice()].concat());
        let credential =
            edge.authenticate(header.as_deref(), peer).map_err(|problem| match problem.kind {
                Kind::KeysUnavailable => Unwelcome::Later(problem.detail),
                _ if header.is_none() && peer.is_none() => {
                    Unwelcome::Credential("the token is missing: send it as the password".into())
                }
                _ => Unwelcome::Credential(problem.detail),
            })?;
        if self.will { Err(Unwelcome::Will) } else { Ok(credential) }
    }

    /// How long it may be silent: what it asked for, at most what we allow. One and a half times that ends it.
    pub(super) fn keep_alive(&self, limits: &MqttLimits) -> Duration {
        match self.keep_alive_s {
            0 => limits.keep_alive_max,
            asked => limits.keep_alive_max.min(Duration::from_secs(asked.into())),
        }
    }

    /// The answer to a client that may come in under this name.
    pub(super) fn welcome(&self, limits: &MqttLimits, claim: &Claim) -> Result<Packet, MqttError> {
        let resumed = claim.is_resumed();
        if self.manners.version != Version::V5_0 {
            let code = ConnectReturnCode::Accepted;
            return Ok(v3_1_1::Connack::builder().session_present(resumed).return_code(code).build()?.into());
        }
        let mut properties: Vec<Property> = vec![
            // What a client may leave unsaid is said: it makes a difference to most of them.
            ReceiveMaximum::new(limits.receive_max)?.into(),
            MaximumQos::new(1)?.into(),
            RetainAvailable::new(0)?.into(),
            MaximumPacketSize::new(u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX))?.into(),
            WildcardSubscriptionAvailable::new(0)?.into(),
            SubscriptionIdentifierAvailable::new(0)?.into(),
            SharedSubscriptionAvailable::new(0)?.into(),
        ];
        if self.client_id.is_empty() {
            properties.push(AssignedClientIdentifier::new(claim.client_id())?.into());
        }
        let keep_alive_s = u16::try_from(self.keep_alive(limits).as_secs()).unwrap_or(u16::MAX);
        if keep_alive_s != self.keep_alive_s {
            properties.push(ServerKeepAlive::new(keep_alive_s)?.into());
        }
        let packet =
            v5_0::Connack::builder().session_present(resumed).reason_code(ConnectReasonCode::Success);
        Ok(packet.props(properties).build()?.into())
    }
}

/// Why a client is sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unwelcome {
    /// No credential, or none we know.
    Credential(String),
    /// Nothing is wrong with it, but it cannot be judged now.
    Later(String),
    /// A session without a name.
    ClientId,
    /// A name longer than [`CLIENT_ID_BYTES_MAX`].
    LongClientId,
    /// A last will: nobody could receive it.
    Will,
    /// Authentication by an exchange.
    Method,
    /// The service is shutting down.
    Draining,
}

impl Unwelcome {
    fn words(&self) -> &str {
        match self {
            Self::Credential(why) | Self::Later(why) => why,
            Self::LongClientId => "the client id is longer than 256 bytes",
            Self::ClientId => "without a client id only a clean session is possible",
            Self::Will => "this server hands no messages out, so it takes no last will",
            Self::Method => "send the token as the password; no authentication method is known",
            Self::Draining => "the server is shutting down",
        }
    }

    /// The answer.
    pub(super) fn answer(&self, version: Version) -> Result<Packet, MqttError> {
        if version != Version::V5_0 {
            let code = match self {
                // 4 would be a bad user name or password; clients show it as what it is.
                Self::Credential(_) => ConnectReturnCode::BadUserNameOrPassword,
                Self::ClientId | Self::LongClientId => ConnectReturnCode::IdentifierRejected,
                Self::Draining | Self::Later(_) => ConnectReturnCode::ServerUnavailable,
                Self::Will | Self::Method => ConnectReturnCode::NotAuthorized,
            };
            return Ok(v3_1_1::Connack::builder().session_present(false).return_code(code).build()?.into());
        }
        let code = match self {
            Self::Credential(_) => ConnectReasonCode::NotAuthorized,
            Self::ClientId | Self::LongClientId => ConnectReasonCode::ClientIdentifierNotValid,
            Self::Will => ConnectReasonCode::ImplementationSpecificError,
            Self::Method => ConnectReasonCode::BadAuthenticationMethod,
            Self::Draining | Self::Later(_) => ConnectReasonCode::ServerUnavailable,
        };
        let packet = v5_0::Connack::builder().session_present(false).reason_code(code);
        Ok(packet.props(reason(self.words()).into_iter().collect::<Vec<_>>()).build()?.into())
    }
}
