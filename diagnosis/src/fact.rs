//! Facts: observations with an id from the registry and a typed value. The registry is `facts/*.toml`.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A row of the registry, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(pub(crate) u16);

/// The type of a fact's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the registry")]
pub enum Kind {
    Word,
    Text,
    Count,
    Duration,
    Time,
    Version,
    Certificate,
    Address,
    Alert,
    Path,
    Flags,
}

/// The registry entry of a fact.
#[derive(Debug)]
pub struct FactRow {
    /// The id, as written in reports.
    pub id: &'static str,
    /// The label before the value, for readers.
    pub label: &'static str,
    /// The type of the value.
    pub kind: Kind,
    /// For a word: every value and its text.
    pub values: &'static [(&'static str, &'static str)],
    /// The fact can occur several times.
    pub many: bool,
    /// `derive` computes the fact from others.
    pub derived: bool,
    /// Values that are shown only with `-v`; `*` for all values.
    pub usual: &'static [&'static str],
    /// The meaning, for readers.
    pub doc: &'static str,
}

impl FactId {
    /// The registry entry.
    pub fn row(self) -> &'static FactRow {
        &FACTS[usize::from(self.0)]
    }

    /// The fact with this id.
    pub fn of(id: &str) -> Option<Self> {
        let place = FACTS.binary_search_by_key(&id, |row| row.id).ok()?;
        u16::try_from(place).ok().map(Self)
    }
}

/// A word value of a fact, for use in rules.
pub trait Word: Copy {
    /// The fact of this value.
    const FACT: FactId;
    /// The index of the value.
    fn index(self) -> u8;
}

/// A fact without word values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub FactId);

impl Key {
    /// A fact with this text, rendered unchanged.
    pub fn text(self, text: impl ToString) -> Fact {
        Fact::new(self.0, Value::Text(text.to_string()))
    }

    /// A fact with this number: a count, a duration in microseconds, or a time in seconds since 1970.
    pub fn number(self, number: impl TryInto<i64>) -> Fact {
        Fact::new(self.0, Value::Number(number.try_into().unwrap_or(i64::MAX)))
    }
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word from the registry, by index.
    Word(u8),
    /// A text; also for a version, an address or a path.
    Text(String),
    /// A number; the registry defines its unit.
    Number(i64),
}

/// The source of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SeenBy {
    /// nssight itself.
    #[default]
    Us,
    /// The peer itself reported it.
    Peer,
    /// A traced program.
    Program,
    /// A log line.
    Log,
}

/// The session that a fact belongs to, if one session runs inside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hop {
    /// The session with the peer that we connect to.
    Peer,
    /// The session inside it, with the server behind the peer.
    Server,
}

/// One observed fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The id of the fact.
    pub id: FactId,
    /// The value.
    pub value: Value,
    /// The source of the fact.
    pub seen_by: SeenBy,
    /// The hop, if the fact belongs to one.
    pub hop: Option<Hop>,
}

impl Fact {
    fn new(id: FactId, value: Value) -> Self {
        Self { id, value, seen_by: SeenBy::Us, hop: None }
    }

    /// The value of `W` with this spelling, if there is one.
    pub fn spelled<W: Word>(word: &str) -> Option<Self> {
        let place = W::FACT.row().values.iter().position(|(known, _)| *known == word)?;
        Some(Self::new(W::FACT, Value::Word(u8::try_from(place).ok()?)))
    }

    /// The label before the value.
    pub fn label(&self) -> &'static str {
        self.id.row().label
    }

    /// The value as text for readers.
    pub fn text(&self) -> Cow<'_, str> {
        let row = self.id.row();
        match (&self.value, row.kind) {
            (Value::Word(word), _) => row.values.get(usize::from(*word)).map_or("", |(_, shown)| *shown).into(),
            (Value::Text(text), _) => text.as_str().into(),
            (Value::Number(number), Kind::Duration) => duration(*number).into(),
            (Value::Number(number), Kind::Time) => time(*number).into(),
            (Value::Number(number), _) => number.to_string().into(),
        }
    }

    /// Whether the fact is shown only with `-v`.
    pub fn is_usual(&self) -> bool {
        let usual = self.id.row().usual;
        usual.contains(&"*") || self.word().is_some_and(|word| usual.contains(&word))
    }

    /// The word from the registry, if the fact has word values.
    pub fn word(&self) -> Option<&'static str> {
        let Value::Word(word) = self.value else { return None };
        self.id.row().values.get(usize::from(word)).map(|(word, _)| *word)
    }
}

/// Formats microseconds in a suitable unit.
fn duration(micros: i64) -> String {
    match micros {
        ..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// Formats seconds since 1970 as a time of RFC 3339 in UTC.
fn time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| format!("{seconds} s since 1970"))
}

impl<W: Word> From<W> for Fact {
    fn from(word: W) -> Self {
        Self::new(W::FACT, Value::Word(word.index()))
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label(), self.text())
    }
}

/// A fact in a report.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Fact")]
#[allow(dead_code, reason = "the text is for readers")]
struct Document {
    /// The id of the fact in the registry.
    id: String,
    /// The value: a word from the registry, a text, or a number (a count, microseconds, or seconds since 1970).
    value: Plain,
    /// The value as text for readers.
    text: String,
    /// The source of the fact.
    #[serde(default)]
    seen_by: SeenBy,
    /// The session that the fact belongs to.
    #[serde(default)]
    hop: Option<Hop>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum Plain {
    Number(i64),
    Text(String),
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Fact", 5)?;
        document.serialize_field("id", self.id.row().id)?;
        match &self.value {
            Value::Number(number) => document.serialize_field("value", number)?,
            Value::Text(text) => document.serialize_field("value", text)?,
            Value::Word(_) => document.serialize_field("value", self.word().unwrap_or_default())?,
        }
        document.serialize_field("text", &self.text())?;
        document.serialize_field("seen_by", &self.seen_by)?;
        document.serialize_field("hop", &self.hop)?;
        document.end()
    }
}

/// Facts of one observation, in the order in which they were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<Fact>);

impl Facts {
    /// Adds a fact.
    pub fn put(&mut self, fact: impl Into<Fact>) {
        self.0.push(fact.into());
    }

    /// All facts, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fact> {
        self.0.iter()
    }

    /// The first fact with this id.
    pub fn get(&self, id: FactId) -> Option<&Fact> {
        self.0.iter().find(|fact| fact.id == id)
    }

    /// Whether this word was observed.
    pub fn has(&self, word: impl Word) -> bool {
        let fact = Fact::from(word);
        self.0.iter().any(|own| own.id == fact.id && own.value == fact.value)
    }

    /// Whether there are no facts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Assigns the hop to all facts without a hop.
    pub fn place(&mut self, hop: Hop) {
        self.0.iter_mut().for_each(|fact| {
            fact.hop.get_or_insert(hop);
        });
    }

    /// Sets the source of all facts.
    pub fn seen_by(&mut self, who: SeenBy) {
        self.0.iter_mut().for_each(|fact| fact.seen_by = who);
    }

    /// Keeps the facts that `keep` selects.
    pub fn retain(&mut self, keep: impl FnMut(&Fact) -> bool) {
        self.0.retain(keep);
    }
}

impl Extend<Fact> for Facts {
    fn extend<T: IntoIterator<Item = Fact>>(&mut self, facts: T) {
        self.0.extend(facts);
    }
}

impl IntoIterator for Facts {
    type Item = Fact;
    type IntoIter = std::vec::IntoIter<Fact>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Facts {
    type Item = &'a Fact;
    type IntoIter = std::slice::Iter<'a, Fact>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Facts unknown to this version are left out.
impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let documents = Vec::<Document>::deserialize(deserializer)?;
        let known = |document: Document| {
            let id = FactId::of(&document.id)?;
            let row = id.row();
            let value = match (document.value, row.kind) {
                (Plain::Text(text), Kind::Word) => {
                    let place = row.values.iter().position(|(word, _)| *word == text)?;
                    Value::Word(u8::try_from(place).ok()?)
                }
                (Plain::Text(text), _) => Value::Text(text),
                (Plain::Number(_), Kind::Word) => return None,
                (Plain::Number(number), _) => Value::Number(number),
            };
            Some(Fact { id, value, seen_by: document.seen_by, hop: document.hop })
        };
        Ok(Self(documents.into_iter().filter_map(known).collect()))
    }
}

impl JsonSchema for Facts {
    fn schema_name() -> Cow<'static, str> {
        "Facts".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<Vec<Document>>()
    }
}

include!(concat!(env!("OUT_DIR"), "/facts.rs"));
