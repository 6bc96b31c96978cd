//! Siguldry: a bridge, and a signing server that connects to it, as with Sigul; with OpenSSL, and certificates in files. A connection
//! begins with a header, which the bridge acknowledges when it has both sides; then it forwards the bytes of the inner session unchanged.

mod bridge;
mod carried;
mod config;
mod document;
mod header;
mod request;

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::fact::fact::DeploymentKind;
use nssight_diagnosis::vocabulary::Peer;

use crate::probe::{inner_handshake, request as request_layer};
use crate::profile::{Configuration, Details};

/// A profile with two hops.
pub const DETAILS: Details = Details {
    peer: Peer::Bridge,
    kind: Some(DeploymentKind::Siguldry),
    hops: &[(Hop::Peer, "bridge"), (Hop::Server, "server")],
    subject: "the bridge",
    beyond: &[bridge::PROBE, inner_handshake::PROBE, request_layer::PROBE],
    on_request: &[],
    configuration: Some(Configuration {
        read: config::read,
        programs: "siguldry",
        is_in: document::is_in,
        suffix: "toml",
    }),
    refusal: None,
    allowed: None,
};
