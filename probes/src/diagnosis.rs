//! From findings to a verdict. Rules read findings and nothing else; the first that speaks decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::Cause;
use crate::finding::{Finding, Remedy};
use crate::target::TargetSummary;
use crate::vocabulary::{Component, Confidence, Layer, Outcome, Status};

/// Which layer fails, whose fault it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// How the walk came out.
    pub status: Outcome,
    /// The layer that fails.
    pub layer: Option<Layer>,
    /// Why, from the catalogue.
    pub cause: Option<Cause>,
    /// Whose fault it is.
    pub component: Option<Component>,
    /// How far the evidence carries.
    pub confidence: Confidence,
    /// One or two sentences.
    pub summary: String,
    /// What to do, most specific first.
    pub remedies: Vec<Remedy>,
}

/// A conclusion before it is dressed: a cause, met at a finding.
struct Conclusion<'a> {
    cause: Cause,
    confidence: Confidence,
    finding: &'a Finding,
    also: Option<&'a Finding>,
}

type Rule = for<'a> fn(&'a [Finding]) -> Option<Conclusion<'a>>;

/// In order of precedence.
const RULES: &[Rule] = &[stale_hosts_entry, first_failure];

/// The verdict on a walk.
pub fn diagnose(findings: &[Finding], target: &TargetSummary) -> Verdict {
    match RULES.iter().find_map(|rule| rule(findings)) {
        Some(conclusion) => failed(&conclusion, findings, target),
        None => passed(findings),
    }
}

/// A connection that fails at an address which DNS no longer gives.
fn stale_hosts_entry(findings: &[Finding]) -> Option<Conclusion<'_>> {
    let resolve = findings.iter().find(|finding| finding.cause == Some(Cause::NameStaleHosts))?;
    let tcp = findings.iter().find(|finding| finding.layer == Layer::Tcp && finding.status == Status::Fail)?;
    let (cause, confidence) = (Cause::NameStaleHosts, Confidence::Likely);
    Some(Conclusion { cause, confidence, finding: resolve, also: Some(tcp) })
}

fn first_failure(findings: &[Finding]) -> Option<Conclusion<'_>> {
    let finding = findings.iter().find(|finding| finding.status == Status::Fail)?;
    // A failure always has a cause; where none fits, nobody but the tool is to blame.
    let cause = finding.cause.unwrap_or(Cause::ToolCrashed);
    let confidence = finding.confidence.unwrap_or(Confidence::Possible);
    Some(Conclusion { cause, confidence, finding, also: None })
}

fn failed(conclusion: &Conclusion<'_>, findings: &[Finding], target: &TargetSummary) -> Verdict {
    let entry = conclusion.cause.entry();
    let tool = entry.component == Component::Tool;
    // A handshake may show what is wrong further up: the cause's own layer is named when it had something to say.
    let home = findings
        .iter()
        .find(|finding| finding.layer == entry.layer && matches!(finding.status, Status::Warn | Status::Fail));
    let layer = if tool { conclusion.finding.layer } else { home.map_or(conclusion.finding.layer, |home| home.layer) };
    let also = conclusion.also.map(|finding| format!("; {}", finding.summary)).unwrap_or_default();
    let own = conclusion.finding.remedies.iter().cloned();
    let elsewhere = home.filter(|home| home.layer != conclusion.finding.layer);
    let elsewhere = elsewhere.into_iter().flat_map(|home| home.remedies.iter().cloned());
    Verdict {
        status: if tool { Outcome::Inconclusive } else { Outcome::Fail },
        layer: Some(layer),
        cause: Some(conclusion.cause),
        component: Some(entry.component),
        confidence: conclusion.confidence,
        summary: format!("{}{also}", conclusion.finding.summary),
        remedies: own.chain(elsewhere).chain(remedies(conclusion.cause, target)).collect(),
    }
}

/// What the catalogue advises, with the target's own names in it.
pub fn remedies(cause: Cause, target: &TargetSummary) -> Vec<Remedy> {
    let fixes = cause.entry().fix.iter().map(|step| Remedy {
        text: fill_in(&step.text, target),
        command: step.command.as_deref().map(|command| fill_in(command, target)),
    });
    fixes.collect()
}

fn passed(findings: &[Finding]) -> Verdict {
    let warnings = findings.iter().filter(|finding| finding.status == Status::Warn).collect::<Vec<_>>();
    let last = findings.iter().rev().find(|finding| matches!(finding.status, Status::Pass | Status::Warn));
    let reached =
        last.map_or("nothing was walked".to_owned(), |last| format!("every layer up to {} works", last.layer));
    let summary = match warnings.as_slice() {
        [] => reached,
        [one] => format!("{reached}; a warning at {}: {}", one.layer, one.summary),
        many => format!("{reached}; {} warnings", many.len()),
    };
    Verdict {
        status: Outcome::Pass,
        layer: None,
        cause: None,
        component: None,
        confidence: Confidence::Certain,
        summary,
        remedies: warnings.iter().flat_map(|finding| finding.remedies.iter().cloned()).collect(),
    }
}

/// Puts the target's own names where the catalogue has placeholders.
fn fill_in(text: &str, target: &TargetSummary) -> String {
    let bridge = target.bridge.as_ref().map(|bridge| bridge.value.as_str());
    let (host, port) =
        bridge.and_then(|bridge| bridge.rsplit_once(':')).map_or((None, None), |(h, p)| (Some(h), Some(p)));
    let database = target.database.as_ref().map(|database| database.value.as_str());
    let known = [
        // The catalogue's commands name the kind themselves.
        ("sql:<DIR>", database),
        ("<DIR>", database.map(|argument| argument.trim_start_matches("sql:").trim_start_matches("dbm:"))),
        ("<NICKNAME>", target.nickname.as_ref().map(|nickname| nickname.value.as_str())),
        ("<HOST>", host),
        ("<PORT>", port),
    ];
    known.into_iter().fold(text.to_owned(), |text, (placeholder, value)| match value {
        Some(value) => text.replace(placeholder, &crate::shell::quote(value)),
        None => text,
    })
}
