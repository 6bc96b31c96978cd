//! A TLS session of OpenSSL, as client or as server, over a [`Transport`](nssight_session::Transport), and the identities and trust
//! that it uses.
//!
//! OpenSSL reports little of what happens inside TLS 1.3, so the records are read here as well, with the session's own secrets, which
//! never leave the process.

mod carrier;
mod error;
mod judge;
mod messages;
mod record;
mod sealed;
mod server;
mod session;

pub use server::ServerOptions;
pub use session::{Identity, Options, Session, Trust, security_level, takes, version};
