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

/// JSON output of `nssight check`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Output<'a> {
    /// With `--format json`: one document.
    Document(Document<'a>),
    /// With `--format ndjson`: one line per target, as it finishes.
    Target(TargetLine<'a>),
    /// With `--format ndjson`: the last line.
    Summary(SummaryLine),
}

/// The results of all targets.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    /// The targets in the order of the file.
    targets: Vec<Entry<'a>>,
    summary: Summary,
}

/// The result of one target, as it finishes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TargetLine<'a> {
    schema: &'static str,
    #[serde(flatten)]
    entry: Entry<'a>,
}

/// The summary after the last target.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SummaryLine {
    schema: &'static str,
    summary: Summary,
}

/// A target with its report.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Entry<'a> {
    /// The name of the target.
    target: &'a str,
    /// The labels of the target.
    labels: &'a BTreeMap<String, String>,
    /// The number of tries.
    tries: u32,
    /// Duration of all tries, including the time between them.
    duration_ms: u64,
    /// The report of the last try; its verdict takes earlier tries into account.
    report: &'a Report,
}

/// Number of targets per result, and the causes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// Targets selected for the check.
    targets: usize,
    /// Every layer that was checked passed.
    pass: usize,
    /// Targets that pass with a warning.
    warned: usize,
    /// Targets that failed, and passed on a retry.
    flaky: usize,
    /// A layer failed.
    fail: usize,
    /// nssight itself could not finish.
    inconclusive: usize,
    /// Targets that were never checked: after `--fail-fast`, or because of a signal.
    not_walked: usize,
    /// The signal that ended the run, if any.
    interrupted: Option<String>,
    duration_ms: u64,
    /// Targets that did not pass, by cause; the most frequent cause first.
    causes: Vec<CauseCount>,
}

/// Writes the finished targets as one document.
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
    /// Builds the summary with the names of the targets, in the order of the file.
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
