//! Signals: the symptoms of a failing step, independent of the program that reports them. The table is `signals.toml`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::fact::SeenBy;
use crate::vocabulary::Layer;

/// A row of the table, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(pub(crate) u16);

/// Rows that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum Family {
    Alert,
    Chain,
    End,
    Silence,
    Wire,
    Version,
    Policy,
    Local,
    Network,
    Request,
    Log,
    Other,
}

/// Whose thing a signal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum About {
    OurCertificate,
    PeerCertificate,
    OurKey,
    OurDatabase,
    OurPassword,
    Nothing,
}

/// Who has numbers for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum Library {
    Errno,
    Nspr,
    Nss,
    Openssl,
    /// The servers of this profile, in a reply.
    Reply(&'static str),
    Resolver,
    Ssl,
    Verify,
}

/// Whose numbers in replies are.
#[derive(Debug)]
pub struct Replies {
    /// The profile's name.
    pub profile: &'static str,
    /// Who gives them.
    pub by: &'static str,
    /// Where they stand.
    pub place: &'static str,
}

impl Replies {
    /// Those of a profile.
    pub fn of(profile: &str) -> Option<&'static Self> {
        REPLIES.iter().find(|it| it.profile == profile)
    }
}

/// What the table says of a signal.
#[derive(Debug)]
pub struct SignalRow {
    /// Its id.
    pub id: &'static str,
    /// What it is, in a sentence.
    pub says: &'static str,
    /// What it belongs to.
    pub family: Family,
    /// Whose thing it is about, unless the place says otherwise.
    pub about: About,
    /// Why the catalogue knows everything that shows it; without a reason it may not.
    pub closed: Option<&'static str>,
    /// The number of the TLS alert that it is, received by us.
    pub alert: Option<u8>,
    /// The alert's name in the registry of IANA.
    pub alert_name: Option<&'static str>,
}

/// A number that a library has for it.
#[derive(Debug)]
pub struct Code {
    /// Whose number.
    pub library: Library,
    /// The number.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// The library's own sentence; empty where it has none.
    pub text: &'static str,
    /// What it shows.
    pub signal: Signal,
    /// A version of NSS that does not have it yet, and one that does: both were looked at.
    pub newer_than: Option<(&'static str, &'static str)>,
}

/// What a program means by a phrase of its own.
#[derive(Debug)]
pub struct Note {
    /// The phrase, in lower case.
    pub text: &'static str,
    /// The meaning, and when it is printed.
    pub says: &'static str,
    /// What it shows.
    pub signal: Signal,
}

/// What a code means beside words in one line, where it means something else by itself.
#[derive(Debug)]
pub struct Together {
    /// What the code shows by itself.
    pub signal: Signal,
    /// The words, in lower case; one of them is enough.
    pub words: &'static [&'static str],
    /// What it shows beside them.
    pub means: Signal,
}

impl Signal {
    /// Every one, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SIGNALS.len()).filter_map(|place| u16::try_from(place).ok().map(Self))
    }

    /// What the table says of it.
    pub fn row(self) -> &'static SignalRow {
        &SIGNALS[usize::from(self.0)]
    }

    /// Its id.
    pub fn id(self) -> &'static str {
        self.row().id
    }

    /// The one of this id.
    pub fn of(id: &str) -> Option<Self> {
        Self::all().find(|signal| signal.id() == id)
    }

    /// Whether it does not decide where another line of the same failure shows one of `others`: what is left of a start that
    /// went well, or a library's guess at what a program says in plain words.
    pub fn yields_to(self, others: &[Self]) -> bool {
        YIELDS.iter().any(|(signal, to)| *signal == self && others.iter().any(|other| to.contains(other)))
    }

    /// What a library's number shows.
    pub fn of_code(library: Library, number: i64) -> Option<Self> {
        code(library, number).map(|code| code.signal)
    }

    /// What an alert shows that we received.
    pub fn of_alert(number: u8) -> Self {
        Self::all().find(|signal| signal.row().alert == Some(number)).unwrap_or(signal::ALERT_OTHER)
    }

    /// What an error of NSPR, NSS or libssl shows; their numbers meet nowhere.
    pub fn of_nss(number: i32) -> Self {
        let number = i64::from(number);
        let own = [Library::Nss, Library::Ssl, Library::Nspr].into_iter().find_map(|library| code(library, number));
        own.map_or(if number > -8000 { signal::NSPR_ERROR } else { signal::NSS_ERROR }, |code| code.signal)
    }

    /// What a phrase in a line shows: the longest one that is in it. The line is in lower case.
    pub fn in_line(lower: &str) -> Option<Self> {
        TEXTS.iter().find(|(text, _)| lower.contains(text)).map(|(_, signal)| *signal)
    }
}

/// The row of a library's number.
pub fn code(library: Library, number: i64) -> Option<&'static Code> {
    // Two spellings of one number stand side by side; the first is the library's own.
    let place = CODES.partition_point(|code| (code.library, code.number) < (library, number));
    CODES.get(place).filter(|code| (code.library, code.number) == (library, number))
}

/// An observed signal, and its layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The id of the signal.
    pub signal: Signal,
    /// The layer of the signal; absent if it is unknown.
    pub layer: Option<Layer>,
    /// The source of the signal.
    pub said_by: SeenBy,
    /// Whether it was overcome: yes, no, or not known.
    pub recovered: Option<bool>,
}

impl Shown {
    /// By us, at a place that is not known.
    pub fn new(signal: Signal) -> Self {
        Self { signal, layer: None, said_by: SeenBy::Us, recovered: None }
    }

    /// At this layer.
    #[must_use]
    pub fn at(self, layer: Layer) -> Self {
        Self { layer: Some(layer), ..self }
    }
}

impl Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::of(&id).ok_or_else(|| D::Error::custom(format!("\"{id}\" is not a signal")))
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "What a failing step showed, whoever spells it." })
    }
}

include!(concat!(env!("OUT_DIR"), "/signals.rs"));
