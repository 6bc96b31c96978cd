//! A traced program beside the walk of a correct client with the same configuration. Schema `nssight/trace-against/1`.

use nssight_diagnosis::judge::may_pass;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Finding, Layer, Status, Verdict};
use nssight_probes::Report;
use schemars::JsonSchema;
use serde::Serialize;

use crate::TraceReport;

/// Both, and where they part.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Against {
    /// `nssight/trace-against/1`
    pub schema: String,
    /// The verdict of the walk if it fails, and else of the trace.
    pub verdict: Verdict,
    /// The first layer that one of them passes and the other does not.
    pub parting: Option<Layer>,
    /// What that means.
    pub conclusion: String,
    /// Both, layer by layer.
    pub layers: Vec<Pair>,
    /// The walk.
    pub reference: Report,
    /// The program.
    pub trace: TraceReport,
}

/// A layer on both sides.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pair {
    /// Which.
    pub layer: Layer,
    /// How the walk came through; absent where it had no business.
    pub reference: Option<Side>,
    /// How the program came through; absent where it made no call.
    pub program: Option<Side>,
}

/// How one of them came through a layer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Side {
    /// As in the report.
    pub status: Status,
    /// In a sentence.
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
    /// Puts both side by side.
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
            (None, format!("The check itself could not be finished: {}.", walk.summary))
        }
        (None, None) if ended_well && trace.verdict.status == Outcome::Pass => (None, "Both get through.".to_owned()),
        (None, None) if ended_well => {
            let text =
                "A correct client gets through. The program says that it did well, which its calls do not bear out: ";
            (None, format!("{text}{}.", trace.verdict.summary))
        }
        (None, None) => {
            let text = "A correct client gets through. The program did not end well, and none of its calls that were seen is \
                        the reason: look at what it does besides TLS.";
            (None, text.to_owned())
        }
        (Some(layer), Some(same)) if layer == same && walk.cause == trace.verdict.cause => {
            (None, format!("Both fail at {layer}, for the same cause: it is not the program."))
        }
        (Some(layer), Some(same)) if layer == same => {
            (None, format!("Both fail at {layer}: it is not the program. The check has seen more of the cause."))
        }
        (None, Some(layer)) => (Some(layer), alone(layer, trace)),
        (Some(layer), None) if ended_well => (
            Some(layer),
            format!(
                "The program gets through {layer}, where the walk fails: it has other settings than the walk was given, or \
                 the fault came after it."
            ),
        ),
        (Some(layer), None) => (
            Some(layer),
            format!("The check fails at {layer}. The program failed as well, and its calls do not say why."),
        ),
        (Some(walk), Some(program)) if program < walk => (
            Some(program),
            format!("The program fails at {program}, before it comes to {walk}, where the check fails: two faults."),
        ),
        (Some(walk), Some(program)) => (
            Some(walk),
            format!(
                "The program gets through {walk}, where the walk fails, and fails at {program}: it has other settings than \
                 the walk was given, or the fault has changed in between."
            ),
        ),
    }
}

/// The program fails, and a correct client does not.
fn alone(layer: Layer, trace: &TraceReport) -> String {
    let mut text = format!("The program fails at {layer}; a correct client, run afterwards, passes it.");
    let facts = || trace.layers.iter().flat_map(|finding| &finding.facts).collect();
    if trace.verdict.cause.is_some_and(|cause| may_pass(cause, facts())) {
        text += " Such a fault may be gone with the first client that meets it: run both again before the program is changed.";
    }
    if trace.differences.is_empty() {
        text += " Nothing that it calls differs from what a correct client does.";
    } else {
        text += " What it does otherwise is listed below.";
    }
    text
}
