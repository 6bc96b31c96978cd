//! One probe a file. Each has one constant, `PROBE`, and one function of one signature behind it.

pub mod certificate;
pub mod config;
pub mod environment;
pub mod inner_handshake;
pub mod nss_db;
pub mod outer_handshake;
pub mod password;
pub mod private_key;
pub mod request;
pub mod resolve;
pub mod tcp;

use crate::walk::Probe;

/// The probes of every walk, in its order; those behind the handshake are the profile's.
pub const COMMON: &[Probe] = &[
    config::PROBE,
    environment::PROBE,
    nss_db::PROBE,
    password::PROBE,
    certificate::PROBE,
    private_key::PROBE,
    resolve::PROBE,
    tcp::PROBE,
    outer_handshake::PROBE,
];
