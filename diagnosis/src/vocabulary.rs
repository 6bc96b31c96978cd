//! The words of a verdict: layers, components, statuses and confidence.
//!
//! Their ids are part of the report format: they are written and read exactly as `as_str` gives them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A word that is not in the vocabulary it was looked up in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not a {what}; known are: {known}")]
pub struct UnknownWord {
    /// What was looked for: "layer", "component", …
    pub what: &'static str,
    /// The word that was given.
    pub word: String,
    /// Every word that would have been understood.
    pub known: String,
}

/// Declares an enum whose variants have a fixed kebab-case id, used for display, parsing and JSON.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident, $what:literal: $($(#[$vmeta:meta])* $variant:ident = $id:literal,)+) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $id)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id, as reports write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| UnknownWord {
                    what: $what,
                    word: word.to_owned(),
                    known: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// The rows of `layers.in`, which the build of this crate reads too.
macro_rules! layers {
    ($($rows:tt)*) => {
        vocabulary! {
            /// One layer between a client's configuration and the server's reply, in the order of the walk.
            Layer, "layer":
            $($rows)*
        }
    };
}

include!("layers.in");

vocabulary! {
    /// Whose fault it is.
    Component, "component":
    /// Settings of the client.
    ClientConfig = "client-config",
    /// The client's NSS database.
    ClientDb = "client-db",
    /// The client's files: certificates and keys that are not in a database.
    ClientFiles = "client-files",
    /// The host the client runs on.
    ClientHost = "client-host",
    /// What lies between the hosts.
    Network = "network",
    /// The TLS peer that we connect to.
    Peer = "peer",
    /// The peer, where it is a bridge with a server behind it.
    Bridge = "bridge",
    /// The signing server; or this host, where it is looked at as a server.
    Server = "server",
    /// nssight itself.
    Tool = "tool",
}

vocabulary! {
    /// Whose certificate it is.
    CertificateRole, "certificate role":
    /// A client's: as a rule our own.
    Client = "client",
    /// The bridge's, or that of the peer in its place.
    Bridge = "bridge",
    /// The signing server's.
    Server = "server",
    /// An issuer in the chain of one of them.
    Authority = "authority",
}

vocabulary! {
    /// How one layer came out.
    Status, "status":
    /// All that the layer asks was answered well.
    Pass = "pass",
    /// The layer works, and something about it deserves attention.
    Warn = "warn",
    /// The layer does not work.
    Fail = "fail",
    /// The layer was not walked.
    Skip = "skip",
}

vocabulary! {
    /// How the whole walk came out.
    Outcome, "outcome":
    /// Every layer that was walked works.
    Pass = "pass",
    /// A layer does not work.
    Fail = "fail",
    /// A layer did not work, and did when it was tried again.
    Flaky = "flaky",
    /// nssight itself could not finish.
    Inconclusive = "inconclusive",
}

vocabulary! {
    /// How far the evidence carries the verdict.
    Confidence, "confidence":
    /// The evidence rules out every other cause that is known.
    Certain = "certain",
    /// The evidence points here; the alternatives are named.
    Likely = "likely",
    /// One explanation among several.
    Possible = "possible",
}

/// What the reader of a text has: the peer is the end of the way, or a bridge to a server behind it; our certificates are in a database,
/// or in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peer {
    /// Any TLS peer, and a database.
    #[default]
    Plain,
    /// Any TLS peer, and files.
    Files,
    /// A bridge, and a database.
    Bridge,
    /// A bridge, and files.
    BridgeOfFiles,
    /// Any client: this host is the server, and has a database.
    Clients,
    /// Any client: this host is the server, and has files.
    ClientsOfFiles,
}

impl Peer {
    /// Whether a bridge is the peer.
    pub const fn is_bridge(self) -> bool {
        matches!(self, Self::Bridge | Self::BridgeOfFiles)
    }

    /// Whether this host is the server.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Clients | Self::ClientsOfFiles)
    }
}
