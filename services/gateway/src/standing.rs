//! Who a connection is: its credential, when that ends, and when a new one is asked for.
//!
//! Owns: the step from what a client shows to a credential, and the close codes of that. Never: a token after it was
//! judged.

use crate::server::Server;
use evenkeel_auth::{Credential, Peer, Unknown};
use evenkeel_fanout::Control;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a connection ends: code and reason.
pub(crate) type End = (u16, String);

/// What the protocol says of a credential that never ends, ms: the largest number of the wire.
const FOR_EVER_MS: u64 = (1 << 53) - 1;

/// The standing of one connection.
pub(crate) struct Standing {
    /// The header, until it was looked at.
    authorization: Option<Box<[u8]>>,
    peer: Option<Arc<Peer>>,
    /// `None` = it has not begun yet.
    credential: Option<Arc<Credential>>,
    /// A new credential was asked for.
    asked: bool,
}

impl Standing {
    pub(crate) fn new(authorization: Option<Box<[u8]>>, peer: Option<Arc<Peer>>) -> Self {
        Self { authorization, peer, credential: None, asked: false }
    }

    /// Whose it is, once it has begun.
    pub(crate) fn credential(&self) -> Option<&Arc<Credential>> {
        self.credential.as_ref()
    }

    /// The first message: its token counts, then the header, then the certificate.
    pub(crate) fn begin(&mut self, shared: &Server, token: Option<String>) -> Result<Control, End> {
        let header = self.authorization.take();
        let shown = token.map(|token| bearer(&token)).or(header.map(Vec::from));
        let credential = self.authenticate(shared, shown.as_deref())?;
        let expires_in_ms = left_ms(&credential, shared);
        self.credential = Some(credential);
        Ok(Control::Ack { expires_in_ms })
    }

    /// Another token of an open connection.
    pub(crate) fn refresh(
        &mut self,
        shared: &Server,
        token: &str,
    ) -> Result<(Arc<Credential>, Control), End> {
        let credential = self.authenticate(shared, Some(&bearer(token)))?;
        let expires_in_ms = left_ms(&credential, shared).unwrap_or(FOR_EVER_MS);
        (self.credential, self.asked) = (Some(Arc::clone(&credential)), false);
        Ok((credential, Control::Refresh { expires_in_ms, wanted: false }))
    }

    /// Credentials have changed: whether this one still stands.
    pub(crate) fn check(&self, shared: &Server) -> Result<(), End> {
        let Some(credential) = &self.credential else { return Ok(()) };
        shared.auth.check(credential, shared.wall_ms()).map_err(|why| (4001, why.to_owned()))
    }

    /// When it is to be looked at again.
    pub(crate) fn due(&self, shared: &Server) -> Option<Instant> {
        let ends_ms = self.credential.as_ref()?.expires_at_ms?;
        let ask_ms = ends_ms.saturating_sub(before_ms(shared));
        Some(shared.at_wall(if self.asked { ends_ms } else { ask_ms }))
    }

    /// Whether its time is over, or a new credential is to be asked for.
    pub(crate) fn time(&mut self, shared: &Server) -> Result<Option<Control>, End> {
        self.check(shared)?;
        let Some(ends_ms) = self.credential.as_ref().and_then(|credential| credential.expires_at_ms) else {
            return Ok(None);
        };
        let left = ends_ms.saturating_sub(shared.wall_ms());
        if self.asked || left > before_ms(shared) {
            return Ok(None);
        }
        self.asked = true;
        Ok(Some(Control::Refresh { expires_in_ms: u64::try_from(left).unwrap_or(0), wanted: true }))
    }

    fn authenticate(&self, shared: &Server, shown: Option<&[u8]>) -> Result<Arc<Credential>, End> {
        shared.authenticate(shown, self.peer.as_deref()).map_err(|unknown| end_of(&unknown))
    }
}

/// Every way to say no, and whether coming again is of use.
fn end_of(unknown: &Unknown) -> End {
    match unknown {
        _ if unknown.is_ours() => (4499, format!("retry_after_ms=1000 {unknown}")),
        _ if unknown.is_expired() => (4001, unknown.to_string()),
        Unknown::Missing => (4501, "a credential is needed: connection_init.token".into()),
        _ => (4501, unknown.to_string()),
    }
}

fn bearer(token: &str) -> Vec<u8> {
    format!("Bearer {token}").into_bytes()
}

fn left_ms(credential: &Credential, shared: &Server) -> Option<u64> {
    let left = credential.expires_at_ms?.saturating_sub(shared.wall_ms());
    Some(u64::try_from(left).unwrap_or(0).min(FOR_EVER_MS))
}

fn before_ms(shared: &Server) -> i64 {
    let before: Duration = shared.timing.refresh_before;
    i64::try_from(before.as_millis()).unwrap_or(i64::MAX)
}
