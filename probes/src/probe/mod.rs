//! One probe per file. Each file has one constant, `PROBE`, and one function behind it, always with the same signature.

pub mod certificate;
pub mod certificate_file;
pub mod config;
pub mod credentials;
pub mod environment;
pub mod inner_handshake;
pub mod key_file;
pub mod key_password;
pub mod nss_db;
pub mod outer_handshake;
pub mod password;
pub mod private_key;
pub mod request;
pub mod resolve;
pub mod serving;
pub mod tcp;

use crate::walk::Probe;

/// The probes of a check with certificates in files.
pub const OF_FILES: &[Probe] = &[
    config::PROBE,
    environment::PROBE,
    credentials::PROBE,
    key_password::PROBE,
    certificate_file::PROBE,
    key_file::PROBE,
    resolve::PROBE,
    tcp::PROBE_OF_FILES,
    outer_handshake::PROBE,
];

/// The probes of a check with a database, in its order; the profile adds those after the handshake.
pub const OF_DATABASE: &[Probe] = &[
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
