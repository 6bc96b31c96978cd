//! The laws of the judge, over the recorded facts of every fault in the lab: what was not looked at makes nothing certain, and
//! two worlds that look alike are told apart by nobody.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use common::binary;
use nssight_diagnosis::fact::{FACTS, Kind};
use nssight_diagnosis::verdict::{Names, Verdict, diagnose};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Component, Confidence, Finding};
use nssight_fixtures::fault::{self, Fault};
use nssight_probes::Report;

struct Recorded {
    fault: Fault,
    report: Report,
}

/// A walk of every fault of the lab.
static RECORDED: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    let faults = fault::all().unwrap();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let report = walk(fault);
                    done.lock().unwrap().insert(fault.id.clone(), Recorded { fault: fault.clone(), report });
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
});

fn walk(fault: &Fault) -> Report {
    let mut command = binary();
    let output = command.args(["lab", "run", "--format", "json", "--fault", &fault.id]).stdin(Stdio::null()).output();
    let output = output.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", fault.id, String::from_utf8_lossy(&output.stderr)))
}

/// What a verdict is sure of.
fn certainty(verdict: &Verdict) -> Option<(Outcome, Option<Cause>, Option<Component>)> {
    (verdict.confidence == Confidence::Certain).then_some((verdict.status, verdict.cause, verdict.component))
}

/// The findings without the facts at these places.
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

/// A small generator of its own, so that a failure can be had again (Knuth, The Art of Computer Programming 2, 3.3.4).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[test]
fn taking_facts_away_makes_nothing_certain() {
    let mut combinations = 0_u64;
    let mut broken = BTreeSet::new();
    for Recorded { fault, report } in RECORDED.iter() {
        let names = Names::default();
        let whole = diagnose(&report.probes, &names);
        let sure = certainty(&whole);
        let words: Vec<usize> = {
            // No rule rests on anything but words.
            let all = report.probes.iter().flat_map(|finding| &finding.facts);
            all.enumerate().filter(|(_, fact)| fact.id.row().kind == Kind::Word).map(|(place, _)| place).collect()
        };
        let mut dice = Dice(7);
        let pairs = words.iter().flat_map(|one| words.iter().map(move |other| BTreeSet::from([*one, *other])));
        let halves = (0..200).map(|_| words.iter().copied().filter(|_| dice.throw().is_multiple_of(2)).collect());
        for places in pairs.chain(halves) {
            combinations += 1;
            let less = certainty(&diagnose(&without(&report.probes, &places), &names));
            if less.is_some() && less != sure {
                let gone: Vec<String> = report
                    .probes
                    .iter()
                    .flat_map(|finding| &finding.facts)
                    .enumerate()
                    .filter(|(place, _)| places.contains(place))
                    .map(|(_, fact)| format!("{}={}", fact.id.row().id, fact.text()))
                    .collect();
                if gone.len() <= 2 {
                    broken.insert(format!("{}: {sure:?} became {less:?} without {gone:?}", fault.id));
                } else {
                    broken.insert(format!("{}: {sure:?} became {less:?}", fault.id));
                }
            }
        }
    }
    println!("{combinations} combinations over {} faults", RECORDED.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn two_worlds_that_look_alike_are_not_told_apart() {
    let mut worlds: BTreeMap<String, Vec<&Recorded>> = BTreeMap::new();
    for recorded in RECORDED.iter() {
        let of = |finding: &Finding| {
            let words = finding.facts.iter().filter_map(|fact| Some((fact.id.row().id, fact.word()?, fact.hop)));
            let signals = finding.signals.iter().map(|shown| shown.signal.id());
            format!(
                "{} {} {:?} {:?}",
                finding.layer,
                finding.status,
                words.collect::<BTreeSet<_>>(),
                signals.collect::<Vec<_>>()
            )
        };
        let world: Vec<String> = recorded.report.probes.iter().map(of).collect();
        worlds.entry(world.join("\n")).or_default().push(recorded);
    }
    for alike in worlds.values() {
        let truths: BTreeSet<_> = alike.iter().map(|it| (&it.fault.layer, &it.fault.cause)).collect();
        if truths.len() < 2 {
            continue;
        }
        for recorded in alike {
            let sure = certainty(&recorded.report.verdict);
            let ids: Vec<&str> = alike.iter().map(|it| it.fault.id.as_str()).collect();
            assert_eq!(sure, None, "{ids:?} look alike");
        }
    }
}

/// Derived by the door that reads logs, whose verdicts `tests/triage.rs` holds to the data of the faults.
const TOLD_BY_LOGS: [&str; 1] = ["bridge.close"];

#[test]
fn what_is_derived_is_seen_to_differ() {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for fact in RECORDED.iter().flat_map(|it| &it.report.probes).flat_map(|finding| &finding.facts) {
        if let (true, Some(word)) = (fact.id.row().derived, fact.word()) {
            seen.entry(fact.id.row().id).or_default().insert(word);
        }
    }
    for row in FACTS.iter().filter(|row| row.derived && !TOLD_BY_LOGS.contains(&row.id)) {
        let words = seen.get(row.id).map_or(0, BTreeSet::len);
        assert!(words > 1, "{} is derived, and no two faults tell its values apart", row.id);
    }
}
