//! `facts/*.toml`: the registry of facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use serde::Deserialize;

use super::write::{camel, screaming, slice};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fact: Vec<Fact>,
}

/// A row of the registry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) label: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) shown: BTreeMap<String, String>,
    pub(crate) doc: String,
    #[serde(default)]
    pub(crate) many: bool,
    #[serde(default)]
    pub(crate) derived: bool,
    /// Values that a reader does not need to see unless something else refers to them; "*" for all values.
    #[serde(default)]
    usual: Vec<String>,
}

pub(crate) fn read(files: &[(PathBuf, String)]) -> Vec<Fact> {
    let mut all: Vec<Fact> = Vec::new();
    for (path, text) in files {
        let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        all.extend(file.fact);
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    let ids: BTreeSet<&str> = all.iter().map(|fact| fact.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "two facts have the same id");
    for fact in &all {
        assert_eq!(
            fact.kind == "word",
            !fact.values.is_empty(),
            "{}: a word has values, and nothing else has",
            fact.id
        );
        for word in fact.usual.iter().filter(|word| *word != "*") {
            assert!(fact.values.contains(word), "{}: {word} is none of its values", fact.id);
        }
        for word in fact.shown.keys() {
            assert!(fact.values.contains(word), "{}: {word} is none of its values", fact.id);
        }
    }
    all
}

/// The number of the fact and the number of the value.
pub(crate) fn find(facts: &[Fact], id: &str, value: &str, place: &str) -> (usize, usize) {
    let index = index(facts, id, place);
    let value = facts[index].values.iter().position(|known| known == value);
    (index, value.unwrap_or_else(|| panic!("{place}: the fact {id} has no such value")))
}

fn index(facts: &[Fact], id: &str, place: &str) -> usize {
    facts.iter().position(|fact| fact.id == id).unwrap_or_else(|| panic!("{place}: there is no fact {id}"))
}

/// The number of a fact that has no word values and is observed at most once.
pub(crate) fn find_untyped(facts: &[Fact], id: &str, place: &str) -> usize {
    let index = index(facts, id, place);
    assert!(facts[index].kind != "word", "{place}: {id} is a word, and a rule says which");
    assert!(!facts[index].many, "{place}: {id} may be told several times, so no rule can rest on it");
    index
}

pub(crate) fn generate(facts: &[Fact]) -> String {
    let mut rows = String::from("/// Every fact, in the order of their ids.\npub static FACTS: &[FactRow] = &[\n");
    let mut keys = String::from(
        "/// The facts as names: an enum for a word, a key for anything else.\n#[allow(clippy::module_inception, reason = \"it is imported by its name: `fact::DbState`\")]\npub mod fact {\n use super::{FactId, Key, Word};\n",
    );
    for (index, fact) in facts.iter().enumerate() {
        let values =
            fact.values.iter().map(|value| format!("({value:?}, {:?})", fact.shown.get(value).unwrap_or(value)));
        writeln!(
            rows,
            " FactRow {{ id: {:?}, label: {:?}, kind: Kind::{}, values: {}, many: {}, derived: {}, usual: {}, doc: {:?} }},",
            fact.id,
            fact.label,
            camel(&fact.kind),
            slice(values),
            fact.many,
            fact.derived,
            slice(fact.usual.iter().map(|word| format!("{word:?}"))),
            fact.doc
        )
        .expect("a string takes it");
        if fact.kind != "word" {
            writeln!(keys, "/// {}\npub const {}: Key = Key(FactId({index}));", fact.doc, screaming(&fact.id))
                .expect("as above");
            continue;
        }
        let name = camel(&fact.id);
        let variants: Vec<String> = fact.values.iter().map(|value| camel(value)).collect();
        writeln!(
            keys,
            "/// {}\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\n#[allow(missing_docs, reason = \"the names are the values of the registry\")]\npub enum {name} {{ {} }}\n\
             impl Word for {name} {{ const FACT: FactId = FactId({index}); fn index(self) -> u8 {{ self as u8 }} }}",
            fact.doc,
            variants.join(", ")
        )
        .expect("as above");
    }
    rows + "];\n" + &keys + "}\n"
}
