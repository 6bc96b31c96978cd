//! Kinds of deployments: any TLS peer, or a bridge with a server behind it. Each is a folder in `profiles/`; `build.rs` makes a
//! [`Profile`] of each.

use nssight_diagnosis::verdict::Peer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::walk::Probe;

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// What there is to know of a profile.
pub struct Details {
    /// What verdicts call the first hop.
    pub peer: Peer,
    /// The same as a subject in a sentence.
    pub subject: &'static str,
    /// The probes after the handshake with it, in the order of the walk.
    pub beyond: &'static [Probe],
}

/// Reports of version 1 do not say which; they knew one.
impl Default for Profile {
    fn default() -> Self {
        Self::Sigul
    }
}
