//! The catalogue of causes: what each one means, how to be sure of it, what to do, and by which rules it is named.
//!
//! It is made of `causes/*.toml`, one file for each cause.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fact::FactId;
use crate::signal::Signal;
use crate::vocabulary::{Component, Layer, Peer};

/// A word that is not the id of a cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not the id of a cause; `nssight causes` lists all causes")]
pub struct UnknownCause {
    /// The word that was given.
    pub word: String,
}

/// Declares the causes with their ids, for display, parsing and JSON.
macro_rules! causes {
    ($($variant:ident = $id:literal,)+) => {
        /// The reason why a layer does not work. The ids are part of the report format.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs, reason = "the entry of each cause says what it means")]
        pub enum Cause {
            $(#[serde(rename = $id)] $variant,)+
        }

        impl Cause {
            /// Every cause, by layer and id.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The id, as reports write it.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }
        }
    };
}

impl Cause {
    /// What the catalogue knows about this cause.
    pub fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }

    /// The cause that had this name in reports of the schema before.
    pub fn formerly(name: &str) -> Option<Self> {
        FORMERLY.iter().find(|(before, _)| *before == name).map(|(_, cause)| *cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(word: &str) -> Result<Self, UnknownCause> {
        Self::ALL.iter().copied().find(|cause| cause.id() == word).ok_or_else(|| UnknownCause { word: word.to_owned() })
    }
}

/// Everything the catalogue says about one cause.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The cause.
    pub id: Cause,
    /// The layer where it lives. It may show at another one.
    pub layer: Layer,
    /// Whose fault it may be, the usual one first.
    #[serde(rename = "components", serialize_with = "components")]
    pub faults: &'static [Fault],
    /// The cause in one sentence of at most 100 characters, ready to print.
    pub title: Text,
    /// Why it looks the way it does from a client, and what misleads.
    pub why: Text,
    /// What to run to be sure. Nothing here changes anything.
    pub confirm: &'static [Step],
    /// What to do about it, in order.
    pub fix: &'static [Step],
    /// Causes it is confused with.
    pub see_also: &'static [SeeAlso],
    /// By what it is named.
    #[serde(skip)]
    pub rules: Rules,
}

fn components<S: serde::Serializer>(faults: &&'static [Fault], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(faults.iter().map(|fault| fault.component))
}

impl Entry {
    /// How to be sure with such a peer.
    pub fn confirm(&self, peer: Peer) -> impl Iterator<Item = &'static Step> {
        self.confirm.iter().filter(move |step| step.fits(peer))
    }

    /// Whose fault it usually is.
    pub fn component(&self) -> Component {
        self.faults.first().map_or(Component::Tool, |fault| fault.component)
    }
}

/// A text of the catalogue, which calls the peer what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// Of any TLS peer.
    plain: &'static str,
    /// Of any TLS peer, to who has files in place of a database.
    files: &'static str,
    /// Of a bridge.
    bridge: &'static str,
    /// Of a bridge, to who has files.
    bridge_of_files: &'static str,
    /// Of clients, to a server that has a database.
    clients: &'static str,
    /// Of clients, to a server that has files.
    clients_of_files: &'static str,
}

impl Text {
    /// For this kind of peer.
    pub const fn of(self, peer: Peer) -> &'static str {
        match peer {
            Peer::Plain => self.plain,
            Peer::Files => self.files,
            Peer::Bridge => self.bridge,
            Peer::BridgeOfFiles => self.bridge_of_files,
            Peer::Clients => self.clients,
            Peer::ClientsOfFiles => self.clients_of_files,
        }
    }

    /// For any peer: where none is known.
    pub const fn plain(self) -> &'static str {
        self.plain
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.plain)
    }
}

/// One thing to do, with the command for it where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What to do, or what the command shows.
    pub text: Text,
    /// A shell command; the words in angle brackets are for the reader to replace.
    pub command: Option<Text>,
    /// Of use to these.
    #[serde(skip)]
    pub with: &'static [Peer],
    /// Only of use where it is this one's fault.
    #[serde(skip)]
    pub component: Option<Component>,
    /// Only of use where these facts were found, and then the first thing to do.
    #[serde(skip)]
    pub facts: &'static [Condition],
}

impl Step {
    /// Whether it is of use with such a peer.
    pub fn fits(&self, peer: Peer) -> bool {
        self.with.contains(&peer)
    }
}

/// A cause that looks similar, and what tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SeeAlso {
    /// The other cause.
    pub cause: Cause,
    /// How to tell the two apart.
    pub how: Text,
}

/// What a cause does to a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The layer does not work.
    Stops,
    /// It works, and that deserves attention.
    Warns,
    /// Either of the two.
    Either,
}

/// Which layer a verdict names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The one where the cause lives.
    Home,
    /// The one that showed it.
    Shown,
}

/// Something that must be so: an observed fact with one of these values, one of these signals, or one at these layers.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    /// This fact has one of these words.
    Fact(FactId, &'static [u8]),
    /// This fact, which is no word, was told.
    Told(FactId),
    /// The signal is one of these.
    Signal(&'static [Signal]),
    /// The signal was shown at one of these layers.
    Layer(&'static [Layer]),
}

impl Condition {
    /// Whether it is about this fact.
    pub fn is_about(&self, fact: FactId) -> bool {
        matches!(self, Self::Fact(id, _) | Self::Told(id) if *id == fact)
    }
}

/// How strongly facts speak for a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing does.
    Nothing,
    /// What usually goes with it.
    Inference,
    /// Something was observed that it brings about.
    Observation,
    /// It was compared, parsed or read.
    Proof,
}

/// Conditions that hold together.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// All of them.
    pub facts: &'static [Condition],
    /// What to say when it excludes something; empty where the facts speak for themselves.
    pub say: &'static str,
    /// How strong a support it is.
    pub grade: Grade,
    /// Whose fault it proves.
    pub component: Option<Component>,
    /// What to do first where it supports a cause, more exactly than the catalogue can say it: the text of its fact that is no word
    /// follows.
    pub remedy: Option<&'static str>,
}

/// Signals that a cause shows, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Shows {
    /// Any of these.
    pub signals: &'static [Signal],
    /// At one of these layers; anywhere if there is none.
    pub layers: &'static [Layer],
    /// No fact says otherwise.
    pub facts: &'static [Condition],
    /// Only where these were observed: what one kind of deployment shows is no rival where nobody knows the kind.
    pub only_with: &'static [Condition],
}

/// Whose fault a cause may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose.
    pub component: Component,
    /// What speaks for it.
    pub supported_by: &'static [Block],
    /// What rules it out.
    pub excluded_by: &'static [Block],
    /// It is one of them only where these were observed: what one kind of credentials has is no rival where nobody knows the kind.
    pub only_with: &'static [Condition],
    /// Hardly ever.
    pub rare: bool,
    /// How to see that it is this one's.
    pub tell: Option<Text>,
}

/// The rules of a cause.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// Its place where nothing supports it: smaller first.
    pub prior: u8,
    /// What it does to a walk.
    pub effect: Effect,
    /// It may pass by itself.
    pub transient: bool,
    /// It may pass by itself where this holds.
    pub transient_if: &'static [Condition],
    /// It keeps no other cause from being certain.
    pub rare: bool,
    /// What it brings about has causes of its own. It goes before them where a fact ties it to the place, and is silent elsewhere.
    pub underlies: bool,
    /// Which layer a verdict names.
    pub at: At,
    /// What shows it.
    pub shows: &'static [Shows],
    /// An observed fact with another value excludes it.
    pub needs: &'static [Condition],
    /// Each of these excludes it.
    pub excluded_by: &'static [Block],
    /// Each of these supports it.
    pub supported_by: &'static [Block],
    /// Each of these proves it.
    pub proved_by: &'static [Block],
    /// How to tell it from others.
    pub tell_apart: &'static [SeeAlso],
}

impl Rules {
    /// Whether this fact speaks for the cause or against it: what does not is only seen when the cause shows.
    pub fn weigh(&self, fact: FactId) -> bool {
        let blocks = self.excluded_by.iter().chain(self.supported_by).chain(self.proved_by);
        self.needs.iter().chain(blocks.flat_map(|block| block.facts)).any(|condition| condition.is_about(fact))
    }
}

include!(concat!(env!("OUT_DIR"), "/causes.rs"));
