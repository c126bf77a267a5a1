//! Who a client is and what it may: tokens of a file, signed tokens (JWT), client certificates; TLS of the listeners.
//!
//! Owns: the credentials in force, their files and keys, the server's certificate. Never: a token in clear after
//! loading (only its hash is kept), or in a message; a server that anybody can reach without credentials; what a
//! protocol answers to those without.
//!
//! Shape: `pattern`, `credential` and `table` are pure; `jwt` verifies signed tokens and fetches their keys, `auth` is
//! all of it in force, `tls` and `transport` the connections, `reload` looks at the files again, `config` their keys.

mod auth;
pub mod config;
mod credential;
mod jwt;
mod pattern;
mod reload;
mod table;
mod tls;
mod transport;

pub use auth::{Auth, AuthError, Sources, Unknown};
pub use config::{ClientCertificates, JwtConfig, KeyMisfit, TlsConfig, check_key};
pub use credential::{Credential, Origin, Permission};
pub use jwt::{Denied, JwtError};
pub use pattern::Pattern;
pub use reload::{Reread, look};
pub use tls::{HandshakeError, Peer, Tls, TlsError, trust_only};
pub use transport::Transport;
