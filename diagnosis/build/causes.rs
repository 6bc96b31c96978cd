//! `causes/*.toml`: one file per cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use serde::Deserialize;

use super::facts::{self, Fact};
use super::signals::{self, Signal};
use super::write::{OneOrMore, camel, option, optional, slice};

/// The name of the signal itself in a condition.
const SIGNAL: &str = "signal.name";
/// The layer where the signal was shown, in a condition.
const PLACE: &str = "signal.layer";

/// In a condition on a fact without word values: the fact was observed at all.
const TOLD: &str = "*";

type Conditions = BTreeMap<String, OneOrMore>;

/// A cause in the form of its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cause {
    pub(crate) id: String,
    pub(crate) layer: String,
    prior: u8,
    #[serde(default = "stops")]
    effect: String,
    #[serde(default)]
    transient: bool,
    #[serde(default)]
    transient_if: Conditions,
    #[serde(default)]
    rare: bool,
    #[serde(default)]
    underlies: bool,
    #[serde(default = "home")]
    at: String,
    title: String,
    why: String,
    /// The title for readers with files instead of a database, if it differs.
    #[serde(default)]
    title_with_files: Option<String>,
    #[serde(default)]
    why_with_files: Option<String>,
    /// The title for a server that is itself checked, whose peers are clients.
    #[serde(default)]
    title_with_clients: Option<String>,
    #[serde(default)]
    why_with_clients: Option<String>,
    /// An addition for a peer that is a bridge.
    #[serde(default)]
    why_with_bridge: String,
    confirm: Vec<Step>,
    fix: Vec<Step>,
    #[serde(default)]
    see_also: Vec<SeeAlso>,
    component: Vec<Component>,
    #[serde(default)]
    shows: Vec<Shows>,
    #[serde(default)]
    needs: Conditions,
    #[serde(default)]
    excluded_by: Vec<Block>,
    #[serde(default)]
    supported_by: Vec<Block>,
    #[serde(default)]
    proved_by: Vec<Block>,
    #[serde(default)]
    tell_apart: Vec<TellApart>,
    /// Its name in reports of the previous schema.
    formerly: Option<String>,
}

fn stops() -> String {
    "stops".to_owned()
}

fn home() -> String {
    "home".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    text: String,
    command: Option<String>,
    with: Option<String>,
    component: Option<String>,
    #[serde(default)]
    facts: Conditions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeeAlso {
    cause: String,
    how: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    is: String,
    #[serde(default)]
    supported_by: Vec<Block>,
    #[serde(default)]
    excluded_by: Vec<Block>,
    /// The component is a candidate only if these facts were observed.
    #[serde(default)]
    only_with: Conditions,
    #[serde(default)]
    rare: bool,
    tell: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shows {
    signal: OneOrMore,
    layer: Option<OneOrMore>,
    #[serde(default)]
    facts: Conditions,
    /// The cause shows these signals only if these facts were observed.
    #[serde(default)]
    only_with: Conditions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    facts: Conditions,
    #[serde(default)]
    say: String,
    grade: Option<String>,
    component: Option<String>,
    remedy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TellApart {
    from: String,
    #[serde(rename = "do")]
    what: String,
}

/// The order of the layers, which is the order in which causes are listed.
macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => { const LAYERS: &[&str] = &[$($word),*]; };
}

include!("../src/layers.in");

pub(crate) fn read(files: &[(PathBuf, String)]) -> Vec<Cause> {
    let mut all = Vec::new();
    for (path, text) in files {
        let cause: Cause = toml::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(stem, Some(cause.id.as_str()), "{}: a file has the name of its cause", path.display());
        assert!(!cause.component.is_empty(), "{}: a cause is somebody's fault", path.display());
        all.push(cause);
    }
    let place = |cause: &Cause| {
        LAYERS.iter().position(|layer| *layer == cause.layer).unwrap_or_else(|| panic!("{}: no such layer", cause.id))
    };
    all.sort_by_key(|cause| (place(cause), cause.id.clone()));
    let ids: BTreeSet<&str> = all.iter().map(|cause| cause.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "two causes have the same id");
    for cause in &all {
        let named =
            cause.see_also.iter().map(|other| &other.cause).chain(cause.tell_apart.iter().map(|other| &other.from));
        for other in named {
            assert!(ids.contains(other.as_str()), "{}: there is no cause {other}", cause.id);
        }
        let own: BTreeSet<&str> = cause.component.iter().map(|component| component.is.as_str()).collect();
        assert_eq!(own.len(), cause.component.len(), "{}: a component is said twice", cause.id);
        for component in cause.proved_by.iter().filter_map(|block| block.component.as_deref()) {
            assert!(own.contains(component), "{}: {component} is none of its components", cause.id);
        }
    }
    all
}

struct Tables<'a> {
    facts: &'a [Fact],
    signals: &'a [Signal],
}

impl Tables<'_> {
    fn conditions(&self, conditions: &Conditions, place: &str) -> String {
        slice(conditions.iter().map(|(id, values)| {
            if id == SIGNAL {
                let signals = values.all().into_iter().map(|value| self.signal(value, place));
                return format!("Condition::Signal({})", slice(signals));
            }
            if id == PLACE {
                let layers = values.all().into_iter().map(|layer| format!("Layer::{}", camel(layer)));
                return format!("Condition::Layer({})", slice(layers));
            }
            if values.all() == [TOLD] {
                let fact = facts::find_untyped(self.facts, id, place);
                return format!("Condition::Told(FactId({fact}))");
            }
            let pairs: Vec<(usize, usize)> =
                values.all().into_iter().map(|value| facts::find(self.facts, id, value, place)).collect();
            let (fact, words) = (pairs[0].0, slice(pairs.iter().map(|(_, word)| word.to_string())));
            assert!(!self.facts[fact].many, "{place}: {id} may be told several times, so no rule can rest on it");
            format!("Condition::Fact(FactId({fact}), {words})")
        }))
    }

    fn signal(&self, id: &str, place: &str) -> String {
        format!("Signal({})", signals::find(self.signals, id, place))
    }

    fn blocks(&self, blocks: &[Block], place: &str) -> String {
        slice(blocks.iter().map(|block| {
            let grade = match block.grade.as_deref() {
                None | Some("observation") => "Observation",
                Some("inference") => "Inference",
                Some(other) => panic!("{place}: {other} is no grade"),
            };
            let component = optional(&block.component, |it| format!("Component::{}", camel(it)));
            format!(
                "Block {{ facts: {}, say: {:?}, grade: Grade::{grade}, component: {component}, remedy: {} }}",
                self.conditions(&block.facts, place),
                block.say,
                option(&block.remedy)
            )
        }))
    }

    fn shows(&self, shows: &[Shows], place: &str) -> String {
        slice(shows.iter().map(|row| {
            let signals = row.signal.all().into_iter().map(|id| self.signal(id, place));
            let layers = row.layer.iter().flat_map(OneOrMore::all).map(|layer| format!("Layer::{}", camel(layer)));
            format!(
                "Shows {{ signals: {}, layers: {}, facts: {}, only_with: {} }}",
                slice(signals),
                slice(layers),
                self.conditions(&row.facts, place),
                self.conditions(&row.only_with, place)
            )
        }))
    }

    fn components(&self, components: &[Component], of: Whose, place: &str) -> String {
        slice(components.iter().map(|component| {
            format!(
                "Fault {{ component: Component::{}, supported_by: {}, excluded_by: {}, only_with: {}, rare: {}, tell: {} }}",
                camel(&component.is),
                self.blocks(&component.supported_by, place),
                self.blocks(&component.excluded_by, place),
                self.conditions(&component.only_with, place),
                component.rare,
                optional(&component.tell, |tell| text(tell, of))
            )
        }))
    }

    fn steps(&self, steps: &[Step], of: Whose, place: &str) -> String {
        slice(steps.iter().map(|step| {
            let peers = slice(peers(step, place).iter().map(|peer| format!("Peer::{peer}")));
            let whose = optional(&step.component, |it| format!("Component::{}", camel(it)));
            let command = optional(&step.command, |command| text(command, of));
            format!(
                "Step {{ text: {}, command: {command}, with: {peers}, component: {whose}, facts: {} }}",
                text(&step.text, of),
                self.conditions(&step.facts, place)
            )
        }))
    }
}

/// The readers of a text, in the order of its wordings.
const READERS: [&str; 6] = ["Plain", "Files", "Bridge", "BridgeOfFiles", "Clients", "ClientsOfFiles"];

/// Names that depend on the peer, in the order of the readers.
const NAMES: [(&str, [&str; 6]); 4] = [
    ("{peer}", ["peer", "peer", "bridge", "bridge", "client", "client"]),
    ("{PEER}", ["PEER", "PEER", "BRIDGE", "BRIDGE", "CLIENT", "CLIENT"]),
    (
        "{opens}",
        [
            "This command opens one connection.",
            "This command opens one connection.",
            "This command opens one connection, which the bridge handles like one client.",
            "This command opens one connection.",
            "This command opens one connection.",
            "This command opens one connection.",
        ],
    ),
    (
        "{diagnose}",
        [
            "nssight diagnose <HOST>:<PORT> --db <DIR> --nickname <NICKNAME> --password-file <PASSWORD_FILE>",
            "nssight diagnose <HOST>:<PORT> --cert <CERT_FILE> --key <KEY_FILE> --cacert <CA_FILE>",
            "nssight diagnose -c <CONFIG>",
            "nssight diagnose -c <CONFIG>",
            "nssight diagnose --role server --db <DIR> --nickname <NICKNAME> --password-file <PASSWORD_FILE>",
            "nssight diagnose --role server --cert <CERT_FILE> --key <KEY_FILE> --cacert <CA_FILE>",
        ],
    ),
];

/// Terms for this host in a text about a client, with their replacements if this host is the server.
const OF_A_SERVER: [(&str, &str); 7] = [
    ("The client's", "This server's"),
    ("the client's", "this server's"),
    ("expired client certificate", "expired server certificate"),
    ("The client ", "This server "),
    ("the client ", "this server "),
    ("A client ", "A server "),
    ("a client ", "a server "),
];

/// Words in a step that only apply to readers with a database.
const OF_DATABASES: [&str; 5] = ["pk12util", "modutil", "<DIR>", "<NICKNAME>", "nssight db"];

/// The readers for whom a step is useful.
fn peers(step: &Step, place: &str) -> Vec<&'static str> {
    let with: &[&str] = match step.with.as_deref() {
        None => &READERS,
        Some("bridge") => &["Bridge", "BridgeOfFiles"],
        Some("plain") => &["Plain", "Files"],
        Some("client") => &["Plain", "Files", "Bridge", "BridgeOfFiles"],
        Some("files") => return vec!["Files", "BridgeOfFiles", "ClientsOfFiles"],
        Some("client-files") => return vec!["Files", "BridgeOfFiles"],
        Some("server") => &["Clients", "ClientsOfFiles"],
        Some("server-files") => return vec!["ClientsOfFiles"],
        Some(other) => panic!("{place}: with = \"{other}\" is no reader"),
    };
    let words = format!("{} {}", step.text, step.command.as_deref().unwrap_or_default());
    let is_of_databases = OF_DATABASES.iter().any(|word| words.contains(word));
    let is_of_use = |peer: &&str| match *peer {
        "BridgeOfFiles" => !is_of_databases && !has_word(&words, &FOREIGN_TO_BRIDGES),
        peer => !peer.ends_with("Files") || !is_of_databases && !is_foreign(&words),
    };
    with.iter().copied().filter(is_of_use).collect()
}

/// Words that only apply to readers with a database.
const FOREIGN_TO_FILES: [&str; 9] =
    ["NSS", "NSPR", "SEC_ERROR", "SSL_ERROR", "database", "certutil", "nickname", "bridge", "Sigul"];

/// The same for a bridge whose clients have files.
const FOREIGN_TO_BRIDGES: [&str; 8] =
    ["NSS", "NSPR", "SEC_ERROR", "SSL_ERROR", "database", "certutil", "nickname", "Sigul "];

fn is_foreign(text: &str) -> bool {
    has_word(text, &FOREIGN_TO_FILES)
}

fn has_word(text: &str, words: &[&str]) -> bool {
    // Only at the beginning of a word: OPENSSL contains NSS.
    let begins = |at: usize| !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
    words.iter().any(|word| text.match_indices(word).any(|(at, _)| begins(at)))
}

/// All wordings of a text. Sentences about a database are left out for readers with files.
fn text(text: &str, of: Whose) -> String {
    let of_files = if is_foreign(text) { "" } else { text };
    let of_bridge = if has_word(text, &FOREIGN_TO_BRIDGES) { of_files } else { text };
    wordings([text, of_files, text, of_bridge, &of.to_a_server(text), &of.to_a_server(of_files)])
}

/// The owner of the items that a cause is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Items of a client; a server has corresponding ones.
    Own,
    /// Items of others as well.
    Anybodys,
}

impl Whose {
    fn of(cause: &Cause) -> Self {
        let is_own = |component: &Component| component.is.starts_with("client-");
        if cause.component.iter().all(is_own) { Self::Own } else { Self::Anybodys }
    }

    /// The text for a host that is the server.
    fn to_a_server(self, text: &str) -> String {
        let words: &[(&str, &str)] = if self == Self::Own { &OF_A_SERVER } else { &[] };
        words.iter().fold(text.to_owned(), |text, (client, server)| text.replace(client, server))
    }
}

/// A text without the sentences about a database.
fn for_files(text: &str) -> String {
    without(text, &FOREIGN_TO_FILES)
}

/// A text without the sentences that contain one of these words.
fn without(text: &str, words: &[&str]) -> String {
    let sentences = text.split_inclusive(". ").filter(|sentence| !has_word(sentence, words));
    sentences.collect::<String>().trim_end().to_owned()
}

/// The wordings in the order of the readers.
fn wordings(texts: [&str; 6]) -> String {
    let mut variants: Vec<String> = Vec::new();
    let mut of = Vec::new();
    for (place, text) in texts.into_iter().enumerate() {
        let text = NAMES.iter().fold(text.to_owned(), |text, (name, words)| text.replace(name, words[place]));
        of.push(variants.iter().position(|variant| *variant == text).unwrap_or_else(|| {
            variants.push(text);
            variants.len() - 1
        }));
    }
    let plain = &variants[0];
    assert!(!plain.contains(['{', '}'].as_slice()) || plain.contains("${"), "an unknown name: {plain}");
    format!("Text {{ variants: &{variants:?}, of: {of:?} }}")
}

/// The title; readers with files may need another one.
fn title(cause: &Cause) -> String {
    let of_files = if is_foreign(&cause.title) { "" } else { &cause.title };
    let files = cause.title_with_files.as_deref().unwrap_or(of_files);
    let clients = cause.title_with_clients.clone().unwrap_or_else(|| Whose::of(cause).to_a_server(&cause.title));
    let clients_of_files = cause.title_with_clients.clone().unwrap_or_else(|| Whose::of(cause).to_a_server(files));
    let of_bridge = if has_word(&cause.title, &FOREIGN_TO_BRIDGES) && !files.is_empty() { files } else { &cause.title };
    wordings([&cause.title, files, &cause.title, of_bridge, &clients, &clients_of_files])
}

/// The explanation, with the addition for a bridge.
fn why(cause: &Cause) -> String {
    let files = &cause.why_with_files.clone().unwrap_or_else(|| for_files(&cause.why));
    let bridge = match cause.why_with_bridge.as_str() {
        "" => cause.why.clone(),
        more => format!("{} {more}", cause.why),
    };
    let clients = cause.why_with_clients.clone().unwrap_or_else(|| Whose::of(cause).to_a_server(&cause.why));
    let clients_of_files =
        cause.why_with_clients.as_deref().map_or_else(|| Whose::of(cause).to_a_server(files), for_files);
    let of_bridge = match &cause.why_with_files {
        Some(files) => format!("{files} {}", without(&cause.why_with_bridge, &FOREIGN_TO_BRIDGES)),
        None => without(&bridge, &FOREIGN_TO_BRIDGES),
    };
    wordings([&cause.why, files, &bridge, of_bridge.trim_end(), &clients, &clients_of_files])
}

pub(crate) fn generate(causes: &[Cause], facts: &[Fact], signals: &[Signal]) -> String {
    let tables = Tables { facts, signals };
    let mut out = String::from("causes! {\n");
    for cause in causes {
        writeln!(out, " {} = {:?},", camel(&cause.id), cause.id).expect("a string takes it");
    }
    out += "}\n/// The entries, in the order of the causes.\npub static ENTRIES: &[Entry] = &[\n";
    for cause in causes {
        let of = Whose::of(cause);
        let see_also = cause
            .see_also
            .iter()
            .map(|other| format!("SeeAlso {{ cause: Cause::{}, how: {} }}", camel(&other.cause), text(&other.how, of)));
        let tell_apart = cause
            .tell_apart
            .iter()
            .map(|other| format!("SeeAlso {{ cause: Cause::{}, how: {} }}", camel(&other.from), text(&other.what, of)));
        writeln!(
            out,
            " Entry {{ id: Cause::{}, layer: Layer::{}, faults: {}, title: {}, why: {}, confirm: {}, fix: {}, see_also: {}, rules: Rules {{ \
             prior: {}, effect: Effect::{}, transient: {}, transient_if: {}, rare: {}, underlies: {}, at: At::{}, shows: {}, needs: {}, \
             excluded_by: {}, supported_by: {}, proved_by: {}, tell_apart: {} }} }},",
            camel(&cause.id),
            camel(&cause.layer),
            tables.components(&cause.component, of, &cause.id),
            title(cause),
            why(cause),
            tables.steps(&cause.confirm, of, &cause.id),
            tables.steps(&cause.fix, of, &cause.id),
            slice(see_also),
            cause.prior,
            camel(&cause.effect),
            cause.transient,
            tables.conditions(&cause.transient_if, &cause.id),
            cause.rare,
            cause.underlies,
            camel(&cause.at),
            tables.shows(&cause.shows, &cause.id),
            tables.conditions(&cause.needs, &cause.id),
            tables.blocks(&cause.excluded_by, &cause.id),
            tables.blocks(&cause.supported_by, &cause.id),
            tables.blocks(&cause.proved_by, &cause.id),
            slice(tell_apart),
        )
        .expect("as above");
    }
    let formerly = causes.iter().filter_map(|cause| Some((cause.formerly.as_ref()?, camel(&cause.id))));
    let formerly = slice(formerly.map(|(name, id)| format!("({name:?}, Cause::{id})")));
    out + "];\n/// Names that causes had.\nstatic FORMERLY: &[(&str, Cause)] = " + &formerly + ";\n"
}
