//! The words of a verdict: layers, components, statuses and confidence.
//!
//! Their ids are part of the report format: they are written and read exactly as `as_str` gives them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A word that is not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not a {what}; known: {known}")]
pub struct UnknownWord {
    /// The kind of word: "layer", "component", …
    pub what: &'static str,
    /// The word that was given.
    pub word: String,
    /// All known words.
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
            /// A layer between a client's configuration and the server's reply, in the order of a check.
            Layer, "layer":
            $($rows)*
        }
    };
}

include!("layers.in");

vocabulary! {
    /// The component at fault.
    Component, "component":
    /// Settings of the client.
    ClientConfig = "client-config",
    /// The client's NSS database.
    ClientDb = "client-db",
    /// The client's files with certificates and keys.
    ClientFiles = "client-files",
    /// The client's host.
    ClientHost = "client-host",
    /// The network between the hosts.
    Network = "network",
    /// The TLS peer that we connect to.
    Peer = "peer",
    /// The peer, if it is a bridge with a server behind it.
    Bridge = "bridge",
    /// The signing server; or this host, if it is checked as a server.
    Server = "server",
    /// nssight itself.
    Tool = "tool",
}

vocabulary! {
    /// The owner of a certificate.
    CertificateRole, "certificate role":
    /// A client, usually this host.
    Client = "client",
    /// The bridge, or another peer in its place.
    Bridge = "bridge",
    /// The signing server.
    Server = "server",
    /// An issuer in the chain of one of them.
    Authority = "authority",
}

vocabulary! {
    /// The result of a layer.
    Status, "status":
    /// Everything in the layer works.
    Pass = "pass",
    /// The layer works, but something needs attention.
    Warn = "warn",
    /// The layer does not work.
    Fail = "fail",
    /// The layer was not checked.
    Skip = "skip",
}

vocabulary! {
    /// The result of the whole check.
    Outcome, "outcome":
    /// Every layer that was checked passed.
    Pass = "pass",
    /// A layer does not work.
    Fail = "fail",
    /// A layer failed, and passed on a retry.
    Flaky = "flaky",
    /// nssight itself could not finish.
    Inconclusive = "inconclusive",
}

vocabulary! {
    /// The strength of the evidence for the verdict.
    Confidence, "confidence":
    /// The evidence excludes every other known cause.
    Certain = "certain",
    /// The evidence supports this cause; alternatives are listed.
    Likely = "likely",
    /// One explanation among several.
    Possible = "possible",
}

/// The reader of a text: the peer is the final server, or a bridge to a server behind it; our certificates are in a database, or in files.
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
    /// The number of kinds.
    pub const COUNT: usize = Self::ClientsOfFiles as usize + 1;

    /// Whether the peer is a bridge.
    pub const fn is_bridge(self) -> bool {
        matches!(self, Self::Bridge | Self::BridgeOfFiles)
    }

    /// Whether this host is the server.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Clients | Self::ClientsOfFiles)
    }
}
