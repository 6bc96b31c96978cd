//! Sigul: a bridge, and a signing server that connects to it. A client's request to the bridge and its inner TLS session with the server
//! share one outer TLS session, in chunks.

mod bridge;
mod request;
mod settings;
mod tunnel;
mod users;

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::fact::fact::DeploymentKind;
use nssight_diagnosis::vocabulary::Peer;

use crate::probe::{inner_handshake, request as request_layer};
use crate::profile::{Configuration, Details};

/// A profile with two hops.
pub const DETAILS: Details = Details {
    peer: Peer::Bridge,
    kind: Some(DeploymentKind::Sigul),
    hops: &[(Hop::Peer, "bridge"), (Hop::Server, "server")],
    subject: "the bridge",
    beyond: &[bridge::PROBE, inner_handshake::PROBE, request_layer::PROBE],
    on_request: &[],
    configuration: Some(Configuration {
        read: settings::read,
        programs: "sigul",
        is_in: settings::is_in,
        suffix: "conf",
    }),
    refusal: Some(request::refusal),
    allowed: Some(settings::check_port),
};
