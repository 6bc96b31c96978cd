//! Kinds of deployments: any TLS peer, or a bridge with a server behind it. Each has a folder in `profiles/`, from which `build.rs`
//! generates a [`Profile`].

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::fact::fact::DeploymentKind;
use nssight_diagnosis::signal::Signal;
use nssight_diagnosis::vocabulary::Peer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{ConfigTrouble, Configured, Request, Warning};
use crate::target::Target;
use crate::walk::Probe;

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// The details of a profile.
pub struct Details {
    /// The name of the first hop in verdicts.
    pub peer: Peer,
    /// The fact about the kind of deployment, if causes depend on it.
    pub kind: Option<DeploymentKind>,
    /// The hops in order, with the name of each far end.
    pub hops: &'static [(Hop, &'static str)],
    /// The first hop as the subject of a sentence.
    pub subject: &'static str,
    /// The probes after the handshake with the first hop, in the order of the check.
    pub beyond: &'static [Probe],
    /// The probes that run last, and only if the user requested a question to the peer.
    pub on_request: &'static [Probe],
    /// The functions that recognise and read its configuration, if it has one.
    pub configuration: Option<Configuration>,
    /// The signal for the error number in a server's reply.
    pub refusal: Option<fn(u32) -> Signal>,
    /// Whether a target may be checked as configured.
    pub allowed: Option<Check>,
}

/// The configuration of a profile.
pub struct Configuration {
    /// Reads the configuration.
    pub read: Reader,
    /// Prefix of the names of programs that read the usual files by default.
    pub programs: &'static str,
    /// Whether a file contains such a configuration.
    pub is_in: fn(&[u8]) -> bool,
    /// The file name suffixes of its configurations.
    pub suffix: &'static str,
}

/// Reads a configuration; remarks go to the list.
pub type Reader = fn(&Request<'_>, &mut Vec<Warning>) -> Result<Configured, ConfigTrouble>;
/// Returns an error for a target that must not be checked.
pub type Check = fn(&Target, &Request<'_>) -> Result<(), ConfigTrouble>;

impl Details {
    /// Whether a target may be checked as configured.
    ///
    /// # Errors
    /// The reason, if it may not.
    pub fn allows(&self, target: &Target, request: &Request<'_>) -> Result<(), ConfigTrouble> {
        self.allowed.map_or(Ok(()), |check| check(target, request))
    }
}

impl Profile {
    /// The first profile with such a peer.
    pub fn of(peer: Peer) -> Self {
        Self::ALL.iter().copied().find(|profile| profile.details().peer == peer).unwrap_or(Self::Tls)
    }

    /// All known configurations.
    pub fn configurations() -> impl Iterator<Item = &'static Configuration> {
        Self::ALL.iter().filter_map(|profile| profile.details().configuration.as_ref())
    }
}

/// Reports of version 1 do not name the profile; only one existed then.
impl Default for Profile {
    fn default() -> Self {
        Self::of(Peer::Bridge)
    }
}
