//! The finding of a layer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::fact::{Fact, FactId, Facts};
use crate::signal::{Shown, Signal};
use crate::vocabulary::{Confidence, Layer, Status};

/// An error, with the number and name of the library that raised it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorInfo {
    /// "NSS", "NSPR", "system", "resolver", …
    pub library: String,
    /// The number.
    pub code: i64,
    /// The symbolic name.
    pub name: String,
    /// The library's own text.
    pub text: String,
}

/// An action, with the command for it if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// The action in one sentence.
    pub text: String,
    /// A command to copy, with the target's own names.
    pub command: Option<String>,
}

/// The result of a layer, with all facts and signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The layer.
    pub layer: Layer,
    /// The result of the layer.
    pub status: Status,
    /// Time spent in it, in microseconds.
    pub duration_us: u64,
    /// The failed layer that this layer needs; absent for a layer that was excluded.
    pub skipped_because: Option<Layer>,
    /// The cause of a failure or a warning, filled in by the judge.
    pub cause: Option<Cause>,
    /// The confidence in the cause.
    pub confidence: Option<Confidence>,
    /// The result in one sentence.
    pub summary: String,
    /// The facts in the order of their observation.
    pub facts: Facts,
    /// The signals of the failed step, the earliest first.
    #[serde(default)]
    pub signals: Vec<Shown>,
    /// The library's error; absent if none was raised.
    pub error: Option<ErrorInfo>,
    /// Actions that are more specific than those in the catalogue.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    /// A layer that was skipped because of another one.
    pub fn skipped(layer: Layer, because: Option<Layer>, summary: String) -> Self {
        Self { skipped_because: because, ..Outcome::skip(summary).into_finding(layer, 0) }
    }

    /// The first fact of this id.
    pub fn fact(&self, id: FactId) -> Option<&Fact> {
        self.facts.get(id)
    }
}

/// Facts gathered while a probe works.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    facts: Facts,
    signals: Vec<Shown>,
}

impl Notes {
    /// Adds a fact.
    pub fn put(&mut self, fact: impl Into<Fact>) {
        self.facts.put(fact);
    }

    /// Adds a fact and returns `self`.
    #[must_use]
    pub fn with(mut self, fact: impl Into<Fact>) -> Self {
        self.put(fact);
        self
    }

    /// Adds facts.
    pub fn extend(&mut self, facts: Facts) {
        self.facts.extend(facts);
    }

    /// The facts so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn end(self, status: Status, summary: impl Into<String>) -> Outcome {
        let (error, remedies, summary) = (None, Vec::new(), in_words(&summary.into()));
        Outcome { status, summary, facts: self.facts, signals: self.signals, error, remedies }
    }

    /// The layer works.
    pub fn pass(self, summary: impl Into<String>) -> Outcome {
        self.end(Status::Pass, summary)
    }

    /// The layer works, but shows this signal.
    pub fn warn(mut self, signal: Signal, summary: impl Into<String>) -> Outcome {
        self.signals.push(Shown::new(signal));
        self.end(Status::Warn, summary)
    }

    /// The layer fails with this signal.
    pub fn fail(mut self, signal: Signal, summary: impl Into<String>) -> Outcome {
        self.signals.push(Shown::new(signal));
        self.end(Status::Fail, summary)
    }

    /// The layer fails with this signal of a layer that it depends on.
    pub fn fail_of(mut self, layer: Layer, signal: Signal, summary: impl Into<String>) -> Outcome {
        self.signals.push(Shown::new(signal).at(layer));
        self.end(Status::Fail, summary)
    }

    /// Skips the layer for a reason that is not a failure.
    pub fn skip(self, summary: impl Into<String>) -> Outcome {
        self.end(Status::Skip, summary)
    }
}

/// The result of a probe; the caller adds layer and time, and the judge adds the cause.
#[derive(Debug, Clone)]
pub struct Outcome {
    status: Status,
    summary: String,
    facts: Facts,
    signals: Vec<Shown>,
    error: Option<ErrorInfo>,
    remedies: Vec<Remedy>,
}

impl Outcome {
    fn skip(summary: String) -> Self {
        Notes::default().skip(summary)
    }

    /// Sets the library's error.
    #[must_use]
    pub fn error(mut self, error: impl Into<ErrorInfo>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, fact: impl Into<Fact>) -> Self {
        self.facts.put(fact);
        self
    }

    /// Adds a remedy that is not in the catalogue.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>, command: Option<String>) -> Self {
        self.remedies.push(Remedy { text: text.into(), command });
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Converts the outcome to a finding without a judgement.
    pub fn into_finding(self, layer: Layer, duration_us: u64) -> Finding {
        let mut signals = self.signals;
        for shown in &mut signals {
            shown.layer.get_or_insert(layer);
        }
        Finding {
            layer,
            status: self.status,
            duration_us,
            skipped_because: None,
            cause: None,
            confidence: None,
            summary: self.summary,
            facts: self.facts,
            signals,
            error: self.error,
            remedies: self.remedies,
        }
    }
}

/// An error of the system in the wording of perror(3): std appends a number.
pub fn in_words(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEFORE) {
        words.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        match after[digits..].strip_prefix(')') {
            Some(behind) if digits > 0 => rest = behind,
            _ => {
                words.push_str(BEFORE);
                rest = after;
            }
        }
    }
    words + rest
}

impl From<&std::io::Error> for ErrorInfo {
    fn from(error: &std::io::Error) -> Self {
        let code = i64::from(error.raw_os_error().unwrap_or(0));
        Self {
            library: "system".to_owned(),
            code,
            name: format!("{:?}", error.kind()),
            text: in_words(&error.to_string()),
        }
    }
}
