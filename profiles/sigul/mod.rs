//! Sigul: a bridge, and a signing server that dials out to it. A client's request to the bridge and its inner TLS session with
//! the server go through one outer TLS session, in chunks.

mod bridge;
mod request;
mod settings;
mod tunnel;
mod users;

use nssight_diagnosis::vocabulary::Peer;

use crate::probe::{inner_handshake, request as request_layer};
use crate::profile::Details;

/// Two hops.
pub const DETAILS: Details = Details {
    peer: Peer::Bridge,
    subject: "the bridge",
    beyond: &[bridge::PROBE, inner_handshake::PROBE, request_layer::PROBE],
    on_request: &[],
    configuration: Some(settings::read),
    allowed: Some(settings::check_port),
};
