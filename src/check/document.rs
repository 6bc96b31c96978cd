//! The machine formats of `nssight check`: schema `nssight/check/1`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::Report;
use nssight_probes::report::Subject;
use schemars::JsonSchema;
use serde::Serialize;

use super::tally::{CauseCount, Tally};

const SCHEMA: &str = "nssight/check/1";

/// What `nssight check` writes as JSON.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Output<'a> {
    /// With `--format json`: one document.
    Document(Document<'a>),
    /// With `--format ndjson`: a line a target, as it finishes.
    Target(TargetLine<'a>),
    /// With `--format ndjson`: the last line.
    Summary(SummaryLine),
}

/// All targets.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    /// In the order of the file.
    targets: Vec<Entry<'a>>,
    summary: Summary,
}

/// One target, when it is done.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TargetLine<'a> {
    schema: &'static str,
    #[serde(flatten)]
    entry: Entry<'a>,
}

/// When all are done.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SummaryLine {
    schema: &'static str,
    summary: Summary,
}

/// One target with its report.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Entry<'a> {
    /// The target's name.
    target: &'a str,
    /// Its labels.
    labels: &'a BTreeMap<String, String>,
    /// How many times it was walked.
    tries: u32,
    /// All tries together, the time between them included.
    duration_ms: u64,
    /// What the last try gave, judged together with those before it.
    report: &'a Report,
}

/// How many came out how, and why.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// Targets that were to be walked.
    targets: usize,
    /// Every layer that was walked works.
    pass: usize,
    /// Of those that pass: with a warning.
    warned: usize,
    /// Failed, and passed when tried again.
    flaky: usize,
    /// A layer does not work.
    fail: usize,
    /// nssight itself could not finish.
    inconclusive: usize,
    /// Never begun: after `--fail-fast`, or on a signal.
    not_walked: usize,
    /// The signal that ended the run, if one did.
    interrupted: Option<String>,
    duration_ms: u64,
    /// What did not pass, by cause; the most frequent first.
    causes: Vec<CauseCount>,
}

/// Writes those that are done as one document.
pub(super) fn write(subjects: &[Subject], summary: Summary, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Output::Document(Document::of(subjects, summary)))?;
    writeln!(out)
}

impl<'a> Document<'a> {
    fn of(subjects: &'a [Subject], summary: Summary) -> Self {
        Self { schema: SCHEMA, targets: subjects.iter().map(Entry::from).collect(), summary }
    }
}

impl<'a> From<&'a Subject> for Entry<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self {
            target: &subject.name,
            labels: &subject.labels,
            tries: subject.tries,
            duration_ms: u64::try_from(subject.duration.as_millis()).unwrap_or(u64::MAX),
            report: &subject.report,
        }
    }
}

impl<'a> From<&'a Subject> for TargetLine<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self { schema: SCHEMA, entry: subject.into() }
    }
}

impl From<Summary> for SummaryLine {
    fn from(summary: Summary) -> Self {
        Self { schema: SCHEMA, summary }
    }
}

impl Summary {
    /// With the names of the targets, in the order of the file.
    pub(super) fn of(tally: &Tally, names: &[String]) -> Self {
        Self {
            targets: tally.targets,
            pass: tally.count(Outcome::Pass),
            warned: tally.warned,
            flaky: tally.count(Outcome::Flaky),
            fail: tally.count(Outcome::Fail),
            inconclusive: tally.count(Outcome::Inconclusive),
            not_walked: tally.not_walked(),
            interrupted: tally.interrupted.map(str::to_owned),
            duration_ms: u64::try_from(tally.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            causes: tally.causes(names),
        }
    }
}
