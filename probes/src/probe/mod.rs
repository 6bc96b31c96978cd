//! One probe a file. Each has one constant, `PROBE`, and one function of one signature behind it.

pub mod bridge;
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
