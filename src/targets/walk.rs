//! The walk of one target: in a worker, within its deadline, tried again where that may help.

use std::fs;
use std::time::Instant;

use nssight_probes::finding::Notes;
use nssight_probes::target::PasswordSource;
use nssight_probes::{Cause, Confidence, Finding, Layer, Report, Status, diagnose as verdict};

use super::CheckTarget;
use crate::diagnose::{self, Tries};
use crate::password;
use crate::report::Subject;
use crate::stop::Stop;
use crate::supervisor::Limits;
use crate::worker::Passwords;

/// Walks a target. Whatever happens, there is a report.
pub(crate) fn walk(target: &CheckTarget) -> Subject {
    walk_with(target, None)
}

/// The same, with a way to end it from outside; nothing, if it was ended so.
pub(crate) fn walk_unless_stopped(target: &CheckTarget, stop: &Stop) -> Option<Subject> {
    if stop.is_stopped() {
        return None;
    }
    let subject = walk_with(target, Some(stop));
    (!stop.is_stopped()).then_some(subject)
}

fn walk_with(target: &CheckTarget, stop: Option<&Stop>) -> Subject {
    let started = Instant::now();
    let deadline = started.checked_add(target.deadline);
    let limits = Limits { deadline, stop, secret_variables: &target.secret_variables };
    let (settings, configured) = target.settings();
    let (given, troubles) = passwords(target);
    let passwords = Passwords { database: given.database.or(configured), admin: given.admin };
    let tries = Tries { retries: target.retries, spacing: target.retry_spacing };
    let (mut report, tries) = diagnose::quietly(&settings, &target.plan, passwords, &tries, &limits);
    troubles.into_iter().for_each(|trouble| amend(&mut report, trouble));
    Subject { name: target.name.clone(), labels: target.labels.clone(), report, tries, duration: started.elapsed() }
}

/// A password that could not be read: the layer that wants it, and why.
struct Trouble {
    layer: Layer,
    cause: Cause,
    summary: String,
}

/// What can be read of the two passwords.
fn passwords(target: &CheckTarget) -> (Passwords, Vec<Trouble>) {
    let (mut given, mut troubles) = (Passwords::default(), Vec::new());
    match target.password.as_ref().map_or(Ok(None), |source| regular(source).and_then(|()| password::read(source))) {
        Ok(password) => given.database = password,
        Err(summary) => troubles.push(Trouble { layer: Layer::Password, cause: Cause::PasswordMissing, summary }),
    }
    let admin = target.admin_password.as_ref();
    match admin.map_or(Ok(None), |source| regular(source).and_then(|()| password::read_admin(source))) {
        Ok(password) => given.admin = password,
        Err(summary) => troubles.push(Trouble { layer: Layer::Request, cause: Cause::ConfigInvalid, summary }),
    }
    (given, troubles)
}

/// A pipe gives a password once, and opening one without a writer would wait for ever.
fn regular(source: &PasswordSource) -> Result<(), String> {
    let PasswordSource::File(path) = source else { return Ok(()) };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(format!("the password file {} is no regular file", path.display())),
        // An error shows again when it is read.
        _ => Ok(()),
    }
}

/// The walk came to a layer without the password that was named for it, and says so in its own words; these are better.
fn amend(report: &mut Report, trouble: Trouble) {
    let missed = |finding: &&mut Finding| {
        let wanted = match finding.status {
            Status::Fail => finding.cause == Some(Cause::PasswordMissing),
            Status::Skip => finding.layer == Layer::Request && finding.skipped_because.is_none(),
            Status::Pass | Status::Warn => false,
        };
        finding.layer == trouble.layer && wanted
    };
    if let Some(finding) = report.probes.iter_mut().find(missed) {
        let took = finding.duration_us;
        let outcome = Notes::default().fail(trouble.cause, Confidence::Certain, trouble.summary);
        *finding = outcome.into_finding(trouble.layer, took);
        report.verdict = verdict(&report.probes, &report.target);
    }
}
