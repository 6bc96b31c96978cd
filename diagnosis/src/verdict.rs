//! Derives the verdict from the findings of a check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Effect, Step};
use crate::fact::{Fact, SeenBy, Word, fact};
use crate::finding::{Finding, Remedy};
use crate::judge::{self, Alternative, Candidate, Case, Excluded, Judgement};
use crate::shell;
use crate::vocabulary::{Component, Confidence, Layer, Outcome, Peer, Status};

/// The failing layer, the cause, the component at fault, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The result of the whole check.
    pub status: Outcome,
    /// The layer of the cause.
    pub layer: Option<Layer>,
    /// The layer at which the failure appeared.
    #[serde(default)]
    pub seen_at: Option<Layer>,
    /// The cause from the catalogue; absent if no known cause matches.
    pub cause: Option<Cause>,
    /// The component at fault.
    pub component: Option<Component>,
    /// The confidence in the cause.
    pub confidence: Confidence,
    /// The verdict in one or two sentences.
    pub summary: String,
    /// The explanation of the symptoms.
    #[serde(default)]
    pub why: Option<String>,
    /// Actions, the most specific first.
    pub remedies: Vec<Remedy>,
    /// Other causes that no fact excludes, with ways to distinguish them.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Other causes that are also proven.
    #[serde(default)]
    pub also: Vec<Also>,
    /// The page of the cause in the documentation.
    #[serde(default)]
    pub docs: Option<String>,
}

/// A cause that is also proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Also {
    /// The cause.
    pub cause: Cause,
    /// The component at fault.
    pub component: Component,
}

/// The target's own names, to fill in the catalogue's advice.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The database, as given to NSS.
    pub database: Option<String>,
    /// The nickname of our certificate.
    pub nickname: Option<String>,
    /// The file of our certificate.
    pub certificate_file: Option<String>,
    /// The file of its key.
    pub key_file: Option<String>,
    /// The file of the trusted CAs.
    pub authorities_file: Option<String>,
    /// The configuration.
    pub config: Option<String>,
    /// The peer's host.
    pub host: Option<String>,
    /// The peer's port.
    pub port: Option<String>,
    /// The kind of peer.
    pub peer: Peer,
    /// The role of this host if it is not a client: the bridge or the server.
    pub ours: Option<Component>,
}

impl Verdict {
    /// A verdict without a cause.
    pub fn inconclusive(summary: String) -> Self {
        Self {
            status: Outcome::Inconclusive,
            layer: None,
            seen_at: None,
            cause: None,
            component: None,
            confidence: Confidence::Possible,
            summary,
            why: None,
            remedies: Vec::new(),
            alternatives: Vec::new(),
            also: Vec::new(),
            docs: None,
        }
    }
}

/// The case of one finding, with all facts of the check so far.
fn case<'a>(findings: &'a [Finding], finding: &'a Finding, more: &'a [Fact]) -> Case<'a> {
    let facts = findings.iter().flat_map(|finding| &finding.facts).chain(more);
    Case { shown: finding.signals.iter().collect(), facts: facts.collect() }
}

fn may(effect: Effect, status: Status) -> bool {
    match effect {
        Effect::Either => true,
        Effect::Warns => status == Status::Warn,
        Effect::Stops => status == Status::Fail,
    }
}

fn judged(findings: &[Finding], finding: &Finding, more: &[Fact]) -> Judgement {
    let mut judgement =
        judge::judge_with_rules(&case(findings, finding, more), |rules| may(rules.effect, finding.status));
    // A remark does not make a working layer fail.
    if finding.status == Status::Warn {
        judgement.candidates.truncate(1);
    }
    judgement
}

/// Fills in the cause of the last finding.
pub fn judge_last(findings: &mut [Finding]) {
    let Some(last) = findings.last().filter(|last| matches!(last.status, Status::Fail | Status::Warn)) else { return };
    let judgement = judged(findings, last, &[]);
    let cause = judgement.first().map(|first| first.cause);
    let confidence = (last.status == Status::Fail).then_some(judgement.confidence);
    if let Some(last) = findings.last_mut() {
        (last.cause, last.confidence) = (cause, confidence);
    }
}

/// The verdict on a check.
pub fn diagnose(findings: &[Finding], names: &Names) -> Verdict {
    diagnose_with(findings, &[], names)
}

/// The verdict on a check with additional facts, such as the result of another attempt.
pub fn diagnose_with(findings: &[Finding], more: &[Fact], names: &Names) -> Verdict {
    match findings.iter().find(|finding| finding.status == Status::Fail) {
        Some(failed) => failure(findings, failed, &judged(findings, failed, more), names),
        None => pass(findings, more, names.peer),
    }
}

/// The reason that excluded a cause, if any, and the remaining causes.
pub fn why_not(findings: &[Finding], cause: Cause) -> Option<(Option<Candidate>, Option<Excluded>)> {
    let failed = findings.iter().find(|finding| finding.status == Status::Fail)?;
    let judgement = judged(findings, failed, &[]);
    let excluded = judgement.excluded.into_iter().find(|other| other.cause == cause);
    let left = judgement.candidates.into_iter().find(|other| other.cause == cause);
    Some((left, excluded))
}

/// Adapts a component to the target: the peer is called a bridge if there is a server behind it, and on their own hosts the configuration
/// of bridge or server takes the place of the client's.
pub fn named(component: Component, names: &Names) -> Component {
    match (component, names.peer) {
        (
            Component::ClientConfig | Component::ClientDb | Component::ClientFiles | Component::ClientHost,
            Peer::Clients | Peer::ClientsOfFiles,
        ) => Component::Server,
        (Component::ClientConfig, _) => names.ours.unwrap_or(component),
        (Component::Peer, Peer::Bridge | Peer::BridgeOfFiles) => Component::Bridge,
        (Component::Bridge, Peer::Plain | Peer::Files | Peer::Clients | Peer::ClientsOfFiles) => Component::Peer,
        (Component::ClientDb, Peer::Files | Peer::BridgeOfFiles) => Component::ClientFiles,
        (other, _) => other,
    }
}

fn failure(findings: &[Finding], failed: &Finding, judgement: &Judgement, names: &Names) -> Verdict {
    let alternatives = judgement
        .alternatives(names.peer)
        .into_iter()
        .map(|other| Alternative { component: named(other.component, names), ..other })
        // Two components of a client correspond to one of a server.
        .filter(|other| {
            judgement.first().is_none_or(|it| (it.cause, named(it.component, names)) != (other.cause, other.component))
        });
    let unknown = Verdict {
        status: Outcome::Fail,
        layer: Some(failed.layer),
        seen_at: Some(failed.layer),
        confidence: judgement.confidence,
        remedies: failed.remedies.clone(),
        alternatives: alternatives.collect(),
        ..Verdict::inconclusive(failed.summary.clone())
    };
    let Some(first) = judgement.first() else {
        let contradicted = judgement.excluded.iter().map(|other| format!("{}: {}", other.cause, other.because));
        let contradicted = contradicted.collect::<Vec<_>>().join("; ");
        let summary = match contradicted.as_str() {
            "" => failed.summary.clone(),
            contradicted => format!("{}; no cause that is known fits ({contradicted})", failed.summary),
        };
        return Verdict { summary, ..unknown };
    };
    let entry = first.cause.entry();
    let tool = first.component == Component::Tool;
    let lives_there = entry.rules.at == crate::cause::At::Home && !tool;
    let home =
        findings.iter().find(|finding| lives_there && finding.layer == entry.layer && finding.layer != failed.layer);
    // A layer may show a signal of a layer that it depends on.
    let shown = judgement.shown.as_ref().and_then(|shown| shown.layer).unwrap_or(failed.layer);
    let layer = home.map_or(shown, |home| home.layer);
    let home = home.filter(|home| matches!(home.status, Status::Warn | Status::Fail));
    let facts = || findings.iter().flat_map(|finding| &finding.facts);
    let told: Vec<_> = first.tells().filter_map(|id| facts().find(|fact| fact.id == id)).map(Fact::text).collect();
    let summary = match home {
        _ if !told.is_empty() => format!("{}; {}", failed.summary, told.join("; ")),
        Some(home) => format!("{}; {}", failed.summary, home.summary),
        None => failed.summary.clone(),
    };
    let support_advice = first.support_advice.iter().map(|text| Remedy { text: text.clone(), command: None });
    let own = failed.remedies.iter().chain(home.into_iter().flat_map(|home| &home.remedies)).cloned();
    let also = judgement.also().map(|other| Also { cause: other.cause, component: named(other.component, names) });
    Verdict {
        status: if tool { Outcome::Inconclusive } else { Outcome::Fail },
        layer: Some(layer),
        cause: Some(first.cause),
        component: Some(named(first.component, names)),
        summary,
        why: Some(entry.why.of(names.peer).to_owned()),
        remedies: support_advice.chain(own).chain(remedies(&judgement.advice, names)).collect(),
        also: also.collect(),
        docs: Some(page(first.cause)),
        ..unknown
    }
}

/// The page of a cause in the documentation.
pub fn page(cause: Cause) -> String {
    format!("docs/causes/{cause}.md")
}

/// The catalogue's advice, with the target's own names.
pub fn remedies(advice: &[&Step], names: &Names) -> Vec<Remedy> {
    let mut remedies: Vec<Remedy> =
        advice.iter().filter(|step| step.fits(names.peer)).map(|step| names.remedy(step)).collect();
    let changes_legacy = |remedy: &Remedy| {
        let command = remedy.command.as_deref().unwrap_or_default();
        ["certutil -M", "certutil -A", "certutil -D", "pk12util -i"].iter().any(|tool| command.contains(tool))
            && command.contains("dbm:")
    };
    if let Some(place) = remedies.iter().position(changes_legacy) {
        remedies.insert(place, names.migration());
    }
    remedies
}

fn pass(findings: &[Finding], more: &[Fact], peer: Peer) -> Verdict {
    let warnings = findings.iter().filter(|finding| finding.status == Status::Warn).collect::<Vec<_>>();
    let last = findings.iter().rev().find(|finding| matches!(finding.status, Status::Pass | Status::Warn));
    let mut summary =
        last.map_or("nothing was checked".to_owned(), |last| format!("every layer up to {} works", last.layer));
    let facts = || findings.iter().flat_map(|finding| &finding.facts).chain(more);
    let says = |wanted: Fact| facts().any(|fact| fact.id == wanted.id && fact.value == wanted.value);
    let shook_hands = last.is_some_and(|last| last.layer >= Layer::OuterHandshake);
    // An answered request passed through everything before it; otherwise the peer's own statement counts.
    let answered = says(fact::ReplyState::Ok.into()) || says(fact::ApplicationAnswer::Answered.into());
    let judged_us = findings.iter().filter(|finding| is_handshake_done(finding)).all(has_checked_us);
    let unconfirmed = says(fact::PeerAcceptedUs::Unconfirmed.into()) && !answered;
    if unconfirmed {
        summary += "; client authentication: unconfirmed";
    } else if !peer.is_bridge() && says(fact::PeerAcceptedUs::Yes.into()) && !answered {
        // Some servers complete every handshake, and only their application rejects our certificate.
        summary += "; the application may still refuse";
    }
    match warnings.as_slice() {
        [] => {}
        [one] => summary += &format!("; a warning at {}: {}", one.layer, one.summary),
        many => summary += &format!("; {} warnings", many.len()),
    }
    let sure = !shook_hands || answered || judged_us && !unconfirmed;
    Verdict {
        status: Outcome::Pass,
        confidence: if sure { Confidence::Certain } else { Confidence::Likely },
        remedies: warnings.iter().flat_map(|finding| finding.remedies.iter().cloned()).collect(),
        ..Verdict::inconclusive(summary)
    }
}

fn is_handshake_done(finding: &Finding) -> bool {
    matches!(finding.layer, Layer::OuterHandshake | Layer::InnerHandshake)
        && matches!(finding.status, Status::Pass | Status::Warn)
}

/// Whether the peer of this handshake has verified our certificate, or requests none.
fn has_checked_us(finding: &Finding) -> bool {
    use fact::PeerAcceptedUs::{GoesWithout, NotAsked, Yes};
    // A server's handshake ends with a message of the client, sent after the client has verified our certificate.
    if finding.facts.has(fact::ClientCertificateState::Taken) {
        return true;
    }
    let word = finding.facts.iter().rev().find(|fact| fact.id == fact::PeerAcceptedUs::FACT);
    let judged = [Yes, NotAsked, GoesWithout].map(|word| Fact::from(word).value);
    word.is_some_and(|word| judged.contains(&word.value))
}

impl Names {
    /// A step of the catalogue, adapted to this target.
    pub fn remedy(&self, step: &Step) -> Remedy {
        Remedy {
            text: self.fill_in(step.text.of(self.peer)),
            command: step.command.map(|command| self.fill_in(command.of(self.peer))),
        }
    }

    /// The step before a change of a database in the legacy format (measured on 3.132; 3.110 changes it).
    fn migration(&self) -> Remedy {
        let directory = self.database.as_deref().map_or("<DIR>", |database| database.trim_start_matches("dbm:"));
        Remedy {
            text: "Newer versions of NSS answer SEC_ERROR_READ_ONLY to changes in the legacy format. In that case, first convert \
                   the database to the new format, and from then on use the prefix sql:, here and in the client's configuration."
                .to_owned(),
            command: Some(format!("certutil -K -X -d {} -f <PASSWORD_FILE>", shell::quote(&format!("sql:{directory}")))),
        }
    }

    /// Replaces the catalogue's placeholders with the target's own names.
    fn fill_in(&self, text: &str) -> String {
        let database = self.database.as_deref();
        let known = [
            // The catalogue's commands already contain the prefix of the format.
            ("sql:<DIR>", database),
            ("<DIR>", database.map(|argument| argument.trim_start_matches("sql:").trim_start_matches("dbm:"))),
            ("<NICKNAME>", self.nickname.as_deref()),
            ("<CERT_FILE>", self.certificate_file.as_deref()),
            ("<KEY_FILE>", self.key_file.as_deref()),
            ("<CA_FILE>", self.authorities_file.as_deref()),
            ("<CONFIG>", self.config.as_deref()),
            ("<HOST>", self.host.as_deref()),
            ("<PORT>", self.port.as_deref()),
        ];
        let text = known.into_iter().fold(text.to_owned(), |text, (placeholder, value)| match value {
            Some(value) => text.replace(placeholder, &shell::quote(value)),
            None => text,
        });
        // If a peer was named without a certificate, the check continues without one.
        if self.host.is_none() || !text.starts_with("nssight diagnose ") {
            return text;
        }
        let optional = ["--nickname <NICKNAME>", "--cert <CERT_FILE>", "--key <KEY_FILE>", "--cacert <CA_FILE>"];
        optional.iter().fold(text, |text, option| text.replace(&format!(" {option}"), ""))
    }
}

/// Lowers the confidence where a trace is uncertain. Data of the program that was not read may have been the answer. And if the program's
/// calls do not show the cause that a check found, it is only inferred that the program failed because of it.
pub fn doubted(findings: &mut [Finding], verdict: &mut Verdict) {
    let Some(failed) = findings.iter().find(|finding| finding.status == Status::Fail) else { return };
    // A call of the program is direct evidence.
    let is_of_walk = failed.signals.iter().any(|shown| shown.said_by == SeenBy::Us);
    // As everywhere, incomplete observation makes nothing certain.
    let at_most = if !failed.facts.has(fact::TraceComplete::Yes) {
        Confidence::Possible
    } else if is_of_walk && !failed.facts.has(fact::TraceLink::Shown) {
        Confidence::Likely
    } else {
        return;
    };
    // The highest confidence comes first in the vocabulary.
    let named = findings.iter_mut().filter_map(|finding| finding.confidence.as_mut());
    named.for_each(|confidence| *confidence = at_most.max(*confidence));
    verdict.confidence = at_most.max(verdict.confidence);
}
