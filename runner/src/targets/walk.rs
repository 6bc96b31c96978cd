//! The check of one target: in a worker, within its deadline, retried where that may help.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::verdict::{self, judge_last};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Finding, Layer, Notes, Status};
use nssight_probes::Report;
use nssight_probes::report::Subject;
use nssight_probes::target::PasswordSource;

use super::CheckTarget;
use crate::crew::Spare;
use crate::passwords::Passwords;
use crate::stop::Stop;
use crate::supervisor::Limits;
use crate::turns::Turns;
use crate::walk::{self, Nobody};
use crate::{passwords, retries};

/// A target that waits for its check, and what its user ties to it.
pub type Waiting<T> = (Tries, T);

/// Receives the events of a target's check.
pub trait Told<T> {
    /// An attempt begins.
    fn begins(&self, _tie: &mut T) {}
    /// The check was ended early; `Subject` is how far it got.
    fn interrupted(&self, _tie: T, _subject: Subject) {}
    /// The combined result of its attempts. False if no further results are needed.
    fn done(&self, tie: T, subject: Subject) -> bool;
}

/// One thread that runs checks until there are none left. With a `spare`, its worker is kept for the next check as long as it
/// has no problems.
pub fn work<T>(turns: &Turns<Waiting<T>>, stop: &Stop, mut spare: Option<Spare>, told: &impl Told<T>) {
    while let Some((turn, (mut tries, mut tie))) = turns.next() {
        told.begins(&mut tie);
        match tries.walk(stop, spare.as_mut()) {
            Next::Done(subject) if stop.is_stopped() => told.interrupted(tie, *subject),
            Next::Again(_) if stop.is_stopped() => {}
            Next::Again(spacing) => turn.again((tries, tie), Instant::now() + spacing),
            Next::Done(subject) => {
                // Reported before the turn is over.
                let heard = told.done(tie, *subject);
                drop(turn);
                if !heard {
                    return;
                }
            }
        }
    }
}

/// The attempts of one target.
pub struct Tries {
    target: Arc<CheckTarget>,
    started: Option<Instant>,
    before: Option<Report>,
    made: u32,
}

/// What follows an attempt.
enum Next {
    /// Nothing; this is the combined result of the attempts.
    Done(Box<Subject>),
    /// Another attempt, after this time.
    Again(Duration),
}

impl Tries {
    /// No attempts so far.
    pub fn of(target: Arc<CheckTarget>) -> Self {
        Self { target, started: None, before: None, made: 0 }
    }

    /// Makes an attempt. A `spare` worker does it if there is one, and a worker without problems is kept there.
    fn walk(&mut self, stop: &Stop, spare: Option<&mut Spare>) -> Next {
        let target = self.target.clone();
        let started = *self.started.get_or_insert_with(Instant::now);
        // When a target is waited for, every attempt has its full time.
        let since = if target.wait.is_some() { Instant::now() } else { started };
        let deadline = since.checked_add(target.deadline);
        let limits = Limits { deadline, stop: Some(stop), secret_variables: &target.secret_variables };
        if let Some(before) = self.before.take_if(|_| limits.left() == Some(Duration::ZERO)) {
            return self.done(before, started);
        }
        let mut report = once(&target, &limits, spare);
        self.made += 1;
        if let Some(before) = self.before.take() {
            report = match target.wait {
                Some(_) => retries::latest(&before, report),
                None => retries::combine(before, report),
            };
        }
        let ready = report.verdict.status == Outcome::Pass;
        let ended = stop.is_stopped();
        if target.wait.is_some_and(|wait| !ready && !ended && started.elapsed() + target.retry_spacing < wait) {
            self.before = Some(report);
            return Next::Again(target.retry_spacing);
        }
        let in_time = limits.left().is_none_or(|left| left > target.retry_spacing);
        if self.made <= target.retries && in_time && !ended && retries::is_worth_it(&report) {
            self.before = Some(report);
            return Next::Again(target.retry_spacing);
        }
        self.done(report, started)
    }

    fn done(&self, report: Report, started: Instant) -> Next {
        let CheckTarget { name, labels, written_at, .. } = &*self.target;
        let (name, labels, written_at) = (name.clone(), labels.clone(), written_at.clone());
        Next::Done(Box::new(Subject {
            name,
            labels,
            report,
            tries: self.made,
            duration: started.elapsed(),
            written_at,
        }))
    }
}

fn once(target: &CheckTarget, limits: &Limits<'_>, spare: Option<&mut Spare>) -> Report {
    let (settings, configured) = target.settings();
    let (given, troubles) = given(target);
    let passwords = Passwords { database: given.database.or(configured), admin: given.admin };
    let mut report = walk::once(&settings, &target.plan, passwords, limits, spare, &mut Nobody);
    troubles.into_iter().for_each(|trouble| amend(&mut report, trouble));
    report
}

/// A password that could not be read: the layer that requires it, what that shows there, and why.
struct Trouble {
    layer: Layer,
    fact: Fact,
    signal: Signal,
    summary: String,
}

impl Trouble {
    fn of_database(summary: String) -> Self {
        let fact = fact::PasswordState::SourceUnreadable.into();
        Self { layer: Layer::Password, fact, signal: signal::PASSWORD_MISSING, summary }
    }

    fn of_admin(summary: String) -> Self {
        Self {
            layer: Layer::Request,
            fact: fact::ConfigState::Invalid.into(),
            signal: signal::CONFIG_UNUSABLE,
            summary,
        }
    }
}

/// The passwords, as far as they can be read.
fn given(target: &CheckTarget) -> (Passwords, Vec<Trouble>) {
    let (mut given, mut troubles) = (Passwords::default(), Vec::new());
    match target.password.as_ref().map_or(Ok(None), |source| regular(source).and_then(|()| passwords::read(source))) {
        Ok(password) => given.database = password,
        Err(summary) => troubles.push(Trouble::of_database(summary)),
    }
    let admin = target.admin_password.as_ref();
    match admin.map_or(Ok(None), |source| regular(source).and_then(|()| passwords::read_admin(source))) {
        Ok(password) => given.admin = password,
        Err(summary) => troubles.push(Trouble::of_admin(summary)),
    }
    (given, troubles)
}

/// A pipe delivers a password once, and opening one without a writer would wait for ever.
fn regular(source: &PasswordSource) -> Result<(), String> {
    let PasswordSource::File(path) = source else { return Ok(()) };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(format!("the password file {} is not a regular file", path.display())),
        // The error is reported when the file is read.
        _ => Ok(()),
    }
}

/// The check reached a layer without the password that was named for it, and reports that in general terms; these are specific.
fn amend(report: &mut Report, trouble: Trouble) {
    let missed = |finding: &Finding| {
        let wanted = match finding.status {
            Status::Fail => finding.facts.has(fact::PasswordState::NoneGiven),
            Status::Skip => finding.layer == Layer::Request && finding.skipped_because.is_none(),
            Status::Pass | Status::Warn => false,
        };
        finding.layer == trouble.layer && wanted
    };
    if let Some(place) = report.probes.iter().position(missed) {
        let took = report.probes[place].duration_us;
        let outcome = Notes::default().with(trouble.fact).fail(trouble.signal, trouble.summary);
        report.probes[place] = outcome.into_finding(trouble.layer, took);
        judge_last(&mut report.probes[..=place]);
        report.verdict = verdict::diagnose(&report.probes, &report.target.names());
    }
}
