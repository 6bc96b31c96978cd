//! Signals: the symptoms of a failing step, independent of the program that reports them. The table is `signals.toml`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::fact::SeenBy;
use crate::vocabulary::Layer;

/// A row of the table, by its index.
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

/// The owner of the item that a signal is about.
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

/// A library or program with numbers for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum Library {
    Errno,
    Nspr,
    Nss,
    Openssl,
    /// The servers of this profile, in their replies.
    Reply(&'static str),
    Resolver,
    Ssl,
    Verify,
}

/// Error numbers in replies.
#[derive(Debug)]
pub struct Replies {
    /// The profile's name.
    pub profile: &'static str,
    /// The program that sends them.
    pub by: &'static str,
    /// Where they appear.
    pub place: &'static str,
}

impl Replies {
    /// The numbers of a profile's replies.
    pub fn of(profile: &str) -> Option<&'static Self> {
        REPLIES.iter().find(|it| it.profile == profile)
    }
}

/// A row of the signal table.
#[derive(Debug)]
pub struct SignalRow {
    /// Its id.
    pub id: &'static str,
    /// A description in one sentence.
    pub says: &'static str,
    /// The family of the signal.
    pub family: Family,
    /// The owner of the item, unless the layer determines it.
    pub about: About,
    /// Why the catalogue contains every cause that shows the signal; `None` if it may not.
    pub closed: Option<&'static str>,
    /// The number of the TLS alert, if the signal is an alert that we received.
    pub alert: Option<u8>,
    /// The alert's name in IANA's registry.
    pub alert_name: Option<&'static str>,
}

/// A library's number for a signal.
#[derive(Debug)]
pub struct Code {
    /// The library.
    pub library: Library,
    /// The number.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// The library's own sentence; empty if it has none.
    pub text: &'static str,
    /// The signal.
    pub signal: Signal,
    /// A version of NSS that does not have the number yet, and one that has it: both were examined.
    pub newer_than: Option<(&'static str, &'static str)>,
}

/// The meaning of a phrase of a program.
#[derive(Debug)]
pub struct Note {
    /// The phrase, in lower case.
    pub text: &'static str,
    /// The meaning, and when the program prints it.
    pub says: &'static str,
    /// The signal.
    pub signal: Signal,
}

/// The meaning of a code together with words in the same line, if it differs from the meaning of the code alone.
#[derive(Debug)]
pub struct Together {
    /// The signal of the code alone.
    pub signal: Signal,
    /// The words, in lower case; one of them is sufficient.
    pub words: &'static [&'static str],
    /// The signal of the code together with one of the words.
    pub means: Signal,
}

impl Signal {
    /// Every signal, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SIGNALS.len()).filter_map(|place| u16::try_from(place).ok().map(Self))
    }

    /// Its row in the table.
    pub fn row(self) -> &'static SignalRow {
        &SIGNALS[usize::from(self.0)]
    }

    /// Its id.
    pub fn id(self) -> &'static str {
        self.row().id
    }

    /// The signal with this id.
    pub fn of(id: &str) -> Option<Self> {
        Self::all().find(|signal| signal.id() == id)
    }

    /// Whether this signal does not decide if another line of the same failure shows one of `others`: a remnant of a successful start, or a
    /// library's guess at something that a program states directly.
    pub fn yields_to(self, others: &[Self]) -> bool {
        YIELDS.iter().any(|(signal, to)| *signal == self && others.iter().any(|other| to.contains(other)))
    }

    /// The signal of a library's number.
    pub fn of_code(library: Library, number: i64) -> Option<Self> {
        code(library, number).map(|code| code.signal)
    }

    /// The signal of an alert that we received.
    pub fn of_alert(number: u8) -> Self {
        Self::all().find(|signal| signal.row().alert == Some(number)).unwrap_or(signal::ALERT_OTHER)
    }

    /// The signal of an error of NSPR, NSS or libssl; their number ranges are disjoint.
    pub fn of_nss(number: i32) -> Self {
        let number = i64::from(number);
        let own = [Library::Nss, Library::Ssl, Library::Nspr].into_iter().find_map(|library| code(library, number));
        own.map_or(if number > -8000 { signal::NSPR_ERROR } else { signal::NSS_ERROR }, |code| code.signal)
    }

    /// The signal of the longest phrase in a line. The line is in lower case.
    pub fn in_line(lower: &str) -> Option<Self> {
        TEXTS.iter().find(|(text, _)| lower.contains(text)).map(|(_, signal)| *signal)
    }
}

/// The row of a library's number.
pub fn code(library: Library, number: i64) -> Option<&'static Code> {
    // Two spellings of one number are adjacent; the first is the library's own.
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
    /// A signal observed by us, at an unknown layer.
    pub fn new(signal: Signal) -> Self {
        Self { signal, layer: None, said_by: SeenBy::Us, recovered: None }
    }

    /// The same signal at this layer.
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
