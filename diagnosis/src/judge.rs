//! The judge: derives the possible causes from a signal and facts, ranks them, and computes the confidence.
//!
//! A fact is true, false or not observed. A fact that was not observed excludes and supports nothing. A cause is a candidate if
//! it shows the signal at that layer, and is excluded if an observed fact contradicts it. The other candidates are ranked by
//! their strongest support, never by the number of supporting facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cause::{Block, Cause, Condition, Entry, Fault, Grade, Rules, Shows, Step};
use crate::fact::fact::{LogsAgree, LogsJoined};
use crate::fact::{Fact, FactId, Hop, SeenBy, Value};
use crate::signal::{Shown, Signal};
use crate::vocabulary::{Component, Confidence, Layer, Peer};

/// A case for the judge: the signals in order, and all facts.
#[derive(Debug, Clone, Default)]
pub struct Case<'a> {
    /// The signals of failed steps.
    pub shown: Vec<&'a Shown>,
    /// The observed facts.
    pub facts: Vec<&'a Fact>,
}

/// A cause that was not excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The cause.
    pub cause: Cause,
    /// The component that is, or usually is, at fault.
    pub component: Component,
    /// The strength of its support.
    pub grade: Grade,
    /// Other components that may be at fault.
    pub others: Vec<&'static Fault>,
    /// The supporting conditions.
    support: Vec<&'static Condition>,
    /// The proving conditions.
    proof: Option<&'static Block>,
    /// An action that comes before those of the catalogue.
    pub support_advice: Vec<String>,
}

impl Candidate {
    /// Whether the cause ranks before its possible consequences.
    fn underlies(&self) -> bool {
        self.cause.entry().rules.underlies
    }

    /// Supporting facts without word values.
    pub fn tells(&self) -> impl Iterator<Item = FactId> + '_ {
        self.support.iter().filter_map(|condition| match condition {
            Condition::Told(id) => Some(*id),
            _ => None,
        })
    }

    /// Whether this cause exists besides another one, and is not a rival explanation: a fact proves it that does not prove the other. A
    /// signal is one event and has one cause.
    ///
    /// A cause that underlies others may have produced them, however strongly they are proven.
    fn coexists_with(&self, other: &Self) -> bool {
        if self.underlies() || other.underlies() {
            return false;
        }
        let others: &[Condition] = other.proof.map_or(&[], |proof| proof.facts);
        let own = self.proof.map_or(&[][..], |proof| proof.facts);
        own.iter().any(|condition| matches!(condition, Condition::Fact(..)) && !others.contains(condition))
    }
}

/// A cause that was excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The cause.
    pub cause: Cause,
    /// The reason for the exclusion, in words.
    pub because: String,
}

/// Another possible cause beside the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alternative {
    /// The cause.
    pub cause: Cause,
    /// The component that would be at fault.
    pub component: Component,
    /// Ways to distinguish this cause from the first one.
    pub tell_apart: Vec<String>,
}

/// The remaining causes, and the confidence in the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The signal that was judged.
    pub shown: Option<Shown>,
    /// Candidates, the most likely first.
    pub candidates: Vec<Candidate>,
    /// Causes that show the signal and that facts contradict.
    pub excluded: Vec<Excluded>,
    /// The confidence in the first candidate.
    pub confidence: Confidence,
    /// The catalogue's steps for the first cause; steps for the observed facts come first.
    pub advice: Vec<&'static Step>,
}

impl Judgement {
    /// The first candidate.
    pub fn first(&self) -> Option<&Candidate> {
        self.candidates.first()
    }

    /// Lowers the confidence if the side that showed the signal is unknown: from the other side, the signal would be about another
    /// component.
    #[must_use]
    pub fn of_either_side(self) -> Self {
        Self { confidence: self.confidence.max(Confidence::Possible), ..self }
    }

    /// Other causes with their own observed proof.
    pub fn also(&self) -> impl Iterator<Item = &Candidate> {
        let first = self.candidates.first();
        let beside = move |other: &&Candidate| first.is_some_and(|first| other.coexists_with(first));
        self.candidates.iter().skip(1).filter(beside)
    }

    /// Other causes that were not excluded, with ways to distinguish them.
    pub fn alternatives(&self, peer: Peer) -> Vec<Alternative> {
        let Some(first) = self.first() else { return Vec::new() };
        let whose = first.others.iter().map(|other| Alternative {
            cause: first.cause,
            component: other.component,
            tell_apart: other
                .tell
                .map(|tell| tell.of(peer).to_owned())
                .filter(|tell| !tell.is_empty())
                .into_iter()
                .collect(),
        });
        let others = self.candidates.iter().skip(1).filter(|other| !other.coexists_with(first));
        let others = others.map(|other| Alternative {
            cause: other.cause,
            component: other.component,
            tell_apart: tell_apart(first.cause, other.cause, peer),
        });
        whose.chain(others).collect()
    }
}

/// How the catalogue distinguishes one cause from another, from either entry; otherwise how to confirm the other one.
pub fn tell_apart(one: Cause, other: Cause, peer: Peer) -> Vec<String> {
    let of = |entry: &'static Entry, cause: Cause| {
        let both = entry.rules.tell_apart.iter().chain(entry.see_also);
        both.filter(move |it| it.cause == cause).map(move |it| it.how.of(peer).to_owned()).filter(|how| !how.is_empty())
    };
    let mut how: Vec<String> = of(one.entry(), other).collect();
    if how.is_empty() {
        how.extend(of(other.entry(), one));
    }
    if how.is_empty() {
        how.extend(other.entry().confirm(peer).next().map(|step| step.text.of(peer).to_owned()));
    }
    how
}

/// Judges a case.
pub fn judge(case: &Case<'_>) -> Judgement {
    judge_with_rules(case, |_| true)
}

/// Judges a case by the causes whose rules are `wanted`.
pub fn judge_with_rules(case: &Case<'_>, wanted: impl Fn(&Rules) -> bool) -> Judgement {
    let open: Vec<&Shown> = case.shown.iter().copied().filter(|shown| shown.recovered != Some(true)).collect();
    let Some(first) = open.first() else {
        return Judgement {
            shown: None,
            candidates: Vec::new(),
            excluded: Vec::new(),
            confidence: Confidence::Possible,
            advice: Vec::new(),
        };
    };
    // A cause that explains everything ranks before one that explains only the first part.
    let whole = candidates(&open, case, &wanted);
    let (candidates, excluded) =
        if whole.0.is_empty() && open.len() > 1 { candidates(&open[..1], case, &wanted) } else { whole };
    // A log line is second-hand evidence: it makes a cause certain only if both ends report the same, at the same time or for the same
    // session.
    let tells = |fact: Fact| case.facts.iter().any(|it| it.id == fact.id && it.value == fact.value);
    let joined = || tells(LogsJoined::ByTime.into()) || tells(LogsJoined::BySession.into());
    let agreed = || tells(LogsAgree::Yes.into()) && joined();
    let doubted = || first.said_by == SeenBy::Us && open.iter().all(|shown| may_lie_below(shown, case));
    let confidence = match confidence(&candidates, first.signal) {
        Confidence::Certain if first.said_by == SeenBy::Log && !agreed() => Confidence::Likely,
        Confidence::Certain if doubted() => Confidence::Likely,
        confidence => confidence,
    };
    let place = Place { shown: Some(first), case };
    let advice = candidates.first().map(|first| advice(first, &place)).unwrap_or_default();
    Judgement { shown: Some((*first).clone()), candidates, excluded, confidence, advice }
}

/// The steps for a cause: first those for the observed facts, then those for the component at fault; none for an excluded
/// component.
fn advice(first: &Candidate, place: &Place<'_>) -> Vec<&'static Step> {
    let rank = |step: &Step| match step.component {
        _ if !step.facts.iter().all(|it| place.holds(it) == Some(true)) => None,
        _ if !step.facts.is_empty() => Some(0),
        Some(component) if component == first.component => Some(1),
        None => Some(2),
        Some(other) => first.others.iter().any(|fault| fault.component == other).then_some(3),
    };
    let mut ranked: Vec<_> = first.cause.entry().fix.iter().filter_map(|step| Some((rank(step)?, step))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, step)| step).collect()
}

/// Whether the effect of a cause may disappear by itself, according to the facts.
pub fn may_pass(cause: Cause, facts: Vec<&Fact>) -> bool {
    let rules = &cause.entry().rules;
    let case = Case { shown: Vec::new(), facts };
    let place = Place { shown: None, case: &case };
    let holds = |condition: &Condition| place.holds(condition) == Some(true);
    rules.transient || !rules.transient_if.is_empty() && rules.transient_if.iter().all(holds)
}

/// The causes that show a signal, in order, without any other evidence.
pub fn of_signal(signal: Signal) -> Vec<Candidate> {
    let shown = Shown::new(signal);
    judge(&Case { shown: vec![&shown], facts: Vec::new() }).candidates
}

fn candidates(shown: &[&Shown], case: &Case<'_>, wanted: impl Fn(&Rules) -> bool) -> (Vec<Candidate>, Vec<Excluded>) {
    let (mut left, mut excluded) = (Vec::new(), Vec::new());
    for cause in Cause::ALL.iter().copied() {
        let rules = &cause.entry().rules;
        if !wanted(rules) || !shown.iter().all(|shown| rules.shows.iter().any(|row| shows(row, shown, case))) {
            continue;
        }
        let place = Place { shown: shown.first().copied(), case };
        match exclusion(rules, &place) {
            Some(because) => excluded.push(Excluded { cause, because }),
            None => left.push(weigh(cause, rules, &place)),
        }
    }
    left.retain(|candidate| !candidate.underlies() || candidate.grade > Grade::Nothing);
    left.sort_by_key(|candidate| {
        let rules = &candidate.cause.entry().rules;
        let strength = std::cmp::Reverse((rules.underlies, candidate.grade));
        (strength, rules.rare, rules.prior, candidate.cause)
    });
    (left, excluded)
}

fn shows(row: &Shows, shown: &Shown, case: &Case<'_>) -> bool {
    let here = shown.layer.is_none_or(|layer| row.layers.is_empty() || row.layers.contains(&layer));
    let place = Place { shown: Some(shown), case };
    let may_be = row.facts.iter().all(|it| place.holds(it) != Some(false));
    let is_so = row.only_with.iter().all(|it| place.holds(it) == Some(true));
    row.signals.contains(&shown.signal) && here && may_be && is_so
}

/// Whether a cause that underlies others may have produced this signal: no observed fact excludes it. A check tests for such causes first;
/// a program or a log only reports on its own actions.
fn may_lie_below(shown: &Shown, case: &Case<'_>) -> bool {
    let place = Place { shown: Some(shown), case };
    let possible = |block: &Block| block.facts.iter().all(|condition| place.holds(condition) != Some(false));
    let rules = Cause::ALL.iter().map(|cause| &cause.entry().rules).filter(|rules| rules.underlies);
    let mut left = rules.filter(|rules| exclusion(rules, &place).is_none());
    left.any(|rules| rules.supported_by.iter().any(possible))
}

/// The judged signal, and the related facts.
struct Place<'a> {
    shown: Option<&'a Shown>,
    case: &'a Case<'a>,
}

impl Place<'_> {
    /// The session that the signal belongs to.
    fn hop(&self) -> Option<Hop> {
        match self.shown?.layer? {
            Layer::OuterHandshake | Layer::Bridge => Some(Hop::Peer),
            Layer::InnerHandshake | Layer::Request => Some(Hop::Server),
            _ => None,
        }
    }

    /// The last observation of a fact; facts of another session are ignored.
    fn fact(&self, id: FactId) -> Option<&Fact> {
        let hop = self.hop();
        let here = |fact: &&&Fact| fact.id == id && (fact.hop.is_none() || hop.is_none() || fact.hop == hop);
        self.case.facts.iter().rev().find(here).copied()
    }

    /// Whether a condition holds; `None` if it was not observed.
    fn holds(&self, condition: &Condition) -> Option<bool> {
        match condition {
            Condition::Signal(signals) => self.shown.map(|shown| signals.contains(&shown.signal)),
            Condition::Layer(layers) => self.shown.and_then(|shown| shown.layer).map(|layer| layers.contains(&layer)),
            Condition::Fact(id, words) => match self.fact(*id)?.value {
                Value::Word(word) => Some(words.contains(&word)),
                _ => None,
            },
            Condition::Told(id) => self.fact(*id).map(|_| true),
        }
    }

    fn all(&self, block: &Block) -> bool {
        block.facts.iter().all(|condition| self.holds(condition) == Some(true))
    }

    /// The facts of a condition, as readers see them.
    fn said(&self, condition: &Condition) -> String {
        match condition {
            Condition::Signal(_) => self.shown.map_or_else(String::new, |shown| shown.signal.row().says.to_owned()),
            Condition::Layer(_) => {
                let layer = self.shown.and_then(|shown| shown.layer);
                layer.map_or_else(String::new, |layer| format!("the failure appeared at {layer}"))
            }
            Condition::Fact(id, _) | Condition::Told(id) => self.fact(*id).map_or_else(String::new, Fact::to_string),
        }
    }
}

fn exclusion(rules: &Rules, place: &Place<'_>) -> Option<String> {
    if let Some(condition) = rules.needs.iter().find(|condition| place.holds(condition) == Some(false)) {
        return Some(place.said(condition));
    }
    let block = rules.excluded_by.iter().find(|block| place.all(block))?;
    Some(match block.say {
        "" => block.facts.iter().map(|condition| place.said(condition)).collect::<Vec<_>>().join(", "),
        say => say.to_owned(),
    })
}

fn weigh(cause: Cause, rules: &'static Rules, place: &Place<'_>) -> Candidate {
    let proofs: Vec<&'static Block> = rules.proved_by.iter().filter(|block| place.all(block)).collect();
    let supports: Vec<&'static Block> = rules.supported_by.iter().filter(|block| place.all(block)).collect();
    let strongest = supports.iter().map(|block| block.grade).max().unwrap_or(Grade::Nothing);
    let grade = if proofs.is_empty() { strongest } else { Grade::Proof };
    let support = supports.iter().filter(|block| block.grade == strongest).flat_map(|block| block.facts).collect();
    // A proof that names the component is stronger.
    let proof = proofs.iter().find(|block| block.component.is_some()).or(proofs.first()).copied();
    let proven = proof.and_then(|block| block.component);
    let (component, others) = match proven {
        Some(component) => (component, Vec::new()),
        None => fault(cause.entry().faults, place),
    };
    let support_advice = supports.iter().filter_map(|block| support_advice(block, place)).collect();
    Candidate { cause, component, others, grade, support, proof, support_advice }
}

/// The action of a support block, with the observed text.
fn support_advice(block: &Block, place: &Place<'_>) -> Option<String> {
    let what = block.remedy?;
    let told = block.facts.iter().filter_map(|condition| match condition {
        Condition::Told(id) => place.fact(*id).map(Fact::text),
        _ => None,
    });
    Some(format!("{what}: {}", told.collect::<Vec<_>>().join(", ")))
}

/// The component at fault according to the facts, and other possible components.
fn fault(faults: &'static [Fault], place: &Place<'_>) -> (Component, Vec<&'static Fault>) {
    let is_open = |fault: &&'static Fault| {
        let is_one = fault.only_with.iter().all(|condition| place.holds(condition) == Some(true));
        is_one && !fault.excluded_by.iter().any(|block| place.all(block))
    };
    let mut left: Vec<&'static Fault> = faults.iter().filter(is_open).collect();
    let support = |fault: &Fault| {
        let held = fault.supported_by.iter().filter(|block| place.all(block)).map(|block| block.grade);
        held.max().unwrap_or(Grade::Nothing)
    };
    // Among equal components the first in the file is the usual one.
    left.sort_by_key(|fault| (fault.rare, std::cmp::Reverse(support(fault))));
    let mut left = left.into_iter();
    let first = left.next().or(faults.first());
    (first.map_or(Component::Tool, |fault| fault.component), left.collect())
}

fn confidence(candidates: &[Candidate], signal: Signal) -> Confidence {
    let Some((first, others)) = candidates.split_first() else { return Confidence::Possible };
    let rivals = || others.iter().filter(|other| !other.coexists_with(first) && !other.cause.entry().rules.rare);
    let stands_alone = rivals().next().is_none();
    let settled = first.others.iter().all(|other| other.rare);
    let eliminated = signal.row().closed.is_some() && others.is_empty() && !first.underlies();
    if (first.grade == Grade::Proof || eliminated) && stands_alone && settled {
        return Confidence::Certain;
    }
    // Whether this support is unique: it is stronger than any other, or equally strong and based on something else.
    let equals = others.iter().filter(|other| other.grade == first.grade);
    let shared: Vec<&Condition> = equals.flat_map(|other| &other.support).copied().collect();
    // The signal itself counts as one support, whichever other conditions are listed with it.
    let is_signal = |condition: &Condition| matches!(condition, Condition::Signal(_));
    let signal_is_shared = shared.iter().any(|condition| is_signal(condition));
    let own = first
        .support
        .iter()
        .any(|condition| if is_signal(condition) { !signal_is_shared } else { !shared.contains(condition) });
    if first.grade == Grade::Proof || first.grade > Grade::Nothing && own {
        Confidence::Likely
    } else {
        Confidence::Possible
    }
}
