//! What nssight said of a case, against what it may say.

use std::fmt;

use serde::Deserialize;

use crate::case::{Expectation, Sure};

/// What nssight said.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Verdict {
    /// `pass`, `fail`, `inconclusive`, …
    pub status: String,
    /// The layer.
    pub layer: Option<String>,
    /// The cause.
    pub cause: Option<String>,
    /// Whose fault.
    pub component: Option<String>,
    /// How sure.
    pub confidence: Option<Sure>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let sure = self.confidence.map_or("-".to_owned(), |sure| format!("{sure:?}").to_lowercase());
        let (layer, cause, component) = (word(&self.layer), word(&self.cause), word(&self.component));
        write!(f, "{} {layer} {cause} {component} {sure}", self.status)
    }
}

/// What is wrong with a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It passes what fails, or fails what passes.
    Status,
    /// Another layer, cause or component.
    Cause,
    /// Surer than it can be.
    OverCertain,
    /// Less sure than it could be.
    UnderCertain,
    /// More or fewer than one connection.
    Connections,
}

impl Expectation {
    /// What is wrong with this verdict, if anything is.
    pub(crate) fn against(&self, verdict: &Verdict, connections: u64) -> Option<Wrong> {
        let among =
            |all: &[String], it: &Option<String>| all.is_empty() || it.as_ref().is_some_and(|it| all.contains(it));
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
        (connections > 1).then_some(Wrong::Connections)
    }
}
