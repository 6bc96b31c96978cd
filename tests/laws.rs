//! The laws of the judge, tested with the recorded facts of every fault in the lab: missing observations make nothing certain, and
//! identical observations get identical verdicts.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use common::lab::{client, over_all, to_its_end};
use common::{binary, run};
use nssight_diagnosis::cause::Condition;
use nssight_diagnosis::fact::{FACTS, Fact, FactId, Facts, Kind};
use nssight_diagnosis::judge::{Case, judge};
use nssight_diagnosis::signal::{Family, Shown};
use nssight_diagnosis::verdict::{Names, Verdict, diagnose, doubted};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Component, Confidence, Finding};
use nssight_fixtures::deployment::{BRIDGE_LOG, Deployment, SERVER_LOG};
use nssight_fixtures::fault::{self, Door, Doors, Fault};
use nssight_fixtures::nssdb::DbFormat;
use nssight_probes::Report;
use serde_json::Value;

/// The observations of a fault through one door.
struct Recorded {
    fault: Fault,
    door: Door,
    world: World,
}

enum World {
    /// The findings of a check.
    Walk(Vec<Finding>),
    /// The findings of a trace.
    Trace(Vec<Finding>),
    /// The signal of the lines of one failure, and the other facts in these lines.
    Lines(Shown, Facts),
}

/// The observations of every fault of the lab through every door. Log lines that show nothing are left out.
static RECORDED: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    let (faults, _) = fault::here().unwrap();
    over_all(&faults, 6, record).into_iter().flat_map(|(_, recorded)| recorded).collect()
});

fn record(fault: &Fault) -> Vec<Recorded> {
    let directory = tempfile::tempdir().unwrap();
    let mut worlds = vec![(Door::Diagnose, World::Walk(walk(fault).probes))];
    if fault.doors == Doors::All {
        let (layers, logs) = traced(fault, directory.path());
        // If no call fails and the program itself ended with an error, there is nothing to judge.
        worlds.extend(layers.map(|layers| (Door::Trace, World::Trace(layers))));
        for (door, files) in [(Door::Triage, &logs[..]), (Door::TriageClient, &logs[..1])] {
            let document = run(binary().args(["triage", "--format", "json"]).args(files)).report();
            for incident in document["incidents"].as_array().unwrap() {
                if let Some(shown) = serde_json::from_value(incident["shown"].clone()).unwrap() {
                    let facts = serde_json::from_value(incident["facts"].clone()).unwrap();
                    worlds.push((door, World::Lines(shown, facts)));
                }
            }
        }
    }
    worlds.into_iter().map(|(door, world)| Recorded { fault: fault.clone(), door, world }).collect()
}

fn walk(fault: &Fault) -> Report {
    let mut command = binary();
    let output = command.args(["lab", "run", "--format", "json", "--fault", &fault.id]).stdin(Stdio::null()).output();
    let output = output.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", fault.id, String::from_utf8_lossy(&output.stderr)))
}

/// The layers of the double-TLS client's trace, and the logs of that run, with the client's log first.
fn traced(fault: &Fault, directory: &Path) -> (Option<Vec<Finding>>, Vec<PathBuf>) {
    let lab = Deployment::start(directory, &fault.change, DbFormat::Sql).unwrap();
    let [report, client_log] = ["trace.json", "client.log"].map(|name| directory.join(name));
    for path in [&report, &client_log] {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
    }
    let mut options = fault.client_options();
    options.extend(["--log", client_log.to_str().unwrap()]);
    let before =
        [env!("CARGO_BIN_EXE_nssight"), "trace", "--format", "json", "--output", report.to_str().unwrap(), "--"]
            .map(str::to_owned);
    let words = before.into_iter().chain(client(&lab, &options, "list-users")).collect::<Vec<_>>();
    let mut command = common::lab::words(&[], &words);
    command.env_remove("NSS_DEFAULT_DB_TYPE").envs(&fault.environment);
    if let Some(user) = lab.run_as() {
        command.uid(user).gid(user);
    }
    to_its_end(command);
    drop(lab);
    let document: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let logs = [client_log, directory.join(BRIDGE_LOG), directory.join(SERVER_LOG)];
    let layers = (document["verdict"]["status"] != "inconclusive").then(|| document["layers"].clone());
    let layers = layers.map(|layers| serde_json::from_value(layers).unwrap());
    (layers, logs.into_iter().filter(|path| path.exists()).collect())
}

/// Facts of which the rules only test whether they were observed.
static TOLD: LazyLock<Vec<FactId>> = LazyLock::new(|| {
    let rules = Cause::ALL.iter().map(|cause| &cause.entry().rules);
    let blocks = rules.flat_map(|rules| rules.supported_by.iter().chain(rules.proved_by).chain(rules.excluded_by));
    let told = blocks.flat_map(|block| block.facts).filter_map(|condition| match condition {
        Condition::Told(id) => Some(*id),
        _ => None,
    });
    told.collect()
});

/// What is certain given these observations.
type Certainty = Option<(Outcome, Option<Cause>, Option<Component>)>;

impl World {
    /// The indexes of the facts that rules depend on: facts with word values, and facts that only need to be observed.
    fn words(&self) -> Vec<usize> {
        let is_asked = |(_, fact): &(usize, &Fact)| fact.id.row().kind == Kind::Word || TOLD.contains(&fact.id);
        self.facts().enumerate().filter(is_asked).map(|(place, _)| place).collect()
    }

    fn facts(&self) -> Box<dyn Iterator<Item = &Fact> + '_> {
        match self {
            Self::Walk(findings) | Self::Trace(findings) => {
                Box::new(findings.iter().flat_map(|finding| &finding.facts))
            }
            Self::Lines(_, facts) => Box::new(facts.iter()),
        }
    }

    /// What is certain without the facts at these indexes.
    fn certainty(&self, gone: &BTreeSet<usize>) -> Certainty {
        match self {
            Self::Walk(findings) => certainty(&diagnose(&without(findings, gone), &Names::default())),
            Self::Trace(findings) => {
                let mut findings = without(findings, gone);
                let mut verdict = diagnose(&findings, &Names::default());
                doubted(&mut findings, &mut verdict);
                certainty(&verdict)
            }
            Self::Lines(shown, facts) => {
                let left = facts.iter().enumerate().filter(|(place, _)| !gone.contains(place)).map(|(_, fact)| fact);
                let judgement = judge(&Case { shown: vec![shown], facts: left.collect() });
                let first = judgement.first().filter(|_| judgement.confidence == Confidence::Certain)?;
                Some((Outcome::Fail, Some(first.cause), Some(first.component)))
            }
        }
    }

    /// All input of the judge as text, which is equal for equal observations.
    fn looks(&self) -> String {
        let words = |facts: &Facts| -> BTreeSet<String> {
            let told = |fact: &Fact| TOLD.contains(&fact.id).then_some("told");
            let words = facts.iter().filter_map(|fact| Some((fact.id.row().id, fact.word().or(told(fact))?, fact.hop)));
            words.map(|word| format!("{word:?}")).collect()
        };
        match self {
            Self::Walk(findings) | Self::Trace(findings) => {
                let of = |finding: &Finding| {
                    let signals: Vec<&str> = finding.signals.iter().map(|shown| shown.signal.id()).collect();
                    format!("{} {} {:?} {signals:?}", finding.layer, finding.status, words(&finding.facts))
                };
                findings.iter().map(of).collect::<Vec<_>>().join("\n")
            }
            Self::Lines(shown, facts) => format!("{} {:?} {:?}", shown.signal.id(), shown.layer, words(facts)),
        }
    }
}

/// What is certain in a verdict.
fn certainty(verdict: &Verdict) -> Option<(Outcome, Option<Cause>, Option<Component>)> {
    (verdict.confidence == Confidence::Certain).then_some((verdict.status, verdict.cause, verdict.component))
}

/// The findings without the facts at these indexes.
fn without(findings: &[Finding], places: &BTreeSet<usize>) -> Vec<Finding> {
    let mut place = 0;
    let mut findings = findings.to_vec();
    for finding in &mut findings {
        finding.facts.retain(|_| {
            place += 1;
            !places.contains(&(place - 1))
        });
    }
    findings
}

/// A small separate generator, so that a failure can be reproduced (Knuth, The Art of Computer Programming 2, 3.3.4).
struct SeededRandom(u64);

impl SeededRandom {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[test]
fn taking_facts_away_makes_nothing_certain() {
    let mut combinations: BTreeMap<Door, u64> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    for Recorded { fault, door, world } in RECORDED.iter() {
        let sure = world.certainty(&BTreeSet::new());
        let words = world.words();
        let mut dice = SeededRandom(7);
        let pairs = words.iter().flat_map(|one| words.iter().map(move |other| BTreeSet::from([*one, *other])));
        let halves = (0..200).map(|_| words.iter().copied().filter(|_| dice.throw().is_multiple_of(2)).collect());
        for places in pairs.chain(halves) {
            *combinations.entry(*door).or_default() += 1;
            let less = world.certainty(&places);
            if less.is_some() && less != sure {
                let gone = world.facts().enumerate().filter(|(place, _)| places.contains(place));
                let gone: Vec<String> = gone.map(|(_, fact)| format!("{}={}", fact.id.row().id, fact.text())).collect();
                let of = if gone.len() <= 2 { format!(" without {gone:?}") } else { String::new() };
                broken.insert(format!("{} {door}: {sure:?} became {less:?}{of}", fault.id));
            }
        }
    }
    println!("{combinations:?} combinations over {} worlds", RECORDED.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn identical_observations_give_identical_verdicts() {
    let mut worlds: BTreeMap<(Door, String), Vec<&Recorded>> = BTreeMap::new();
    for recorded in RECORDED.iter() {
        worlds.entry((recorded.door, recorded.world.looks())).or_default().push(recorded);
    }
    for ((door, _), alike) in &worlds {
        // If a door does not examine the faulty item, the run through it has no fault.
        let is_fault = |fault: &Fault| fault.must(*door).is_none_or(|must| must.status != "pass");
        let truth = |fault: &Fault| is_fault(fault).then(|| (fault.layer.clone(), fault.cause.clone()));
        let truths: BTreeSet<_> = alike.iter().map(|it| truth(&it.fault)).collect();
        if truths.len() < 2 {
            continue;
        }
        for recorded in alike {
            let sure = recorded.world.certainty(&BTreeSet::new());
            let ids: BTreeSet<&str> = alike.iter().map(|it| it.fault.id.as_str()).collect();
            assert_eq!(sure, None, "{ids:?} look alike to {door}");
        }
    }
}

/// A disconnect of the other side, a client that sent nothing, and an error of which only the name is known can have any cause. Every other
/// signal names something.
#[test]
fn an_undecidable_fault_has_no_cause_or_looks_like_another_fault() {
    let mut told_apart = Vec::new();
    for Recorded { fault, door, world } in RECORDED.iter() {
        let cannot_tell = fault.must(*door).is_some_and(|must| must.status == "inconclusive");
        let names = match world {
            // Newer versions of NSS have an error that two causes of the catalogue explain equally well.
            World::Lines(shown, facts) => {
                let judgement = judge(&Case { shown: vec![shown], facts: facts.iter().collect() });
                let causes: BTreeSet<Cause> = judgement.candidates.iter().map(|it| it.cause).collect();
                let is_open = judgement.confidence == Confidence::Possible && causes.len() > 1;
                !is_open && !matches!(shown.signal.row().family, Family::End | Family::Silence | Family::Other)
            }
            World::Walk(_) | World::Trace(_) => true,
        };
        if fault.cause.is_none() || !cannot_tell || !names {
            continue;
        }
        let looks = world.looks();
        let alike = |other: &&Recorded| other.door == *door && other.world.looks() == looks;
        if !RECORDED.iter().filter(alike).any(|other| other.fault.cause != fault.cause) {
            told_apart.push(format!("{} {door}: {looks}", fault.id));
        }
    }
    assert!(told_apart.is_empty(), "{}", told_apart.join("\n"));
}

/// Derived by the log reader, whose verdicts `tests/triage.rs` compares with the data of the faults.
const TOLD_BY_LOGS: [&str; 1] = ["bridge.close"];

#[test]
fn derived_facts_differ_between_faults() {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for fact in RECORDED.iter().filter(|it| it.door == Door::Diagnose).flat_map(|it| it.world.facts()) {
        if let (true, Some(word)) = (fact.id.row().derived, fact.word()) {
            seen.entry(fact.id.row().id).or_default().insert(word);
        }
    }
    for row in FACTS.iter().filter(|row| row.derived && !TOLD_BY_LOGS.contains(&row.id)) {
        let words = seen.get(row.id).map_or(0, BTreeSet::len);
        assert!(words > 1, "{} is derived, and no two faults tell its values apart", row.id);
    }
}
