//! Golden tables: facts and signals as input, and the verdict with everything that it leaves open as output. `golden/works.toml` has the
//! observations of a check in which everything works; a row of the other files replaces some of these.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use nssight_diagnosis::fact::{Fact, FactId, Hop, Kind, SeenBy, Value};
use nssight_diagnosis::judge::{Alternative, Case, judge};
use nssight_diagnosis::signal::{Shown, Signal};
use nssight_diagnosis::verdict::{Also, Names, diagnose, doubted, judge_last};
use nssight_diagnosis::vocabulary::{Peer, Status};
use nssight_diagnosis::{Component, Finding, Layer, Notes};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Works {
    works: BTreeMap<Layer, Vec<String>>,
}

#[derive(Deserialize)]
struct Table {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Row {
    id: String,
    /// The last layer that was checked; absent for log lines, which are judged without a check.
    at: Option<Layer>,
    #[serde(default = "fails")]
    status: Status,
    #[serde(default)]
    shown: Vec<String>,
    #[serde(default)]
    facts: Vec<String>,
    /// The findings of earlier layers, where they differ from those in `works.toml`.
    #[serde(default)]
    others: BTreeMap<Layer, Other>,
    /// Nothing is known about earlier layers, except that the configuration has no ignored key.
    #[serde(default)]
    alone: bool,
    /// The row is a trace.
    #[serde(default)]
    trace: bool,
    /// There is a server behind the peer.
    #[serde(default)]
    bridge: bool,
    verdict: String,
    #[serde(default)]
    alternatives: Vec<String>,
    #[serde(default)]
    also: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Other {
    status: Status,
    #[serde(default)]
    shown: Vec<String>,
    #[serde(default)]
    facts: Vec<String>,
}

fn fails() -> Status {
    Status::Fail
}

/// `id=word`, optionally followed by a hop and the source.
fn fact(text: &str) -> Fact {
    let mut words = text.split(' ');
    let (id, value) = words.next().unwrap().split_once('=').unwrap_or_else(|| panic!("{text}: no value"));
    let id = FactId::of(id).unwrap_or_else(|| panic!("{text}: no fact"));
    let value = if id.row().kind == Kind::Text {
        Value::Text(value.to_owned())
    } else {
        let place = id.row().values.iter().position(|(word, _)| *word == value);
        Value::Word(place.unwrap_or_else(|| panic!("{text}: no word of this fact")).try_into().unwrap())
    };
    let mut fact = Fact { id, value, seen_by: SeenBy::Us, hop: None };
    for word in words {
        match word {
            "peer" => fact.hop = Some(Hop::Peer),
            "server" => fact.hop = Some(Hop::Server),
            by => fact.seen_by = said_by(by),
        }
    }
    fact
}

fn said_by(word: &str) -> SeenBy {
    match word {
        "by-peer" => SeenBy::Peer,
        "by-program" => SeenBy::Program,
        "by-log" => SeenBy::Log,
        other => panic!("nobody is called {other}"),
    }
}

/// `signal`, optionally followed by its source and the layer.
fn shown(text: &str) -> Shown {
    let mut words = text.split(' ');
    let id = words.next().unwrap();
    let mut shown = Shown::new(Signal::of(id).unwrap_or_else(|| panic!("{text}: no signal")));
    for word in words {
        match word {
            "recovered" => shown.recovered = Some(true),
            "standing" => shown.recovered = Some(false),
            by if by.starts_with("by-") => shown.said_by = said_by(by),
            layer => shown.layer = Some(layer.parse().unwrap_or_else(|_| panic!("{text}: no layer"))),
        }
    }
    shown
}

fn finding(layer: Layer, status: Status, signals: &[String], facts: &[String]) -> Finding {
    let notes = facts.iter().map(|text| fact(text)).fold(Notes::default(), Notes::with);
    let mut finding = notes.pass("as it was recorded").into_finding(layer, 0);
    finding.status = status;
    finding.signals = signals.iter().map(|text| shown(text)).collect();
    for shown in &mut finding.signals {
        shown.layer.get_or_insert(layer);
    }
    finding
}

/// The verdict, the alternatives, and the coexisting causes.
type Given = (String, Vec<String>, Vec<String>);

fn walked(row: &Row, at: Layer, works: &Works) -> Given {
    let before = Layer::ALL.iter().copied().filter(|layer| *layer < at);
    let mut findings = Vec::new();
    for layer in before {
        match (row.others.get(&layer), works.works.get(&layer).filter(|_| !row.alone)) {
            (Some(other), _) => findings.push(finding(layer, other.status, &other.shown, &other.facts)),
            (None, Some(facts)) => findings.push(finding(layer, Status::Pass, &[], facts)),
            (None, None) if layer == Layer::Config => {
                findings.push(finding(layer, Status::Pass, &[], &["config.ignored=none".to_owned()]));
            }
            (None, None) => {}
        }
        judge_last(&mut findings);
    }
    findings.push(finding(at, row.status, &row.shown, &row.facts));
    judge_last(&mut findings);
    let names = Names { peer: if row.bridge { Peer::Bridge } else { Peer::Plain }, ..Names::default() };
    let mut verdict = diagnose(&findings, &names);
    if row.trace {
        doubted(&mut findings, &mut verdict);
    }
    let mut words = vec![verdict.status.to_string()];
    words.extend(verdict.layer.map(|layer| layer.to_string()));
    words.extend(verdict.cause.map(|cause| cause.to_string()));
    words.extend(verdict.component.map(|component| component.to_string()));
    words.push(verdict.confidence.to_string());
    // A layer that passes with a remark has a cause as well.
    words.extend(
        findings
            .last()
            .filter(|_| row.status == Status::Warn)
            .and_then(|last| last.cause)
            .map(|cause| cause.to_string()),
    );
    (words.join(" "), alternatives(&verdict.alternatives), also(&verdict.also))
}

fn told(row: &Row) -> Given {
    let signals: Vec<Shown> = row.shown.iter().map(|text| shown(text)).collect();
    let facts: Vec<Fact> = row.facts.iter().map(|text| fact(text)).collect();
    let judgement = judge(&Case { shown: signals.iter().collect(), facts: facts.iter().collect() });
    let first = judgement.first().map_or("nothing".to_owned(), |first| pair(first.cause, first.component));
    let beside: Vec<Also> =
        judgement.also().map(|other| Also { cause: other.cause, component: other.component }).collect();
    (format!("{first} {}", judgement.confidence), alternatives(&judgement.alternatives(Peer::Plain)), also(&beside))
}

fn pair(cause: nssight_diagnosis::Cause, component: Component) -> String {
    format!("{cause} {component}")
}

fn alternatives(all: &[Alternative]) -> Vec<String> {
    all.iter().map(|other| pair(other.cause, other.component)).collect()
}

fn also(all: &[Also]) -> Vec<String> {
    all.iter().map(|other| pair(other.cause, other.component)).collect()
}

fn file<T: DeserializeOwned>(path: &PathBuf) -> T {
    let text = fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_row_of_the_golden_tables_gets_its_verdict() {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let works: Works = file(&directory.join("works.toml"));
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name != "works.toml"));
    paths.sort();
    let (mut ids, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in &paths {
        for row in file::<Table>(path).row {
            let given = row.at.map_or_else(|| told(&row), |at| walked(&row, at, &works));
            let expected = (row.verdict.clone(), row.alternatives.clone(), row.also.clone());
            if given != expected {
                let ((verdict, others, also), name) = (given, path.file_name().unwrap().display());
                let said = format!("verdict = {verdict:?}\nalternatives = {others:?}\nalso = {also:?}");
                wrong.push(format!("{name}: {}\n{said}", row.id));
            }
            assert!(ids.insert(row.id.clone()), "{} stands twice", row.id);
        }
    }
    println!("{} rows", ids.len());
    // Printed in the notation of the tables, for a developer who finds that the row is wrong and not the judge.
    assert!(!ids.is_empty() && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ids.len(), wrong.join("\n"));
}
