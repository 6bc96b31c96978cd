//! JSON: a walk as a document of the schema `nssight/report/1`, many walks as one of `nssight/check/1`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nssight_probes::Report;
use schemars::JsonSchema;
use serde::Serialize;

use super::Subject;

/// The report of one walk.
pub(crate) fn report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

/// One target with its report.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Entry<'a> {
    /// The target's name.
    name: &'a str,
    /// Its labels.
    labels: &'a BTreeMap<String, String>,
    /// How many times it was walked.
    tries: u32,
    /// All tries together, in microseconds.
    duration_us: u64,
    /// What the last try gave, judged together with those before it.
    report: &'a Report,
}

impl<'a> From<&'a Subject> for Entry<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self {
            name: &subject.name,
            labels: &subject.labels,
            tries: subject.tries,
            duration_us: u64::try_from(subject.duration.as_micros()).unwrap_or(u64::MAX),
            report: &subject.report,
        }
    }
}

/// The document of many walks, schema `nssight/check/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    /// In the order in which they were given.
    targets: Vec<Entry<'a>>,
}

pub(super) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let document = Document { schema: "nssight/check/1", targets: subjects.iter().map(Entry::from).collect() };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
