//! Explains pasted text, and judges its lines together like those of a log.

use nssight_diagnosis::explain::{self, Candidate, Explanation};
use nssight_diagnosis::{Cause, Confidence, Signal};
use schemars::JsonSchema;
use serde::Serialize;

use crate::sign::Role;
use crate::{Document, Quote, Triage};

/// The explanation of a text.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explained {
    /// The verdict on all lines together; absent for a single line, unless its writer is a server.
    pub judged: Option<Judged>,
    /// Everything that it names, what decides first.
    pub explanations: Vec<Explanation>,
}

/// The verdict on several lines, or on a server's line about its client.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Judged {
    /// The number of the decisive line, from 1.
    pub line: u64,
    /// The start of that line.
    pub text: String,
    /// The program that wrote that line.
    pub role: Role,
    /// The log format.
    pub program: Option<&'static str>,
    /// The signal of all lines together, from the client's point of view.
    pub signal: Option<Signal>,
    /// The conclusion in one sentence.
    pub summary: String,
    /// The confidence in the first cause.
    pub confidence: Confidence,
    /// Possible causes, the most likely first.
    pub causes: Vec<Candidate>,
}

/// Explains a text: a code, a name, or lines of a program.
pub fn explain(text: &str) -> Explained {
    // A code or a name is not a log line, and loading all words of all formats takes time.
    if !text.contains(char::is_whitespace) {
        return Explained { judged: None, explanations: explain::explain_by(text, None) };
    }
    let mut triage = Triage::default();
    triage.pasted(text);
    let document = triage.finish();
    let decides = deciding(&document);
    let line = decides.and_then(|quote| usize::try_from(quote.line).ok());
    let explanations = explain::explain_by(text, line.and_then(|line| text.lines().nth(line - 1)));
    let several = text.lines().filter(|line| !line.trim().is_empty()).count() > 1;
    let of_server = |quote: &&Quote| matches!(quote.role, Role::Bridge | Role::Server | Role::Peer);
    let judged = decides.filter(|quote| several || of_server(quote)).map(|quote| Judged {
        line: quote.line,
        text: quote.text.clone(),
        role: quote.role,
        program: document.files.iter().find_map(|file| file.program),
        signal: document.incidents.first().and_then(|incident| incident.shown.as_ref()).map(|shown| shown.signal),
        summary: document.verdict.summary.clone(),
        confidence: document.verdict.confidence,
        causes: explain::candidates(&causes(&document)),
    });
    Explained { judged, explanations }
}

/// The decisive line: of a failure, or otherwise of a failure that was overcome.
fn deciding(document: &Document) -> Option<&Quote> {
    match document.incidents.first() {
        Some(incident) => incident.decides.as_ref(),
        None => document.evidence.last(),
    }
}

/// The candidates of the verdict, in order. One cause may be named for several components.
fn causes(document: &Document) -> Vec<Cause> {
    let verdict = &document.verdict;
    let beside = verdict.also.iter().map(|other| other.cause);
    let others = verdict.alternatives.iter().map(|other| other.cause);
    let mut causes: Vec<Cause> = Vec::new();
    for cause in verdict.cause.into_iter().chain(beside).chain(others) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}
