//! A TLS client session of OpenSSL over a [`Transport`](nssight_session::Transport), and the identities and trust that it uses.
//!
//! OpenSSL tells little of what goes on inside TLS 1.3, so the records are read here as well, with the session's own secrets, which
//! never leave the process.

mod carrier;
mod error;
mod judge;
mod messages;
mod record;
mod sealed;
mod session;

pub use session::{Identity, Options, Session, Trust, security_level, takes, version};
