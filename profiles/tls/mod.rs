//! Any TLS peer: the walk ends with the handshake, or with a harmless question where one was asked for.

mod http;

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::vocabulary::Peer;

use crate::profile::Details;

/// One hop.
pub const DETAILS: Details = Details {
    peer: Peer::Plain,
    kind: None,
    hops: &[(Hop::Peer, "peer")],
    subject: "the peer",
    beyond: &[],
    on_request: &[http::PROBE],
    configuration: None,
    refusal: None,
    allowed: None,
};
