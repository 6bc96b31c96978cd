//! Kinds of deployments: any TLS peer, or a bridge with a server behind it. Each is a folder in `profiles/`; `build.rs` makes a
//! [`Profile`] of each.

use nssight_diagnosis::vocabulary::Peer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{ConfigTrouble, Configured, Request, Warning};
use crate::target::Target;
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
    /// Those that are walked only where somebody asked for a question to the peer, behind the others.
    pub on_request: &'static [Probe],
    /// Reads its own configuration, if it has one.
    pub configuration: Option<Reader>,
    /// Whether a target may be walked as it was configured.
    pub allowed: Option<Check>,
}

/// Reads a configuration; remarks go to the list.
pub type Reader = fn(&Request<'_>, &mut Vec<Warning>) -> Result<Configured, ConfigTrouble>;
/// Finds what must not be walked.
pub type Check = fn(&Target, &Request<'_>) -> Result<(), ConfigTrouble>;

impl Details {
    /// Whether a target may be walked as it was configured.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, target: &Target, request: &Request<'_>) -> Result<(), ConfigTrouble> {
        self.allowed.map_or(Ok(()), |check| check(target, request))
    }
}

/// Reports of version 1 do not say which; they knew one.
impl Default for Profile {
    fn default() -> Self {
        Self::Sigul
    }
}
