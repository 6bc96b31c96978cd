//! `signals.toml`: every spelling of every signal.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::write::{camel, option, screaming};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    signal: Vec<Signal>,
    together: Vec<Together>,
    yields: Vec<Yields>,
    newer: Vec<Newer>,
}

/// A signal that does not decide if another line of the same failure shows one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Yields {
    signal: String,
    to: Vec<String>,
}

/// Numbers that a version of NSS does not have yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newer {
    than: String,
    by: String,
    numbers: Vec<i64>,
}

/// The meaning of a code together with words in the same line, if it differs from the meaning of the code alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Together {
    signal: String,
    words: Vec<String>,
    means: String,
}

/// A row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    pub(crate) id: String,
    pub(crate) says: String,
    pub(crate) family: String,
    pub(crate) about: String,
    pub(crate) closed: Option<String>,
    pub(crate) alert: Option<u8>,
    pub(crate) alert_name: Option<String>,
    #[serde(default)]
    pub(crate) codes: Vec<(String, i64, String, String)>,
    #[serde(default)]
    pub(crate) texts: Vec<String>,
    #[serde(default)]
    pub(crate) notes: Vec<Note>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) says: String,
}

/// The messages of one profile's programs for signals of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoken {
    replies: Option<Replies>,
    #[serde(default)]
    spelling: Vec<Spelling>,
    /// Signals that only these programs show.
    #[serde(default)]
    signal: Vec<Signal>,
}

/// Which program sends the numbers in replies, as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replies {
    by: String,
    place: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelling {
    signal: String,
    #[serde(default)]
    codes: Vec<(i64, String, String)>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    notes: Vec<Note>,
}

/// The rows of the table, and the rules about several of them.
pub(crate) struct Table {
    pub(crate) signals: Vec<Signal>,
    /// Profiles whose replies have numbers, with the program that sends them.
    replies: Vec<(String, Replies)>,
    together: Vec<Together>,
    yields: Vec<Yields>,
    newer: Vec<Newer>,
}

/// Reads the table and the additions of each profile, given by name and file.
pub(crate) fn read(path: &Path, profiles: &[(String, PathBuf)]) -> Table {
    let mut file: File = parsed(path);
    let mut replies = Vec::new();
    for (profile, path) in profiles {
        let spoken: Spoken = parsed(path);
        for spelling in spoken.spelling {
            let index = find(&file.signal, &spelling.signal, &path.display().to_string());
            let signal = &mut file.signal[index];
            let code = |(number, name, text)| (profile.clone(), number, name, text);
            signal.codes.extend(spelling.codes.into_iter().map(code));
            signal.texts.extend(spelling.texts);
            signal.notes.extend(spelling.notes);
        }
        file.signal.extend(spoken.signal);
        replies.extend(spoken.replies.map(|words| (profile.clone(), words)));
    }
    let ids: BTreeSet<&str> = file.signal.iter().map(|signal| signal.id.as_str()).collect();
    assert_eq!(ids.len(), file.signal.len(), "two signals have the same id");
    let mut phrases = BTreeSet::new();
    for signal in &file.signal {
        for phrase in signal.texts.iter().chain(signal.notes.iter().map(|note| &note.text)) {
            assert!(phrases.insert(phrase), "\"{phrase}\" is said twice, the second time by {}", signal.id);
            assert_eq!(*phrase, phrase.to_lowercase(), "{}: phrases are sought in lower case", signal.id);
        }
    }
    for Together { signal, words, means } in &file.together {
        assert!(
            ids.contains(signal.as_str()) && ids.contains(means.as_str()),
            "{signal} beside words: there is no such signal"
        );
        assert!(words.iter().all(|word| *word == word.to_lowercase()), "{signal}: words are sought in lower case");
    }
    for number in file.newer.iter().flat_map(|newer| &newer.numbers) {
        let known = file.signal.iter().flat_map(|signal| &signal.codes).any(|code| code.1 == *number);
        assert!(known, "{number} is newer than a version and is no code");
    }
    let pairs = file.yields.iter().flat_map(|it| it.to.iter().map(move |to| (&it.signal, to)));
    for (signal, to) in pairs {
        assert!(ids.contains(signal.as_str()) && ids.contains(to.as_str()), "{signal} yields: there is no such signal");
        let back = file.yields.iter().any(|it| it.signal == *to && it.to.contains(signal));
        assert!(signal != to && !back, "{signal} and {to} yield to each other");
    }
    let File { signal: signals, together, yields, newer } = file;
    Table { signals, replies, together, yields, newer }
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The number of the signal.
pub(crate) fn find(signals: &[Signal], id: &str, place: &str) -> usize {
    signals.iter().position(|signal| signal.id == id).unwrap_or_else(|| panic!("{place}: there is no signal {id}"))
}

pub(crate) fn generate(table: &Table) -> String {
    let Table { signals, replies, together, yields, newer } = table;
    let mut rows =
        String::from("/// Every signal, in the order of the table.\npub static SIGNALS: &[SignalRow] = &[\n");
    let mut names = String::from(
        "/// The signals as names.\n#[allow(clippy::module_inception, reason = \"it is imported by its name: `signal::ENDED`\")]\npub mod signal {\n use super::Signal;\n",
    );
    let (mut codes, mut texts, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, signal) in signals.iter().enumerate() {
        writeln!(
            rows,
            " SignalRow {{ id: {:?}, says: {:?}, family: Family::{}, about: About::{}, closed: {}, alert: {}, alert_name: {} }},",
            signal.id,
            signal.says,
            camel(&signal.family),
            camel(&signal.about),
            option(&signal.closed),
            signal.alert.map_or("None".to_owned(), |alert| format!("Some({alert})")),
            option(&signal.alert_name),
        )
        .expect("a string takes it");
        writeln!(names, "/// {}\npub const {}: Signal = Signal({index});", signal.says, screaming(&signal.id))
            .expect("as above");
        for (library, number, name, text) in &signal.codes {
            codes.push((library.clone(), *number, name.clone(), text.clone(), index));
        }
        texts.extend(signal.texts.iter().map(|text| (text.clone(), index)));
        for note in &signal.notes {
            texts.push((note.text.clone(), index));
            notes.push(format!(" Note {{ text: {:?}, says: {:?}, signal: Signal({index}) }},\n", note.text, note.says));
        }
    }
    let is_profile = |library: &str| replies.iter().any(|(profile, _)| profile == library);
    // The order of the enum, by which the search works. Two spellings of one number keep their order: the library's own comes first.
    let rank = |library: &str| if is_profile(library) { format!("reply {library}") } else { library.to_owned() };
    codes.sort_by_key(|code| (rank(&code.0), code.1));
    // The longest phrase is the most specific.
    texts.sort_by(|one, other| (other.0.len(), &one.0).cmp(&(one.0.len(), &other.0)));
    let mut out =
        rows + "];\n" + &names + "}\n/// Every code, by library and number.\npub static CODES: &[Code] = &[\n";
    for (library, number, name, text, signal) in codes {
        let than = newer.iter().find(|newer| newer.numbers.contains(&number)).map(|newer| (&newer.than, &newer.by));
        let library = if is_profile(&library) { format!("Reply({library:?})") } else { camel(&library) };
        writeln!(
            out,
            " Code {{ library: Library::{library}, number: {number}, name: {name:?}, text: {text:?}, signal: Signal({signal}), newer_than: {than:?} }},"
        )
        .expect("as above");
    }
    out += "];\n/// Phrases, the longest first.\npub static TEXTS: &[(&str, Signal)] = &[\n";
    for (text, signal) in texts {
        writeln!(out, " ({text:?}, Signal({signal})),").expect("as above");
    }
    out + "];\n/// What a program means by a phrase of its own.\npub static NOTES: &[Note] = &[\n"
        + &notes.concat()
        + "];\n/// What codes mean beside words in one line.\npub static TOGETHER: &[Together] = &[\n"
        + &beside(signals, together)
        + "];\n/// What does not decide, and beside what.\npub static YIELDS: &[(Signal, &[Signal])] = &[\n"
        + &yielding(signals, yields)
        + "];\n/// Whose replies have numbers.\npub static REPLIES: &[Replies] = &[\n"
        + &replies
            .iter()
            .map(|(profile, Replies { by, place })| {
                format!(" Replies {{ profile: {profile:?}, by: {by:?}, place: {place:?} }},\n")
            })
            .collect::<String>()
        + "];\n"
}

fn yielding(signals: &[Signal], yields: &[Yields]) -> String {
    let of = |id: &String| format!("Signal({})", find(signals, id, "what yields"));
    let row = |it: &Yields| {
        let to: Vec<String> = it.to.iter().map(of).collect();
        format!(" ({}, &[{}]),\n", of(&it.signal), to.join(", "))
    };
    yields.iter().map(row).collect()
}

fn beside(signals: &[Signal], together: &[Together]) -> String {
    let row = |it: &Together| {
        let [signal, means] = [&it.signal, &it.means].map(|id| find(signals, id, "a code beside words"));
        format!(" Together {{ signal: Signal({signal}), words: &{:?}, means: Signal({means}) }},\n", it.words)
    };
    together.iter().map(row).collect()
}
