//! Stores for each target the result and its position in the file, for every format.

use std::collections::BTreeMap;
use std::time::Instant;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Component, Layer};
use nssight_probes::report::Subject;
use schemars::JsonSchema;
use serde::Serialize;

/// Targets that came out alike.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CauseCount {
    pub(super) status: Outcome,
    pub(super) layer: Option<Layer>,
    pub(super) cause: Option<Cause>,
    pub(super) component: Option<Component>,
    pub(super) count: usize,
    /// The names of the targets, in the order of the file.
    pub(super) targets: Vec<String>,
}

/// Targets with the same result have the same kind.
type Kind = (Outcome, Option<Layer>, Option<Cause>, Option<Component>);

/// Counts of a run, and the targets behind them.
pub(super) struct Tally {
    /// Targets selected for the check.
    pub(super) targets: usize,
    pub(super) began: Instant,
    /// The signal that ended the run.
    pub(super) interrupted: Option<&'static str>,
    /// Targets that passed with a warning.
    pub(super) warned: usize,
    kinds: BTreeMap<Kind, Vec<usize>>,
    passed: usize,
}

impl Tally {
    pub(super) fn of(targets: usize) -> Self {
        Self { targets, began: Instant::now(), interrupted: None, warned: 0, kinds: BTreeMap::new(), passed: 0 }
    }

    /// Counts the target at this place in the file.
    pub(super) fn add(&mut self, index: usize, subject: &Subject) {
        let verdict = &subject.report.verdict;
        if verdict.status == Outcome::Pass {
            self.passed += 1;
            self.warned += usize::from(warned(subject));
            return;
        }
        let kind = (verdict.status, verdict.layer, verdict.cause, verdict.component);
        self.kinds.entry(kind).or_default().push(index);
    }

    pub(super) fn count(&self, status: Outcome) -> usize {
        match status {
            Outcome::Pass => self.passed,
            _ => self.kinds.iter().filter(|(kind, _)| kind.0 == status).map(|(_, targets)| targets.len()).sum(),
        }
    }

    pub(super) fn not_walked(&self) -> usize {
        let walked: usize = self.kinds.values().map(Vec::len).sum();
        self.targets.saturating_sub(self.passed + walked)
    }

    /// Failures, the most serious and most frequent first, with names in the order of the file.
    pub(super) fn causes(&self, names: &[String]) -> Vec<CauseCount> {
        let mut causes: Vec<CauseCount> = self
            .kinds
            .iter()
            .map(|((status, layer, cause, component), targets)| {
                let mut targets = targets.clone();
                targets.sort_unstable();
                let named = targets.iter().filter_map(|index| names.get(*index).cloned());
                let (status, layer, cause, component) = (*status, *layer, *cause, *component);
                CauseCount { status, layer, cause, component, count: targets.len(), targets: named.collect() }
            })
            .collect();
        let weight = |status| match status {
            Outcome::Fail => 0,
            Outcome::Inconclusive => 1,
            Outcome::Flaky => 2,
            Outcome::Pass => 3,
        };
        causes.sort_by_key(|cause| (weight(cause.status), std::cmp::Reverse(cause.count)));
        causes
    }
}

/// Whether a layer of the check has a warning.
pub(super) fn warned(subject: &Subject) -> bool {
    subject.report.has_warnings()
}
