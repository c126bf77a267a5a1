//! Files that are looked at again while a service runs: credentials, keys, the certificate.
//!
//! Owns: the order of the looks. Never: takes a broken file; what is in force stays, and the failure is told once per
//! change. Contents are compared, not times: a mounted secret changes by a link.

use crate::auth::Auth;
use crate::tls::Tls;

/// What is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reread {
    /// The credentials file.
    Credentials,
    /// The file of keys of signed tokens.
    Keys,
    /// The server's certificate, its key, and who signs those of clients.
    Certificate,
}

/// Looks at the files once and tells of each: whether it had changed and is in force, or why it cannot be taken.
/// Blocks while it reads.
pub fn look(auth: &Auth, tls: Option<&Tls>, now_ms: i64, tell: &mut dyn FnMut(Reread, Result<bool, String>)) {
    tell(Reread::Credentials, auth.reload().map_err(|error| error.to_string()));
    tell(Reread::Keys, auth.reload_keys(now_ms).map_err(|error| error.to_string()));
    if let Some(tls) = tls {
        tell(Reread::Certificate, tls.reload().map_err(|error| error.to_string()));
    }
}
