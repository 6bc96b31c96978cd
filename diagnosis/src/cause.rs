//! The catalogue of causes: the meaning of each cause, how to confirm and fix it, and its rules. The data is in
//!`causes/*.toml`, one file per cause.

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
    /// The catalogue entry of this cause.
    pub fn entry(self) -> &'static Entry {
        &ENTRIES[self as usize]
    }

    /// The cause that had this name in reports of the previous schema.
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

/// A catalogue entry.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The cause.
    pub id: Cause,
    /// The layer of the cause. The failure may appear at another layer.
    pub layer: Layer,
    /// Components that can be at fault, the usual one first.
    #[serde(rename = "components", serialize_with = "components")]
    pub faults: &'static [Fault],
    /// The cause in one sentence of at most 100 characters, ready to print.
    pub title: Text,
    /// An explanation of the symptoms for a client, and of misleading messages.
    pub why: Text,
    /// Steps that confirm the cause without changing anything.
    pub confirm: &'static [Step],
    /// Steps that fix the cause, in order.
    pub fix: &'static [Step],
    /// Similar causes.
    pub see_also: &'static [SeeAlso],
    /// The rules that identify the cause.
    #[serde(skip)]
    pub rules: Rules,
}

fn components<S: serde::Serializer>(faults: &&'static [Fault], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(faults.iter().map(|fault| fault.component))
}

impl Entry {
    /// The confirmation steps for such a peer.
    pub fn confirm(&self, peer: Peer) -> impl Iterator<Item = &'static Step> {
        self.confirm.iter().filter(move |step| step.fits(peer))
    }

    /// The component that is usually at fault.
    pub fn component(&self) -> Component {
        self.faults.first().map_or(Component::Tool, |fault| fault.component)
    }
}

/// A text of the catalogue, with one variant per kind of peer. Most texts are the same for every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// The different variants.
    variants: &'static [&'static str],
    /// The index of each kind's variant, in the order of [`Peer`].
    of: [u8; Peer::COUNT],
}

impl Text {
    /// The text for this kind of peer.
    pub const fn of(self, peer: Peer) -> &'static str {
        self.variants[self.of[peer as usize] as usize]
    }

    /// The text for an unknown peer.
    pub const fn plain(self) -> &'static str {
        self.of(Peer::Plain)
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.plain())
    }
}

/// A step, with its command if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The action, or the result of the command.
    pub text: Text,
    /// A shell command; the reader replaces the words in angle brackets.
    pub command: Option<Text>,
    /// The kinds of credentials that the step applies to.
    #[serde(skip)]
    pub with: &'static [Peer],
    /// The step applies only if this component is at fault.
    #[serde(skip)]
    pub component: Option<Component>,
    /// The step applies only with these facts, and then comes first.
    #[serde(skip)]
    pub facts: &'static [Condition],
}

impl Step {
    /// Whether the step applies to such a peer.
    pub fn fits(&self, peer: Peer) -> bool {
        self.with.contains(&peer)
    }
}

/// A similar cause, and the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SeeAlso {
    /// The other cause.
    pub cause: Cause,
    /// The difference between the two causes.
    pub how: Text,
}

/// The effect of a cause on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The layer does not work.
    Stops,
    /// The layer works, but needs attention.
    Warns,
    /// Either of the two.
    Either,
}

/// The layer that a verdict names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The layer of the cause.
    Home,
    /// The layer at which the failure appeared.
    Shown,
}

/// A condition: an observed fact with one of these values, one of these signals, or a signal at one of these layers.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    /// This fact has one of these words.
    Fact(FactId, &'static [u8]),
    /// This fact, which has no word values, was observed.
    Told(FactId),
    /// The signal is one of these.
    Signal(&'static [Signal]),
    /// The signal was shown at one of these layers.
    Layer(&'static [Layer]),
}

impl Condition {
    /// Whether the condition refers to this fact.
    pub fn is_about(&self, fact: FactId) -> bool {
        matches!(self, Self::Fact(id, _) | Self::Told(id) if *id == fact)
    }
}

/// The strength of a cause's support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// No fact supports the cause.
    Nothing,
    /// A usual companion of the cause was observed.
    Inference,
    /// A consequence of the cause was observed.
    Observation,
    /// The cause itself was determined by a comparison, or parsed or read directly.
    Proof,
}

/// Conditions that hold together.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// All conditions.
    pub facts: &'static [Condition],
    /// The text for an exclusion; empty if the facts are self-explanatory.
    pub say: &'static str,
    /// The strength of this support.
    pub grade: Grade,
    /// The component that the block proves to be at fault.
    pub component: Option<Component>,
    /// The first action if this block supports a cause, more specific than the catalogue; the text of the block's fact without word values
    /// is appended.
    pub remedy: Option<&'static str>,
}

/// Signals that a cause shows, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Shows {
    /// The cause shows any of these signals,
    pub signals: &'static [Signal],
    /// at one of these layers, or anywhere if there is none,
    pub layers: &'static [Layer],
    /// if no observed fact contradicts these conditions,
    pub facts: &'static [Condition],
    /// and only if these were observed: a signal of one kind of deployment must not compete if the kind is unknown.
    pub only_with: &'static [Condition],
}

/// A component that can be at fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The component.
    pub component: Component,
    /// Blocks that support the component.
    pub supported_by: &'static [Block],
    /// Blocks that exclude the component.
    pub excluded_by: &'static [Block],
    /// The component is a candidate only if these were observed: what belongs to one kind of credentials must not compete if the kind is
    /// unknown.
    pub only_with: &'static [Condition],
    /// The component is rarely at fault.
    pub rare: bool,
    /// A way to check whether this component is at fault.
    pub tell: Option<Text>,
}

/// The rules of a cause.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// The rank without any support; smaller ranks come first.
    pub prior: u8,
    /// The effect on a check.
    pub effect: Effect,
    /// The fault may disappear by itself.
    pub transient: bool,
    /// The fault may disappear by itself under these conditions.
    pub transient_if: &'static [Condition],
    /// This cause does not lower the confidence of other causes.
    pub rare: bool,
    /// Its consequences are causes too. This cause ranks before them if a fact links it to the layer, and is omitted otherwise.
    pub underlies: bool,
    /// Which layer a verdict names.
    pub at: At,
    /// The signals of the cause.
    pub shows: &'static [Shows],
    /// Required facts: another observed value excludes the cause.
    pub needs: &'static [Condition],
    /// Each of these blocks excludes the cause.
    pub excluded_by: &'static [Block],
    /// Each of these blocks supports the cause.
    pub supported_by: &'static [Block],
    /// Each of these blocks proves the cause.
    pub proved_by: &'static [Block],
    /// Differences from other causes.
    pub tell_apart: &'static [SeeAlso],
}

impl Rules {
    /// Whether this fact supports or excludes the cause; any other fact is only observed together with it.
    pub fn weigh(&self, fact: FactId) -> bool {
        let blocks = self.excluded_by.iter().chain(self.supported_by).chain(self.proved_by);
        self.needs.iter().chain(blocks.flat_map(|block| block.facts)).any(|condition| condition.is_about(fact))
    }
}

include!(concat!(env!("OUT_DIR"), "/causes.rs"));
