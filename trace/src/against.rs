//! Compares a traced program with the check of a correct client with the same configuration. Schema `nssight/trace-against/1`.

use nssight_diagnosis::judge::may_pass;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Finding, Layer, Status, Verdict};
use nssight_probes::Report;
use schemars::JsonSchema;
use serde::Serialize;

use crate::TraceReport;

/// The check and the traced program, and their first difference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Against {
    /// `nssight/trace-against/1`
    pub schema: String,
    /// The verdict of the check if it fails, otherwise that of the trace.
    pub verdict: Verdict,
    /// The first layer that only one of the two passes.
    pub parting: Option<Layer>,
    /// The conclusion in words.
    pub conclusion: String,
    /// The results of both, layer by layer.
    pub layers: Vec<Pair>,
    /// The report of the check.
    pub reference: Report,
    /// The report of the traced program.
    pub trace: TraceReport,
}

/// A layer with both results.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pair {
    /// Which.
    pub layer: Layer,
    /// The result of the check; absent if the check does not include the layer.
    pub reference: Option<Side>,
    /// The result of the program; absent if it made no call of the layer.
    pub program: Option<Side>,
}

/// The result of a layer on one side.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Side {
    /// The status, as in a report.
    pub status: Status,
    /// The result in one sentence.
    pub summary: String,
}

impl Side {
    fn of(findings: &[Finding], layer: Layer) -> Option<Self> {
        let finding = findings.iter().find(|finding| finding.layer == layer)?;
        let has_something_to_say = finding.status != Status::Skip || finding.skipped_because.is_some();
        has_something_to_say.then(|| Self { status: finding.status, summary: finding.summary.clone() })
    }
}

impl Against {
    /// Combines both reports.
    pub fn new(reference: Report, trace: TraceReport) -> Self {
        let layers = Layer::ALL.iter().map(|layer| Pair {
            layer: *layer,
            reference: Side::of(&reference.probes, *layer),
            program: Side::of(&trace.layers, *layer),
        });
        let layers = layers.filter(|pair| pair.reference.is_some() || pair.program.is_some()).collect();
        let (parting, conclusion) = conclude(&reference, &trace);
        let fails = reference.verdict.status != Outcome::Pass;
        let verdict = if fails { reference.verdict.clone() } else { trace.verdict.clone() };
        Self { schema: "nssight/trace-against/1".to_owned(), verdict, parting, conclusion, layers, reference, trace }
    }
}

fn conclude(reference: &Report, trace: &TraceReport) -> (Option<Layer>, String) {
    let failing = |verdict: &Verdict| verdict.layer.filter(|_| verdict.status == Outcome::Fail);
    let walk = &reference.verdict;
    let ended_well = trace.program.exit == Some(0);
    match (failing(walk), failing(&trace.verdict)) {
        _ if walk.status == Outcome::Inconclusive => {
            (None, format!("nssight could not finish the check: {}.", walk.summary))
        }
        (None, None) if ended_well && trace.verdict.status == Outcome::Pass => (None, "Both succeed.".to_owned()),
        (None, None) if ended_well => {
            let text = "A correct client succeeds. The program reports success, but its calls do not confirm it: ";
            (None, format!("{text}{}.", trace.verdict.summary))
        }
        (None, None) => {
            let text = "A correct client succeeds. The program failed, but no observed call explains it: check what the \
                        program does besides TLS.";
            (None, text.to_owned())
        }
        (Some(layer), Some(same)) if layer == same && walk.cause == trace.verdict.cause => {
            (None, format!("Both fail at {layer}, for the same cause: the program is not at fault."))
        }
        (Some(layer), Some(same)) if layer == same => {
            (None, format!("Both fail at {layer}: the program is not at fault. The check found more about the cause."))
        }
        (None, Some(layer)) => (Some(layer), alone(layer, trace)),
        (Some(layer), None) if ended_well => (
            Some(layer),
            format!(
                "The program passes {layer}, where the check fails: the program has different settings from the check, or \
                 the fault appeared after it ran."
            ),
        ),
        (Some(layer), None) => {
            (Some(layer), format!("The check fails at {layer}. The program failed too, but its calls do not show why."))
        }
        (Some(walk), Some(program)) if program < walk => (
            Some(program),
            format!("The program fails at {program}, before {walk}, where the check fails: there are two faults."),
        ),
        (Some(walk), Some(program)) => (
            Some(walk),
            format!(
                "The program passes {walk}, where the check fails, and fails at {program}: the program has different \
                 settings from the check, or the fault changed in between."
            ),
        ),
    }
}

/// The conclusion if the program fails and a correct client does not.
fn alone(layer: Layer, trace: &TraceReport) -> String {
    let mut text = format!("The program fails at {layer}; a correct client, run afterwards, passes it.");
    let facts = || trace.layers.iter().flat_map(|finding| &finding.facts).collect();
    if trace.verdict.cause.is_some_and(|cause| may_pass(cause, facts())) {
        text += " The first client that meets such a fault may clear it: run both again before you change the program.";
    }
    if trace.differences.is_empty() {
        text += " Its calls do not differ from those of a correct client.";
    } else {
        text += " The differences are listed below.";
    }
    text
}
