//! Any TLS peer: the walk ends with the handshake.

use nssight_diagnosis::verdict::Peer;

use crate::profile::Details;

/// One hop.
pub const DETAILS: Details =
    Details { peer: Peer::Plain, subject: "the peer", beyond: &[], configuration: None, allowed: None };
