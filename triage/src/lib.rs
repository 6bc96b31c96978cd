//! What logs prove: events are recognised line by line, ordered across files, and joined into failures. Each failure gives facts and a
//! signal from the client's point of view, and the judge interprets them. Logs are second-hand evidence: only a statement that both ends of
//! a session make at the same time proves a cause.

mod capture;
mod conclude;
mod fitting;
mod format;
mod frames;
mod heartbeat;
mod incident;
mod line;
mod page;
mod pasted;
mod scan;
mod session;
mod sign;
mod turned;
mod view;

use std::io::Read;

use nssight_diagnosis::{Cause, Facts, Layer, Remedy, Shown, Verdict};
use nssight_probes::report::{self, Report};
use schemars::JsonSchema;
use serde::Serialize;

pub use capture::{CaptureSummary, FailedConnection, is_capture};
pub use format::{FORMATS, Format, Next};
pub use heartbeat::Heartbeat;
pub use page::page;
pub use pasted::{Explained, Judged, explain};
pub use scan::patterns;
pub use sign::Role;

/// The schema's name.
pub const SCHEMA: &str = "nssight/triage/1";

/// A line that is evidence for the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Quote {
    /// The file, as it was given.
    pub file: String,
    /// The line's number, from 1.
    pub line: u64,
    /// RFC 3339 with milliseconds, if the line has a time; without a time zone if the line has none.
    pub time: Option<String>,
    /// The program that wrote the line.
    pub role: Role,
    /// The start of the line.
    pub text: String,
}

/// The lines of one failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Incident {
    /// The cause, if the lines show one.
    pub cause: Option<Cause>,
    /// The layer of the cause.
    pub layer: Option<Layer>,
    /// The number of similar failures.
    pub count: usize,
    /// The signal of the last such failure, from the client's point of view.
    pub shown: Option<Shown>,
    /// Other facts from the lines.
    pub facts: Facts,
    /// The lines of the last such failure.
    pub lines: Vec<Quote>,
    /// The decisive line.
    pub decides: Option<Quote>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileSummary {
    /// The name as given, followed by names inside archives.
    pub name: String,
    /// The program that wrote the file, if known.
    pub role: Role,
    /// The log format.
    pub program: Option<&'static str>,
    /// Unpacked size in bytes.
    pub bytes: u64,
    /// Lines that were recognised.
    pub events: u64,
    /// Problems with the file.
    pub notes: Vec<String>,
}

/// The document of `nssight triage`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Document {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// The verdict, as in a report; `inconclusive` if the logs do not suffice.
    pub verdict: Verdict,
    /// The lines that support the verdict.
    pub evidence: Vec<Quote>,
    /// Evidence against the verdict.
    pub against: Vec<String>,
    /// The most useful thing to collect next.
    pub next: Option<Remedy>,
    /// Failures by cause, the most frequent first.
    pub incidents: Vec<Incident>,
    /// Ends of file that come as regularly as a clock.
    pub heartbeats: Vec<Heartbeat>,
    /// Captures, and how their connections went.
    pub captures: Vec<CaptureSummary>,
    /// The verdicts on failed connections in captures.
    pub connections: Vec<FailedConnection>,
    /// The files that were read.
    pub files: Vec<FileSummary>,
}

/// Reads logs and reports, then judges.
#[derive(Default)]
pub struct Triage {
    files: Vec<scan::Scanned>,
    reports: Vec<(String, Report)>,
    captures: Vec<capture::Captured>,
}

/// A report has a few hundred kilobytes; no larger document is read as a report.
const REPORT_AT_MOST: usize = 16 * 1024 * 1024;

impl Triage {
    /// Reads one log, line by line and in constant memory. A read error becomes a note on the file.
    pub fn log(&mut self, name: &str, input: impl Read) {
        self.files.push(scan::scan(name, input));
    }

    /// Reads a text that a user pasted to learn its meaning.
    fn pasted(&mut self, text: &str) {
        self.files.push(scan::Scanned { asked: true, ..scan::scan("pasted", text.as_bytes()) });
    }

    /// Reads a capture of packets, pcap or pcapng, in bounded memory.
    pub fn capture(&mut self, name: &str, input: impl Read) {
        self.captures.push(capture::read(name, input));
    }

    /// Reads a document: the verdict of a report is used, anything else is read as a log.
    ///
    /// # Errors
    /// If the input is invalid.
    pub fn document(&mut self, name: &str, mut input: impl Read) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        input.by_ref().take(REPORT_AT_MOST as u64).read_to_end(&mut bytes)?;
        match serde_json::from_slice::<Report>(&bytes) {
            Ok(report) if report.schema == report::SCHEMA => self.reports.push((name.to_owned(), report)),
            _ => self.log(name, bytes.as_slice().chain(input)),
        }
        Ok(())
    }

    /// Adds a note on a file that could not be read, or not to its end.
    pub fn note(&mut self, name: &str, note: String) {
        let note = nssight_diagnosis::in_words(&note);
        match self.files.iter_mut().find(|file| file.name == name) {
            Some(file) => file.notes.push(note),
            None => self.files.push(scan::Scanned { notes: vec![note], ..scan::Scanned::new(name) }),
        }
    }

    /// Combines everything.
    pub fn finish(self) -> Document {
        let heartbeats = heartbeat::find(&self.files);
        let incidents = incident::group(&self.files, &heartbeats);
        let mut document = conclude::conclude(&self.files, &incidents, heartbeats);
        capture::join(&mut document, self.captures);
        // A check has made its own observations: its verdict stands, the last one if there are several, and the logs are its context.
        if let Some((name, report)) = self.reports.iter().max_by(|one, other| one.1.started.cmp(&other.1.started)) {
            if let Some(ours) = document.verdict.cause
                && report.verdict.cause != Some(ours)
            {
                document.against.push(format!("the logs alone match {ours}, possibly at another time"));
            }
            // Lines of another failure, perhaps of another day, are not evidence for this check.
            if report.verdict.cause.is_none() || report.verdict.cause != document.verdict.cause {
                document.evidence.clear();
            }
            document.verdict = report.verdict.clone();
            document.evidence.insert(0, quote_of(name, report));
            document.next = None;
        }
        let of_report = |(name, _): &(String, Report)| FileSummary {
            name: name.clone(),
            role: Role::Nssight,
            program: None,
            bytes: 0,
            events: 1,
            notes: Vec::new(),
        };
        document.files.extend(self.reports.iter().map(of_report));
        document
    }
}

fn quote_of(name: &str, report: &Report) -> Quote {
    Quote {
        file: name.to_owned(),
        line: 1,
        time: Some(report.started.clone()),
        role: Role::Nssight,
        text: report.verdict.summary.clone(),
    }
}

/// The JSON Schema of [`Document`], from its types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
