//! What a probe found out about one layer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Cause, Step};
use crate::vocabulary::{Confidence, Layer, Status};

/// One observed fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was looked at, in a word or two.
    pub key: String,
    /// What was seen.
    pub value: String,
}

/// An error as the library that raised it names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorInfo {
    /// "NSS", "NSPR", "system", "resolver", …
    pub library: String,
    /// The number.
    pub code: i64,
    /// The symbolic name.
    pub name: String,
    /// The library's own sentence.
    pub text: String,
}

/// Something to do, with the command that does it where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// What to do.
    pub text: String,
    /// A command to copy, with the target's own names in it.
    pub command: Option<String>,
}

/// As the catalogue says it, with placeholders in place of names.
impl From<&Step> for Remedy {
    fn from(step: &Step) -> Self {
        Self { text: step.text.clone(), command: step.command.clone() }
    }
}

/// How a layer came out, with everything that was seen on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The layer.
    pub layer: Layer,
    /// How it came out.
    pub status: Status,
    /// Time spent in it, in microseconds.
    pub duration_us: u64,
    /// The layer whose failure made this one pointless; `None` with status `skip` means that it was not asked for.
    pub skipped_because: Option<Layer>,
    /// The cause, for a failure or a warning.
    pub cause: Option<Cause>,
    /// How sure the cause is.
    pub confidence: Option<Confidence>,
    /// One sentence on how it came out.
    pub summary: String,
    /// What was seen, in the order it was seen.
    pub evidence: Vec<Evidence>,
    /// The library's error, where one was raised.
    pub error: Option<ErrorInfo>,
    /// What to do, more exactly than the catalogue can say it.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    /// A layer that was not walked because of another.
    pub fn skipped(layer: Layer, because: Option<Layer>, summary: String) -> Self {
        Self { skipped_because: because, ..Outcome::skip(summary).into_finding(layer, 0) }
    }

    /// The value of the first fact with this key.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.evidence.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str())
    }
}

/// Facts gathered while a probe works.
#[derive(Debug, Clone, Default)]
pub struct Notes(Vec<Evidence>);

impl Notes {
    /// Adds a fact.
    pub fn add(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push(Evidence { key: key.into(), value: value.to_string() });
    }

    /// Ends the probe well.
    pub fn pass(self, summary: impl Into<String>) -> Outcome {
        Outcome { evidence: self.0, ..Outcome::bare(Status::Pass, summary.into()) }
    }

    /// Ends the probe with a warning.
    pub fn warn(self, cause: Cause, summary: impl Into<String>) -> Outcome {
        Outcome { evidence: self.0, cause: Some(cause), ..Outcome::bare(Status::Warn, summary.into()) }
    }

    /// Ends the probe with a failure.
    pub fn fail(self, cause: Cause, confidence: Confidence, summary: impl Into<String>) -> Outcome {
        let bare = Outcome::bare(Status::Fail, summary.into());
        Outcome { evidence: self.0, cause: Some(cause), confidence: Some(confidence), ..bare }
    }

    /// Ends the probe without an answer, for a reason that is no failure.
    pub fn skip(self, summary: impl Into<String>) -> Outcome {
        Outcome { evidence: self.0, ..Outcome::skip(summary.into()) }
    }
}

/// What a probe gives back; the walk adds layer and time.
#[derive(Debug, Clone)]
pub struct Outcome {
    status: Status,
    cause: Option<Cause>,
    confidence: Option<Confidence>,
    summary: String,
    evidence: Vec<Evidence>,
    error: Option<ErrorInfo>,
    remedies: Vec<Remedy>,
}

impl Outcome {
    fn bare(status: Status, summary: String) -> Self {
        let (cause, confidence, error) = (None, None, None);
        Self { status, cause, confidence, summary, evidence: Vec::new(), error, remedies: Vec::new() }
    }

    fn skip(summary: String) -> Self {
        Self::bare(Status::Skip, summary)
    }

    /// With the library's error.
    #[must_use]
    pub fn error(mut self, error: impl Into<ErrorInfo>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// With something to do that the catalogue cannot know.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>, command: Option<String>) -> Self {
        self.remedies.push(Remedy { text: text.into(), command });
        self
    }

    /// The cause, for a failure or a warning.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// As the finding on a layer.
    pub fn into_finding(self, layer: Layer, duration_us: u64) -> Finding {
        Finding {
            layer,
            status: self.status,
            duration_us,
            skipped_because: None,
            cause: self.cause,
            confidence: self.confidence,
            summary: self.summary,
            evidence: self.evidence,
            error: self.error,
            remedies: self.remedies,
        }
    }
}

impl From<&nssight_nss::NssError> for ErrorInfo {
    fn from(error: &nssight_nss::NssError) -> Self {
        // prerr.h numbers lie from -6000 upwards, secerr.h's and sslerr.h's below -8000.
        let library = if error.code.0 > -8000 { "NSPR" } else { "NSS" };
        let (code, name, text) = (i64::from(error.code.0), error.name.clone(), error.text.clone());
        Self { library: library.to_owned(), code, name, text }
    }
}

impl From<&std::io::Error> for ErrorInfo {
    fn from(error: &std::io::Error) -> Self {
        let code = i64::from(error.raw_os_error().unwrap_or(0));
        Self { library: "system".to_owned(), code, name: format!("{:?}", error.kind()), text: error.to_string() }
    }
}
