//! The document of `nssight process-model`: one row per model, one cell per step, and the conclusions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nssight_diagnosis::fact::fact;
use nssight_probes::secret::PasswordForm;
use schemars::JsonSchema;
use serde::Serialize;

use super::channels::{self, Channel};
use super::conclusions::{Conclusion, conclusions};
use super::model::{Ending, Line, Trouble, Who};
use crate::models::{Model, Step};

/// The document, schema `nssight/process-model/1`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Matrix {
    schema: &'static str,
    /// Version of NSS.
    pub(crate) nss: String,
    pub(crate) database: String,
    pub(crate) nickname: Option<String>,
    pub(crate) models: Vec<Row>,
    /// The login with each source of the password; empty unless requested.
    pub(crate) password_channels: Vec<Channel>,
    /// Differences from a fresh process, and their meaning for a client with this process model.
    pub(crate) conclusions: Vec<Conclusion>,
}

/// A process model, tested through one binding.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// `c`, or `python`.
    pub(crate) binding: &'static str,
    pub(crate) model: Model,
    /// Processes or threads that tried it; more than one where it races.
    pub(crate) runs: u32,
    pub(crate) steps: Vec<Cell>,
    /// Differences in the environment of parent and child: name, parent's value, child's value.
    pub(crate) context_differences: Vec<[String; 3]>,
    /// The reason why the test of the model could not be completed.
    pub(crate) trouble: Option<String>,
}

/// A step of a model. The numbers count runs; a step that no run reached has none.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Cell {
    pub(crate) step: Step,
    pub(crate) ok: u32,
    pub(crate) failed: u32,
    pub(crate) hung: u32,
    pub(crate) crashed: u32,
    /// The error of the first run that failed.
    pub(crate) error: Option<Trouble>,
    /// Signal of the first run that crashed.
    pub(crate) signal: Option<i32>,
    /// `random` only: runs whose bytes somebody else drew too.
    pub(crate) repeated: u32,
}

impl Cell {
    fn new(step: Step) -> Self {
        Self { step, ok: 0, failed: 0, hung: 0, crashed: 0, error: None, signal: None, repeated: 0 }
    }

    /// Number of runs that reached the step.
    pub(crate) fn tried(&self) -> u32 {
        self.ok + self.failed + self.hung + self.crashed
    }

    /// Whether the failure concerns the transport to the peer.
    pub(super) fn is_transport(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.transport)
    }

    /// Every run passed the step.
    pub(crate) fn good(&self) -> bool {
        self.failed + self.hung + self.crashed == 0
    }
}

impl Row {
    /// Builds a row from the lines of the test process; `hung` if it did not finish and was killed itself.
    pub(crate) fn of(binding: &'static str, model: Model, lines: &[Line], hung: bool, ending: Option<Ending>) -> Self {
        let mut seen: BTreeMap<Who, Vec<(Step, Option<Outcome>)>> = BTreeMap::new();
        let (mut endings, mut contexts) = (HashMap::new(), BTreeMap::new());
        for line in lines {
            match line {
                Line::Begin(who, step) => seen.entry(who.clone()).or_default().push((*step, None)),
                Line::Done { who, step, error, random } => {
                    let steps = seen.entry(who.clone()).or_default();
                    if let Some(open) = steps.iter_mut().rev().find(|(open, _)| open == step) {
                        open.1 = Some(Outcome { error: error.clone(), random: random.clone() });
                    }
                }
                Line::Ended(number, ending) => drop(endings.insert(*number, *ending)),
                Line::Context(who, context) => drop(contexts.insert(who.clone(), context.clone())),
                Line::Over => {}
            }
        }
        let over = lines.iter().any(|line| matches!(line, Line::Over));
        let own = match (hung, ending) {
            (true, _) => Some(Ending::Hung),
            (false, Some(ending)) if !over => Some(ending),
            _ => None,
        };
        let ending_of = |who: &Who| match who {
            Who::Child(number) => endings.get(number).copied().or(own),
            Who::Parent | Who::Thread | Who::Again => own,
        };
        let draws = draws(&seen);
        let subjects: Vec<&Who> = seen.keys().filter(|who| subject(model, who)).collect();
        let mut steps = Vec::new();
        for step in Step::ALL.iter().copied().filter(|step| *step != Step::ParentAgain) {
            let mut cell = Cell::new(step);
            for who in &subjects {
                cell.count(&seen[*who], ending_of(who), &draws);
            }
            steps.push(cell);
        }
        let mut again = Cell::new(Step::ParentAgain);
        if let Some(steps) = seen.get(&Who::Again) {
            again.merge_parent_steps(steps, own);
        }
        steps.push(again);
        Self {
            binding,
            model,
            runs: u32::try_from(subjects.len()).unwrap_or(u32::MAX),
            steps,
            context_differences: context_differences(model, &contexts),
            trouble: own.map(|ending| match ending {
                Ending::Hung => "the process did not finish, so nssight killed it".to_owned(),
                Ending::Signal(signal) => format!("the process was terminated by signal {signal}"),
                Ending::Code(code) => format!("the process ended early, with exit code {code}"),
            }),
        }
    }

    /// The transport failure, if any, because of which its handshakes prove nothing.
    pub(crate) fn transport_trouble(&self) -> Option<&Trouble> {
        self.steps.iter().filter_map(|cell| cell.error.as_ref()).find(|error| error.transport)
    }

    /// The cell of a step.
    pub(crate) fn cell(&self, step: Step) -> &Cell {
        // Every row has every step.
        self.steps.iter().find(|cell| cell.step == step).unwrap_or(&self.steps[0])
    }
}

struct Outcome {
    error: Option<Trouble>,
    random: Option<String>,
}

/// Whether a row shows the steps of this process or thread.
pub(super) fn subject(model: Model, who: &Who) -> bool {
    match model {
        Model::FreshProcess | Model::SameThread => *who == Who::Parent,
        Model::AnotherThread => *who == Who::Thread,
        _ => matches!(who, Who::Child(_)),
    }
}

/// How often each random value was drawn.
fn draws(seen: &BTreeMap<Who, Vec<(Step, Option<Outcome>)>>) -> HashMap<String, u32> {
    let mut draws = HashMap::new();
    let outcomes = seen.values().flatten().filter_map(|(_, outcome)| outcome.as_ref()?.random.clone());
    for random in outcomes {
        *draws.entry(random).or_default() += 1;
    }
    draws
}

impl Cell {
    fn count(&mut self, steps: &[(Step, Option<Outcome>)], ending: Option<Ending>, draws: &HashMap<String, u32>) {
        let own = self.step;
        for (_, outcome) in steps.iter().filter(|(step, _)| *step == own) {
            match outcome {
                Some(Outcome { error: None, random }) => {
                    self.ok += 1;
                    let repeated =
                        random.as_ref().is_some_and(|random| draws.get(random).is_some_and(|count| *count > 1));
                    self.repeated += u32::from(repeated);
                }
                Some(Outcome { error: Some(error), .. }) => {
                    self.failed += 1;
                    self.error.get_or_insert_with(|| error.clone());
                }
                None => self.unfinished(ending),
            }
        }
    }

    fn unfinished(&mut self, ending: Option<Ending>) {
        match ending {
            Some(Ending::Signal(signal)) => {
                self.crashed += 1;
                self.signal.get_or_insert(signal);
            }
            Some(Ending::Code(_)) => self.crashed += 1,
            Some(Ending::Hung) | None => self.hung += 1,
        }
    }

    /// Merges all steps of the parent into one cell.
    fn merge_parent_steps(&mut self, steps: &[(Step, Option<Outcome>)], ending: Option<Ending>) {
        let unfinished = steps.iter().any(|(_, outcome)| outcome.is_none());
        let error = steps.iter().find_map(|(_, outcome)| outcome.as_ref()?.error.clone());
        match (unfinished, error) {
            (true, _) => self.unfinished(ending),
            (false, Some(error)) => {
                self.failed = 1;
                self.error = Some(error);
            }
            (false, None) => self.ok = 1,
        }
    }
}

/// The differences between the first subject and the parent.
fn context_differences(model: Model, contexts: &BTreeMap<Who, BTreeMap<String, String>>) -> Vec<[String; 3]> {
    let parent = contexts.get(&Who::Again).or_else(|| contexts.get(&Who::Parent));
    let child = contexts.iter().find(|(who, _)| subject(model, who)).map(|(_, context)| context);
    let (Some(parent), Some(child)) = (parent, child) else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = parent.keys().chain(child.keys()).collect();
    let value = |context: &BTreeMap<String, String>, name| context.get(name).cloned().unwrap_or_else(|| "-".to_owned());
    let all = names.into_iter().map(|name| [name.clone(), value(parent, name), value(child, name)]);
    all.filter(|[_, parent, child]| parent != child).collect()
}

/// Describes the failure of a cell.
pub(crate) fn what(cell: &Cell) -> String {
    match (&cell.error, cell.signal) {
        (Some(error), _) => error.name.clone(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) if cell.hung > 0 => "the process hangs".to_owned(),
        (None, None) => "the process ended early".to_owned(),
    }
}

impl Matrix {
    /// Builds the document with its conclusions. `form`: how the password was given.
    pub(crate) fn new(
        nss: String,
        database: String,
        nickname: Option<String>,
        models: Vec<Row>,
        password_channels: Vec<Channel>,
        form: Option<PasswordForm>,
    ) -> Self {
        let mut conclusions = conclusions(&models);
        if let Some(file) = form.and_then(|form| channels::file_format(&password_channels, form)) {
            let why = file.why.clone().unwrap_or_default();
            let text = format!("NSS's tools read a different password from the file than intended: {why}");
            conclusions.push(Conclusion::of(fact::PasswordState::Repairable, Vec::new(), text));
        }
        Self { schema: "nssight/process-model/1", nss, database, nickname, models, password_channels, conclusions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(threads: &str) -> BTreeMap<String, String> {
        [("Uid", "0 0 0 0"), ("Threads", threads)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn only_what_differs_around_parent_and_child_is_kept() {
        let lines = [Line::Context(Who::Child(0), context("1")), Line::Context(Who::Again, context("4")), Line::Over];
        let row = Row::of("c", Model::ForkAfterInit, &lines, false, Some(Ending::Code(0)));
        assert_eq!(row.context_differences, [["Threads", "4", "1"].map(str::to_owned)]);
        assert_eq!(row.trouble, None);
    }

    #[test]
    fn a_step_that_never_ended_has_the_end_of_its_process() {
        let begun = |who: Who| Line::Begin(who, Step::Sign);
        let lines = [begun(Who::Child(0)), Line::Ended(0, Ending::Signal(11)), begun(Who::Again)];
        let row = Row::of("c", Model::ForkAfterInit, &lines, true, None);
        assert_eq!((row.cell(Step::Sign).crashed, row.cell(Step::Sign).signal), (1, Some(11)));
        assert_eq!(row.cell(Step::ParentAgain).hung, 1);
        assert_eq!(row.trouble.as_deref(), Some("the process did not finish, so nssight killed it"));
    }
}
