//! Any TLS peer: the check ends with the handshake, or with a harmless request if one was configured.

mod http;

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::vocabulary::Peer;

use crate::profile::Details;

/// A profile with one hop.
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
