//! Conclusions from the rows of a process-model document.

use std::collections::BTreeSet;

use nssight_diagnosis::fact::{Fact, Facts, fact};
use nssight_diagnosis::judge::{Case, judge};
use nssight_diagnosis::signal::{Shown, signal};
use nssight_diagnosis::{Cause, Layer};
use schemars::JsonSchema;
use serde::Serialize;

use super::matrix::{Row, what};
use crate::models::{Model, Step};

/// A conclusion from the results.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Conclusion {
    /// The cause; absent if the process model is not at fault.
    pub(crate) cause: Option<Cause>,
    /// The compared facts.
    pub(crate) facts: Facts,
    /// Models that show it.
    pub(crate) models: Vec<Model>,
    pub(crate) text: String,
}

impl Conclusion {
    /// A conclusion from the compared facts; the judge decides which cause they show.
    pub(super) fn of(fact: impl Into<Fact>, models: Vec<Model>, text: String) -> Self {
        let shown = Shown::new(signal::PROCESS_MODEL).at(Layer::ProcessModel);
        let mut facts = Facts::default();
        facts.put(fact);
        let judgement = judge(&Case { shown: vec![&shown], facts: facts.iter().collect() });
        Self { cause: judgement.first().map(|first| first.cause), facts, models, text }
    }

    /// A conclusion that leaves these models open.
    fn left_open(models: Vec<Model>, text: String) -> Self {
        Self { cause: None, facts: Facts::default(), models, text }
    }

    /// A conclusion for failures that a fresh process has, too.
    fn unrelated_to_processes(text: String) -> Self {
        Self { cause: None, facts: Facts::default(), models: vec![Model::FreshProcess], text }
    }
}

/// The conclusions from the rows of all bindings.
pub(crate) fn conclusions(rows: &[Row]) -> Vec<Conclusion> {
    let mut conclusions = Vec::new();
    let bindings: BTreeSet<&str> = rows.iter().map(|row| row.binding).collect();
    for binding in bindings {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.binding == binding).collect();
        of_binding(binding, &rows, &mut conclusions);
    }
    conclusions
}

fn of_binding(binding: &str, rows: &[&Row], conclusions: &mut Vec<Conclusion>) {
    let through = if binding == "python" { " through python-nss" } else { "" };
    let restart = match binding {
        "python" => ", because python-nss cannot restart the modules",
        _ => ", or call SECMOD_RestartModules(PR_TRUE) in the child first",
    };
    let fresh = rows.iter().find(|row| row.model == Model::FreshProcess);
    let untried = fresh.and_then(|row| row.trouble.as_ref().filter(|_| row.steps.iter().all(|cell| cell.ok == 0)));
    let broken = fresh.and_then(|row| row.steps.iter().find(|cell| !cell.good() && !cell.is_transport()));
    if let Some(trouble) = untried.filter(|_| broken.is_none()) {
        let text = format!("cannot test the models{through}: {trouble}");
        conclusions.push(Conclusion::unrelated_to_processes(text));
        return;
    }
    if let Some(cell) = broken {
        let text = format!(
            "a fresh process{through} already fails at {} ({}): the fault does not come from processes and threads; \
             `nssight diagnose --until private-key` finds it",
            cell.step.title(),
            what(cell)
        );
        conclusions.push(Conclusion::unrelated_to_processes(text));
        return;
    }
    let of = |wanted: &dyn Fn(&Row) -> bool| -> Vec<Model> {
        rows.iter().filter(|row| wanted(row)).map(|row| row.model).collect()
    };
    let forks = |row: &Row| !matches!(row.model, Model::FreshProcess | Model::SameThread | Model::AnotherThread);
    let names = |models: &[Model]| models.iter().map(|model| model.title()).collect::<Vec<_>>().join("; ");

    let open = of(&|row| row.transport_trouble().is_some());
    if let Some(trouble) = rows.iter().find_map(|row| row.transport_trouble()) {
        let text = format!(
            "the handshakes were not completed{through} ({}): {} ({}). The fault is on the way to the peer or behind it, not in \
             processes; `nssight diagnose` finds it",
            names(&open),
            trouble.text,
            trouble.name
        );
        conclusions.push(Conclusion::left_open(open, text));
    }
    let repeating = of(&|row| row.cell(Step::Random).repeated > 0);
    if !repeating.is_empty() {
        let text = format!(
            "child and parent get the same random bytes{through} ({}): keys, nonces and key shares repeat. Initialise NSS \
             after the fork{restart}",
            names(&repeating)
        );
        conclusions.push(Conclusion::of(fact::ModelRandomnessRepeats::Yes, repeating, text));
    }
    let hanging = of(&|row| forks(row) && row.steps.iter().any(|cell| cell.hung > 0));
    if !hanging.is_empty() {
        let counts: Vec<String> = rows
            .iter()
            .filter(|row| hanging.contains(&row.model))
            .map(|row| {
                let hung: u32 = row.steps.iter().map(|cell| cell.hung).sum();
                format!("{}: {hung} of {} hung", row.model.title(), row.runs)
            })
            .collect();
        // Locks of other threads can be to blame only if there were other threads.
        let why = if hanging.iter().all(|model| matches!(model, Model::ForkWhileBusy | Model::ForkFromThread)) {
            "locks that other threads held during the fork stay locked in the child. Fork before any thread uses NSS"
        } else {
            "a call into the token does not return in the child. Fork before you initialise NSS"
        };
        let text = format!("a child hangs{through} ({}): {why}, or start a new program", counts.join("; "));
        conclusions.push(Conclusion::of(fact::ModelForkHangs::Yes, hanging, text));
    }
    let lost =
        |row: &Row| row.cell(Step::Login).error.as_ref().is_some_and(|error| error.name == "SEC_ERROR_BAD_PASSWORD");
    let threads = of(&|row| matches!(row.model, Model::AnotherThread | Model::ForkFromThread) && lost(row));
    if !threads.is_empty() {
        let text = format!(
            "the login fails{through} in a thread that did not set the password callback ({}), with \
             SEC_ERROR_BAD_PASSWORD, although the password is right. Set the callback in every thread that may log in",
            names(&threads)
        );
        conclusions.push(Conclusion::of(fact::ModelThreadLosesPassword::Yes, threads.clone(), text));
    }
    let failing = of(&|row| {
        forks(row)
            && !threads.contains(&row.model)
            && row.steps.iter().any(|cell| cell.failed + cell.crashed > 0 && !cell.is_transport())
    });
    if !failing.is_empty() {
        let first = rows.iter().find(|row| failing.contains(&row.model));
        let cell = first.and_then(|row| row.steps.iter().find(|cell| !cell.good() && !cell.is_transport()));
        let text = format!(
            "NSS refuses to work in a child if it was initialised before the fork{through} ({}): {}. Fork first, and \
             initialise NSS in each process{restart}",
            names(&failing),
            cell.map(|cell| format!("{} gives {}", cell.step.title(), what(cell))).unwrap_or_default()
        );
        conclusions.push(Conclusion::of(fact::ModelForkFails::Yes, failing, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_from_a_fresh_process_has_its_cause() {
        let cause = |fact: Fact| Conclusion::of(fact, Vec::new(), String::new()).cause.map(Cause::id);
        assert_eq!(cause(fact::ModelForkFails::Yes.into()), Some("fork-breaks-nss"));
        assert_eq!(cause(fact::ModelForkHangs::Yes.into()), Some("fork-deadlocks"));
        assert_eq!(cause(fact::ModelRandomnessRepeats::Yes.into()), Some("fork-duplicates-randomness"));
        assert_eq!(cause(fact::ModelThreadLosesPassword::Yes.into()), Some("thread-loses-password"));
        assert_eq!(cause(fact::PasswordState::Repairable.into()), Some("password-file-format"));
    }
}
