//! Compares nssight's verdict with the allowed verdicts.

use std::fmt;

use serde::Deserialize;

use crate::case::{Engine, Expectation, Sure};

/// nssight's verdict.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Verdict {
    /// `pass`, `fail`, `inconclusive`, …
    pub status: String,
    /// The layer.
    pub layer: Option<String>,
    /// The cause.
    pub cause: Option<String>,
    /// The component at fault.
    pub component: Option<String>,
    /// The confidence.
    pub confidence: Option<Sure>,
    /// A sentence.
    #[serde(default)]
    pub summary: String,
    /// The explanation of the symptoms.
    #[serde(default)]
    pub why: Option<String>,
    /// The actions to take.
    #[serde(default)]
    pub remedies: Vec<Step>,
    /// Other possible causes.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
}

/// One action.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Step {
    /// As text.
    pub text: String,
    /// As a command.
    pub command: Option<String>,
}

/// Another cause that was not excluded.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Alternative {
    /// Ways to distinguish it.
    #[serde(default)]
    pub tell_apart: Vec<String>,
}

/// Words about things that no peer of the suite has.
const FOREIGN: [&str; 4] = ["the bridge", "a bridge", "sigul", "signing server"];

/// Words about things that no client with files has.
const OF_NSS: [&str; 4] = ["nss ", "nickname", "certutil", "the database"];

impl Verdict {
    /// All of its text for readers, in lower case.
    fn words(&self) -> String {
        let steps = self.remedies.iter().flat_map(|step| [Some(step.text.as_str()), step.command.as_deref()]);
        let others = self.alternatives.iter().flat_map(|other| other.tell_apart.iter().map(|it| Some(it.as_str())));
        let all = [Some(self.summary.as_str()), self.why.as_deref()].into_iter().chain(steps).chain(others);
        all.flatten().collect::<Vec<_>>().join("\n").to_lowercase()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let sure = self.confidence.map_or("-".to_owned(), |sure| format!("{sure:?}").to_lowercase());
        let (layer, cause, component) = (word(&self.layer), word(&self.cause), word(&self.component));
        write!(f, "{} {layer} {cause} {component} {sure}", self.status)
    }
}

/// The mistake in a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It passes a failure, or fails a healthy peer.
    Status,
    /// Another layer, cause or component.
    Cause,
    /// Too certain.
    OverCertain,
    /// Not certain enough.
    UnderCertain,
    /// It mentions things that do not exist, or omits a required word.
    Words,
    /// More or fewer than one connection.
    Connections,
}

impl Expectation {
    /// The mistake in this verdict, if any.
    pub(crate) fn against(&self, verdict: &Verdict, connections: u64, engine: Engine) -> Option<Wrong> {
        // What one client has in the database, another has in files.
        let as_written = |it: &str| match (engine, it) {
            (Engine::OpenSsl, "client-files") => "client-db".to_owned(),
            _ => it.to_owned(),
        };
        let among = |all: &[String], it: &Option<String>| {
            all.is_empty() || it.as_deref().is_some_and(|it| all.contains(&as_written(it)))
        };
        if verdict.status != self.status {
            return Some(Wrong::Status);
        }
        let layer = self.layer.is_none() || self.layer == verdict.layer;
        if !layer || !among(&self.causes, &verdict.cause) || !among(&self.components, &verdict.component) {
            return Some(Wrong::Cause);
        }
        match verdict.confidence {
            Some(sure) if sure > self.most => return Some(Wrong::OverCertain),
            Some(sure) if sure >= self.least => {}
            _ => return Some(Wrong::UnderCertain),
        }
        let words = verdict.words();
        let is_right = self.says.iter().all(|said| words.contains(&said.to_lowercase()));
        let of_nss = engine == Engine::OpenSsl && OF_NSS.iter().any(|foreign| words.contains(foreign));
        if !is_right || of_nss || FOREIGN.iter().any(|foreign| words.contains(foreign)) {
            return Some(Wrong::Words);
        }
        (connections > 1).then_some(Wrong::Connections)
    }
}
